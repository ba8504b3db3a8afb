//! What is loaded, in words: for `check`, for `status` and for the log. It decides nothing.

use super::breaker::{Breaker, Standing};
use super::interface::Hook;
use super::load::{Digest, Linked};
use super::roster::Entry;
use crate::config::{RecipientPattern, Use};
use crate::observe::CandidateCounters;
use std::sync::Arc;

/// What one extension is on one listener, in words.
#[derive(Clone, Debug)]
pub struct Row {
    /// The listener.
    pub listener: String,
    /// The extension.
    pub extension: String,
    /// The component.
    pub digest: Digest,
    /// The hooks that are asked.
    pub hooks: Vec<&'static str>,
    /// The verbs it declared.
    pub verbs: Vec<String>,
    /// What it was granted.
    pub grants: String,
    /// What it may answer.
    pub verdicts: Vec<&'static str>,
    /// For whom it is there: whose sessions, and whose mail.
    pub peers: String,
    breaker: Arc<Breaker>,
    /// What is tried beside it, or in some of its sessions.
    pub candidate: Option<CandidateRow>,
}

/// What a candidate is on one listener, in words.
#[derive(Clone, Debug)]
pub struct CandidateRow {
    /// The component.
    pub digest: Digest,
    /// How it is tried: `shadow`, or `canary` with what narrows it.
    pub trial: String,
    /// The hooks that are asked.
    pub hooks: Vec<&'static str>,
    /// What it was granted.
    pub grants: String,
    /// What is counted.
    pub counters: Arc<CandidateCounters>,
}

impl Row {
    /// What this entry is on this listener.
    pub(super) fn new(listener: &str, used: &Use, entry: &Entry) -> Row {
        let Linked { grant, digest, .. } = &*entry.linked;
        let v = &grant.verdicts;
        let verdicts = [
            ("accept", v.accept),
            ("tempfail", v.tempfail),
            ("reject", v.reject),
            ("disconnect", v.disconnect),
            ("discard", v.discard),
            ("quarantine", v.quarantine),
        ];
        let networks = |nets: &Vec<ipnet::IpNet>| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let peers = used.peers.as_ref().map_or_else(|| "everybody".to_owned(), networks);
        let of =
            |patterns: &Vec<RecipientPattern>| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Row {
            listener: listener.to_owned(),
            extension: used.extension.clone(),
            digest: *digest,
            hooks: entry.hooks.iter().map(|hook: &Hook| hook.name()).collect(),
            verbs: entry.declared.verbs.keys().cloned().collect(),
            grants: grant.to_string(),
            verdicts: verdicts.into_iter().filter(|(_, granted)| *granted).map(|(name, _)| name).collect(),
            peers: used.recipients.as_ref().map_or(peers.clone(), |them| format!("{peers}, recipients {}", of(them))),
            breaker: entry.linked.breaker.clone(),
            candidate: entry.candidate.as_ref().map(|candidate| CandidateRow {
                digest: candidate.entry.linked.digest,
                trial: candidate.trial.to_string(),
                hooks: candidate.entry.hooks.iter().map(|hook: &Hook| hook.name()).collect(),
                grants: candidate.entry.linked.grant.to_string(),
                counters: candidate.counters.clone(),
            }),
        }
    }

    /// Whether the extension is called at the moment.
    pub fn breaker(&self) -> Standing {
        self.breaker.standing(tokio::time::Instant::now())
    }
}
