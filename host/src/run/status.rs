//! What the server says of itself: `status`, and what a reload changed.

use super::{Server, prepare::Prepared, queue, tables, users};
use crate::config::{self, Config};
use crate::control::{CandidateStatus, CertificateStatus, ExtensionStatus, ListenerStatus, SpoolStatus, Status};
use crate::extension::{CandidateRow, Row};
use crate::observe;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

impl Server {
    /// How the server is.
    pub(super) fn describe(&self) -> Status {
        let snapshot = self.counters.snapshot();
        let (sessions, bound) = match self.doors.try_lock() {
            Ok(doors) => (doors.sessions(), doors.bound()),
            // A reload is binding at this moment.
            Err(_) => (BTreeMap::new(), Vec::new()),
        };
        let serving = self.serving();
        let listeners = sessions.iter().map(|(name, sessions)| ListenerStatus {
            name: name.clone(),
            addresses: bound.iter().filter(|(of, _)| of == name).map(|(_, address)| *address).collect(),
            sessions: u64::try_from(*sessions).unwrap_or(u64::MAX),
        });
        let extensions = serving.now.prepared.loaded.rows.iter().map(|row| {
            let counted = snapshot
                .extensions
                .iter()
                .find(|counted| (&counted.extension, &counted.listener) == (&row.extension, &row.listener));
            let counted = counted.cloned().unwrap_or_default();
            let breaker = row.breaker();
            ExtensionStatus {
                name: row.extension.clone(),
                listener: row.listener.clone(),
                digest: row.digest.to_string(),
                generation: serving
                    .since
                    .get(&(row.extension.clone(), row.listener.clone()))
                    .copied()
                    .unwrap_or_default(),
                instances: counted.instances,
                calls: counted.calls,
                failures: counted.failures,
                denials: counted.denials,
                breaker: breaker.position.name().to_owned(),
                breaker_until: breaker.left.map(|left| observe::timestamp(SystemTime::now() + left)),
                breaker_opened: breaker.opened,
                candidate: row.candidate.as_ref().map(candidate_status),
                series: counted.series,
            }
        });
        let now = SystemTime::now();
        let certificates = serving.now.prepared.tls.iter().flat_map(|(listener, acceptor)| {
            acceptor.validity().into_iter().map(move |validity| CertificateStatus {
                listener: listener.clone(),
                chain: validity.chain.display().to_string(),
                not_after: observe::timestamp(validity.not_after),
                days_left: validity.days_left(now),
                standing: validity.standing(now).name().to_owned(),
            })
        });
        let renewal_errors = serving.now.prepared.tls.iter().filter_map(|(listener, acceptor)| {
            let errors = acceptor.renewal_errors();
            (!errors.is_empty()).then(|| (listener.clone(), errors.join("; ")))
        });
        let counts = self.queue.counts();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generations.borrow().number,
            rolled_back_from: serving.rolled_back_from,
            uptime_seconds: self.started.elapsed().as_secs(),
            config: serving.now.prepared.config.source.name.clone(),
            listeners: listeners.collect(),
            extensions: extensions.collect(),
            queue: self.spool.depth(),
            queue_held: counts.held,
            queue_oldest: counts.oldest.map(queue::moment),
            queue_oldest_seconds: counts.oldest.map(queue::age),
            destinations: queue::destinations(&counts),
            quarantined: self.spool.quarantined(),
            spool: self.spool_status(),
            messages_accepted: snapshot.messages_accepted,
            connections_refused: snapshot.connections_refused,
            recipients_refused: snapshot.recipients_refused,
            handshakes_failed: snapshot.handshakes_failed,
            proxy_headers_refused: snapshot.proxy_headers_refused,
            logins_failed: snapshot.logins_failed,
            limits_reached: snapshot.limits_reached,
            last_reload: serving.last_reload.clone(),
            certificates: certificates.collect(),
            renewal_errors: renewal_errors.collect(),
            users_errors: users::lock(&self.users_faults)
                .iter()
                .map(|(path, error)| (path.display().to_string(), error.clone()))
                .collect(),
        }
    }
}

impl Server {
    fn spool_status(&self) -> SpoolStatus {
        let room = self.spool.room();
        SpoolStatus {
            free_octets: room.octets,
            free_inodes: room.inodes,
            takes_mail: room.takes_mail,
            damaged: self.spool.damaged(),
            foreign: self.spool.foreign(),
        }
    }
}

fn candidate_status(row: &CandidateRow) -> CandidateStatus {
    let counted = row.counters.calls.snapshot("", "");
    let (compared, differed) = row.counters.comparisons();
    CandidateStatus {
        trial: row.trial.clone(),
        digest: row.digest.to_string(),
        instances: counted.instances,
        calls: counted.calls,
        failures: counted.failures,
        denials: counted.denials,
        compared,
        differed,
    }
}

/// Logs what each extension of a generation is granted, and its candidate.
pub(super) fn log_granted(rows: &[Row], number: u64) {
    for row in rows {
        let digest = row.digest.to_string();
        tracing::info!(
            generation = number,
            listener = &*row.listener,
            extension = &*row.extension,
            digest = digest.get(..16).unwrap_or_default(),
            grants = &*row.grants,
            verdicts = &*row.verdicts.join(" "),
            peers = &*row.peers,
            "granted"
        );
        if let Some(candidate) = &row.candidate {
            let digest = candidate.digest.to_string();
            tracing::info!(
                generation = number,
                listener = &*row.listener,
                extension = &*row.extension,
                candidate = &*candidate.trial,
                digest = digest.get(..16).unwrap_or_default(),
                grants = &*candidate.grants,
                "granted"
            );
        }
    }
}

