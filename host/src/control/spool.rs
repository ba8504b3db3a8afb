//! What `status` says of the spool's disk.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The disk of the spool, and what lies there and is no message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// Octets free, the reserve among them.
    pub free_octets: u64,
    /// Files that may yet be made, where the file system counts them.
    pub free_inodes: Option<u64>,
    /// Whether mail is taken.
    pub takes_mail: bool,
    /// Damaged messages set aside in `corrupt/`.
    pub damaged: u64,
    /// Entries of the queue that are none of the spool's.
    pub foreign: u64,
}

/// On one line.
impl fmt::Display for SpoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = if self.takes_mail { "takes mail" } else { "takes NO mail" };
        write!(f, "{takes}, {} octets", self.free_octets)?;
        if let Some(inodes) = self.free_inodes {
            write!(f, " and {inodes} files")?;
        }
        write!(f, " free")?;
        for (count, what) in [(self.damaged, "damaged"), (self.foreign, "foreign")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
