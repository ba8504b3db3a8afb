//! `limits` of an extension: what one call of it may take, what all of its calls in one session may take together, and how
//! fast it may log.
//!
//! Two tables of keys. Here 0 is nothing at all, not no limit: what a guest may take always ends somewhere. Who counts, and
//! what comes of a budget that is used up, the room does not know.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Problem;
use super::reader::{Table, Value};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TICK: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Every count ends somewhere, so that a slip of the finger is found.
const MANY: u32 = 1_000_000_000;
/// What a table's elements can be: the pool that instances come from has room for so many.
pub const MOST_TABLE_ELEMENTS: u32 = 100_000;

struct Count(RangeInclusive<u32>);
struct Size(RangeInclusive<u64>);
struct Time(RangeInclusive<Duration>);

impl Count {
    fn read(self, value: Value<'_>) -> Option<u32> {
        value.count(self.0)
    }
}

impl Size {
    fn read(self, value: Value<'_>) -> Option<u64> {
        value.size(self.0)
    }
}

impl Time {
    fn read(self, value: Value<'_>) -> Option<Duration> {
        value.duration(self.0)
    }
}

macro_rules! limits {
    (
        $(#[$what:meta])* $Limits:ident, $(#[$part:meta])* $Part:ident
        $(with $(#[$inner:meta])* $nested:ident: $Nested:ident, $NestedPart:ident = $below:literal)?;
        $($(#[$doc:meta])* $name:ident: $kind:ty = $key:literal, $default:expr, $measure:ident($range:expr);)*
    ) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Limits {
            $($(#[$doc])* pub $name: $kind,)*
            $($(#[$inner])* pub $nested: $Nested,)?
        }

        $(#[$part])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $Part {
            $(#[doc = concat!("`", $key, "`")] pub $name: Option<$kind>,)*
            $(#[doc = concat!("`", $below, "`")] pub $nested: $NestedPart,)?
        }

        impl $Limits {
            /// These limits with what `part` holds in their place.
            pub(super) fn with(self, part: &$Part) -> $Limits {
                $Limits {
                    $($name: part.$name.unwrap_or(self.$name),)*
                    $($nested: self.$nested.with(&part.$nested),)?
                }
            }

            /// The narrower of these limits and what `part` holds, each by itself: a listener can tighten what an extension
            /// may take and never widen it.
            pub fn narrowed(&self, part: &$Part) -> $Limits {
                $Limits {
                    $($name: part.$name.unwrap_or(self.$name).min(self.$name),)*
                    $($nested: self.$nested.narrowed(&part.$nested),)?
                }
            }
        }

        impl Default for $Limits {
            fn default() -> $Limits {
                $Limits { $($name: $default,)* $($nested: $Nested::default(),)? }
            }
        }

        impl $Part {
            /// The table of an extension, or of its use on a listener.
            pub(super) fn read(mut table: Table<'_>) -> $Part {
                let part = $Part {
                    $($name: table.take($key).and_then(|value| $measure($range).read(value)),)*
                    $($nested: table.table($below).map($NestedPart::read).unwrap_or_default(),)?
                };
                check_times(&table, part.cpu, part.wall);
                table.finish();
                part
            }
        }
    };
}

limits! {
    /// What one call of an extension may take, and all of a session together.
    ExtensionLimits,
    /// What was written of [`ExtensionLimits`] in one place.
    ExtensionLimitsPart
        with
        /// All calls of one session together.
        session: SessionLimits, SessionLimitsPart = "session";
    // One page of WebAssembly memory, and all that 32-bit addresses reach.
    /// Octets of memory of one instance.
    memory: u64 = "memory", 16 * MIB, Size(64 * KIB..=4 * GIB);
    // Rust guests have a few hundred; a JavaScript engine brings 7,700, an interpreter in shared libraries more. 8 octets each.
    /// Elements of all tables of one instance together.
    tables: u32 = "tables", 50_000, Count(0..=MOST_TABLE_ELEMENTS);
    /// CPU time of one call.
    cpu: Duration = "cpu", Duration::from_millis(50), Time(TICK..=HOUR);
    /// Time of one call as a clock on the wall sees it, waiting included.
    wall: Duration = "wall", Duration::from_secs(5), Time(TICK..=HOUR);
    /// Octets that cross by host calls in one call.
    host_bytes: u64 = "host-bytes", MIB, Size(0..=1024 * GIB);
    /// Host calls in one call.
    host_calls: u32 = "host-calls", 10_000, Count(0..=MANY);
    /// Lines logged in one call.
    log_lines: u32 = "log-lines", 50, Count(0..=1_000_000);
    /// Lines logged in a second, by all sessions of a listener together; ten seconds' worth may come at once.
    log_rate: u32 = "log-rate", 100, Count(0..=1_000_000);
    // A scope of the context holds 128 names, and a client may set all of them in one command.
    /// Changes staged in one call: of the context, the client, the login, the envelope, the header.
    edits: u32 = "edits", 200, Count(0..=MANY);
    /// Streams opened in one call.
    handles: u32 = "handles", 8, Count(0..=1000);
    /// Operations on the store in one call.
    kv: u32 = "kv", 100, Count(0..=MANY);
    /// Questions of the DNS in one call.
    dns: u32 = "dns", 20, Count(0..=1_000_000);
    /// Requests in one call.
    http: u32 = "http", 5, Count(0..=1_000_000);
}

// A session has 10,000 messages at most where `limits.messages` is left alone. Counts are ten thousand times a call's, so
// that they end only what uses up one whole budget for each message. Times are what no session needs that does some work
// for each: 60 ms of CPU and more than a second of waiting.
limits! {
    /// What all calls of an extension in one session may take together.
    SessionLimits,
    /// What was written of [`SessionLimits`] in one place.
    SessionLimitsPart;
    /// CPU time; calls that are over before they are looked at, within a millisecond, cost none.
    cpu: Duration = "cpu", Duration::from_secs(10 * 60), Time(TICK..=DAY);
    /// Time as a clock on the wall sees it, waiting for room left out.
    wall: Duration = "wall", 4 * HOUR, Time(TICK..=30 * DAY);
    /// Octets that cross by host calls.
    host_bytes: u64 = "host-bytes", 10_000 * MIB, Size(0..=1024 * GIB);
    /// Host calls.
    host_calls: u32 = "host-calls", 100_000_000, Count(0..=MANY);
    /// Lines logged.
    log_lines: u32 = "log-lines", 500_000, Count(0..=MANY);
    /// Changes staged.
    edits: u32 = "edits", 2_000_000, Count(0..=MANY);
    /// Streams opened.
    handles: u32 = "handles", 80_000, Count(0..=MANY);
    /// Operations on the store.
    kv: u32 = "kv", 1_000_000, Count(0..=MANY);
    /// Questions of the DNS.
    dns: u32 = "dns", 200_000, Count(0..=MANY);
    /// Requests.
    http: u32 = "http", 50_000, Count(0..=MANY);
}

fn check_times(table: &Table<'_>, cpu: Option<Duration>, wall: Option<Duration>) {
    if let (Some(value), Some(cpu), Some(wall)) = (table.written("cpu"), cpu, wall)
        && cpu > wall
    {
        let message = "`cpu` is more than `wall`: a call cannot compute longer than it lasts";
        table.note(Problem::at(value.place, message));
    }
}

/// What is counted of a call, and of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending {
    /// Octets that cross.
    HostBytes,
    /// Host calls.
    HostCalls,
    /// Changes staged.
    Edit,
    /// Streams opened.
    Handle,
    /// Operations on the store.
    Kv,
    /// Questions of the DNS.
    Dns,
    /// Requests.
    Http,
}

macro_rules! of {
    ($($Limits:ident),*) => { $(
        impl $Limits {
            /// How much there is of it.
            pub fn of(&self, what: Spending) -> u64 {
                match what {
                    Spending::HostBytes => self.host_bytes,
                    Spending::HostCalls => self.host_calls.into(),
                    Spending::Edit => self.edits.into(),
                    Spending::Handle => self.handles.into(),
                    Spending::Kv => self.kv.into(),
                    Spending::Dns => self.dns.into(),
                    Spending::Http => self.http.into(),
                }
            }
        }
    )* };
}
of!(ExtensionLimits, SessionLimits);

impl Spending {
    /// Its key in a call's limits, which is also the kind of failure.
    pub fn key(self) -> &'static str {
        match self {
            Spending::HostBytes => "host-bytes",
            Spending::HostCalls => "host-calls",
            Spending::Edit => "edits",
            Spending::Handle => "handles",
            Spending::Kv => "kv",
            Spending::Dns => "dns",
            Spending::Http => "http",
        }
    }

    /// The kind of failure where a session's is used up.
    pub fn session_key(self) -> &'static str {
        match self {
            Spending::HostBytes => "session-host-bytes",
            Spending::HostCalls => "session-host-calls",
            Spending::Edit => "session-edits",
            Spending::Handle => "session-handles",
            Spending::Kv => "session-kv",
            Spending::Dns => "session-dns",
            Spending::Http => "session-http",
        }
    }

    /// What a call did too much of, in the words of a message.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Spending::HostBytes => ("moved", "octets by host calls"),
            Spending::HostCalls => ("made", "host calls"),
            Spending::Edit => ("staged", "changes"),
            Spending::Handle => ("opened", "streams"),
            Spending::Kv => ("used `kv`", "times"),
            Spending::Dns => ("asked", "questions of the DNS"),
            Spending::Http => ("sent", "requests"),
        }
    }
}
