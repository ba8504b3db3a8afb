//! The names found lately. It knows addresses, names and a clock.

use super::ClientName;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<IpAddr, Entry>>);

#[derive(Debug)]
struct Entry {
    name: ClientName,
    until: Instant,
}

/// Addresses that are remembered. With the longest names that is less than 2 MiB.
const ADDRESSES: usize = 4096;
/// How long a name holds at most, whatever its owner says.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl Memory {
    /// What is known of `address`.
    pub(super) fn recall(&self, address: IpAddr) -> Option<ClientName> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&address).filter(|entry| entry.until > Instant::now()).map(|entry| entry.name.clone())
    }

    /// Remembers the name for so long.
    pub(super) fn keep(&self, address: IpAddr, name: &ClientName, how_long: Duration) {
        if how_long.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ADDRESSES {
            entries.retain(|_, entry| entry.until > now);
        }
        if entries.len() >= ADDRESSES {
            // Somebody comes from everywhere. To look every one up again is slower and nothing else.
            entries.clear();
        }
        entries.insert(address, Entry { name: name.clone(), until: now + how_long.min(LONGEST) });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
