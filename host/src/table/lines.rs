//! The file of a table: one entry a line, the key, blanks, the value; and why it cannot be read. It does not know what a
//! key is.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::file::{Mistakes, ReadError};

/// MiB of the largest file that is read.
pub(super) const LARGEST: u64 = 64;
/// The most entries of a table.
pub(super) const MOST: usize = 1_000_000;
/// The most patterns, each of which may have to be tried for a key.
pub(super) const MOST_PATTERNS: usize = 1000;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the table {}", file.display())]
pub struct TableError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub source: Fault,
}

/// What is wrong with the file of a table.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// There are mistakes in it.
    #[error("{}", Mistakes(.0))]
    Lines(Vec<BadLine>),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The key is there already.
    #[error("the same key is in line {first}")]
    Duplicate {
        /// Counted from 1.
        first: usize,
    },
    /// Nobody could ever look it up.
    #[error("the key is longer than {} octets", super::LONGEST_KEY)]
    TooLong,
    /// What is there is no network.
    #[error("`{0}` is no address and no network")]
    NotANetwork(String),
    /// It may be meant for one host or for many.
    #[error("`{written}` has bits set behind its prefix: the network is {network}, the host alone {host}")]
    HostBits {
        /// What is there.
        written: String,
        /// What it may have meant.
        network: String,
        /// Or this.
        host: String,
    },
    /// It is no pattern at all.
    #[error("it is not /PATTERN/ with a value behind it")]
    NotAPattern,
    /// A letter behind the pattern.
    #[error("there is no flag `{0}`; there is `i`, which ignores case")]
    Flag(char),
    /// The pattern cannot be compiled.
    #[error("the pattern is wrong: {0}")]
    Pattern(String),
    /// More than there may be.
    #[error("there are more than {0} entries")]
    TooMany(usize),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.why)
    }
}

/// The lines that hold entries, without blanks around them, each with its number, from 1.
pub(super) fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Some editors put a mark in front of what they write.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim_ascii()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Key and value of an entry; the value may be empty.
pub(super) fn split(entry: &str) -> (&str, &str) {
    let (key, value) = entry.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((entry, ""));
    (key, value.trim_ascii_start())
}

/// The values of a table, or its keys, in one piece of memory: a million small ones would each take as much again.
#[derive(Debug, Default)]
pub(super) struct Texts(String);

/// Where one of them is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    start: u32,
    length: u32,
}

impl Texts {
    /// Takes one in. A file is less than 4 GiB.
    pub(super) fn put(&mut self, text: &str) -> Text {
        let start = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push_str(text);
        Text { start, length: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    /// One that was put in.
    pub(super) fn text(&self, text: Text) -> &str {
        let range = usize::try_from(text.start).ok().zip(usize::try_from(text.length).ok());
        let range: Range<usize> = range.map_or(0..0, |(start, length)| start..start.saturating_add(length));
        self.0.get(range).unwrap_or_default()
    }

    /// Gives back what is not used.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}
