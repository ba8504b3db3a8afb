//! The other side of the protocol: taking a stored message to another server, by SMTP or LMTP.
//!
//! A [`Relay`] is one route's way there: how its servers are found, who they must be, and the connections that are open
//! to them. It answers for each recipient and keeps no account of any: when something is tried again, and who is told, is
//! not known here.
//!
//! **The way of a message.** `servers` finds one after the other; `connection` opens one and says who this is; `convert`
//! decides what is sent, by what the server announced (`keywords`); `transaction` sends it and hears what each recipient
//! gets. A server that cannot be used gives way to the next, a server's word on a message or a recipient stands. What is
//! left of the connection waits in the `pool`.

mod command;
mod connection;
mod content;
mod convert;
mod fault;
mod keywords;
mod login;
mod passing;
mod pool;
mod reply;
mod servers;
mod transaction;
mod wire;

pub use keywords::Keywords;

use std::path::PathBuf;
use std::sync::Arc;

use self::command::deliver_by;
use self::connection::{Connection, Demand};
use self::convert::Plan;
use self::fault::Fault;
use self::pool::{Key, Pool};
use self::servers::{At, Server, Servers};
use self::transaction::{Hesitant, RECIPIENTS, transact};
use crate::config::{Hop, HopHost, HopProtocol, HopTlsMode, RelayTarget};
use crate::dns::Resolver;
use crate::spool::{Failure, Outcome, Reach, Stored};
use crate::tls::{Connector, TlsError};

/// A way to other servers. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Arc<RelayTarget>,
    hostname: Arc<str>,
    names: Arc<Resolver>,
    connector: Connector,
    pool: Arc<Pool>,
    hesitant: Hesitant,
}

/// A route cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The password's file cannot be read, or has none in its first line.
    #[error("cannot use the password {}", path.display())]
    Password {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its certificate or authorities cannot be used.
    #[error("TLS to the next hop cannot be set up")]
    Tls(#[source] TlsError),
}

impl Relay {
    /// Reads the files that the route names. `hostname` is the server's own name.
    ///
    /// # Errors
    /// One of them cannot be read, or is not what it should be.
    pub fn load(target: &Arc<RelayTarget>, hostname: &Arc<str>, names: &Arc<Resolver>) -> Result<Relay, RelayError> {
        if let Some(login) = &target.login {
            login::read_password(&login.password_file)
                .map_err(|source| RelayError::Password { path: login.password_file.clone(), source })?;
        }
        let tls = &target.tls;
        let needed = tls.mode == HopTlsMode::Verified;
        let connector = Connector::load(tls.authorities.as_deref(), tls.certificate.as_ref(), needed);
        Ok(Relay(Arc::new(Inner {
            target: Arc::clone(target),
            hostname: Arc::clone(hostname),
            names: Arc::clone(names),
            connector: connector.map_err(RelayError::Tls)?,
            pool: Arc::default(),
            hesitant: Hesitant::default(),
        })))
    }

    /// What the route says of it.
    pub fn target(&self) -> &RelayTarget {
        &self.0.target
    }

    /// Takes over the connections of a way that leads to the same place, when a new configuration takes the old one's
    /// place.
    pub fn inherit(&self, before: &Relay) {
        if self.0.hostname == before.0.hostname {
            for (key, connection) in before.0.pool.drain() {
                self.0.pool.put(key, connection, self.0.target.idle);
            }
        }
    }

    /// Takes a message to some of its recipients, whose domain this is, and says what became of each of them.
    pub async fn deliver(&self, domain: &str, stored: &Arc<Stored>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        let mut errand = Errand::new(&self.0, domain, stored, recipients);
        if let Err(fault) = errand.run().await {
            let outcome = fault.outcome();
            errand.outcomes.extend(errand.left.iter().map(|&index| (index, outcome.clone())));
        }
        errand.outcomes
    }
}

impl Inner {
    /// A server as a route's target reads.
    fn receipt_name(&self, server: &Server) -> String {
        let scheme = match (self.target.protocol, self.target.tls.implicit) {
            (HopProtocol::Lmtp, _) => "lmtp",
            (HopProtocol::Smtp, true) => "smtps",
            (HopProtocol::Smtp, false) => "smtp",
        };
        match &server.at {
            At::Tcp(address) if server.name.contains(':') => format!("{scheme}://[{}]:{}", server.name, address.port()),
            At::Tcp(address) => format!("{scheme}://{}:{}", server.name, address.port()),
            At::Unix(path) => format!("{scheme}:{}", path.display()),
        }
    }

    /// Whether where mail goes hangs on the recipient's domain.
    fn is_by_domain(&self) -> bool {
        let by_domain = |hop: &Hop| matches!(hop, Hop::Tcp { host: HopHost::RecipientDomain, .. });
        self.target.hops.iter().any(by_domain)
    }
}

/// One message on its way to some recipients.
struct Errand<'a> {
    relay: &'a Inner,
    domain: &'a str,
    stored: &'a Arc<Stored>,
    /// Whether it may go only where its encryption goes on (RFC 8689).
    requires_tls: bool,
    /// Recipients nothing was said of yet.
    left: Vec<usize>,
    outcomes: Vec<(usize, Outcome)>,
}

