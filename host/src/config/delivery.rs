//! `[delivery]`: how much is attempted at a time, when what failed is tried again, and who is told.

use std::time::Duration;

use super::reader::Table;

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
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let default = Delivery::default();
        let Some(mut table) = root.table("delivery") else { return default };
        let concurrency = table.take("concurrency").and_then(|value| value.count(1..=10_000));
        let retry = table.table("retry").map(|mut table| {
            let default = Retry::default();
            let first = table.take("first").and_then(|value| value.duration(SECOND..=DAY));
            let longest = table.take("longest").and_then(|value| value.duration(SECOND..=DAY));
            let warn = table.take("warn").and_then(|value| value.duration(Duration::ZERO..=30 * DAY));
            let expire = table.take("expire").and_then(|value| value.duration(SECOND..=30 * DAY));
            table.finish();
            Retry {
                first: first.unwrap_or(default.first),
                longest: longest.unwrap_or(default.longest),
                warn: warn.unwrap_or(default.warn),
                expire: expire.unwrap_or(default.expire),
            }
        });
        table.finish();
        Delivery {
            concurrency: concurrency.map_or(default.concurrency, Concurrency),
            retry: retry.unwrap_or(default.retry),
        }
    }
}
