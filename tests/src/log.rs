//! What a running server writes to standard error, line by line, for tests that wait for something to happen.

use crate::PATIENCE;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The log of one server; clones share it. It ends when the server does.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads `stream` to its end on a thread of its own.
    pub(crate) fn read(stream: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let shared = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                shared.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                shared.0.more.notify_all();
            }
            shared.lock().ended = true;
            shared.0.more.notify_all();
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// All events so far; lines that are none are left out.
    pub fn events(&self) -> Vec<Event> {
        self.lines().iter().filter_map(|line| Event::parse(line)).collect()
    }

    /// The first event, past or to come, that `is_it` says yes to.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let mut seen = 0;
        let found = self.wait(PATIENCE, |lines| {
            let fresh = lines[seen..].iter().filter_map(|line| Event::parse(line)).find(&is_it);
            seen = lines.len();
            fresh
        });
        found.unwrap_or_else(|| panic!("nothing was logged of: {what}\n{}", self.lines().join("\n")))
    }

    /// The first event with this message and these fields.
    #[track_caller]
    pub fn event(&self, message: &str, fields: &[(&str, &str)]) -> Event {
        let what = format!("{message} {fields:?}");
        self.wait_for(&what, |event| {
            event.is(message) && fields.iter().all(|(name, value)| event.field(name) == *value)
        })
    }

    /// Waits until there are `count` events with this message.
    #[track_caller]
    pub fn count(&self, count: usize, message: &str) {
        let of_it = |line: &&String| Event::parse(line).is_some_and(|event| event.is(message));
        let enough = self.wait(PATIENCE, |lines| (lines.iter().filter(of_it).count() >= count).then_some(()));
        enough.unwrap_or_else(|| panic!("not {count} times {message:?}\n{}", self.lines().join("\n")));
    }

    /// Waits for the end of the server; false if it goes on.
    pub(crate) fn ended_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut written = self.lock();
        while !written.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            written = self.0.more.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Calls `find` with all lines, now and whenever there are more, until it finds something or the server ends.
    fn wait<T>(&self, patience: Duration, mut find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&written.lines) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if written.ended {
                return None;
            }
            written = self.0.more.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of the log, in either format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `info`, in lower case.
    pub level: String,
    /// What happened.
    pub message: String,
    /// The rest, as text.
    pub fields: BTreeMap<String, String>,
}

impl Event {
    /// The event a line holds, if it is one.
    pub fn parse(line: &str) -> Option<Event> {
        if line.starts_with('{') { Event::parse_json(line) } else { Event::parse_text(line) }
    }

    /// A field; empty if there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Whether the message is this.
    pub fn is(&self, message: &str) -> bool {
        self.message == message
    }

    fn parse_json(line: &str) -> Option<Event> {
        let serde_json::Value::Object(object) = serde_json::from_str(line).ok()? else { return None };
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut fields: BTreeMap<String, String> =
            object.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        fields.remove("time")?;
        Some(Event { level: fields.remove("level")?, message: fields.remove("message")?, fields })
    }

    /// `TIME LEVEL message name=value name="quoted value"`.
    fn parse_text(line: &str) -> Option<Event> {
        let (time, rest) = line.split_once(' ')?;
        let (level, mut rest) = rest.trim_start().split_once(' ')?;
        if !time.ends_with('Z') || level.bytes().any(|octet| !octet.is_ascii_uppercase()) {
            return None;
        }
        let mut words = Vec::new();
        let mut fields = BTreeMap::new();
        while !rest.is_empty() {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            let is_name = |name: &str| name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_');
            let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else {
                words.push(word);
                rest = behind;
                continue;
            };
            if !value.starts_with('"') {
                fields.insert(name.to_owned(), value.to_owned());
                rest = behind;
                continue;
            }
            // A quoted value is a JSON string.
            let mut strings = serde_json::Deserializer::from_str(&rest[name.len() + 1..]).into_iter::<String>();
            fields.insert(name.to_owned(), strings.next()?.ok()?);
            rest = rest[name.len() + 1 + strings.byte_offset()..].trim_start();
        }
        Some(Event { level: level.to_ascii_lowercase(), message: words.join(" "), fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let text =
            r#"2026-11-22T16:00:00.123Z  INFO session opened session=01A peer=127.0.0.1:4 helo="a b=\"c\"\\" n=3"#;
        let json = r#"{"time":"2026-11-22T16:00:00.123Z","level":"info","message":"session opened","session":"01A",
            "peer":"127.0.0.1:4","helo":"a b=\"c\"\\","n":3}"#;
        let event = Event::parse(text).unwrap();
        assert_eq!(event.message, "session opened");
        assert_eq!(event.field("helo"), "a b=\"c\"\\");
        assert_eq!(event.field("n"), "3");
        assert_eq!(Event::parse(json).unwrap(), event);
        assert_eq!(Event::parse("error: unknown key `adress`"), None);
    }
}
