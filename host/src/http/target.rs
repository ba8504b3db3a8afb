//! Where a URL leads: read strictly, in one spelling, so that the host that was judged is the host that is called.

use crate::config::{Host, Scheme};
use hyper::Uri;
use std::fmt;

/// Scheme, host and port of a URL, and what the host is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, that of the scheme where none was written.
    pub port: u16,
    /// What stands behind the host.
    uri: Uri,
}

/// Why a URL is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Neither `http://` nor `https://`.
    #[error("the URL must be absolute and begin with http:// or https://")]
    Scheme,
    /// Too long, or an octet that no URL holds.
    #[error("the URL must be printable ASCII of at most 8,192 octets, all else percent-encoded")]
    Octets,
    /// A user, a password, an escape, or no host.
    #[error("the URL must name a host and at most a port: no user, no escapes, no final dot")]
    Host,
    /// A fragment.
    #[error("the URL must have no fragment: it is for whoever reads the answer")]
    Fragment,
}

/// Octets of a URL.
const LONGEST: usize = 8 << 10;

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Target, BadUrl> {
        // RFC 3986 has none of these, and those who mend URLs read a backslash as a slash.
        let fits = |octet: u8| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet);
        if url.len() > LONGEST || !url.bytes().all(fits) {
            return Err(BadUrl::Octets);
        }
        let (scheme, rest) = scheme(url).ok_or(BadUrl::Scheme)?;
        if rest.contains('#') {
            return Err(BadUrl::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = Host::parse_with_port(authority).ok_or(BadUrl::Host)?;
        let port = port.unwrap_or(scheme.port());
        let slash = if path.starts_with('/') { "" } else { "/" };
        // Written anew from what was read: nothing of the authority as it was spelled is left.
        let uri = format!("{}://{host}:{port}{slash}{path}", scheme.name()).parse().map_err(|_| BadUrl::Octets)?;
        let target = Target { scheme, host, port, uri };
        match target.agrees() {
            true => Ok(target),
            false => Err(BadUrl::Host),
        }
    }

    /// What is connected to, in the words of the client that does.
    pub(super) fn uri(&self) -> Uri {
        let default = self.port == self.scheme.port();
        let mut parts = self.uri.clone().into_parts();
        // RFC 9110 section 7.2: Host is the authority, and the port of the scheme is left out of it as everybody does.
        if default && let Ok(authority) = self.host.to_string().parse() {
            parts.authority = Some(authority);
        }
        Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone())
    }

    /// Whether the client reads the URL as it was read here.
    fn agrees(&self) -> bool {
        self.uri.scheme_str() == Some(self.scheme.name())
            && self.uri.host() == Some(self.host.to_string().as_str())
            && self.uri.port_u16() == Some(self.port)
    }
}

/// The scheme, whose case says nothing (RFC 3986 section 3.1), and what follows.
fn scheme(url: &str) -> Option<(Scheme, &str)> {
    [Scheme::Http, Scheme::Https].into_iter().find_map(|scheme| {
        let (name, rest) = url.split_once("://")?;
        name.eq_ignore_ascii_case(scheme.name()).then_some((scheme, rest))
    })
}

/// Without path and query, which may hold secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.name(), self.host, self.port)
    }
}
