//! The first look at a message that has to be converted: what is done to each of its entities, or why it cannot be done.
//!
//! What is kept is one word for each entity, and there is a bound on those.

use std::io::{self, Read};

use super::entities::{Entities, Role};
use super::lines::{Lines, Piece};
use super::media::{Encoding, Media};

/// Entities of a message that is converted.
const ENTITIES: usize = 100_000;

/// Octets of a line (RFC 5322 section 2.1.1).
const LINE: usize = 998;

/// What a hop takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Lines of ASCII.
    Seven,
    /// Lines of octets.
    Eight,
}

/// What is done to one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Keep,
    /// Its Content-Transfer-Encoding says less than it did.
    Label,
    /// Its body becomes quoted-printable.
    Quoted,
    /// Its body becomes base64.
    Base64,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// A header, of the message or within it, holds octets that are no ASCII.
    pub(super) header: bool,
    /// What is done to each entity, in the order in which they begin; nothing to those that are not there.
    pub(super) changes: Vec<Change>,
    /// Between parts, where nobody reads, stands what the hop does not take.
    pub(super) rubble: bool,
    /// Why the message cannot be converted. There is none where nothing in it needs to be.
    pub(super) obstacle: Option<&'static str>,
}

impl Survey {
    /// Whether anything is done.
    pub(super) fn changes_anything(&self) -> bool {
        self.rubble || !self.changes.is_empty()
    }

    fn note(&mut self, number: usize, change: Result<Change, &'static str>) {
        match change {
            Ok(Change::Keep) => {}
            Ok(change) if number < ENTITIES => {
                if self.changes.len() <= number {
                    self.changes.resize(number + 1, Change::Keep);
                }
                if let Some(noted) = self.changes.get_mut(number) {
                    *noted = change;
                }
            }
            Ok(Change::Label) => {}
            Ok(_) => self.hinder("it has too many parts"),
            Err(obstacle) => self.hinder(obstacle),
        }
    }

    fn hinder(&mut self, obstacle: &'static str) {
        self.obstacle.get_or_insert(obstacle);
    }
}

/// Looks at all of it.
pub(super) fn survey(content: impl Read, target: Target) -> io::Result<Survey> {
    let mut lines = Lines::new(content);
    let mut entities = Entities::new();
    let mut survey = Survey::default();
    let (mut media, mut octets) = (Media::Text, Octets::default());
    while let Some(piece) = lines.next()? {
        let was_sealed = entities.sealed();
        match entities.step(piece) {
            Role::Header(_) => {
                let foreign = !piece.octets.is_ascii();
                survey.header |= foreign;
                // RFC 6152 section 3 is about bodies: nothing can be done for a header.
                if foreign && target == Target::Seven {
                    survey.hinder("its header is not ASCII");
                }
            }
            Role::HeaderEnd(found) => {
                let composite = matches!(found, Media::Message | Media::Multipart { .. });
                if composite && !was_sealed && says_too_much(entities.head().encoding(), target) {
                    survey.note(entities.number(), Ok(Change::Label));
                }
                entities.descend(&found);
                (media, octets) = (found, Octets::default());
            }
            Role::Body => {
                octets.note(piece);
                let label = entities.head().encoding();
                survey.note(entities.number(), change(&media, label, octets, target, entities.sealed()));
            }
            Role::Between => {
                let mut octets = Octets::default();
                octets.note(piece);
                match octets.must(target) {
                    true if entities.sealed() => survey.hinder(SEALED),
                    rubble => survey.rubble |= rubble,
                }
            }
            Role::Boundary => {}
        }
    }
    Ok(survey)
}

const SEALED: &str = "a part that is signed or encrypted would be broken";

/// What is done to a body.
fn change(
    media: &Media,
    label: Encoding,
    octets: Octets,
    target: Target,
    sealed: bool,
) -> Result<Change, &'static str> {
    let must = octets.must(target);
    match media {
        _ if sealed => {
            if must {
                Err(SEALED)
            } else {
                Ok(Change::Keep)
            }
        }
        // A line that is too long is as it came, where nothing could be done about it.
        Media::Opaque | Media::Message | Media::Multipart { .. } if must => Err("a part of it may not be encoded"),
        _ if label == Encoding::Encoded => {
            if must {
                Err("a part of it is not what its encoding says")
            } else {
                Ok(Change::Keep)
            }
        }
        Media::Text if must || octets.long => Ok(Change::Quoted),
        Media::Data if must || octets.long => Ok(Change::Base64),
        _ if says_too_much(label, target) => Ok(Change::Label),
        _ => Ok(Change::Keep),
    }
}

/// Whether a Content-Transfer-Encoding promises less than the hop asks for (RFC 2045 section 6.2).
fn says_too_much(label: Encoding, target: Target) -> bool {
    label == Encoding::Binary || (label == Encoding::Eight && target == Target::Seven)
}

/// What is in a body.
#[derive(Clone, Copy, Debug, Default)]
struct Octets {
    eight: bool,
    /// A NUL, or a CR or LF that is no part of a CRLF, or an end without one.
    stray: bool,
    long: bool,
    line: usize,
}

impl Octets {
    fn note(&mut self, piece: Piece<'_>) {
        self.line = if piece.first { 0 } else { self.line } + piece.octets.len();
        self.long |= self.line > LINE;
        self.eight |= !piece.octets.is_ascii();
        self.stray |= memchr::memchr3(0, b'\r', b'\n', piece.octets).is_some() || piece.last;
    }

    /// Whether something here cannot be sent.
    fn must(self, target: Target) -> bool {
        self.stray || (self.eight && target == Target::Seven)
    }
}
