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
    /// The header it is to have instead of the one that came, and where what stays of the message begins.
    header: Option<(Vec<u8>, u64)>,
}

impl Incoming {
    /// A message that begins with these trace fields.
    pub async fn begin(id: MessageId, draft: Draft, trace: String) -> Incoming {
        let mut incoming = Incoming { id, trace: trace.len() as u64, draft: Ok(draft), header: None };
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

    /// It is to have another header; `body` is where what stays of the message begins in it.
    pub fn change_header(&mut self, header: Vec<u8>, body: u64) {
        self.header = Some((header, body));
    }

    /// What was kept.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn finish(self) -> Result<Draft, SpoolError> {
        self.draft
    }

    /// What is to be kept: what came, or where its header changed all of it anew, in bounded memory.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub async fn complete(self) -> Result<Draft, SpoolError> {
        let draft = self.draft?;
        let Some((header, body)) = self.header else { return Ok(draft) };
        // The trace is the server's own, and short.
        let head = draft.read(0, usize::try_from(self.trace).unwrap_or(usize::MAX)).await;
        let again = match head {
            Ok(mut head) => {
                head.extend(header);
                draft.rewritten(self.id, &head, self.trace.saturating_add(body)).await
            }
            Err(error) => Err(error),
        };
        draft.discard().await;
        again
    }
}