impl<'a> Errand<'a> {
    fn new(relay: &'a Inner, domain: &'a str, stored: &'a Arc<Stored>, recipients: &[usize]) -> Errand<'a> {
        let requires_tls = stored.envelope.parameter("REQUIRETLS").is_some();
        Errand { relay, domain, stored, requires_tls, left: recipients.to_vec(), outcomes: Vec::new() }
    }

    /// Goes from server to server until one has said something of every recipient.
    ///
    /// # Errors
    /// None did. It is for good only where it is so with each of them.
    async fn run(&mut self) -> Result<(), Fault> {
        let target = &self.relay.target;
        if self.requires_tls && target.mx && target.tls.name.is_none() {
            // RFC 8689 section 4.2.1: a name that the certificate must have has to come from where nobody can forge it.
            let text = "the message requires TLS, and exchangers are looked up without DNSSEC";
            return Err(Fault::lasting("5.7.30", text));
        }
        let domain = if self.relay.is_by_domain() { self.domain.to_ascii_lowercase() } else { String::new() };
        let key = Key { domain, verified: self.requires_tls };
        while let Some(mut connection) = self.relay.pool.take(&key) {
            if !connection.wire.is_quiet().await {
                connection.farewell();
                continue;
            }
            match self.use_connection(connection, &key).await {
                Ok(()) => return Ok(()),
                // Its server closed it meanwhile: that says nothing of another one, nor of whether a new one is taken.
                Err(fault) if fault.silent => self.note(&fault),
                Err(fault) => {
                    self.note(&fault);
                    break;
                }
            }
        }
        let mut servers = Servers::new(target, self.domain, &self.relay.hostname, &self.relay.names);
        let mut worst: Option<Fault> = None;
        while let Some(server) = servers.next().await {
            let fault = match server {
                Ok(server) => match Connection::open(self.relay, &server, self.demand(&server)).await {
                    Ok(connection) => match self.use_connection(connection, &key).await {
                        Ok(()) => return Ok(()),
                        Err(fault) => fault,
                    },
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            self.note(&fault);
            if !fault.permanent || worst.as_ref().is_none_or(|worst| worst.permanent) {
                worst = Some(fault);
            }
        }
        Err(worst.unwrap_or_else(|| Fault::passing("4.4.4", format!("there is no server for {}", self.domain))))
    }

    fn demand(&self, server: &Server) -> Demand {
        let mode = self.relay.target.tls.mode;
        match (&server.at, mode) {
            // What does not leave the machine is read by nobody on its way.
            (At::Unix(_), HopTlsMode::Off | HopTlsMode::Opportunistic) => {
                Demand { mode: HopTlsMode::Off, by_message: false }
            }
            (At::Tcp(_), _) if self.requires_tls => Demand { mode: HopTlsMode::Verified, by_message: true },
            _ => Demand { mode, by_message: false },
        }
    }

    /// Sends the message over a connection, in as many transactions as it takes, and keeps it for others.
    ///
    /// # Errors
    /// It cannot be sent there, and another server may take those that are left.
    async fn use_connection(&mut self, mut connection: Connection, key: &Key) -> Result<(), Fault> {
        match self.send(&mut connection).await {
            Ok(usable) => {
                connection.messages = connection.messages.saturating_add(1);
                if usable && connection.messages < self.relay.target.messages && !self.relay.target.idle.is_zero() {
                    self.relay.pool.put(key.clone(), connection, self.relay.target.idle);
                } else if usable {
                    connection.leave().await;
                }
                Ok(())
            }
            Err(fault) => {
                if !fault.silent {
                    connection.farewell();
                }
                Err(fault)
            }
        }
    }

    /// Whether the connection can be used on.
    async fn send(&mut self, connection: &mut Connection) -> Result<bool, Fault> {
        let name = connection.server.name.clone();
        let local = matches!(connection.server.at, At::Unix(_));
        if self.requires_tls && !local && !connection.keywords.require_tls {
            return Err(Fault::lasting(
                "5.7.30",
                format!("{name} does not offer REQUIRETLS, which the message requires"),
            ));
        }
        connection.prepare(self.relay, &self.stored.envelope).await?;
        if connection.keywords.deliver_by.is_none()
            && self.relay.target.protocol == HopProtocol::Smtp
            && deliver_by(&self.stored.envelope).is_some_and(|by| by.returns)
        {
            // RFC 2852: what is returned when it is late goes only to those who know how to.
            let text = format!("{name} does not offer DELIVERBY, and the message is to be returned when it is late");
            self.end_all(&Outcome::Failed(Failure::local("5.3.3", text, Reach::Message)));
            return Ok(true);
        }
        if let Some(most) = connection.keywords.size.filter(|most| *most > 0 && *most < self.stored.content_len) {
            let text = format!("the message has {} octets and {name} takes {most}", self.stored.content_len);
            self.end_all(&Outcome::Failed(Failure::local("5.3.4", text, Reach::Message)));
            return Ok(true);
        }
        let plan = match self.plan(&connection.keywords).await {
            Ok(plan) => plan,
            Err(error) => {
                let text = format!("the message cannot be read: {error}");
                self.end_all(&Outcome::Deferred(Failure::local("4.3.0", text, Reach::Message)));
                return Ok(true);
            }
        };
        if let Some(mut failure) = plan.refuse {
            failure.remote.get_or_insert(name);
            self.end_all(&Outcome::Failed(failure));
            return Ok(true);
        }
        while !self.left.is_empty() {
            let batch: Vec<usize> = self.left.iter().copied().take(RECIPIENTS).collect();
            let ended = transact(connection, self.relay, self.stored, &plan, &batch).await?;
            self.left.retain(|index| !batch.contains(index) || ended.again.contains(index));
            self.outcomes.extend(ended.outcomes);
            if !ended.usable {
                return match self.left.is_empty() {
                    true => Ok(false),
                    false => Err(Fault::passing("4.4.2", format!("{name} went away between two transactions"))),
                };
            }
        }
        Ok(true)
    }

    async fn plan(&self, hop: &Keywords) -> std::io::Result<Plan> {
        let (stored, hop) = (Arc::clone(self.stored), hop.clone());
        tokio::task::spawn_blocking(move || convert::plan(&stored, &hop)).await.map_err(std::io::Error::other)?
    }

    fn end_all(&mut self, outcome: &Outcome) {
        self.outcomes.extend(self.left.drain(..).map(|index| (index, outcome.clone())));
    }

    fn note(&self, fault: &Fault) {
        let envelope = &self.stored.envelope;
        tracing::debug!(
            session = envelope.session.as_str(),
            id = envelope.id.as_str(),
            reason = fault.failure.text.as_str(),
            "a next hop cannot be used"
        );
    }
}

#[cfg(test)]
mod tests;
