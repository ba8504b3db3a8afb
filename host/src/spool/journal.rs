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
//! | `crashed` | the process, or the attempt, broke off while the message was in hand |
//! | `held`, `released` | the operator's word |
//! | `aside JSON` | it was moved into the quarantine, by whom and why; `released` ends that, too |

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
            Record::Held => "held".to_owned(),
            Record::Released => "released".to_owned(),
            Record::Aside(why) => format!("aside {}", json(serde_json::to_string(why))),
        };
        format!("\n{text} {}", check(id.as_str(), &text))
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
            "held" => Record::Held,
            "released" => Record::Released,
            "aside" => Record::Aside(serde_json::from_str(payload).ok()?),
            _ => return None,
        })
    }
}

impl Progress {
    /// What a log says of a message with so many recipients. What is no record of this message is passed over.
    pub(super) fn read(id: &MessageId, recipients: usize, log: &[u8]) -> Progress {
        let mut progress = Progress { recipients: vec![Standing::default(); recipients], ..Progress::default() };
        for line in log.split(|octet| *octet == b'\n') {
            let record = std::str::from_utf8(line).ok().and_then(|line| line.rsplit_once(' '));
            let record = record.filter(|(text, sum)| check(id.as_str(), text) == *sum);
            if let Some(record) = record.and_then(|(text, _)| Record::parse(text)) {
                progress.apply(record);
            }
        }
        progress
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

pub(super) fn check(id: &str, text: &str) -> String {
    Sha256::digest(format!("{id} {text}")).iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}
