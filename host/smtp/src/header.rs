//! The header of a message, looked at as it streams by: how long it is, and how many servers it has passed.
//!
//! It ends at the empty line, or at the first line that is no field and continues none. It keeps nothing, and does not know
//! what the fields say.

use crate::Limits;

/// Octets of a field's name. A line has at most 998 (RFC 5322 section 2.1.1), so whatever is longer is no name.
const NAME: usize = 998;

/// The field that every server adds (RFC 5321 section 4.4).
const TRACE: &[u8] = b"received";

/// A header so far.
#[derive(Debug, Default)]
pub(crate) struct Header {
    place: Place,
    octets: u64,
    lines: u64,
    hops: u32,
}

/// What there is too much of in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Hops,
    Lines,
    Size,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    LineStart,
    /// In what may be a field's name.
    Name {
        octets: usize,
        trace: bool,
    },
    /// In the blanks behind it (RFC 5322 section 4.5).
    Blank {
        octets: usize,
        trace: bool,
    },
    /// In a field's value.
    Value,
    /// A CR in it.
    ValueCr,
    /// A CR at the start of a line.
    EmptyCr,
    Over,
}

impl Header {
    /// Whether a line that ends here, otherwise than by CRLF, is one of the header: a field's, or an empty one where a field
    /// may begin.
    pub(crate) fn has_line(&self) -> bool {
        matches!(self.place, Place::LineStart | Place::Value | Place::ValueCr)
    }

    fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// Looks at what comes next, and tells of the first thing that is wrong.
    pub(crate) fn scan(&mut self, octets: &[u8], limits: &Limits) -> Option<Trouble> {
        let mut rest = octets;
        while !self.is_over() {
            if matches!(self.place, Place::Value) {
                let run = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
                self.count(run);
                rest = rest.get(run..).unwrap_or_default();
            }
            let Some((&octet, tail)) = rest.split_first() else { break };
            self.place = self.next(octet);
            rest = tail;
        }
        let exceeds = |count: u64, limit: u64| limit != 0 && count > limit;
        if exceeds(self.octets, limits.header_size) {
            Some(Trouble::Size)
        } else if exceeds(self.lines, limits.header_lines) {
            Some(Trouble::Lines)
        } else if exceeds(self.hops.into(), limits.hops.into()) {
            Some(Trouble::Hops)
        } else {
            None
        }
    }

    fn next(&mut self, octet: u8) -> Place {
        match (self.place, octet) {
            (Place::LineStart, b'\r') => Place::EmptyCr,
            // A continuation, if there is something to continue.
            (Place::LineStart, b' ' | b'\t') if self.lines > 0 => self.line(1),
            (Place::LineStart, _) => self.name(0, true, octet),
            (Place::Name { octets, trace }, _) => self.name(octets, trace, octet),
            (Place::Blank { octets, trace }, b':') => self.field(octets, trace),
            (Place::Blank { octets, trace }, b' ' | b'\t') if octets < NAME => {
                Place::Blank { octets: octets.saturating_add(1), trace }
            }
            (Place::Value, b'\r') => {
                self.count(1);
                Place::ValueCr
            }
            (Place::ValueCr, b'\n') => {
                self.count(1);
                Place::LineStart
            }
            (Place::ValueCr, b'\r') => {
                self.count(1);
                Place::ValueCr
            }
            (Place::Value | Place::ValueCr, _) => {
                self.count(1);
                Place::Value
            }
            (Place::Blank { .. } | Place::EmptyCr | Place::Over, _) => Place::Over,
        }
    }

    /// RFC 5322 section 3.6.8: a name is printable, and holds no colon.
    fn name(&mut self, octets: usize, trace: bool, octet: u8) -> Place {
        match octet {
            b':' if octets > 0 => self.field(octets, trace && octets == TRACE.len()),
            b' ' | b'\t' if octets > 0 => {
                Place::Blank { octets: octets.saturating_add(1), trace: trace && octets == TRACE.len() }
            }
            b'!'..=b'9' | b';'..=b'~' if octets < NAME => {
                let trace = trace && TRACE.get(octets).is_some_and(|expected| octet.eq_ignore_ascii_case(expected));
                Place::Name { octets: octets.saturating_add(1), trace }
            }
            _ => Place::Over,
        }
    }

    /// A colon came: what stood before it was a name, and is counted.
    fn field(&mut self, octets: usize, trace: bool) -> Place {
        self.hops = self.hops.saturating_add(u32::from(trace));
        self.line(octets.saturating_add(1))
    }

    fn line(&mut self, octets: usize) -> Place {
        self.lines = self.lines.saturating_add(1);
        self.count(octets);
        Place::Value
    }

    fn count(&mut self, octets: usize) {
        self.octets = self.octets.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
    }
}
