//! How far a grant of `dns`, `http` and `stream` reaches: which records of which names, which hosts by which methods,
//! which addresses. A host has one spelling here, so that what is compared is what is connected to.
//!
//! The room asks nobody and connects to nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use toml::de::DeValue;

use super::Problem;
use super::host::Host;
use super::reader::{Table, Value};
use super::value::{Mistake, is_domain, parse_network};

/// What `dns`, `http` and `stream` are narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// For `dns`.
    Dns(DnsReach),
    /// For `http`.
    Http(HttpReach),
    /// For `stream`: these addresses.
    Streams(Vec<StreamAddress>),
}

/// What may be asked of name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsReach {
    /// Types of records; none: every type there is a function for.
    pub types: Option<Vec<RecordKind>>,
    /// Where the names lie; none: anywhere.
    pub zones: Option<Vec<Zone>>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Addresses, A and AAAA.
    A,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
}

impl RecordKind {
    /// As a grant has it.
    pub fn name(self) -> &'static str {
        match self {
            RecordKind::A => "a",
            RecordKind::Mx => "mx",
            RecordKind::Txt => "txt",
            RecordKind::Ptr => "ptr",
        }
    }
}

/// A part of the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// This name and all below it. In lower case.
    Name(String),
    /// The names of these addresses.
    Network(IpNet),
}

/// Who may be called by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReach {
    /// The hosts.
    pub hosts: Vec<HttpHost>,
    /// The methods; none: each of [`METHODS`].
    pub methods: Option<Vec<String>>,
}

/// A host that may be called, at one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHost {
    /// The scheme; none: either.
    pub scheme: Option<Scheme>,
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// How HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// The other end of a byte stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamAddress {
    /// TCP.
    Tcp(Host, u16),
    /// A Unix socket, by its absolute path. As text, because paths that are spelled in two ways compare as one.
    Unix(String),
}

/// The methods of HTTP there are for an extension.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl DnsReach {
    /// Whether records of this kind may be asked for at `name`, which is in lower case and has no final dot.
    pub fn covers(&self, kind: RecordKind, name: &str) -> bool {
        self.covers_kind(kind) && self.lies_in(|zone| zone.holds(name))
    }

    /// Whether the names of `address` may be asked for; `reverse` is its name below `in-addr.arpa` or `ip6.arpa`.
    pub fn covers_address(&self, address: IpAddr, reverse: &str) -> bool {
        self.covers_kind(RecordKind::Ptr)
            && self.lies_in(|zone| match zone {
                Zone::Network(network) => network.contains(&address),
                Zone::Name(_) => zone.holds(reverse),
            })
    }

    fn covers_kind(&self, kind: RecordKind) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&kind))
    }

    fn lies_in(&self, holds: impl Fn(&Zone) -> bool) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.iter().any(holds))
    }
}

impl Zone {
    fn holds(&self, name: &str) -> bool {
        match self {
            Zone::Name(zone) => {
                name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Zone::Network(_) => false,
        }
    }
}

impl HttpReach {
    /// Whether this host may be called by this scheme at this port.
    pub fn covers(&self, scheme: Scheme, host: &Host, port: u16) -> bool {
        let covers = |granted: &HttpHost| granted.scheme.is_none_or(|granted| granted == scheme);
        self.hosts.iter().any(|granted| covers(granted) && granted.host == *host && granted.port == port)
    }

    /// Whether this method may be used.
    pub fn covers_method(&self, method: &str) -> bool {
        match &self.methods {
            Some(methods) => methods.iter().any(|granted| granted == method),
            None => METHODS.contains(&method),
        }
    }
}

impl Scheme {
    /// The port where none is written.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// As a URL has it.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl StreamAddress {
    /// Reads `HOST:PORT` or `unix:PATH`.
    pub fn parse(text: &str) -> Option<StreamAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && !path.chars().any(char::is_control);
            return fits.then(|| StreamAddress::Unix(path.to_owned()));
        }
        match Host::parse_with_port(text)? {
            (host, Some(port)) => Some(StreamAddress::Tcp(host, port)),
            (_, None) => None,
        }
    }
}

impl Reach {
    /// `dns`: a table of types and zones.
    pub(super) fn read_dns(value: Value<'_>) -> Option<Reach> {
        let DeValue::Table(_) = value.raw else {
            return value.mistyped("`true`, `false` or a table of `types` and `zones`");
        };
        let mut table = value.table()?;
        let types = table.take("types").map(|value| value.each(|item| item.choice(&RECORD_KINDS)));
        let zones = table.take("zones").map(|value| value.each(|item| item.parsed(parse_zone)));
        table.finish();
        // A list that is wrong must not come to no narrowing at all.
        Some(Reach::Dns(DnsReach { types: every(types)?, zones: every(zones)? }))
    }

