//! The header of a message as policy reads and changes it. Every octet of it is kept: what nobody changed is written as it
//! came, in its place.

/// A header section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its lines, by field, in order.
    lines: Vec<Lines>,
    /// The octets between it and the body as it came: an empty line, or nothing.
    end: Vec<u8>,
    /// Where the body begins in the message as it came.
    body: u64,
    /// Whether it is otherwise than it came.
    changed: bool,
}

/// A field with its continuations, or lines that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    /// The field's name as written; none for lines that are no field.
    name: Option<String>,
    /// All octets, line ends included.
    octets: Vec<u8>,
}

/// A change of a header. `nth` counts from 0 among the fields of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEdit<'a> {
    /// A field before the `nth` of its name, or on top where there are not so many.
    Insert(&'a str),
    /// Another value for the `nth`.
    Replace(&'a str),
    /// The `nth` goes.
    Remove,
}

/// There is no `nth` field of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are not so many fields of this name")]
pub struct NoSuchField;

/// Octets of a line without its end: what it should not, and what it must not have more of (RFC 5322 section 2.1.1).
const FOLD: usize = 78;
const LINE: usize = 998;

impl Header {
    /// Reads a message's first octets, up to and with the empty line, or all of them where there is none.
    pub fn parse(octets: &[u8]) -> Header {
        let mut lines: Vec<Lines> = Vec::new();
        let mut rest = octets;
        while let Some(line) = next_line(rest).filter(|line| *line != b"\r\n") {
            rest = rest.get(line.len()..).unwrap_or_default();
            match (lines.last_mut(), matches!(line.first(), Some(b' ' | b'\t'))) {
                (Some(last), true) => last.octets.extend_from_slice(line),
                _ => lines.push(Lines { name: field_name(line), octets: line.to_vec() }),
            }
        }
        Header { lines, end: rest.to_vec(), body: octets.len() as u64, changed: false }
    }

    /// The fields: names and values as written, folding included, without the last line end.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().filter_map(|lines| Some((lines.name.as_deref()?, lines.value())))
    }

    /// Its octets with the empty line behind it.
    pub fn octets(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|lines| &lines.octets).chain(&self.end).copied().collect()
    }

    /// How many those are.
    pub fn size(&self) -> u64 {
        self.lines.iter().map(|lines| lines.octets.len() as u64).sum::<u64>() + self.end.len() as u64
    }

    /// How many lines they are, without the empty one.
    pub fn count(&self) -> u64 {
        let ends = |lines: &Lines| memchr::memchr_iter(b'\n', &lines.octets).count() as u64;
        self.lines.iter().map(ends).sum()
    }

    /// Where the body began in the message as it came.
    pub fn body(&self) -> u64 {
        self.body
    }

    /// Whether it is otherwise than it came.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The header with a change.
    ///
    /// # Errors
    /// What is to be replaced or removed is not there.
    pub fn edited(&self, name: &str, nth: u32, edit: HeaderEdit<'_>) -> Result<Header, NoSuchField> {
        let mut header = self.clone();
        header.complete();
        let named = |lines: &Lines| lines.name.as_ref().is_some_and(|field| field.eq_ignore_ascii_case(name));
        let places = header.lines.iter().enumerate().filter(|(_, lines)| named(lines)).map(|(at, _)| at);
        let place = usize::try_from(nth).ok().and_then(|nth| places.into_iter().nth(nth));
        let field = |value: &str| Lines { name: Some(name.to_owned()), octets: folded(name, value) };
        match (edit, place) {
            (HeaderEdit::Insert(value), _) => header.lines.insert(place.unwrap_or(0), field(value)),
            (HeaderEdit::Replace(value), Some(at)) => {
                if let Some(lines) = header.lines.get_mut(at) {
                    // The name stays as it was written.
                    let written = lines.name.clone().unwrap_or_else(|| name.to_owned());
                    lines.octets = folded(&written, value);
                }
            }
            (HeaderEdit::Remove, Some(at)) => drop(header.lines.remove(at)),
            (HeaderEdit::Replace(_) | HeaderEdit::Remove, None) => return Err(NoSuchField),
        }
        header.changed = true;
        Ok(header)
    }

    /// Makes it one that ends with an empty line. Where a message has no header, or none that ends, what is no field is its
    /// body.
    fn complete(&mut self) {
        let headless = self.lines.first().is_some_and(|lines| lines.name.is_none());
        if headless || self.end.is_empty() {
            let fields = self.lines.iter().take_while(|lines| lines.name.is_some()).count();
            let body = self.lines.split_off(fields);
            let octets = body.iter().map(|lines| lines.octets.len() as u64).sum::<u64>() + self.end.len() as u64;
            self.body = self.body.saturating_sub(octets);
            self.end = b"\r\n".to_vec();
        }
        // A last line without its end, of a message that is nothing but a header.
        if let Some(last) = self.lines.last_mut().filter(|last| !last.octets.ends_with(b"\n")) {
            last.octets.extend_from_slice(b"\r\n");
        }
    }
}

