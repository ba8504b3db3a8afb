//! `[spool]`: what must stay free where messages are kept, and what is not kept with them.

use super::reader::Table;
use super::value::parse_context_pattern;

/// `[spool]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spool {
    /// What must stay free for mail to be taken.
    pub reserve: Reserve,
    /// Names of the context, with `*` for any run of characters, that are not kept with a message.
    pub exclude_context: Vec<String>,
}

/// `reserve`; what is not written follows from the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// Octets.
    pub octets: Option<u64>,
    /// Files.
    pub inodes: Option<u64>,
}

impl Spool {
    /// `[spool]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Spool {
        let Some(mut table) = root.table("spool") else { return Spool::default() };
        let reserve = table.table("reserve").map(|mut table| {
            let octets = table.take("octets").and_then(|value| value.size(0..=1 << 50));
            let inodes = table.take("inodes").and_then(|value| value.count(0..=1_000_000_000)).map(u64::from);
            table.finish();
            Reserve { octets, inodes }
        });
        let exclude = table.take("exclude-context");
        let exclude = exclude.and_then(|value| value.each(|item| item.parsed(parse_context_pattern)));
        table.finish();
        Spool { reserve: reserve.unwrap_or_default(), exclude_context: exclude.unwrap_or_default() }
    }
}
