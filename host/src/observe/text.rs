//! Text as it may stand in a log line: bounded, and without anything that moves a cursor or ends a line.

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The octets a field keeps of a text. What peers send can be as long as they like.
pub(super) const FIELD: usize = 256;

/// Cuts `text` to 256 octets, at the end of a character; where something was cut off, `…` says so.
pub fn clip(text: &str) -> Cow<'_, str> {
    if text.len() <= FIELD {
        return Cow::Borrowed(text);
    }
    let (head, _) = text.split_at_checked(text.floor_char_boundary(FIELD)).unwrap_or_default();
    Cow::Owned(format!("{head}…"))
}

/// Writes out what could end a line, move a cursor or turn the direction of reading, and the backslash, so that the
/// original can be told: `\n`, `\r`, `\t`, `\\`, and `\uXXXX` for the others.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    push_escaped(&mut out, text);
    Cow::Owned(out)
}

/// An error with its sources, in one line: none of our errors repeats its source's text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// `time` as RFC 3339 in UTC, with milliseconds; empty for years past 9999.
pub fn timestamp(time: SystemTime) -> String {
    const SHAPE: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let nanoseconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |span| -span),
    };
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|moment| moment.format(SHAPE).ok())
        .unwrap_or_default()
}

/// Appends `text`, [escaped](escape).
pub(super) fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        push_char(out, c);
    }
}

/// Appends `text` escaped and in quotation marks: a JSON string (RFC 8259 section 7).
pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if c == '"' { out.push_str("\\\"") } else { push_char(out, c) }
    }
    out.push('"');
}

/// Whether `text` would be read as something else without quotation marks.
pub(super) fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=') || harmful(c))
}

/// A text that takes so many octets and no more.
#[derive(Debug)]
pub(super) struct Bounded {
    text: String,
    limit: usize,
    cut: bool,
}

impl Bounded {
    pub(super) fn new(limit: usize) -> Bounded {
        Bounded { text: String::new(), limit, cut: false }
    }

    /// What was written, with `…` if there was more.
    pub(super) fn finish(mut self) -> String {
        if self.cut {
            self.text.push('…');
        }
        self.text
    }
}

impl fmt::Write for Bounded {
    /// Fails as soon as something is cut off, so that nothing long is formatted to be thrown away.
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.cut {
            return Err(fmt::Error);
        }
        let room = self.limit.saturating_sub(self.text.len());
        if piece.len() > room {
            self.cut = true;
            let head = piece.split_at_checked(piece.floor_char_boundary(room));
            self.text.push_str(head.map_or("", |(head, _)| head));
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        // All of them lie below U+10000, so four digits do.
        c if harmful(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push(c),
    }
}

/// Controls (C0, DEL, C1), the line and paragraph separators, and what is invisible or changes the order in which a
/// line is shown: with those a peer could make a log line seem to say something else.
fn harmful(c: char) -> bool {
    c == '\\'
        || c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"a".repeat(256)), "a".repeat(256));
        assert_eq!(clip(&"a".repeat(257)), format!("{}…", "a".repeat(256)));
        // Two octets each, after one of one: the boundary lies at 255.
        assert_eq!(clip(&format!("a{}", "ü".repeat(200))), format!("a{}…", "ü".repeat(127)));
    }

    #[test]
    fn what_could_mislead_is_written_out() {
        for (raw, written) in [
            ("plain ünïcode 字", "plain ünïcode 字"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{1b}[31m", "\\u001b[31m"),
            ("\0\u{7f}\u{85}\u{9b}", "\\u0000\\u007f\\u0085\\u009b"),
            ("\u{2028}\u{2029}", "\\u2028\\u2029"),
            ("\u{202e}txt\u{2066}\u{feff}", "\\u202etxt\\u2066\\ufeff"),
            ("\\n", "\\\\n"),
        ] {
            assert_eq!(escape(raw), written);
        }
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(timestamp(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(1_795_363_200_123)), "2026-11-22T16:00:00.123Z");
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_millis(1)), "1969-12-31T23:59:59.999Z");
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(400_000_000_000)), "");
    }
}
