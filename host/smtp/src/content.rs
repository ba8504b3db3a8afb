//! The content of one message, whichever way it comes: counts it, finds what is wrong with it, and hands on what is to be
//! kept.
//!
//! DATA's decoder and BDAT's chunks both feed it. It keeps nothing, and does not know where the message ends nor where its
//! content goes.

use crate::header::{Header, Trouble};
use crate::{Body, Limits, Refusal, Settings, StrayNewlines, reply};

/// The most content handed over at once, in octets.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The most that one octet can add: the CRLF it becomes, or completes.
const STEP: usize = 2;

/// What is read of a message beyond the size limit, and half of it, before the peer is told.
const PATIENCE: u64 = 1024 * 1024;

/// What stands for the size limit there where no limit is set.
const UNLIMITED: u64 = 64 * 1024 * 1024;

/// A message whose content is coming.
#[derive(Debug)]
pub(crate) struct Content {
    limits: Limits,
    newlines: Newlines,
    header: Header,
    /// Octets of content; of a faulty message, octets that came.
    size: u64,
    /// A CR came, and what follows it did not yet.
    cr: bool,
    fault: Option<Fault>,
}

/// What a CR or LF that is no part of a CRLF is.
#[derive(Clone, Copy, Debug)]
enum Newlines {
    Fault,
    Normalized,
    /// Octets like any other: `BODY=BINARYMIME`.
    Binary,
}

/// Why a message that came to its end is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Header(Trouble),
    StrayNewlineInBody,
    StrayNewlineInHeader,
    TooLarge,
}

impl Fault {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Fault::Header(Trouble::Size) => reply::header_too_large(),
            Fault::Header(Trouble::Hops) => reply::too_many_hops(),
            Fault::Header(Trouble::Lines) => reply::too_many_header_lines(),
            Fault::StrayNewlineInBody => reply::stray_newline_in_body(),
            Fault::StrayNewlineInHeader => reply::stray_newline_in_header(),
            Fault::TooLarge => reply::too_large(),
        }
    }
}

/// Whether nothing more is to be put in here before it is handed over.
pub(crate) fn is_full(kept: &[u8]) -> bool {
    // Twice a step, so that the last CR of a message finds room, too.
    kept.len() > CHUNK - 2 * STEP
}

impl Content {
    pub(crate) fn new(settings: &Settings, body: Body) -> Self {
        let newlines = match (body, settings.stray_newlines) {
            (Body::BinaryMime, _) => Newlines::Binary,
            (_, StrayNewlines::Refuse) => Newlines::Fault,
            (_, StrayNewlines::Normalize) => Newlines::Normalized,
        };
        Content { limits: settings.limits, newlines, header: Header::default(), size: 0, cr: false, fault: None }
    }

    /// That many octets are to come. What will be too much is known to be so already; what nobody can count is, too.
    pub(crate) fn announce(&mut self, octets: u64) {
        let limit = self.limits.message_size;
        if self.size.checked_add(octets).is_none_or(|sum| limit != 0 && sum > limit) {
            self.fault.get_or_insert(Fault::TooLarge);
        }
    }

    /// Takes octets and appends what is to be kept of them, until that is full; how many were used. Faulty content is
    /// used up and none of it kept.
    pub(crate) fn take(&mut self, octets: &[u8], kept: &mut Vec<u8>) -> usize {
        let mut rest = octets;
        while self.fault.is_none() && !is_full(kept) {
            if matches!(self.newlines, Newlines::Binary) {
                let (run, tail) = rest.split_at_checked(CHUNK.saturating_sub(kept.len())).unwrap_or((rest, &[]));
                self.keep(run, kept);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
                continue;
            }
            if self.cr && !rest.is_empty() {
                self.cr = false;
                match rest.strip_prefix(b"\n") {
                    Some(tail) => {
                        self.keep(b"\r\n", kept);
                        rest = tail;
                    }
                    None => self.stray(kept),
                }
                continue;
            }
            let room = CHUNK.saturating_sub(STEP).saturating_sub(kept.len());
            let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()).min(room);
            let (text, tail) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            if !text.is_empty() {
                self.keep(text, kept);
                rest = tail;
                continue;
            }
            let Some((&octet, tail)) = rest.split_first() else { break };
            rest = tail;
            if octet == b'\r' {
                self.cr = true;
            } else {
                self.stray(kept);
            }
        }
        if self.fault.is_some() {
            self.size = self.size.saturating_add(length(rest));
            rest = &[];
        }
        octets.len().saturating_sub(rest.len())
    }

    /// Nothing more comes. A CR that nothing followed is a stray one.
    pub(crate) fn finish(&mut self, kept: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) && self.fault.is_none() {
            self.stray(kept);
        }
    }

    /// The octets of content, or what is wrong with it.
    pub(crate) fn outcome(&self) -> Result<u64, Fault> {
        self.fault.map_or(Ok(self.size), Err)
    }

    /// Whether a faulty message has been read for long enough.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.would_exhaust(0)
    }

    /// Whether it will have been after that many octets more.
    pub(crate) fn would_exhaust(&self, octets: u64) -> bool {
        self.fault.is_some() && is_beyond_patience(&self.limits, self.size.saturating_add(octets))
    }

    fn keep(&mut self, octets: &[u8], kept: &mut Vec<u8>) {
        self.size = self.size.saturating_add(length(octets));
        if self.limits.message_size != 0 && self.size > self.limits.message_size {
            self.spoil(Fault::TooLarge, kept);
        } else if let Some(trouble) = self.header.scan(octets, &self.limits) {
            self.spoil(Fault::Header(trouble), kept);
        } else {
            kept.extend_from_slice(octets);
        }
    }

    /// Meets a CR or LF that is no part of a CRLF.
    fn stray(&mut self, kept: &mut Vec<u8>) {
        match self.newlines {
            Newlines::Normalized => self.keep(b"\r\n", kept),
            _ if self.header.has_line() => self.spoil(Fault::StrayNewlineInHeader, kept),
            _ => self.spoil(Fault::StrayNewlineInBody, kept),
        }
    }

    fn spoil(&mut self, fault: Fault, kept: &mut Vec<u8>) {
        self.fault.get_or_insert(fault);
        kept.clear();
    }
}

/// Whether a peer that sends so much, none of it kept, is to be told before it comes to an end.
pub(crate) fn is_beyond_patience(limits: &Limits, octets: u64) -> bool {
    // Where any size is welcome, what is thrown away is not.
    let limit = if limits.message_size == 0 { UNLIMITED } else { limits.message_size };
    octets > limit.saturating_add(limit / 2).saturating_add(PATIENCE)
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
