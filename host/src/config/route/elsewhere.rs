//! The keys of a route that leads to something that is no mail server: a webhook, or a NATS stream.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::reader::Value;
use super::super::{Host, Problem, Scheme};
use super::keys::Keys;
use super::to::is_this_machine;

/// `http://` and `https://`: each message is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTarget {
    /// Whether the connection is encrypted.
    pub scheme: Scheme,
    /// Which host.
    pub host: Host,
    /// Where.
    pub port: u16,
    /// The path, with a query if there is one.
    pub path: String,
    /// A file whose first line is sent as a bearer token. Absolute.
    pub token_file: Option<PathBuf>,
    /// Requests at a time.
    pub concurrency: u32,
    /// How long one may take.
    pub timeout: Duration,
}

impl WebhookTarget {
    /// The keys of a route to this URL.
    pub(super) fn read(url: (Scheme, Host, u16, String), keys: &mut Keys<'_>) -> Option<WebhookTarget> {
        let (scheme, host, port, path) = url;
        let token = keys.take("token-file");
        let concurrency = keys.take("concurrency").and_then(|value| value.count(1..=10_000));
        let timeout = keys.take("timeout").and_then(|value| value.duration(TIMEOUTS));
        if let Some(value) = token.filter(|_| scheme == Scheme::Http && !is_this_machine(&host)) {
            let problem = Problem::at(value.key, "the token could be read on the way");
            value.note(problem.help("post to `https://`, or leave `token-file` out"));
        }
        Some(WebhookTarget {
            scheme,
            host,
            port,
            path,
            token_file: token.and_then(Value::path),
            concurrency: concurrency.unwrap_or(10),
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
        })
    }
}

/// What is waited for at all, and not for ever.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10 * 60);

impl fmt::Display for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme.name(), self.host, self.port, self.path)
    }
}

/// `nats://HOST:PORT/SUBJECT`: each message is published to a JetStream stream, before its 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsTarget {
    /// Where the servers are.
    pub servers: NatsServers,
    /// The subject, which may hold `{domain}`, `{local}` and `{listener}`.
    pub subject: String,
    /// How long the acknowledgement may take.
    pub timeout: Duration,
}

impl NatsTarget {
    /// The keys of a route to this subject.
    pub(super) fn read(hosts: Vec<(Host, u16)>, subject: String, keys: &mut Keys<'_>) -> Option<NatsTarget> {
        let timeout = keys.take("timeout").and_then(|value| value.duration(TIMEOUTS));
        let servers = NatsServers::read(hosts, |key| keys.take(key));
        Some(NatsTarget { servers, subject, timeout: timeout.unwrap_or(Duration::from_secs(10)) })
    }
}

impl fmt::Display for NatsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.servers.hosts.first() {
            Some((host, port)) => write!(f, "nats://{host}:{port}/{}", self.subject),
            None => write!(f, "nats:{}", self.subject),
        }
    }
}

/// Servers of one NATS system, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsServers {
    /// Which, in any order.
    pub hosts: Vec<(Host, u16)>,
    /// Whether connections must be encrypted.
    pub tls: bool,
    /// PEM authorities of their certificates; the system's where nothing is written.
    pub authorities: Option<PathBuf>,
    /// A credentials file (JWT and seed). Absolute.
    pub credentials: Option<PathBuf>,
    /// A file whose first line is a token. Absolute.
    pub token_file: Option<PathBuf>,
}

impl NatsServers {
    /// How to be let in to these servers; `take` gives the value of a key.
    pub(in super::super) fn read<'a>(
        hosts: Vec<(Host, u16)>,
        mut take: impl FnMut(&'static str) -> Option<Value<'a>>,
    ) -> NatsServers {
        let tls = take("tls").and_then(Value::boolean).unwrap_or_default();
        let (authorities, credentials, token) = (take("authorities"), take("credentials"), take("token-file"));
        if let Some(value) = authorities.filter(|_| !tls) {
            let problem = Problem::at(value.key, "`authorities` without TLS");
            value.note(problem.help("add `tls = true`, or leave them out"));
        }
        if let (Some(_), Some(value)) = (credentials, token) {
            let message = "who has `credentials` needs no token";
            value.note(Problem::at(value.key, message).help("leave one of the two out"));
        } else if let Some(value) = token.filter(|_| !tls && !hosts.iter().all(|(host, _)| is_this_machine(host))) {
            let problem = Problem::at(value.key, "the token could be read on the way");
            value.note(problem.help("add `tls = true`"));
        }
        NatsServers {
            hosts,
            tls,
            authorities: authorities.and_then(Value::path),
            credentials: credentials.and_then(Value::path),
            token_file: token.and_then(Value::path),
        }
    }
}
