//! The fields of an entity's header that say what its body is (RFC 2045), as far as converting it needs them.

/// Octets of a Content-Type or Content-Transfer-Encoding field that are looked at. One that is longer says nothing that
/// could be relied on.
const FIELD: usize = 4096;

/// Octets of a boundary. RFC 2046 section 5.1.1 has 70; a line holds more, and some write more.
const BOUNDARY: usize = 250;

/// What a header has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// MIME-Version is there.
    pub(super) versioned: bool,
    content_type: Option<Vec<u8>>,
    encoding: Option<Vec<u8>>,
    field: Field,
}

/// The field whose lines are being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    #[default]
    Other,
    ContentType,
    Encoding,
}

/// What an entity's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// A body of text.
    Text,
    /// Any other body that may have any encoding.
    Data,
    /// A body whose type allows none, or that cannot be read.
    Opaque,
    /// `message/rfc822`.
    Message,
    /// Parts, between lines with this boundary.
    Multipart {
        boundary: Vec<u8>,
        /// `multipart/signed` and `multipart/encrypted`: octets within are not to be changed (RFC 1847 section 2).
        sealed: bool,
        /// `multipart/digest`: a part without a type is a message (RFC 2046 section 5.1.5).
        digest: bool,
    },
}

/// What Content-Transfer-Encoding says (RFC 2045 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Nothing, or `7bit`.
    Seven,
    /// `8bit`.
    Eight,
    /// `binary`.
    Binary,
    /// Octets stand for others.
    Encoded,
}

impl Head {
    /// Reads a piece of the header, and says which field it belongs to.
    pub(super) fn read(&mut self, octets: &[u8], first: bool) -> Field {
        let continues = !first || octets.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        if continues {
            let field = match self.field {
                Field::ContentType => self.content_type.as_mut(),
                Field::Encoding => self.encoding.as_mut(),
                Field::Other => None,
            };
            if let Some(field) = field {
                field.extend_from_slice(octets);
                field.truncate(FIELD + 1);
            }
            return self.field;
        }
        let (name, value) = match memchr::memchr(b':', octets).and_then(|colon| octets.split_at_checked(colon)) {
            Some((name, value)) => (name.trim_ascii_end(), value.get(1..).unwrap_or_default()),
            None => (&[][..], &[][..]),
        };
        self.field = Field::Other;
        if name.eq_ignore_ascii_case(b"MIME-Version") {
            self.versioned = true;
        } else if name.eq_ignore_ascii_case(b"Content-Type") {
            self.field = Field::ContentType;
            self.content_type.get_or_insert_with(|| value.to_vec());
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            self.field = Field::Encoding;
            self.encoding.get_or_insert_with(|| value.to_vec());
        }
        self.field
    }

    /// Whether a type was said.
    pub(super) fn typed(&self) -> bool {
        self.content_type.is_some()
    }

    pub(super) fn encoding(&self) -> Encoding {
        let Some(value) = &self.encoding else { return Encoding::Seven };
        let is = |word: &[u8]| without_comments(value).trim_ascii().eq_ignore_ascii_case(word);
        match () {
            () if is(b"7bit") => Encoding::Seven,
            () if is(b"8bit") => Encoding::Eight,
            () if is(b"binary") => Encoding::Binary,
            () => Encoding::Encoded,
        }
    }

    /// What the body is. Without a type it is text, or a message in a digest; a type that cannot be read is data
    /// (RFC 2045 section 5.2, RFC 2046 section 4).
    pub(super) fn media(&self, in_digest: bool) -> Media {
        let Some(value) = &self.content_type else {
            return if in_digest { self.message() } else { Media::Text };
        };
        if value.len() > FIELD {
            return Media::Opaque;
        }
        let value = without_comments(value);
        let mut parts = value.splitn(2, |octet| *octet == b';');
        let kind = parts.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let parameters = parts.next().unwrap_or_default();
        let Some(slash) = memchr::memchr(b'/', &kind) else { return Media::Data };
        let (main, sub) = kind.split_at(slash);
        match (main.trim_ascii(), sub.trim_ascii_start().strip_prefix(b"/").unwrap_or_default().trim_ascii()) {
            (b"text", _) => Media::Text,
            (b"message", b"rfc822") => self.message(),
            // RFC 6532 section 3.7 and RFC 6533 section 8 let these be encoded. RFC 2045 section 6.4 forbids it for all other
            // messages.
            (b"message", sub) if sub.starts_with(b"global") => Media::Data,
            (b"message", _) => Media::Opaque,
            // What is no composite type but says it is encoded is what RFC 2045 section 6.4 forbids, too.
            (b"multipart", _) if self.encoding() == Encoding::Encoded => Media::Opaque,
            (b"multipart", sub) => match boundary(parameters) {
                Some(boundary) => {
                    let sealed = matches!(sub, b"signed" | b"encrypted");
                    Media::Multipart { boundary, sealed, digest: sub == b"digest" }
                }
                None => Media::Opaque,
            },
            _ => Media::Data,
        }
    }

