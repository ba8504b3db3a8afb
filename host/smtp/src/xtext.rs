//! xtext (RFC 3461 section 4): the encoding of values in parameters that may hold anything.
//!
//! It does not know what a value means, nor which octets its parameter allows.

/// Decodes: `+` and two hexadecimal digits, in upper case, are an octet; `!` to `~` but `+` and `=` are themselves. None for
/// anything else, and when what comes out is not UTF-8.
pub fn decode_xtext(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => hexadecimal(rest.next()?)?.checked_mul(16)?.checked_add(hexadecimal(rest.next()?)?)?,
            b'=' => return None,
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    String::from_utf8(octets).ok()
}

/// Lower case is none: the ABNF of `hexchar` says so.
fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'A'..=b'F' => digit.checked_sub(b'A')?.checked_add(10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode_xtext;

    #[test]
    fn xtext_is_decoded_to_the_letter() {
        let cases = [
            ("", Some("")),
            ("abc!~", Some("abc!~")),
            ("a+3Db", Some("a=b")),
            ("+2B+20+00", Some("+ \0")),
            ("+C3+BC", Some("\u{fc}")),
            ("+3d", None),
            ("+", None),
            ("+4", None),
            ("+G0", None),
            ("a=b", None),
            ("a b", None),
            ("\u{fc}", None),
            ("+FF", None),
            ("+C3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode_xtext(text).as_deref(), expected, "{text:?}");
        }
    }
}
