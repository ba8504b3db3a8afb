//! The end of DATA's content, and the dots that were stuffed into it (RFC 5321 sections 4.1.1.4 and 4.5.2).
//!
//! Nothing but CRLF ends a line and nothing but CRLF.CRLF ends the content, whatever else comes: a server that also took
//! `LF.LF` would let a peer hide a second message in the first. What the content is and whether it is any good, `content`
//! knows.

use crate::content::{self, CHUNK, Content};

/// Reads the content of one message.
#[derive(Debug)]
pub(crate) struct Decoder {
    place: Place,
    content: Content,
}

/// What came just before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A CRLF, or DATA's own.
    LineStart,
    /// A dot at the start of a line.
    Dot,
    /// A dot at the start of a line, and a CR.
    DotCr,
    /// A CR.
    Cr,
    /// Anything else.
    Text,
}

/// What some octets led to.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// How many octets were used; those behind the end of the message are not.
    pub(crate) consumed: usize,
    /// Content; empty once a fault was found.
    pub(crate) content: Vec<u8>,
    /// The message is faulty, and was not before.
    pub(crate) spoiled: bool,
    /// The end of the message was reached.
    pub(crate) ended: bool,
}

impl Decoder {
    pub(crate) fn new(content: Content) -> Self {
        Decoder { place: Place::LineStart, content }
    }

    /// What is known of the content.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Reads on, up to the end of the message or until a chunk is full. Faulty content is read to its end all the same.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Decoded {
        let sound = self.content.outcome().is_ok();
        let mut kept = Vec::with_capacity(if sound { input.len().min(CHUNK) } else { 0 });
        let mut ended = false;
        let mut rest = input;
        while !ended && !content::is_full(&kept) {
            let Some((&octet, tail)) = rest.split_first() else { break };
            match (self.place, octet) {
                (Place::DotCr, b'\n') => {
                    ended = true;
                    self.place = Place::LineStart;
                    rest = tail;
                }
                (Place::LineStart, b'.') => {
                    self.place = Place::Dot;
                    rest = tail;
                }
                (Place::Dot, b'\r') => {
                    self.place = Place::DotCr;
                    rest = tail;
                }
                // The dot is dropped; its CR was one of the content.
                (Place::DotCr, _) => {
                    self.content.take(b"\r", &mut kept);
                    self.place = Place::Cr;
                }
                // A dot with more behind it was stuffed, and is dropped.
                (Place::Dot, _) => self.place = Place::Text,
                (Place::Cr, b'\n') => {
                    self.content.take(b"\n", &mut kept);
                    self.place = Place::LineStart;
                    rest = tail;
                }
                // The CR before this one was a stray; this one may not be. What the stray became may have filled the chunk,
                // and then this one waits.
                (_, b'\r') => {
                    if self.content.take(b"\r", &mut kept) > 0 {
                        self.place = Place::Cr;
                        rest = tail;
                    }
                }
                (Place::LineStart | Place::Cr | Place::Text, _) => {
                    let run = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
                    let used = self.content.take(rest.get(..run).unwrap_or_default(), &mut kept);
                    self.place = Place::Text;
                    rest = rest.get(used..).unwrap_or_default();
                }
            }
        }
        Decoded {
            consumed: input.len().saturating_sub(rest.len()),
            content: kept,
            spoiled: sound && self.content.outcome().is_err(),
            ended,
        }
    }
}
