//! A webhook: each message is posted to a URL, the message itself as the body and its envelope in the header.
//!
//! One request has the recipients of one message at this URL, but no more of them than servers take in a header. What the
//! answer's status says holds for all of them. The room's others do not know what HTTP is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::config::{Http, WebhookTarget};
use crate::file;
use crate::http::{NotPosted, Post, Posted, Poster, Target};
use crate::observe::{chain, timestamp};
use crate::spool::{Duty, Envelope, Failure, Outcome, Reach, Receipt, Stored};

/// A route's way there. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    target: Arc<WebhookTarget>,
    url: Target,
    poster: Arc<Poster>,
}

/// A route to a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebhookError {
    /// A file that it names.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its URL.
    #[error("cannot post to this URL")]
    Url(#[source] crate::http::BadUrl),
    /// What `[http]` says.
    #[error(transparent)]
    Http(#[from] crate::http::HttpError),
}

impl Webhook {
    /// Reads the files that the route names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn load(target: &Arc<WebhookTarget>, http: &Http) -> Result<Webhook, WebhookError> {
        if let Some(path) = &target.token_file {
            read_token(path).map_err(|source| WebhookError::File { path: path.clone(), source })?;
        }
        let url = Target::parse(&target.to_string()).map_err(WebhookError::Url)?;
        Ok(Webhook { target: target.clone(), url, poster: Arc::new(Poster::new(http)?) })
    }

    /// What the route says of it.
    pub(super) fn target(&self) -> &WebhookTarget {
        &self.target
    }

    /// Takes a message there for some of its recipients, and says what became of each.
    pub(super) async fn deliver(&self, stored: &Arc<Stored>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(recipients.len());
        for some in shares(&stored.envelope, recipients) {
            let outcome = self.post(stored, &some).await;
            let gone = matches!(&outcome, Outcome::Deferred(failure) if failure.reach == Reach::Destination);
            outcomes.extend(some.iter().map(|&index| (index, outcome.clone())));
            if gone {
                // The others would be told the same.
                let told = outcomes.len();
                outcomes.extend(recipients.iter().skip(told).map(|&index| (index, outcome.clone())));
                break;
            }
        }
        outcomes
    }

    async fn post(&self, stored: &Stored, recipients: &[usize]) -> Outcome {
        let mut headers = headers(&stored.envelope, recipients);
        if let Some(path) = &self.target.token_file {
            let file = path.clone();
            let read = tokio::task::spawn_blocking(move || read_token(&file)).await;
            match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(token) => headers.push(("authorization", format!("Bearer {token}"))),
                Err(error) => {
                    let text = format!("cannot use {}: {}", path.display(), chain(&error));
                    return Outcome::Deferred(Failure::local("4.3.5", text, Reach::Destination));
                }
            }
        }
        let post = Post { headers: &headers, body: Box::new(stored.content()), length: stored.content_len };
        match self.poster.post(&self.url, post, self.target.timeout).await {
            Ok(posted) => self.answered(&posted),
            Err(error) => Outcome::Deferred(self.unanswered(&error)),
        }
    }

    fn answered(&self, posted: &Posted) -> Outcome {
        let Posted { status, text, whole } = posted;
        if (200..300).contains(status) && *whole {
            return Outcome::Delivered(Receipt {
                to: self.target.to_string(),
                remote: Some(self.target.host.to_string()),
                reply: None,
                duty: Duty::Delivered,
            });
        }
        let (ends, code, reach) = judged(*status);
        let early = if *whole { "" } else { " before it had the whole message" };
        let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
        let failure = Failure {
            remote: Some(self.target.host.to_string()),
            ..Failure::local(code, format!("{} answered {status}{early}{said}", self.target), reach)
        };
        if ends { Outcome::Failed(failure) } else { Outcome::Deferred(failure) }
    }

    fn unanswered(&self, error: &NotPosted) -> Failure {
        let (code, reach) = match error {
            NotPosted::Connect(_) => ("4.4.1", Reach::Destination),
            NotPosted::Tls(_) => ("4.7.5", Reach::Destination),
            NotPosted::Late => ("4.4.2", Reach::Destination),
            NotPosted::Broken(_) | NotPosted::Header => ("4.4.2", Reach::Message),
        };
        let failure = Failure::local(code, format!("{}: {error}", self.target), reach);
        Failure { remote: Some(self.target.host.to_string()), ..failure }
    }
}

