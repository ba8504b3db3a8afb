//! Who the other end is: which connections begin with a PROXY header, whether names of clients are looked up, and whom
//! the server asks for names.
//!
//! The room reads no header and asks nobody.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::Problem;
use super::reader::{Table, Value};
use super::value::{parse_name_server, parse_network};

/// The longest that anybody is kept waiting before a word was said.
const LONGEST: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(1);

/// `proxy`: the PROXY header that stands before everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Who must send one; never empty. Connections from elsewhere are clients like any other.
    pub from: Vec<IpNet>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Proxy {
    /// `proxy` of a listener.
    pub(super) fn read(listener: &mut Table<'_>) -> Option<Proxy> {
        let mut table = listener.table("proxy")?;
        let from = table.require("from", "[\"10.0.0.0/8\"]").and_then(read_from);
        let timeout = table.take("timeout").and_then(|value| value.duration(TICK..=LONGEST));
        table.finish();
        Some(Proxy { from: from?, timeout: timeout.unwrap_or(Duration::from_secs(5)) })
    }
}

fn read_from(value: Value<'_>) -> Option<Vec<IpNet>> {
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        let help = "name the networks of the proxies, or leave `proxy` out";
        value.note(Problem::at(value.place, "with no network in `from` nobody sends a PROXY header").help(help));
        return None;
    }
    let networks = value.each(|item| item.parsed(parse_network))?;
    // Halves make a whole, so what they come to is looked at.
    if IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() == 0) {
        let message = "`from` holds every address: whoever can connect could say to be anybody";
        value.note(Problem::at(value.place, message).help("name the networks of the proxies alone"));
    }
    Some(networks)
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

impl ClientName {
    /// `client-name` of a listener.
    pub(super) fn read(listener: &mut Table<'_>) -> ClientName {
        let chosen = listener.take("client-name").and_then(|value| value.choice(&CLIENT_NAMES));
        chosen.unwrap_or_default()
    }
}

const CLIENT_NAMES: [(&str, ClientName); 2] = [("off", ClientName::Off), ("verified", ClientName::Verified)];

/// `[dns]`: who is asked for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; none: those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one question may take.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns { servers: Vec::new(), timeout: Duration::from_secs(5) }
    }
}

impl Dns {
    /// `[dns]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Dns {
        let Some(mut table) = root.table("dns") else {
            return Dns::default();
        };
        let server = |item: Value<'_>| item.parsed(parse_name_server);
        let servers = table.take("servers").and_then(|value| value.each(server));
        let timeout = table.take("timeout").and_then(|value| value.duration(TICK..=LONGEST));
        table.finish();
        let default = Dns::default();
        Dns { servers: servers.unwrap_or_default(), timeout: timeout.unwrap_or(default.timeout) }
    }
}
