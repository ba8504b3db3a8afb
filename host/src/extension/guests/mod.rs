//! The policy of one session: asks each extension of the listener that is there, in order, and folds what they say.
//!
//! What a guest staged is applied after it returned cleanly and its answer proved usable, refusals included; the next
//! extension at the same hook sees it. Whatever fails is dropped whole, and the extension's `on-failure` speaks for it.

mod chair;
mod credentials;
mod failure;
mod shadow;
mod share;

use super::bindings::pillarbox::extension::types;
use super::breaker::Pass;
use super::call::{Call, Failure, Outcome, Returned};
use super::instance::Instance;
use super::interface::Hook;
use super::load::Linked;
use super::roster::{Entry, Roster};
use super::verdict::{self, Commanded, Verdict};
use crate::session::change::Identity;
use crate::session::context::Stage;
use crate::session::facts::{Facts, Login};
use crate::session::policy::{
    self, Answer, Asking, ClientChange, Credentials, Exchange, Extensions, Judged, Memory, Offers, Policy, Question,
    Remembered, Ruling, Standing,
};
use chair::{Chair, ask};
use failure::{failed, note_outside, note_pass};
use pillarbox_smtp::{Parameter, reply};
pub use shadow::Lines;
use shadow::Shadow;
use std::sync::Arc;
use std::time::Duration;

/// The extensions of one session.
pub struct Guests {
    roster: Arc<Roster>,
    /// Who is asked in this session: of each extension of the roster itself, or the candidate that is its canary here.
    entries: Vec<Arc<Entry>>,
    chairs: Vec<Chair>,
    /// Who is asked beside them, and not heard.
    shadows: Vec<Option<Shadow>>,
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

impl Extensions for Arc<Roster> {
    fn open(&self, mut memory: Memory, facts: &Facts) -> Box<dyn Policy> {
        let (mut entries, mut chairs, mut shadows) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &self.entries {
            let chair = Chair::of(memory.remove(&entry.linked.name).unwrap_or_default());
            shadows.push(Shadow::of(entry, &mut memory, &chair.remembered));
            chairs.push(chair);
            entries.push(entry.for_session(facts));
        }
        Box::new(Guests { roster: self.clone(), entries, chairs, shadows, pending: None })
    }
}

impl Policy for Guests {
    fn offers(&self, facts: &Facts) -> Offers {
        self.roster.offers(facts)
    }

