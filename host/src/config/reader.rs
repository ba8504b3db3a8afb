//! Walking a parsed TOML tree: tables that know which of their keys were asked for, values that say what they should
//! have been. Every mistake is noted and reading goes on, so that one run finds them all; whoever reads puts any value
//! in the place of a wrong one, for a configuration with a mistake is never built.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Mistake, parse_duration, parse_size, show_duration, show_size};
use super::words::{nearest, suggest};
use super::{Place, Problem, Source};

/// One walk through one text.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    source: &'a Source,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(source: &'a Source) -> Reading<'a> {
        Reading { source, problems: RefCell::default() }
    }

    pub(super) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// `path` as it is meant in this file: joined to the file's directory and without `.` in between.
    fn resolve(&self, path: &str) -> PathBuf {
        let joined = self.source.directory.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

/// A table being read. [`Table::finish`] reports the keys nobody asked for and those that are missing.
#[derive(Debug)]
#[must_use]
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// The key that names it; of the whole file the beginning.
    pub(super) place: Place,
    asked: Vec<&'static str>,
    /// Keys that must be there and are not, each with an example of its value.
    missing: Vec<(&'static str, String)>,
    reading: &'a Reading<'a>,
}

impl<'a> Table<'a> {
    /// The file as a whole.
    pub(super) fn root(entries: &'a DeTable<'a>, reading: &'a Reading<'a>) -> Table<'a> {
        Table { entries, place: Place::default(), asked: Vec::new(), missing: Vec::new(), reading }
    }

    /// The value of `key`, if it was written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some(Value::new(name.get_ref(), name.span().into(), value, self.reading))
    }

    /// The value of `key`, for whoever only wants to know where it stands: it is asked for by somebody else.
    pub(super) fn written(&self, key: &str) -> Option<Value<'a>> {
        let (name, value) = self.entries.get_key_value(key)?;
        Some(Value::new(name.get_ref(), name.span().into(), value, self.reading))
    }

    /// The value of `key`; that it is missing is a mistake, and `example` is a value it could have.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.missing.push((key, example.to_owned()));
        }
        value
    }

    /// The table under `key`; none where it was not written or is no table, which is noted.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.take(key)?.table()
    }

    /// All entries of a table whose keys are free names, by name.
    pub(super) fn entries(self) -> impl Iterator<Item = Value<'a>> {
        let reading = self.reading;
        self.entries.iter().map(move |(name, value)| Value::new(name.get_ref(), name.span().into(), value, reading))
    }

    /// Every key that was written, with its place, whether or not it was asked for.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, Place)> {
        self.entries.keys().map(|name| (name.get_ref().as_ref(), name.span().into()))
    }

    /// Every key was asked for by now: what is left is unknown.
    pub(super) fn finish(mut self) {
        let unknown = self.entries.iter().filter(|(name, _)| !self.asked.iter().any(|asked| asked == name.get_ref()));
        for (name, _) in unknown {
            // A key that was written wrongly is one mistake, not two.
            let meant = nearest(name.get_ref(), self.asked.iter().copied());
            self.missing.retain(|(missing, _)| Some(*missing) != meant);
            let help = suggest(name.get_ref(), &self.asked, "the keys here are");
            self.reading.note(Problem::at(name.span().into(), format!("unknown key `{}`", name.get_ref())).help(help));
        }
        for (key, example) in &self.missing {
            let problem = Problem::at(self.place, format!("missing key `{key}`"));
            self.reading.note(problem.help(format!("add `{key} = {example}`")));
        }
    }

    pub(super) fn note(&self, problem: Problem) {
        self.reading.note(problem);
    }
}

/// A value being read. What a method finds wrong it notes, and answers none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    /// Its key, or the key of the list that holds it.
    pub(super) name: &'a str,
    /// Where the key stands; of an item in a list the item itself, or its header.
    pub(super) key: Place,
    /// Where the value stands.
    pub(super) place: Place,
    pub(super) raw: &'a DeValue<'a>,
    reading: &'a Reading<'a>,
}

impl<'a> Value<'a> {
    fn new(name: &'a str, key: Place, value: &'a Spanned<DeValue<'a>>, reading: &'a Reading<'a>) -> Value<'a> {
        Value { name, key, place: value.span().into(), raw: value.get_ref(), reading }
    }

    pub(super) fn table(self) -> Option<Table<'a>> {
        match self.raw {
            DeValue::Table(entries) => {
                Some(Table { entries, place: self.key, asked: Vec::new(), missing: Vec::new(), reading: self.reading })
            }
            _ => self.mistyped("a table"),
        }
    }

