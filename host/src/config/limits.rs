//! `limits`: how much a client may ask for, on a listener and for the networks of its peer blocks.
//!
//! One table of keys; who counts what, and what is said when a limit is reached, the room does not know.

use std::time::Duration;

use super::reader::{Table, Value};

/// What becomes of a client that breaks the rules of turn-taking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// It is served all the same.
    #[default]
    Allow,
    /// 421 4.7.0, and the connection is closed.
    Refuse,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $key:literal, $default:expr;)*) => {
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
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }
    };
}

limits! {
    /// Sessions at a time: on a listener all of its sessions together, in a peer block those of that network together.
    connections: u32 = "connections", 1000;
    /// Sessions of one address at a time.
    connections_per_address: u32 = "connections-per-address", 250;
    /// Sessions of one /24 (IPv4) or /64 (IPv6) at a time.
    connections_per_prefix: u32 = "connections-per-prefix", 500;
    /// Messages of one session.
    messages: u32 = "messages", 10_000;
    /// Recipients of one message.
    recipients: u32 = "recipients", 1000;
    /// Recipients of one session.
    session_recipients: u32 = "session-recipients", 100_000;
    /// Octets of one message; 0 for no limit.
    message_size: u64 = "message-size", 50 * 1024 * 1024;
    /// Octets of a message's header.
    header_size: u64 = "header-size", 1024 * 1024;
    /// Lines of a message's header.
    header_lines: u32 = "header-lines", 10_000;
    /// Received fields of a message: one that has more is on its way in a circle.
    hops: u32 = "hops", 100;
    /// Octets of one command line, CR LF included.
    command_line: u32 = "command-line", 4096;
    /// Commands of one session.
    commands: u32 = "commands", 100_000;
    /// Commands that carry no mail forward, between two messages.
    junk_commands: u32 = "junk-commands", 100;
    /// Commands answered by 5xx: the one that reaches it ends the session.
    errors: u32 = "errors", 20;
    /// From this error on replies to errors are held back.
    tarpit_after: u32 = "tarpit-after", 10;
    /// How long each is held back.
    tarpit: Duration = "tarpit", Duration::from_secs(1);
    /// Failed logins of one address, and of one user, within `auth-window`.
    auth_failures: u32 = "auth-failures", 20;
    /// How long a failed login counts.
    auth_window: Duration = "auth-window", Duration::from_secs(10 * 60);
    // RFC 5321 section 4.5.3.2.7: at least five minutes.
    /// How long the server waits for a command.
    command_timeout: Duration = "command-timeout", Duration::from_secs(5 * 60);
    /// How long the server waits for the next piece of a message.
    data_timeout: Duration = "data-timeout", Duration::from_secs(5 * 60);
    /// How long a transaction may take from MAIL to its end.
    transaction_timeout: Duration = "transaction-timeout", Duration::from_secs(60 * 60);
    /// Octets of a message that must come in each second, once `data-timeout` is used up by what came slower.
    data_rate: u32 = "data-rate", 500;
    /// The longest delay of a reply (a tarpit) that an extension may ask for.
    delay: Duration = "delay", Duration::from_secs(30);
    /// How long the server listens before it says its banner.
    banner_delay: Duration = "banner-delay", Duration::ZERO;
    /// What becomes of those who talk before the banner.
    early_talk: Manners = "early-talk", Manners::Allow;
    /// What becomes of those who send more behind a command that must end a group (RFC 2920 section 3.1), or pipeline
    /// without having been offered it.
    unauthorized_pipelining: Manners = "unauthorized-pipelining", Manners::Allow;
}

impl LimitsPart {
    pub(super) fn read(mut table: Table<'_>) -> LimitsPart {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const TICK: Duration = Duration::from_millis(1);
        let part = LimitsPart {
            connections: table.take("connections").and_then(|value| value.count(1..=1_000_000)),
            recipients: table.take("recipients").and_then(|value| value.count(1..=100_000)),
            message_size: table.take("message-size").and_then(|value| value.size(0..=1 << 40)),
            // RFC 5321 section 4.5.3.1.4: every server takes command lines of 512 octets.
            command_line: table
                .take("command-line")
                .and_then(|value: Value<'_>| value.size(512..=64 * 1024))
                .and_then(|octets| u32::try_from(octets).ok()),
            command_timeout: table.take("command-timeout").and_then(|value| value.duration(TICK..=DAY)),
            data_timeout: table.take("data-timeout").and_then(|value| value.duration(TICK..=DAY)),
            delay: table.take("delay").and_then(|value| value.duration(Duration::ZERO..=DAY)),
            ..LimitsPart::default()
        };
        table.finish();
        part
    }
}
