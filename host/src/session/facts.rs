//! The facts of one session: who is there, who it is taken to be, and what has been said so far.
//!
//! Policy reads them and hands back changes as data; only the functions here apply them, so that what follows from a
//! change (a login that goes, a context that is rebuilt) is in one place. The facts know no socket, no machine and no
//! guest.

use super::change::{Change, Identity};
use super::context::{Context, Origin, Scope, Stage};
use super::envelope::{Recipient, Transaction};
use super::via::Via;
use crate::config::Rules;
use crate::tls;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An address and port, either of which may be unknown (XCLIENT's `[UNAVAILABLE]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, canonical: IPv4-mapped IPv6 is IPv4.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        Endpoint { address: Some(socket.ip().to_canonical()), port: Some(socket.port()) }
    }
}

/// What is known of a host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostName {
    /// This name.
    Known(String),
    /// None, or nobody looked.
    #[default]
    Unavailable,
    /// The look-up failed for now.
    TemporarilyUnavailable,
}

/// Who the session is taken to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Where from.
    pub endpoint: Endpoint,
    /// The host's name.
    pub name: HostName,
    /// The HELO or EHLO name.
    pub helo: Option<String>,
    /// Whether it said EHLO, or XCLIENT said ESMTP of it.
    pub esmtp: bool,
}

/// A login that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The SASL mechanism.
    pub mechanism: String,
    /// Who tried, as far as it came to that.
    pub user: Option<String>,
    /// Momentum's word for how it ended: `fail` or `error`.
    pub status: &'static str,
}

/// Who is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// A SASL mechanism, or the name of the extension that said so.
    pub mechanism: String,
    /// Who said so.
    pub origin: Origin,
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Before the banner.
    #[default]
    Connect,
    /// At HELO or EHLO.
    Hello,
    /// Between commands.
    Idle,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
    /// Before 354.
    Data,
    /// The message is in.
    Message,
    /// At the end.
    Closing,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The session's id.
    pub id: Arc<str>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The other end of the TCP connection; nothing changes it.
    pub peer: Endpoint,
    /// Who the session is taken to be.
    pub client: Client,
    /// Where the client connected to.
    pub destination: Endpoint,
    /// Whether LMTP is spoken, and not SMTP.
    pub lmtp: bool,
    /// TLS, once it is up.
    pub tls: Option<tls::Facts>,
    /// Who is authenticated.
    pub login: Option<Login>,
    /// What `connect` hooks said of it, which stays when what the client itself said goes.
    pub(super) login_by_address: Option<Login>,
    /// The last login that did not succeed, until one does.
    pub(super) attempt: Option<Attempt>,
    /// Where authentication was forbidden, which holds until the client changes.
    pub forbidden: Option<Stage>,
    /// Names and values.
    pub context: Context,
    /// The envelope, inside a transaction.
    pub transaction: Option<Transaction>,
    /// The message, at the `message` hook.
    pub message: Option<Arc<super::message::Message>>,
    /// Where the session stands.
    pub phase: Phase,
    /// Messages accepted on this connection.
    pub messages: u64,
    /// Recipients accepted on this connection.
    pub recipients: u64,
}

impl Facts {
    /// The facts of a connection just accepted. The client is the peer until something says otherwise.
    pub fn new(id: Arc<str>, listener: Arc<str>, peer: SocketAddr, local: SocketAddr) -> Facts {
        let peer = Endpoint::from(peer);
        Facts {
            id,
            listener,
            peer,
            client: Client { endpoint: peer, ..Client::default() },
            destination: Endpoint::from(local),
            lmtp: false,
            tls: None,
            login: None,
            login_by_address: None,
            attempt: None,
            forbidden: None,
            context: Context::default(),
            transaction: None,
            message: None,
            phase: Phase::Connect,
            messages: 0,
            recipients: 0,
        }
    }

    /// The connection came through a proxy. One that names nobody leaves nobody: such a session lies in no network, and the
    /// log alone knows whose socket it is.
    pub fn came_by(&mut self, via: &Via) {
        if !via.named {
            self.peer = Endpoint::default();
            self.client.endpoint = Endpoint::default();
        }
        for (name, value) in &via.said {
            self.context.set(Scope::Connection, name, value, Origin::Host);
        }
    }

    /// Whether the session is authenticated.
    pub fn authenticated(&self) -> bool {
        self.login.is_some() && self.forbidden.is_none()
    }

    /// The client's address for people: `unknown` where there is none.
    pub fn client_address(&self) -> String {
        self.client.endpoint.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }

