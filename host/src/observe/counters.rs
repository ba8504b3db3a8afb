//! What is counted from start to end of the process. A reload changes nothing here.

use super::CandidateCounters;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All counters of the server. They only grow, and wrap after 2⁶⁴.
#[derive(Debug, Default)]
pub struct Counters {
    sessions_opened: AtomicU64,
    sessions_closed: AtomicU64,
    connections_refused: AtomicU64,
    proxy_headers_refused: AtomicU64,
    handshakes_failed: AtomicU64,
    messages_accepted: AtomicU64,
    recipients_refused: AtomicU64,
    logins_failed: AtomicU64,
    limits_reached: Mutex<BTreeMap<String, u64>>,
    extensions: Mutex<BTreeMap<(String, String), Arc<ExtensionCounters>>>,
    candidates: Mutex<BTreeMap<(String, String), Tried>>,
}

/// The counters of a candidate, and the digest of the component that they are of.
type Tried = ([u8; 32], Arc<CandidateCounters>);

impl Counters {
    /// A session began.
    pub fn session_opened(&self) {
        add_one(&self.sessions_opened);
    }

    /// A session ended, however it did.
    pub fn session_closed(&self) {
        add_one(&self.sessions_closed);
    }

    /// A connection was turned away at the door because of a limit.
    pub fn connection_refused(&self) {
        add_one(&self.connections_refused);
    }

    /// A proxy sent a bad PROXY header, none, or sent it too late.
    pub fn proxy_header_refused(&self) {
        add_one(&self.proxy_headers_refused);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {
        add_one(&self.handshakes_failed);
    }

    /// A message got its 250.
    pub fn message_accepted(&self) {
        add_one(&self.messages_accepted);
    }

    /// A recipient was refused, for now or for good.
    pub fn recipient_refused(&self) {
        add_one(&self.recipients_refused);
    }

    /// AUTH did not succeed.
    pub fn login_failed(&self) {
        add_one(&self.logins_failed);
    }

    /// A limit was reached; `limit` is its key.
    pub fn limit_reached(&self, limit: &str) {
        add_named(&self.limits_reached, limit);
    }

    /// The counters of an extension on a listener, to be kept by whoever calls it there: the same ones for the same
    /// names, over reloads too.
    pub fn extension(&self, extension: &str, listener: &str) -> Arc<ExtensionCounters> {
        let key = (extension.to_owned(), listener.to_owned());
        Arc::clone(lock(&self.extensions).entry(key).or_default())
    }

    /// The counters of a candidate for an extension on a listener, to be kept by whoever asks it there: the same ones
    /// over reloads too as long as it is the same component, for what another did says nothing of this one.
    pub fn candidate(&self, extension: &str, listener: &str, print: [u8; 32]) -> Arc<CandidateCounters> {
        let key = (extension.to_owned(), listener.to_owned());
        let mut candidates = lock(&self.candidates);
        let (of, counters) = candidates.entry(key).or_default();
        if *of != print {
            (*of, *counters) = (print, Arc::default());
        }
        Arc::clone(counters)
    }

    /// All of them as they are now; not one instant for all.
    pub fn snapshot(&self) -> Snapshot {
        let opened = read(&self.sessions_opened);
        Snapshot {
            sessions_opened: opened,
            // Read one after the other: one more may have ended than had begun.
            sessions_open: opened.saturating_sub(read(&self.sessions_closed)),
            connections_refused: read(&self.connections_refused),
            proxy_headers_refused: read(&self.proxy_headers_refused),
            handshakes_failed: read(&self.handshakes_failed),
            messages_accepted: read(&self.messages_accepted),
            recipients_refused: read(&self.recipients_refused),
            logins_failed: read(&self.logins_failed),
            limits_reached: lock(&self.limits_reached).clone(),
            extensions: lock(&self.extensions)
                .iter()
                .map(|((extension, listener), counters)| counters.snapshot(extension, listener))
                .collect(),
        }
    }
}

/// What is counted for one extension on one listener.
#[derive(Debug, Default)]
pub struct ExtensionCounters {
    calls: AtomicU64,
    instances: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
    denials: Mutex<BTreeMap<String, u64>>,
    series: Mutex<BTreeMap<String, u64>>,
}

/// Series of its own that one extension may keep on one listener.
const SERIES: usize = 200;

impl ExtensionCounters {
    /// A hook of it was called.
    pub fn called(&self) {
        add_one(&self.calls);
    }

    /// An instance of it was made; it is counted until what is returned is dropped.
    pub fn instance(self: &Arc<Self>) -> Alive {
        add_one(&self.instances);
        Alive(Arc::clone(self))
    }

    /// A call of it failed. `kind` is one of a fixed set of names: a trap, a limit passed, a malformed answer.
    pub fn failed(&self, kind: &str) {
        add_named(&self.failures, kind);
    }

    /// It asked for something of `capability` that its grant does not cover.
    pub fn denied(&self, capability: &str) {
        add_named(&self.denials, capability);
    }

