//! The format of a message's file, version 1. Its log is `journal`'s.
//!
//! ```text
//! PILLARBOX-SPOOL 1\n
//! <content, octet for octet>
//! <envelope, one line of JSON>\n
//! END <content length, 16 hex> <envelope length with its line feed, 8 hex> <sha256 of all before END, 64 hex>\n
//! ```
//!
//! The content comes first because it is written while it comes in, when the contexts are not final yet. The last line
//! has a fixed length, so it is found from the end; it is there only if all before it was written, and the digest says
//! whether all before it is what was written.

/// The first line.
pub(super) const HEADER: &[u8] = b"PILLARBOX-SPOOL 1\n";

/// The length of the last line.
pub(super) const FOOTER_LEN: usize = 95;

/// An envelope, as JSON, that this version writes or reads at most: far above what the limits of SMTP let through.
pub(super) const ENVELOPE_MAX: usize = 16 * 1024 * 1024;

/// The version a file's first octets name, or `None` if they are not those of a message.
pub(super) fn version(start: &[u8]) -> Option<u32> {
    let rest = start.strip_prefix(b"PILLARBOX-SPOOL ")?;
    let digits = rest.split(|octet| *octet == b'\n').next().filter(|digits| digits.len() < rest.len())?;
    let text = std::str::from_utf8(digits).ok()?;
    let canonical = text.bytes().all(|octet| octet.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical)
}

/// The last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Octets of content.
    pub content: u64,
    /// Octets of envelope, its line feed among them.
    pub envelope: u32,
    /// Of everything before the footer.
    pub digest: [u8; 32],
}

impl Footer {
    /// The line, [`FOOTER_LEN`] octets.
    pub(super) fn encode(&self) -> String {
        format!("END {:016x} {:08x} {}\n", self.content, self.envelope, hex(&self.digest))
    }

    /// Reads the line; exactly what [`Footer::encode`] writes.
    pub(super) fn parse(line: &[u8]) -> Option<Footer> {
        let text = std::str::from_utf8(line).ok()?.strip_prefix("END ")?.strip_suffix('\n')?;
        let mut fields = text.split(' ');
        let content = u64::from_str_radix(fields.next()?, 16).ok()?;
        let envelope = u32::from_str_radix(fields.next()?, 16).ok()?;
        let mut digest = [0; 32];
        let digits = fields.next()?;
        for (octet, at) in digest.iter_mut().zip((0..).step_by(2)) {
            *octet = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        let footer = Footer { content, envelope, digest };
        // One spelling only: no sign, no capital, no field more.
        (footer.encode().as_bytes() == line).then_some(footer)
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
