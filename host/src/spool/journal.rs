//! The log of a message: what became of it since it was accepted, one record a line, and what all of them together say.
//!
//! ```text
//! \n<kind>[ <payload>] <first 16 hex of the sha256 of "<id> <kind>[ <payload>]">
//! ```
//!
//! A record begins with the line feed, so one that was torn by a crash is passed over and does not spoil the next. What a
//! later version records and this one does not know is passed over, too.
//!
//! | record | what it says |
//! | --- | --- |
//! | `delivered I` | recipient I was served |
//! | `failed I FAILURE` | it never will be, and whoever is to be told is told |
//! | `deferred I FAILURE` | the last attempt at it ended so |
//! | `delayed I` | its sender was told that it takes longer |
//! | `attempt JSON` | an attempt ended; its number, when it began, when the next one is due |
//! | `acquitted` | an attempt lasted, so it was not this message that broke off those before |
//! | `crashed` | the process, or the attempt, broke off while the message was in hand |
//! | `held`, `released` | the operator's word |
//! | `aside JSON` | it was moved into the quarantine, by whom and why; `released` ends that, too |

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Failure, MessageId, Quarantined};

/// One thing that became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The recipient at this index was served.
    Delivered(usize),
    /// It never will be.
    Failed(usize, Failure),
    /// It was not served this time.
    Deferred(usize, Failure),
    /// Its sender was told of the delay.
    Delayed(usize),
    /// An attempt ended.
    Attempt(Attempt),
    /// The process or the attempt broke off.
    Crashed,
    /// An attempt lasted: it was not this message that broke off those before.
    Acquitted,
    /// Nothing is tried until it is released.
    Held,
    /// It goes on, and starts over with what is held against it.
    Released,
    /// It was moved into the quarantine.
    Aside(Quarantined),
}

/// An attempt at what was left of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// When it began, in milliseconds since 1970.
    pub at: u64,
    /// When the next one is due.
    pub next: u64,
}

/// What all records of a message say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How each recipient stands, in the envelope's order.
    pub recipients: Vec<Standing>,
    /// The last attempt that ended.
    pub attempt: Option<Attempt>,
    /// How often the process or an attempt broke off since an attempt last ended in order.
    pub crashes: u32,
    /// Whether the operator holds it.
    pub held: bool,
    /// Why it was moved into the quarantine, until it is released.
    pub aside: Option<Quarantined>,
}

/// How one recipient stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Served, or given up.
    pub ended: Option<Ended>,
    /// Why it was not served the last time.
    pub deferred: Option<Failure>,
    /// Whether its sender was told of the delay.
    pub delayed: bool,
}

/// How a recipient ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was served.
    Delivered,
    /// It never will be, because of this.
    Failed(Failure),
}

impl Record {
    /// Whether what follows relies on it: then it is fsynced before. What says no more than why something waits may be
    /// lost by a power cut, and costs an attempt too early.
    pub(super) fn is_relied_on(&self) -> bool {
        !matches!(self, Record::Deferred(..) | Record::Attempt(_))
    }

    pub(super) fn line(&self, id: &MessageId) -> String {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let text = match self {
            Record::Delivered(index) => format!("delivered {index}"),
            Record::Failed(index, failure) => format!("failed {index} {}", json(serde_json::to_string(failure))),
            Record::Deferred(index, failure) => format!("deferred {index} {}", json(serde_json::to_string(failure))),
            Record::Delayed(index) => format!("delayed {index}"),
            Record::Attempt(attempt) => format!("attempt {}", json(serde_json::to_string(attempt))),
            Record::Crashed => "crashed".to_owned(),
            Record::Acquitted => "acquitted".to_owned(),
            Record::Held => "held".to_owned(),
            Record::Released => "released".to_owned(),
            Record::Aside(why) => format!("aside {}", json(serde_json::to_string(why))),
        };
        line(id, &text)
    }

    fn parse(text: &str) -> Option<Record> {
        let (kind, payload) = text.split_once(' ').unwrap_or((text, ""));
        let index = |payload: &str| payload.parse::<usize>().ok();
        let failure = |payload: &str| {
            let (at, failure) = payload.split_once(' ')?;
            Some((index(at)?, serde_json::from_str(failure).ok()?))
        };
        Some(match kind {
            "delivered" => Record::Delivered(index(payload)?),
            "failed" => failure(payload).map(|(at, failure)| Record::Failed(at, failure))?,
            "deferred" => failure(payload).map(|(at, failure)| Record::Deferred(at, failure))?,
            "delayed" => Record::Delayed(index(payload)?),
            "attempt" => Record::Attempt(serde_json::from_str(payload).ok()?),
            "crashed" => Record::Crashed,
            "acquitted" => Record::Acquitted,
            "held" => Record::Held,
            "released" => Record::Released,
            "aside" => Record::Aside(serde_json::from_str(payload).ok()?),
            _ => return None,
        })
    }
}

