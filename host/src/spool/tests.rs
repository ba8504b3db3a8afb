//! The spool's tests; what several of them need stands here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod basics;
mod damage;
mod disk;
mod faults;
mod in_hand;
mod journal;
mod power;
mod quarantine;
mod reserve;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::*;

/// A spool on this disk.
fn open_on(state_dir: &Path, disk: &Arc<disk::TestDisk>) -> Spool {
    Spool(Arc::new(open::open(state_dir, Arc::clone(disk) as Arc<dyn SpoolIo>).unwrap()))
}

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

/// An envelope for three recipients.
fn envelope(id: &MessageId) -> Envelope {
    let mut envelope = Envelope {
        protocol: "ESMTPS".to_owned(),
        parameters: sample::parameters(&[("SIZE", Some("12")), ("X", None)]),
        connection: BTreeMap::from([("ehlo_domain".to_owned(), "line\nfeed \"quoted\" ü".to_owned())]),
        ..sample::envelope(id.as_str(), &["b@example.test", "c@example.test", "d@example.test"])
    };
    for recipient in &mut envelope.recipients {
        recipient.parameters = sample::parameters(&[("NOTIFY", Some("NEVER"))]);
    }
    envelope
}

/// One that is to be kept aside.
fn quarantined(id: &MessageId) -> Envelope {
    let text = |text: &str| text.to_owned();
    let why = Quarantined { extension: text("policy"), reason: text("looks like bait"), hook: text("message") };
    Envelope { quarantined: Some(why), ..envelope(id) }
}

/// Puts a message into the quarantine.
async fn aside(spool: &Spool, name: &str, content: &[u8]) -> Result<(), SpoolError> {
    let mut draft = spool.begin(id(name));
    draft.write(content).await?;
    draft.commit(quarantined(&id(name))).await
}

/// Content of a length that no two messages share octets at the same place of.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / 65_536) as u8).collect()
}

/// Puts a message into the spool.
async fn commit(spool: &Spool, name: &str, content: &[u8]) -> Result<(), SpoolError> {
    let mut draft = spool.begin(id(name));
    for piece in content.chunks(10_000) {
        draft.write(piece).await?;
    }
    draft.commit(envelope(&id(name))).await
}

fn read(stored: &Stored) -> Vec<u8> {
    let mut content = Vec::new();
    stored.content().read_to_end(&mut content).unwrap();
    content
}

/// The names in a directory of the spool, sorted.
fn names(state_dir: &Path, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(state_dir.join("spool").join(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn queued(spool: &Spool) -> Vec<String> {
    let mut ids: Vec<_> = spool.queued().unwrap().map(|id| id.to_string()).collect();
    ids.sort();
    ids
}
