//! A shadow: a candidate that is asked what the extension in use is asked, with the same facts, and is heard by nobody.
//!
//! What it stages is dropped, what it remembers is its own, and its failures are counted and change nothing: the session
//! only waits for it, within its own limits. Where its answer is not that of the extension in use, it is said and counted.
//! Texts and who is logged in are not compared: a version that words a reply otherwise decides no other way, and what is
//! said at a login is nobody's business here.

use super::Settled;
use super::chair::{Chair, ask};
use super::failure::note_pass;
use crate::config::Trial;
use crate::extension::bindings::exports::pillarbox::extension::verify::Outcome;
use crate::extension::call::{Call, Failure, Returned};
use crate::extension::candidate::Candidate;
use crate::extension::interface::Hook;
use crate::extension::load::Linked;
use crate::extension::rack::Rack;
use crate::extension::roster::Entry;
use crate::extension::verdict::{self, Commanded, Step, Verdict};
use crate::observe::CandidateCounters;
use crate::session::facts::Facts;
use crate::session::policy::{Memory, Remembered};
use pillarbox_smtp::Reply;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a shadow has in one session.
#[derive(Debug)]
pub(super) struct Shadow {
    /// What is asked.
    pub(super) entry: Arc<Entry>,
    /// What it remembers goes by this name.
    name: Arc<str>,
    counters: Arc<CandidateCounters>,
    lines: Arc<Lines>,
    chair: Chair,
    /// What it gets back with the next line, if it wants one.
    pending: Option<(Hook, Vec<u8>)>,
}

/// What one of the two said, in words that can be compared.
type Said = Result<String, Failure>;

impl Shadow {
    /// The shadow of an extension, if it has one. What it remembers begins as what the extension does, as it would if a
    /// reload put it in the extension's place.
    pub(super) fn of(active: &Entry, memory: &mut Memory, remembered: &Arc<Remembered>) -> Option<Shadow> {
        let candidate = active.candidate.as_ref().filter(|candidate| candidate.trial == Trial::Shadow)?;
        let Candidate { entry, counters, name, lines, .. } = candidate;
        let begun = || Chair::of((**remembered).clone());
        let chair = memory.remove(name).map_or_else(begun, Chair::of);
        Some(Shadow {
            entry: entry.clone(),
            name: name.clone(),
            counters: counters.clone(),
            lines: lines.clone(),
            chair,
            pending: None,
        })
    }

    /// Asks it, where it has the hook. None where there is nothing to compare.
    pub(super) async fn ask(&mut self, rack: &Arc<Rack>, call: Call<'_>, facts: &Arc<Facts>) -> Option<Said> {
        let hook = call.hook();
        let pending = self.pending.take();
        let call = match (call, &pending) {
            (Call::Resume(_, line), Some((Hook::Command, state))) => Call::Resume(state, line),
            (Call::Respond(_, response), Some((Hook::Authenticate, state))) => Call::Respond(state, response),
            // It was done with what the extension goes on with, and that was said.
            (Call::Resume(..) | Call::Respond(..), _) => return None,
            (call, _) => call,
        };
        if !self.entry.hooks.contains(&hook) {
            return Some(Ok(silence(hook)));
        }
        let said = match ask(&self.entry.linked, &mut self.chair, rack, call, facts).await {
            Ok(Settled { instance, outcome, linked, pass }) => {
                let answer = words(&linked, hook, outcome.returned);
                note_pass(&linked, pass, answer.as_ref().err());
                answer.map(|(words, state)| {
                    self.chair.instance = Some(rack.put(instance));
                    self.chair.remembered = outcome.remembered;
                    self.pending = state.map(|state| (hook, state));
                    words
                })
            }
            Err(failure) => Err(failure),
        };
        Some(said)
    }

    /// Compares what it said with what the extension did.
    pub(super) fn compare(&self, active: String, said: Option<Said>, hook: Hook, facts: &Facts) {
        let linked = &self.entry.linked;
        let _tagged = linked.span().entered();
        let (session, extension, listener) = (&*facts.id, &*linked.name, &*linked.listener);
        let candidate = match said {
            None => return,
            Some(Ok(words)) => words,
            Some(Err(failure)) => {
                linked.counters.failed(failure.kind());
                match self.lines.take() {
                    Line::Kept => {
                        let (kind, error) = (failure.kind(), failure.to_string());
                        let (hook, error) = (hook.name(), &*error);
                        tracing::warn!(session, extension, listener, hook, kind, error, "candidate failed");
                    }
                    Line::FirstDropped => self.lines.say_dropped(linked),
                    Line::Dropped => {}
                }
                return;
            }
        };
        self.counters.compared(active == candidate);
        if active == candidate {
            return;
        }
        match self.lines.take() {
            Line::Kept => {
                let (hook, active, candidate) = (hook.name(), &*active, &*candidate);
                tracing::warn!(session, extension, listener, hook, active, candidate, "candidate differs");
            }
            Line::FirstDropped => self.lines.say_dropped(linked),
            Line::Dropped => {}
        }
    }

    /// As [`Policy::forget`](crate::session::policy::Policy::forget).
    pub(super) fn forget(&mut self) {
        self.pending = None;
        self.chair.forget();
    }