impl Lines {
    fn value(&self) -> &[u8] {
        let colon = memchr::memchr(b':', &self.octets).unwrap_or_default();
        let mut value = self.octets.get(colon.saturating_add(1)..).unwrap_or_default();
        while let Some((b'\r' | b'\n', rest)) = value.split_last() {
            value = rest;
        }
        match value.split_first() {
            Some((b' ' | b'\t', rest)) => rest,
            _ => value,
        }
    }
}

/// Whether this may be a field's name (RFC 5322 section 2.2).
pub fn is_field_name(name: &str) -> bool {
    (1..=FOLD - 2).contains(&name.len()) && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
}

fn next_line(octets: &[u8]) -> Option<&[u8]> {
    octets.split_inclusive(|octet| *octet == b'\n').next()
}

fn field_name(line: &[u8]) -> Option<String> {
    let colon = memchr::memchr(b':', line)?;
    // Blanks may stand behind a name (RFC 5322 section 4.5), and never in it (section 2.2): such a line is text.
    let name = line.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| String::from_utf8_lossy(name).into_owned())
}

/// The field's octets, in lines of at most 78 octets where its blanks let it be so, and of at most 998 in any case: a value
/// of which that cannot be made is broken where it must be.
fn folded(name: &str, value: &str) -> Vec<u8> {
    let mut octets = format!("{name}:").into_bytes();
    let mut line = octets.len();
    let words = value.split_inclusive([' ', '\t']);
    // A blank begins the next line, so each piece takes those before it along.
    let mut blank = String::from(" ");
    for word in words {
        let text = word.trim_end_matches([' ', '\t']);
        let after = word.get(text.len()..).unwrap_or_default();
        if text.is_empty() {
            blank.push_str(after);
            continue;
        }
        // A line of nothing but blanks ends a header for some who read it (RFC 5322 section 3.2.2), so none is made.
        if line.saturating_add(blank.len() + text.len()) > FOLD && line > name.len() + 1 {
            octets.extend_from_slice(b"\r\n");
            line = 0;
        }
        for piece in [blank.as_str(), text] {
            for c in piece.chars() {
                if line.saturating_add(c.len_utf8()) > LINE {
                    octets.extend_from_slice(b"\r\n ");
                    line = 1;
                }
                octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                line = line.saturating_add(c.len_utf8());
            }
        }
        after.clone_into(&mut blank);
    }
    octets.extend_from_slice(b"\r\n");
    octets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const MESSAGE: &str = "Subject: one\r\nX-Tag: a\r\n\tb\r\nsubject : two\r\n\r\n";

    #[test]
    fn fields_are_read_as_written() {
        let header = Header::parse(MESSAGE.as_bytes());
        let fields: Vec<_> = header.fields().collect();
        assert_eq!(fields, [("Subject", &b"one"[..]), ("X-Tag", b"a\r\n\tb"), ("subject", b"two")]);
        assert_eq!((header.octets(), header.size()), (MESSAGE.as_bytes().to_vec(), MESSAGE.len() as u64));
        assert_eq!(header.count(), 4);
    }

    #[test]
    fn an_edit_leaves_the_rest_as_it_is() {
        use HeaderEdit::{Insert, Remove, Replace};
        for (name, nth, edit, expected) in [
            ("X-New", 0, Insert("v"), "X-New: v\r\nSubject: one\r\nX-Tag: a\r\n\tb\r\nsubject : two\r\n\r\n"),
            ("SUBJECT", 1, Insert("v"), "Subject: one\r\nX-Tag: a\r\n\tb\r\nSUBJECT: v\r\nsubject : two\r\n\r\n"),
            ("subject", 9, Insert("v"), "subject: v\r\nSubject: one\r\nX-Tag: a\r\n\tb\r\nsubject : two\r\n\r\n"),
            ("x-tag", 0, Replace("c"), "Subject: one\r\nX-Tag: c\r\nsubject : two\r\n\r\n"),
            ("subject", 1, Replace(""), "Subject: one\r\nX-Tag: a\r\n\tb\r\nsubject:\r\n\r\n"),
            ("x-tag", 0, Remove, "Subject: one\r\nsubject : two\r\n\r\n"),
        ] {
            let header = Header::parse(MESSAGE.as_bytes()).edited(name, nth, edit).unwrap();
            assert_eq!(String::from_utf8(header.octets()).unwrap(), expected);
            assert!(header.is_changed() && header.body() == MESSAGE.len() as u64);
        }
        for (name, nth, edit) in [("x-tag", 1, Replace("v")), ("x-other", 0, Remove), ("subject", 2, Remove)] {
            assert_eq!(Header::parse(MESSAGE.as_bytes()).edited(name, nth, edit), Err(NoSuchField));
        }
    }

    #[test]
    fn a_message_without_a_header_gets_one() {
        for (message, expected, body) in [
            ("", "A: b\r\n\r\n", 0),
            ("\r\n", "A: b\r\n\r\n", 2),
            ("X: y\r\n", "A: b\r\nX: y\r\n\r\n", 6),
            ("X: y", "A: b\r\nX: y\r\n\r\n", 4),
            ("only text\r\n", "A: b\r\n\r\n", 0),
            ("text, then\r\n\r\n", "A: b\r\n\r\n", 0),
            ("X: y\r\ntext\r\n", "A: b\r\nX: y\r\n\r\n", 6),
            ("X: y\r\ntext\r\nZ: z\r\n\r\n", "A: b\r\nX: y\r\ntext\r\nZ: z\r\n\r\n", 20),
            (" text\r\nX: y\r\n\r\n", "A: b\r\n\r\n", 0),
            ("Dear X: text\r\n\r\n", "A: b\r\n\r\n", 0),
            (": text\r\n\r\n", "A: b\r\n\r\n", 0),
            ("\u{fc}: text\r\n\r\n", "A: b\r\n\r\n", 0),
            ("X \t: y\r\n\r\n", "A: b\r\nX \t: y\r\n\r\n", 10),
        ] {
            let header = Header::parse(message.as_bytes()).edited("A", 0, HeaderEdit::Insert("b")).unwrap();
            assert_eq!(String::from_utf8(header.octets()).unwrap(), expected, "{message:?}");
            assert_eq!(header.body(), body, "{message:?}");
        }
    }

    #[test]
    fn long_values_are_folded() {
        for value in [
            "word ".repeat(60),
            "x".repeat(3_000),
            format!("{} {}", "a".repeat(75), "b".repeat(75)),
            " ".repeat(2_000),
            format!("x{}y", " ".repeat(2_000)),
            "ä".repeat(1_000),
        ] {
            let octets = folded("Subject", &value);
            let text = String::from_utf8(octets).unwrap();
            let mut lines: Vec<&str> = text.split("\r\n").collect();
            assert_eq!(lines.pop(), Some(""));
            assert!(lines.iter().all(|line| line.len() <= LINE), "{text}");
            assert!(lines.iter().skip(1).all(|line| line.starts_with([' ', '\t'])), "{text}");
            assert!(lines.iter().skip(1).all(|line| !line.trim().is_empty()) || value.contains("  "), "{text}");
            let plain = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(plain(&text.replace("\r\n ", "")), plain(&format!("Subject:{value}")));
        }
        let words = folded("Subject", &"word ".repeat(60));
        assert!(String::from_utf8(words).unwrap().split("\r\n").all(|line| line.len() <= FOLD));
    }
}
