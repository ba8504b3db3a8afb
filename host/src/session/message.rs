//! The message at the `message` hook, for those who read it: its header parsed once, when somebody asks; its body in
//! ranges. It stays in the spool's hands; nothing here holds it whole. A header that policy changed stands in front of the
//! body that came.

use super::body::Incoming;
use super::header::Header;
use crate::spool::SpoolError;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Octets of a header that are parsed. What is larger is still delivered, and read in ranges.
const LARGEST_HEADER: u64 = 1 << 20;
/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// A message that is in and not yet durable, with the header it has by now.
#[derive(Debug)]
pub struct Message {
    incoming: Arc<Incoming>,
    header: OnceCell<Arc<Header>>,
    /// The header's octets, where they are no longer those that came.
    block: Option<Vec<u8>>,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The header is too large to be parsed.
    #[error("a header of more than 1 MiB is not parsed")]
    HeaderTooLarge,
    /// It cannot be read back.
    #[error("the message cannot be read back")]
    Spool(#[from] SpoolError),
}

impl Message {
    /// A message for reading.
    pub fn new(incoming: Incoming) -> Message {
        Message { incoming: Arc::new(incoming), header: OnceCell::new(), block: None }
    }

    /// A message of these octets, for tests of those who read it.
    #[cfg(test)]
    pub async fn of(draft: crate::spool::Draft, octets: &[u8]) -> Arc<Message> {
        let id = "of-a-test".parse().unwrap_or_else(|_| unreachable!("it is an id"));
        let mut incoming = Incoming::begin(id, draft, String::new()).await;
        incoming.write(octets.to_vec()).await;
        Arc::new(Message::new(incoming))
    }

    /// The same message with this header, which was made of its own.
    pub fn with(&self, header: Arc<Header>) -> Arc<Message> {
        let block = header.is_changed().then(|| header.octets());
        Arc::new(Message { incoming: self.incoming.clone(), header: OnceCell::new_with(Some(header)), block })
    }

    /// Takes the message back from those who read it. None if somebody still holds it.
    pub(super) fn reclaim(message: Arc<Message>) -> Option<Incoming> {
        let Message { incoming, header, block } = Arc::into_inner(message)?;
        let mut incoming = Arc::into_inner(incoming)?;
        if let (Some(block), Some(header)) = (block, header.get()) {
            incoming.change_header(block, header.body());
        }
        Some(incoming)
    }

    /// Octets of the message, the host's trace fields not counted.
    pub fn size(&self) -> u64 {
        let (block, body) = self.parts();
        (block.len() as u64).saturating_add(self.incoming.len().saturating_sub(body))
    }

    /// Octets from `offset`, at most `length`; fewer only at the end.
    ///
    /// # Errors
    /// It cannot be read back.
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, ReadError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let (block, body) = self.parts();
        let front = usize::try_from(offset).ok().and_then(|offset| block.get(offset..)).unwrap_or_default();
        let mut octets = front.get(..wanted.min(front.len())).unwrap_or_default().to_vec();
        let at = offset.saturating_add(octets.len() as u64).saturating_sub(block.len() as u64).saturating_add(body);
        octets.extend(self.read_as_it_came(at, wanted.saturating_sub(octets.len())).await?);
        Ok(octets)
    }

    /// Where `needle` first occurs at or after `offset`.
    ///
    /// # Errors
    /// It cannot be read back.
    pub async fn find(&self, needle: &[u8], offset: u64) -> Result<Option<u64>, ReadError> {
        // The spool reads a chunk at a time; the last octets of one may be the first of what is looked for.
        let overlap = needle.len().saturating_sub(1);
        let step = CHUNK.saturating_sub(overlap);
        let mut at = offset;
        loop {
            let chunk = self.read(at, u32::try_from(CHUNK).unwrap_or(u32::MAX)).await?;
            if let Some(found) = memchr::memmem::find(&chunk, needle) {
                return Ok(Some(at + found as u64));
            }
            if chunk.len() < CHUNK {
                return Ok(None);
            }
            at += step as u64;
        }
    }

    /// The header.
    ///
    /// # Errors
    /// It is too large, or cannot be read back.
    pub async fn header(&self) -> Result<&Arc<Header>, ReadError> {
        self.header.get_or_try_init(|| self.parse()).await
    }

    /// The octets that stand in place of the header that came, and where what stays of the message begins.
    fn parts(&self) -> (&[u8], u64) {
        match (&self.block, self.header.get()) {
            (Some(block), Some(header)) => (block, header.body()),
            _ => (&[], 0),
        }
    }

    async fn read_as_it_came(&self, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let left = usize::try_from(self.incoming.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        match self.incoming.draft() {
            Some(draft) if length.min(left) > 0 => {
                Ok(draft.read(self.incoming.trace.saturating_add(offset), length.min(left)).await?)
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn parse(&self) -> Result<Arc<Header>, ReadError> {
        let mut octets = Vec::new();
        loop {
            let have = octets.len();
            let more = self.read(have as u64, u32::try_from(CHUNK).unwrap_or(u32::MAX)).await?;
            let last = more.len() < CHUNK;
            octets.extend(more);
            // The end may lie across two chunks.
            let from = have.saturating_sub(3);
            let end = octets.get(from..).and_then(|tail| tail.windows(4).position(|window| window == b"\r\n\r\n"));
            if octets.starts_with(b"\r\n") {
                return Ok(Arc::new(Header::parse(b"\r\n")));
            }
            if let Some(end) = end {
                octets.truncate(from + end + 4);
                return Ok(Arc::new(Header::parse(&octets)));
            }
            if last {
                return Ok(Arc::new(Header::parse(&octets)));
            }
            if octets.len() as u64 > LARGEST_HEADER {
                return Err(ReadError::HeaderTooLarge);
            }
        }
    }
}
