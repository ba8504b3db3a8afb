//! Text of peers, as it may stand in a notice: on one line, in its place, and no longer than a line may be.
//!
//! It does not know what any of it means.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::spool::one_line;

/// The text without anything but printable ASCII.
pub(super) fn ascii(text: &str) -> String {
    one_line(text).chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// A point in time, in milliseconds since 1970, as RFC 5322 section 3.3 writes it.
pub(super) fn date(at: u64) -> String {
    let seconds = i64::try_from(at / 1000).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc2822).unwrap_or_default()
}

/// Adds a field whose value stays in one piece. It is cut where the line would be too long.
pub(super) fn field(out: &mut String, name: &str, value: &str) {
    let value = one_line(value);
    let value = value.get(..value.floor_char_boundary(PIECE)).unwrap_or_default();
    out.push_str(&format!("{name}: {value}\r\n"));
}

/// Adds a field whose value may be folded.
pub(super) fn folded_field(out: &mut String, name: &str, value: &str) {
    wrapped(out, &format!("{name}: "), "\t", value);
}

/// Adds lines of words: the first begins with `first`, the others with `indent`.
pub(super) fn wrapped(out: &mut String, first: &str, indent: &str, text: &str) {
    let text = one_line(text);
    out.push_str(first);
    let mut width = first.chars().count();
    let mut begun = true;
    for piece in text.split(' ').filter(|word| !word.is_empty()).flat_map(pieces) {
        let wide = piece.chars().count();
        if !begun && width.saturating_add(wide) >= WIDTH {
            out.push_str("\r\n");
            out.push_str(indent);
            width = indent.len();
        } else if !begun {
            out.push(' ');
            width = width.saturating_add(1);
        }
        out.push_str(piece);
        width = width.saturating_add(wide);
        begun = false;
    }
    out.push_str("\r\n");
}

/// A word in pieces that fit into a line.
fn pieces(mut word: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = word.split_at_checked(word.floor_char_boundary(PIECE))?;
        word = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Columns of a line (RFC 5322 section 2.1.1).
const WIDTH: usize = 76;

/// Octets that are never parted, with what may stand before them fewer than the 998 of a line.
const PIECE: usize = 900;
