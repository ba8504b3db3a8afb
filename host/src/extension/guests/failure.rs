//! What the log, the counters and the peer hear of a call that failed, or of a verdict that was not granted.

use crate::config::OnFailure;
use crate::extension::call::Failure;
use crate::extension::interface::Hook;
use crate::extension::load::Linked;
use crate::extension::verdict::{Ruled, Verdict};
use crate::session::facts::Facts;
use pillarbox_smtp::reply;

/// A verdict outside the grant was taken as `next`.
pub(super) fn note_outside(linked: &Linked, facts: &Facts, hook: Hook, ruled: &Ruled) {
    if let Some(verdict) = ruled.outside {
        let _tagged = linked.span().entered();
        linked.counters.denied("verdict");
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

/// A call failed, and the extension's `on-failure` says what comes of it.
pub(super) fn failed(linked: &Linked, facts: &Facts, hook: Hook, failure: &Failure) -> Verdict {
    note_failure(linked, facts, hook, failure);
    let at_connect = hook == Hook::Connect;
    match linked.on_failure {
        OnFailure::Skip => Verdict::Next,
        OnFailure::Tempfail if at_connect => Verdict::Refuse(reply::extension_failed_at_connect()),
        OnFailure::Tempfail => Verdict::Refuse(reply::extension_failed()),
        OnFailure::Reject if at_connect => Verdict::Refuse(reply::policy_reject_at_connect()),
        OnFailure::Reject => Verdict::Refuse(reply::policy_reject()),
        OnFailure::Disconnect => Verdict::Refuse(reply::extension_failed_at_connect().closing()),
    }
}

/// Logs and counts it.
pub(super) fn note_failure(linked: &Linked, facts: &Facts, hook: Hook, failure: &Failure) {
    let _tagged = linked.span().entered();
    linked.counters.failed(failure.kind());
    let (extension, listener) = (&*linked.name, &*linked.listener);
    let error = failure.to_string();
    tracing::error!(
        session = &*facts.id,
        extension,
        listener,
        hook = hook.name(),
        kind = failure.kind(),
        error = &*error,
        "extension failed"
    );
}
