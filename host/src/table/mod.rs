//! Tables: files of keys and values that are read once, whole, with a configuration, and looked up in from then on. A
//! table that was read never changes, and one with a mistake in it is none: every mistake is said with its line.
//!
//! The room does not know who looks a key up, or what a value means.

mod hash;
mod lines;
mod network;
mod pattern;
#[cfg(test)]
mod tests;

pub use lines::{BadLine, Fault, LineError, TableError};

use crate::config::TableType;
use hash::Hash;
use network::Networks;
use pattern::Patterns;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Octets of a key that is looked up.
pub const LONGEST_KEY: usize = 1024;

/// The tables of one configuration, by name. Clones share them.
pub type Tables = Arc<BTreeMap<String, Table>>;

/// One table, read.
pub struct Table {
    entries: Entries,
    digest: [u8; 32],
}

enum Entries {
    Hash(Hash),
    Networks(Networks),
    Patterns(Patterns),
}

impl Table {
    /// Reads a file. Blocking.
    ///
    /// # Errors
    /// It cannot be read, or everything that is wrong with it.
    pub fn load(file: &Path, kind: TableType) -> Result<Table, TableError> {
        let read = || {
            let text = crate::file::read(file, lines::LARGEST).map_err(Fault::File)?.text;
            Table::parse(&text, kind).map_err(Fault::Lines)
        };
        read().map_err(|source| TableError { file: file.to_owned(), source })
    }

    fn parse(text: &str, kind: TableType) -> Result<Table, Vec<BadLine>> {
        let entries = match kind {
            TableType::Hash => Entries::Hash(Hash::read(text)?),
            TableType::Cidr => Entries::Networks(Networks::read(text)?),
            TableType::Pattern => Entries::Patterns(Patterns::read(text)?),
        };
        Ok(Table { entries, digest: Sha256::digest(text).into() })
    }

    /// The value of `key`, of the narrowest network that holds it, or of the first pattern that matches it.
    pub fn lookup(&self, key: &str) -> Option<&str> {
        match &self.entries {
            Entries::Hash(hash) => hash.lookup(key),
            Entries::Networks(networks) => networks.lookup(key),
            Entries::Patterns(patterns) => patterns.lookup(key),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Hash(hash) => hash.len(),
            Entries::Networks(networks) => networks.len(),
            Entries::Patterns(patterns) => patterns.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What tells one content from another.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("entries", &self.len()).finish_non_exhaustive()
    }
}
