//! What a listener speaks: the protocol, the keywords of its EHLO, logins, and what is asked about the other end before a
//! word is said.
//!
//! The room does not know how any of it is done.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Place;

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, and a reply for each recipient.
    Lmtp,
}

/// `esmtp`: the keywords of the server's own that are announced and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[allow(missing_docs, reason = "each is the keyword of its name")]
pub struct Esmtp {
    pub pipelining: bool,
    pub size: bool,
    pub eight_bit_mime: bool,
    pub enhanced_status_codes: bool,
    pub smtputf8: bool,
    pub chunking: bool,
    pub binarymime: bool,
    pub dsn: bool,
    pub limits: bool,
    pub help: bool,
    pub vrfy: bool,
}

impl Default for Esmtp {
    fn default() -> Esmtp {
        Esmtp {
            pipelining: true,
            size: true,
            eight_bit_mime: true,
            enhanced_status_codes: true,
            smtputf8: true,
            chunking: true,
            binarymime: true,
            dsn: true,
            limits: true,
            help: true,
            vrfy: true,
        }
    }
}

/// `auth`: who may log in, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The file of users. Absolute.
    pub users: Option<PathBuf>,
    /// Where it stands in the text.
    pub users_place: Place,
    /// The mechanisms that may be offered; none: all that can work.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// AUTH is offered in the clear, too.
    pub without_tls: bool,
    /// What of a client certificate is the user's name at EXTERNAL.
    pub external: External,
}

/// A SASL mechanism the server speaks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the mechanism of its name")]
pub enum Mechanism {
    Plain,
    Login,
    ScramSha256,
    ScramSha256Plus,
    External,
}

/// What of a client certificate is the user's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum External {
    /// The common name of its subject.
    #[default]
    CommonName,
    /// Its first e-mail address (subjectAltName).
    Email,
}

/// `proxy`: the PROXY header that stands before everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Who must send one. Connections from elsewhere are clients like any other.
    pub from: Vec<IpNet>,
    /// How long it may take.
    pub timeout: Duration,
}

/// `client-name`: whether the name of a client is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientName {
    /// It is not.
    #[default]
    Off,
    /// It is, and is known only where the name leads back to the address.
    Verified,
}

/// `[dns]`: who is asked for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; none: those of the system.
    pub servers: Vec<std::net::SocketAddr>,
    /// How long one question may take.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns { servers: Vec::new(), timeout: Duration::from_secs(5) }
    }
}
