//! A message's octets as DATA and BDAT carry them, read a piece at a time where reading may block.

use std::io::{self, Read};

/// Octets of content that are held at a time.
pub(super) const PIECE: usize = 64 * 1024;

/// What is read from.
pub(super) struct Pieces(Option<Box<dyn Read + Send>>);

impl Pieces {
    pub(super) fn new(content: Box<dyn Read + Send>) -> Pieces {
        Pieces(Some(content))
    }

    /// The next [`PIECE`]; a shorter one is the last, and may be empty.
    ///
    /// # Errors
    /// The content cannot be read on.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        let Some(mut content) = self.0.take() else { return Ok(Vec::new()) };
        let (content, piece) = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut content).take(PIECE as u64).read_to_end(&mut piece);
            (content, read.map(|_| piece))
        })
        .await
        .map_err(io::Error::other)?;
        self.0 = Some(content);
        piece
    }
}

/// Makes lines into what may stand between DATA and its dot (RFC 5321 section 4.5.2).
///
/// Every line ends with CRLF. What was accepted has no other line ends; should one be there all the same, it is never sent
/// as it is: where the next server ended a line at it, a line of one dot would end the message, and its rest be commands.
#[derive(Debug)]
pub(super) struct Stuffing {
    line_start: bool,
    cr: bool,
}

impl Stuffing {
    pub(super) fn new() -> Stuffing {
        Stuffing { line_start: true, cr: false }
    }

    /// The next octets, as they are sent.
    pub(super) fn stuff(&mut self, content: &[u8]) -> Vec<u8> {
        let mut sent = Vec::with_capacity(content.len() + content.len() / 64 + 2);
        let mut rest = content;
        while let Some((&octet, behind)) = rest.split_first() {
            if std::mem::take(&mut self.cr) {
                sent.push(b'\n');
                self.line_start = true;
                rest = if octet == b'\n' { behind } else { rest };
                continue;
            }
            if self.line_start && octet == b'.' {
                sent.push(b'.');
            }
            let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            sent.extend_from_slice(line);
            self.line_start &= line.is_empty();
            rest = match behind.split_first() {
                Some((b'\r', behind)) => {
                    sent.push(b'\r');
                    self.cr = true;
                    behind
                }
                Some((_, behind)) => {
                    sent.extend_from_slice(b"\r\n");
                    self.line_start = true;
                    behind
                }
                None => behind,
            };
        }
        sent
    }

    /// What ends the message.
    pub(super) fn end(&self) -> &'static [u8] {
        match (self.cr, self.line_start) {
            (true, _) => b"\n.\r\n",
            (false, true) => b".\r\n",
            (false, false) => b"\r\n.\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn stuffs_dots_however_the_content_is_cut() {
        let cases: [(&[u8], &[u8]); 12] = [
            (b"", b".\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"..a\r\n.b\r\n", b"...a\r\n..b\r\n.\r\n"),
            (b"a.b.\r\n", b"a.b.\r\n.\r\n"),
            (b"\r\n\r\n.", b"\r\n\r\n..\r\n.\r\n"),
            (b"no end", b"no end\r\n.\r\n"),
            (b"half end\r", b"half end\r\n.\r\n"),
            // What could end a message early, or begin a command, for a server that is less strict.
            (b"a\n.\nRSET\n", b"a\r\n..\r\nRSET\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\n\r.\r\r\nb\r\n", b"a\r\n\r\n..\r\n\r\nb\r\n.\r\n"),
            (b"\0\xff.\r\n", b"\0\xff.\r\n.\r\n"),
        ];
        for (content, expected) in cases {
            for step in 1..=content.len().max(1) {
                let mut stuffing = Stuffing::new();
                let mut sent: Vec<u8> = content.chunks(step).flat_map(|piece| stuffing.stuff(piece)).collect();
                sent.extend_from_slice(stuffing.end());
                assert_eq!(sent, expected, "{:?} by {step}", String::from_utf8_lossy(content));
            }
        }
    }
}
