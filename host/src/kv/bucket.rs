//! A bucket of NATS servers (JetStream's key-value store), which a fleet shares. A value is the last message of its subject,
//! and is replaced only where nobody replaced it meanwhile: that makes sums atomic. Values expire by the clocks of the
//! hosts, which are to agree: servers before version 2.11 know no time to live for one key.
//!
//! A subject is `$KV.BUCKET.KEY`, where octets that a key of NATS cannot have stand as `=` and two hexadecimal digits; the
//! header [`UNTIL`] says when the value expires, in milliseconds since 1970.

use super::count::{Counts, count_spaces};
use super::{Answer, Clock, KvError, OpenError, Operation, count, lives, until, weight};
use crate::config::KvNats;
use crate::nats::{Link, NotKept};
use crate::observe::Trouble;
use async_nats::HeaderMap;
use async_nats::jetstream::context::GetStreamByNameErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use hyper::body::Bytes;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

/// The header that says when a value expires.
pub(super) const UNTIL: &str = "Pillarbox-Until";
/// The server's header for what a message must be the successor of.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// The server's header of what takes a value away.
pub(super) const OPERATION: &str = "KV-Operation";

/// How often somebody else may be faster.
const TRIES: usize = 100;
/// So many keys are written at a time; those that share a place wait for each other.
const STRIPES: usize = 64;
/// So many milliseconds hosts that start together wait at most before they make the bucket.
const APART: u64 = 50;
/// How long a bucket that somebody else makes takes at most.
const SETTLED: Duration = Duration::from_millis(500);
/// How long what was counted is good for.
const FRESH: u64 = 60_000;
/// How long a namespace that is full is taken to be full still.
const STILL_FULL: u64 = 1_000;

/// A bucket. Clones share its connection.
#[derive(Clone)]
pub(super) struct Bucket(Arc<Inner>);

struct Inner {
    link: Link,
    bucket: String,
    timeout: Duration,
    clock: Clock,
    places: RandomState,
    stripes: Vec<Mutex<()>>,
    counts: Arc<Mutex<Counts>>,
    /// Whether the bucket was seen to be there.
    there: Mutex<bool>,
    /// Whether it is being counted while nobody waits.
    counting: AtomicBool,
    /// Why the last calls found it out of order.
    trouble: std::sync::Mutex<Trouble>,
}

/// What is under a key.
#[derive(Debug, Default)]
struct Entry {
    /// Its place in the stream; 0 where there is nothing.
    revision: u64,
    until: u64,
    /// None where it was taken away.
    value: Option<Vec<u8>>,
}

/// Why a call came to nothing.
enum Hitch {
    /// What the caller hears.
    Caller(KvError),
    /// What the log hears.
    Server(String),
}

impl Bucket {
    /// Reads the files that are named. Nobody is connected to.
    pub(super) fn new(config: &KvNats, timeout: Duration, clock: Clock) -> Result<Bucket, OpenError> {
        Ok(Bucket(Arc::new(Inner {
            link: Link::load(&config.servers)?,
            bucket: config.bucket.clone(),
            timeout,
            clock,
            places: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            counts: Arc::default(),
            there: Mutex::default(),
            counting: AtomicBool::new(false),
            trouble: std::sync::Mutex::default(),
        })))
    }

    pub(super) fn now(&self) -> u64 {
        (self.0.clock)()
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        let number = self.0.link.number();
        let done = timeout(self.0.timeout, self.attempt(operation)).await;
        let done = done.unwrap_or_else(|_| {
            if let Some(number) = number {
                self.0.link.let_go(number);
            }
            Err(Hitch::Server("no answer in time".to_owned()))
        });
        let answered = match done {
            Ok(answer) => Ok(answer),
            Err(Hitch::Caller(error)) => Err(error),
            Err(Hitch::Server(error)) => {
                if self.trouble().is_news(&error) {
                    tracing::error!(bucket = &*self.0.bucket, server = %self.0.link, error, "kv store cannot be used");
                }
                return Err(KvError::Unavailable);
            }
        };
        if self.trouble().ends() {
            tracing::info!(bucket = &*self.0.bucket, server = %self.0.link, "kv store is used again");
        }
        answered
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, operation: Operation) -> Result<Answer, Hitch> {
        match operation {
            Operation::Get { key } => {
                let Entry { until, value, .. } = self.entry(&key).await?;
                let value = value.filter(|_| lives(until, self.now()));
                Ok(Answer::Value(value.map(|value| (until, value))))
            }
            Operation::Unset { key } => self.unset(&key).await.map(|()| Answer::Done),
            Operation::Set { space, quota, key, value, ttl } => {
                let until = until(self.now(), ttl);
                let replace = |_: &Entry| Ok((until, value.clone(), Answer::Done));
                self.replace((&space, quota), &key, replace).await
            }
            Operation::Increment { space, quota, key, by, ttl } => {
                let now = self.now();
                let replace = |entry: &Entry| {
                    let old = entry.value.as_deref().filter(|_| lives(entry.until, now));
                    let (sum, value) = count(old, by)?;
                    let until = if old.is_some() { entry.until } else { until(now, ttl) };
                    Ok((until, value, Answer::Sum(sum)))
                };
                self.replace((&space, quota), &key, replace).await
            }
        }
    }

