//! What of the original message comes back with a notice: its header, or all of it.
//!
//! It reads the message once and keeps no more than a header of bounded length. It does not know who wanted what.

use std::collections::BTreeSet;
use std::io::{self, Read};

use crate::spool::{Content, Stored};

/// The part of a message that comes back.
#[derive(Debug, Default)]
pub(super) struct Original {
    /// Its header, without the empty line, at most [`HEADER_MAX`] octets of it: whole lines that all end in CRLF.
    pub(super) header: Vec<u8>,
    /// Whether all of it comes back.
    pub(super) whole: bool,
    /// Whether what comes back holds octets beyond ASCII.
    pub(super) eight_bit: bool,
    /// The endings of a boundary that occur in what comes back.
    pub(super) taken: BTreeSet<[u8; ENDING]>,
}

impl Original {
    /// Looks at a message. All of it is to come back if `whole`, and if it can be part of another message as it is.
    /// `delimiter` is how the line between parts begins. Blocking.
    pub(super) fn look(stored: &Stored, whole: bool, delimiter: &str) -> io::Result<Original> {
        let mut start = Vec::new();
        stored.content().take(HEADER_MAX as u64).read_to_end(&mut start)?;
        let header = header(&start);
        let mut scan = Scan::new(delimiter);
        let mut whole = whole && stored.content_len <= WHOLE_MAX;
        if whole {
            scan.content(stored.content())?;
            whole = !scan.binary;
        }
        if !whole {
            scan = Scan::new(delimiter);
            scan.octets(&header);
        }
        Ok(Original { header, whole, eight_bit: scan.eight_bit, taken: scan.taken })
    }

    /// Whether the header holds UTF-8 beyond ASCII.
    pub(super) fn has_utf8_header(&self) -> bool {
        !self.header.is_ascii() && std::str::from_utf8(&self.header).is_ok()
    }

    /// What `Message-ID` says, if it is one identifier and nothing else.
    pub(super) fn message_id(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.header);
        let name = |line: &&str| line.get(..11).is_some_and(|name| name.eq_ignore_ascii_case("message-id:"));
        let mut lines = text.split("\r\n").skip_while(|line| !name(line));
        let first = lines.next()?.get(11..)?.trim_matches([' ', '\t']);
        // Many fold before it.
        let value = if first.is_empty() { lines.next().filter(|line| line.starts_with([' ', '\t']))? } else { first };
        let value = value.trim_matches([' ', '\t']);
        let inner = value.strip_prefix('<')?.strip_suffix('>')?;
        let is_right = inner.bytes().all(|octet| matches!(octet, b'!'..=b'~') && !matches!(octet, b'<' | b'>'));
        (is_right && !inner.is_empty() && inner.len() <= MESSAGE_ID_MAX).then(|| value.to_owned())
    }
}

/// The fields a message begins with, each line cut where it is too long, and without what would end it elsewhere.
fn header(start: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(start.len().min(4096));
    let mut rest = start;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let line = rest.get(..end).unwrap_or_default();
        let continues = !header.is_empty() && matches!(line.first(), Some(b' ' | b'\t'));
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        // RFC 5322 section 4.5 lets blanks stand before the colon.
        let name_ends = name.len() < line.len();
        let name = name.trim_ascii_end();
        let is_field = name_ends && !name.is_empty() && name.iter().all(|octet| *octet > b' ');
        if !continues && !is_field {
            break;
        }
        let kept = line.get(..line.len().min(LINE_MAX)).unwrap_or_default();
        header.extend(kept.iter().map(|octet| if matches!(octet, b'\r' | b'\n' | 0) { b'?' } else { *octet }));
        header.extend_from_slice(b"\r\n");
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    header
}

/// Looks at octets as they stream by.
struct Scan {
    delimiter: Vec<u8>,
    /// The last octets, in which a delimiter may have begun.
    tail: Vec<u8>,
    taken: BTreeSet<[u8; ENDING]>,
    eight_bit: bool,
    /// Whether there is what a text has not: a NUL, a CR or LF that ends no line, a line that is too long.
    binary: bool,
    line: usize,
    after_cr: bool,
}

impl Scan {
    fn new(delimiter: &str) -> Scan {
        Scan {
            delimiter: delimiter.as_bytes().to_vec(),
            tail: Vec::new(),
            taken: BTreeSet::new(),
            eight_bit: false,
            binary: false,
            line: 0,
            after_cr: false,
        }
    }

    fn content(&mut self, mut content: Content) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match content.read(&mut chunk)? {
                0 => break,
                read => self.octets(chunk.get(..read).unwrap_or_default()),
            }
        }
        self.binary |= self.after_cr;
        Ok(())
    }

    fn octets(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.eight_bit |= !octet.is_ascii();
            match (self.after_cr, octet) {
                (true, b'\n') => self.line = 0,
                (true, _) | (false, b'\n' | 0) => self.binary = true,
                (false, b'\r') => {}
                (false, _) => {
                    self.line = self.line.saturating_add(1);
                    self.binary |= self.line > LINE_MAX;
                }
            }
            self.after_cr = octet == b'\r' && !self.after_cr;
        }
        self.tail.extend_from_slice(octets);
        for at in memchr::memmem::find_iter(&self.tail, &self.delimiter) {
            let ending = self.tail.get(at.saturating_add(self.delimiter.len())..);
            if let Some(ending) = ending.and_then(|rest| rest.first_chunk::<ENDING>()) {
                self.taken.insert(*ending);
            }
        }
        let keep = self.delimiter.len().saturating_add(ENDING).saturating_sub(1);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
    }
}

/// Octets in which boundaries differ.
pub(super) const ENDING: usize = 8;

/// Octets of header that come back.
const HEADER_MAX: usize = 64 * 1024;

/// Octets of a message that comes back whole: what is larger would be too large for many a mailbox, and its notice lost.
pub(super) const WHOLE_MAX: u64 = 1024 * 1024;

/// Octets of a line (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 998;

const MESSAGE_ID_MAX: usize = 250;

const CHUNK: usize = 64 * 1024;
