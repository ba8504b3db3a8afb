//! What is counted for a candidate: an extension that is tried beside the one in use, or in some of its sessions. The room
//! does not know how either is chosen.

use super::counters::{ExtensionCounters, read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted for one candidate on one listener, since it was first loaded there.
#[derive(Debug, Default)]
pub struct CandidateCounters {
    /// Its calls, as for every extension.
    pub calls: Arc<ExtensionCounters>,
    compared: AtomicU64,
    differed: AtomicU64,
}

impl CandidateCounters {
    /// A shadow's answer was compared with that of the extension in use.
    pub fn compared(&self, same: bool) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        if !same {
            self.differed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many answers were compared, and how many of them differed.
    pub fn comparisons(&self) -> (u64, u64) {
        (read(&self.compared), read(&self.differed))
    }
}
