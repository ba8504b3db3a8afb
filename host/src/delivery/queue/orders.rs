//! The operator's hand: looking at the queue as it lies on disk, and doing something with one message of it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::index::{Taken, Token};
use super::schedule::{self, Times};
use super::settle::with_reason;
use super::{Queue, scan};
use crate::delivery::order::{Action, Counts, DestinationCounts, OrderError, Page, Selection, Waiting};
use crate::delivery::terms::Terms;
use crate::observe::chain;
use crate::spool::{Envelope, Failure, LoadError, MessageId, Record, Spool, Stored};

impl Queue {
    pub(in crate::delivery) async fn page(
        &self,
        selection: &Selection,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page, OrderError> {
        let (names, more) = self.names(after, most.max(1)).await?;
        let more = names.last().filter(|_| more).map(|id| id.as_str().to_owned());
        let mut page = Page { more, ..Page::default() };
        for id in names {
            match self.spool.peek(&id).await {
                Ok(stored) if stored.progress.pending().is_empty() => {}
                Ok(stored) => {
                    let waiting = self.waiting(&stored);
                    if self.selected(selection, &stored.envelope, &waiting) {
                        page.messages.push(waiting);
                    }
                }
                Err(LoadError::Gone) => {}
                Err(error) => page.faults.push((id.as_str().to_owned(), chain(&error))),
            }
        }
        Ok(page)
    }

    /// So many names behind this one, in order, and whether there are more. A list is read from the directory as it begins,
    /// and not for each of its pages.
    async fn names(&self, after: Option<&str>, most: usize) -> io::Result<(Vec<MessageId>, bool)> {
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = known.filter(|known| after.is_some_and(|after| known.goes_on(after)));
        let listed = match known {
            Some(listed) => listed,
            None => {
                let (spool, behind) = (self.spool.clone(), after.map(str::to_owned));
                let read = tokio::task::spawn_blocking(move || Listed::read(&spool, behind));
                read.await.unwrap_or_else(|error| Err(io::Error::other(error)))?
            }
        };
        let rest = listed.behind(after);
        let names = rest.get(..most).unwrap_or(rest).to_vec();
        let more = names.len() < rest.len() || listed.more;
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed).filter(|_| more);
        Ok((names, more))
    }

    pub(in crate::delivery) async fn show(&self, id: &MessageId) -> Result<Waiting, OrderError> {
        let stored = self.spool.peek(id).await.map_err(fault)?;
        Ok(self.waiting(&stored))
    }

    pub(in crate::delivery) fn counts(&self) -> Counts {
        let now = self.now();
        let index = self.index();
        let count = |lane: &super::lane::Lane| DestinationCounts {
            destination: lane.destination.to_string(),
            messages: lane.legs,
            active: u64::from(lane.active),
            resting: lane.resting(now.tick).map(|until| now.wall_at(until)),
        };
        let mut destinations: Vec<_> = index.lanes().map(count).collect();
        let (held, oldest) = (index.held, index.oldest());
        drop(index);
        destinations.sort_by(|a, b| (b.messages, &a.destination).cmp(&(a.messages, &b.destination)));
        destinations.truncate(DESTINATIONS_MAX);
        Counts { messages: self.spool.depth(), held, oldest, destinations }
    }

    pub(in crate::delivery) async fn act(&self, id: &MessageId, action: Action) -> Result<(), OrderError> {
        if *self.stop.borrow() {
            return Err(OrderError::Stopped);
        }
        let token = self.known(id).await?;
        // An attempt whose end cannot be recorded keeps it until it can be: the operator, who may be about to mend the disk, is
        // told so.
        let _one_at_a_time = timeout(PATIENCE, self.lock(token)).await.map_err(|_| OrderError::Busy)?;
        match action {
            Action::Retry => self.retry(token)?,
            Action::Hold | Action::Release => self.hold(token, id, action == Action::Hold).await?,
            Action::Delete | Action::Bounce => {
                let now = self.now().tick;
                self.index().reserve(token).map_err(|taken| match taken {
                    Taken::Unknown => OrderError::Gone,
                    Taken::Busy => OrderError::Busy,
                })?;
                let ended = match action {
                    Action::Delete => self.delete(token, id).await,
                    _ => self.bounce(token, id).await,
                };
                // No more than a name of what is no more.
                self.index().release(token, now, |_| {});
                self.changed.notify_one();
                ended?;
            }
        }
        self.changed.notify_one();
        let action = action.name();
        tracing::info!(id = id.as_str(), action, "order carried out");
        Ok(())
    }

    /// The message's name in the index; one that was not read yet, or had no room, is looked for.
    async fn known(&self, id: &MessageId) -> Result<Token, OrderError> {
        let known = self.index().token(id);
        if let Some(token) = known {
            return Ok(token);
        }
        self.spool.peek(id).await.map_err(fault)?;
        self.take_in(id, false, false).await;
        self.index().token(id).ok_or(OrderError::Gone)
    }

    fn retry(&self, token: Token) -> Result<(), OrderError> {
        let now = self.now().tick;
        let mut index = self.index();
        if index.entry(token).ok_or(OrderError::Gone)?.held() {
            return Err(OrderError::Held);
        }
        index.change(token, now, |entry| entry.hurry(now));
        index.wake(token);
        Ok(())
    }

    async fn hold(&self, token: Token, id: &MessageId, hold: bool) -> Result<(), OrderError> {
        let stored = self.spool.peek(id).await.map_err(fault)?;
        if stored.progress.held != hold {
            self.spool.record(id, vec![if hold { Record::Held } else { Record::Released }]).await?;
        }
        let (now, retry) = (self.now(), self.settings.load().retry);
        // Whose time came while it was held is tried once more.
        let (envelope, warned) = (&stored.envelope, scan::warned(&stored));
        let times = Times::new(&retry, &Terms::of(envelope), envelope.received, warned, now);
        self.index().change(token, now.tick, |entry| {
            entry.hold(hold);
            entry.times = times;
        });
        Ok(())
    }

