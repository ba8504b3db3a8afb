//! A connection to one server, from the first octet to the moment when a message can be sent: greeting, EHLO, STARTTLS,
//! XCLIENT, login.

use std::time::Duration;

use tokio::time::timeout;

use super::fault::{Fault, Phase};
use super::keywords::Keywords;
use super::reply::Reply;
use super::servers::{At, Server};
use super::wire::{Lost, Stream, Wire, connect};
use super::{Inner, login, passing};
use crate::config::{HopProtocol, HopTlsMode, PassOn};
use crate::spool::{Envelope, Reach};
use crate::tls::{ChannelBinding, Proof};

/// A connection that a message can be sent over.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) server: Server,
    pub(super) keywords: Keywords,
    pub(super) security: Security,
    /// What SCRAM binds a login to, where TLS gives it.
    pub(super) binding: Option<ChannelBinding>,
    /// Messages it was used for.
    pub(super) messages: u32,
    /// Whether a transaction may be open at the other side.
    pub(super) in_transaction: bool,
    logged_in: bool,
    /// Whether its server takes it for the client of a message before.
    renamed: bool,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    None,
    Encrypted,
    Verified,
}

/// How much a connection must be protected for what is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) mode: HopTlsMode,
    /// Whether a message asks for it, and not the route: what a server lacks, it lacks for good (RFC 8689).
    pub(super) by_message: bool,
}

impl Connection {
    /// Connects and says who this is; encrypted as the route or the message demands.
    pub(super) async fn open(relay: &Inner, server: &Server, demand: Demand) -> Result<Connection, Fault> {
        match Connection::attempt(relay, server, demand).await {
            Err(Failed::Handshake(reason)) if demand.mode == HopTlsMode::Opportunistic => {
                // RFC 7435: better in the clear than not at all, where nobody asked for more. What was begun cannot be
                // gone back on: another connection.
                tracing::info!(server = %server, reason, "no TLS with a next hop that offers it; sent in the clear");
                let demand = Demand { mode: HopTlsMode::Off, ..demand };
                Connection::attempt(relay, server, demand).await.map_err(Failed::into_fault)
            }
            done => done.map_err(Failed::into_fault),
        }
    }

