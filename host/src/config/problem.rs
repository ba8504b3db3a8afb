//! What is wrong with a configuration, and where: the text it was read from, places in it, and messages that point at
//! a line. It does not know what a configuration means; whoever checks one (this room, or `extension` with a component
//! at hand) says its findings with [`Problem`].

use std::error::Error;
use std::fmt;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration file is a few kilobytes; past this many octets it is something else given by mistake.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The text a configuration is read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: the path as the operator gave it, or "the embedded default".
    pub name: String,
    /// Where relative paths in it start: the file's own directory, absolute.
    pub directory: PathBuf,
    /// The TOML text.
    pub text: String,
}

impl Source {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidData` for text that is not UTF-8 or larger than 4 MiB.
    pub fn read(path: &Path) -> io::Result<Source> {
        let mut text = String::new();
        let octets = std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
        if u64::try_from(octets).is_ok_and(|octets| octets > LARGEST_FILE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than 4 MiB"));
        }
        let absolute = std::path::absolute(path)?;
        let directory = absolute.parent().unwrap_or(&absolute).to_path_buf();
        Ok(Source { name: path.display().to_string(), directory, text })
    }
}

impl Source {
    /// The line `place` begins in, from 1.
    pub fn line(&self, place: Place) -> usize {
        Line::of(&self.text, place).number
    }
}

/// A stretch of the text: octet offsets, the end excluded.
///
/// Two readings of one configuration differ in their places as soon as a comment grows; values that hold a place
/// therefore have no `==`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The first octet.
    pub start: usize,
    /// The octet behind the last.
    pub end: usize,
}

impl From<Range<usize>> for Place {
    fn from(span: Range<usize>) -> Place {
        Place { start: span.start, end: span.end }
    }
}

/// One thing that is wrong, or only looks so.
#[derive(Clone, Debug)]
pub struct Problem {
    place: Option<Place>,
    message: String,
    help: Option<String>,
    warning: bool,
}

impl Problem {
    /// Something wrong at `place`. The message is in lower case, without a full stop.
    pub fn at(place: Place, message: impl Into<String>) -> Problem {
        Problem { place: Some(place), message: message.into(), help: None, warning: false }
    }

    /// Something wrong with the file as a whole.
    pub fn whole(message: impl Into<String>) -> Problem {
        Problem { place: None, message: message.into(), help: None, warning: false }
    }

    /// Adds what to do about it: a word or two, or lines of TOML.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Problem {
        self.help = Some(text.into());
        self
    }

    /// Makes it a warning: the configuration is served all the same.
    #[must_use]
    pub fn as_warning(self) -> Problem {
        Problem { warning: true, ..self }
    }

    /// Where it is; none for the file as a whole.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file, and the line where there is one: `pillarbox.toml:4`.
    pub fn line(&self, source: &Source) -> String {
        match self.place {
            Some(place) => format!("{}:{}", source.name, source.line(place)),
            None => source.name.clone(),
        }
    }

    /// The message with the line it points at, as an operator reads it; ends in a line feed.
    ///
    /// ```text
    /// error: unknown key `adress`
    ///   --> pillarbox.toml:4:1
    ///    |
    ///  4 | adress = ["127.0.0.1:25"]
    ///    | ^^^^^^ did you mean `address`?
    /// ```
    pub fn render(&self, source: &Source) -> String {
        let kind = if self.warning { "warning" } else { "error" };
        let heading = format!("{kind}: {}\n", self.message.chars().map(visible).collect::<String>());
        let help = self.help.as_deref().map(|help| {
            help.split('\n').map(|line| line.chars().map(visible).collect()).collect::<Vec<String>>().join("\n")
        });
        let Some(line) = self.place.map(|place| Line::of(&source.text, place)) else {
            let help = help.map(|help| format!("   = help: {}\n", indented(&help, 11))).unwrap_or_default();
            return format!("{heading}  --> {}\n{help}", source.name);
        };
        let number = line.number.to_string();
        let margin = " ".repeat(number.len());
        let mut text = format!(
            "{heading}{margin} --> {}:{number}:{}\n{margin}  |\n {number} | {}\n{margin}  | {}{}",
            source.name,
            line.column,
            line.text,
            " ".repeat(line.indent),
            "^".repeat(line.carets)
        );
        match help {
            None => text.push('\n'),
            Some(help) if !help.contains('\n') && line.indent + line.carets + help.chars().count() < WIDTH => {
                text.push_str(&format!(" {help}\n"));
            }
            Some(help) => {
                text.push_str(&format!("\n{margin}  = help: {}\n", indented(&help, number.len() + 10)));
            }
        }
        text
    }
}

/// Everything that is wrong with a configuration, in the order of the text. Displayed, each with its line, and how many
/// they are at the end.
#[derive(Clone, Debug)]
pub struct Problems {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

impl Problems {
    /// The problems of `source`.
    pub fn new(source: Arc<Source>, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| problem.place);
        Problems { source, problems }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}", problem.render(&self.source))?;
        }
        let errors = if self.problems.len() == 1 { "error" } else { "errors" };
        write!(f, "{} {errors} in {}", self.problems.len(), self.source.name)
    }
}

impl Error for Problems {}

/// Help that would end beyond this column goes on a line of its own.
const WIDTH: usize = 100;

/// The part of a line that is shown, and what of it is underlined.
struct Line {
    /// From 1.
    number: usize,
    /// From 1, in characters.
    column: usize,
    /// Fit for a terminal: one column for each character, long lines cut on both sides.
    text: String,
    /// Columns of `text` before the underlined ones.
    indent: usize,
    /// Columns underlined; at least one.
    carets: usize,
}

impl Line {
    /// Columns of context that are kept of an over-long line before what is underlined.
    const BEFORE: usize = 60;
    /// Columns of a line that are shown.
    const SHOWN: usize = 160;

    fn of(text: &str, place: Place) -> Line {
        let start = text.floor_char_boundary(place.start);
        let (before, behind) = text.split_at(start);
        let number = before.matches('\n').count() + 1;
        let head = before.rsplit('\n').next().unwrap_or_default();
        let rest = behind.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        // What goes on in further lines is underlined to the end of the first.
        let length = text.floor_char_boundary(place.end).saturating_sub(start).min(rest.len());
        let marked = rest.split_at_checked(length).map_or(0, |(marked, _)| marked.chars().count());

        let indent = head.chars().count();
        let cut = if indent + marked > Line::SHOWN { indent.saturating_sub(Line::BEFORE) } else { 0 };
        let shown = head.chars().chain(rest.chars()).skip(cut).take(Line::SHOWN).map(visible).collect::<String>();
        let indent_shown = indent - cut;
        let carets = marked.min(Line::SHOWN.saturating_sub(indent_shown)).max(1);
        Line { number, column: indent + 1, text: shown.trim_end().to_owned(), indent: indent_shown, carets }
    }
}

/// A character that takes one column and does nothing else to a terminal.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => char::REPLACEMENT_CHARACTER,
        // Line separators, and what turns the direction of the text around it.
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// `text` with all lines but the first moved `columns` to the right.
fn indented(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(columns)))
}
