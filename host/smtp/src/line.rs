//! The input buffer: keeps what the peer sent until it is used, and finds the lines in it.
//!
//! Only CRLF ends a line (RFC 5321 section 2.3.8). It does not know what a line says; what it holds is bounded by the line
//! limit and by what is handed to it between two reads.

use std::fmt;

/// Capacity an idle buffer may keep.
const IDLE: usize = 4096;

/// Octets that are kept of a line that is too long: it may matter how it began.
const HEAD: usize = 5;

/// Octets received and not used yet.
#[derive(Default)]
pub(crate) struct Input {
    octets: Vec<u8>,
    /// Where the unused octets begin.
    start: usize,
    /// No CRLF ends before here.
    scanned: usize,
    /// The line at the front is too long: its beginning was dropped but for this, its end has not come yet.
    overlong: Option<Vec<u8>>,
}

/// A line longer than the limit.
#[derive(PartialEq, Eq)]
pub(crate) struct TooLong {
    /// Its first five octets.
    pub(crate) head: Vec<u8>,
}

impl Input {
    /// Appends what the peer sent.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.compact();
        self.octets.extend_from_slice(bytes);
    }

    /// Everything unused.
    pub(crate) fn octets(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets().is_empty()
    }

    /// Uses up the first octets.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.octets.len());
        self.scanned = self.start;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Input::default();
    }

    /// Whether a whole line waits; `limit` is its length with CRLF. A line that has grown past it is dropped as it comes.
    pub(crate) fn has_line(&mut self, limit: usize) -> bool {
        let waits = self.find_line_end().is_some();
        if !waits && (self.overlong.is_some() || self.octets().len() >= limit) {
            let head = self.head();
            self.overlong.get_or_insert(head);
            // A CR may be the first half of the line's end.
            let keep = usize::from(self.octets.last() == Some(&b'\r'));
            self.consume(self.octets().len().saturating_sub(keep));
        }
        waits
    }

    /// Takes the line that waits, without its CRLF.
    pub(crate) fn take_line(&mut self, limit: usize) -> Option<Result<Vec<u8>, TooLong>> {
        let length = self.find_line_end()?;
        let line = match self.overlong.take() {
            Some(head) => Err(TooLong { head }),
            None if length > limit => Err(TooLong { head: self.head() }),
            None => Ok(self.octets().get(..length.saturating_sub(2)).unwrap_or_default().to_vec()),
        };
        self.consume(length);
        Some(line)
    }

    /// The first octets, as many as are kept of a line that is too long.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.octets().get(..HEAD).unwrap_or(self.octets()).to_vec()
    }

    /// Gives memory back before a wait that may be long.
    pub(crate) fn shrink(&mut self) {
        if self.octets.capacity() > IDLE {
            self.compact();
            self.octets.shrink_to(IDLE);
        }
    }

    /// The length of the line at the front, CRLF included.
    fn find_line_end(&mut self) -> Option<usize> {
        loop {
            let ahead = memchr::memchr(b'\n', self.octets.get(self.scanned..)?);
            let Some(ahead) = ahead else {
                self.scanned = self.octets.len();
                return None;
            };
            let at = self.scanned.saturating_add(ahead);
            if at > self.start && self.octets.get(at.saturating_sub(1)) == Some(&b'\r') {
                self.scanned = at;
                return Some(at.saturating_add(1).saturating_sub(self.start));
            }
            self.scanned = at.saturating_add(1);
        }
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.octets.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
    }
}

/// Counts only: the octets may hold secrets.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("octets", &self.octets().len())
            .field("capacity", &self.octets.capacity())
            .field("overlong", &self.overlong.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    /// The lines of `sent` under `limit`, handed over in pieces of `piece` octets; `!` for one that is too long.
    fn lines(sent: &[u8], limit: usize, piece: usize) -> (Vec<String>, usize) {
        let mut input = Input::default();
        let mut lines = Vec::new();
        for bytes in sent.chunks(piece) {
            input.receive(bytes);
            while input.has_line(limit) {
                lines.push(match input.take_line(limit).unwrap() {
                    Ok(line) => String::from_utf8(line).unwrap(),
                    Err(TooLong { .. }) => "!".to_owned(),
                });
            }
            assert!(input.octets().len() < limit.max(2), "holds {} octets", input.octets().len());
        }
        (lines, input.octets().len())
    }

    #[test]
    fn only_crlf_ends_a_line_and_the_limit_counts_it() {
        let cases: [(&str, &[&str], usize); 10] = [
            ("", &[], 0),
            ("a\r\n", &["a"], 0),
            ("\r\n\r\n", &["", ""], 0),
            ("a\nb\rc\r\n", &["a\nb\rc"], 0),
            ("a\r\r\n", &["a\r"], 0),
            ("\n\r\n", &["\n"], 0),
            ("123456\r\n", &["123456"], 0),
            ("1234567\r\nb\r\n", &["!", "b"], 0),
            ("0123456789012345678901234567890\r\rx\n\r\nb\r\nc", &["!", "b"], 1),
            ("12345678\r", &[], 1),
        ];
        for (sent, expected, left) in cases {
            for piece in [1, 2, 3, 1000] {
                let (got, rest) = lines(sent.as_bytes(), 8, piece);
                assert_eq!(
                    (got.iter().map(String::as_str).collect::<Vec<_>>(), rest),
                    (expected.to_vec(), left),
                    "{sent:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn an_idle_buffer_gives_memory_back() {
        let mut input = Input::default();
        input.receive(&vec![b'x'; 1 << 16]);
        input.consume((1 << 16) - 3);
        input.shrink();
        assert!(input.octets.capacity() <= IDLE);
        assert_eq!(input.octets(), b"xxx");
    }
}
