//! Delivery status notifications (RFC 3461, RFC 3464): what a sender is told, and whether it is told at all.
//!
//! A notice is a message like others: it lies in the spool before what it tells of is recorded, and is delivered by the
//! routes. The room does not know why a recipient ended, nor when one is delayed.

mod original;
mod report;
mod text;
mod wish;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use pillarbox_smtp::Mailbox;
use sha2::{Digest, Sha256};

use crate::spool::{Envelope, Failure, LoadError, MessageId, Receipt, Recipient, Spool, SpoolError, Stored};
use original::Original;
use report::{Frame, Subject};
use wish::Action;

/// What is to be told of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It was not served and never will be.
    Failed(Failure),
    /// It was not served so far; given up at this time, in milliseconds since 1970.
    Delayed(Option<Failure>, u64),
    /// It was served; `Receipt::duty` says what that means.
    Delivered(Receipt),
}

/// What the sender is told of one recipient.
#[derive(Debug)]
struct Told<'a> {
    index: usize,
    recipient: &'a Recipient,
    action: Action,
    report: &'a Report,
}

/// Puts what the sender wants to be told into the spool, durably. `hostname` is the server's own name, `now` in
/// milliseconds since 1970.
///
/// None where nobody is to be told: the sender is the null sender, or did not want this. Said twice of the same message,
/// the second finds the first.
///
/// # Errors
/// The notice cannot be kept, so nothing may be recorded of what it would have told.
pub(super) async fn send(
    spool: &Spool,
    hostname: &str,
    stored: &Arc<Stored>,
    reports: &[(usize, Report)],
    now: u64,
) -> io::Result<Option<MessageId>> {
    let envelope = &stored.envelope;
    let Some(sender) = sender(envelope) else {
        note_untold(envelope, reports);
        return Ok(None);
    };
    let told = told(envelope, reports);
    if told.is_empty() {
        return Ok(None);
    }
    let id = id(&envelope.id, &told)?;
    match spool.peek(&id).await {
        Ok(_) => return Ok(Some(id)),
        Err(LoadError::Gone) => {}
        Err(error) => return Err(io::Error::other(error)),
    }
    let subject = Subject { id: &id, hostname, envelope, told: &told, now };
    let failed = told.iter().any(|told| told.action == Action::Failed);
    // RFC 3461 section 4.3: RET is about failures; all else comes with the header.
    let (whole, delimiter) = (failed && wish::whole(envelope), subject.delimiter());
    let original = read(stored, move |stored| Original::look(stored, whole, &delimiter)).await?;
    let frame = subject.frame(&original);
    let notice = notice_envelope(&subject, &sender, frame.eight_bit);
    match write(spool, stored, &original, &frame, notice).await {
        Ok(()) => {}
        // A log that a killed server left of the same notice is in the way; without it, it goes well the next time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match spool.peek(&id).await {
            Ok(_) => return Ok(Some(id)),
            Err(_) => {
                spool.remove(&id).await?;
                return Err(error);
            }
        },
        Err(error) => return Err(error),
    }
    for told in &told {
        tracing::info!(
            session = envelope.session.as_str(),
            id = id.as_str(),
            original = envelope.id.as_str(),
            sender = envelope.sender.as_str(),
            recipient = told.recipient.address.as_str(),
            action = told.action.as_str(),
            "sender is told"
        );
    }
    Ok(Some(id))
}

/// Who is told. Nobody where the sender is the null sender (RFC 5321 section 6.1), which a notice has itself, or none that
/// mail can be sent to.
fn sender(envelope: &Envelope) -> Option<Mailbox> {
    let sender = Some(&envelope.sender).filter(|_| envelope.notice_of.is_none())?;
    Mailbox::parse_utf8(sender).ok().filter(|_| !sender.chars().any(char::is_control))
}

/// Whoever looks for a message finds here where it ended.
fn note_untold(envelope: &Envelope, reports: &[(usize, Report)]) {
    for (index, report) in reports {
        let (Report::Failed(failure), Some(recipient)) = (report, envelope.recipients.get(*index)) else { continue };
        tracing::warn!(
            session = envelope.session.as_str(),
            id = envelope.id.as_str(),
            sender = envelope.sender.as_str(),
            recipient = recipient.address.as_str(),
            status = failure.status.as_str(),
            error = failure.text.as_str(),
            "double bounce, nobody is told"
        );
    }
}

