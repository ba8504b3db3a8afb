//! What the log says of attempts and of how messages end.

use std::time::{Duration, UNIX_EPOCH};

use super::index::{Change, Start};
use super::schedule::{self, Now};
use crate::observe::timestamp;
use crate::spool::{Envelope, Failure, Outcome, Receipt, Stored};

pub(super) fn log_outcomes(
    stored: &Stored,
    start: &Start,
    outcomes: &[(usize, Outcome)],
    kept: bool,
    now: Now,
    next: schedule::Tick,
) {
    let envelope = &stored.envelope;
    for (index, outcome) in outcomes {
        match outcome {
            Outcome::Delivered(receipt) if kept => log_delivered(envelope, *index, start.number, receipt, now),
            Outcome::Failed(failure) if kept => log_failed(envelope, *index, start.number, failure),
            Outcome::Deferred(failure) => log_deferred(envelope, *index, start, failure, now, next),
            Outcome::Delivered(_) | Outcome::Failed(_) => {}
        }
    }
}

fn address(envelope: &Envelope, index: usize) -> &str {
    envelope.recipients.get(index).map_or("", |recipient| recipient.address.as_str())
}

fn log_delivered(envelope: &Envelope, index: usize, attempts: u32, receipt: &Receipt, now: Now) {
    tracing::info!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        recipient = address(envelope, index),
        to = receipt.to.as_str(),
        remote = receipt.remote.as_deref(),
        reply = receipt.reply.as_deref(),
        attempts,
        delay_ms = now.wall.saturating_sub(envelope.received),
        "delivered"
    );
}

fn log_deferred(envelope: &Envelope, index: usize, start: &Start, failure: &Failure, now: Now, next: schedule::Tick) {
    let next = timestamp(UNIX_EPOCH + Duration::from_millis(now.wall_at(next).min(LAST_TIME)));
    tracing::warn!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        recipient = address(envelope, index),
        to = &*start.destination,
        status = failure.status.as_str(),
        error = failure.text.as_str(),
        remote = failure.remote.as_deref(),
        reply = failure.reply.as_deref(),
        attempts = start.number,
        next = &*next,
        "delivery deferred"
    );
}

pub(super) fn log_failed(envelope: &Envelope, index: usize, attempts: u32, failure: &Failure) {
    tracing::warn!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        recipient = address(envelope, index),
        status = failure.status.as_str(),
        error = failure.text.as_str(),
        remote = failure.remote.as_deref(),
        reply = failure.reply.as_deref(),
        attempts,
        "delivery failed"
    );
}

pub(super) fn log_expired(envelope: &Envelope, now: Now) {
    tracing::warn!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        age_ms = now.wall.saturating_sub(envelope.received),
        "message expired"
    );
}

pub(super) fn log_ended(envelope: &Envelope, now: Now) {
    tracing::info!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        age_ms = now.wall.saturating_sub(envelope.received),
        "message ended"
    );
}

pub(super) fn log_change(change: Option<Change>) {
    match change {
        Some(Change::Rests(destination, reason)) => {
            tracing::warn!(destination = &*destination, error = reason.text.as_str(), "destination rests");
        }
        Some(Change::Serves(destination)) => tracing::info!(destination = &*destination, "destination serves again"),
        None => {}
    }
}

/// The end of the year 9999, in milliseconds since 1970.
const LAST_TIME: u64 = 253_402_300_799_999;