    /// The tables of a table whose keys are free names, in the order of the text. `form` is how the header of one is
    /// written.
    pub(super) fn named_tables(self, form: &str) -> Vec<Value<'a>> {
        let DeValue::Table(_) = self.raw else {
            let message = format!("`{}` must be a table, not {}", self.name, kind(self.raw));
            self.note(Problem::at(self.place, message).help(format!("write `{form}`")));
            return Vec::new();
        };
        let mut values = self.table().into_iter().flat_map(Table::entries).collect::<Vec<_>>();
        values.sort_by_key(|value| value.key);
        let (tables, others) =
            values.into_iter().partition::<Vec<_>, _>(|value| matches!(value.raw, DeValue::Table(_)));
        for value in others {
            let message = format!("`{}` must be a table, not {}", value.name, kind(value.raw));
            value.note(Problem::at(value.key, message).help(format!("write `{form}`")));
        }
        tables
    }

    pub(super) fn list(self) -> Option<impl Iterator<Item = Value<'a>>> {
        match self.raw {
            DeValue::Array(items) => {
                Some(items.iter().map(move |item| Value::new(self.name, item.span().into(), item, self.reading)))
            }
            DeValue::String(text) => {
                let message = format!("`{}` must be a list, not a string", self.name);
                self.note(Problem::at(self.place, message).help(format!("write `[\"{text}\"]`")));
                None
            }
            DeValue::Table(_) => {
                // A table is written in braces or under a header.
                let inline = self.reading.source.text.get(self.place.start..).is_some_and(|text| text.starts_with('{'));
                let brackets = if inline {
                    "`[{ … }]`".to_owned()
                } else {
                    format!("its header in double brackets, `[[…{}]]`", self.name)
                };
                let message = format!("`{}` must be a list of tables, not one table", self.name);
                self.note(Problem::at(self.place, message).help(format!("write {brackets}")));
                None
            }
            _ => self.mistyped("a list"),
        }
    }

    /// What `read` makes of each item of a list; the items it makes nothing of are left out.
    pub(super) fn each<T>(self, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.list()?.filter_map(read).collect())
    }

    pub(super) fn text(self) -> Option<&'a str> {
        match self.raw {
            DeValue::String(text) => Some(text),
            _ => self.mistyped("a string"),
        }
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(self, parse: impl Fn(&str) -> Result<T, Mistake>) -> Option<T> {
        let text = self.text()?;
        parse(text).map_err(|mistake| self.note(mistake.at(self.place))).ok()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
            let help = suggest(text, &words, "one of");
            self.note(Problem::at(self.place, format!("`{}` cannot be `{text}`", self.name)).help(help));
        }
        found
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self.raw {
            DeValue::Boolean(value) => Some(*value),
            _ => self.mistyped("`true` or `false`"),
        }
    }

    /// A number of things.
    pub(super) fn count(self, range: RangeInclusive<u32>) -> Option<u32> {
        let DeValue::Integer(integer) = self.raw else {
            return self.mistyped("an integer");
        };
        let wide = range.start().to_owned().into()..=range.end().to_owned().into();
        // What does not fit the type lies outside every range.
        let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        self.within(count, &wide, |count| count.to_string()).and_then(|count| u32::try_from(count).ok())
    }

    /// Octets: an integer, or a string with a unit.
    pub(super) fn size(self, range: RangeInclusive<u64>) -> Option<u64> {
        let octets = match self.raw {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(_) => Some(self.parsed(parse_size)?),
            _ => return self.mistyped("a size such as \"16MiB\""),
        };
        self.within(octets, &range, |octets| show_size(*octets))
    }

    /// Octets, as [`Value::size`] takes them, for what is kept in fewer bits.
    pub(super) fn octets(self, range: RangeInclusive<u32>) -> Option<u32> {
        let wide = range.start().to_owned().into()..=range.end().to_owned().into();
        self.size(wide).and_then(|octets| u32::try_from(octets).ok())
    }

    /// A time, as a string with a unit.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let DeValue::String(_) = self.raw else {
            return self.mistyped("a duration such as \"5s\"");
        };
        let duration = self.parsed(parse_duration)?;
        self.within(Some(duration), &range, |duration| show_duration(*duration))
    }

    /// A path; relative ones start at the file's directory. Absolute.
    pub(super) fn path(self) -> Option<PathBuf> {
        self.text().and_then(|text| self.resolve(text))
    }

    /// `path` as [`Value::path`] takes it, where the value holds more than the path.
    pub(super) fn resolve(self, path: &str) -> Option<PathBuf> {
        if path.is_empty() || path.chars().any(char::is_control) {
            let what = if path.is_empty() { "an empty path" } else { "a path with control characters" };
            self.note(Problem::at(self.place, format!("`{}` cannot be {what}", self.name)));
            return None;
        }
        Some(self.reading.resolve(path))
    }

    pub(super) fn note(self, problem: Problem) {
        self.reading.note(problem);
    }

    /// Notes that this should have been `expected`.
    pub(super) fn mistyped<T>(self, expected: &str) -> Option<T> {
        self.note(Problem::at(self.place, format!("`{}` must be {expected}, not {}", self.name, kind(self.raw))));
        None
    }

    fn within<T: PartialOrd>(
        self,
        value: Option<T>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            let (least, most) = (show(range.start()), show(range.end()));
            self.note(Problem::at(self.place, format!("`{}` must lie between {least} and {most}", self.name)));
        }
        value
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
