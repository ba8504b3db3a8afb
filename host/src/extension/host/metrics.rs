//! `metrics`: the extension's own counters, one series for each name with its labels.

use crate::extension::bindings::pillarbox::extension::metrics::Host;
use crate::extension::bindings::pillarbox::extension::types::{Entry, Error};
use crate::extension::state::State;
use std::collections::BTreeMap;

/// Labels of one counter.
const LABELS: usize = 8;
/// Octets of a label's value.
const LONGEST_VALUE: usize = 64;

impl Host for State {
    fn count(&mut self, name: String, by: u64, labels: Vec<Entry>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len() + labels.iter().map(|label| label.name.len() + label.value.len()).sum::<usize>() + 8)?;
        if let Err(error) = self.session() {
            return Ok(Err(error));
        }
        Ok(series(&name, &labels).and_then(|series| match self.linked.counters.counted(&series, by) {
            true => Ok(()),
            false => Err(Error::Limit("an extension keeps 200 series on a listener".to_owned())),
        }))
    }
}

/// `name{label="value",…}`, with the labels by name: one text for one series.
fn series(name: &str, labels: &[Entry]) -> Result<String, Error> {
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    if !is_name(name) || !labels.iter().all(|label| is_name(&label.name)) {
        return invalid("a counter and its labels have 1 to 64 of a-z, 0-9 and _, and begin with a letter");
    }
    if labels.len() > LABELS {
        return invalid("a counter has at most 8 labels");
    }
    if labels.iter().any(|label| label.value.len() > LONGEST_VALUE || label.value.chars().any(char::is_control)) {
        return invalid("a label's value has at most 64 octets and no control characters");
    }
    let by_name: BTreeMap<&str, &str> = labels.iter().map(|label| (&*label.name, &*label.value)).collect();
    if by_name.len() != labels.len() {
        return invalid("each label is given once");
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let labels: Vec<String> = by_name.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    Ok(match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    })
}

fn is_name(name: &str) -> bool {
    let octet = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(octet)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_series_has_one_text() {
        let label = |(name, value): &(&str, &str)| Entry { name: (*name).to_owned(), value: (*value).to_owned() };
        let text =
            |name: &str, labels: &[(&str, &str)]| series(name, &labels.iter().map(label).collect::<Vec<_>>()).ok();
        for (name, labels, expected) in [
            ("seen", &[][..], Some("seen")),
            ("seen", &[("zone", "a"), ("code", "2")], Some(r#"seen{code="2",zone="a"}"#)),
            ("seen", &[("code", "2"), ("zone", "a")], Some(r#"seen{code="2",zone="a"}"#)),
            ("seen", &[("a", r#"x",b="y"#)], Some(r#"seen{a="x\",b=\"y"}"#)),
            ("seen", &[("a", r"\")], Some(r#"seen{a="\\"}"#)),
            ("seen", &[("a", "")], Some(r#"seen{a=""}"#)),
            ("", &[], None),
            ("Seen", &[], None),
            ("_seen", &[], None),
            ("1seen", &[], None),
            ("se-en", &[], None),
            ("seen", &[("A", "1")], None),
            ("seen", &[("a", "1"), ("a", "2")], None),
            ("seen", &[("a", "1\n2")], None),
            ("seen", &[("a", "1\u{85}2")], None),
        ] {
            assert_eq!(text(name, labels).as_deref(), expected, "{name} {labels:?}");
        }
        assert_eq!(text(&"x".repeat(64), &[]).map(|text| text.len()), Some(64));
        assert_eq!(text(&"x".repeat(65), &[]), None);
        assert_eq!(text("seen", &[("a", &"x".repeat(64))]).map(|text| text.len()), Some(74));
        assert_eq!(text("seen", &[("a", &"x".repeat(65))]), None);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| (name, ""));
        assert!(text("seen", &names[..8]).is_some());
        assert_eq!(text("seen", &names), None);
    }
}
