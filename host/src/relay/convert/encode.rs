//! Quoted-printable and base64 (RFC 2045 sections 6.7 and 6.8), octets in and lines out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of an encoded line.
const LINE: usize = 76;

/// Octets of a line of base64.
const GROUP: usize = LINE / 4 * 3;

/// Encodes one body. What is handed in is its octets, with a CRLF for each end of a line.
#[derive(Debug)]
pub(super) enum Encoder {
    Quoted(Quoted),
    Base64(Base64),
}

/// The state of base64.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Octets that make no line yet.
    group: Vec<u8>,
    /// A line was written.
    begun: bool,
}

/// The state of quoted-printable.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    /// Characters of the line that is being written.
    column: usize,
    /// A blank, which is encoded if the line ends behind it.
    blank: Option<u8>,
    /// The line was begun by a soft break.
    soft: bool,
}

impl Encoder {
    /// Octets within a line; CR and LF among them are no line end.
    pub(super) fn octets(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoder::Quoted(quoted) => octets.iter().for_each(|octet| quoted.octet(*octet, out)),
            Encoder::Base64(base64) => base64.octets(octets, out),
        }
    }

    /// The end of a line.
    pub(super) fn newline(&mut self, out: &mut Vec<u8>) {
        match self {
            Encoder::Quoted(quoted) => quoted.newline(out),
            Encoder::Base64(_) => self.octets(b"\r\n", out),
        }
    }

    /// The end of a body that something follows, which brings the CRLF before it along.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        match self {
            Encoder::Quoted(quoted) => quoted.settle(true, out),
            Encoder::Base64(base64) => {
                let rest = std::mem::take(&mut base64.group);
                base64.line(&rest, out);
            }
        }
    }

    /// The end of a body that nothing follows: it ends with a CRLF, which stands for none where there was none.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        match self {
            Encoder::Quoted(Quoted { column: 0, .. }) | Encoder::Base64(Base64 { begun: false, .. }) => {}
            Encoder::Quoted(_) => out.extend_from_slice(b"=\r\n"),
            Encoder::Base64(_) => out.extend_from_slice(b"\r\n"),
        }
    }
}

impl Base64 {
    fn octets(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut group = std::mem::take(&mut self.group);
        group.extend_from_slice(octets);
        let whole = group.len() - group.len() % GROUP;
        for line in group.get(..whole).unwrap_or_default().chunks(GROUP) {
            self.line(line, out);
        }
        group.drain(..whole);
        self.group = group;
    }

    fn line(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(STANDARD.encode(octets).as_bytes());
    }
}

impl Quoted {
    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.settle(false, out);
        match octet {
            b' ' | b'\t' => self.blank = Some(octet),
            b'!'..=b'<' | b'>'..=b'~' => self.write(octet, false, out),
            _ => self.write(octet, true, out),
        }
    }

    fn newline(&mut self, out: &mut Vec<u8>) {
        self.settle(true, out);
        out.extend_from_slice(b"\r\n");
        (self.column, self.soft) = (0, false);
    }

    /// Writes the blank that was held back. Behind one that ends a line nothing would be left of it.
    fn settle(&mut self, ends: bool, out: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.write(blank, ends, out);
        }
    }

    fn write(&mut self, octet: u8, encoded: bool, out: &mut Vec<u8>) {
        let width = if encoded { 3 } else { 1 };
        // The last place is the soft break's.
        if self.column + width >= LINE {
            out.extend_from_slice(b"=\r\n");
            (self.column, self.soft) = (0, true);
        }
        // A line that begins in the middle of another could be made to read as a boundary.
        if encoded || (octet == b'-' && self.soft && self.column == 0) {
            let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
            out.extend_from_slice(&[b'=', hex(octet >> 4), hex(octet & 15)]);
            self.column += 3;
        } else {
            out.push(octet);
            self.column += 1;
        }
    }
}
