//! The extensions of one listener in one generation, in the order they are asked, and what can be wrong between them:
//! two claims on one word, or a right that the operator gave to everybody.

use super::interface::Hook;
use super::load::{Declared, Linked};
use super::rack::Rack;
use crate::config::{Capability, Listener, Problem, Trust, Use};
use crate::session::facts::Facts;
use crate::session::policy::{Offers, Standing};
use ipnet::IpNet;
use pillarbox_smtp::{Claim, KEYWORDS, MAIL_PARAMETERS, RECIPIENT_PARAMETERS, VERBS, Verbs};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// One extension on a listener.
#[derive(Debug)]
pub struct Entry {
    /// What is called.
    pub linked: Arc<Linked>,
    /// What its `init` declared.
    pub declared: Declared,
    /// The hooks that are asked: exported, wanted, and with the capability they need.
    pub hooks: BTreeSet<Hook>,
    /// For whom it is there; none: for everybody.
    peers: Option<Vec<IpNet>>,
    trust: Trust,
    /// Changes when the component, settings, grant or peers do.
    print: [u8; 32],
}

/// All of a listener's.
#[derive(Debug)]
pub struct Roster {
    /// In order.
    pub entries: Vec<Arc<Entry>>,
    /// Where instances wait.
    pub rack: Arc<Rack>,
    /// What is offered, by which entries' verbs are open: few combinations ever occur.
    offers: Mutex<BTreeMap<Vec<bool>, Offers>>,
}

impl Entry {
    /// An entry of a listener.
    pub fn new(linked: Arc<Linked>, declared: Declared, exported: &BTreeSet<Hook>, entry: &Use) -> Entry {
        let asked = |hook: &Hook| {
            let denied = hook.needs().is_some_and(|capability| linked.grant.denies(capability));
            !denied && !declared.without.contains(hook)
        };
        let hooks = exported.iter().copied().filter(asked).collect();
        let mut hasher = Sha256::new();
        hasher.update(linked.digest.0);
        // Debug text of plain data: equal exactly when the values are.
        let text = format!("{:?}", (&linked.name, &linked.grant, &linked.settings, &entry.peers, entry.trust));
        hasher.update(text.as_bytes());
        Entry {
            linked,
            declared,
            hooks,
            peers: entry.peers.clone(),
            trust: entry.trust,
            print: hasher.finalize().into(),
        }
    }

    /// Whether it is there for this session: both the peer and the client lie in `peers`. An unknown client lies nowhere.
    pub fn is_there(&self, facts: &Facts) -> bool {
        self.holds(facts.peer.address) && self.holds(facts.client.endpoint.address)
    }

    /// Whether its verbs may be said: with `trust = "peer"` that right stays with the peer (docs/architecture.md, rule 1).
    pub fn commands(&self, facts: &Facts) -> bool {
        self.holds(facts.peer.address) && (self.trust == Trust::Peer || self.holds(facts.client.endpoint.address))
    }

    fn holds(&self, address: Option<IpAddr>) -> bool {
        let Some(peers) = &self.peers else { return true };
        address.is_some_and(|ip| peers.iter().any(|net| net.contains(&ip.to_canonical())))
    }

    /// Whether there can be a session for which both are there.
    fn meets(&self, other: &Entry) -> bool {
        let (Some(mine), Some(theirs)) = (&self.peers, &other.peers) else { return true };
        mine.iter().any(|a| theirs.iter().any(|b| a.contains(b) || b.contains(a)))
    }
}

impl Roster {
    /// The roster of a listener.
    pub fn new(entries: Vec<Arc<Entry>>, rack: Arc<Rack>) -> Roster {
        Roster { entries, rack, offers: Mutex::default() }
    }

    /// What is declared for this session.
    pub fn offers(&self, facts: &Facts) -> Offers {
        let open: Vec<bool> = self.entries.iter().map(|entry| entry.commands(facts)).collect();
        let mut known = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offers) = known.get(&open) {
            return offers.clone();
        }
        let mut verbs = Verbs::new();
        let (mut mail, mut recipient) = (BTreeSet::new(), BTreeSet::new());
        for (entry, open) in self.entries.iter().zip(&open) {
            for (verb, rule) in &entry.declared.verbs {
                match open {
                    true => {
                        verbs.insert(verb.clone(), Claim::Open(*rule));
                    }
                    false => {
                        verbs.entry(verb.clone()).or_insert(Claim::Closed);
                    }
                }
            }
            if *open {
                mail.extend(entry.declared.mail_parameters.iter().cloned());
                recipient.extend(entry.declared.recipient_parameters.iter().cloned());
            }
        }
        let offers = Offers {
            verbs: Arc::new(verbs),
            mail_parameters: Arc::new(mail),
            recipient_parameters: Arc::new(recipient),
            ..Offers::default()
        };
        known.insert(open, offers.clone());
        offers
    }

    /// What a reload is compared with.
    pub fn standing(&self) -> Standing {
        let greets = |entry: &&Arc<Entry>| entry.hooks.contains(&Hook::Connect) || entry.hooks.contains(&Hook::Hello);
        Standing { greeters: self.entries.iter().filter(greets).map(|entry| entry.print).collect() }
    }
}

