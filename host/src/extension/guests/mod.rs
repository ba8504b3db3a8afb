//! The policy of one session: asks each extension of the listener that is there, in order, and folds what they say.
//!
//! What a guest staged is applied after it returned cleanly and its answer proved usable, refusals included; the next
//! extension at the same hook sees it. Whatever fails is dropped whole, and the extension's `on-failure` speaks for it.

mod credentials;
mod failure;
mod share;

use super::bindings::pillarbox::extension::types;
use super::call::{Call, Failure, Outcome, Returned};
use super::instance::Instance;
use super::interface::Hook;
use super::load::Linked;
use super::rack::Ticket;
use super::roster::{Entry, Roster};
use super::verdict::{self, Commanded, Verdict};
use crate::session::change::Identity;
use crate::session::context::Stage;
use crate::session::facts::{Facts, Login};
use crate::session::policy::{
    self, Answer, Asking, ClientChange, Credentials, Exchange, Extensions, Judged, Memory, Offers, Policy, Question,
    Remembered, Ruling, Standing,
};
use failure::{failed, note_outside};
use pillarbox_smtp::{Parameter, reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The extensions of one session.
pub struct Guests {
    roster: Arc<Roster>,
    chairs: Vec<Chair>,
    /// The exchange that waits for the peer's next line.
    pending: Option<Pending>,
}

/// An extension that wants another line: for its verb, or for a mechanism it speaks.
struct Pending {
    /// `command` or `authenticate`.
    hook: Hook,
    index: usize,
    /// What it gets back with the line.
    state: Vec<u8>,
}

/// What one extension has in one session.
#[derive(Debug, Default)]
struct Chair {
    instance: Option<Ticket>,
    remembered: Arc<Remembered>,
}

impl Extensions for Arc<Roster> {
    fn open(&self, mut memory: Memory) -> Box<dyn Policy> {
        let chair = |entry: &Arc<Entry>| Chair {
            remembered: memory.remove(&entry.linked.name).map(Arc::new).unwrap_or_default(),
            ..Chair::default()
        };
        let chairs = self.entries.iter().map(chair).collect();
        Box::new(Guests { roster: self.clone(), chairs, pending: None })
    }
}

impl Policy for Guests {
    fn offers(&self, facts: &Facts) -> Offers {
        self.roster.offers(facts)
    }

    fn keywords(&self, facts: &Facts) -> Vec<String> {
        let mut lines = Vec::new();
        for (entry, chair) in self.roster.entries.iter().zip(&self.chairs) {
            // Advertised to those who may use it, and to nobody else.
            if !entry.commands(facts) {
                continue;
            }
            for (keyword, declared) in &entry.declared.keywords {
                let parameters = match chair.remembered.keywords.get(keyword) {
                    Some(None) => continue,
                    Some(Some(shown)) => shown,
                    None => declared,
                };
                lines.push(match parameters {
                    Some(parameters) => format!("{keyword} {parameters}"),
                    None => keyword.clone(),
                });
            }
        }
        lines
    }

    fn rule<'a>(&'a mut self, question: Question<'a>, facts: &'a mut Arc<Facts>) -> Asking<'a, Ruling> {
        Box::pin(self.ask_all(question, facts))
    }

    fn command<'a>(&'a mut self, verb: &'a str, argument: &'a str, facts: &'a mut Arc<Facts>) -> Asking<'a, Answer> {
        Box::pin(async move {
            let declares = |entry: &Arc<Entry>| entry.declared.verbs.contains_key(verb) && entry.commands(facts);
            match self.roster.entries.iter().position(declares) {
                Some(index) => self.answer(index, Call::Begin(verb, argument), facts).await,
                // The machine asked by what `offers` said, so nobody comes here but by a mistake of ours.
                None => Answer::Refuse(reply::extension_failed()),
            }
        })
    }

    fn resume<'a>(&'a mut self, line: &'a [u8], facts: &'a mut Arc<Facts>) -> Asking<'a, Answer> {
        Box::pin(async move {
            match self.take_pending(Hook::Command) {
                Some(Pending { index, state, .. }) => self.answer(index, Call::Resume(&state, line), facts).await,
                None => Answer::Refuse(reply::extension_failed()),
            }
        })
    }

    fn authenticate<'a>(
        &'a mut self,
        mechanism: &'a str,
        initial: Option<&'a [u8]>,
        facts: &'a mut Arc<Facts>,
    ) -> Asking<'a, Exchange> {
        Box::pin(self.begin_exchange(mechanism, initial, facts))
    }

    fn respond<'a>(&'a mut self, response: &'a [u8], facts: &'a mut Arc<Facts>) -> Asking<'a, Exchange> {
        Box::pin(self.resume_exchange(response, facts))
    }

    fn judge<'a>(&'a mut self, credentials: Credentials<'a>, facts: &'a mut Arc<Facts>) -> Asking<'a, Judged> {
        Box::pin(self.judge_all(credentials, facts))
    }

    fn accepted<'a>(&'a mut self, id: &'a str, facts: &'a mut Arc<Facts>) -> Asking<'a, ()> {
        Box::pin(self.inform(Call::Accepted(id), facts))
    }

    fn ended<'a>(&'a mut self, facts: &'a mut Arc<Facts>) -> Asking<'a, ()> {
        Box::pin(self.inform(Call::Disconnect, facts))
    }

    fn reads_messages(&self, facts: &Facts) -> bool {
        self.roster.entries.iter().any(|entry| entry.is_asked(Hook::Message, facts))
    }

    fn forget(&mut self) {
        self.pending = None;
        self.chairs.fill_with(Chair::default);
    }

    fn forget_message(&mut self) {
        for chair in &mut self.chairs {
            if !chair.remembered.message.is_empty() {
                Arc::make_mut(&mut chair.remembered).message.clear();
            }
        }
    }

    fn rest(&mut self) {
        for chair in &mut self.chairs {
            chair.instance = None;
        }
    }

    fn standing(&self) -> Standing {
        self.roster.standing()
    }

    fn vouches(&self, extension: &str, login: &Login, facts: &Facts) -> bool {
        self.roster.entries.iter().any(|entry| &*entry.linked.name == extension && entry.vouches(login, facts))
    }

    fn remembered(&mut self) -> Memory {
        let named = |(entry, chair): (&Arc<Entry>, &Chair)| (entry.linked.name.clone(), (*chair.remembered).clone());
        self.roster.entries.iter().zip(&self.chairs).map(named).collect()
    }
}

