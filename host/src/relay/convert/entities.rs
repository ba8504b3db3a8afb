//! The way through a message's entities (RFC 2046), piece by piece: which entity a piece belongs to, and what it is there.
//!
//! What it remembers is bounded: the boundaries it is within, and two fields of one header.

use super::lines::Piece;
use super::media::{Field, Head, Media};

/// Entities within entities that are followed. Nobody writes as many.
const DEPTH: usize = 50;

/// Where in a message the reading is.
#[derive(Debug)]
pub(super) struct Entities {
    within: Vec<Frame>,
    place: Place,
    head: Head,
    /// The number of the entity whose header or body is read, in the order in which they begin.
    number: usize,
    /// Entities so far.
    count: usize,
    /// The entity is a message, and no part of one.
    message: bool,
}

#[derive(Debug)]
struct Frame {
    /// None of a `message/rfc822`, which nothing ends but the end of what it is in.
    boundary: Option<Vec<u8>>,
    sealed: bool,
    digest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Body,
    Between,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Of the entity's header.
    Header(Field),
    /// The empty line behind a header; the body is such.
    HeaderEnd(Media),
    /// Of the entity's body, which has no parts.
    Body,
    /// A line between parts. The CRLF before it is of it.
    Boundary,
    /// Before the first part or behind the last one: nobody reads it.
    Between,
}

impl Entities {
    pub(super) fn new() -> Entities {
        Entities { within: Vec::new(), place: Place::Header, head: Head::default(), number: 0, count: 1, message: true }
    }

    /// Looks at the next piece. Afterwards the entity is the one the piece belongs to.
    pub(super) fn step(&mut self, piece: Piece<'_>) -> Role {
        if piece.first && self.leave(piece.octets) {
            return Role::Boundary;
        }
        match self.place {
            Place::Body => Role::Body,
            Place::Between => Role::Between,
            Place::Header if piece.first && piece.octets.is_empty() => Role::HeaderEnd(self.enter()),
            Place::Header => Role::Header(self.head.read(piece.octets, piece.first)),
        }
    }

    /// To be called when a [`Role::HeaderEnd`] was dealt with: a message has another header in its body.
    pub(super) fn descend(&mut self, media: &Media) {
        if *media == Media::Message {
            self.begin(true);
        }
    }

    /// The number of the entity.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Its header so far.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether its header is a message's.
    pub(super) fn is_message(&self) -> bool {
        self.message
    }

    /// Whether its octets are not to be changed.
    pub(super) fn sealed(&self) -> bool {
        self.within.iter().any(|frame| frame.sealed)
    }

    /// A boundary line of what is read or of anything around it (RFC 2046 section 5.1.2): what was within is over.
    fn leave(&mut self, line: &[u8]) -> bool {
        let Some(line) = line.strip_prefix(b"--") else { return false };
        let padding = line.iter().rev().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
        let line = line.get(..line.len() - padding).unwrap_or_default();
        let closes = |frame: &Frame| {
            let rest = line.strip_prefix(frame.boundary.as_deref()?)?;
            match rest {
                b"" => Some(false),
                b"--" => Some(true),
                _ => None,
            }
        };
        let mut found = self.within.iter().enumerate().rev();
        let Some((at, last)) = found.find_map(|(at, frame)| closes(frame).map(|last| (at, last))) else { return false };
        if last {
            self.within.truncate(at);
            self.place = Place::Between;
        } else {
            self.within.truncate(at + 1);
            self.begin(false);
        }
        true
    }

    fn begin(&mut self, message: bool) {
        self.place = Place::Header;
        self.head = Head::default();
        self.number = self.count;
        self.count = self.count.saturating_add(1);
        self.message = message;
    }

    /// The header is over.
    fn enter(&mut self) -> Media {
        let in_digest = !self.message && self.within.last().is_some_and(|frame| frame.digest);
        let media = self.head.media(in_digest);
        self.place = Place::Body;
        let frame = match &media {
            Media::Message => Frame { boundary: None, sealed: false, digest: false },
            Media::Multipart { boundary, sealed, digest } => {
                self.place = Place::Between;
                Frame { boundary: Some(boundary.clone()), sealed: *sealed, digest: *digest }
            }
            _ => return media,
        };
        // What lies deeper is no part to be changed.
        if self.within.len() >= DEPTH {
            self.place = Place::Body;
            return Media::Opaque;
        }
        self.within.push(frame);
        media
    }
}