/// What a reload changed, a line each.
pub(super) fn changes(before: &Prepared, new: &Prepared) -> Vec<String> {
    let (old, old_rows, old_tls, old_tables) = (&before.config, &before.loaded.rows, &before.tls, &before.tables);
    let mut lines = Vec::new();
    let listeners = |config: &Config| config.listeners.keys().cloned().collect::<BTreeSet<_>>();
    let (before, after) = (listeners(old), listeners(&new.config));
    lines.extend(after.difference(&before).map(|name| format!("listener {name}: new")));
    lines.extend(before.difference(&after).map(|name| format!("listener {name}: gone")));
    for (name, acceptor) in &new.tls {
        if old_tls.get(name).is_some_and(|before| before.fingerprint() != acceptor.fingerprint()) {
            lines.push(format!("listener {name}: certificates changed"));
        }
    }
    let find = |rows: &[Row], row: &Row| {
        rows.iter().find(|other| (&other.listener, &other.extension) == (&row.listener, &row.extension)).cloned()
    };
    // Debug text of plain values: equal exactly when they are.
    let entry = |config: &Config, row: &Row| {
        let listener = config.listeners.get(&row.listener)?;
        let used = listener.extensions.iter().find(|used| used.extension == row.extension)?;
        Some(format!("{:?}", (used.trust, used.limits)))
    };
    for row in &new.loaded.rows {
        let told = |row: &Row| row.candidate.as_ref().map(|candidate| (candidate.digest, candidate.trial.clone()));
        let before = find(old_rows, row).and_then(|before| told(&before));
        if before != told(row) {
            let what = match (before, &row.candidate) {
                (_, None) => "gone".to_owned(),
                (None, Some(candidate)) => format!("new, {}", candidate.trial),
                (Some(_), Some(candidate)) => format!("changed, {}", candidate.trial),
            };
            lines.push(format!("candidate for {} on {}: {what}", row.extension, row.listener));
        }
        let what = match find(old_rows, row) {
            None => "new",
            Some(before) if before.digest != row.digest => "component changed",
            Some(before)
                if (&before.grants, &before.verdicts, &before.peers) != (&row.grants, &row.verdicts, &row.peers) =>
            {
                "grant changed"
            }
            Some(_) if entry(old, row) != entry(&new.config, row) => "changed",
            Some(_) => continue,
        };
        lines.push(format!("extension {} on {}: {what}", row.extension, row.listener));
    }
    let gone = old_rows.iter().filter(|row| find(&new.loaded.rows, row).is_none() && after.contains(&row.listener));
    lines.extend(gone.map(|row| format!("extension {} on {}: gone", row.extension, row.listener)));
    let order = |config: &Config, name: &str| {
        let listener = config.listeners.get(name)?;
        Some(listener.extensions.iter().map(|used| used.extension.clone()).collect::<Vec<_>>())
    };
    for name in before.intersection(&after) {
        if let (Some(mut was), Some(mut is)) = (order(old, name), order(&new.config, name))
            && was != is
        {
            was.sort();
            is.sort();
            if was == is {
                lines.push(format!("listener {name}: extensions in another order"));
            }
        }
    }
    // What holds a place in the text is left out.
    for (name, listener) in &new.config.listeners {
        let told = |l: &config::Listener| {
            let tls = (l.tls.mode, l.tls.clients, &l.tls.client_authorities, l.tls.handshake_timeout, l.tls.handshakes);
            let auth = (&l.auth.users, &l.auth.mechanisms, l.auth.without_tls, l.auth.external);
            let spoken = (l.protocol, l.esmtp, &l.proxy, l.client_name, l.stray_newlines);
            format!("{:?}", (&l.rules, &l.peers, &l.banner, &l.address, tls, auth, spoken))
        };
        if old.listeners.get(name).is_some_and(|before| told(before) != told(listener)) {
            lines.push(format!("listener {name}: changed"));
        }
    }
    for (name, extension) in &new.config.extensions {
        let told = |e: &config::Extension| {
            let plain = |e: &config::Extension| format!("{:?}", (&e.settings, e.limits, &e.on_failure, e.breaker));
            e.and_candidate().map(plain).collect::<Vec<_>>()
        };
        if old.extensions.get(name).is_some_and(|before| told(before) != told(extension)) {
            lines.push(format!("extension {name}: settings changed"));
        }
    }
    if old.dns != new.config.dns {
        lines.push("dns: changed".to_owned());
    }
    let http = |config: &Config| (config.http.authorities.clone(), config.http.timeout, config.http.response);
    if http(old) != http(&new.config) {
        lines.push("http: changed".to_owned());
    }
    let routes = |config: &Config| {
        let told = |route: &config::Route| format!("{:?}", (&route.domains, &route.to, route.create));
        config.routes.iter().map(told).collect::<Vec<_>>()
    };
    if routes(old) != routes(&new.config) {
        lines.push("routes: changed".to_owned());
    }
    lines.extend(tables::changes(old_tables, &new.tables));
    lines
}
