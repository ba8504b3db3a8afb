//! Expected lines: text in which `*` stands for any run of octets, and the escapes in which files write octets.

use std::fmt::Write;

/// Whether `text` is what `pattern` says.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.iter().position(|octet| *octet == b'*') {
        None => pattern == text,
        Some(star) => {
            let (head, tail) = (&pattern[..star], &pattern[star + 1..]);
            let Some(rest) = text.strip_prefix(head) else { return false };
            (0..=rest.len()).any(|skip| matches(tail, &rest[skip..]))
        }
    }
}

/// The octets that `text` writes with `\r \n \t \0 \\ \xHH`.
///
/// # Errors
/// What is no escape.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    let hex = str::from_utf8(&digits).ok().filter(|hex| hex.len() == 2);
                    hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or("\\x wants two hexadecimal digits")?
                }
                Some(other) => return Err(format!("\\{} is no escape", char::from(other))),
                None => return Err("a backslash stands at the end".to_owned()),
            },
            octet => octet,
        };
        octets.push(octet);
    }
    Ok(octets)
}

/// The octets as [`unescape`] reads them.
pub fn escape(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        match octet {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*octet)),
            octet => {
                let _ = write!(text, "\\x{octet:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_any_run() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("250 *", "250 2.0.0 OK", true),
            ("250 *", "250", false),
            ("250", "250 OK", false),
            ("*OK*1", "250 OK id 1", true),
            ("*OK*1", "250 OK id 2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn escapes_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)).unwrap(), all);
        for wrong in ["\\", "\\q", "\\x", "\\x1", "\\xg0"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}