fn told<'a>(envelope: &'a Envelope, reports: &'a [(usize, Report)]) -> Vec<Told<'a>> {
    let told = |(index, report): &'a (usize, Report)| {
        let recipient = envelope.recipients.get(*index)?;
        Some(Told { index: *index, recipient, action: wish::action(recipient, report)?, report })
    };
    let mut told: Vec<_> = reports.iter().filter_map(told).collect();
    told.sort_by_key(|told| told.index);
    told
}

/// The same for the same message and the same to be told, so that the second of two finds the first.
fn id(original: &MessageId, told: &[Told<'_>]) -> io::Result<MessageId> {
    let mut digest = Sha256::new();
    digest.update(original.as_str());
    for told in told {
        digest.update(format!("\n{} {}", told.index, told.action.as_str()));
    }
    let kind = told.iter().map(|told| told.action).max().map_or("n", |gravest| match gravest {
        Action::Failed => "f",
        Action::Delayed => "d",
        Action::Delivered | Action::Relayed => "s",
    });
    let digest: String = digest.finalize().iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    let short = digest.get(..12).unwrap_or_default();
    let id = format!("{original}.{kind}{short}").parse();
    id.or_else(|_| format!("{kind}.{digest}").parse()).map_err(io::Error::other)
}

fn notice_envelope(subject: &Subject<'_>, sender: &Mailbox, eight_bit: bool) -> Envelope {
    let original = subject.envelope;
    let parameter = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    let mut parameters = Vec::new();
    parameters.extend(eight_bit.then(|| parameter("BODY", Some("8BITMIME"))));
    parameters.extend(subject.is_utf8().then(|| parameter("SMTPUTF8", None)));
    // RFC 8689 section 5: what tells of the message is kept as the message is.
    parameters.extend(wish::requires_tls(original).then(|| parameter("REQUIRETLS", None)));
    parameters.extend(wish::priority(original).map(|priority| parameter("MT-PRIORITY", Some(priority))));
    let domain = sender.domain().to_string();
    // As routes have it; what is no domain name is left as it is, and matches nothing.
    let routed = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3);
    let recipient = Recipient {
        address: sender.to_string(),
        local: sender.local().to_owned(),
        domain: routed.map_or_else(|_| domain.clone(), |name| name.to_ascii_lowercase()),
        postmaster: sender.local().eq_ignore_ascii_case("postmaster"),
        // RFC 3461 section 6.1 (c).
        parameters: vec![parameter("NOTIFY", Some("NEVER"))],
        refused: None,
    };
    Envelope {
        id: subject.id.clone(),
        session: original.session.clone(),
        received: subject.now,
        listener: original.listener.clone(),
        hostname: subject.hostname.to_owned(),
        peer: String::new(),
        client: "unknown".to_owned(),
        helo: None,
        protocol: if subject.is_utf8() { "UTF8SMTP" } else { "ESMTP" }.to_owned(),
        sender: String::new(),
        parameters,
        recipients: vec![recipient],
        connection: BTreeMap::new(),
        message: BTreeMap::new(),
        quarantined: None,
        client_name: None,
        client_port: None,
        notice_of: Some(original.id.clone()),
    }
}

/// Writes a notice and makes it durable; what comes back of the original goes from file to file.
async fn write(
    spool: &Spool,
    stored: &Arc<Stored>,
    original: &Original,
    frame: &Frame,
    envelope: Envelope,
) -> io::Result<()> {
    let mut draft = spool.begin(envelope.id.clone());
    draft.write(frame.head.as_bytes()).await.map_err(source)?;
    if original.whole {
        let mut at = 0;
        while at < stored.content_len {
            let chunk = read(stored, move |stored| {
                let mut chunk = Vec::new();
                stored.content_from(at).take(CHUNK).read_to_end(&mut chunk).map(|_| chunk)
            });
            let chunk = chunk.await?;
            at = at.saturating_add(CHUNK);
            draft.write(&chunk).await.map_err(source)?;
        }
    } else {
        draft.write(&original.header).await.map_err(source)?;
    }
    draft.write(frame.tail.as_bytes()).await.map_err(source)?;
    draft.commit(envelope).await.map_err(source)
}

/// Reads of a message where it may block.
async fn read<T: Send + 'static>(
    stored: &Arc<Stored>,
    work: impl FnOnce(&Stored) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let stored = Arc::clone(stored);
    tokio::task::spawn_blocking(move || work(&stored)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn source(error: SpoolError) -> io::Error {
    match error {
        SpoolError::Full(error) | SpoolError::Io(error) => error,
    }
}

/// Octets read at once.
const CHUNK: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
