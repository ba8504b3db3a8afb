//! A candidate on one listener: what may take an extension's place, and for which sessions it does already. What a shadow
//! is asked and what comes of it stands in `guests/shadow`.

use super::guests::Lines;
use super::load::{self, Compiled, Declared, Purpose};
use super::roster::Entry;
use super::{Runtime, Services};
use crate::config::{self, Problem, Trial, Use, WHOLE};
use crate::observe::CandidateCounters;
use crate::session::facts::Facts;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One candidate on a listener.
#[derive(Debug)]
pub struct Candidate {
    /// The candidate, as it would be asked.
    pub entry: Arc<Entry>,
    /// How it is tried.
    pub trial: Trial,
    /// What is counted.
    pub counters: Arc<CandidateCounters>,
    /// What a shadow remembers of a session goes by this name, which no extension can have.
    pub name: Arc<str>,
    /// How much is said of it.
    pub lines: Arc<Lines>,
}

impl Candidate {
    /// Whether it is asked in the extension's place in this session. The draw is one of the session's id and the
    /// component: it holds as long as the session, over reloads too, and another component is another draw.
    pub fn replaces(&self, facts: &Facts) -> bool {
        let Trial::Canary { share, peers } = &self.trial else { return false };
        let address = facts.peer.address.map(|address| address.to_canonical());
        let among = |peers: &Vec<ipnet::IpNet>| address.is_some_and(|it| peers.iter().any(|net| net.contains(&it)));
        peers.as_ref().is_none_or(among) && share.is_none_or(|share| self.draw(&facts.id) < share)
    }

    /// A number below [`WHOLE`], each as likely as any other.
    fn draw(&self, session: &str) -> u32 {
        let mut hasher = Sha256::new();
        hasher.update(self.entry.linked.digest.0);
        hasher.update(session.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let first = hash.first_chunk::<8>().map_or(0, |octets| u64::from_be_bytes(*octets));
        u32::try_from(first % u64::from(WHOLE)).unwrap_or_default()
    }
}

impl Runtime {
    /// Links a candidate for one listener, as the extension is linked there, and holds the two against each other.
    ///
    /// # Errors
    /// What it asks for and was not granted, what its `init` said, or how what it declares differs.
    pub(super) async fn link_candidate(
        &self,
        candidate: &config::Candidate,
        component: &Compiled,
        used: &Use,
        active: &Entry,
        listener: &str,
        services: &Services,
    ) -> Result<Candidate, Vec<Problem>> {
        let (trial, extension) = (&candidate.trial, &*candidate.extension);
        let (word, services) = match trial {
            Trial::Shadow => ("shadow", services.for_shadow()),
            Trial::Canary { .. } => ("canary", services.clone()),
        };
        // Another trial, or other settings, are counted from nought.
        let tried = format!("{:?}", (component.digest, trial, &extension.settings));
        let counters = self.counters.candidate(&used.extension, listener, Sha256::digest(tried).into());
        let entry = &Use { grant: candidate.grant(&used.grant), ..used.clone() };
        let calls = counters.calls.clone();
        let breaker = self.breakers.find(component.digest, extension, entry, listener);
        let purpose = Purpose { extension, entry, candidate: Some(word), listener, counters: calls, breaker, services };
        let (linked, declared) = load::link(&self.engine, &self.rack, component, purpose).await?;
        let entry = Arc::new(Entry::new(linked, declared, &component.hooks, entry));
        let problems = check(active, &entry, extension);
        match problems.is_empty() {
            true => Ok(Candidate {
                entry,
                trial: trial.clone(),
                counters,
                name: extension.name.as_str().into(),
                lines: Arc::default(),
            }),
            false => Err(problems),
        }
    }
}

/// What is offered cannot depend on which of the two is asked: what a candidate adds to the protocol must be what the
/// extension in use does.
fn check(active: &Entry, candidate: &Entry, extension: &config::Extension) -> Vec<Problem> {
    let words = |declared: &Declared| {
        let verbs = declared.verbs.iter().map(|(verb, rule)| (verb.clone(), Some(*rule))).collect::<Vec<_>>();
        let plain = |names: Vec<&String>| names.into_iter().map(|name| (name.clone(), None)).collect::<Vec<_>>();
        [
            ("verb", verbs),
            // With whatever parameters: those are shown by whoever is asked.
            ("keyword", plain(declared.keywords.keys().collect())),
            ("MAIL parameter", plain(declared.mail_parameters.iter().collect())),
            ("RCPT parameter", plain(declared.recipient_parameters.iter().collect())),
            ("SASL mechanism", plain(declared.mechanisms.iter().collect())),
        ]
    };
    let problem = |text: String| {
        let help = "both must declare the same, for what is offered cannot depend on which of them is asked; a component \
                    that adds something to the protocol is taken up by a reload";
        Problem::at(extension.component_place, format!("extension `{}` {text}", extension.name)).help(help)
    };
    let name = &active.linked.name;
    let mut problems = Vec::new();
    for ((kind, mine), (_, theirs)) in words(&active.declared).into_iter().zip(words(&candidate.declared)) {
        for (word, rule) in &theirs {
            match mine.iter().find(|(other, _)| other == word) {
                None => problems.push(problem(format!("declares the {kind} `{word}`, and `{name}` does not"))),
                Some((_, other)) if rule != other => {
                    problems.push(problem(format!("declares other rules for the {kind} `{word}` than `{name}` does")));
                }
                Some(_) => {}
            }
        }
        for (word, _) in mine.iter().filter(|(word, _)| !theirs.iter().any(|(other, _)| other == word)) {
            problems.push(problem(format!("does not declare the {kind} `{word}`, and `{name}` does")));
        }
    }
    let judged = |entry: &Entry| entry.judged().collect::<BTreeSet<_>>();
    if judged(active) != judged(candidate) {
        let (with, without) = if judged(active).is_empty() { ("has", "has not") } else { ("has not", "has") };
        problems.push(problem(format!("{with} the hook `verify`, and `{name}` {without}")));
    }
    problems
}
