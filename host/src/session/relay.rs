//! The relay decision: one place, and it says why. What an address looks like inside (`%`, `!`, quotes) plays no part in
//! it: a local part is a name at its domain and nothing else.

use super::facts::Facts;
use crate::config::Rules;

/// Why a recipient may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// The server's own postmaster is always taken (RFC 5321 4.5.1).
    Postmaster,
    /// The domain is one of `relay.domains`.
    Domain,
    /// The client is one of `relay.hosts`.
    Host,
    /// The session is authenticated, and the listener relays for those.
    Authenticated,
}

impl Right {
    /// The word the log keeps.
    pub fn name(self) -> &'static str {
        match self {
            Right::Postmaster => "postmaster",
            Right::Domain => "relay.domains",
            Right::Host => "relay.hosts",
            Right::Authenticated => "relay.authenticated",
        }
    }
}

/// Whether mail for this domain may be taken from this session; `None` is the server's own postmaster.
pub fn right(rules: &Rules, facts: &Facts, domain: Option<&str>) -> Option<Right> {
    let Some(domain) = domain else { return Some(Right::Postmaster) };
    if rules.relay.domains.iter().any(|pattern| pattern.matches(domain)) {
        return Some(Right::Domain);
    }
    anywhere(rules, facts)
}

/// Whether this session may send to any domain at all.
pub fn anywhere(rules: &Rules, facts: &Facts) -> Option<Right> {
    // An unknown client matches no network.
    let host = facts.client.endpoint.address.is_some_and(|ip| rules.relay.hosts.iter().any(|net| net.contains(&ip)));
    match host {
        true => Some(Right::Host),
        false => (rules.relay.authenticated && facts.authenticated()).then_some(Right::Authenticated),
    }
}
