//! What the log, the counters and the peer hear of a call that failed, or of a verdict that was not granted.

use crate::config::OnFailure;
use crate::extension::breaker::{Change, Pass};
use crate::extension::call::Failure;
use crate::extension::interface::Hook;
use crate::extension::load::Linked;
use crate::extension::verdict::{Ruled, Verdict};
use crate::session::change;
use crate::session::envelope::Transaction;
use crate::session::facts::Facts;
use pillarbox_smtp::reply;
use tokio::time::Instant;

/// A verdict outside the grant was taken as `next`.
pub(super) fn note_outside(linked: &Linked, facts: &Facts, hook: Hook, ruled: &Ruled) {
    if let Some(verdict) = ruled.outside {
        let _tagged = linked.span().entered();
        linked.counters.denied("verdict");
        if !linked.admits_line() {
            return;
        }
        let (extension, listener) = (&*linked.name, &*linked.listener);
        tracing::warn!(
            session = &*facts.id,
            extension,
            listener,
            hook = hook.name(),
            verdict,
            "verdict not granted, taken as next"
        );
    }
}

/// What is discarded is answered as if all were well: the log alone knows of it, and by whom.
pub(super) fn note_discard(linked: &Linked, facts: &Facts, hook: Hook) {
    let (session, extension, listener) = (&*facts.id, &*linked.name, &*linked.listener);
    let recipients = match hook {
        Hook::Recipient => facts.transaction.iter().filter_map(|it| it.candidate.as_ref()).collect::<Vec<_>>(),
        _ => facts.transaction.iter().flat_map(Transaction::present).collect(),
    };
    let theirs = recipients.into_iter().filter(|recipient| linked.tenant.covers(&recipient.name));
    let recipients = theirs.map(|recipient| &*recipient.address).collect::<Vec<_>>().join(" ");
    tracing::info!(session, extension, listener, hook = hook.name(), recipients, "discarded");
}

/// What an extension changed of the envelope and the header.
pub(super) fn note_changes(extension: &str, facts: &Facts, changes: &[change::Change]) {
    let session = &*facts.id;
    for edit in changes {
        match edit {
            change::Change::Envelope(edit) => {
                tracing::info!(session, extension, change = &*edit.to_string(), "envelope changed");
            }
            change::Change::Header(_) => tracing::info!(session, extension, "header changed"),
            _ => {}
        }
    }
}

/// A call failed, and the extension's `on-failure` says what comes of it.
pub(super) fn failed(linked: &Linked, facts: &Facts, hook: Hook, failure: &Failure) -> Verdict {
    note_failure(linked, facts, hook, failure);
    let at_connect = hook == Hook::Connect;
    match linked.on_failure.at(hook.name()) {
        OnFailure::Skip => Verdict::Next,
        OnFailure::Tempfail if at_connect => Verdict::Refuse(reply::extension_failed_at_connect()),
        OnFailure::Tempfail => Verdict::Refuse(reply::extension_failed()),
        OnFailure::Reject if at_connect => Verdict::Refuse(reply::policy_reject_at_connect()),
        OnFailure::Reject => Verdict::Refuse(reply::policy_reject()),
        OnFailure::Disconnect => Verdict::Refuse(reply::extension_failed_at_connect().closing()),
    }
}

/// Logs and counts it. What the breaker spares is only counted: the log has a line where it opened.
pub(super) fn note_failure(linked: &Linked, facts: &Facts, hook: Hook, failure: &Failure) {
    let _tagged = linked.span().entered();
    linked.counters.failed(failure.kind());
    let (panic, frames) = match failure {
        Failure::Breaker => return,
        // What opens no breaker is bounded here.
        other if !other.is_its_own() && !linked.admits_line() => return,
        Failure::Trap { panic, frames, .. } => (panic.as_ref(), Some(frames).filter(|frames| !frames.is_empty())),
        _ => (None, None),
    };
    let (extension, listener) = (&*linked.name, &*linked.listener);
    let error = failure.to_string();
    tracing::error!(
        session = &*facts.id,
        extension,
        listener,
        hook = hook.name(),
        kind = failure.kind(),
        error = &*error,
        panic = panic.map(|panic| &*panic.message),
        at = panic.map(|panic| &*panic.at),
        frames = frames.map(ToString::to_string),
        "extension failed"
    );
}

/// Tells the breaker how a call went, and the log what that changed.
pub(super) fn note_pass(linked: &Linked, pass: Pass, failure: Option<&Failure>) {
    let change = match failure {
        None => pass.succeeded(Instant::now()),
        Some(failure) if failure.is_its_own() => pass.failed(Instant::now()),
        // It says nothing of the extension.
        Some(_) => None,
    };
    let _tagged = linked.span().entered();
    let (extension, listener) = (&*linked.name, &*linked.listener);
    match change {
        None => {}
        Some(Change::Opened(pause)) => {
            let pause = format!("{pause:.1?}");
            tracing::warn!(extension, listener, pause, "extension keeps failing, it is left alone");
        }
        Some(Change::Closed) => tracing::info!(extension, listener, "extension works again"),
    }
}
