//! The extension's own settings, by type. Every error is a sentence for the operator: give it back from `init`.
//!
//! ```no_run
//! # use pillarbox_sdk::settings;
//! # fn init() -> Result<(), String> {
//! settings::only(&["senders", "delay"])?;
//! let senders = settings::texts("senders")?.unwrap_or_default();
//! let delay = settings::duration("delay")?.unwrap_or(0);
//! # Ok(()) }
//! ```

pub use crate::bindings::imports::pillarbox::extension::settings::{Value, get, names, seed};

/// Refuses every setting whose name is not one of these, so that a typing error is seen.
pub fn only(known: &[&str]) -> Result<(), String> {
    check(&names(), known)
}

/// A text; none when it was not written.
pub fn text(name: &str) -> Result<Option<String>, String> {
    get(name).map(|value| as_text(name, value)).transpose()
}

/// An integer.
pub fn integer(name: &str) -> Result<Option<i64>, String> {
    get(name).map(|value| as_integer(name, value)).transpose()
}

/// An integer that counts something: not negative.
pub fn count(name: &str) -> Result<Option<u64>, String> {
    get(name).map(|value| as_count(name, value)).transpose()
}

/// True or false.
pub fn boolean(name: &str) -> Result<Option<bool>, String> {
    get(name).map(|value| as_boolean(name, value)).transpose()
}

/// A list of texts; one text alone counts as a list of one.
pub fn texts(name: &str) -> Result<Option<Vec<String>>, String> {
    get(name).map(|value| as_texts(name, value)).transpose()
}

/// A duration, written "50ms", "5s", "5m", "1h" or "1d", in milliseconds.
pub fn duration(name: &str) -> Result<Option<u64>, String> {
    get(name).map(|value| as_duration(name, value)).transpose()
}

fn check(written: &[String], known: &[&str]) -> Result<(), String> {
    let unknown: Vec<String> = written
        .iter()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| format!("unknown setting `{name}`{}", help(name, known)))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown.join("; ")) }
}

/// The nearest right word, or all of them when none is near.
fn help(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (distance(name, word), word)).min();
    match near {
        // A third of the word may be wrong: enough for a slip, too little to guess at.
        Some((wrong, word)) if wrong <= word.chars().count().div_ceil(3) => format!(", did you mean `{word}`?"),
        Some(_) => {
            let words: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("; there are {}", words.join(", "))
        }
        None => "; there are none".to_owned(),
    }
}

/// How many letters must be put in, taken out or changed to make one word the other.
fn distance(from: &str, to: &str) -> usize {
    // `row` holds the distances of the part of `from` read so far to every beginning of `to`.
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (read, letter) in from.chars().enumerate() {
        let mut left = read + 1;
        let mut next = vec![left];
        for (above, other) in row.windows(2).zip(to.chars()) {
            if let &[diagonal, above] = above {
                left = (left + 1).min(above + 1).min(diagonal + usize::from(letter != other));
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn as_text(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(wrong(name, "a text", &other)),
    }
}

fn as_integer(name: &str, value: Value) -> Result<i64, String> {
    match value {
        Value::Integer(integer) => Ok(integer),
        other => Err(wrong(name, "an integer", &other)),
    }
}

fn as_count(name: &str, value: Value) -> Result<u64, String> {
    u64::try_from(as_integer(name, value)?).map_err(|_| format!("`{name}` must not be negative"))
}

fn as_boolean(name: &str, value: Value) -> Result<bool, String> {
    match value {
        Value::Boolean(boolean) => Ok(boolean),
        other => Err(wrong(name, "true or false", &other)),
    }
}

fn as_texts(name: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Texts(texts) => Ok(texts),
        Value::Text(text) => Ok(vec![text]),
        other => Err(wrong(name, "a list of texts", &other)),
    }
}

fn as_duration(name: &str, value: Value) -> Result<u64, String> {
    let text = as_text(name, value)?;
    milliseconds(&text)
        .ok_or_else(|| format!("`{name}` must be a duration such as \"50ms\", \"5s\" or \"5m\", not \"{text}\""))
}

fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.find(|letter: char| !letter.is_ascii_digit())?)?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn wrong(name: &str, expected: &str, found: &Value) -> String {
    let found = match found {
        Value::Text(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Texts(_) => "a list",
    };
    format!("`{name}` must be {expected}, not {found}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn unknown_settings_are_refused_with_the_nearest_word() {
        let judge = |written: &[&str], known: &[&str]| {
            let written: Vec<String> = written.iter().map(|name| (*name).to_owned()).collect();
            check(&written, known)
        };
        assert_eq!(judge(&[], &[]), Ok(()));
        assert_eq!(judge(&["senders"], &["senders", "delay"]), Ok(()));
        for (written, known, message) in [
            (&["sender"][..], &["senders", "delay"][..], "unknown setting `sender`, did you mean `senders`?"),
            (&["dealy"], &["senders", "delay"], "unknown setting `dealy`, did you mean `delay`?"),
            (&["colour"], &["senders", "delay"], "unknown setting `colour`; there are `senders`, `delay`"),
            (&["colour"], &[], "unknown setting `colour`; there are none"),
            (
                &["a", "mod"],
                &["mode"],
                "unknown setting `a`; there are `mode`; unknown setting `mod`, did you mean `mode`?",
            ),
        ] {
            assert_eq!(judge(written, known).unwrap_err(), message);
        }
    }

    #[test]
    fn distances_count_letters() {
        for (from, to, letters) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("mode", "mod", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), letters, "{from} {to}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, expected) in [
            ("50ms", Some(50)),
            ("5s", Some(5_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("5", None),
            ("m", None),
            ("", None),
            ("-5s", None),
            ("5 m", None),
            ("5M", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_type_says_what_was_expected() {
        assert_eq!(as_text("user", Value::Integer(1)).unwrap_err(), "`user` must be a text, not an integer");
        assert_eq!(
            as_boolean("deny", Value::Text("yes".into())).unwrap_err(),
            "`deny` must be true or false, not a text"
        );
        assert_eq!(as_count("limit", Value::Integer(-1)).unwrap_err(), "`limit` must not be negative");
        assert_eq!(as_texts("senders", Value::Text("a@b.example".into())).unwrap(), ["a@b.example"]);
        assert_eq!(
            as_duration("delay", Value::Text("5".into())).unwrap_err(),
            "`delay` must be a duration such as \"50ms\", \"5s\" or \"5m\", not \"5\""
        );
    }
}
