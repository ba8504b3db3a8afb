//! The keys of a route that leads to something that is no mail server: a webhook, or a NATS stream.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::super::{Host, Scheme};

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
