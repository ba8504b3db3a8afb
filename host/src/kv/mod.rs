//! The store that outlives sessions: values under keys, with a time to live, atomic counters, and quotas by namespace.
//!
//! A [`Kv`] answers the same calls whatever keeps the values: a file of this host, worked on by a thread of its own; a
//! server that a fleet shares; or a view of such a store whose writes go nowhere. The room does not know who asks, what a
//! key means, or who may use which namespace.
//!
//! ```text
//! thread    takes orders, applies many in one transaction, makes all of them durable once a second
//! store     one transaction: values, when they expire, how much each namespace holds
//! file      opening it, and what becomes of a damaged one
//! redis     a database of a Redis server: one script for each call
//! bucket    a bucket of NATS servers: values by revision
//! count     what the namespaces of a bucket hold, as this host reckons
//! shadow    a view whose writes stay in memory
//! ```

mod bucket;
mod count;
mod file;
mod redis;
#[cfg(test)]
mod server_tests;
mod shadow;
mod store;
#[cfg(test)]
mod tests;
mod thread;

use crate::config::{self, KvStore};
use bucket::Bucket;
use redis::Redis;
use shadow::Shadow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use thread::Thread;

/// The name of the file in the state directory.
pub const FILE: &str = "kv.redb";

/// Octets of a key behind its namespace.
pub const LONGEST_KEY: usize = 512;

/// Octets of a value.
pub const LARGEST_VALUE: usize = 64 << 10;

/// The time of day in milliseconds since 1970. It is given, for times to live outlast the process.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Kv(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Own(Keeper),
    Shadow(Shadow),
}

/// What keeps the values.
#[derive(Clone, Debug)]
enum Keeper {
    Embedded(Thread),
    Nats(Bucket),
    Redis(Redis),
}

/// The store cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that is named cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The servers of a bucket cannot be used.
    #[error(transparent)]
    Nats(#[from] crate::nats::FileError),
    /// The system gives no thread.
    #[error("the system gives no thread for the kv store")]
    Thread(#[source] io::Error),
}

/// A namespace as the caller may use it.
#[derive(Clone, Copy, Debug)]
pub struct Space<'a> {
    /// The prefix of its keys. It ends in `/`.
    pub name: &'a str,
    /// Octets of keys and values that it may hold after a write by this caller.
    pub quota: u64,
}

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// There is no such key.
    #[error("a key has 1 to {LONGEST_KEY} octets behind its namespace")]
    Key,
    /// The value is too large.
    #[error("a value has at most {LARGEST_VALUE} octets")]
    Value,
    /// What is to be counted up is something else.
    #[error("the value under this key is no counter")]
    NotACounter,
    /// The sum does not fit.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// The quota is used up.
    #[error("the namespace is full")]
    Full,
    /// More wait already than are ever served in time.
    #[error("the store is busy")]
    Busy,
    /// The store does not work. Why is in the log.
    #[error("the store does not work")]
    Unavailable,
}

/// What is asked of a store.
#[derive(Clone, Debug)]
enum Operation {
    Get { key: String },
    Set { space: String, quota: u64, key: String, value: Vec<u8>, ttl: u64 },
    Unset { key: String },
    Increment { space: String, quota: u64, key: String, by: i64, ttl: u64 },
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// To `Get`: the value, and when it expires; 0: never.
    Value(Option<(u64, Vec<u8>)>),
    /// To `Set` and `Unset`.
    Done,
    /// To `Increment`.
    Sum(i64),
}

impl Kv {
    /// The store as it is configured; `directory` is where a file of it lies. Nobody is connected to yet: calls answer
    /// [`KvError::Unavailable`] as long as a server cannot be reached, and why is in the log.
    ///
    /// # Errors
    /// A file that the configuration names cannot be used, or the system gives no thread.
    pub fn start(config: &config::Kv, directory: &Path, clock: Clock) -> Result<Kv, OpenError> {
        let keeper = match &config.store {
            KvStore::Embedded => return Kv::open(directory, clock).map_err(OpenError::Thread),
            KvStore::Nats(nats) => Keeper::Nats(Bucket::new(nats, config.timeout, clock)?),
            KvStore::Redis(redis) => Keeper::Redis(Redis::new(redis, config.timeout, clock)?),
        };
        Ok(Kv(Backend::Own(keeper)))
    }

    /// Whether the files that the configuration names can be used.
    ///
    /// # Errors
    /// One cannot.
    pub fn check(config: &config::Kv) -> Result<(), OpenError> {
        match &config.store {
            KvStore::Embedded => Ok(()),
            KvStore::Nats(nats) => Bucket::new(nats, config.timeout, system_clock()).map(|_| ()),
            KvStore::Redis(redis) => Redis::new(redis, config.timeout, system_clock()).map(|_| ()),
        }
    }

