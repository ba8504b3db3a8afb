//! The extensions of one listener in one generation, in the order they are asked, and what can be wrong between them:
//! two claims on one word, or a right that the operator gave to everybody.

use super::candidate::Candidate;
use super::interface::Hook;
use super::load::{Declared, Linked};
use super::missing::list;
use super::rack::Rack;
use crate::config::{Capability, Listener, Problem, Trust, Use};
use crate::session::facts::{Facts, Login};
use crate::session::policy::Offers;
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
    /// Its `recipients` leave none of the hooks that it has work at.
    silenced: bool,
    /// For whom it is there; none: for everybody.
    peers: Option<Vec<IpNet>>,
    trust: Trust,
    /// What may take its place, and is tried meanwhile.
    pub candidate: Option<Candidate>,
    /// Changes when the component, settings, grant or peers do.
    print: [u8; 32],
}

/// The SASL mechanisms the server speaks itself.
const MECHANISMS: [&str; 5] = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL"];
/// Those of them that extensions judge: all that need to know something of the user.
const JUDGED: [&str; 4] = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];

/// What of an extension is there for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Presence {
    there: bool,
    commands: bool,
}

/// All of a listener's.
#[derive(Debug)]
pub struct Roster {
    /// In order.
    pub entries: Vec<Arc<Entry>>,
    /// Where instances wait.
    pub rack: Arc<Rack>,
    /// What is offered, by which entries are there and whose verbs are open: few combinations ever occur.
    offers: Mutex<BTreeMap<Vec<Presence>, Offers>>,
}

impl Entry {
    /// An entry of a listener.
    pub fn new(linked: Arc<Linked>, declared: Declared, exported: &BTreeSet<Hook>, entry: &Use) -> Entry {
        let asked = |hook: &Hook| {
            let granted = hook.needs().is_none_or(|capability| linked.grant.has(capability));
            granted && linked.tenant.has(*hook) && !declared.without.contains(hook)
        };
        let hooks = exported.iter().copied().filter(asked).collect();
        let mut wanted = exported.difference(&declared.without);
        let silenced = !linked.tenant.is_everybody() && !wanted.any(|hook| linked.tenant.has(*hook));
        let mut hasher = Sha256::new();
        hasher.update(linked.digest.0);
        // Debug text of plain data: equal exactly when the values are.
        let text = format!(
            "{:?}",
            (&linked.name, &linked.grant, &linked.settings, &entry.peers, &entry.recipients, entry.trust)
        );
        hasher.update(text.as_bytes());
        Entry {
            linked,
            declared,
            hooks,
            silenced,
            peers: entry.peers.clone(),
            trust: entry.trust,
            candidate: None,
            print: hasher.finalize().into(),
        }
    }

    /// The same with a candidate.
    pub fn with(self, candidate: Option<Candidate>) -> Entry {
        Entry { candidate, ..self }
    }

    /// Who is asked in this session: it, or the candidate in its place.
    pub fn for_session(self: &Arc<Entry>, facts: &Facts) -> Arc<Entry> {
        match self.candidate.as_ref().filter(|candidate| candidate.replaces(facts)) {
            Some(candidate) => {
                let (session, extension, listener) = (&*facts.id, &*self.linked.name, &*self.linked.listener);
                tracing::info!(session, extension, listener, "canary");
                candidate.entry.clone()
            }
            None => self.clone(),
        }
    }

    /// Its print, if what it decides at `connect` or `hello` stands for the session.
    pub fn standing(&self) -> Option<[u8; 32]> {
        let greets = self.hooks.contains(&Hook::Connect) || self.hooks.contains(&Hook::Hello);
        greets.then_some(self.print)
    }

    /// Whether it is there for this session: both the peer and the client lie in `peers`. An unknown client lies nowhere.
    pub fn is_there(&self, facts: &Facts) -> bool {
        self.holds(facts.peer.address) && self.holds(facts.client.endpoint.address)
    }

    /// Whether it is asked at this hook, as the session and its transaction stand.
    pub fn is_asked(&self, hook: Hook, facts: &Facts) -> bool {
        self.hooks.contains(&hook)
            && self.is_there(facts)
            && self.linked.tenant.is_asked(hook, facts.transaction.as_ref())
    }

    /// Whether its verbs may be said: with `trust = "peer"` that right stays with the peer (docs/architecture.md, rule 1).
    pub fn commands(&self, facts: &Facts) -> bool {
        self.holds(facts.peer.address) && (self.trust == Trust::Peer || self.holds(facts.client.endpoint.address))
    }

    /// Whether it speaks this SASL mechanism itself.
    pub fn speaks(&self, mechanism: &str) -> bool {
        self.mechanisms().any(|spoken| spoken == mechanism)
    }

    /// Whether it judges what clients prove by this SASL mechanism of the server's.
    pub fn judges(&self, mechanism: &str) -> bool {
        self.judged().any(|judged| judged == mechanism)
    }

    /// Whether it is there for this session and may still say who is logged in.
    pub fn vouches(&self, login: &Login, facts: &Facts) -> bool {
        // Where no mechanism was spoken, the extension's own name stands in its place.
        if login.mechanism == *self.linked.name {
            return self.commands(facts) && self.linked.grant.authenticates(&login.user);
        }
        self.is_there(facts) && (self.speaks(&login.mechanism) || self.judges(&login.mechanism))
    }

