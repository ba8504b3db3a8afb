//! What the namespaces of a bucket hold, as this host reckons: counted whole from time to time, with its own writes in
//! between. What other hosts wrote since is not in it. Whoever counts comes by every key, and takes away what has expired.

use super::bucket::{OPERATION, UNTIL, key};
use super::{lives, weight};
use crate::nats::Link;
use async_nats::Request;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::message::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// The octets of each namespace that this host ever wrote to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    spaces: BTreeMap<String, u64>,
    /// When they were counted, in milliseconds since 1970.
    pub(super) at: u64,
}

impl Counts {
    pub(super) fn knows(&self, space: &str) -> bool {
        self.spaces.contains_key(space)
    }

    /// It is counted from now on.
    pub(super) fn learn(&mut self, space: &str) {
        self.spaces.entry(space.to_owned()).or_default();
    }

    pub(super) fn spaces(&self) -> Vec<String> {
        self.spaces.keys().cloned().collect()
    }

    /// What was counted at `now`.
    pub(super) fn set(&mut self, octets: BTreeMap<String, u64>, now: u64) {
        self.spaces.extend(octets);
        self.at = now;
    }

    /// What a namespace would hold with `after` in the place of `before`.
    pub(super) fn with(&self, space: &str, before: u64, after: u64) -> Option<u64> {
        Some(self.spaces.get(space)?.saturating_sub(before).saturating_add(after))
    }

    /// What is under `key` weighs `after` now.
    pub(super) fn account(&mut self, key: &str, before: u64, after: u64) {
        for (_, octets) in self.spaces.iter_mut().filter(|(space, _)| key.starts_with(&***space)) {
            *octets = octets.saturating_sub(before).saturating_add(after);
        }
    }
}

/// Requests at a time.
const TOGETHER: usize = 16;
/// How long a server may take for one of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts some namespaces of a bucket, and takes away what was over at `now`. Values are not fetched for it.
pub(super) async fn count_spaces(
    link: &Link,
    stream: &str,
    prefix: &str,
    spaces: Vec<String>,
    now: u64,
) -> Result<BTreeMap<String, u64>, String> {
    let connection = link.connection().await.map_err(|error| error.to_string())?;
    let handle = connection.get_stream_no_info(stream).await.map_err(|error| error.to_string())?;
    let consumer = handle
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: format!("{prefix}>"),
            ack_policy: AckPolicy::None,
            headers_only: true,
            inactive_threshold: 4 * PATIENCE,
            ..pull::Config::default()
        })
        .await
        .map_err(|error| error.to_string())?;
    let name = consumer.cached_info().name.clone();
    // No more are asked for than there are: who asks for what is not there waits for it.
    let left = Arc::new(AtomicU64::new(consumer.cached_info().num_pending));
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
    let mut workers = JoinSet::new();
    for _ in 0..TOGETHER {
        let way = Walk {
            connection: connection.clone(),
            next: next.clone(),
            left: left.clone(),
            stream: stream.to_owned(),
            prefix: prefix.to_owned(),
            now,
        };
        workers.spawn(way.go(spaces.clone()));
    }
    let mut sums = spaces.into_iter().map(|space| (space, 0)).collect::<BTreeMap<String, u64>>();
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        match ended.map_err(|error| error.to_string()).and_then(|counted| counted) {
            Ok(counted) => {
                for (space, octets) in counted {
                    let sum = sums.entry(space).or_default();
                    *sum = sum.saturating_add(octets);
                }
            }
            Err(error) => result = Err(error),
        }
    }
    let _ = handle.delete_consumer(&name).await;
    result.map(|()| sums)
}

/// One of those who share the keys among them.
struct Walk {
    connection: Context,
    next: String,
    /// Keys that nobody has asked for yet.
    left: Arc<AtomicU64>,
    stream: String,
    prefix: String,
    now: u64,
}

impl Walk {
    async fn go(self, spaces: Vec<String>) -> Result<BTreeMap<String, u64>, String> {
        let client = self.connection.client();
        let mut counts = Counts::default();
        spaces.iter().for_each(|space| counts.learn(space));
        while self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            // An inbox of its own: what comes bears the subject it was published with.
            let request = Request::new()
                .payload(r#"{"batch":1,"expires":1000000000}"#.into())
                .inbox(client.new_inbox())
                .timeout(Some(PATIENCE));
            let message = client.send_request(self.next.clone(), request).await.map_err(|error| error.to_string())?;
            if let Some(status) = message.status {
                // 408: there are fewer than there were, because some were replaced or taken away.
                return match status.as_u16() {
                    404 | 408 => Ok(counts.spaces),
                    _ => Err(format!("the server says {status}: {}", message.description.unwrap_or_default())),
                };
            }
            self.take(message, &mut counts).await?;
        }
        Ok(counts.spaces)
    }

    async fn take(&self, message: async_nats::Message, counts: &mut Counts) -> Result<(), String> {
        let text = |name| Some(message.headers.as_ref()?.get(name)?.as_str().to_owned());
        let key = message.subject.strip_prefix(&*self.prefix).and_then(key);
        let (Some(key), None) = (key, text(OPERATION)) else { return Ok(()) };
        let until = text(UNTIL).and_then(|until| until.parse().ok()).unwrap_or_default();
        if lives(until, self.now) {
            let octets = text("Nats-Msg-Size").and_then(|size| size.parse().ok()).unwrap_or_default();
            counts.account(&key, 0, weight(&key, octets));
            return Ok(());
        }
        let subject = message.subject.to_string();
        let message = Message { message, context: self.connection.clone() };
        let sequence = message.info().map_err(|error| error.to_string())?.stream_sequence;
        let stream = self.connection.get_stream_no_info(&self.stream).await.map_err(|error| error.to_string())?;
        // Not what came in its place meanwhile.
        let purge = stream.purge().filter(subject).sequence(sequence.saturating_add(1));
        purge.await.map(|_| ()).map_err(|error| error.to_string())
    }
}