    async fn delete(&self, token: Token, id: &MessageId) -> Result<(), OrderError> {
        self.spool.remove(id).await?;
        self.index().forget(token);
        self.refill();
        Ok(())
    }

    async fn bounce(&self, token: Token, id: &MessageId) -> Result<(), OrderError> {
        let stored = Arc::new(self.spool.peek(id).await.map_err(fault)?);
        // RFC 3463 section 3.8: it is policy, and nothing of the message or its way, that ends it.
        let why = |_: usize, last: Option<&Failure>| {
            with_reason("5.7.1", "given up by the operator of this server".to_owned(), last)
        };
        match self.give_up(token, &stored, why).await? {
            true => Ok(()),
            false => Err(OrderError::Stopped),
        }
    }

    fn waiting(&self, stored: &Stored) -> Waiting {
        let (envelope, progress) = (&stored.envelope, &stored.progress);
        let now = self.now();
        let index = self.index();
        let token = index.token(&envelope.id);
        let next = token.and_then(|token| index.next_due(token, now.tick)).map(|due| now.wall_at(due));
        drop(index);
        let recipient = |(at, standing): (usize, &crate::spool::Standing)| {
            let address = envelope.recipients.get(at).map_or(String::new(), |recipient| recipient.address.clone());
            (address, self.way(envelope, at).destination, standing.clone())
        };
        Waiting {
            id: envelope.id.clone(),
            received: envelope.received,
            listener: envelope.listener.clone(),
            sender: envelope.sender.clone(),
            size: stored.content_len,
            attempts: progress.attempt.map_or(0, |attempt| attempt.number),
            next: next.filter(|_| !progress.held),
            held: progress.held,
            recipients: progress.recipients.iter().enumerate().map(recipient).collect(),
        }
    }

    fn selected(&self, selection: &Selection, envelope: &Envelope, waiting: &Waiting) -> bool {
        let age = self.now().wall.saturating_sub(waiting.received);
        let left = || waiting.recipients.iter().filter(|(_, _, standing)| standing.ended.is_none());
        let any = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        any(&selection.sender, &|wanted| is_address(wanted, &waiting.sender))
            && any(&selection.recipient, &|wanted| left().any(|(address, ..)| is_address(wanted, address)))
            && any(&selection.destination, &|wanted| left().any(|(_, destination, _)| destination == wanted))
            && selection.older_than.is_none_or(|time| age >= schedule::millis(time))
            && selection.younger_than.is_none_or(|time| age <= schedule::millis(time))
            && selection.held.is_none_or(|held| waiting.held == held)
            && selection.meta.iter().all(|(name, wanted)| {
                let value = envelope.message.get(name).or_else(|| envelope.connection.get(name));
                value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
            })
    }
}

/// The names of the queue as a list found them.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    at: Instant,
    /// It begins behind this name.
    behind: Option<String>,
    names: Arc<[MessageId]>,
    /// Whether there are more behind its last.
    more: bool,
}

impl Listed {
    /// The first names behind this one. Blocking.
    fn read(spool: &Spool, behind: Option<String>) -> io::Result<Listed> {
        // Of the smallest names only so many are kept while the directory is read through.
        let (mut names, mut more) = (BTreeSet::new(), false);
        for id in spool.queued()? {
            if behind.as_deref().is_none_or(|behind| id.as_str() > behind) {
                names.insert(id);
            }
            if names.len() > LISTED_MAX {
                names.pop_last();
                more = true;
            }
        }
        Ok(Listed { at: Instant::now(), behind, names: names.into_iter().collect(), more })
    }

    /// Whether what is behind this name is known, and as good as new.
    fn goes_on(&self, after: &str) -> bool {
        self.at.elapsed() < LISTED_FOR
            && self.behind.as_deref().is_none_or(|behind| behind <= after)
            && !self.behind(Some(after)).is_empty()
    }

    fn behind(&self, after: Option<&str>) -> &[MessageId] {
        let from = self.names.partition_point(|id| after.is_some_and(|after| id.as_str() <= after));
        self.names.get(from..).unwrap_or_default()
    }
}

/// Whether an address is the wanted one, or of the wanted `@DOMAIN`; `<>` wants the null sender.
fn is_address(wanted: &str, address: &str) -> bool {
    let domain = || address.rsplit_once('@').map_or("", |(_, domain)| domain);
    match wanted.strip_prefix('@') {
        Some(wanted) => domain().eq_ignore_ascii_case(wanted),
        None if wanted == "<>" => address.is_empty(),
        None => address.eq_ignore_ascii_case(wanted),
    }
}

fn fault(error: LoadError) -> OrderError {
    match error {
        LoadError::Gone => OrderError::Gone,
        LoadError::Io(error) => OrderError::Io(error),
        other => OrderError::Io(io::Error::other(other)),
    }
}

impl Action {
    /// As the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Retry => "retry",
            Action::Hold => "hold",
            Action::Release => "release",
            Action::Delete => "delete",
            Action::Bounce => "bounce",
        }
    }
}

const DESTINATIONS_MAX: usize = 100;

/// How long an order waits for what is being recorded of its message.
const PATIENCE: Duration = Duration::from_secs(2);

/// Names that are held for the next pages of a list: some ten MiB.
const LISTED_MAX: usize = 100_000;

/// How long the pages of one list come from one reading.
const LISTED_FOR: Duration = Duration::from_secs(60);