    /// It adds to a counter of its own. Whether there was room for one more, if this one is new.
    pub fn counted(&self, series: &str, by: u64) -> bool {
        let mut counts = lock(&self.series);
        let room = counts.len() < SERIES;
        match counts.get_mut(series) {
            // A number that a guest chose must not begin anew.
            Some(count) => *count = count.saturating_add(by),
            None if room => {
                counts.insert(series.to_owned(), by);
            }
            None => return false,
        }
        true
    }

    /// What was counted, by these names.
    pub fn snapshot(&self, extension: &str, listener: &str) -> ExtensionSnapshot {
        ExtensionSnapshot {
            extension: extension.to_owned(),
            listener: listener.to_owned(),
            calls: read(&self.calls),
            instances: read(&self.instances),
            failures: lock(&self.failures).clone(),
            denials: lock(&self.denials).clone(),
            series: lock(&self.series).clone(),
        }
    }
}

/// An instance of an extension that is alive.
#[derive(Debug)]
pub struct Alive(Arc<ExtensionCounters>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Sessions since the start.
    pub sessions_opened: u64,
    /// Sessions there are now.
    pub sessions_open: u64,
    /// Connections turned away because of a limit.
    pub connections_refused: u64,
    /// Connections of proxies closed because of their PROXY header.
    pub proxy_headers_refused: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Messages that got their 250.
    pub messages_accepted: u64,
    /// Recipients refused.
    pub recipients_refused: u64,
    /// Exchanges of AUTH that did not succeed.
    pub logins_failed: u64,
    /// How often a limit of a session was reached, by its key.
    pub limits_reached: BTreeMap<String, u64>,
    /// For each extension on each listener, by name.
    pub extensions: Vec<ExtensionSnapshot>,
}

/// The counters of one extension on one listener at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExtensionSnapshot {
    /// The extension's name.
    pub extension: String,
    /// The listener's name.
    pub listener: String,
    /// Calls of its hooks.
    pub calls: u64,
    /// Instances of it alive now.
    pub instances: u64,
    /// Failed calls, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Denials, by capability.
    pub denials: BTreeMap<String, u64>,
    /// Its own counters: `name{label="value",…}`.
    pub series: BTreeMap<String, u64>,
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add_named(counts: &Mutex<BTreeMap<String, u64>>, name: &str) {
    let mut counts = lock(counts);
    match counts.get_mut(name) {
        Some(count) => *count = count.wrapping_add(1),
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// Nothing under these locks can be left half done, so a panic elsewhere does not spoil the value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counts_are_kept_by_extension_and_listener() {
        let counters = Counters::default();
        counters.session_opened();
        counters.session_opened();
        counters.session_closed();
        counters.message_accepted();
        counters.login_failed();
        counters.limit_reached("errors");
        counters.limit_reached("errors");
        let edge = counters.extension("xclient", "edge");
        edge.called();
        edge.denied("identity");
        edge.denied("identity");
        edge.failed("trap");
        assert!(edge.counted("seen", 2));
        assert!(counters.extension("xclient", "edge").counted("seen", 3));
        // A reload asks again and goes on counting.
        counters.extension("xclient", "edge").called();
        counters.extension("xclient", "inside").called();
        let tried = counters.candidate("xclient", "edge", [1; 32]);
        tried.compared(true);
        tried.compared(false);
        assert_eq!(counters.candidate("xclient", "edge", [1; 32]).comparisons(), (2, 1));
        assert_eq!(counters.candidate("xclient", "edge", [2; 32]).comparisons(), (0, 0));
        let _alive = edge.instance();
        drop(edge.instance());

        assert_eq!(
            serde_json::to_value(counters.snapshot()).unwrap(),
            serde_json::json!({
                "sessions_opened": 2, "sessions_open": 1, "connections_refused": 0, "proxy_headers_refused": 0,
                "handshakes_failed": 0, "messages_accepted": 1, "recipients_refused": 0, "logins_failed": 1,
                "limits_reached": {"errors": 2},
                "extensions": [
                    {"extension": "xclient", "listener": "edge", "calls": 2, "instances": 1,
                     "failures": {"trap": 1}, "denials": {"identity": 2}, "series": {"seen": 5}},
                    {"extension": "xclient", "listener": "inside", "calls": 1, "instances": 0,
                     "failures": {}, "denials": {}, "series": {}},
                ],
            })
        );
    }

    #[test]
    fn series_are_bounded_and_saturate() {
        let counters = ExtensionCounters::default();
        assert!((0..SERIES).all(|number| counters.counted(&format!("n{number}"), 1)));
        assert!(!counters.counted("one_more", 1));
        assert!(counters.counted("n7", u64::MAX));
        let series = counters.snapshot("a", "b").series;
        assert_eq!((series.len(), series["n7"], series["n8"]), (SERIES, u64::MAX, 1));
    }
}
