//! A NATS stream: a message is published to JetStream before its 250, and lies nowhere else.
//!
//! Recipients of one message whose subjects are the same share one copy. The payload is the message octet for octet; the
//! envelope travels in a header. What waits in the queue for other reasons (released from quarantine, or accepted under
//! another configuration) is published when its turn comes.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use async_nats::HeaderMap;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::config::NatsTarget;
use crate::nats::{FileError, Kept, Link, NotKept};
use crate::observe::chain;
use crate::spool::{Draft, Duty, Envelope, Failure, Outcome, Reach, Receipt, Stored};

/// The header that holds the envelope, in JSON.
const ENVELOPE: &str = "Pillarbox-Envelope";
/// The header by which a stream knows a message that it has already.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// Octets that no server takes more of (its `max_payload` ends there).
const LARGEST: u64 = 64 << 20;
/// Octets of all messages that are being published, in units of 1 KiB: whoever comes when it is used up waits.
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(128 << 10)));
/// Copies of one message that are published at a time.
const TOGETHER: usize = 8;

/// A route's way there. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Nats {
    target: Arc<NatsTarget>,
    link: Link,
}

/// Where a message is read from.
enum Content<'a> {
    Draft(&'a Draft),
    Stored(&'a Arc<Stored>),
}

impl Nats {
    /// Reads the files that the route names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn load(target: &Arc<NatsTarget>) -> Result<Nats, FileError> {
        Ok(Nats { target: target.clone(), link: Link::load(&target.servers)? })
    }

    /// What the route says of it.
    pub(super) fn target(&self) -> &NatsTarget {
        &self.target
    }

    /// Takes a message there for some of its recipients, and says what became of each.
    pub(super) async fn deliver(&self, stored: &Arc<Stored>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        self.take(&stored.envelope, Content::Stored(stored), recipients).await
    }

    /// Takes a message there that is not accepted yet.
    pub(super) async fn hand_over(
        &self,
        envelope: &Envelope,
        draft: &Draft,
        recipients: &[usize],
    ) -> Vec<(usize, Outcome)> {
        self.take(envelope, Content::Draft(draft), recipients).await
    }

    /// Takes over the connection of the route that this one takes the place of.
    pub(super) fn inherit(&self, before: &Nats) {
        self.link.inherit(&before.link);
    }

    /// Whether both are one route.
    pub(super) fn is(&self, other: &Nats) -> bool {
        Arc::ptr_eq(&self.target, &other.target)
    }

    async fn take(&self, envelope: &Envelope, content: Content<'_>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        let deadline = Instant::now() + self.target.timeout;
        let payload = match self.payload(content, deadline).await {
            Ok(payload) => payload,
            Err(failed) => return recipients.iter().map(|&index| (index, failed.clone())).collect(),
        };
        let mut copies: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut outcomes = Vec::new();
        for &index in recipients {
            match envelope
                .recipients
                .get(index)
                .and_then(|it| subject(&self.target.subject, &it.local, &it.domain, envelope))
            {
                Some(subject) => copies.entry(subject).or_default().push(index),
                None => {
                    let text = format!("`{}` makes no subject for this recipient", self.target.subject);
                    outcomes.push((index, deferred("4.3.5", &text, Reach::Recipient)));
                }
            }
        }
        let mut copies = copies.into_iter();
        let mut publishing = JoinSet::new();
        let mut broken = None;
        loop {
            while let Some((subject, indices)) = (publishing.len() < TOGETHER).then(|| copies.next()).flatten() {
                // Where one found nobody, the others would wait as long for the same.
                match &broken {
                    Some(failed) => outcomes.extend(indices.into_iter().map(|index| (index, Outcome::clone(failed)))),
                    None => {
                        let copy = self.clone().copy(subject, headers(envelope, &indices), payload.clone(), deadline);
                        publishing.spawn(async move { (indices, copy.await) });
                    }
                }
            }
            let Some(joined) = publishing.join_next().await else { break };
            // A task that broke off leaves its recipients without an outcome, which is as good as deferred.
            let Ok((indices, outcome)) = joined else { continue };
            if let Outcome::Deferred(Failure { reach: Reach::Destination, .. }) = &outcome {
                broken.get_or_insert_with(|| outcome.clone());
            }
            outcomes.extend(indices.into_iter().map(|index| (index, outcome.clone())));
        }
        for &index in recipients {
            if !outcomes.iter().any(|(other, _)| *other == index) {
                outcomes.push((index, deferred("4.3.0", "publishing broke off", Reach::Message)));
            }
        }
        outcomes
    }

    /// The message as one piece, which is what a server wants. Its octets are counted as long as anybody holds them.
    async fn payload(&self, content: Content<'_>, deadline: Instant) -> Result<Bytes, Outcome> {
        let len = match &content {
            Content::Draft(draft) => draft.len(),
            Content::Stored(stored) => stored.content_len,
        };
        let largest = timeout_at(deadline, self.link.largest()).await;
        let late = |_| Err(NotKept::Unreachable("no answer in time".to_owned()));
        let largest = largest.unwrap_or_else(late).map_err(|error| failed(&error))?;
        if len > LARGEST.min(largest as u64) {
            return Err(failed(&NotKept::TooLarge(largest)));
        }
        let units = u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = timeout_at(deadline, ROOM.clone().acquire_many_owned(units)).await;
        let room = room.map_err(|_| deferred("4.3.2", "too much is being published", Reach::Destination))?;
        let room = room.map_err(|error| deferred("4.3.0", &error.to_string(), Reach::Message))?;
        let unreadable = |error: std::io::Error| deferred("4.3.0", &chain(&error), Reach::Message);
        let octets = match content {
            Content::Draft(draft) => {
                let mut octets = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
                while (octets.len() as u64) < len {
                    let piece = draft.read(octets.len() as u64, usize::MAX).await;
                    let piece = piece.map_err(|error| deferred("4.3.0", &chain(&error), Reach::Message))?;
                    if piece.is_empty() {
                        return Err(unreadable(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    octets.extend_from_slice(&piece);
                }
                octets
            }
            Content::Stored(stored) => {
                let stored = stored.clone();
                let read = spawn_blocking(move || {
                    let mut octets = Vec::new();
                    stored.content().read_to_end(&mut octets).map(|_| octets)
                });
                read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unreadable)?
            }
        };
        Ok(Bytes::from_owner(Counted { octets, _room: room }))
    }

    /// Publishes one copy.
    async fn copy(
        self,
        subject: String,
        headers: Result<HeaderMap, Outcome>,
        payload: Bytes,
        deadline: Instant,
    ) -> Outcome {
        let headers = match headers {
            Ok(mut headers) => {
                headers.insert(MESSAGE_ID, name(&subject, &headers));
                headers
            }
            Err(outcome) => return outcome,
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.link.publish(subject.clone(), headers, payload, patience).await {
            Ok(Kept { stream, sequence }) => Outcome::Delivered(Receipt {
                to: format!("nats://{}/{subject}", self.link),
                remote: None,
                reply: Some(format!("stream {stream}, sequence {sequence}")),
                // The envelope says what the sender wants to be told, to whoever takes the message from the stream.
                duty: Duty::NextHop,
            }),
            Err(error) => failed(&error),
        }
    }
}

/// A message's octets, and their share of the room.
struct Counted {
    octets: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

/// The envelope with those recipients alone that share a copy.
fn headers(envelope: &Envelope, indices: &[usize]) -> Result<HeaderMap, Outcome> {
    let recipients = indices.iter().filter_map(|&index| envelope.recipients.get(index).cloned()).collect();
    let copy = Envelope { recipients, ..envelope.clone() };
    let unfit = |text: String| deferred("4.3.5", &text, Reach::Message);
    let json = serde_json::to_string(&copy).map_err(|error| unfit(chain(&error)))?;
    let value = json.parse::<async_nats::HeaderValue>().map_err(|error| unfit(error.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(ENVELOPE, value);
    headers.insert(MESSAGE_ID, envelope.id.as_str());
    Ok(headers)
}

/// What a stream knows this copy by: the message, where it goes and whom it is for. It is the same when the same is
/// published again because nobody knows whether it arrived, and another for other recipients of the same message.
fn name(subject: &str, headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).map(async_nats::HeaderValue::as_str).unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(subject);
    digest.update([0]);
    digest.update(text(ENVELOPE));
    let short = digest.finalize().iter().take(8).fold(String::new(), |name, octet| format!("{name}{octet:02x}"));
    format!("{}.{short}", text(MESSAGE_ID))
}

/// The subject for a recipient; none where the template makes none that can be published to.
fn subject(template: &str, local: &str, domain: &str, envelope: &Envelope) -> Option<String> {
    let domain = if domain.is_empty() { &envelope.hostname } else { domain };
    let mut subject = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}')?;
        subject.push_str(before);
        subject.push_str(&token(match name {
            "local" => local,
            "domain" => domain,
            "listener" => &envelope.listener,
            _ => return None,
        }));
        rest = after;
    }
    subject.push_str(rest);
    let sound = |token: &str| {
        !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control() || "*>".contains(c))
    };
    subject.split('.').all(sound).then_some(subject)
}

/// A value as one token of a subject: letters, digits, `-`, `_` and `+` as they are, every other octet as `%` and two
/// hexadecimal digits. Dots divide tokens, `*` and `>` are wildcards, and `$` begins what belongs to the server.
fn token(value: &str) -> String {
    let mut token = String::new();
    for octet in value.bytes() {
        match octet {
            b'-' | b'_' | b'+' => token.push(char::from(octet)),
            octet if octet.is_ascii_alphanumeric() => token.push(char::from(octet)),
            octet => token.push_str(&format!("%{octet:02X}")),
        }
    }
    token
}

fn failed(error: &NotKept) -> Outcome {
    let text = error.to_string();
    match error {
        NotKept::Unreachable(_) => deferred("4.4.1", &text, Reach::Destination),
        NotKept::Silent => deferred("4.4.2", &text, Reach::Destination),
        NotKept::NoStream => deferred("4.3.5", &text, Reach::Recipient),
        NotKept::Outdated | NotKept::Refused(_) => deferred("4.3.0", &text, Reach::Recipient),
        NotKept::TooLarge(_) | NotKept::TooLargeForStream => {
            Outcome::Failed(Failure::local("5.3.4", text, Reach::Message))
        }
    }
}

fn deferred(status: &str, text: &str, reach: Reach) -> Outcome {
    Outcome::Deferred(Failure::local(status, text, reach))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::spool::sample;

    #[test]
    fn a_recipient_makes_one_token_of_a_subject() {
        for (value, expected) in [
            ("bob", "bob"),
            ("Bob+tag_1-x", "Bob+tag_1-x"),
            ("example.org", "example%2Eorg"),
            ("*", "%2A"),
            (">", "%3E"),
            ("a b\r\n\t", "a%20b%0D%0A%09"),
            ("$JS", "%24JS"),
            ("100%", "100%25"),
            ("\u{e9}", "%C3%A9"),
        ] {
            assert_eq!(token(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_template_makes_a_subject() {
        let (listener, hostname) = ("mx".to_owned(), "mx.test".to_owned());
        let envelope = Envelope { listener, hostname, ..sample::envelope("0000000000000001.1", &[]) };
        for (template, expected) in [
            ("mail", Some("mail")),
            ("mail.{domain}.{local}", Some("mail.x%2Etest.b%2Ec")),
            ("in.{listener}", Some("in.mx")),
            ("mail.{local}{domain}", Some("mail.b%2Ecx%2Etest")),
            ("mail..x", None),
            ("", None),
            ("mail.*", None),
            ("mail.>", None),
            ("a b", None),
            ("mail.{what}", None),
            ("mail.{local", None),
        ] {
            assert_eq!(subject(template, "b.c", "x.test", &envelope).as_deref(), expected, "{template}");
        }
        assert_eq!(subject("{domain}", "postmaster", "", &envelope).as_deref(), Some("mx%2Etest"), "the bare one");
        assert_eq!(subject("a.{local}", "", "x.test", &envelope), None, "no token at all");
    }

    /// A stream drops what it takes for a copy: one message for others is none.
    #[test]
    fn copies_for_others_have_other_names() {
        let envelope = sample::envelope("0000000000000001.1", &["a@x.test", "b@x.test"]);
        let named = |subject: &str, indices: &[usize]| name(subject, &headers(&envelope, indices).unwrap());
        assert_eq!(named("mail", &[0]), named("mail", &[0]));
        let others = [named("mail", &[0]), named("mail", &[1]), named("mail", &[0, 1]), named("post", &[0])];
        let different = others.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(different.len(), others.len(), "{others:?}");
        assert!(others.iter().all(|name| name.starts_with(envelope.id.as_str())), "{others:?}");
    }
}
