//! Certificates that are replaced while the server runs, and those that ought to be.
//!
//! Whatever renews them writes files and tells nobody, so their files are looked at. What cannot be used never takes the
//! place of what can. The room says what happened in the log; who is to mend it is not known here.

use super::Acceptor;
use super::certificate::{self, Standing, TlsError, Validity};
use super::client::Clients;
use super::files::Look;
use super::served::{self, Served};
use crate::{config, observe};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// What came of a look at the files. Nothing where it is all as at the look before.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// The certificates that are presented from now on and were not before.
    pub certificates: Vec<Validity>,
    /// Whether other authorities stand behind clients from now on.
    pub authorities: bool,
    /// What cannot be used as it is, while what was there before still is. Said once for files that stay as they are;
    /// [`Acceptor::renewal_errors`] keeps it.
    pub failures: Vec<TlsError>,
}

/// What the last look found. Each pair stands on its own, and the authorities do: a renewal that went wrong for one name
/// is no reason to let the certificate of another expire.
#[derive(Debug)]
pub(super) struct Renewal {
    pairs: Vec<Part>,
    authorities: Part,
}

impl Renewal {
    /// For files that are about to be read for the first time.
    pub(super) fn new(tls: &config::Tls, now: SystemTime) -> Renewal {
        let pairs = tls.certificates.iter().map(|pair| Part::new(Look::at(files(pair)), now));
        Renewal { pairs: pairs.collect(), authorities: Part::new(Look::at(authorities(tls)), now) }
    }
}

/// Files that are of use only together.
#[derive(Debug)]
struct Part {
    look: Look,
    /// Whether it need not be repeated while the files look the same.
    settled: bool,
    /// Why what is in them is not in use.
    error: Option<String>,
}

impl Part {
    fn new(look: Look, now: SystemTime) -> Part {
        Part { settled: look.settled(now), look, error: None }
    }

    /// Reads the files if they were written since; none where they were not, or the error is known. `look` was taken
    /// before, so that what is written in between is seen the next time.
    fn refresh<T>(
        &mut self,
        look: Look,
        now: SystemTime,
        read: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<Option<T>, TlsError> {
        let unchanged = look == self.look;
        if unchanged && self.settled {
            return Ok(None);
        }
        let read = read();
        // One that is to hold later is not written again when it does.
        self.settled = look.settled(now) && !read.as_ref().is_err_and(TlsError::passes);
        self.look = look;
        match read {
            Ok(new) => {
                self.error = None;
                Ok(Some(new))
            }
            Err(error) => {
                let text = Some(observe::chain(&error));
                let known = unchanged && self.error == text;
                self.error = text;
                if known { Ok(None) } else { Err(error) }
            }
        }
    }
}

impl Acceptor {
    /// Reads anew what was written since, and presents what is in it from the next handshake on. It waits for the disk,
    /// and is cheap while nothing was written.
    pub fn refresh(&self) -> Refreshed {
        let (now, tls) = (self.now(), &self.0.tls);
        let mut renewal = self.0.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.served.load_full();
        let (mut pairs, mut clients) = (before.pairs.clone(), before.clients.clone());
        let (provider, mut refreshed) = (served::provider(), Refreshed::default());
        let parts = renewal.pairs.iter_mut().zip(&mut pairs);
        for (index, (pair, (part, served))) in tls.certificates.iter().zip(parts).enumerate() {
            let read = || certificate::load(index, pair, &provider)?.no_worse_than(&served.validity, index, now);
            match part.refresh(Look::at(files(pair)), now, read) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    if new.validity != served.validity {
                        refreshed.certificates.push(new.validity.clone());
                    }
                    *served = new;
                }
                Err(error) => refreshed.failures.push(error),
            }
        }
        match renewal.authorities.refresh(Look::at(authorities(tls)), now, || Clients::load(tls, &provider)) {
            Ok(None) => {}
            Ok(Some(new)) => {
                let told = |clients: &Option<Arc<Clients>>| clients.as_ref().map(|clients| clients.authorities.clone());
                refreshed.authorities = told(&new) != told(&clients);
                clients = new;
            }
            Err(error) => refreshed.failures.push(error),
        }
        if refreshed.authorities || !refreshed.certificates.is_empty() {
            match Served::of(pairs, clients, &self.0.clock) {
                Ok(after) => self.0.served.store(Arc::new(after)),
                Err(error) => {
                    // Nothing of it is presented, so all of it is for the next look.
                    renewal.pairs.iter_mut().for_each(|part| part.settled = false);
                    renewal.authorities.settled = false;
                    refreshed = Refreshed { failures: vec![error], ..Refreshed::default() };
                }
            }
        }
        refreshed
    }

    /// Why what is in the files is not presented, where it is not: a line for each pair, and for the authorities.
    pub fn renewal_errors(&self) -> Vec<String> {
        let renewal = self.0.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        renewal.pairs.iter().chain([&renewal.authorities]).filter_map(|part| part.error.clone()).collect()
    }
}

fn files(pair: &config::Certificate) -> impl Iterator<Item = &Path> {
    [&*pair.chain, &*pair.key].into_iter()
}

fn authorities(tls: &config::Tls) -> impl Iterator<Item = &Path> {
    tls.client_authorities.iter().map(|file| &**file)
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
            let Refreshed { certificates, authorities, failures } = acceptor.refresh();
            told.extend(certificates.iter().cloned().map(What::Renewed));
            told.extend(authorities.then_some(What::Authorities));
            told.extend(failures.iter().map(|error| What::NotRenewed(observe::chain(error))));
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
                let news = before.map_or(certificates.contains(validity), |before| before != *standing);
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