impl Guests {
    async fn ask_all(&mut self, question: Question<'_>, facts: &mut Arc<Facts>) -> Ruling {
        let mut delay = Duration::ZERO;
        let mut outcome = policy::Outcome::Pass;
        let parameters = match question {
            Question::Mail { parameters, .. } | Question::Recipient { parameters, .. } => handed(parameters),
            Question::Connect | Question::Hello { .. } | Question::Data | Question::Message => Vec::new(),
        };
        for index in 0..self.chairs.len() {
            // Sender and recipient as those before left them.
            let named = share::named(&question, facts);
            let call = match question {
                Question::Connect => Call::Connect,
                Question::Hello { verb, domain } => Call::Hello(verb, domain),
                Question::Mail { .. } => Call::Mail(&named, &parameters),
                Question::Recipient { .. } => Call::Recipient(&named, &parameters),
                Question::Data => Call::Data,
                Question::Message => Call::Message,
            };
            let hook = call.hook();
            let Some(entry) = self.roster.entries.get(index).cloned() else { break };
            if !entry.is_asked(hook, facts) {
                continue;
            }
            let verdict = match self.call(index, &entry.linked, call, facts).await.and_then(|settled| {
                settled.judge(|returned| verdict::decision(hook, returned, &entry.linked.grant.verdicts))
            }) {
                Ok((ruled, settlement)) => {
                    // A hook that decides about the client's steps never changes who the client is.
                    let _identities = settlement.apply(self, index, facts, stage(hook));
                    delay += ruled.delay;
                    note_outside(&entry.linked, facts, hook, &ruled);
                    ruled.verdict
                }
                Err(failure) => failed(&entry.linked, facts, hook, &failure),
            };
            match share::narrowed(&entry.linked, facts, hook, verdict) {
                Verdict::Next => {}
                Verdict::Accept => break,
                Verdict::Discard => {
                    outcome = policy::Outcome::Discard;
                    break;
                }
                Verdict::Quarantine(reason) => {
                    outcome = policy::Outcome::Quarantine { extension: entry.linked.name.clone(), reason };
                    break;
                }
                Verdict::Refuse(refusal) => {
                    outcome = policy::Outcome::Refuse(refusal);
                    break;
                }
            }
        }
        Ruling { outcome, delay }
    }