    /// Applies what one extension staged, identity excepted: a change of client also depends on the answer it came with.
    pub fn apply(&mut self, changes: Vec<Change>, extension: &Arc<str>, stage: Stage) -> Vec<Identity> {
        let mut identities = Vec::new();
        for change in changes {
            match change {
                Change::Set(scope, name, value) => {
                    self.context.set(scope, &name, &value, Origin::Extension(extension.clone(), stage));
                }
                Change::Unset(scope, name) => self.context.unset(scope, &name),
                Change::Identity(identity) => identities.push(identity),
                Change::Envelope(edit) => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.apply(*edit);
                    }
                }
                Change::Header(header) => self.message = self.message.as_ref().map(|message| message.with(header)),
                Change::Allow(user) => self.log_in(user, extension, Origin::Extension(extension.clone(), stage)),
                Change::Forbid => {
                    // What was said later is not taken back where `connect` is asked again.
                    if self.forbidden != Some(Stage::Dialogue) {
                        self.forbidden = Some(stage);
                        self.login_by_address = None;
                    }
                    self.login = None;
                    self.mirror_login();
                }
            }
        }
        identities
    }

    /// Writes what is known of TLS into the context (Momentum's `tls*` names).
    pub fn tls(&mut self, tls: tls::Facts) {
        let bits = tls.cipher_bits.to_string();
        let mut set = |name, value: &str| self.context.set(Scope::Connection, name, value, Origin::Tls);
        set("tls", "on");
        set("tls_cipher", &tls.cipher);
        set("tls_cipher_algbits", &bits);
        set("tls_cipher_usebits", &bits);
        if let Some(client) = &tls.client {
            set("tls_client_cert_subject", &client.subject);
            set("tls_client_cert_issuer", &client.issuer);
            for (name, value) in
                [("tls_client_cert_subject_cn", &client.subject_cn), ("tls_client_cert_issuer_cn", &client.issuer_cn)]
            {
                if let Some(value) = value {
                    set(name, value);
                }
            }
            // Absent where it is not so: Momentum knows no other value.
            if client.verified {
                set("tls_client_verified", "yes");
            }
        }
        self.tls = Some(tls);
    }

    /// Writes what the configuration says for this client into the context.
    pub fn configured(&mut self, rules: &Rules) {
        self.context.retain(|_, origin| *origin != Origin::Listener);
        for (name, value) in &rules.context {
            self.context.set(Scope::Connection, name, value, Origin::Listener);
        }
    }

    /// Notes the relay right as Momentum's `can_relay`; whether it is news.
    pub fn mirror_relay(&mut self, can_relay: bool) -> bool {
        let noted = self.context.value(Scope::Connection, "can_relay").is_some();
        match can_relay {
            _ if can_relay == noted => {}
            true => self.context.set(Scope::Connection, "can_relay", "true", Origin::Host),
            false => self.context.unset(Scope::Connection, "can_relay"),
        }
        can_relay != noted
    }

    /// HELO or EHLO was said well.
    pub fn hello(&mut self, verb: &str, domain: &str, line: &str) {
        self.client.helo = Some(domain.to_owned());
        self.client.esmtp = verb != "HELO";
        self.context.set(Scope::Connection, "ehlo_domain", domain, Origin::Host);
        self.context.set(Scope::Connection, "ehlo_string", line, Origin::Host);
    }

    /// MAIL is asked about: the message scope begins anew.
    pub fn begin_message(&mut self, sender: (&str, &str), line: &str) {
        self.context.end_message();
        self.mirror_address("mailfrom", sender, line);
        self.count("message_rcpt_count", 0);
    }

    /// RCPT is asked about.
    pub fn address_recipient(&mut self, recipient: (&str, &str), line: &str) {
        self.mirror_address("rcptto", recipient, line);
    }

    /// A recipient was accepted.
    pub fn accept_recipient(&mut self, recipient: Recipient) {
        self.recipients += 1;
        let here = self.transaction.as_mut().map_or(0, |transaction| {
            transaction.recipients.push(recipient);
            transaction.recipients.iter().filter(|recipient| recipient.said.is_some()).count()
        });
        self.count("connection_rcpt_count", self.recipients);
        self.count("message_rcpt_count", here as u64);
    }

    /// A message was accepted.
    pub fn accept_message(&mut self) {
        self.messages += 1;
        self.count("connection_message_count", self.messages);
    }

    fn mirror_address(&mut self, prefix: &str, (local, domain): (&str, &str), line: &str) {
        for (suffix, value) in [("string", line), ("localpart", local), ("domain", domain)] {
            self.context.set(Scope::Message, &format!("{prefix}_{suffix}"), value, Origin::Host);
        }
    }

    fn count(&mut self, name: &str, value: u64) {
        match value {
            0 => self.context.unset(Scope::Connection, name),
            _ => self.context.set(Scope::Connection, name, &value.to_string(), Origin::Host),
        }
    }
}
