//! Envelopes for tests of whoever reads them: what has to be in one and no test means anything by.

use std::collections::BTreeMap;

use super::{Envelope, Recipient};

/// One of a message to these, with ordinary things said of everything else.
pub(crate) fn envelope(id: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        id: id.parse().expect("an id"),
        session: "01SESSION".to_owned(),
        received: 1_700_000_000_123,
        listener: "edge".to_owned(),
        hostname: "mx.example.test".to_owned(),
        peer: "127.0.0.1".to_owned(),
        client: "192.0.2.7".to_owned(),
        client_name: None,
        client_port: None,
        helo: Some("client.example".to_owned()),
        protocol: "ESMTP".to_owned(),
        sender: "a@example.test".to_owned(),
        parameters: Vec::new(),
        recipients: recipients.iter().map(|address| recipient(address)).collect(),
        connection: BTreeMap::new(),
        message: BTreeMap::new(),
        quarantined: None,
        notice_of: None,
    }
}

/// A recipient of whom nothing else was said.
pub(crate) fn recipient(address: &str) -> Recipient {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    Recipient {
        address: address.to_owned(),
        local: local.to_owned(),
        domain: domain.to_owned(),
        postmaster: local.eq_ignore_ascii_case("postmaster"),
        parameters: Vec::new(),
        refused: None,
    }
}

/// Parameters of MAIL or RCPT.
pub(crate) fn parameters(said: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    said.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}
