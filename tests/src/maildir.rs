//! What a mail reader would find.

use std::fs;
use std::path::{Path, PathBuf};

/// A Maildir, there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maildir(PathBuf);

impl Maildir {
    /// The one at this path.
    pub fn new(path: impl Into<PathBuf>) -> Maildir {
        Maildir(path.into())
    }

    /// Makes it, empty.
    pub fn make(&self) {
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.0.join(name)).expect("a directory can be made");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All messages that nobody has looked at, in no order.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.0.join("new")) else { return Vec::new() };
        entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("a message can be read")).collect()
    }

    /// The one message in it.
    #[track_caller]
    pub fn only(&self) -> Vec<u8> {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "messages in {}", self.0.display());
        messages.remove(0)
    }

    /// The one message in it without what the server put before it: Return-Path and Received.
    #[track_caller]
    pub fn content(&self) -> Vec<u8> {
        content(&self.only())
    }
}

/// A delivered message without what the server put before it.
#[track_caller]
fn content(message: &[u8]) -> Vec<u8> {
    let mut rest = message;
    for name in ["Return-Path:", "Received:"] {
        assert!(rest.starts_with(name.as_bytes()), "no {name} in {}", String::from_utf8_lossy(message));
        loop {
            let end = rest.iter().position(|octet| *octet == b'\n').expect("a line end") + 1;
            rest = &rest[end..];
            // A line that begins with a blank continues the field.
            if !matches!(rest.first(), Some(b' ' | b'\t')) {
                break;
            }
        }
    }
    rest.to_vec()
}