/// What a status means: whether it ends the recipients, the enhanced code of that, and whom else it would happen to.
///
/// Only what the other side says of the request itself is for good. That the URL leads elsewhere, or the token is not known
/// there, is for the operator to mend, and mail waits for that.
fn judged(status: u16) -> (bool, &'static str, Reach) {
    match status {
        // A success, but of something else than the whole message.
        200..300 => (false, "4.4.2", Reach::Message),
        300..400 => (false, "4.3.5", Reach::Destination),
        401 | 407 => (false, "4.7.8", Reach::Destination),
        408 | 409 | 425 => (false, "4.3.0", Reach::Message),
        429 => (false, "4.3.2", Reach::Destination),
        403 => (true, "5.7.1", Reach::Message),
        404 | 410 => (true, "5.1.1", Reach::Message),
        413 => (true, "5.3.4", Reach::Message),
        415 | 422 => (true, "5.6.0", Reach::Message),
        400..500 => (true, "5.0.0", Reach::Message),
        502..505 => (false, "4.3.2", Reach::Destination),
        507 => (false, "4.3.1", Reach::Destination),
        _ => (false, "4.3.0", Reach::Message),
    }
}

/// The envelope, with nothing in it that could be another header field.
fn headers(envelope: &Envelope, recipients: &[usize]) -> Vec<(&'static str, String)> {
    let received = UNIX_EPOCH.checked_add(Duration::from_millis(envelope.received)).unwrap_or(UNIX_EPOCH);
    let mut headers = vec![
        ("content-type", "message/rfc822".to_owned()),
        ("idempotency-key", format!("\"{}\"", key(envelope, recipients))),
        ("pillarbox-id", encode(&envelope.id.to_string())),
        ("pillarbox-session", encode(&envelope.session)),
        ("pillarbox-received", timestamp(received)),
        ("pillarbox-listener", encode(&envelope.listener)),
        ("pillarbox-client", encode(&envelope.client)),
        ("pillarbox-protocol", encode(&envelope.protocol)),
        ("pillarbox-sender", encode(&envelope.sender)),
    ];
    headers.extend(envelope.helo.as_ref().map(|helo| ("pillarbox-helo", encode(helo))));
    let parameter = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{}={}", encode(name), encode(value)),
        None => encode(name),
    };
    headers.extend(envelope.parameters.iter().map(|it| ("pillarbox-parameter", parameter(it))));
    let addresses = recipients.iter().filter_map(|&index| envelope.recipients.get(index));
    headers.extend(addresses.map(|recipient| ("pillarbox-recipient", encode(&recipient.address))));
    headers
}

/// What each attempt at these recipients of this message has in common.
fn key(envelope: &Envelope, recipients: &[usize]) -> String {
    if recipients.len() == envelope.recipients.len() {
        return envelope.id.to_string();
    }
    let mut digest = Sha256::new();
    for index in recipients {
        digest.update(format!("{index} "));
    }
    let digest: String = digest.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{digest}", envelope.id)
}

/// Printable ASCII as it is, but for what ends a value of a list or begins an escape; every other octet as `%XX`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'%' | b',' => encoded.push_str(&format!("%{octet:02X}")),
            octet if octet.is_ascii_graphic() => encoded.push(char::from(octet)),
            octet => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// The recipients, so many at a time as fit into a header that servers take: they want at most 100 fields of 8 KiB together.
fn shares(envelope: &Envelope, recipients: &[usize]) -> Vec<Vec<usize>> {
    const FIELDS: usize = 50;
    const OCTETS: usize = 4 << 10;
    let mut shares: Vec<Vec<usize>> = Vec::new();
    let mut octets = 0_usize;
    for &index in recipients {
        let address = envelope.recipients.get(index).map_or(0, |recipient| encode(&recipient.address).len());
        match shares.last_mut() {
            Some(last) if last.len() < FIELDS && octets.saturating_add(address) <= OCTETS => last.push(index),
            _ => {
                octets = 0;
                shares.push(vec![index]);
            }
        }
        octets = octets.saturating_add(address);
    }
    shares
}

/// The first line of a file, without blanks around it: none can be part of a token.
fn read_token(path: &Path) -> io::Result<String> {
    let line = file::secret(path).map_err(io::Error::other)?;
    let token = line.trim();
    match !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic()) {
        true => Ok(token.to_owned()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is no token")),
    }
}

#[cfg(test)]
mod tests;
