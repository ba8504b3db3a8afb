//! Certificates that are replaced while the server runs, and those that ought to be.
//!
//! Whatever renews them writes files and tells nobody, so their files are looked at. What cannot be used never takes the
//! place of what can. The room says what happened in the log; who is to mend it is not known here.

use super::Acceptor;
use super::certificate::{Standing, TlsError, Validity};
use super::files::Look;
use super::served::Served;
use crate::{config, observe};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// What came of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// What is in them is what is presented, or what was said to be unusable at an earlier look.
    Same,
    /// What is in them is presented from now on, and no session of before can be resumed. Named are the certificates that
    /// were not presented before: none where only the authorities for clients changed.
    Changed(Vec<Validity>),
}

/// What the last look found.
#[derive(Debug)]
pub(super) struct Renewal {
    look: Look,
    /// Whether it need not be repeated while the files look the same.
    settled: bool,
    /// Why what is in them is not presented.
    error: Option<String>,
}

impl Renewal {
    /// For files that are about to be read for the first time.
    pub(super) fn new(tls: &config::Tls, now: SystemTime) -> Renewal {
        let look = Look::at(files(tls));
        Renewal { settled: look.settled(now), look, error: None }
    }
}

impl Acceptor {
    /// Reads the files anew if they were written since, and presents what is in them from the next handshake on. It
    /// waits for the disk, and is cheap while nothing was written.
    ///
    /// # Errors
    /// They cannot be used as they are, and what was presented still is. The same error is not given twice for files
    /// that stayed as they were; [`Acceptor::last_renewal_error`] keeps it.
    pub fn refresh(&self) -> Result<Refreshed, TlsError> {
        let now = self.now();
        let mut renewal = self.0.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before they are read, so that what is written in between is seen the next time.
        let look = Look::at(files(&self.0.tls));
        let unchanged = look == renewal.look;
        if unchanged && renewal.settled {
            return Ok(Refreshed::Same);
        }
        let before = self.0.served.load_full();
        let read = Served::load(&self.0.tls, &self.0.clock).and_then(|after| after.no_worse_than(&before, now));
        // One that is to hold later is not written again when it does.
        renewal.settled = look.settled(now) && !read.as_ref().is_err_and(TlsError::passes);
        renewal.look = look;
        match read {
            Ok(after) => {
                renewal.error = None;
                if after.fingerprint == before.fingerprint {
                    return Ok(Refreshed::Same);
                }
                let new = after.validity.iter().filter(|validity| !before.validity.contains(validity));
                let new = new.cloned().collect();
                self.0.served.store(Arc::new(after));
                Ok(Refreshed::Changed(new))
            }
            Err(error) => {
                let text = Some(observe::chain(&error));
                let known = unchanged && renewal.error == text;
                renewal.error = text;
                if known { Ok(Refreshed::Same) } else { Err(error) }
            }
        }
    }

    /// Why what is in the files is not presented, if it is not: the error of the last [`Acceptor::refresh`] that read
    /// them, in one line.
    pub fn last_renewal_error(&self) -> Option<String> {
        self.0.renewal.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }
}

fn files(tls: &config::Tls) -> impl Iterator<Item = &Path> {
    let pairs = tls.certificates.iter().flat_map(|pair| [&*pair.chain, &*pair.key]);
    pairs.chain(tls.client_authorities.iter().map(|file| &**file))
}

/// Looks after the certificates of `acceptors`, given by listener, each `interval` (not zero) until `stop` says true:
/// refreshes them, and logs what was renewed, what could not be, and what is about to expire or has.
///
/// How a certificate stands when it is first seen is not logged: whoever loaded it knows.
pub async fn watch(
    acceptors: impl Fn() -> Vec<(String, Acceptor)>,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut watcher = Watcher::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let acceptors = acceptors();
        let looked = tokio::task::spawn_blocking(move || {
            let events = watcher.look(&acceptors);
            (watcher, events)
        });
        match looked.await {
            Ok((kept, events)) => {
                watcher = kept;
                events.iter().for_each(Event::log);
            }
            Err(error) if error.is_cancelled() => return,
            // It was logged where it happened, and must not be the last look.
            Err(_) => watcher = Watcher::default(),
        }
    }
}

/// What is known of each listener's certificates.
#[derive(Debug, Default)]
pub(super) struct Watcher(BTreeMap<String, Vec<(Validity, Standing)>>);

impl Watcher {
    /// Looks once.
    pub(super) fn look(&mut self, acceptors: &[(String, Acceptor)]) -> Vec<Event> {
        let mut events = Vec::new();
        self.0.retain(|name, _| acceptors.iter().any(|(listener, _)| listener == name));
        for (listener, acceptor) in acceptors {
            let mut told = Vec::new();
            let changed = match acceptor.refresh() {
                Ok(Refreshed::Same) => false,
                Ok(Refreshed::Changed(new)) => {
                    if new.is_empty() {
                        told.push(What::Authorities);
                    }
                    told.extend(new.into_iter().map(What::Renewed));
                    true
                }
                Err(error) => {
                    told.push(What::NotRenewed(observe::chain(&error)));
                    false
                }
            };
            let known = self.0.remove(listener).unwrap_or_default();
            let now = acceptor.now();
            let standing = acceptor.validity().into_iter().map(|validity| {
                let standing = validity.standing(now);
                (validity, standing)
            });
            let standing: Vec<_> = standing.collect();
            let before =
                |validity: &Validity| known.iter().find(|(old, _)| old == validity).map(|(_, standing)| *standing);
            for (validity, standing) in &standing {
                let before = before(validity);
                let news = before.map_or(changed, |before| before != *standing);
                match standing {
                    Standing::Ageing if news => told.push(What::Ageing(validity.clone(), validity.days_left(now))),
                    Standing::Expired if news => told.push(What::Expired(validity.clone())),
                    _ => {}
                }
            }
            events.extend(told.into_iter().map(|what| Event { listener: listener.clone(), what }));
            self.0.insert(listener.clone(), standing);
        }
        events
    }
}

/// Something to log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) listener: String,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Renewed(Validity),
    Authorities,
    NotRenewed(String),
    Ageing(Validity, i64),
    Expired(Validity),
}

impl Event {
    fn log(&self) {
        let listener = &*self.listener;
        let told = |validity: &Validity| {
            (validity.chain.to_string_lossy().into_owned(), observe::timestamp(validity.not_after))
        };
        match &self.what {
            What::Renewed(validity) => {
                let (chain, not_after) = told(validity);
                tracing::info!(listener, chain = &*chain, not_after = &*not_after, "certificate renewed");
            }
            What::Authorities => tracing::info!(listener, "client authorities changed"),
            What::NotRenewed(error) => {
                tracing::error!(listener, error = &**error, "certificate not renewed, the old one stays");
            }
            What::Ageing(validity, days) => {
                let (chain, not_after) = told(validity);
                tracing::warn!(listener, chain = &*chain, not_after = &*not_after, days, "certificate expires soon");
            }
            What::Expired(validity) => {
                let (chain, not_after) = told(validity);
                tracing::warn!(listener, chain = &*chain, not_after = &*not_after, "certificate has expired");
            }
        }
    }
}
