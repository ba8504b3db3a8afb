//! Which servers there are for a destination, in the order in which they are tried.
//!
//! Names are looked up as they are reached: a first server that takes the message costs the others no question. The file
//! opens no connection.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::fault::Fault;
use crate::config::{Hop, HopHost, Host, RelayTarget};
use crate::dns::{Queried, Resolver};

/// A server at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name, which its certificate must have; its address as text where it has none.
    pub(super) name: String,
    pub(super) at: At,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// As it stands in a log, and in a receipt.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Tcp(address) if self.name.parse() == Ok(address.ip()) => write!(f, "{address}"),
            At::Tcp(address) => write!(f, "{}[{}]:{}", self.name, address.ip(), address.port()),
            At::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The servers of one destination, one after the other.
#[derive(Debug)]
pub(super) struct Servers<'a> {
    target: &'a RelayTarget,
    domain: &'a str,
    /// What this server is called, which is no other.
    own: &'a str,
    names: &'a Resolver,
    ahead: VecDeque<Step>,
    left: usize,
}

#[derive(Debug)]
enum Step {
    Hop(Hop),
    /// A host by name, and whether it was named by the recipient's domain.
    Host {
        name: String,
        port: u16,
        said_by_domain: bool,
    },
    Server(Server),
}

/// Addresses that are tried for one message: whoever owns a domain chooses how many it has (RFC 5321 section 5.1).
const ADDRESSES: usize = 20;

impl<'a> Servers<'a> {
    pub(super) fn new(target: &'a RelayTarget, domain: &'a str, own: &'a str, names: &'a Resolver) -> Servers<'a> {
        let ahead = target.hops.iter().cloned().map(Step::Hop).collect();
        Servers { target, domain, own, names, ahead, left: ADDRESSES }
    }

    /// The next one, or why there is none where one was to be; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Server, Fault>> {
        loop {
            let steps = match self.ahead.pop_front()? {
                Step::Server(server) => {
                    self.left = self.left.checked_sub(1)?;
                    return Some(Ok(server));
                }
                Step::Hop(Hop::Unix(path)) => {
                    Ok(vec![Step::Server(Server { name: self.own.to_owned(), at: At::Unix(path) })])
                }
                Step::Hop(Hop::Tcp { host, port }) => self.hosts(host, port).await,
                Step::Host { name, port, said_by_domain } => self.addresses(&name, port, said_by_domain).await,
            };
            match steps {
                Ok(steps) => steps.into_iter().rev().for_each(|step| self.ahead.push_front(step)),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }

    /// The hosts of a hop: itself, or the exchangers of its domain (RFC 5321 section 5.1).
    async fn hosts(&self, host: HopHost, port: u16) -> Result<Vec<Step>, Fault> {
        let (name, said_by_domain) = match host {
            HopHost::Host(Host::Address(address)) => return Ok(vec![at(address, port)]),
            HopHost::Host(Host::Name(name)) => (name, false),
            HopHost::RecipientDomain => match literal(self.domain) {
                Some(address) => return Ok(vec![at(address, port)]),
                None => (self.domain.to_owned(), true),
            },
        };
        // RFC 5891: what a name server is asked about is an A-label.
        let ascii = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::EMPTY);
        let queried = ascii.ok().and_then(|ascii| ascii.parse::<Queried>().ok());
        let Some(queried) = queried else {
            return Err(Fault::lasting("5.1.2", format!("{name} is no domain that can be looked up")));
        };
        let name = queried.as_str().to_owned();
        if said_by_domain && self.is_own(&name) {
            return Err(Fault::lasting("5.4.6", format!("mail for {name} leads back to this server")));
        }
        if !self.target.mx {
            return Ok(vec![Step::Host { name, port, said_by_domain }]);
        }
        let found = self.names.mail_exchangers(&queried).await;
        let mut exchangers =
            found.map_err(|error| Fault::passing("4.4.3", format!("the exchangers of {name}: {error}")))?;
        if exchangers.is_empty() {
            // No MX: the domain itself, as if it were its own exchanger.
            exchangers = vec![crate::dns::Exchange { preference: 0, host: name.clone() }];
        } else {
            exchangers.retain(|exchange| exchange.host != ".");
            if exchangers.is_empty() {
                // RFC 7505 section 4.1: 556 with 5.1.10.
                return Err(Fault::lasting("5.1.10", format!("{name} takes no mail (its MX is null)")));
            }
        }
        // RFC 5321 section 5.1: one that is this server, and all that are no better, lead back here.
        let own = exchangers.iter().filter(|exchange| self.is_own(&exchange.host)).map(|exchange| exchange.preference);
        if let Some(own) = own.min() {
            exchangers.retain(|exchange| exchange.preference < own);
        }
        if exchangers.is_empty() {
            return Err(Fault::lasting("5.4.6", format!("mail for {name} leads back to this server")));
        }
        // Those of one preference share the mail.
        let mut chance = vec![0_u8; exchangers.len()];
        let _ = getrandom::fill(&mut chance);
        let mut ordered: Vec<_> = exchangers.into_iter().zip(chance).collect();
        ordered.sort_by_key(|(exchange, chance)| (exchange.preference, *chance));
        let steps = ordered.into_iter().take(ADDRESSES);
        Ok(steps.map(|(exchange, _)| Step::Host { name: exchange.host, port, said_by_domain }).collect())
    }

    fn is_own(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(self.own) || host == "localhost" || host.ends_with(".localhost")
    }

    async fn addresses(&self, name: &str, port: u16, said_by_domain: bool) -> Result<Vec<Step>, Fault> {
        // The one name that needs no name server (RFC 6761 section 6.3).
        if name == "localhost" {
            let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
            return Ok(addresses.map(|address| server(name, address, port)).into());
        }
        let Ok(queried) = name.parse::<Queried>() else {
            // RFC 5321 section 5.1: an exchanger is a name, and where none can be used that is an error; the domain's own
            // address, a web server for example, is not asked instead.
            let name = if name.is_empty() { "an exchanger" } else { name };
            return Err(Fault::lasting("5.1.2", format!("{name} is no host name")));
        };
        match self.names.addresses(&queried).await {
            Ok(addresses) if !addresses.is_empty() => {
                Ok(addresses.into_iter().map(|address| server(name, address, port)).collect())
            }
            // What the operator wrote can be wrong for a while; what a recipient's domain says is its own.
            Ok(_) if said_by_domain => Err(Fault::lasting("5.1.2", format!("{name} has no address"))),
            Ok(_) => Err(Fault::passing("4.4.4", format!("{name} has no address"))),
            Err(error) => Err(Fault::passing("4.4.3", format!("the addresses of {name}: {error}"))),
        }
    }
}

fn at(address: IpAddr, port: u16) -> Step {
    server(&address.to_string(), address, port)
}

fn server(name: &str, address: IpAddr, port: u16) -> Step {
    Step::Server(Server { name: name.to_owned(), at: At::Tcp(SocketAddr::new(address.to_canonical(), port)) })
}

/// The address of a domain that is one: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3).
fn literal(domain: &str) -> Option<IpAddr> {
    let inside = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inside.split_once(':') {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address.parse().ok().map(IpAddr::V6),
        _ => inside.parse().ok().map(IpAddr::V4),
    }
}