    /// The store in this directory. What is wrong with its file is said in the log and never ends a server: calls answer
    /// [`KvError::Unavailable`] until the file can be used. A damaged file is set aside, and a new one begun.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(directory: &Path, clock: Clock) -> io::Result<Kv> {
        Thread::start(directory.join(FILE), clock).map(|thread| Kv(Backend::Own(Keeper::Embedded(thread))))
    }

    /// Opens the file now, if there is one, so that what is wrong with it is said at once; otherwise the first call does.
    pub fn begin(&self) {
        if let Backend::Own(Keeper::Embedded(thread)) = &self.0 {
            thread.begin();
        }
    }

    /// A view of this store: what is written through it is seen through it and nowhere else, takes no more than 16 MiB of
    /// memory, and is gone with the last clone of the view.
    #[must_use]
    pub fn shadow(&self) -> Kv {
        Kv(Backend::Shadow(match &self.0 {
            Backend::Own(keeper) => Shadow::new(keeper.clone()),
            Backend::Shadow(shadow) => shadow.anew(),
        }))
    }

    /// The value under `key`; none where there is none, or its time is over.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        match self.perform(Operation::Get { key: key.to_owned() }).await? {
            Answer::Value(value) => Ok(value.map(|(_, value)| value)),
            Answer::Done | Answer::Sum(_) => Err(KvError::Unavailable),
        }
    }

    /// Puts a value under `key`, which begins with the name of `space`, for `ttl` seconds; 0: for ever.
    ///
    /// # Errors
    /// Key or value are not to be stored, the namespace is full, or the store does not work.
    pub async fn set(&self, space: Space<'_>, key: &str, value: Vec<u8>, ttl: u64) -> Result<(), KvError> {
        check_key(space, key)?;
        if value.len() > LARGEST_VALUE {
            return Err(KvError::Value);
        }
        let (space, quota, key) = (space.name.to_owned(), space.quota, key.to_owned());
        self.perform(Operation::Set { space, quota, key, value, ttl }).await.map(|_| ())
    }

    /// Takes `key` away. It is no error when it is not there.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn unset(&self, key: &str) -> Result<(), KvError> {
        self.perform(Operation::Unset { key: key.to_owned() }).await.map(|_| ())
    }

    /// Adds to the counter under `key` and answers the sum, which no other call of any session answers too. A counter is a
    /// value like any other: its decimal text. One that is not there begins at 0, and only then `ttl` holds.
    ///
    /// # Errors
    /// As [`Kv::set`]; and the value is no counter, or the sum does not fit.
    pub async fn increment(&self, space: Space<'_>, key: &str, by: i64, ttl: u64) -> Result<i64, KvError> {
        check_key(space, key)?;
        let (space, quota, key) = (space.name.to_owned(), space.quota, key.to_owned());
        match self.perform(Operation::Increment { space, quota, key, by, ttl }).await? {
            Answer::Sum(sum) => Ok(sum),
            Answer::Done | Answer::Value(_) => Err(KvError::Unavailable),
        }
    }

    /// Makes durable what was written so far, and takes away what has expired.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn flush(&self) -> Result<(), KvError> {
        match &self.0 {
            Backend::Own(Keeper::Embedded(thread)) => thread.flush().await,
            // What a server has acknowledged is its matter.
            Backend::Own(_) | Backend::Shadow(_) => Ok(()),
        }
    }

    /// Makes everything durable and lets go of the file. Calls behind it find that the store does not work.
    pub async fn close(&self) {
        if let Backend::Own(Keeper::Embedded(thread)) = &self.0 {
            thread.close().await;
        }
    }

    async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        match &self.0 {
            Backend::Own(keeper) => keeper.perform(operation).await,
            Backend::Shadow(shadow) => shadow.perform(operation).await,
        }
    }
}

impl Keeper {
    async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        match self {
            Keeper::Embedded(thread) => thread.perform(operation).await,
            Keeper::Nats(bucket) => bucket.perform(operation).await,
            Keeper::Redis(redis) => redis.perform(operation).await,
        }
    }

    fn now(&self) -> u64 {
        match self {
            Keeper::Embedded(thread) => (thread.clock)(),
            Keeper::Nats(bucket) => bucket.now(),
            Keeper::Redis(redis) => redis.now(),
        }
    }
}

fn check_key(space: Space<'_>, key: &str) -> Result<(), KvError> {
    match key.strip_prefix(space.name) {
        Some(name) if (1..=LONGEST_KEY).contains(&name.len()) => Ok(()),
        _ => Err(KvError::Key),
    }
}

/// When what is written now expires; 0: never.
fn until(now: u64, ttl: u64) -> u64 {
    if ttl == 0 { 0 } else { now.saturating_add(ttl.saturating_mul(1000)) }
}

/// Whether what expires then is there now.
fn lives(until: u64, now: u64) -> bool {
    until == 0 || until > now
}

/// The sum, and the value it is kept as.
fn count(value: Option<&[u8]>, by: i64) -> Result<(i64, Vec<u8>), KvError> {
    let before = match value {
        None => 0,
        Some(value) => {
            let text = std::str::from_utf8(value).ok();
            text.and_then(|text| text.parse::<i64>().ok()).ok_or(KvError::NotACounter)?
        }
    };
    let sum = before.checked_add(by).ok_or(KvError::Overflow)?;
    Ok((sum, sum.to_string().into_bytes()))
}

/// Octets that count against a quota.
fn weight(key: &str, value: usize) -> u64 {
    u64::try_from(key.len().saturating_add(value)).unwrap_or(u64::MAX)
}
