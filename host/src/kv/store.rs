//! One transaction on the file: values under keys, the order in which they expire, and what each namespace holds. It does
//! not know when transactions are made or become durable.

use super::file::{self, Fault, guarded};
use super::{Answer, KvError, Operation, count, lives, until, weight};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;

/// Under each key when it expires, in milliseconds since 1970 (0: never), and its value.
const ENTRIES: TableDefinition<'static, &'static str, (u64, &'static [u8])> = TableDefinition::new("entries");
/// The keys that expire, by time.
const EXPIRIES: TableDefinition<'static, (u64, &'static str), ()> = TableDefinition::new("expiries");
/// Octets of keys and values in each namespace that was ever written to.
const USAGE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("usage");

/// So many expired keys one transaction takes away: calls wait for it.
const SWEPT: usize = 1000;

/// What is in the file.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    usage: BTreeMap<String, u64>,
}

/// An answer to one operation.
pub(super) type Outcome = Result<Answer, KvError>;

impl Store {
    /// Opens the file.
    pub(super) fn open(path: &Path) -> Result<Store, Fault> {
        let database = file::open(path)?;
        guarded(|| {
            let writing = database.begin_write()?;
            writing.open_table(ENTRIES)?;
            writing.open_table(EXPIRIES)?;
            let mut usage = BTreeMap::new();
            for row in writing.open_table(USAGE)?.iter()? {
                let (space, octets) = row?;
                usage.insert(space.value().to_owned(), octets.value());
            }
            writing.commit()?;
            Ok(Store { database, usage })
        })
    }

    /// Applies the operations in order, as one: all of them, or none. Not durable before the next [`Store::settle`].
    pub(super) fn apply(&mut self, operations: &[&Operation], now: u64) -> Result<Vec<Outcome>, Fault> {
        guarded(|| {
            if operations.iter().all(|operation| matches!(operation, Operation::Get { .. })) {
                let entries = self.database.begin_read()?.open_table(ENTRIES)?;
                return operations.iter().map(|operation| read(&entries, operation, now)).collect();
            }
            let mut writing = self.database.begin_write()?;
            quick(&mut writing)?;
            let mut batch = Batch::open(&writing, &mut self.usage, now)?;
            let outcomes =
                operations.iter().map(|operation| batch.perform(operation)).collect::<Result<Vec<_>, _>>()?;
            batch.finish()?;
            writing.commit()?;
            Ok(outcomes)
        })
    }

    /// Makes everything durable that was applied, and takes expired keys away, as many as one transaction may. Says whether
    /// there may be more.
    pub(super) fn settle(&mut self, now: u64) -> Result<bool, Fault> {
        guarded(|| {
            let writing = self.database.begin_write()?;
            let mut batch = Batch::open(&writing, &mut self.usage, now)?;
            let swept = batch.sweep()?;
            batch.finish()?;
            writing.commit()?;
            Ok(swept == SWEPT)
        })
    }

    /// Whether anything has expired and is still there.
    pub(super) fn has_expired(&self, now: u64) -> Result<bool, Fault> {
        guarded(|| {
            let expiries = self.database.begin_read()?.open_table(EXPIRIES)?;
            let first = expiries.first()?;
            Ok(first.is_some_and(|(key, _)| !lives(key.value().0, now)))
        })
    }
}

/// Not durable by itself: it is the disk that takes time, and a second's calls share it.
fn quick(writing: &mut redb::WriteTransaction) -> Result<(), Fault> {
    writing.set_durability(Durability::None).map_err(|error| Fault::Unusable(Box::new(error.into())))
}

fn read(
    entries: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    operation: &Operation,
    now: u64,
) -> Result<Outcome, Fault> {
    let Operation::Get { key } = operation else { return Ok(Err(KvError::Unavailable)) };
    Ok(Ok(Answer::Value(found(entries, key)?.filter(|(until, _)| lives(*until, now)))))
}

fn found(
    entries: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
    key: &str,
) -> Result<Option<(u64, Vec<u8>)>, Fault> {
    Ok(entries.get(key)?.map(|guard| {
        let (until, value) = guard.value();
        (until, value.to_vec())
    }))
}

/// A transaction that writes.
struct Batch<'a> {
    entries: Table<'a, &'static str, (u64, &'static [u8])>,
    expiries: Table<'a, (u64, &'static str), ()>,
    rows: Table<'a, &'static str, u64>,
    usage: &'a mut BTreeMap<String, u64>,
    now: u64,
}

