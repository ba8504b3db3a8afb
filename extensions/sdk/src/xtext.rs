//! xtext (RFC 3461 section 4, formerly RFC 1891): printable ASCII in which `+` and two hexadecimal digits stand for one
//! octet.

use std::fmt::Write as _;

/// Why a text is not xtext, or not what it must decode to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XtextError {
    /// An octet outside 0x21–0x7E, or `=`, that is not written as `+HH`.
    Raw,
    /// A `+` without two hexadecimal digits behind it.
    Escape,
    /// The decoded octets are not UTF-8.
    Utf8,
    /// The decoded text holds a control character: NUL, C0, DEL or C1.
    Control,
}

impl XtextError {
    /// The error as a short text for a reply.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Raw => "only printable ASCII but \"=\" may stand for itself",
            Self::Escape => "\"+\" needs two hexadecimal digits",
            Self::Utf8 => "not UTF-8",
            Self::Control => "control characters are not taken",
        }
    }
}

impl std::fmt::Display for XtextError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for XtextError {}

/// The octets an xtext stands for.
///
/// RFC 3461 wants upper-case digits; lower-case ones are taken too, for every client writes them somewhere. Anything
/// else out of the grammar is refused: a text that is let pass as it stands would mean one thing here and another at
/// the next reader.
pub fn decode(text: &str) -> Result<Vec<u8>, XtextError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (high, low) = digit().zip(digit()).ok_or(XtextError::Escape)?;
                high << 4 | low
            }
            b'=' => return Err(XtextError::Raw),
            b'!'..=b'~' => octet,
            _ => return Err(XtextError::Raw),
        });
    }
    Ok(octets)
}

/// The text an xtext stands for: UTF-8 without control characters, so that it can go into a context, a log or a header.
pub fn decode_text(text: &str) -> Result<String, XtextError> {
    let text = String::from_utf8(decode(text)?).map_err(|_| XtextError::Utf8)?;
    if text.chars().any(char::is_control) {
        return Err(XtextError::Control);
    }
    Ok(text)
}

/// Writes octets as xtext.
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'+' | b'=' | 0..=b' ' | 0x7F.. => {
                // Writing into a String cannot fail.
                let _ = write!(text, "+{octet:02X}");
            }
            _ => text.push(char::from(octet)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn decoding_is_strict() {
        for (text, octets) in [
            ("", Ok(&b""[..])),
            ("plain~!", Ok(b"plain~!")),
            ("al+2Bice+3Dx", Ok(b"al+ice=x")),
            ("+5BUNAVAILABLE+5D", Ok(b"[UNAVAILABLE]")),
            ("a+2bc", Ok(b"a+c")),
            ("a+20b", Ok(b"a b")),
            ("+C3+A9", Ok("é".as_bytes())),
            ("+00+ff", Ok(b"\0\xff")),
            ("+", Err(XtextError::Escape)),
            ("a+", Err(XtextError::Escape)),
            ("a+2", Err(XtextError::Escape)),
            ("a+zz", Err(XtextError::Escape)),
            ("a+2g", Err(XtextError::Escape)),
            ("++2B", Err(XtextError::Escape)),
            ("+é1", Err(XtextError::Escape)),
            ("a=b", Err(XtextError::Raw)),
            ("a b", Err(XtextError::Raw)),
            ("a\tb", Err(XtextError::Raw)),
            ("a\0b", Err(XtextError::Raw)),
            ("a\x7fb", Err(XtextError::Raw)),
            ("é", Err(XtextError::Raw)),
        ] {
            assert_eq!(decode(text).as_deref(), octets.as_deref(), "{text:?}");
        }
    }

    #[test]
    fn text_is_utf8_without_control_characters() {
        for (text, decoded) in [
            ("+C3+A9t+C3+A9", Ok("été")),
            ("a+20b", Ok("a b")),
            ("+00", Err(XtextError::Control)),
            ("x+0D+0AS", Err(XtextError::Control)),
            ("+1B", Err(XtextError::Control)),
            ("+7F", Err(XtextError::Control)),
            ("+C2+85", Err(XtextError::Control)),
            ("+FF", Err(XtextError::Utf8)),
            ("+C3", Err(XtextError::Utf8)),
            ("+ED+A0+80", Err(XtextError::Utf8)),
        ] {
            assert_eq!(decode_text(text).as_deref(), decoded.as_ref().map(|text| &**text), "{text:?}");
        }
    }

    #[test]
    fn encoding_comes_back() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&every)).unwrap(), every);
        assert_eq!(encode(b"a+b=c d"), "a+2Bb+3Dc+20d");
    }
}