    fn message(&self) -> Media {
        if self.encoding() == Encoding::Encoded { Media::Opaque } else { Media::Message }
    }
}

/// The parameter `boundary` among those behind the type (RFC 2045 section 5.1).
fn boundary(mut parameters: &[u8]) -> Option<Vec<u8>> {
    loop {
        let equals = memchr::memchr(b'=', parameters)?;
        let (name, value) = parameters.split_at_checked(equals)?;
        let name = name.rsplit(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
        let value = value.get(1..).unwrap_or_default().trim_ascii_start();
        let (value, rest) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let (value, rest) = value.split_at_checked(end)?;
                (value.trim_ascii().to_vec(), rest)
            }
        };
        if name.eq_ignore_ascii_case(b"boundary") {
            // A blank at its end would be taken for padding of the line.
            let sound = (1..=BOUNDARY).contains(&value.len()) && !value.ends_with(b" ");
            return sound.then_some(value);
        }
        parameters = rest;
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => {
                value.push(*octet);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' => return Some((value, text.get(at + 1..).unwrap_or_default())),
            _ => value.push(*octet),
        }
    }
    None
}

/// RFC 822 comments mean nothing; quoted strings stay as they are.
fn without_comments(value: &[u8]) -> Vec<u8> {
    let (mut kept, mut depth, mut quoted, mut escaped) = (Vec::with_capacity(value.len()), 0_usize, false, false);
    for octet in value {
        let is_escaped = escaped;
        escaped = !escaped && *octet == b'\\';
        match octet {
            b'"' if depth == 0 && !is_escaped => quoted = !quoted,
            b'(' if !quoted && !is_escaped => depth += 1,
            b')' if depth > 0 && !is_escaped => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(*octet);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn media(content_type: &str) -> Media {
        let mut head = Head::default();
        for (at, line) in content_type.split("\r\n").enumerate() {
            let line = if at == 0 { format!("content-type:{line}") } else { line.to_owned() };
            assert_eq!(head.read(line.as_bytes(), true), Field::ContentType);
        }
        head.media(false)
    }

    #[test]
    fn types_are_read() {
        let parts = |boundary: &str, sealed, digest| Media::Multipart { boundary: boundary.into(), sealed, digest };
        for (value, expected) in [
            (" text/plain", Media::Text),
            ("TEXT/Html ; charset=x", Media::Text),
            ("(a comment) text(er) / (e \\) r) plain", Media::Text),
            ("image/png; boundary=x", Media::Data),
            ("nonsense", Media::Data),
            ("", Media::Data),
            ("message/rfc822", Media::Message),
            ("message/global", Media::Data),
            ("message/partial; id=x; number=1", Media::Opaque),
            ("message/delivery-status", Media::Opaque),
            ("multipart/mixed", Media::Opaque),
            ("multipart/mixed; boundary=", Media::Opaque),
            ("multipart/mixed; boundary=\"x", Media::Opaque),
            ("multipart/mixed; boundary=\"x \"", Media::Opaque),
            ("multipart/mixed; boundary=x", parts("x", false, false)),
            ("multipart/mixed;\r\n\tBoundary = \"a;b=\\\"c\" ; y=z", parts("a;b=\"c", false, false)),
            ("multipart/mixed; a=\"boundary=no;\"; boundary=yes", parts("yes", false, false)),
            ("multipart/mixed; boundary=\"(=_1)\"", parts("(=_1)", false, false)),
            ("multipart/signed; micalg=x; boundary=x", parts("x", true, false)),
            ("multipart/encrypted; boundary=x", parts("x", true, false)),
            ("multipart/digest; boundary=x", parts("x", false, true)),
        ] {
            assert_eq!(media(value), expected, "{value}");
        }
        assert_eq!(media(&format!("multipart/mixed; boundary={}", "x".repeat(251))), Media::Opaque);
        assert_eq!(media(&format!("text/plain; x={}", "x".repeat(5000))), Media::Opaque);
    }

    #[test]
    fn encodings_are_read() {
        for (value, expected) in [
            (" 7bit", Encoding::Seven),
            ("8BIT (is what it is)", Encoding::Eight),
            ("binary\t", Encoding::Binary),
            ("quoted-printable", Encoding::Encoded),
            ("x-uuencode", Encoding::Encoded),
            ("", Encoding::Encoded),
        ] {
            let mut head = Head::default();
            assert_eq!(head.encoding(), Encoding::Seven);
            head.read(format!("Content-Transfer-Encoding:{value}").as_bytes(), true);
            // The first counts, as most readers have it.
            head.read(b"Content-Transfer-Encoding: base64", true);
            assert_eq!(head.encoding(), expected, "{value}");
        }
    }
}
