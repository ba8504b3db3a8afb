//! The message at the `message` hook, for those who read it: its header parsed once, when somebody asks; its body in
//! ranges. It stays in the spool's hands; nothing here holds it whole.

use super::body::Incoming;
use crate::spool::SpoolError;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Octets of a header that are parsed. What is larger is still delivered, and read in ranges.
const LARGEST_HEADER: u64 = 1 << 20;
/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// A message that is in and not yet durable.
#[derive(Debug)]
pub struct Message {
    incoming: Incoming,
    header: OnceCell<Header>,
}

/// The parsed header.
#[derive(Debug, Default)]
pub struct Header {
    /// Names and values as written, without the last line end, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Where the body begins.
    pub body_offset: u64,
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
        Message { incoming, header: OnceCell::new() }
    }

    /// Takes the message back from those who read it. None if somebody still holds it.
    pub fn reclaim(message: Arc<Message>) -> Option<Incoming> {
        Arc::into_inner(message).map(|message| message.incoming)
    }

    /// Octets of the message, the host's trace fields not counted.
    pub fn size(&self) -> u64 {
        self.incoming.len()
    }

    /// Octets from `offset`, at most `length`; fewer only at the end.
    ///
    /// # Errors
    /// It cannot be read back.
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, ReadError> {
        let left = self.size().saturating_sub(offset);
        let length = usize::try_from(left.min(length.into())).unwrap_or(0);
        match self.incoming.draft() {
            Some(draft) if length > 0 => Ok(draft.read(self.incoming.trace.saturating_add(offset), length).await?),
            _ => Ok(Vec::new()),
        }
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
    pub async fn header(&self) -> Result<&Header, ReadError> {
        self.header.get_or_try_init(|| self.parse()).await
    }

    async fn parse(&self) -> Result<Header, ReadError> {
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
                return Ok(Header { fields: Vec::new(), body_offset: 2 });
            }
            if let Some(end) = end {
                octets.truncate(from + end + 4);
                return Ok(Header { body_offset: octets.len() as u64, fields: fields(&octets) });
            }
            if last {
                return Ok(Header { body_offset: octets.len() as u64, fields: fields(&octets) });
            }
            if octets.len() as u64 > LARGEST_HEADER {
                return Err(ReadError::HeaderTooLarge);
            }
        }
    }
}

/// The fields of a header block. A line that is no field and continues none ends nothing: it is passed over.
fn fields(block: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in block.split_inclusive(|octet| *octet == b'\n') {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some((_, value)) = fields.last_mut() {
                value.extend_from_slice(line);
            }
            continue;
        }
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let Ok(name) = std::str::from_utf8(name.trim_ascii_end()) else { continue };
        fields.push((name.to_owned(), value.get(1..).unwrap_or_default().to_vec()));
    }
    for (_, value) in &mut fields {
        while value.last().is_some_and(|octet| matches!(octet, b'\r' | b'\n')) {
            value.pop();
        }
        if matches!(value.first(), Some(b' ' | b'\t')) {
            value.remove(0);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_fields_keep_their_folding() {
        let block = b"Subject: a\r\n b\r\nX:\r\nnonsense\r\nsubject :c\r\n\r\n";
        let parsed = fields(block);
        let expected =
            [("Subject", &b"a\r\n b"[..]), ("X", b""), ("subject", b"c")].map(|(n, v)| (n.to_owned(), v.to_vec()));
        assert_eq!(parsed, expected);
    }
}
