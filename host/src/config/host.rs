//! One spelling for each host: what a grant is compared with and what is connected to are the same text. It looks no
//! name up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::is_domain;

/// A host as a URL or an address names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name in lower case, without a final dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads a host in one of three spellings: a name, an IPv4 address of four decimal numbers, an IPv6 address in
    /// brackets.
    ///
    /// What ends in a number is an address or nothing (WHATWG URL, "ends in a number checker"): 127.1, 0x7f000001 and
    /// 2130706433 lead to 127.0.0.1 in some resolvers.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(inside) = text.strip_prefix('[') {
            let address = inside.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            return Some(Host::Address(address.into()));
        }
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let number = last.bytes().all(|octet| octet.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|octet| octet.is_ascii_hexdigit()));
        if number {
            return text.parse::<Ipv4Addr>().ok().map(|address| Host::Address(address.into()));
        }
        is_domain(text).then(|| Host::Name(text.to_ascii_lowercase()))
    }

    /// Reads `HOST` or `HOST:PORT`. A port is a decimal number from 1 to 65535 without zeros before it.
    pub fn parse_with_port(text: &str) -> Option<(Host, Option<u16>)> {
        match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => Some((Host::parse(host)?, Some(parse_port(port)?))),
            _ => Some((Host::parse(text)?, None)),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}