impl<'a> Batch<'a> {
    fn open(
        writing: &'a redb::WriteTransaction,
        usage: &'a mut BTreeMap<String, u64>,
        now: u64,
    ) -> Result<Batch<'a>, Fault> {
        Ok(Batch {
            entries: writing.open_table(ENTRIES)?,
            expiries: writing.open_table(EXPIRIES)?,
            rows: writing.open_table(USAGE)?,
            usage,
            now,
        })
    }

    fn perform(&mut self, operation: &Operation) -> Result<Outcome, Fault> {
        match operation {
            Operation::Get { .. } => read(&self.entries, operation, self.now),
            Operation::Set { space, quota, key, value, ttl } => {
                let until = until(self.now, *ttl);
                Ok(self.put(space, *quota, key, value, until)?.map(|()| Answer::Done))
            }
            Operation::Unset { key } => {
                self.remove(key)?;
                Ok(Ok(Answer::Done))
            }
            Operation::Increment { space, quota, key, by, ttl } => {
                let old = found(&self.entries, key)?.filter(|(until, _)| lives(*until, self.now));
                let until = old.as_ref().map_or_else(|| until(self.now, *ttl), |(until, _)| *until);
                match count(old.as_ref().map(|(_, value)| &**value), *by) {
                    Ok((sum, value)) => Ok(self.put(space, *quota, key, &value, until)?.map(|()| Answer::Sum(sum))),
                    Err(error) => Ok(Err(error)),
                }
            }
        }
    }

    fn put(
        &mut self,
        space: &str,
        quota: u64,
        key: &str,
        value: &[u8],
        until: u64,
    ) -> Result<Result<(), KvError>, Fault> {
        if !self.fits(space, quota, key, value)? {
            // What is over counts no more. Mostly it is gone already: it is swept each second.
            while self.sweep()? == SWEPT {}
            if !self.fits(space, quota, key, value)? {
                return Ok(Err(KvError::Full));
            }
        }
        self.remove(key)?;
        self.entries.insert(key, (until, value))?;
        if until != 0 {
            self.expiries.insert((until, key), ())?;
        }
        self.account(key, |octets| octets.saturating_add(weight(key, value.len())));
        Ok(Ok(()))
    }

    fn fits(&mut self, space: &str, quota: u64, key: &str, value: &[u8]) -> Result<bool, Fault> {
        let used = self.used(space)?;
        let before = self.entries.get(key)?.map_or(0, |old| weight(key, old.value().1.len()));
        let after = weight(key, value.len());
        // What becomes no larger fits always, also after the quota became smaller.
        Ok(after <= before || used.saturating_sub(before).saturating_add(after) <= quota)
    }

    fn remove(&mut self, key: &str) -> Result<(), Fault> {
        let old = self.entries.remove(key)?.map(|old| (old.value().0, weight(key, old.value().1.len())));
        if let Some((until, octets)) = old {
            if until != 0 {
                self.expiries.remove((until, key))?;
            }
            self.account(key, |before| before.saturating_sub(octets));
        }
        Ok(())
    }

    /// Takes expired keys away, the oldest first, and says how many.
    fn sweep(&mut self) -> Result<usize, Fault> {
        let mut over = Vec::new();
        for row in self.expiries.range(..(self.now.saturating_add(1), ""))?.take(SWEPT) {
            let (key, _) = row?;
            let (until, key) = key.value();
            over.push((until, key.to_owned()));
        }
        for (until, key) in &over {
            self.expiries.remove((*until, &**key))?;
            self.remove(key)?;
        }
        Ok(over.len())
    }

    /// Octets in a namespace. One that was never written to may lie in another, or around it, and is counted once.
    fn used(&mut self, space: &str) -> Result<u64, Fault> {
        if let Some(used) = self.usage.get(space) {
            return Ok(*used);
        }
        let mut used = 0_u64;
        for row in self.entries.range(space..)? {
            let (key, value) = row?;
            if !key.value().starts_with(space) {
                break;
            }
            used = used.saturating_add(weight(key.value(), value.value().1.len()));
        }
        self.usage.insert(space.to_owned(), used);
        Ok(used)
    }

    /// Changes what is counted for every namespace that holds `key`.
    fn account(&mut self, key: &str, change: impl Fn(u64) -> u64) {
        for (at, _) in key.match_indices('/') {
            let octets = key.get(..=at).and_then(|space| self.usage.get_mut(space));
            if let Some(octets) = octets {
                *octets = change(*octets);
            }
        }
    }

    /// Writes down what the namespaces hold.
    fn finish(mut self) -> Result<(), Fault> {
        for (space, octets) in &*self.usage {
            if self.rows.get(&**space)?.map(|row| row.value()) != Some(*octets) {
                self.rows.insert(&**space, *octets)?;
            }
        }
        Ok(())
    }
}
