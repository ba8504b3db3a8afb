//! The second way through a message: what is sent in its place.

use std::io::{self, Read};
use std::sync::Arc;

use super::encode::{Base64, Encoder, Quoted};
use super::entities::{Entities, Role};
use super::lines::{Lines, Piece};
use super::media::{Field, Media};
use super::survey::{Change, Target};

/// Reads a message as it is converted. At most a few lines of it are held.
#[derive(Debug)]
pub(super) struct Rewritten<R> {
    lines: Lines<R>,
    writer: Writer,
    out: Vec<u8>,
    /// How much of `out` was read.
    at: usize,
    over: bool,
}

#[derive(Debug)]
struct Writer {
    entities: Entities,
    changes: Arc<[Change]>,
    target: Target,
    /// Of the body that is being encoded.
    encoder: Option<Encoder>,
    /// A line of that body has ended, and whether its end is the body's or the boundary's the next line tells.
    newline: bool,
}

impl<R: Read> Rewritten<R> {
    pub(super) fn new(content: R, changes: Arc<[Change]>, target: Target) -> Rewritten<R> {
        let writer = Writer { entities: Entities::new(), changes, target, encoder: None, newline: false };
        Rewritten { lines: Lines::new(content), writer, out: Vec::new(), at: 0, over: false }
    }

    /// Octets of memory it has come to hold.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.lines.held() + self.out.capacity()
    }
}

impl<R: Read> Read for Rewritten<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.out.len() && !self.over {
            self.out.clear();
            self.at = 0;
            // Some lines at a time, for who reads has room for them.
            while self.out.len() < 8 * 1024 && !self.over {
                match self.lines.next()? {
                    Some(piece) => self.writer.piece(piece, &mut self.out),
                    None => {
                        self.writer.end(&mut self.out);
                        self.over = true;
                    }
                }
            }
        }
        let read = self.out.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

impl Writer {
    fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) {
        match self.entities.step(piece) {
            Role::Header(Field::Encoding) if self.change() != Change::Keep => return,
            Role::HeaderEnd(media) => {
                self.label(&media, out);
                self.encoder = match self.change() {
                    Change::Keep | Change::Label => None,
                    Change::Quoted => Some(Encoder::Quoted(Quoted::default())),
                    Change::Base64 => Some(Encoder::Base64(Base64::default())),
                };
                self.newline = false;
                self.entities.descend(&media);
            }
            Role::Body => {
                if let Some(encoder) = &mut self.encoder {
                    if std::mem::replace(&mut self.newline, piece.ended) {
                        encoder.newline(out);
                    }
                    return encoder.octets(piece.octets, out);
                }
            }
            // The end of the line before it is the boundary's own.
            Role::Boundary => {
                if let Some(mut encoder) = self.encoder.take() {
                    encoder.close(out);
                    if self.newline {
                        out.extend_from_slice(b"\r\n");
                    }
                }
            }
            Role::Between if !self.entities.sealed() => return self.rubble(piece, out),
            Role::Between | Role::Header(_) => {}
        }
        out.extend_from_slice(piece.octets);
        if piece.ended {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(mut encoder) = self.encoder.take() {
            if self.newline {
                encoder.newline(out);
            }
            encoder.finish(out);
        }
    }

    fn change(&self) -> Change {
        self.changes.get(self.entities.number()).copied().unwrap_or(Change::Keep)
    }

    /// The fields that say what became of the body.
    fn label(&self, media: &Media, out: &mut Vec<u8>) {
        let change = self.change();
        let encoding = match (change, self.target) {
            (Change::Keep, _) => return,
            (Change::Label, Target::Seven) => "7bit",
            (Change::Label, Target::Eight) => "8bit",
            (Change::Quoted, _) => "quoted-printable",
            (Change::Base64, _) => "base64",
        };
        let head = self.entities.head();
        if self.entities.is_message() && !head.versioned {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
            // RFC 1428 section 3: of a message from before MIME nobody knows what its octets stand for.
            if !head.typed() && *media == Media::Text {
                out.extend_from_slice(b"Content-Type: text/plain; charset=unknown-8bit\r\n");
            }
        }
        out.extend_from_slice(b"Content-Transfer-Encoding: ");
        out.extend_from_slice(encoding.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// What no reader shows (RFC 2046 section 5.1.1) has no encoding either.
    fn rubble(&self, piece: Piece<'_>, out: &mut Vec<u8>) {
        out.extend(piece.octets.iter().map(|octet| match octet {
            0 | b'\r' | b'\n' => b'?',
            octet if !octet.is_ascii() && self.target == Target::Seven => b'?',
            octet => *octet,
        }));
        if piece.ended {
            out.extend_from_slice(b"\r\n");
        }
    }
}
