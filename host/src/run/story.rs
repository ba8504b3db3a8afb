//! What became of a message or a session, out of what this process remembers and what the spool holds.

use super::Server;
use crate::control::{Order, Response, Tale};
use crate::observe::{Story, Told, escape};
use crate::spool::MessageId;

/// Events that one answer holds at most.
const EVENTS: usize = 1000;

impl Server {
    /// Tells a story from the event of this number on.
    pub(super) async fn narrate(&self, id: String, from: u64) -> Response {
        // A session's id is of the same kind as a message's.
        let Ok(name) = id.parse::<MessageId>() else {
            return Response::Refused(format!("`{}` is no id of a message or a session", escape(&id)));
        };
        let (mut events, cut) = self.recall(Story::of(&id)).await;
        events.retain(|(number, _)| *number >= from);
        let next = events.get(EVENTS).map(|(number, _)| *number);
        events.truncate(EVENTS);
        let last = next.is_none();
        Response::Story(Box::new(Tale {
            events: events.into_iter().map(|(_, event)| event).collect(),
            queued: if last { self.standing(&name).await } else { None },
            kept: if last { self.kept(&id).await } else { None },
            since: self.logging.as_ref().and_then(|logging| Told::read(&logging.memory().oldest()?)).map(|it| it.time),
            cut,
            next,
            id,
        }))
    }

    /// The events of a story that are remembered, with their numbers, and whether some were left out.
    pub(super) async fn recall(&self, story: Story) -> (Vec<(u64, Told)>, bool) {
        let Some(memory) = self.logging.as_ref().map(crate::observe::Logging::memory) else {
            return Default::default();
        };
        // All that is remembered is read through, which is no work for a thread that serves.
        let work = move || {
            let mut story = story;
            for (number, line) in memory.lines_with(story.root()) {
                story.hear(number, &line);
            }
            let cut = story.was_cut();
            (story.end(), cut)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_default()
    }

    async fn kept(&self, id: &str) -> Option<crate::control::Kept> {
        match self.keeper(Order::Show { id: id.to_owned(), offset: 0 }).await {
            Response::Shown(shown) => Some(shown.message),
            _ => None,
        }
    }
}