    async fn answer(&mut self, index: usize, call: Call<'_>, facts: &mut Arc<Facts>) -> Answer {
        let Some(entry) = self.roster.entries.get(index).cloned() else {
            return Answer::Refuse(reply::extension_failed());
        };
        let linked = &entry.linked;
        let settled = self.call(index, linked, call, facts).await.and_then(|settled| settled.judge(verdict::answer));
        let (commanded, settlement) = match settled {
            Ok(settled) => settled,
            Err(failure) => {
                // A verb must be answered: where the operator said `skip`, it is refused for now all the same.
                return match failed(linked, facts, Hook::Command, &failure) {
                    Verdict::Refuse(refusal) => Answer::Refuse(refusal),
                    _ => Answer::Refuse(reply::extension_failed()),
                };
            }
        };
        let identities = settlement.apply(self, index, facts, Stage::Dialogue);
        let change = |identities| ClientChange { extension: linked.name.clone(), identities };
        match commanded {
            Commanded::Done(reply) if identities.is_empty() => Answer::Done(reply, None),
            Commanded::Done(reply) => Answer::Done(reply, Some(change(identities))),
            Commanded::More(reply, state) => {
                self.pending = Some(Pending { hook: Hook::Command, index, state });
                Answer::More(reply)
            }
            Commanded::Restart(hello_kept) => Answer::Restart(hello_kept, change(identities)),
            Commanded::Close(refusal) => Answer::Refuse(refusal),
        }
    }

    async fn inform(&mut self, call: Call<'_>, facts: &mut Arc<Facts>) {
        let hook = call.hook();
        for index in 0..self.chairs.len() {
            let Some(entry) = self.roster.entries.get(index).cloned() else { break };
            if !entry.is_asked(hook, facts) {
                continue;
            }
            match self.call(index, &entry.linked, call.clone(), facts).await {
                Ok(settled) => {
                    let _identities = settled.settle().apply(self, index, facts, Stage::Dialogue);
                }
                Err(failure) => {
                    failed(&entry.linked, facts, hook, &failure);
                }
            }
        }
    }

    fn take_pending(&mut self, hook: Hook) -> Option<Pending> {
        self.pending.take().filter(|pending| pending.hook == hook)
    }

    /// One call. The instance is the session's own, made when it is first needed.
    async fn call(
        &mut self,
        index: usize,
        linked: &Arc<Linked>,
        call: Call<'_>,
        facts: &Arc<Facts>,
    ) -> Result<Settled, Failure> {
        linked.counters.called();
        let Some(chair) = self.chairs.get_mut(index) else {
            return Err(Failure::Start("no such extension".to_owned()));
        };
        // One wall budget for all of it: the wait for room, `init` in a new instance, and the call itself.
        let deadline = Instant::now() + linked.limits.wall;
        let instance = match chair.instance.take().and_then(Ticket::redeem) {
            Some(instance) => instance,
            None => Instance::start(linked, &self.roster.rack, None, deadline).await?,
        };
        let (instance, outcome) = instance.call(call, facts.clone(), chair.remembered.clone(), deadline).await?;
        Ok(Settled { instance, outcome })
    }
}

/// A call that returned cleanly and whose answer has not been looked at.
struct Settled {
    instance: Instance,
    outcome: Outcome,
}

/// What a usable answer leaves to be applied.
struct Settlement {
    instance: Instance,
    staged: Vec<crate::session::change::Change>,
    remembered: Arc<Remembered>,
}

impl Settled {
    /// Looks at the answer; one that cannot be used takes the instance and all it staged with it.
    fn judge<T>(self, judge: impl FnOnce(Returned) -> Result<T, Failure>) -> Result<(T, Settlement), Failure> {
        let Outcome { returned, staged, remembered } = self.outcome;
        let judged = judge(returned)?;
        Ok((judged, Settlement { instance: self.instance, staged, remembered }))
    }

    /// For hooks that only inform.
    fn settle(self) -> Settlement {
        let Outcome { staged, remembered, .. } = self.outcome;
        Settlement { instance: self.instance, staged, remembered }
    }
}

impl Settlement {
    /// Applies it, and hands on the changes of client, which also depend on the answer.
    fn apply(self, guests: &mut Guests, index: usize, facts: &mut Arc<Facts>, stage: Stage) -> Vec<Identity> {
        let Settlement { instance, staged, remembered } = self;
        let name = guests.roster.entries.get(index).map(|entry| entry.linked.name.clone());
        if let Some(chair) = guests.chairs.get_mut(index) {
            *chair = Chair { instance: Some(guests.roster.rack.put(instance)), remembered };
        }
        match (name, staged.is_empty()) {
            (Some(name), false) => Arc::make_mut(facts).apply(staged, &name, stage),
            _ => Vec::new(),
        }
    }
}

fn stage(hook: Hook) -> Stage {
    match hook {
        Hook::Connect => Stage::Connect,
        Hook::Hello => Stage::Hello,
        _ => Stage::Dialogue,
    }
}

fn handed(parameters: &[Parameter]) -> Vec<types::Parameter> {
    let hand = |given: &Parameter| types::Parameter { name: given.name.clone(), value: given.value.clone() };
    parameters.iter().map(hand).collect()
}