    /// `http`: a list of hosts, or a table of hosts and methods.
    pub(super) fn read_http(value: Value<'_>) -> Option<Reach> {
        let hosts = |value: Value<'_>| value.each(|item| item.parsed(parse_http_host));
        let DeValue::Table(_) = value.raw else {
            let DeValue::Array(_) = value.raw else { return unnamed(value, "hosts", "[\"api.example.org\"]") };
            return Some(Reach::Http(HttpReach { hosts: hosts(value)?, methods: None }));
        };
        let mut table: Table<'_> = value.table()?;
        let found = table.require("hosts", "[\"api.example.org\"]").and_then(hosts);
        let choices = METHODS.map(|method| (method, method));
        let methods = table.take("methods").map(|value| value.each(|item| item.choice(&choices).map(str::to_owned)));
        table.finish();
        Some(Reach::Http(HttpReach { hosts: found?, methods: every(methods)? }))
    }

    /// `stream`: a list of addresses.
    pub(super) fn read_streams(value: Value<'_>) -> Option<Reach> {
        let DeValue::Array(_) = value.raw else { return unnamed(value, "addresses", "[\"127.0.0.1:6379\"]") };
        value.each(|item| item.parsed(parse_stream_address)).map(Reach::Streams)
    }
}

const RECORD_KINDS: [(&str, RecordKind); 4] =
    [("a", RecordKind::A), ("mx", RecordKind::Mx), ("txt", RecordKind::Txt), ("ptr", RecordKind::Ptr)];

/// None where something was written that cannot be read.
fn every<T>(list: Option<Option<Vec<T>>>) -> Option<Option<Vec<T>>> {
    match list {
        Some(None) => None,
        Some(some) => Some(some),
        None => Some(None),
    }
}

/// What reaches out of the server reaches named places only.
fn unnamed<T>(value: Value<'_>, what: &str, example: &str) -> Option<T> {
    let problem = Problem::at(value.place, format!("`{}` must name its {what}", value.name));
    value.note(problem.help(format!("write `grant.{} = {example}`, or `false`", value.name)));
    None
}

fn parse_zone(text: &str) -> Result<Zone, Mistake> {
    if text.contains('/') || text.parse::<IpAddr>().is_ok() {
        return parse_network(text).map(Zone::Network);
    }
    if is_domain(text) {
        return Ok(Zone::Name(text.to_ascii_lowercase()));
    }
    let mistake = Mistake::new(format!("`{text}` is no zone"));
    let meant = text.trim_start_matches(['*', '.']).trim_end_matches('.');
    Err(match meant {
        "" => mistake.help("without `zones` every name may be asked for"),
        meant if is_domain(meant) => mistake.help(format!("did you mean `{meant}`, which covers all below it too?")),
        _ => mistake.help("write a domain, as in \"example.org\", or for `ptr` a network, as in \"10.0.0.0/8\""),
    })
}

/// `HOST[:PORT]` with or without a scheme. Without a port it is that of the scheme, and without both it is HTTPS.
fn parse_http_host(text: &str) -> Result<HttpHost, Mistake> {
    let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (Some(Scheme::Https), rest),
        (_, Some(rest)) => (Some(Scheme::Http), rest),
        _ => (None, text),
    };
    match (Host::parse_with_port(rest), scheme) {
        (Some((host, Some(port))), scheme) => Ok(HttpHost { scheme, host, port }),
        (Some((host, None)), scheme) => {
            let scheme = scheme.unwrap_or(Scheme::Https);
            Ok(HttpHost { scheme: Some(scheme), host, port: scheme.port() })
        }
        (None, _) => Err(no_host(text, "host to call", rest).unwrap_or_else(|| {
            Mistake::new(format!("`{text}` is no host to call")).help(
                "write a host, which is called by https alone, as in \"api.example.org\", one with its port, as in \
                 \"127.0.0.1:8080\", or one with `http://` before it",
            )
        })),
    }
}

/// A mistake with what was meant, where that can be told.
fn no_host(text: &str, what: &str, rest: &str) -> Option<Mistake> {
    let mistake = Mistake::new(format!("`{text}` is no {what}"));
    if rest.contains('*') {
        return Some(mistake.help("each is named in full: there are no patterns here"));
    }
    if let Some((host, _)) = rest.split_once('/').filter(|(host, _)| Host::parse_with_port(host).is_some()) {
        let prefix = text.strip_suffix(rest).unwrap_or_default();
        return Some(mistake.help(format!("did you mean `{prefix}{host}`? A grant names no path")));
    }
    let bare = rest.parse::<Ipv6Addr>().ok()?;
    Some(mistake.help(format!("did you mean `[{bare}]`?")))
}

fn parse_stream_address(text: &str) -> Result<StreamAddress, Mistake> {
    StreamAddress::parse(text).ok_or_else(|| {
        no_host(text, "address of a stream", text).filter(|_| !text.starts_with("unix:")).unwrap_or_else(|| {
            Mistake::new(format!("`{text}` is no address of a stream")).help(
                "write a host and a port, as in \"127.0.0.1:6379\", or a socket by its absolute path, as in \
                 \"unix:/run/clamav/clamd.sock\"",
            )
        })
    })
}