    fn keywords(&self, facts: &Facts) -> Vec<String> {
        let mut lines = Vec::new();
        for (entry, chair) in self.entries.iter().zip(&self.chairs) {
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
            match self.entries.iter().position(declares) {
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
        let shadows = self.shadows.iter().flatten().map(|shadow| &shadow.entry);
        let mut all = self.entries.iter().chain(shadows);
        all.any(|entry| entry.is_asked(Hook::Message, facts))
    }

    fn forget(&mut self) {
        self.pending = None;
        self.chairs.iter_mut().for_each(Chair::forget);
        self.shadows.iter_mut().flatten().for_each(Shadow::forget);
    }

    fn forget_message(&mut self) {
        self.chairs.iter_mut().for_each(Chair::forget_message);
        self.shadows.iter_mut().flatten().for_each(Shadow::forget_message);
    }

    fn rest(&mut self) {
        for chair in &mut self.chairs {
            chair.instance = None;
        }
        self.shadows.iter_mut().flatten().for_each(Shadow::rest);
    }

    fn standing(&self) -> Standing {
        Standing { greeters: self.entries.iter().filter_map(|entry| entry.standing()).collect() }
    }

    fn vouches(&self, extension: &str, login: &Login, facts: &Facts) -> bool {
        self.entries.iter().any(|entry| &*entry.linked.name == extension && entry.vouches(login, facts))
    }

    fn remembered(&mut self) -> Memory {
        let named = |(entry, chair): (&Arc<Entry>, &Chair)| (entry.linked.name.clone(), chair.remembered());
        let shadows = self.shadows.iter().flatten().map(Shadow::remembered);
        self.entries.iter().zip(&self.chairs).map(named).chain(shadows).collect()
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
            let Some(entry) = self.entries.get(index).cloned() else { break };
            if !entry.is_asked(hook, facts) {
                self.ask_shadow(index, call, facts).await;
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
                    share::narrowed(&entry.linked, facts, hook, ruled.verdict)
                }
                // That it failed says nothing of its recipients, so it is never narrowed to them (docs/architecture.md, rule 14).
                Err(failure) => failed(&entry.linked, facts, hook, &failure),
            };
            match verdict {
                Verdict::Next => {}
                Verdict::Accept => break,
                Verdict::Discard => {
                    failure::note_discard(&entry.linked, facts, hook);
                    outcome = policy::Outcome::Discard;
                    break;
                }
                // The others are asked all the same: one that refuses the message, or drops it, has the last word.
                Verdict::Quarantine(reason) => {
                    if matches!(outcome, policy::Outcome::Pass) {
                        outcome = policy::Outcome::Quarantine { extension: entry.linked.name.clone(), reason };
                    }
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
        let Some(entry) = self.entries.get(index).cloned() else {
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
            let Some(entry) = self.entries.get(index).cloned() else { break };
            if !entry.is_asked(hook, facts) {
                self.ask_shadow(index, call.clone(), facts).await;
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

    /// One call, and beside it that of the shadow, if there is one: both see the session as it now is, and the slower is
    /// waited for.
    async fn call(
        &mut self,
        index: usize,
        linked: &Arc<Linked>,
        call: Call<'_>,
        facts: &Arc<Facts>,
    ) -> Result<Settled, Failure> {
        let Some(chair) = self.chairs.get_mut(index) else {
            return Err(Failure::Start("no such extension".to_owned()));
        };
        let (hook, rack) = (call.hook(), &self.roster.rack);
        let Some(shadow) = self.shadows.get_mut(index).and_then(Option::as_mut) else {
            return ask(linked, chair, rack, call, facts).await;
        };
        let active = ask(linked, chair, rack, call.clone(), facts);
        let (settled, said) = tokio::join!(active, shadow.ask(rack, call, facts));
        shadow.compare(shadow::said(linked, hook, &settled), said, hook, facts);
        settled
    }

    /// Asks the shadow alone, at a hook that the extension in use does not have.
    async fn ask_shadow(&mut self, index: usize, call: Call<'_>, facts: &Arc<Facts>) {
        let Some(shadow) = self.shadows.get_mut(index).and_then(Option::as_mut) else { return };
        let hook = call.hook();
        if shadow.entry.is_asked(hook, facts) {
            let said = shadow.ask(&self.roster.rack, call, facts).await;
            shadow.compare(shadow::silence(hook), said, hook, facts);
        }
    }
}

/// A call that returned cleanly and whose answer has not been looked at.
struct Settled {
    instance: Instance,
    outcome: Outcome,
    linked: Arc<Linked>,
    pass: Pass,
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
        let judged = judge(returned);
        note_pass(&self.linked, self.pass, judged.as_ref().err());
        Ok((judged?, Settlement { instance: self.instance, staged, remembered }))
    }

    /// For hooks that only inform.
    fn settle(self) -> Settlement {
        note_pass(&self.linked, self.pass, None);
        let Outcome { staged, remembered, .. } = self.outcome;
        Settlement { instance: self.instance, staged, remembered }
    }
}

impl Settlement {
    /// Applies it, and hands on the changes of client, which also depend on the answer.
    fn apply(self, guests: &mut Guests, index: usize, facts: &mut Arc<Facts>, stage: Stage) -> Vec<Identity> {
        let Settlement { instance, staged, remembered } = self;
        let name = guests.entries.get(index).map(|entry| entry.linked.name.clone());
        if let Some(chair) = guests.chairs.get_mut(index) {
            chair.instance = Some(guests.roster.rack.put(instance));
            chair.remembered = remembered;
        }
        match (name, staged.is_empty()) {
            (Some(name), false) => {
                failure::note_changes(&name, facts, &staged);
                Arc::make_mut(facts).apply(staged, &name, stage)
            }
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