    async fn attempt(relay: &Inner, server: &Server, demand: Demand) -> Result<Connection, Failed> {
        let target = &relay.target;
        let patience = target.timeouts.connect;
        let stream = match timeout(patience, connect(&server.at, &target.source)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Fault::passing("4.4.1", format!("cannot connect to {server}: {error}")).into());
            }
            Err(_) => {
                let text = format!("cannot connect to {server}: no answer within {patience:?}");
                return Err(Fault::passing("4.4.1", text).into());
            }
        };
        let (mut security, mut binding) = (Security::None, None);
        let stream = match target.tls.implicit {
            true => {
                let proof = proof(demand.mode);
                let stream = handshake(relay, server, proof, stream).await.map_err(|reason| {
                    // There is no clear way to a server that begins with TLS.
                    Failed::Fault(demand.unmet(unsafe_fault(server, &reason)))
                })?;
                security = secured(proof);
                binding = stream.1;
                stream.0
            }
            false => stream,
        };
        let mut connection = Connection {
            wire: Wire::new(stream),
            server: server.clone(),
            keywords: Keywords::default(),
            security,
            binding,
            messages: 0,
            in_transaction: false,
            logged_in: false,
            renamed: false,
        };
        let greeting = connection.reply(relay, Phase::Banner).await.map_err(|fault| match security {
            Security::None => fault,
            Security::Encrypted | Security::Verified => demand.met_with(fault),
        })?;
        // RFC 5321 section 3.1: 554 instead of 220 says that there is no mail service here, 421 none now. Another exchanger
        // may have one, and this one later: the code is about a host, and no recipient was named yet.
        if greeting.code != 220 {
            connection.farewell();
            return Err(Fault::turned_away(&server.name, Phase::Banner, &greeting).into());
        }
        connection.hello(relay).await?;
        if security == Security::None && !matches!(demand.mode, HopTlsMode::Off) {
            return connection.start_tls(relay, demand).await;
        }
        Ok(connection)
    }

    /// EHLO or LHLO; HELO where an SMTP server knows no EHLO (RFC 5321 section 3.2).
    async fn hello(&mut self, relay: &Inner) -> Result<(), Fault> {
        let target = &relay.target;
        let name = target.hello.as_deref().unwrap_or(&relay.hostname);
        let verb = if target.protocol == HopProtocol::Lmtp { "LHLO" } else { "EHLO" };
        let reply = self.command(relay, Phase::Hello, &format!("{verb} {name}\r\n")).await?;
        if reply.is_success() {
            self.keywords = Keywords::read(reply.lines.iter().map(String::as_str));
            return Ok(());
        }
        if target.protocol == HopProtocol::Smtp && reply.is_permanent() {
            let reply = self.command(relay, Phase::Hello, &format!("HELO {name}\r\n")).await?;
            self.keywords = Keywords::default();
            if reply.is_success() {
                return Ok(());
            }
            return Err(Fault::turned_away(&self.server.name, Phase::Hello, &reply));
        }
        Err(Fault::turned_away(&self.server.name, Phase::Hello, &reply))
    }

    async fn start_tls(mut self, relay: &Inner, demand: Demand) -> Result<Connection, Failed> {
        let name = self.server.name.clone();
        let optional = demand.mode == HopTlsMode::Opportunistic;
        if !self.keywords.starttls {
            if optional {
                return Ok(self);
            }
            self.farewell();
            return Err(match demand.by_message {
                true => Fault::lasting("5.7.30", format!("{name} offers no TLS, which the message requires")),
                false => Fault::passing("4.7.4", format!("{name} offers no TLS, which this route requires")),
            }
            .into());
        }
        let reply = self.command(relay, Phase::StartTls, "STARTTLS\r\n").await?;
        if reply.code != 220 {
            if optional && reply.code != 421 {
                return Ok(self);
            }
            self.farewell();
            let mut fault = Fault::turned_away(&name, Phase::StartTls, &reply);
            fault.failure.status = "4.7.4".to_owned();
            return Err(demand.unmet(fault).into());
        }
        let Some(stream) = self.wire.into_stream() else {
            let text = format!("{name} spoke on between STARTTLS and TLS");
            return Err(demand.unmet(Fault::passing("4.7.5", text)).into());
        };
        let proof = proof(demand.mode);
        let (stream, binding) =
            handshake(relay, &self.server, proof, stream).await.map_err(|reason| match optional {
                true => Failed::Handshake(reason),
                false => Failed::Fault(demand.unmet(unsafe_fault(&self.server, &reason))),
            })?;
        // RFC 3207 section 4.2: what was said before is forgotten.
        self.wire = Wire::new(stream);
        self.keywords = Keywords::default();
        self.security = secured(proof);
        self.binding = binding;
        match self.hello(relay).await {
            Ok(()) => Ok(self),
            Err(fault) if optional && is_refusal_of_tls(&fault) => Err(Failed::Handshake(fault.failure.text)),
            Err(fault) => Err(demand.met_with(fault).into()),
        }
    }

    /// Makes it ready for this message: passes its client on, and logs in where that was not done.
    pub(super) async fn prepare(&mut self, relay: &Inner, envelope: &Envelope) -> Result<(), Fault> {
        if relay.target.xclient != PassOn::No {
            self.pass_client(relay, envelope).await?;
        }
        if let Some(account) = relay.target.login.as_ref().filter(|_| !self.logged_in) {
            login::log_in(self, relay, account).await?;
            self.logged_in = true;
        }
        if relay.target.xforward != PassOn::No {
            self.forward_client(relay, envelope).await?;
        }
        Ok(())
    }

    /// XCLIENT begins the session anew (XCLIENT_README): greeting, EHLO, and nobody is logged in.
    async fn pass_client(&mut self, relay: &Inner, envelope: &Envelope) -> Result<(), Fault> {
        // What is not known of this message's client must not be that of another's: a new connection is nobody's.
        let required = relay.target.xclient == PassOn::Required || self.renamed;
        let Some(offered) = self.keywords.xclient.clone() else {
            return self.lacking(required, "XCLIENT");
        };
        self.reset(relay).await?;
        let mut accepted = false;
        for line in passing::xclient(envelope, &offered) {
            let reply = self.command(relay, Phase::Xclient, &line).await?;
            // Momentum before 3.6.10 said 250.
            if !reply.is_success() {
                if required || reply.code == 421 {
                    return Err(Fault::turned_away(&self.server.name, Phase::Xclient, &reply));
                }
                break;
            }
            accepted = true;
        }
        self.renamed |= accepted;
        if accepted {
            self.logged_in = false;
            self.in_transaction = false;
            self.hello(relay).await?;
        }
        Ok(())
    }

    async fn forward_client(&mut self, relay: &Inner, envelope: &Envelope) -> Result<(), Fault> {
        let required = relay.target.xforward == PassOn::Required;
        let Some(offered) = self.keywords.xforward.clone() else {
            return self.lacking(required, "XFORWARD");
        };
        self.reset(relay).await?;
        for line in passing::xforward(envelope, &offered) {
            let reply = self.command(relay, Phase::Xclient, &line).await?;
            if reply.code == 421 || (required && !reply.is_success()) {
                return Err(Fault::turned_away(&self.server.name, Phase::Xclient, &reply));
            }
        }
        Ok(())
    }

    fn lacking(&self, required: bool, verb: &str) -> Result<(), Fault> {
        let text = || format!("{} does not offer {verb}, which this route requires", self.server.name);
        if required { Err(Fault::passing("4.7.0", text())) } else { Ok(()) }
    }

    /// RSET, if the other side may be in a transaction.
    pub(super) async fn reset(&mut self, relay: &Inner) -> Result<(), Fault> {
        if self.in_transaction {
            let reply = self.command(relay, Phase::Mail, "RSET\r\n").await?;
            if !reply.is_success() {
                return Err(Fault::turned_away(&self.server.name, Phase::Mail, &reply));
            }
            self.in_transaction = false;
        }
        Ok(())
    }

    /// Says a command and waits for its reply.
    pub(super) async fn command(&mut self, relay: &Inner, phase: Phase, line: &str) -> Result<Reply, Fault> {
        let patience = relay.target.timeouts.command;
        let sent = self.wire.send(line.as_bytes(), patience).await;
        // What it said before it closed is worth more than that it did.
        match (sent, self.wire.reply(patience).await) {
            (_, Ok(reply)) => Ok(reply),
            (Err(lost), Err(_)) | (Ok(()), Err(lost)) => Err(self.lost(phase, &lost)),
        }
    }

    pub(super) async fn reply(&mut self, relay: &Inner, phase: Phase) -> Result<Reply, Fault> {
        self.wire.reply(relay.target.timeouts.command).await.map_err(|lost| self.lost(phase, &lost))
    }

    pub(super) fn lost(&self, phase: Phase, lost: &Lost) -> Fault {
        Fault::lost(&self.server.name, phase, lost)
    }

    /// Whether a password said over it is heard by nobody else: TLS, or it does not leave the machine.
    pub(super) fn is_private(&self) -> bool {
        self.security != Security::None
            || match &self.server.at {
                At::Tcp(address) => address.ip().is_loopback(),
                At::Unix(_) => true,
            }
    }

    /// Says QUIT, and waits a moment for the answer, while whoever used it goes on (RFC 5321 section 4.1.1.10).
    pub(super) fn farewell(self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.quit());
        }
    }

    /// The same, but whoever used it waits, for a moment at most: the next connection would be one more than is allowed.
    pub(super) async fn leave(self) {
        let _ = timeout(LEAVE, self.quit()).await;
    }

    async fn quit(mut self) {
        if self.wire.send(b"QUIT\r\n", FAREWELL).await.is_ok() {
            let _ = self.wire.reply(FAREWELL).await;
        }
        self.wire.close().await;
    }
}

