//! What follows from an attempt, from the passing of time, and from the operator's word: senders are told first, then it
//! is recorded, and only then is anything else of the message begun.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::index::{Next, Start, Token, Verdict};
use super::log::{log_change, log_ended, log_expired, log_failed, log_outcomes};
use super::schedule::{self, Now};
use super::{Queue, log_unreadable};
use crate::delivery::notice::Report;
use crate::observe::chain;
use crate::spool::{Attempt, Failure, LoadError, MessageId, Outcome, Reach, Record, Stored, numbers};

impl Queue {
    /// An attempt ended so.
    pub(super) async fn settle(
        &self,
        start: &Start,
        stored: &Arc<Stored>,
        mut outcomes: Vec<(usize, Outcome)>,
        began: Now,
    ) {
        let retry = self.settings.load().retry;
        let verdict = verdict(&outcomes);
        let _one_at_a_time = self.lock(start.token).await;
        let now = self.now();
        let times = self.index().entry(start.token).map(|entry| entry.times);
        let left =
            |outcomes: &[(usize, Outcome)]| outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Deferred(_)));
        if let Some(times) = times.filter(|times| times.ends <= now.tick && left(&outcomes)) {
            self.say_expired(start.token, stored, now);
            for (_, outcome) in &mut outcomes {
                if let Outcome::Deferred(last) = outcome {
                    *outcome = Outcome::Failed(over(stored, times.by_deadline, Some(last), now));
                }
            }
        }
        let left = left(&outcomes);
        let others = self.others(stored, &outcomes).await;
        let (alone, other_due, number) = {
            let index = self.index();
            (index.is_alone(start), index.other_due(start), index.number(start.token).max(start.number))
        };
        let ended = !left && others.is_empty() && alone;
        let next = now.tick.saturating_add(schedule::millis(schedule::wait(&retry, &start.id, start.number)));
        let first = if left { other_due.map_or(next, |other| other.min(next)) } else { other_due.unwrap_or(next) };
        let attempt = Attempt { number, at: began.wall, next: now.wall_at(first) };
        let kept = self.keep_outcomes(start, stored, &outcomes, attempt, ended, now).await;
        log_outcomes(stored, start, &outcomes, kept, now, next);
        let change = {
            let mut index = self.index();
            let next = if left || !kept { Next::Due(next) } else { Next::Done };
            let change = index.finish(start, verdict, next, now.tick, |destination, failures| {
                schedule::rest(&retry, destination, failures)
            });
            if ended && kept {
                index.forget(start.token);
            } else if !others.is_empty() {
                // The routes may have changed since the message was divided: nobody is left without a leg.
                let deferred = outcomes.iter().filter(|(_, outcome)| !kept || matches!(outcome, Outcome::Deferred(_)));
                let pending: Vec<_> = others.into_iter().chain(deferred.map(|(index, _)| *index)).collect();
                let (ways, _) = self.group(&stored.envelope, &pending, "");
                index.regroup(start.token, &ways, now.tick);
            }
            change
        };
        if ended && kept {
            log_ended(&stored.envelope, now);
        }
        log_change(change);
        self.refill();
    }

    /// Who is left of the message beside those that an attempt was made at, as the disk says: which of them go where may
    /// have changed since the message was divided by destination.
    async fn others(&self, stored: &Stored, outcomes: &[(usize, Outcome)]) -> Vec<usize> {
        let tried: BTreeSet<usize> = outcomes.iter().map(|(index, _)| *index).collect();
        let mut others = stored.progress.pending();
        others.retain(|index| !tried.contains(index));
        if !others.is_empty() {
            match self.spool.peek(&stored.envelope.id).await {
                Ok(now) => {
                    others = now.progress.pending();
                    others.retain(|index| !tried.contains(index));
                }
                // Set aside meanwhile: its log went with it, and another would be in the way of its return.
                Err(LoadError::Gone) => others.clear(),
                Err(_) => {}
            }
        }
        others
    }

    /// Tells and records. Where nobody is left, the message's end is the record.
    async fn keep_outcomes(
        &self,
        start: &Start,
        stored: &Arc<Stored>,
        outcomes: &[(usize, Outcome)],
        attempt: Attempt,
        ended: bool,
        now: Now,
    ) -> bool {
        let reports: Vec<(usize, Report)> = outcomes.iter().filter_map(report).collect();
        let records: Vec<Record> = outcomes.iter().map(record).chain([Record::Attempt(attempt)]).collect();
        let id = &start.id;
        if reports.is_empty() && !ended {
            // It says no more than why it waits: after a crash it is tried too early, and nothing is done twice.
            if let Err(error) = self.spool.record(id, records).await {
                self.complain(id, &error);
            }
            return true;
        }
        // Where nothing was delivered, nothing is done twice: this message waits until its sender can be told, alone.
        let repeatable = !outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Delivered(_)));
        let told = match repeatable {
            _ if reports.is_empty() => true,
            true => match self.tell(stored, reports, now).await {
                Ok(()) => true,
                Err(error) => {
                    self.untold(id, &error);
                    return false;
                }
            },
            false => self.keep(id, || self.tell(stored, reports.clone(), now)).await,
        };
        let kept = told
            && match ended {
                true => self.keep(id, || self.spool.remove(id)).await,
                false => self.keep(id, || self.spool.record(id, records.clone())).await,
            };
        if !kept {
            tracing::error!(id = id.as_str(), "the server stops, and what became of this message is not recorded");
        }
        kept
    }

    fn tell(
        &self,
        stored: &Arc<Stored>,
        reports: Vec<(usize, Report)>,
        now: Now,
    ) -> impl Future<Output = io::Result<()>> + use<> {
        self.outside.tell(stored.clone(), reports, now.wall)
    }

    /// Time has passed: the sender is told of the delay, or the message is given up. The message is reserved.
    pub(super) async fn look(self: Arc<Self>, token: Token) {
        let _counted = super::Counted::taken_over(&self.looks);
        let Some((id, times)) = self.index().entry(token).map(|entry| (entry.id.clone(), entry.times)) else { return };
        let _one_at_a_time = self.lock(token).await;
        let now = self.now();
        let stored = match self.spool.peek(&id).await {
            Ok(stored) => Arc::new(stored),
            Err(LoadError::Gone) => return self.index().forget(token),
            Err(error) => {
                log_unreadable(&id, &error);
                let later = now.tick.saturating_add(schedule::millis(LOOK_AGAIN));
                return self.index().release(token, now.tick, |entry| entry.times.ends = later);
            }
        };
        if times.ends <= now.tick {
            self.say_expired(token, &stored, now);
            let over = |_: usize, last: Option<&Failure>| over(&stored, times.by_deadline, last, now);
            match self.give_up(token, &stored, over).await {
                Ok(true) => {}
                Ok(false) => self.index().release(token, now.tick, |_| {}),
                Err(error) => {
                    self.untold(&id, &error);
                    let later = now.tick.saturating_add(schedule::millis(LOOK_AGAIN));
                    self.index().release(token, now.tick, |entry| entry.times.ends = later);
                }
            }
        } else {
            let again = self.warn(token, &stored, times, now).await.err().map(|error| {
                self.untold(&id, &error);
                now.tick.saturating_add(schedule::millis(LOOK_AGAIN))
            });
            self.index().release(token, now.tick, |entry| entry.times.warns = again);
        }
        self.refill();
        self.changed.notify_one();
    }

    /// Once for a message, however many of its destinations find it so.
    fn say_expired(&self, token: Token, stored: &Stored, now: Now) {
        if self.index().expire(token) {
            log_expired(&stored.envelope, now);
        }
    }

    /// Tells the senders of recipients that were not told yet, once.
    ///
    /// # Errors
    /// They cannot be told now.
    async fn warn(&self, token: Token, stored: &Arc<Stored>, times: schedule::Times, now: Now) -> io::Result<()> {
        let progress = &stored.progress;
        let untold = |index: &usize| progress.recipients.get(*index).is_some_and(|standing| !standing.delayed);
        let late: Vec<usize> = progress.pending().into_iter().filter(untold).collect();
        if late.is_empty() {
            return Ok(());
        }
        let until = now.wall_at(times.ends);
        let report = |index: &usize| (*index, Report::Delayed(self.last_failure(token, stored, *index), until));
        let reports: Vec<_> = late.iter().map(report).collect();
        let id = &stored.envelope.id;
        let records: Vec<_> = late.into_iter().map(Record::Delayed).collect();
        self.tell(stored, reports, now).await?;
        if self.keep(id, || self.spool.record(id, records.clone())).await {
            let session = stored.envelope.session.as_str();
            tracing::info!(session, id = id.as_str(), recipients = records.len(), "message delayed");
        }
        Ok(())
    }

    /// Gives up a message that is reserved: whoever is left of it fails, and it is gone. Whether that is on disk.
    ///
    /// # Errors
    /// Its sender cannot be told now, and it stays.
    pub(super) async fn give_up(
        &self,
        token: Token,
        stored: &Arc<Stored>,
        why: impl Fn(usize, Option<&Failure>) -> Failure,
    ) -> io::Result<bool> {
        let now = self.now();
        let failed =
            |index: usize| (index, Outcome::Failed(why(index, self.last_failure(token, stored, index).as_ref())));
        let outcomes: Vec<_> = stored.progress.pending().into_iter().map(failed).collect();
        let reports: Vec<_> = outcomes.iter().filter_map(report).collect();
        let id = &stored.envelope.id;
        self.tell(stored, reports, now).await?;
        let kept = self.keep(id, || self.spool.remove(id)).await;
        if kept {
            let attempts = self.index().number(token);
            for (index, outcome) in &outcomes {
                if let Outcome::Failed(failure) = outcome {
                    log_failed(&stored.envelope, *index, attempts, failure);
                }
            }
            log_ended(&stored.envelope, now);
            self.index().forget(token);
        }
        Ok(kept)
    }

    /// A notice cannot be kept: what it would have told of is not recorded, and comes to it again later.
    fn untold(&self, id: &MessageId, error: &io::Error) {
        let error = chain(error);
        tracing::error!(id = id.as_str(), error = error.as_str(), "sender cannot be told");
    }

    /// Why a recipient was not served so far: what its last attempt heard, or why its destination rests.
    fn last_failure(&self, token: Token, stored: &Stored, index: usize) -> Option<Failure> {
        let own = stored.progress.recipients.get(index).and_then(|standing| standing.deferred.clone());
        own.or_else(|| self.index().reason(token, &self.way(&stored.envelope, index).destination))
    }

    /// Reads on where the index had no room, when it has some again.
    pub(super) fn refill(&self) {
        if self.overflow.load(Ordering::Relaxed) && self.index().len() < self.most / 10 * 9 {
            self.scan.notify_one();
        }
    }
}

