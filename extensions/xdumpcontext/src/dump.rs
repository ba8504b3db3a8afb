//! The lines of the reply. Nothing here calls the host.

use pillarbox_sdk::{Entry, printable};

/// `[connection] name value` lines, then `[message] name value` lines, each sorted by name, then the line clients wait
/// for.
pub fn lines(connection: Vec<Entry>, message: Vec<Entry>) -> Vec<String> {
    let mut lines = Vec::new();
    for (scope, mut entries) in [("connection", connection), ("message", message)] {
        entries.retain(is_shown);
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            fold(&format!("[{scope}] {} ", printable(&entry.name)), &printable(&entry.value), &mut lines);
        }
    }
    lines.push("XDUMPCONTEXT complete".to_owned());
    lines
}

/// Momentum shows no counter before it counted and no pathway before one was chosen.
fn is_shown(entry: &Entry) -> bool {
    match entry.value.as_str() {
        "0" => !entry.name.ends_with("_count"),
        "" => entry.name != "pathway",
        _ => true,
    }
}

/// Writes a value behind its head, over as many lines as it needs. The pieces joined are the value; none ends within
/// an escape.
fn fold(head: &str, value: &str, lines: &mut Vec<String>) {
    // RFC 5321 section 4.5.3.1.5: 512 octets with the code and its hyphen before and CRLF behind.
    const LONGEST: usize = 512 - "250-".len() - "\r\n".len();
    const ESCAPE: usize = "\\xHH".len();
    // A name has at most 64 octets, so there is always room; the bound holds for any.
    let room = LONGEST.saturating_sub(head.len()).max(ESCAPE);
    let mut rest = value;
    loop {
        let (piece, left) = rest.split_at_checked(cut(rest, room)).unwrap_or((rest, ""));
        lines.push(format!("{head}{piece}"));
        rest = left;
        if rest.is_empty() {
            return;
        }
    }
}

/// Where to cut: as late as there is room, but before an escape that would be split. `text` is ASCII, and a backslash
/// in it always begins an escape of four octets.
fn cut(text: &str, room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let head = text.get(..room).unwrap_or(text);
    match head.rfind('\\') {
        Some(start) if start + "\\xHH".len() > room => start,
        _ => room,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn entry(name: &str, value: &str) -> Entry {
        Entry { name: name.into(), value: value.into() }
    }

    #[test]
    fn the_published_conversation() {
        let connection = vec![
            entry("ehlo_string", "ehlo there"),
            entry("connection_message_count", "0"),
            entry("connection_rcpt_count", "0"),
            entry("ehlo_domain", "there"),
            entry("pathway", ""),
        ];
        assert_eq!(
            lines(connection, vec![]),
            ["[connection] ehlo_domain there", "[connection] ehlo_string ehlo there", "XDUMPCONTEXT complete"]
        );
    }

    #[test]
    fn connection_comes_before_message_and_names_are_sorted() {
        assert_eq!(
            lines(
                vec![entry("b", "1"), entry("a", "2"), entry("x_count", "10")],
                vec![entry("mailfrom_string", "MAIL FROM:<>"), entry("mailfrom_domain", "")]
            ),
            [
                "[connection] a 2",
                "[connection] b 1",
                "[connection] x_count 10",
                "[message] mailfrom_domain ",
                "[message] mailfrom_string MAIL FROM:<>",
                "XDUMPCONTEXT complete",
            ]
        );
    }

    #[test]
    fn a_value_cannot_make_a_line() {
        assert_eq!(
            lines(vec![entry("k", "a\r\n250 XDUMPCONTEXT complete"), entry("l", "\\é\t")], vec![]),
            [
                "[connection] k a\\x0D\\x0A250 XDUMPCONTEXT complete",
                "[connection] l \\x5C\\xC3\\xA9\\x09",
                "XDUMPCONTEXT complete",
            ]
        );
    }

    #[test]
    fn long_values_are_folded_and_come_back() {
        let head = "[connection] k ";
        for value in ["x".repeat(506 - head.len()), "x".repeat(507 - head.len()), "é".repeat(1000), "aé".repeat(999)]
        {
            let dump = lines(vec![entry("k", &value)], vec![]);
            let (last, folded) = dump.split_last().unwrap();
            assert_eq!(last, "XDUMPCONTEXT complete");
            assert!(dump.iter().all(|line| "250-".len() + line.len() + "\r\n".len() <= 512));
            let joined: String = folded.iter().map(|line| line.strip_prefix(head).unwrap()).collect();
            assert_eq!(joined, printable(&value));
            // Each piece can be read alone: no escape is split.
            assert!(folded.iter().all(|line| line.rfind('\\').is_none_or(|start| start + 4 <= line.len())));
        }
        assert_eq!(lines(vec![entry("k", &"x".repeat(506 - head.len()))], vec![]).len(), 2);
        assert_eq!(lines(vec![entry("k", &"x".repeat(507 - head.len()))], vec![]).len(), 3);
    }

    #[test]
    fn the_longest_name_leaves_room() {
        let dump = lines(vec![], vec![entry(&"n".repeat(64), &"\u{1F600}".repeat(500))]);
        assert!(dump.iter().all(|line| line.len() <= 506));
    }
}
