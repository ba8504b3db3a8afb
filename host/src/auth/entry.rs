//! The grammar of the file, line by line: names and what is kept of their passwords, comments, empty lines.

use std::collections::HashMap;
use std::fmt;

use pillarbox_sasl::{PreparationError, prepare_user};

use super::credential::{Credential, CredentialError};

/// The longest name, in octets.
const NAME: usize = 255;

/// One user of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The index of its line.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) credential: Credential,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: LineError,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.why)?;
        let mut source = std::error::Error::source(&self.why);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// What is wrong with a line. No text quotes what it says of a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is no entry at all.
    #[error("it is not NAME:VERIFIER")]
    NoColon,
    /// The name is none.
    #[error("the name cannot be used")]
    Name(#[source] NameError),
    /// What follows it is nothing.
    #[error(transparent)]
    Credential(CredentialError),
    /// There is another.
    #[error("the same name is in line {first}")]
    Duplicate {
        /// Counted from 1.
        first: usize,
    },
}

/// Why a name is none for a user of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not what a client can say.
    #[error(transparent)]
    Preparation(PreparationError),
    /// It would not fit its line.
    #[error("it is longer than {NAME} octets")]
    TooLong,
    /// It would end before its end.
    #[error("it holds a colon")]
    Colon,
    /// It would be read as a comment, or look like another name.
    #[error("it begins with # or begins or ends with a blank")]
    Edge,
    /// Clients' names are compared in their prepared form, so nobody could log in by this one.
    #[error("it must be written {prepared}, as SASLprep (RFC 4013) leaves it")]
    Unprepared {
        /// The name as it must be written.
        prepared: String,
    },
}

/// The users in `text`, by their lines; or every line that is wrong.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Vec<BadLine>> {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut names = HashMap::new();
    for (line, content) in text.lines().enumerate() {
        if content.trim().is_empty() || content.trim_start().starts_with('#') {
            continue;
        }
        let number = line.saturating_add(1);
        match entry(line, content) {
            Ok(entry) => match names.insert(entry.name.clone(), number) {
                Some(first) => bad.push(BadLine { number, why: LineError::Duplicate { first } }),
                None => entries.push(entry),
            },
            Err(why) => bad.push(BadLine { number, why }),
        }
    }
    if bad.is_empty() { Ok(entries) } else { Err(bad) }
}

/// The line of an entry, without its end.
pub(super) fn write(name: &str, credential: &Credential) -> String {
    format!("{name}:{credential}")
}

/// Whether `name` can be that of a user of the file.
///
/// # Errors
/// It cannot, and why.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let prepared = prepare_user(name).map_err(NameError::Preparation)?;
    if name.len() > NAME {
        return Err(NameError::TooLong);
    }
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if name.starts_with('#') || name.trim() != name {
        return Err(NameError::Edge);
    }
    if prepared != name {
        return Err(NameError::Unprepared { prepared });
    }
    Ok(())
}

fn entry(line: usize, content: &str) -> Result<Entry, LineError> {
    let (name, credential) = content.split_once(':').ok_or(LineError::NoColon)?;
    check_name(name).map_err(LineError::Name)?;
    let credential = credential.parse().map_err(LineError::Credential)?;
    Ok(Entry { line, name: name.to_owned(), credential })
}