    /// Puts what `value` makes of it in the place of what is there.
    async fn replace(
        &self,
        (space, quota): (&str, u64),
        key: &str,
        value: impl Fn(&Entry) -> Result<(u64, Vec<u8>, Answer), KvError>,
    ) -> Result<Answer, Hitch> {
        let _alone = self.alone(key).await;
        for _ in 0..TRIES {
            let entry = self.entry(key).await?;
            let (until, value, answer) = value(&entry).map_err(Hitch::Caller)?;
            let before = entry.value.as_ref().map_or(0, |value| weight(key, value.len()));
            let after = weight(key, value.len());
            self.admit(space, quota, key, before, after).await?;
            let mut headers = HeaderMap::new();
            headers.insert(EXPECTED, entry.revision.to_string());
            headers.insert(UNTIL, until.to_string());
            let kept = self.publish(key, headers, value).await;
            if kept.is_err() {
                self.0.counts.lock().await.account(key, after, before);
            }
            match kept {
                Ok(()) => return Ok(answer),
                Err(NotKept::Outdated) => {}
                Err(error) => return Err(Hitch::Server(error.to_string())),
            }
        }
        Err(Hitch::Caller(KvError::Busy))
    }

    async fn unset(&self, key: &str) -> Result<(), Hitch> {
        let _alone = self.alone(key).await;
        let entry = self.entry(key).await?;
        if entry.revision == 0 {
            return Ok(());
        }
        let connection = self.0.link.connection().await.map_err(unreachable)?;
        let stream =
            connection.get_stream_no_info(self.stream()).await.map_err(|error| Hitch::Server(error.to_string()))?;
        // Nothing is left of it, not even the word that it is gone.
        stream.purge().filter(self.subject(key)).await.map_err(|error| Hitch::Server(error.to_string()))?;
        let before = entry.value.map_or(0, |value| weight(key, value.len()));
        self.0.counts.lock().await.account(key, before, 0);
        Ok(())
    }

