//! A line of the log, read back: the inverse of `event`, for both formats.

use super::text::{needs_quotes, push_escaped, push_quoted};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What one line of a log says. None of it is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// How grave, in lower case: `info`.
    pub level: String,
    /// What happened.
    pub message: String,
    /// The rest, in its order.
    pub fields: Pairs,
}

/// Names with values; in JSON, an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Told {
    /// What a line says, in either format; none if it is no line of a log. What stands before it is passed over, as other
    /// programs put their own time and name there.
    pub fn read(line: &str) -> Option<Told> {
        let line = line.trim_end_matches(['\r', '\n']);
        let json = line.find("{\"time\":\"").unwrap_or(usize::MAX);
        let text = text_start(line).unwrap_or(usize::MAX);
        // What stands first is the line; the other is something it quotes.
        match json < text {
            true => read_json(line.get(json..)?),
            false => read_text(line.get(text..)?),
        }
    }

    /// The field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// `name=value …` as the log has it, without the fields of these names. Nothing in it moves a cursor.
    pub fn details(&self, without: &[&str]) -> String {
        let mut out = String::new();
        for (name, value) in self.fields.iter().filter(|(name, _)| !without.contains(name)) {
            if !out.is_empty() {
                out.push(' ');
            }
            push_escaped(&mut out, name);
            out.push('=');
            if needs_quotes(value) { push_quoted(&mut out, value) } else { out.push_str(value) }
        }
        out
    }
}

fn read_json(line: &str) -> Option<Told> {
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<Pairs>();
    let mut fields = values.next()?.ok()?;
    let (time, level, message) = (fields.take("time")?, fields.take("level")?, fields.take("message")?);
    Some(Told { time, level, message, fields })
}

/// Where `2026-11-22T16:00:00.123Z` and a level begin.
fn text_start(line: &str) -> Option<usize> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000Z ";
    let fits = |window: &[u8]| {
        window.iter().zip(SHAPE).all(|(octet, shape)| match shape {
            b'0' => octet.is_ascii_digit(),
            other => octet == other,
        })
    };
    line.as_bytes().windows(SHAPE.len()).position(fits)
}

/// `TIME LEVEL message name=value name="quoted value"`: the message ends where the first field begins.
fn read_text(line: &str) -> Option<Told> {
    let (time, rest) = line.split_once(' ')?;
    let (level, mut rest) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
    if !matches!(level, "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE") {
        return None;
    }
    let (mut words, mut fields) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else {
            // Behind the first field there is nothing but fields, so what is none belongs to no message either.
            if fields.is_empty() {
                words.push(word);
            }
            rest = behind;
            continue;
        };
        if !value.starts_with('"') {
            fields.push((name.to_owned(), value.to_owned()));
            rest = behind;
            continue;
        }
        let quoted = rest.get(name.len().saturating_add(1)..).unwrap_or_default();
        let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
        fields.push((name.to_owned(), strings.next()?.ok()?));
        rest = quoted.get(strings.byte_offset()..).unwrap_or_default().trim_start();
    }
    let message = unescaped(&words.join(" "));
    Some(Told { time: time.to_owned(), level: level.to_ascii_lowercase(), message, fields: Pairs(fields) })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
}

/// A message is escaped as a JSON string is, but for the quotation marks.
fn unescaped(message: &str) -> String {
    if !message.contains('\\') {
        return message.to_owned();
    }
    let quoted = format!("\"{}\"", message.replace('"', "\\\""));
    serde_json::from_str(&quoted).unwrap_or_else(|_| message.to_owned())
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    pairs.push((name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(message: &str, fields: &[(&str, &str)]) -> Told {
        Told {
            time: "2026-11-22T16:00:00.123Z".to_owned(),
            level: "info".to_owned(),
            message: message.to_owned(),
            fields: Pairs(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
        }
    }

    #[test]
    fn both_formats_say_the_same() {
        for (text, json, expected) in [
            (
                r#"2026-11-22T16:00:00.123Z  INFO session opened session=01A peer=127.0.0.1:4 helo="a b=\"c\"\\" n=3"#,
                r#"{"time":"2026-11-22T16:00:00.123Z","level":"info","message":"session opened","session":"01A","peer":"127.0.0.1:4","helo":"a b=\"c\"\\","n":3}"#,
                told(
                    "session opened",
                    &[("session", "01A"), ("peer", "127.0.0.1:4"), ("helo", "a b=\"c\"\\"), ("n", "3")],
                ),
            ),
            (
                "2026-11-22T16:00:00.123Z  INFO a\\nb \"c\" d\\\\ yes=true e=\"\"",
                r#"{"time":"2026-11-22T16:00:00.123Z","level":"info","message":"a\nb \"c\" d\\","yes":true,"e":""}"#,
                told("a\nb \"c\" d\\", &[("yes", "true"), ("e", "")]),
            ),
            (
                "2026-11-22T16:00:00.123Z  INFO stopping\r\n",
                "{\"time\":\"2026-11-22T16:00:00.123Z\",\"level\":\"info\",\"message\":\"stopping\"}\n",
                told("stopping", &[]),
            ),
            (
                // What journalctl and others put before it; what is quoted behind is no line of its own.
                "Nov 22 17:00:00 mx pillarbox[7]: 2026-11-22T16:00:00.123Z  INFO x a=\"2026-11-22T16:00:00.123Z  INFO y\"",
                r#"mx-1  | {"time":"2026-11-22T16:00:00.123Z","level":"info","message":"x","a":"2026-11-22T16:00:00.123Z  INFO y"}"#,
                told("x", &[("a", "2026-11-22T16:00:00.123Z  INFO y")]),
            ),
        ] {
            assert_eq!(Told::read(text).as_ref(), Some(&expected), "{text}");
            assert_eq!(Told::read(json).as_ref(), Some(&expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        for line in [
            "",
            "error: unknown key `adress`",
            "2026-11-22T16:00:00.123Z",
            "2026-11-22T16:00:00.123Z  NOTICE x",
            "2026-11-22T16:00:00.123Z  INFO x a=\"torn",
            "{\"time\":\"2026-11-22T16:00:00.123Z\",\"level\":\"info\",\"mess",
            "{\"time\":\"2026-11-22T16:00:00.123Z\"}",
            "{}",
            "é{\"time\":",
        ] {
            assert_eq!(Told::read(line), None, "{line}");
        }
    }

    #[test]
    fn it_travels_as_json_in_its_order() {
        let event = told("x", &[("z", "1"), ("a", "\u{1b}\"")]);
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""fields":{"z":"1","a":"#), "{json}");
        assert_eq!(serde_json::from_str::<Told>(&json).unwrap(), event);
    }

    #[test]
    fn details_are_as_the_log_has_them() {
        let event = told("x", &[("session", "S"), ("helo", "a b"), ("n", "3"), ("evil", "\u{1b}[2J\n")]);
        assert_eq!(event.details(&["session"]), r#"helo="a b" n=3 evil="\u001b[2J\n""#);
    }
}
