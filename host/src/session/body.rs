//! The message while it comes in: where its octets go, and what is known of where they go wrong.

use crate::spool::{Draft, MessageId, SpoolError};

/// A message between 354 and its commit.
#[derive(Debug)]
pub struct Incoming {
    /// Its id.
    pub id: MessageId,
    /// How many octets of trace fields the host put before it.
    pub trace: u64,
    draft: Result<Draft, SpoolError>,
}

impl Incoming {
    /// A message that begins with these trace fields.
    pub async fn begin(id: MessageId, draft: Draft, trace: String) -> Incoming {
        let mut incoming = Incoming { id, trace: trace.len() as u64, draft: Ok(draft) };
        incoming.write(trace.into_bytes()).await;
        incoming
    }

    /// Adds octets. What goes wrong is kept for the commit: the peer learns it where RFC 5321 lets it be told, and the
    /// rest of the message is read all the same.
    pub async fn write(&mut self, bytes: Vec<u8>) {
        if let Ok(draft) = &mut self.draft
            && let Err(error) = draft.write(&bytes).await
        {
            self.draft = Err(error);
        }
    }

    /// The message for those who read it, or `None` if it could not be kept.
    pub fn draft(&self) -> Option<&Draft> {
        self.draft.as_ref().ok()
    }

    /// Octets of the message, trace fields not counted.
    pub fn len(&self) -> u64 {
        self.draft().map_or(0, |draft| draft.len().saturating_sub(self.trace))
    }

    /// Whether it could not be kept.
    pub fn failed(&self) -> bool {
        self.draft.is_err()
    }

    /// What was kept.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn finish(self) -> Result<Draft, SpoolError> {
        self.draft
    }
}