impl Progress {
    /// What a log says of a message with so many recipients. What is no record of this message is passed over. Takes no
    /// more memory than what it says.
    pub(super) fn read(id: &MessageId, recipients: usize, log: impl BufRead) -> io::Result<Progress> {
        let mut progress = Progress { recipients: vec![Standing::default(); recipients], ..Progress::default() };
        each_line(id, log, |text| {
            if let Some(record) = Record::parse(text) {
                progress.apply(record);
            }
        })?;
        Ok(progress)
    }

    /// Whether anything in a log is of this message.
    pub(super) fn is_in(id: &MessageId, log: impl BufRead) -> io::Result<bool> {
        let mut any = false;
        each_line(id, log, |_| any = true)?;
        Ok(any)
    }

    /// As few records as say the same.
    fn records(&self) -> Vec<Record> {
        let standing = self.recipients.iter().enumerate().flat_map(|(index, standing)| {
            let ended = standing.ended.clone().map(|ended| match ended {
                Ended::Delivered => Record::Delivered(index),
                Ended::Failed(failure) => Record::Failed(index, failure),
            });
            let deferred = standing.deferred.clone().map(|failure| Record::Deferred(index, failure));
            let delayed = standing.delayed.then_some(Record::Delayed(index));
            [ended, deferred, delayed].into_iter().flatten()
        });
        // An attempt takes the crashes before it back, so it comes first.
        let crashes = (0..self.crashes.min(CRASHES_KEPT)).map(|_| Record::Crashed);
        let rest = [self.held.then_some(Record::Held), self.aside.clone().map(Record::Aside)];
        standing.chain(self.attempt.map(Record::Attempt)).chain(crashes).chain(rest.into_iter().flatten()).collect()
    }

    /// The recipients that are neither served nor given up, in order.
    pub fn pending(&self) -> Vec<usize> {
        let open = self.recipients.iter().enumerate().filter(|(_, standing)| standing.ended.is_none());
        open.map(|(index, _)| index).collect()
    }

    fn apply(&mut self, record: Record) {
        let mut standing = |index: usize, change: &dyn Fn(&mut Standing)| {
            if let Some(standing) = self.recipients.get_mut(index) {
                change(standing);
            }
        };
        match record {
            Record::Delivered(index) => standing(index, &|it| it.ended = Some(Ended::Delivered)),
            Record::Failed(index, failure) => standing(index, &|it| it.ended = Some(Ended::Failed(failure.clone()))),
            Record::Deferred(index, failure) => standing(index, &|it| it.deferred = Some(failure.clone())),
            Record::Delayed(index) => standing(index, &|it| it.delayed = true),
            Record::Attempt(attempt) => {
                self.attempt = Some(attempt);
                self.crashes = 0;
            }
            Record::Crashed => self.crashes = self.crashes.saturating_add(1),
            Record::Acquitted => self.crashes = 0,
            Record::Held => self.held = true,
            Record::Released => {
                self.held = false;
                self.aside = None;
                self.crashes = 0;
            }
            Record::Aside(why) => self.aside = Some(why),
        }
    }
}

/// A log that says the same in as few lines as there are; what this version does not know is kept as it stands.
pub(super) fn compact(id: &MessageId, log: impl BufRead) -> io::Result<String> {
    let mut progress = Progress::default();
    let mut unknown = String::new();
    each_line(id, log, |text| {
        let Some(record) = Record::parse(text) else {
            unknown.push_str(&line(id, text));
            return;
        };
        let index = match &record {
            Record::Delivered(at) | Record::Failed(at, _) | Record::Deferred(at, _) | Record::Delayed(at) => Some(*at),
            _ => None,
        };
        // How many recipients there are is not known here; no envelope has room for so many.
        if let Some(index) = index.filter(|index| *index < RECIPIENTS_MAX && *index >= progress.recipients.len()) {
            progress.recipients.resize(index + 1, Standing::default());
        }
        progress.apply(record);
    })?;
    let known: String = progress.records().iter().map(|record| record.line(id)).collect();
    Ok(known + &unknown)
}

/// Each line that is a whole record of this message, without its check.
fn each_line(id: &MessageId, mut log: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let whole = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(&line)).ok();
        let record = whole.and_then(|line| line.rsplit_once(' '));
        if let Some((text, _)) = record.filter(|(text, sum)| check(id.as_str(), text) == *sum) {
            each(text);
        }
    }
}

fn line(id: &MessageId, text: &str) -> String {
    format!("\n{text} {}", check(id.as_str(), text))
}

pub(super) fn check(id: &str, text: &str) -> String {
    Sha256::digest(format!("{id} {text}")).iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

/// Octets of a line; a longer one is none of ours.
const LINE_MAX: u64 = 64 * 1024;

const RECIPIENTS_MAX: usize = 1 << 20;

/// Far more than anybody waits for.
const CRASHES_KEPT: u32 = 1000;
