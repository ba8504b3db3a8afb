//! Messages go out to servers that behave as their scripts say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod lacking;
mod manners;
mod names;
mod reuse;
mod secure;
mod sink;

use std::net::SocketAddr;

use tempfile::TempDir;

use super::*;
use crate::config::{Dns, Host};
use crate::spool::{Envelope, MessageId, Spool, sample};
use sink::Sink;

/// A spool with messages, and a way to hand them to a relay.
struct Bed {
    at: TempDir,
    spool: Spool,
    next: u32,
}

impl Bed {
    fn new() -> Bed {
        let at = TempDir::new().unwrap();
        let spool = Spool::open(&at.path().join("state")).unwrap();
        Bed { at, spool, next: 0 }
    }

    /// A message from `a@example.test`, changed by `change`.
    async fn message(
        &mut self,
        content: &[u8],
        recipients: &[&str],
        change: impl FnOnce(&mut Envelope),
    ) -> Arc<Stored> {
        self.next += 1;
        let id: MessageId = format!("MESSAGE{:04}", self.next).parse().unwrap();
        let mut draft = self.spool.begin(id.clone());
        draft.write(content).await.unwrap();
        let mut envelope = envelope(&id, recipients);
        change(&mut envelope);
        draft.commit(envelope).await.unwrap();
        Arc::new(self.spool.load(&id).await.unwrap())
    }
}

fn envelope(id: &MessageId, recipients: &[&str]) -> Envelope {
    let (hostname, protocol) = ("here.example.test".to_owned(), "ESMTPS".to_owned());
    Envelope { hostname, protocol, ..sample::envelope(id.as_str(), recipients) }
}

fn hop(address: SocketAddr) -> Hop {
    Hop::Tcp { host: HopHost::Host(Host::Address(address.ip())), port: address.port() }
}

/// A route to this server with the defaults of everything else.
fn to(protocol: HopProtocol, address: SocketAddr) -> RelayTarget {
    RelayTarget::new(protocol, hop(address))
}

fn relay(target: RelayTarget) -> Relay {
    relay_by(target, vec!["127.0.0.1:9".parse().unwrap()])
}

fn relay_by(target: RelayTarget, servers: Vec<SocketAddr>) -> Relay {
    let names = Resolver::new(&Dns { servers, timeout: std::time::Duration::from_secs(20) }).unwrap();
    Relay::load(&Arc::new(target), &"here.example.test".into(), &Arc::new(names)).unwrap()
}

/// An outcome in a few words: `delivered 250 ok`, `deferred 4.2.0 recipient`, `failed 5.1.1 message`.
fn words(outcome: &Outcome) -> String {
    let failure = |kind: &str, failure: &Failure| {
        format!("{kind} {} {}", failure.status, format!("{:?}", failure.reach).to_lowercase())
    };
    match outcome {
        Outcome::Delivered(receipt) => format!("delivered {}", receipt.reply.as_deref().unwrap_or_default()),
        Outcome::Deferred(it) => failure("deferred", it),
        Outcome::Failed(it) => failure("failed", it),
    }
}

/// Delivers to all recipients, whose outcomes come in their order, each once.
async fn deliver(relay: &Relay, stored: &Arc<Stored>) -> Vec<Outcome> {
    let asked: Vec<usize> = (0..stored.envelope.recipients.len()).collect();
    let mut outcomes = relay.deliver("example.test", stored, &asked).await;
    outcomes.sort_by_key(|(index, _)| *index);
    let answered: Vec<usize> = outcomes.iter().map(|(index, _)| *index).collect();
    assert_eq!(answered, asked, "{outcomes:?}");
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn deliver_words(relay: &Relay, stored: &Arc<Stored>) -> Vec<String> {
    deliver(relay, stored).await.iter().map(words).collect()
}

fn text(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered(_) => "",
        Outcome::Deferred(failure) | Outcome::Failed(failure) => &failure.text,
    }
}

const HELLO: &[u8] = b"Subject: hello\r\n\r\none\r\n.two\r\n..\r\n";
const TO_B: &[&str] = &["b@example.test"];
const TO_THREE: &[&str] = &["b@example.test", "c@example.test", "d@example.test"];

/// The way of a message to one recipient, up to DATA's 354.
const UP_TO_DATA: &str = "
    S: 220 mx
    C: EHLO here.example.test
    S: 250 mx
    C: MAIL FROM:<a@example.test>
    S: 250 ok
    C: RCPT TO:<b@example.test>
    S: 250 ok
    C: DATA
    S: 354 go";
