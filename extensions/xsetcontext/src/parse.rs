//! The argument of XSETCONTEXT: `name=xtext`, one or more, separated by blanks. Nothing here calls the host.

use pillarbox_sdk::Entry;
use pillarbox_sdk::xtext::{self, XtextError};

/// Why a command is refused; its text is the reply's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    NoArgument,
    NoValue,
    BadName,
    BadValue(XtextError),
}

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoArgument => formatter.write_str("syntax: XSETCONTEXT name=value..."),
            Self::NoValue => formatter.write_str("name=value expected"),
            Self::BadName => formatter.write_str("bad name"),
            Self::BadValue(error) => write!(formatter, "bad value: {error}"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reads the whole argument. A name given twice has its last value, as if the command had been said twice.
pub fn entries(argument: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut entries: Vec<Entry> = Vec::new();
    for pair in argument.split([' ', '\t']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(SyntaxError::NoValue)?;
        if !is_name(name) {
            return Err(SyntaxError::BadName);
        }
        let value = xtext::decode_text(value).map_err(SyntaxError::BadValue)?;
        match entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { name: name.to_owned(), value }),
        }
    }
    if entries.is_empty() { Err(SyntaxError::NoArgument) } else { Ok(entries) }
}

/// A letter, digit or underscore, then up to 63 of these, dots and hyphens. `#` begins Momentum's internal names, and
/// `+` would make one name of two spellings: neither is taken.
fn is_name(name: &str) -> bool {
    let word = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    name.len() <= 64
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|octet| word(octet) || matches!(octet, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn read(argument: &str) -> Result<Vec<(String, String)>, SyntaxError> {
        entries(argument).map(|entries| entries.into_iter().map(|entry| (entry.name, entry.value)).collect())
    }

    #[test]
    fn pairs_are_decoded() {
        for (argument, pairs) in [
            ("a=b+2Bc d=", &[("a", "b+c"), ("d", "")][..]),
            ("campaign.id=2024-11  _x-1=+C3+A9 ", &[("campaign.id", "2024-11"), ("_x-1", "é")]),
            ("a=1 b=2 a=3", &[("a", "3"), ("b", "2")]),
            ("A=1 a=2", &[("A", "1"), ("a", "2")]),
            ("a=x+20y+3Dz", &[("a", "x y=z")]),
            ("9=9", &[("9", "9")]),
        ] {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(read(argument), Ok(pairs), "{argument}");
        }
        assert!(read(&format!("{}=1", "n".repeat(64))).is_ok());
    }

    #[test]
    fn what_is_refused() {
        for (argument, error) in [
            ("", SyntaxError::NoArgument),
            (" \t", SyntaxError::NoArgument),
            ("a", SyntaxError::NoValue),
            ("a=1 b", SyntaxError::NoValue),
            ("=1", SyntaxError::BadName),
            ("#8bitmime=1", SyntaxError::BadName),
            ("-a=1", SyntaxError::BadName),
            (".a=1", SyntaxError::BadName),
            ("a+62=1", SyntaxError::BadName),
            ("a/b=1", SyntaxError::BadName),
            ("é=1", SyntaxError::BadName),
            (&format!("{}=1", "n".repeat(65)), SyntaxError::BadName),
            ("a=b=c", SyntaxError::BadValue(XtextError::Raw)),
            ("a=é", SyntaxError::BadValue(XtextError::Raw)),
            ("a=+", SyntaxError::BadValue(XtextError::Escape)),
            ("a=+G0", SyntaxError::BadValue(XtextError::Escape)),
            ("a=x+0D+0Ab=c", SyntaxError::BadValue(XtextError::Raw)),
            ("a=x+0D+0Ab", SyntaxError::BadValue(XtextError::Control)),
            ("a=+00", SyntaxError::BadValue(XtextError::Control)),
            ("a=+1B", SyntaxError::BadValue(XtextError::Control)),
            ("a=+7F", SyntaxError::BadValue(XtextError::Control)),
            ("a=+C2+9B", SyntaxError::BadValue(XtextError::Control)),
            ("a=+FF", SyntaxError::BadValue(XtextError::Utf8)),
        ] {
            assert_eq!(read(argument), Err(error), "{argument:?}");
        }
    }
}
