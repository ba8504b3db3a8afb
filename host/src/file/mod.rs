//! Files of text that an operator wrote, read whole and within bounds, and why one cannot be. It does not know what is in
//! them, nor which file is meant: whoever asks says that beside the error.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// How many mistakes are named.
const NAMED: usize = 20;
/// MiB that a file with a secret may have.
const SECRET: u64 = 1;

/// A file that was read.
#[derive(Debug)]
pub struct Text {
    /// All of it.
    pub text: String,
    /// Its user id.
    pub owner: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Opening or reading it failed.
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is not a file")]
    NotAFile,
    /// It is not what anybody meant.
    #[error("it is larger than {0} MiB")]
    TooLarge(u64),
    /// It is no text.
    #[error("it is not UTF-8, from line {line} on")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// It has no secret in it.
    #[error("its first line is empty")]
    Empty,
}

/// Reads a file of at most so many MiB, once. Blocking.
///
/// # Errors
/// It cannot be read, is larger, or is no text.
pub fn read(path: &Path, mebibytes: u64) -> Result<Text, ReadError> {
    // A pipe has no end, and opening one waits for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(ReadError::NotAFile);
    }
    let largest = mebibytes.saturating_mul(1 << 20);
    let mut octets = Vec::new();
    file.take(largest.saturating_add(1)).read_to_end(&mut octets)?;
    if !u64::try_from(octets.len()).is_ok_and(|length| length <= largest) {
        return Err(ReadError::TooLarge(mebibytes));
    }
    let text = String::from_utf8(octets).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        ReadError::NotText { line: good.filter(|octet| **octet == b'\n').count().saturating_add(1) }
    })?;
    Ok(Text { text, owner: about.uid(), mode: about.mode() & 0o7777 })
}

/// Reads a secret: the first line of a file, with its blanks and without its end. Blocking.
///
/// # Errors
/// It cannot be read, or there is nothing in the line.
pub fn secret(path: &Path) -> Result<String, ReadError> {
    let text = read(path, SECRET)?.text;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(ReadError::Empty),
    }
}

/// The mistakes in a file, for a human: the first of them in one line, and how many more there are.
#[derive(Debug)]
pub struct Mistakes<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Mistakes<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{ReadError, read, secret};

    #[test]
    fn a_secret_is_the_first_line_with_its_blanks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (octets, expected) in [
            (&b" open sesame \r\nand more\n"[..], Some(" open sesame ")),
            (b"x", Some("x")),
            (b"", None),
            (b"\nsecond\n", None),
        ] {
            std::fs::write(&path, octets).unwrap();
            assert_eq!(secret(&path).ok().as_deref(), expected, "{octets:?}");
        }
        assert!(matches!(secret(directory.path()), Err(ReadError::NotAFile)));
    }

    #[test]
    fn what_is_too_large_or_no_text_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        assert_eq!(read(&path, 1).unwrap().text.len(), 1 << 20);
        std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&path, 1), Err(ReadError::TooLarge(1))));
        std::fs::write(&path, b"a\nb\xff\n").unwrap();
        assert!(matches!(read(&path, 1), Err(ReadError::NotText { line: 2 })));
    }
}
