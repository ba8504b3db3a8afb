//! A view of a store whose writes stay in memory: what a candidate does to values must not be seen by what is in use. It
//! reads the store behind it and never writes there. Quotas of namespaces are not its matter: it has one bound for all.

use super::{Answer, Keeper, KvError, Operation, count, lives, until};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Octets that a view keeps, keys and values and what it takes to keep them.
pub(super) const ROOM: usize = 16 << 20;
/// What an entry takes beside its key and its value.
pub(super) const OVERHEAD: usize = 128;

#[derive(Clone, Debug)]
pub(super) struct Shadow {
    behind: Keeper,
    /// Never held while the store behind is asked: all sessions share it.
    written: Arc<Mutex<Written>>,
}

/// When it expires, and the value.
type Value = (u64, Vec<u8>);

#[derive(Debug)]
struct Written {
    /// None where the key was taken away. What has expired stays as long as there is room, for it hides what is behind it.
    entries: HashMap<String, Option<Value>>,
    octets: usize,
    /// Nothing expires before.
    earliest: u64,
}

impl Shadow {
    pub(super) fn new(behind: Keeper) -> Shadow {
        Shadow { behind, written: Arc::default() }
    }

    /// Another view of the same store, in which nothing was written yet.
    pub(super) fn anew(&self) -> Shadow {
        Shadow::new(self.behind.clone())
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        let now = self.behind.now();
        match operation {
            Operation::Get { key } => {
                let own = self.written().find(&key, now);
                match own {
                    Some(value) => Ok(Answer::Value(value)),
                    None => self.read_behind(key).await.map(Answer::Value),
                }
            }
            Operation::Set { key, value, ttl, .. } => {
                self.written().put(key, Some((until(now, ttl), value)), now).map(|()| Answer::Done)
            }
            Operation::Unset { key } => self.written().put(key, None, now).map(|()| Answer::Done),
            Operation::Increment { key, by, ttl, .. } => {
                let known = self.written().entries.contains_key(&key);
                let behind = if known { None } else { self.read_behind(key.clone()).await? };
                // What was written meanwhile goes before what is behind, so that no two calls answer the same sum.
                let mut written = self.written();
                let old = written.find(&key, now).unwrap_or(behind);
                let (sum, value) = count(old.as_ref().map(|(_, value)| &**value), by)?;
                let until = old.map_or_else(|| until(now, ttl), |(until, _)| until);
                written.put(key, Some((until, value)), now).map(|()| Answer::Sum(sum))
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_behind(&self, key: String) -> Result<Option<Value>, KvError> {
        match self.behind.perform(Operation::Get { key }).await? {
            Answer::Value(value) => Ok(value),
            Answer::Done | Answer::Sum(_) => Err(KvError::Unavailable),
        }
    }
}

impl Default for Written {
    fn default() -> Self {
        Written { entries: HashMap::new(), octets: 0, earliest: u64::MAX }
    }
}

impl Written {
    /// What was written under this key and is left of it; none where nothing was.
    fn find(&self, key: &str, now: u64) -> Option<Option<Value>> {
        let entry = self.entries.get(key)?;
        Some(entry.clone().filter(|(until, _)| lives(*until, now)))
    }

    fn put(&mut self, key: String, entry: Option<Value>, now: u64) -> Result<(), KvError> {
        if self.with(&key, &entry) > ROOM {
            self.drop_expired(now);
        }
        let octets = self.with(&key, &entry);
        if octets > ROOM {
            return Err(KvError::Full);
        }
        self.octets = octets;
        self.earliest = self.earliest.min(expires(&entry));
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Octets in all, once this entry is one of them.
    fn with(&self, key: &str, entry: &Option<Value>) -> usize {
        let before = self.entries.get(key).map_or(0, |entry| room(key, entry));
        self.octets.saturating_sub(before).saturating_add(room(key, entry))
    }

    /// Makes room. Whoever reads such a key now sees what is behind it.
    fn drop_expired(&mut self, now: u64) {
        // A view that is full of what lasts is not gone through at each call.
        if self.earliest > now {
            return;
        }
        self.entries.retain(|_, entry| expires(entry) > now);
        self.octets = self.entries.iter().map(|(key, entry)| room(key, entry)).sum();
        self.earliest = self.entries.values().map(expires).min().unwrap_or(u64::MAX);
    }
}

fn room(key: &str, entry: &Option<Value>) -> usize {
    let value = entry.as_ref().map_or(0, |(_, value)| value.len());
    value.saturating_add(key.len()).saturating_add(OVERHEAD)
}

/// When it does; never, as late as can be.
fn expires(entry: &Option<Value>) -> u64 {
    entry.as_ref().map(|(until, _)| *until).filter(|until| *until != 0).unwrap_or(u64::MAX)
}
