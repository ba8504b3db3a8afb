//! Content in pieces of bounded length: lines, and what is too long to be looked at as a line.

use std::io::{self, Read};

/// Octets of a piece. A line of MIME has 998 (RFC 5322 section 2.1.1); what is longer is content and nothing else.
pub(super) const PIECE: usize = 1000;

/// Octets read at a time.
const CHUNK: usize = 16 * 1024;

/// Reads pieces.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where what was not handed out begins.
    at: usize,
    /// The next piece begins a line.
    first: bool,
    /// The source has no more.
    over: bool,
}

/// A line, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its octets, without the CRLF.
    pub(super) octets: &'a [u8],
    /// It begins a line.
    pub(super) first: bool,
    /// A CRLF follows. Nothing else ends a line.
    pub(super) ended: bool,
    /// Nothing follows, though no CRLF did.
    pub(super) last: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Lines<R> {
        Lines { source, buffer: Vec::new(), at: 0, first: true, over: false }
    }

    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let (length, ended, last) = loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            match line(rest) {
                Some(length) => break (length, true, false),
                None if rest.len() > PIECE + 1 => {
                    // A CR may be the first half of what ends the line.
                    let cr = rest.get(PIECE - 1) == Some(&b'\r');
                    break (if cr { PIECE - 1 } else { PIECE }, false, false);
                }
                None if self.over && rest.is_empty() => return Ok(None),
                None if self.over => break (rest.len(), false, true),
                None => self.fill()?,
            }
        };
        let (from, first) = (self.at, std::mem::replace(&mut self.first, ended));
        self.at += length + if ended { 2 } else { 0 };
        let octets = self.buffer.get(from..from + length).unwrap_or_default();
        Ok(Some(Piece { octets, first, ended, last }))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let room = self.buffer.get_mut(held..).unwrap_or_default();
        let read = loop {
            match self.source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(held + read.as_ref().map_or(0, |read| *read));
        self.over = read? == 0;
        Ok(())
    }
}

/// The length of the line at the beginning, if its CRLF comes in time.
fn line(octets: &[u8]) -> Option<usize> {
    let window = octets.get(..octets.len().min(PIECE + 2)).unwrap_or_default();
    memchr::memmem::find(window, b"\r\n")
}