    /// As [`Policy::forget_message`](crate::session::policy::Policy::forget_message).
    pub(super) fn forget_message(&mut self) {
        self.chair.forget_message();
    }

    /// As [`Policy::rest`](crate::session::policy::Policy::rest).
    pub(super) fn rest(&mut self) {
        self.chair.instance = None;
    }

    /// As [`Policy::remembered`](crate::session::policy::Policy::remembered).
    pub(super) fn remembered(&self) -> (Arc<str>, Remembered) {
        (self.name.clone(), self.chair.remembered())
    }
}

/// What the extension in use said. Its answer is looked at again by whoever applies it.
pub(super) fn said(linked: &Linked, hook: Hook, settled: &Result<Settled, Failure>) -> String {
    // Why it failed is said by whoever has it fail.
    let failed = |failure: &Failure| format!("failed: {}", failure.kind());
    match settled {
        Ok(settled) => match words(linked, hook, settled.outcome.returned.clone()) {
            Ok((words, _)) => words,
            Err(failure) => failed(&failure),
        },
        Err(failure) => failed(failure),
    }
}

/// What counts as said by an extension that does not have the hook.
pub(super) fn silence(hook: Hook) -> String {
    match hook {
        Hook::Accepted | Hook::Disconnect => "told".to_owned(),
        _ => "next".to_owned(),
    }
}

/// An answer in words, as it counts for the peer, and what is kept for the next line.
fn words(linked: &Linked, hook: Hook, returned: Returned) -> Result<(String, Option<Vec<u8>>), Failure> {
    Ok(match (hook, returned) {
        (_, Returned::Nothing) => ("told".to_owned(), None),
        (Hook::Command, returned) => match verdict::answer(returned)? {
            Commanded::Done(reply) => (with_reply("done", &reply), None),
            Commanded::More(reply, state) => (with_reply("more", &reply), Some(state)),
            Commanded::Restart(true) => ("restart, HELO kept".to_owned(), None),
            Commanded::Restart(false) => ("restart".to_owned(), None),
            Commanded::Close(refusal) => (with_reply("close", refusal.reply()), None),
        },
        (Hook::Authenticate, returned) => match verdict::step(returned)? {
            Step::Challenge(_, state) => ("challenge".to_owned(), Some(state)),
            Step::Success(..) => ("success".to_owned(), None),
            Step::Failure(_) => ("failure".to_owned(), None),
            Step::Later => ("later".to_owned(), None),
        },
        (_, Returned::Outcome(outcome)) => {
            let word = match outcome {
                Outcome::Yes(_) => "yes",
                Outcome::No => "no",
                Outcome::Later => "later",
                Outcome::Verifier(_) => "verifier",
            };
            (word.to_owned(), None)
        }
        (_, returned) => {
            let ruled = verdict::decision(hook, returned, &linked.grant.verdicts)?;
            let mut words = match &ruled.verdict {
                Verdict::Next => "next".to_owned(),
                Verdict::Accept => "accept".to_owned(),
                Verdict::Discard => "discard".to_owned(),
                Verdict::Quarantine(_) => "quarantine".to_owned(),
                Verdict::Refuse(refusal) => {
                    let verdict = match (refusal.closes(), refusal.reply().code() / 100) {
                        (true, _) => "disconnect",
                        (false, 4) => "tempfail",
                        (false, _) => "reject",
                    };
                    with_reply(verdict, refusal.reply())
                }
            };
            if !ruled.delay.is_zero() {
                words.push_str(&format!(", delayed by {:?}", ruled.delay));
            }
            (words, None)
        }
    })
}

/// What was said, with the reply's codes and without its text.
fn with_reply(verdict: &str, reply: &Reply) -> String {
    match reply.enhanced() {
        Some(enhanced) => format!("{verdict} {} {enhanced}", reply.code()),
        None => format!("{verdict} {}", reply.code()),
    }
}

/// The lines about one candidate on one listener. All that happens is counted; a candidate that differs in everything
/// does not fill the log.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began: Option<Instant>,
    lines: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// It is logged.
    Kept,
    /// It is not, and this is said.
    FirstDropped,
    /// It is not.
    Dropped,
}

impl Lines {
    /// So many in a minute.
    const MOST: u32 = 60;

    /// What becomes of one more.
    fn take(&self) -> Line {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if minute.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(60)) {
            *minute = Minute { began: Some(now), lines: 0 };
        }
        minute.lines = minute.lines.saturating_add(1);
        match minute.lines {
            lines if lines <= Lines::MOST => Line::Kept,
            lines if lines == Lines::MOST + 1 => Line::FirstDropped,
            _ => Line::Dropped,
        }
    }

    fn say_dropped(&self, linked: &Linked) {
        let (extension, listener) = (&*linked.name, &*linked.listener);
        tracing::warn!(extension, listener, "more of the candidate, counted only for the rest of this minute");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_candidate_that_always_differs_does_not_fill_the_log() {
        let lines = Lines::default();
        for _ in 0..2 {
            for _ in 0..Lines::MOST {
                assert_eq!(lines.take(), Line::Kept);
            }
            assert_eq!([lines.take(), lines.take()], [Line::FirstDropped, Line::Dropped]);
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(lines.take(), Line::Dropped);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