/// Everything wrong with a listener's extensions taken together.
pub fn check(listener: &Listener, entries: &[(&Use, Arc<Entry>)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, (entry, this)) in entries.iter().enumerate() {
        check_peers(listener, entry, this, &mut problems);
        check_declared(entry, this, &mut problems);
        for (_, other) in entries.iter().take(index) {
            check_claims(entry, this, other, &mut problems);
        }
    }
    problems
}

/// `peers` is the whole trust there is in a verb that does something, and in a login without AUTH.
fn check_peers(listener: &Listener, entry: &Use, this: &Entry, problems: &mut Vec<Problem>) {
    let verb = !this.declared.verbs.is_empty() && this.linked.grant.beyond_session();
    let greets = [Hook::Connect, Hook::Hello].into_iter().find(|hook| this.hooks.contains(hook));
    let login = greets.filter(|_| this.linked.grant.has(Capability::Authentication));
    let what = match (verb, login) {
        (true, _) => "declares a verb and is granted more than `session`".to_owned(),
        (false, Some(hook)) => format!("is granted `authentication` at {}", hook.name()),
        (false, None) => return,
    };
    let name = &entry.extension;
    match &entry.peers {
        None if listener.address.iter().all(|address| address.ip().is_loopback()) => {}
        None => problems.push(
            Problem::at(
                entry.place,
                format!("extension `{name}` {what}: listener `{}` must say for whom it is there", listener.name),
            )
            .help("add the networks that may use it to the entry:\npeers = [\"10.0.0.0/8\"]"),
        ),
        Some(peers) => {
            // Halves of everything are everything.
            let all = IpNet::aggregate(peers).into_iter().find(|net| net.prefix_len() == 0);
            if let Some(net) = all {
                problems.push(
                    Problem::at(
                        entry.peers_place.unwrap_or(entry.place),
                        format!("extension `{name}` {what}: its `peers` must not hold every address, and `{net}` does"),
                    )
                    .help("name the networks that may use it"),
                );
            }
        }
    }
}

/// What one extension declares, by itself.
fn check_declared(entry: &Use, this: &Entry, problems: &mut Vec<Problem>) {
    let name = &entry.extension;
    let mut problem = |text: String| problems.push(Problem::at(entry.place, format!("extension `{name}` {text}")));
    let declared = &this.declared;
    let core = [
        ("the verb", VERBS, declared.verbs.keys().collect::<Vec<_>>()),
        ("the keyword", KEYWORDS, declared.keywords.keys().collect()),
        ("the MAIL parameter", MAIL_PARAMETERS, declared.mail_parameters.iter().collect()),
        ("the RCPT parameter", RECIPIENT_PARAMETERS, declared.recipient_parameters.iter().collect()),
    ];
    for (kind, spoken, words) in core {
        for word in words.into_iter().filter(|word| spoken.contains(&word.as_str())) {
            problem(format!("declares {kind} `{word}`, which the server speaks itself"));
        }
    }
    if !declared.verbs.is_empty() && !this.hooks.contains(&Hook::Command) {
        problem("declares a verb and has no hook `command` to answer it".to_owned());
    }
    if let Some(mechanism) = declared.mechanisms.first() {
        problem(format!("declares the SASL mechanism `{mechanism}`; mechanisms are not available in this version"));
    }
}

/// Two claims on one word.
fn check_claims(entry: &Use, this: &Entry, other: &Entry, problems: &mut Vec<Problem>) {
    if !this.meets(other) {
        return;
    }
    let (mine, theirs) = (&this.declared, &other.declared);
    let shared = [
        ("verb", mine.verbs.keys().filter(|word| theirs.verbs.contains_key(*word)).collect::<Vec<_>>()),
        ("keyword", mine.keywords.keys().filter(|word| theirs.keywords.contains_key(*word)).collect()),
        ("MAIL parameter", mine.mail_parameters.intersection(&theirs.mail_parameters).collect()),
        ("RCPT parameter", mine.recipient_parameters.intersection(&theirs.recipient_parameters).collect()),
    ];
    for (kind, words) in shared {
        for word in words {
            problems.push(
                Problem::at(
                    entry.place,
                    format!(
                        "extensions `{}` and `{}` both declare the {kind} `{word}`",
                        other.linked.name, entry.extension
                    ),
                )
                .help("use one of them, or give them `peers` that do not overlap"),
            );
        }
    }
}
