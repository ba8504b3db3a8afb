//! `[delivery]`: how much is attempted at a time, when what failed is tried again, and who is told.

use std::time::Duration;

use super::Problem;
use super::reader::{Table, Value};
use super::value::show_duration;

/// `[delivery]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Attempts at a time.
    pub concurrency: Concurrency,
    /// When a message is tried again, and when it is given up.
    pub retry: Retry,
}

/// Attempts at a time, of all destinations together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency(pub u32);

impl Default for Concurrency {
    fn default() -> Concurrency {
        Concurrency(64)
    }
}

/// `retry`: the schedule. Each wait is twice the one before, up to the longest, and as much as a tenth shorter or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The wait after the first attempt.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// When the sender is told of the delay, from when the message was accepted; zero: never.
    pub warn: Duration,
    /// When it is given up (RFC 5321 section 4.5.4.1: four or five days).
    pub expire: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        Retry { first: Duration::from_secs(5 * 60), longest: HOUR, warn: 4 * HOUR, expire: 5 * 24 * HOUR }
    }
}

impl Delivery {
    /// `[delivery]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Delivery {
        let default = Delivery::default();
        let Some(mut table) = root.table("delivery") else { return default };
        let concurrency = table.take("concurrency").and_then(|value| value.count(1..=10_000));
        let retry = table.table("retry").map(Retry::read);
        table.finish();
        Delivery {
            concurrency: concurrency.map_or(default.concurrency, Concurrency),
            retry: retry.unwrap_or(default.retry),
        }
    }
}

impl Retry {
    /// `retry`. What is left out gives way to what is written beside it.
    fn read(mut table: Table<'_>) -> Retry {
        const TICK: Duration = Duration::from_millis(100);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let default = Retry::default();
        let keys = ["first", "longest", "warn", "expire"].map(|key| table.take(key));
        table.finish();
        let [first, longest, warn, expire] = keys;
        let read = |value: Option<Value<'_>>, least, most| value.and_then(|value| value.duration(least..=most));
        let (start, top) = (read(first, TICK, DAY), read(longest, TICK, DAY));
        let (told, over) = (read(warn, Duration::ZERO, 30 * DAY), read(expire, TICK, 30 * DAY));
        if let (Some(first), Some(start), Some(top)) = (first, start, top)
            && start > top
        {
            let problem = Problem::at(first.place, "the first wait is longer than the longest");
            first.note(problem.help("lower `first` or raise `longest`"));
        }
        let expire = over.unwrap_or(default.expire);
        if let (Some(warn), Some(told)) = (warn, told)
            && told >= expire
        {
            let message =
                format!("nobody is told of a delay once the message is given up, after {}", show_duration(expire));
            warn.note(Problem::at(warn.place, message).help("lower `warn`, or write \"0s\" for no notice of delays"));
        }
        let first = start.unwrap_or_else(|| top.map_or(default.first, |top| top.min(default.first)));
        Retry {
            first,
            longest: top.unwrap_or(default.longest.max(first)),
            warn: told.unwrap_or(if default.warn < expire { default.warn } else { Duration::ZERO }),
            expire,
        }
    }
}