    fn mechanisms(&self) -> impl Iterator<Item = &String> {
        let spoken = |name: &&String| self.hooks.contains(&Hook::Authenticate) && self.linked.grant.judges(name);
        self.declared.mechanisms.iter().filter(spoken)
    }

    /// The SASL mechanisms of the server's that it judges.
    pub fn judged(&self) -> impl Iterator<Item = &'static str> {
        let judged = |name: &&str| self.hooks.contains(&Hook::Verify) && self.linked.grant.judges(name);
        JUDGED.into_iter().filter(judged)
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
        let presence = |entry: &Arc<Entry>| Presence { there: entry.is_there(facts), commands: entry.commands(facts) };
        let present: Vec<Presence> = self.entries.iter().map(presence).collect();
        let mut known = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offers) = known.get(&present) {
            return offers.clone();
        }
        let mut verbs = Verbs::new();
        let (mut mail, mut recipient) = (BTreeSet::new(), BTreeSet::new());
        let (mut mechanisms, mut judged) = (BTreeSet::new(), BTreeSet::new());
        for (entry, present) in self.entries.iter().zip(&present) {
            for (verb, rule) in &entry.declared.verbs {
                match present.commands {
                    true => {
                        verbs.insert(verb.clone(), Claim::Open(*rule));
                    }
                    false => {
                        verbs.entry(verb.clone()).or_insert(Claim::Closed);
                    }
                }
            }
            if present.commands {
                mail.extend(entry.declared.mail_parameters.iter().cloned());
                recipient.extend(entry.declared.recipient_parameters.iter().cloned());
            }
            // Who may log in is never left with the peer, whatever `trust` says.
            if present.there {
                mechanisms.extend(entry.mechanisms().cloned());
                judged.extend(entry.judged().map(str::to_owned));
            }
        }
        let offers = Offers {
            verbs: Arc::new(verbs),
            mail_parameters: Arc::new(mail),
            recipient_parameters: Arc::new(recipient),
            mechanisms: Arc::new(mechanisms),
            judged: Arc::new(judged),
        };
        known.insert(present, offers.clone());
        offers
    }
}

/// Everything wrong with a listener's extensions taken together.
pub fn check(listener: &Listener, entries: &[(&Use, Arc<Entry>)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, (entry, this)) in entries.iter().enumerate() {
        let before = problems.len();
        check_peers(listener, entry, this, &mut problems);
        // A candidate may have a hook that makes a difference here; what holds for both is said once.
        if let Some(candidate) = this.candidate.as_ref().filter(|_| problems.len() == before) {
            check_peers(listener, entry, &candidate.entry, &mut problems);
        }
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
    // Behind a proxy the clients of a loopback listener come from anywhere.
    let local = listener.proxy.is_none() && listener.address.iter().all(|address| address.ip().is_loopback());
    match &entry.peers {
        None if local => {}
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
        ("the SASL mechanism", &MECHANISMS, declared.mechanisms.iter().collect()),
    ];
    for (kind, spoken, words) in core {
        for word in words.into_iter().filter(|word| spoken.contains(&word.as_str())) {
            problem(format!("declares {kind} `{word}`, which the server speaks itself"));
        }
    }
    if !this.linked.tenant.is_everybody() {
        // These are said before anybody is named, or to the session as a whole.
        for (kind, declares) in [
            ("a verb", !declared.verbs.is_empty()),
            ("a SASL mechanism", !declared.mechanisms.is_empty()),
            ("a MAIL parameter", !declared.mail_parameters.is_empty()),
        ] {
            if declares {
                problem(format!(
                    "declares {kind}, which an entry with `recipients` cannot: it is asked about them alone"
                ));
            }
        }
        if this.silenced {
            let asked = "`recipient`, `data`, `message` and `accepted`";
            problem(format!("has none of the hooks an entry with `recipients` is asked at: {asked}"));
        }
        return;
    }
    if !declared.verbs.is_empty() && !this.hooks.contains(&Hook::Command) {
        problem("declares a verb and has no hook `command` to answer it".to_owned());
    }
    check_mechanisms(entry, this, problems);
}

/// A mechanism that nobody could speak. One whose secrets the operator withheld with `false` is not offered, and that is
/// what was asked for.
fn check_mechanisms(entry: &Use, this: &Entry, problems: &mut Vec<Problem>) {
    let (declared, grant) = (&this.declared, &this.linked.grant);
    if grant.denies(Capability::Credentials) {
        return;
    }
    let name = &entry.extension;
    if !declared.mechanisms.is_empty() && !this.hooks.contains(&Hook::Authenticate) {
        let text = format!("extension `{name}` declares a SASL mechanism and has no hook `authenticate` to answer it");
        problems.push(Problem::at(entry.place, text));
        return;
    }
    for mechanism in declared.mechanisms.iter().filter(|mechanism| !grant.judges(mechanism)) {
        let granted = grant.names(Capability::Credentials).iter().chain(&declared.mechanisms).cloned();
        let all = list(granted.collect::<BTreeSet<String>>());
        problems.push(
            Problem::at(
                entry.place,
                format!(
                    "extension `{name}` declares the SASL mechanism `{mechanism}`, which its `credentials` do not name"
                ),
            )
            .help(format!("write this line in the entry:\ngrant.credentials = {all}")),
        );
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
        ("SASL mechanism", this.mechanisms().filter(|mechanism| other.speaks(mechanism)).collect()),
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
