//! From an event to its line.
//!
//! A subscriber layer of our own instead of the stock formatter, which writes a `Display` field out as it comes (newlines
//! and all), escapes neither separators nor direction marks, knows no bound for a field, and formats into a lock while it
//! writes.

use super::memory::Memory;
use super::sink::Sink;
use super::text::{Bounded, FIELD, needs_quotes, push_escaped, push_quoted, timestamp};
use super::{Format, Shape};
use std::fmt::{self, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The octets a line keeps of its message, which is our own text but may quote an error.
const MESSAGE: usize = 1024;
/// The field that holds what somebody wrote to be read in the log: it keeps as much as a message.
const TEXT: &str = "text";

/// Turns events into lines and hands them to a sink, and to the memory those that somebody may ask for.
#[derive(Debug)]
pub(super) struct Lines {
    shape: Shape,
    sink: Sink,
    memory: Memory,
}

impl Lines {
    pub(super) fn new(shape: Shape, sink: Sink, memory: Memory) -> Lines {
        Lines { shape, sink, memory }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        // Formatted before the lock is taken: a value whose `Display` logs would wait for itself.
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions_mut().get_mut::<Fields>()
        {
            known.add(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(known) = span.extensions().get::<Fields>() {
                fields.add(known.clone());
            }
        }
        fields.add(own);
        let line = line(self.shape.format(), SystemTime::now(), *event.metadata().level(), &fields);
        if fields.name_somebody() {
            self.memory.keep(&line);
        }
        self.sink.send(line);
    }
}

/// Writes one line, its end included.
pub(super) fn line(format: Format, time: SystemTime, level: Level, fields: &Fields) -> String {
    let mut out = String::with_capacity(160);
    match format {
        Format::Text => text_line(&mut out, time, level, fields),
        Format::Json => json_line(&mut out, time, level, fields),
    }
    out.push('\n');
    out
}

fn text_line(out: &mut String, time: SystemTime, level: Level, fields: &Fields) {
    // Writing into a `String` cannot fail.
    let _ = write!(out, "{} {level:>5} ", timestamp(time));
    push_escaped(out, &fields.message);
    for (name, value) in &fields.others {
        let _ = write!(out, " {name}=");
        match value {
            Value::Text(text) if needs_quotes(text) => push_quoted(out, text),
            Value::Text(text) | Value::Bare(text) => out.push_str(text),
        }
    }
}

fn json_line(out: &mut String, time: SystemTime, level: Level, fields: &Fields) {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let _ = write!(out, r#"{{"time":"{}","level":"{level}","message":"#, timestamp(time));
    push_quoted(out, &fields.message);
    for (name, value) in &fields.others {
        out.push(',');
        push_quoted(out, name);
        out.push(':');
        match value {
            Value::Text(text) => push_quoted(out, text),
            Value::Bare(text) => out.push_str(text),
        }
    }
    out.push('}');
}

/// What an event or a span says: bounded, not yet escaped. No name occurs twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    /// A number or a truth value, which stands without quotation marks in both formats.
    Bare(String),
}

impl Fields {
    /// A message without fields.
    pub(super) fn message(message: String) -> Fields {
        Fields { message, others: Vec::new() }
    }

    /// Whether it is about a session or a message, and so a part of a story.
    fn name_somebody(&self) -> bool {
        self.others.iter().any(|(name, _)| matches!(*name, "session" | "id" | "ids"))
    }

    /// Takes `later` over, which wins where both say something.
    fn add(&mut self, later: Fields) {
        if !later.message.is_empty() {
            self.message = later.message;
        }
        for (name, value) in later.others {
            self.set(name, value);
        }
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.others.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let message = field.name() == "message";
        let mut bounded = Bounded::new(if message || field.name() == TEXT { MESSAGE } else { FIELD });
        // It fails when the bound is reached, which is what the bound is for.
        let _ = bounded.write_fmt(value);
        if message {
            self.message = bounded.finish();
        } else {
            self.set(name(field), Value::Text(bounded.finish()));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows no infinity.
        if value.is_finite() {
            self.set(name(field), Value::Bare(value.to_string()));
        } else {
            self.text(field, format_args!("{value}"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(name(field), Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(name(field), Value::Bare(value.to_string()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(name(field), Value::Bare(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(name(field), Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(name(field), Value::Bare(value.to_string()));
    }
}

/// The name as it is written: a keyword of Rust without its mark, and never one that each line has already.
fn name(field: &Field) -> &'static str {
    match field.name() {
        "time" => "time_",
        "level" => "level_",
        raw => raw.strip_prefix("r#").unwrap_or(raw),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::observe::sink::tests::Written;
    use std::time::{Duration, UNIX_EPOCH};
    use tracing_subscriber::layer::SubscriberExt;

    const HOSTILE: &str = "a\r\nb\u{1b}[2J\u{2028}\"c\"\\";

    /// What `events` logs, its times taken off.
    fn logged(format: Format, events: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let shape = Shape::new(format);
        let sink = Sink::new(Box::new(written.clone()), shape.clone()).unwrap();
        let subscriber = tracing_subscriber::registry().with(Lines::new(shape, sink.clone(), Memory::default()));
        tracing::subscriber::with_default(subscriber, events);
        sink.flush(Duration::from_secs(10));
        written.text().lines().map(str::to_owned).collect()
    }

    fn text(events: impl FnOnce()) -> Vec<String> {
        let time = "2026-11-22T16:00:00.123Z ".len();
        logged(Format::Text, events).iter().map(|line| line.get(time..).unwrap().to_owned()).collect()
    }

    fn json(events: impl FnOnce()) -> Vec<serde_json::Value> {
        logged(Format::Json, events)
            .iter()
            .map(|line| {
                let mut value: serde_json::Value = serde_json::from_str(line).expect(line);
                assert!(value.as_object_mut().unwrap().remove("time").is_some());
                value
            })
            .collect()
    }

    #[test]
    fn an_event_is_one_line_in_the_given_order() {
        let fields = Fields::message("session opened".to_owned());
        let time = UNIX_EPOCH + Duration::from_millis(1_795_363_200_123);
        assert_eq!(line(Format::Text, time, Level::INFO, &fields), "2026-11-22T16:00:00.123Z  INFO session opened\n");
        assert_eq!(
            line(Format::Json, time, Level::INFO, &fields),
            "{\"time\":\"2026-11-22T16:00:00.123Z\",\"level\":\"info\",\"message\":\"session opened\"}\n"
        );
        assert_eq!(
            text(|| tracing::warn!(peer = %"127.0.0.1:25", count = 3, tls = true, share = 0.5, name = "a b", "x")),
            [r#" WARN x peer=127.0.0.1:25 count=3 tls=true share=0.5 name="a b""#]
        );
    }

    #[test]
    fn nothing_in_a_value_ends_the_line() {
        let events = || {
            let plain = HOSTILE;
            tracing::info!(plain, display = %HOSTILE, debug = ?HOSTILE, "said {HOSTILE}");
        };
        assert_eq!(
            text(events),
            [concat!(
                r#" INFO said a\r\nb\u001b[2J\u2028"c"\\"#,
                r#" plain="a\r\nb\u001b[2J\u2028\"c\"\\""#,
                r#" display="a\r\nb\u001b[2J\u2028\"c\"\\""#,
                r#" debug="\"a\\r\\nb\\u{1b}[2J\\u{2028}\\\"c\\\"\\\\\"""#,
            )]
        );
        assert_eq!(
            json(events),
            [serde_json::json!({
                "level": "info", "message": format!("said {HOSTILE}"), "plain": HOSTILE, "display": HOSTILE,
                "debug": format!("{HOSTILE:?}"),
            })]
        );
        // Raw, a line of JSON holds none of it either.
        assert!(logged(Format::Json, events).iter().all(|line| line.is_ascii()));
    }

    #[test]
    fn a_value_that_looks_like_another_field_is_quoted() {
        assert_eq!(
            text(|| tracing::info!(helo = "x session=forged", empty = "", nbsp = "a\u{a0}b", "hello")),
            [" INFO hello helo=\"x session=forged\" empty=\"\" nbsp=\"a\u{a0}b\""]
        );
    }

    #[test]
    fn values_are_cut() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("0123456789abcdef")?;
                }
            }
        }
        let events = || tracing::info!(a = %Endless, b = "é".repeat(1 << 20), "{Endless}");
        let [line] = <[_; 1]>::try_from(json(events)).unwrap();
        assert_eq!(line["a"].as_str().unwrap(), format!("{}…", "0123456789abcdef".repeat(16)));
        assert_eq!(line["b"].as_str().unwrap(), format!("{}…", "é".repeat(128)));
        assert_eq!(line["message"].as_str().unwrap().len(), MESSAGE + '…'.len_utf8());
    }

    #[test]
    fn an_event_says_what_its_spans_say() {
        let events = || {
            let outer = tracing::info_span!("session", session = "S1", peer = "p", user = tracing::field::Empty);
            outer.record("user", "ann");
            let _outer = outer.enter();
            let _inner = tracing::info_span!("message", id = 7, peer = "q").entered();
            tracing::info!(id = 8, "stored");
        };
        assert_eq!(text(events), [" INFO stored session=S1 peer=q user=ann id=8"]);
        assert_eq!(
            json(events),
            [serde_json::json!({
                "level": "info", "message": "stored", "session": "S1", "peer": "q", "user": "ann", "id": 8,
            })]
        );
    }

    #[test]
    fn each_line_of_json_parses() {
        let events = || {
            tracing::info!(time = "t", level = 3, r#type = "x", big = u128::MAX, none = f64::NAN, less = -1);
        };
        assert_eq!(
            logged(Format::Json, events)
                .iter()
                .map(|line| line.split_once(",\"level\"").unwrap().1)
                .collect::<Vec<_>>(),
            [format!(
                r#":"info","message":"","time_":"t","level_":3,"type":"x","big":{},"none":"NaN","less":-1}}"#,
                u128::MAX
            )]
        );
    }
}
