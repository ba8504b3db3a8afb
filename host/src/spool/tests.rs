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

fn recipient(address: &str) -> Recipient {
    let (local, domain) = address.split_once('@').unwrap();
    Recipient {
        address: address.to_owned(),
        local: local.to_owned(),
        domain: domain.to_owned(),
        postmaster: false,
        parameters: vec![("NOTIFY".to_owned(), Some("NEVER".to_owned()))],
        refused: None,
    }
}

/// An envelope for three recipients.
fn envelope(id: &MessageId) -> Envelope {
    Envelope {
        id: id.clone(),
        session: "01SESSION".to_owned(),
        received: 1_700_000_000_123,
        listener: "edge".to_owned(),
        hostname: "mx.example.test".to_owned(),
        peer: "127.0.0.1".to_owned(),
        client: "192.0.2.7".to_owned(),
        helo: Some("client.example".to_owned()),
        protocol: "ESMTPS".to_owned(),
        sender: "a@example.test".to_owned(),
        parameters: vec![("SIZE".to_owned(), Some("12".to_owned())), ("X".to_owned(), None)],
        recipients: ["b@example.test", "c@example.test", "d@example.test"].map(recipient).to_vec(),
        connection: BTreeMap::from([("ehlo_domain".to_owned(), "line\nfeed \"quoted\" ü".to_owned())]),
        message: BTreeMap::new(),
        quarantined: None,
        client_name: None,
        client_port: None,
        notice_of: None,
    }
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
