//! Showing text that a peer chose.

use std::fmt::Write as _;

/// The text with every octet outside 0x20–0x7E, and the backslash, written as `\xHH`: fit for a reply line, and
/// readable back without loss.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'\\' | 0..0x20 | 0x7F.. => {
                // Writing into a String cannot fail.
                let _ = write!(shown, "\\x{octet:02X}");
            }
            _ => shown.push(char::from(octet)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_is_left() {
        for (text, shown) in [
            ("", ""),
            ("plain text ~", "plain text ~"),
            ("a\r\n250 done", "a\\x0D\\x0A250 done"),
            ("back\\slash", "back\\x5Cslash"),
            ("\u{7f}\0\t", "\\x7F\\x00\\x09"),
            ("é", "\\xC3\\xA9"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
