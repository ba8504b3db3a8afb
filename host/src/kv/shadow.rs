//! A view of a store whose writes stay in memory: what a candidate does to values must not be seen by what is in use. It
//! reads the store behind it and never writes there. Quotas of namespaces are not its matter: it has one bound for all.

use super::thread::Thread;
use super::{Answer, KvError, Operation, count, lives, until};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Octets that a view keeps, keys and values and what it takes to keep them.
pub(super) const ROOM: usize = 16 << 20;
/// What an entry takes beside its key and its value.
pub(super) const OVERHEAD: usize = 128;

#[derive(Clone, Debug)]
pub(super) struct Shadow {
    behind: Thread,
    /// Held while the store behind is asked, so that to count up is one step here too.
    written: Arc<Mutex<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    /// When it expires, and the value; none where the key was taken away. What has expired stays, for it hides what is
    /// behind it.
    entries: HashMap<String, Option<(u64, Vec<u8>)>>,
    octets: usize,
}

impl Shadow {
    pub(super) fn new(behind: Thread) -> Shadow {
        Shadow { behind, written: Arc::default() }
    }

    /// Another view of the same store, in which nothing was written yet.
    pub(super) fn anew(&self) -> Shadow {
        Shadow::new(self.behind.clone())
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        let mut written = self.written.lock().await;
        let now = (self.behind.clock)();
        match operation {
            Operation::Get { key } => self.read(&written, key, now).await.map(Answer::Value),
            Operation::Set { key, value, ttl, .. } => {
                written.put(key, Some((until(now, ttl), value))).map(|()| Answer::Done)
            }
            Operation::Unset { key } => written.put(key, None).map(|()| Answer::Done),
            Operation::Increment { key, by, ttl, .. } => {
                let old = self.read(&written, key.clone(), now).await?;
                let (sum, value) = count(old.as_ref().map(|(_, value)| &**value), by)?;
                let until = old.map_or_else(|| until(now, ttl), |(until, _)| until);
                written.put(key, Some((until, value))).map(|()| Answer::Sum(sum))
            }
        }
    }

    async fn read(&self, written: &Written, key: String, now: u64) -> Result<Option<(u64, Vec<u8>)>, KvError> {
        if let Some(entry) = written.entries.get(&key) {
            return Ok(entry.clone().filter(|(until, _)| lives(*until, now)));
        }
        match self.behind.perform(Operation::Get { key }).await? {
            Answer::Value(value) => Ok(value),
            Answer::Done | Answer::Sum(_) => Err(KvError::Unavailable),
        }
    }
}

impl Written {
    fn put(&mut self, key: String, entry: Option<(u64, Vec<u8>)>) -> Result<(), KvError> {
        let room = |entry: &Option<(u64, Vec<u8>)>| {
            let value = entry.as_ref().map_or(0, |(_, value)| value.len());
            value.saturating_add(key.len()).saturating_add(OVERHEAD)
        };
        let before = self.entries.get(&key).map_or(0, room);
        let octets = self.octets.saturating_sub(before).saturating_add(room(&entry));
        if octets > ROOM {
            return Err(KvError::Full);
        }
        self.octets = octets;
        self.entries.insert(key, entry);
        Ok(())
    }
}