    async fn alone(&self, key: &str) -> MutexGuard<'_, ()> {
        let place = self.0.places.hash_one(key) % STRIPES as u64;
        let place = usize::try_from(place).unwrap_or_default();
        match self.0.stripes.get(place).or(self.0.stripes.first()) {
            Some(stripe) => stripe.lock().await,
            // There are some.
            None => std::future::pending().await,
        }
    }

    /// What is under a key, whether its time is over or not. The servers' leader is asked, who knows what was written last.
    async fn entry(&self, key: &str) -> Result<Entry, Hitch> {
        self.settle().await?;
        let connection = self.0.link.connection().await.map_err(unreachable)?;
        let stream =
            connection.get_stream_no_info(self.stream()).await.map_err(|error| Hitch::Server(error.to_string()))?;
        match stream.get_last_raw_message_by_subject(&self.subject(key)).await {
            Ok(message) => {
                let there = message.headers.get(OPERATION).is_none();
                let until = message.headers.get(UNTIL).and_then(|until| until.as_str().parse().ok());
                Ok(Entry {
                    revision: message.sequence,
                    until: until.unwrap_or_default(),
                    value: there.then(|| message.payload.to_vec()),
                })
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(Entry::default()),
                LastRawMessageErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    *self.0.there.lock().await = false;
                    self.settle().await.map(|()| Entry::default())
                }
                _ => Err(Hitch::Server(error.to_string())),
            },
        }
    }

    async fn publish(&self, key: &str, headers: HeaderMap, value: Vec<u8>) -> Result<(), NotKept> {
        self.0.link.publish(self.subject(key), headers, value.into(), self.0.timeout).await.map(|_| ())
    }

    /// Sees to it that the bucket is there, and made to its end: servers of version 2.9 end in a panic when they are asked for
    /// a value, or to make it as well, while they make it for another host.
    async fn settle(&self) -> Result<(), Hitch> {
        let mut there = self.0.there.lock().await;
        if *there {
            return Ok(());
        }
        let connection = self.0.link.connection().await.map_err(unreachable)?;
        if !self.is_named(&connection).await? {
            // Hosts that start together do not come to it together.
            sleep(Duration::from_millis(self.0.places.hash_one(()) % APART)).await;
            if !self.is_named(&connection).await? {
                let made = self.make(&connection).await;
                if made.is_err() && !self.is_named(&connection).await? {
                    return made;
                }
                *there = made.is_ok();
            }
        }
        if !*there {
            // What answers for single values is set up last. That others who made it may have left it out.
            let question = format!("$JS.API.DIRECT.GET.{}.{}-", self.stream(), self.subject(""));
            let _ = timeout(SETTLED, connection.client().request(question, Bytes::new())).await;
        }
        *there = true;
        Ok(())
    }

    /// Whether the servers know a stream for its subjects, be it done or not.
    async fn is_named(&self, connection: &Context) -> Result<bool, Hitch> {
        match connection.stream_by_subject(self.subject("-")).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Ok(false),
            Err(error) => Err(Hitch::Server(error.to_string())),
        }
    }

    /// Makes the bucket, which is not there.
    async fn make(&self, connection: &Context) -> Result<(), Hitch> {
        // As NATS clients make a bucket; the library's own way asks what servers of version 2.9 do not know yet.
        let config = Config {
            name: self.stream(),
            description: Some("values of Pillarbox".to_owned()),
            subjects: vec![format!("{}>", self.subject(""))],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: 1,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        };
        let made = connection.create_stream(config).await;
        made.map_err(|error| Hitch::Server(error.to_string()))?;
        tracing::info!(bucket = &*self.0.bucket, server = %self.0.link, "bucket made");
        Ok(())
    }

    /// Counts what is to be written, if the namespace may hold it. What becomes no larger fits always.
    async fn admit(&self, space: &str, quota: u64, key: &str, before: u64, after: u64) -> Result<(), Hitch> {
        let mut counts = self.0.counts.clone().lock_owned().await;
        let fits =
            |counts: &Counts| after <= before || counts.with(space, before, after).is_some_and(|sum| sum <= quota);
        let age = self.now().saturating_sub(counts.at);
        let known = counts.knows(space);
        if !known || (!fits(&counts) && age >= STILL_FULL) {
            counts.learn(space);
            // Whoever gives up waiting leaves it to those who come later.
            let (link, stream, now) = (self.0.link.clone(), self.stream(), self.now());
            let prefix = self.subject("");
            let counted = tokio::spawn(async move {
                let counted = count_spaces(&link, &stream, &prefix, counts.spaces(), now).await;
                counted.map(|octets| {
                    counts.set(octets, now);
                    counts
                })
            });
            counts = match counted.await {
                Ok(counted) => counted.map_err(Hitch::Server)?,
                Err(error) => return Err(Hitch::Server(error.to_string())),
            };
        } else if age >= FRESH {
            self.count_again(counts.spaces());
        }
        if !fits(&counts) {
            return Err(Hitch::Caller(KvError::Full));
        }
        counts.account(key, before, after);
        Ok(())
    }

    /// Counts anew while nobody waits for it: what other hosts wrote, and what has expired.
    fn count_again(&self, spaces: Vec<String>) {
        if self.0.counting.swap(true, Ordering::Relaxed) {
            return;
        }
        let bucket = self.clone();
        tokio::spawn(async move {
            let now = bucket.now();
            match count_spaces(&bucket.0.link, &bucket.stream(), &bucket.subject(""), spaces, now).await {
                Ok(octets) => bucket.0.counts.lock().await.set(octets, now),
                Err(error) => tracing::debug!(bucket = &*bucket.0.bucket, error, "bucket not counted"),
            }
            bucket.0.counting.store(false, Ordering::Relaxed);
        });
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.0.bucket)
    }

    fn subject(&self, key: &str) -> String {
        let mut subject = format!("$KV.{}.", self.0.bucket);
        for octet in key.bytes() {
            match octet {
                b'-' | b'_' | b'/' => subject.push(char::from(octet)),
                octet if octet.is_ascii_alphanumeric() => subject.push(char::from(octet)),
                octet => subject.push_str(&format!("={octet:02X}")),
            }
        }
        subject
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.bucket).finish()
    }
}

/// The key that a subject behind its prefix stands for.
pub(super) fn key(subject: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = subject.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'=' {
            octets.push(octet);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        octets.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(octets).ok()
}

fn unreachable(error: NotKept) -> Hitch {
    Hitch::Server(error.to_string())
}
