//! Changes that policy stages: plain data, applied by [`super::facts`] after the extension returned cleanly.

use super::context::Scope;
use super::envelope::Edit;
use super::facts::HostName;
use super::header::Header;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// One staged change. Applied in order, after the guest returned cleanly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set a context name.
    Set(Scope, String, String),
    /// Take a context name away.
    Unset(Scope, String),
    /// The client is this.
    Identity(Identity),
    /// The session is authenticated as this user.
    Allow(String),
    /// Nothing and nobody can authenticate it.
    Forbid,
    /// The envelope is otherwise.
    Envelope(Box<Edit>),
    /// The message has this header.
    Header(Arc<Header>),
}

/// A change of who the client is. One field at a time; together they make one change of client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The client's address; none matches no network.
    Addr(Option<IpAddr>),
    /// The client's port.
    Port(Option<u16>),
    /// The client's name.
    Name(HostName),
    /// Its HELO name.
    Helo(Option<String>),
    /// Whether it speaks ESMTP.
    Proto(bool),
    /// Whom it authenticated as.
    Login(Option<String>),
    /// The address it connected to.
    DestAddr(Option<IpAddr>),
    /// The port it connected to.
    DestPort(Option<u16>),
}

/// The change as the log shows it, in XCLIENT's words.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NONE: &str = "[UNAVAILABLE]";
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
        let address = |address: &Option<IpAddr>| address.map_or_else(|| NONE.to_owned(), |ip| ip.to_string());
        let port = |port: &Option<u16>| port.map_or_else(|| NONE.to_owned(), |port| port.to_string());
        match self {
            Identity::Addr(to) => write!(f, "ADDR={}", address(to)),
            Identity::Port(to) => write!(f, "PORT={}", port(to)),
            Identity::Name(HostName::Known(name)) => write!(f, "NAME={name}"),
            Identity::Name(HostName::Unavailable) => write!(f, "NAME={NONE}"),
            Identity::Name(HostName::TemporarilyUnavailable) => f.write_str("NAME=[TEMPUNAVAIL]"),
            Identity::Helo(to) => write!(f, "HELO={}", text(to)),
            Identity::Proto(esmtp) => write!(f, "PROTO={}", if *esmtp { "ESMTP" } else { "SMTP" }),
            Identity::Login(to) => write!(f, "LOGIN={}", text(to)),
            Identity::DestAddr(to) => write!(f, "DESTADDR={}", address(to)),
            Identity::DestPort(to) => write!(f, "DESTPORT={}", port(to)),
        }
    }
}