/// What the end of a message's time is to each recipient.
fn over(stored: &Stored, by_deadline: bool, last: Option<&Failure>, now: Now) -> Failure {
    let age = Duration::from_millis(now.wall.saturating_sub(stored.envelope.received));
    let (status, text) = match by_deadline {
        // RFC 2852 section 4.1.2 and RFC 3463 section 3.5.
        true => ("5.4.7", "not delivered by the time its sender set".to_owned()),
        false => ("4.4.7", format!("not delivered within {}", span(age))),
    };
    with_reason(status, text, last)
}

/// A failure of the queue's own, with what was heard last.
pub(super) fn with_reason(status: &str, text: String, last: Option<&Failure>) -> Failure {
    let text = last.map_or(text.clone(), |last| format!("{text}: {}", last.text));
    let mut failure = Failure::local(status, text, Reach::Recipient);
    if let Some(last) = last {
        (failure.remote, failure.reply) = (last.remote.clone(), last.reply.clone());
        failure.cause = numbers(&last.status);
    }
    failure
}

/// A time in words, in its two largest units, to the nearest second.
fn span(time: Duration) -> String {
    let seconds = time.saturating_add(Duration::from_millis(500)).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn verdict(outcomes: &[(usize, Outcome)]) -> Verdict {
    let took = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Delivered(_)));
    let unreached = outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Deferred(failure) if failure.reach == Reach::Destination => Some(failure.clone()),
        _ => None,
    });
    match unreached {
        Some(failure) if !took => Verdict::Unreached(failure),
        _ => Verdict::Reached(took),
    }
}

fn report((index, outcome): &(usize, Outcome)) -> Option<(usize, Report)> {
    match outcome {
        Outcome::Delivered(receipt) => Some((*index, Report::Delivered(receipt.clone()))),
        Outcome::Failed(failure) => Some((*index, Report::Failed(failure.clone()))),
        Outcome::Deferred(_) => None,
    }
}

fn record((index, outcome): &(usize, Outcome)) -> Record {
    match outcome {
        Outcome::Delivered(_) => Record::Delivered(*index),
        Outcome::Failed(failure) => Record::Failed(*index, failure.clone()),
        Outcome::Deferred(failure) => Record::Deferred(*index, failure.clone()),
    }
}

/// How long a message whose time has come and that cannot be read, or told of, is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