/// As a grant has it.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Dns(DnsReach { types, zones }) => {
                let name =
                    |kind: &RecordKind| RECORD_KINDS.iter().find(|(_, of)| of == kind).map_or("", |(name, _)| name);
                match types {
                    Some(types) => write!(f, "types [{}]", joined(types.iter().map(name)))?,
                    None => f.write_str("types all")?,
                }
                match zones {
                    Some(zones) => write!(f, " zones [{}]", joined(zones)),
                    None => f.write_str(" zones all"),
                }
            }
            Reach::Http(HttpReach { hosts, methods }) => {
                write!(f, "hosts [{}]", joined(hosts))?;
                match methods {
                    Some(methods) => write!(f, " methods [{}]", joined(methods)),
                    None => Ok(()),
                }
            }
            Reach::Streams(addresses) => write!(f, "[{}]", joined(addresses)),
        }
    }
}

fn joined(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Name(name) => f.write_str(name),
            Zone::Network(network) => write!(f, "{network}"),
        }
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.name())?;
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamAddress::Tcp(host, port) => write!(f, "{host}:{port}"),
            StreamAddress::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_host_to_call_has_one_port() {
        for (text, expected) in [
            ("api.example.org", Some("https://api.example.org:443")),
            ("API.example.org", Some("https://api.example.org:443")),
            ("https://api.example.org", Some("https://api.example.org:443")),
            ("http://api.example.org", Some("http://api.example.org:80")),
            ("api.example.org:8443", Some("api.example.org:8443")),
            ("http://api.example.org:8080", Some("http://api.example.org:8080")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("[::1]", Some("https://[::1]:443")),
            ("127.0.0.1", Some("https://127.0.0.1:443")),
            ("localhost:80", Some("localhost:80")),
            ("", None),
            ("*", None),
            ("*.example.org", None),
            ("api.example.org.", None),
            ("api.example.org/", None),
            ("user@api.example.org", None),
            ("ftp://api.example.org", None),
            ("api.example.org:0", None),
            ("api.example.org:080", None),
            ("api.example.org:", None),
            ("127.1", None),
            ("0x7f000001", None),
            ("::1", None),
            ("[fe80::1%eth0]", None),
        ] {
            assert_eq!(parse_http_host(text).ok().map(|host| host.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_of_a_stream_is_whole() {
        for (text, expected) in [
            ("127.0.0.1:6379", Some("127.0.0.1:6379")),
            ("Clamd.Example:3310", Some("clamd.example:3310")),
            ("[0:0::1]:3310", Some("[::1]:3310")),
            ("unix:/run/clamav/clamd.sock", Some("unix:/run/clamav/clamd.sock")),
            ("127.0.0.1", None),
            ("unix:clamd.sock", None),
            ("unix:", None),
            ("unix:/run/\0", None),
            ("/run/clamd.sock", None),
            ("clamd.example.:3310", None),
            (" 127.0.0.1:6379", None),
        ] {
            assert_eq!(StreamAddress::parse(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
        // A path is compared as it stands.
        let granted = StreamAddress::parse("unix:/run/a.sock");
        for other in ["/run/x/../a.sock", "/run//a.sock", "/run/./a.sock", "/run/a.sock/", "/RUN/a.sock"] {
            assert_ne!(granted, StreamAddress::parse(&format!("unix:{other}")), "{other}");
        }
    }

    #[test]
    fn a_zone_holds_itself_and_what_lies_below() {
        let zones = |texts: &[&str]| Some(texts.iter().map(|text| parse_zone(text).unwrap()).collect::<Vec<_>>());
        let reach = DnsReach {
            types: Some(vec![RecordKind::A, RecordKind::Ptr]),
            zones: zones(&["Example.org", "10.0.0.0/8", "2.0.192.in-addr.arpa"]),
        };
        for (name, held) in [
            ("example.org", true),
            ("a.b.example.org", true),
            ("badexample.org", false),
            ("example.org.evil.example", false),
            ("org", false),
            ("10.0.0.0", false),
        ] {
            assert_eq!(reach.covers(RecordKind::A, name), held, "{name}");
            assert!(!reach.covers(RecordKind::Mx, name), "{name}");
        }
        for (address, reverse, held) in [
            ("10.1.2.3", "3.2.1.10.in-addr.arpa", true),
            ("11.1.2.3", "3.2.1.11.in-addr.arpa", false),
            ("192.0.2.7", "7.2.0.192.in-addr.arpa", true),
            ("192.0.21.2", "2.21.0.192.in-addr.arpa", false),
        ] {
            assert_eq!(reach.covers_address(address.parse().unwrap(), reverse), held, "{address}");
        }
        let narrow = DnsReach { types: Some(vec![RecordKind::A]), zones: None };
        assert!(!narrow.covers_address("10.1.2.3".parse().unwrap(), "3.2.1.10.in-addr.arpa"));
        assert!(DnsReach::default().covers(RecordKind::Txt, "anything.example"));
        assert!(!DnsReach { types: None, zones: Some(Vec::new()) }.covers(RecordKind::Txt, "anything.example"));
    }
}
