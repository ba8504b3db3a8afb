//! The content of a message: ends it where it ends, takes the stuffed dots out, counts it (RFC 5321 sections 4.1.1.4 and
//! 4.5.2).
//!
//! Nothing but CRLF ends a line and nothing but CRLF.CRLF ends the content, whatever else comes: a server that also took
//! `LF.LF` would let a peer hide a second message in the first. It does not know where the content goes.

use crate::StrayNewlines;

/// The most content handed over at once, in octets.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The most content one octet of input can lead to: the CRLF a stray CR before it became, and itself.
const STEP: usize = 3;

/// Reads the content of one message.
#[derive(Debug)]
pub(crate) struct Decoder {
    place: Place,
    stray_newlines: StrayNewlines,
    /// Octets of content that are taken; 0 is no limit.
    limit: u64,
    size: u64,
    fault: Option<Fault>,
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

/// Why a message that came to its end is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    StrayNewline,
    TooLarge,
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
    pub(crate) fn new(limit: u64, stray_newlines: StrayNewlines) -> Self {
        Decoder { place: Place::LineStart, stray_newlines, limit, size: 0, fault: None }
    }

    /// The octets of content, or what is wrong with it.
    pub(crate) fn outcome(&self) -> Result<u64, Fault> {
        self.fault.map_or(Ok(self.size), Err)
    }

    /// Reads on, up to the end of the message or until a chunk is full. Faulty content is read to its end all the same.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Decoded {
        let sound = self.fault.is_none();
        let mut content = Vec::with_capacity(if sound { input.len().min(CHUNK) } else { 0 });
        let mut ended = false;
        let mut rest = input;
        while !ended && content.len() <= CHUNK - STEP {
            if self.place == Place::Text {
                let room = CHUNK - content.len();
                let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()).min(room);
                let (text, tail) = rest.split_at_checked(run).unwrap_or((rest, &[]));
                if !text.is_empty() {
                    self.take(text, &mut content);
                    rest = tail;
                    continue;
                }
            }
            let Some((&octet, tail)) = rest.split_first() else { break };
            rest = tail;
            self.place = match (self.place, octet) {
                (Place::DotCr, b'\n') => {
                    ended = true;
                    Place::LineStart
                }
                (Place::Cr, b'\n') => {
                    self.take(b"\r\n", &mut content);
                    Place::LineStart
                }
                (Place::LineStart, b'.') => Place::Dot,
                (Place::Dot, b'\r') => Place::DotCr,
                (Place::LineStart | Place::Text, b'\r') => Place::Cr,
                // The CR before this one was a stray; this one may not be.
                (Place::Cr | Place::DotCr, b'\r') => {
                    self.stray(&mut content);
                    Place::Cr
                }
                (Place::LineStart | Place::Dot | Place::Text, b'\n') => {
                    self.stray(&mut content);
                    Place::Text
                }
                (Place::Cr | Place::DotCr, _) => {
                    self.stray(&mut content);
                    self.take(&[octet], &mut content);
                    Place::Text
                }
                // A dot with more behind it was stuffed, and is dropped.
                (Place::LineStart | Place::Dot | Place::Text, _) => {
                    self.take(&[octet], &mut content);
                    Place::Text
                }
            };
        }
        Decoded {
            consumed: input.len().saturating_sub(rest.len()),
            content,
            spoiled: sound && self.fault.is_some(),
            ended,
        }
    }

    /// Takes octets into the content, if there is to be any.
    fn take(&mut self, octets: &[u8], content: &mut Vec<u8>) {
        if self.fault.is_some() {
            return;
        }
        self.size = self.size.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        if self.limit != 0 && self.size > self.limit {
            self.spoil(Fault::TooLarge, content);
        } else {
            content.extend_from_slice(octets);
        }
    }

    /// Meets a CR or LF that is no part of a CRLF.
    fn stray(&mut self, content: &mut Vec<u8>) {
        match self.stray_newlines {
            StrayNewlines::Refuse => self.spoil(Fault::StrayNewline, content),
            StrayNewlines::Normalize => self.take(b"\r\n", content),
        }
    }

    fn spoil(&mut self, fault: Fault, content: &mut Vec<u8>) {
        self.fault.get_or_insert(fault);
        content.clear();
    }
}