impl Demand {
    /// What went wrong with TLS. Where the message asks for it, that is for this message: others go there without.
    fn unmet(self, mut fault: Fault) -> Fault {
        if self.by_message {
            fault.failure.reach = Reach::Message;
        }
        fault
    }

    /// What the first words in TLS came to.
    fn met_with(self, fault: Fault) -> Fault {
        if is_refusal_of_tls(&fault) { self.unmet(fault) } else { fault }
    }
}

/// Under TLS 1.3 a server says only behind the handshake that it did not like it, for example for want of a certificate
/// (RFC 8446 section 4.4.2.4).
fn is_refusal_of_tls(fault: &Fault) -> bool {
    fault.silent && fault.failure.reply.is_none()
}

/// An attempt came to nothing.
enum Failed {
    /// TLS did, where it was offered and nobody asked for it.
    Handshake(String),
    Fault(Fault),
}

impl Failed {
    fn into_fault(self) -> Fault {
        match self {
            Failed::Handshake(reason) => Fault::passing("4.7.5", reason),
            Failed::Fault(fault) => fault,
        }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

/// RFC 3463 has 4.7.5, cryptographic failure; a certificate that is wrong today may be right tomorrow.
fn unsafe_fault(server: &Server, reason: &str) -> Fault {
    let mut fault = Fault::passing("4.7.5", reason);
    fault.failure.remote = Some(server.name.clone());
    fault
}

fn proof(mode: HopTlsMode) -> Proof {
    match mode {
        HopTlsMode::Off | HopTlsMode::Opportunistic | HopTlsMode::Required => Proof::None,
        HopTlsMode::Verified => Proof::Certificate,
    }
}

fn secured(proof: Proof) -> Security {
    match proof {
        Proof::None => Security::Encrypted,
        Proof::Certificate => Security::Verified,
    }
}

async fn handshake(
    relay: &Inner,
    server: &Server,
    proof: Proof,
    stream: Box<dyn Stream>,
) -> Result<(Box<dyn Stream>, Option<ChannelBinding>), String> {
    let name = relay.target.tls.name.as_deref().unwrap_or(&server.name);
    match relay.connector.connect(name, proof, stream, relay.target.timeouts.connect).await {
        Ok(stream) => {
            let binding = ChannelBinding::of(stream.get_ref().1);
            Ok((Box::new(stream), binding))
        }
        Err(error) => Err(format!("no TLS with {server}: {}", crate::observe::chain(&error))),
    }
}

/// How long a message that was sent waits for its used-up connection to end.
const LEAVE: Duration = Duration::from_secs(1);

const FAREWELL: Duration = Duration::from_secs(5);
