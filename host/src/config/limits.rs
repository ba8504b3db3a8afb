//! `limits`: how much a client may ask for, on a listener and for the networks of its peer blocks.
//!
//! One table of keys; who counts what, and what is said when a limit is reached, the room does not know.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Table, Value};
use super::value::{show_duration, show_size};

/// What becomes of a client that breaks the rules of turn-taking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// It is served all the same.
    #[default]
    Allow,
    /// 421 4.7.0, and the connection is closed.
    Refuse,
}

/// What becomes of a client in the words of the file.
const MANNERS: [(&str, Manners); 2] = [("allow", Manners::Allow), ("refuse", Manners::Refuse)];

/// Every count that is a limit of a session ends somewhere, so that a slip of the finger is found.
const MANY: u32 = 1_000_000_000;
const TICK: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that a session is made to wait for nothing.
const PAUSE: Duration = Duration::from_secs(30);

// How a limit is written and shown, with the range it must lie in.
struct Count(RangeInclusive<u32>);
struct Octets(RangeInclusive<u32>);
struct Size(RangeInclusive<u64>);
struct Time(RangeInclusive<Duration>);
struct Word;

impl Count {
    fn read(self, value: Value<'_>) -> Option<u32> {
        value.count(self.0)
    }

    fn show(count: u32) -> String {
        if count == 0 { "no limit".to_owned() } else { count.to_string() }
    }
}

impl Octets {
    fn read(self, value: Value<'_>) -> Option<u32> {
        value.octets(self.0)
    }

    fn show(octets: u32) -> String {
        Size::show(octets.into())
    }
}

impl Size {
    fn read(self, value: Value<'_>) -> Option<u64> {
        value.size(self.0)
    }

    fn show(octets: u64) -> String {
        if octets == 0 { "no limit".to_owned() } else { show_size(octets) }
    }
}

impl Time {
    fn read(self, value: Value<'_>) -> Option<Duration> {
        value.duration(self.0)
    }

    fn show(time: Duration) -> String {
        if time.is_zero() { "none".to_owned() } else { show_duration(time) }
    }
}

impl Word {
    fn read(self, value: Value<'_>) -> Option<Manners> {
        value.choice(&MANNERS)
    }

    fn show(manners: Manners) -> String {
        MANNERS.iter().find(|(_, chosen)| *chosen == manners).map(|(word, _)| (*word).to_owned()).unwrap_or_default()
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $key:literal, $default:expr, $measure:ident $(($range:expr))?;)*) => {
        /// How much a client may ask for. Counts and sizes of 0 are no limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[$doc])* pub $name: $kind,)* }

        /// What was written of [`Limits`] in one place.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct LimitsPart { $(#[doc = concat!("`limits.", $key, "`")] pub $name: Option<$kind>,)* }

        impl Limits {
            /// The keys, in the order of the documentation.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            /// These limits with what `part` holds put over them.
            pub fn with(self, part: &LimitsPart) -> Limits {
                Limits { $($name: part.$name.unwrap_or(self.$name),)* }
            }

            /// Each key with its value, as one would write it; `no limit` and `none` where there is none.
            pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
                [$(($key, $measure::show(self.$name))),*].into_iter()
            }
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }

        impl LimitsPart {
            /// `limits` of a listener or a peer block.
            pub(super) fn read(mut table: Table<'_>) -> LimitsPart {
                let part = LimitsPart {
                    $($name: table.take($key).and_then(|value| $measure$(($range))?.read(value)),)*
                };
                table.finish();
                part
            }
        }
    };
}

limits! {
    /// Sessions at a time: on a listener all of its sessions together, in a peer block those of that network together.
    connections: u32 = "connections", 1000, Count(1..=1_000_000);
    /// Sessions of one address at a time.
    connections_per_address: u32 = "connections-per-address", 250, Count(0..=1_000_000);
    /// Sessions of one /24 (IPv4) or /64 (IPv6) at a time.
    connections_per_prefix: u32 = "connections-per-prefix", 500, Count(0..=1_000_000);
    // RFC 9422 section 4: MAILMAX has six digits at most.
    /// Messages of one session.
    messages: u32 = "messages", 10_000, Count(0..=999_999);
    /// Recipients of one message.
    recipients: u32 = "recipients", 1000, Count(0..=100_000);
    /// Recipients of one session.
    session_recipients: u32 = "session-recipients", 100_000, Count(0..=MANY);
    /// Octets of one message.
    message_size: u64 = "message-size", 50 * 1024 * 1024, Size(0..=1 << 40);
    /// Octets of a message's header.
    header_size: u64 = "header-size", 1024 * 1024, Size(0..=1 << 30);
    /// Lines of a message's header.
    header_lines: u32 = "header-lines", 10_000, Count(0..=MANY);
    /// Received fields of a message: one that has more is on its way in a circle.
    hops: u32 = "hops", 100, Count(0..=10_000);
    // RFC 5321 section 4.5.3.1.4: every server takes command lines of 512 octets.
    /// Octets of one command line, CR LF included.
    command_line: u32 = "command-line", 4096, Octets(512..=64 * 1024);
    /// Commands of one session.
    commands: u32 = "commands", 100_000, Count(0..=MANY);
    /// Commands that carry no mail forward, between two messages.
    junk_commands: u32 = "junk-commands", 100, Count(0..=MANY);
    /// Commands answered by 5xx: the one that reaches it ends the session.
    errors: u32 = "errors", 20, Count(0..=MANY);
    /// From this error on replies to errors are held back.
    tarpit_after: u32 = "tarpit-after", 10, Count(0..=MANY);
    /// How long each is held back.
    tarpit: Duration = "tarpit", Duration::from_secs(1), Time(Duration::ZERO..=PAUSE);
    /// Failed logins of one address, and of one user, within `auth-window`.
    auth_failures: u32 = "auth-failures", 20, Count(0..=MANY);
    /// How long a failed login counts.
    auth_window: Duration = "auth-window", Duration::from_secs(10 * 60), Time(SECOND..=DAY);
    // RFC 5321 section 4.5.3.2.7: at least five minutes.
    /// How long the server waits for a command.
    command_timeout: Duration = "command-timeout", Duration::from_secs(5 * 60), Time(TICK..=DAY);
    /// How long the server waits for the next piece of a message.
    data_timeout: Duration = "data-timeout", Duration::from_secs(5 * 60), Time(TICK..=DAY);
    /// How long a transaction may take from MAIL to its end.
    transaction_timeout: Duration = "transaction-timeout", Duration::from_secs(60 * 60), Time(TICK..=DAY);
    /// Octets of a message that must come in each second, once `data-timeout` is used up by what came slower.
    data_rate: u32 = "data-rate", 500, Octets(0..=1 << 30);
    /// The longest delay of a reply (a tarpit) that an extension may ask for.
    delay: Duration = "delay", Duration::from_secs(30), Time(Duration::ZERO..=DAY);
    /// How long the server listens before it says its banner.
    banner_delay: Duration = "banner-delay", Duration::ZERO, Time(Duration::ZERO..=PAUSE);
    /// What becomes of those who talk before the banner.
    early_talk: Manners = "early-talk", Manners::Allow, Word;
    /// What becomes of those who send more behind a command that must end a group (RFC 2920 section 3.1), or pipeline
    /// without having been offered it.
    unauthorized_pipelining: Manners = "unauthorized-pipelining", Manners::Allow, Word;
}
