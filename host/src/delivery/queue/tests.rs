//! The queue in a world in which days pass in a moment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

impl Queue {
    /// One attempt at each destination of a message, whenever it is due.
    pub(in super::super) async fn try_now(self: &Arc<Self>, id: &MessageId, fresh: bool) {
        self.take_in(id, fresh, true).await;
        let now = self.now().tick;
        let token = self.index().token(id);
        if let Some(token) = token {
            self.index().change(token, now, |entry| entry.hurry(now));
        }
        let next = || self.index().pick(now, 64);
        while let Some(start) = next() {
            self.clone().attempt(start).await;
        }
    }
}
