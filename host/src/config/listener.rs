//! `[listener.NAME]`: addresses, what is spoken there, rules, peer blocks and the ordered list of extensions.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use pillarbox_smtp::{Keywords, Protocol, StrayNewlines};
use toml::de::DeValue;

use super::explain::Written;
use super::protocol::{read_esmtp, read_protocol};
use super::reader::{Table, Value};
use super::rules::RulesPart;
use super::uses::Defined;
use super::value::{Mistake, check_placeholders, is_name, parse_address, parse_network};
use super::{Auth, ClientName, Limits, LimitsPart, Place, Problem, Proxy, Relay, RelayPart, Rules, Tls, Use};

/// One `[listener.NAME]`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// NAME.
    pub name: String,
    /// Where NAME stands in the text.
    pub place: Place,
    /// The addresses it listens on; never empty. Port 0 asks the system for a free one.
    pub address: Vec<SocketAddr>,
    /// What is spoken.
    pub protocol: Protocol,
    /// The keywords of the server's own.
    pub esmtp: Keywords,
    /// Whether and how sessions are encrypted.
    pub tls: Tls,
    /// Who may log in, and how.
    pub auth: Auth,
    /// Who sends PROXY headers.
    pub proxy: Option<Proxy>,
    /// Whether the names of clients are looked up.
    pub client_name: ClientName,
    /// What follows `220 ` in the greeting, the host name already put in: printable ASCII.
    pub banner: String,
    /// The listener's own rules. What holds for a client is answered by [`Listener::rules_for`].
    pub rules: Rules,
    /// `[listener.NAME.peer."NETWORK"]`, the narrowest network first; no network occurs twice.
    pub peers: Vec<PeerBlock>,
    /// The extensions, in the order in which they are asked; none occurs twice.
    pub extensions: Vec<Use>,
    /// What becomes of a CR or LF that stands alone in a message.
    pub stray_newlines: StrayNewlines,
    /// Where each of the rules was written.
    pub(super) written: Written,
}

impl Listener {
    /// What holds for `client`: the listener's own rules with each peer block that holds the address put over them, the
    /// narrowest network winning key by key and the context name by name. An IPv4-mapped IPv6 address is the IPv4
    /// address; a client whose address is unknown lies in no network.
    pub fn rules_for(&self, client: Option<IpAddr>) -> Rules {
        let Rules { mut relay, mut context, .. } = self.rules.clone();
        for block in self.blocks_for(client) {
            relay = relay.with(&block.relay);
            context.extend(block.context.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Rules { relay, context, limits: self.limits_for(client) }
    }

    /// The limits among them.
    pub fn limits_for(&self, client: Option<IpAddr>) -> Limits {
        let mut limits = self.rules.limits;
        // Whatever passes connections on from this machine speaks for many: only what was written limits it.
        if client.is_some_and(|client| client.to_canonical().is_loopback()) {
            for (key, limit) in [
                ("limits.connections-per-address", &mut limits.connections_per_address),
                ("limits.connections-per-prefix", &mut limits.connections_per_prefix),
            ] {
                if self.written.at(key, None).is_none() {
                    *limit = 0;
                }
            }
        }
        self.blocks_for(client).fold(limits, |limits, block| limits.with(&block.limits))
    }

    /// The blocks that hold `client`, the widest first: they stand narrowest first, and who writes last wins.
    fn blocks_for(&self, client: Option<IpAddr>) -> impl Iterator<Item = &PeerBlock> {
        let client = client.map(|address| address.to_canonical());
        self.peers.iter().rev().filter(move |block| client.is_some_and(|client| block.network.contains(&client)))
    }
}

/// `[listener.NAME.peer."NETWORK"]`: what differs for clients of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerBlock {
    /// NETWORK.
    pub network: IpNet,
    /// What differs in which mail is taken.
    pub relay: RelayPart,
    /// Names set in the connection context on top of the listener's.
    pub context: BTreeMap<String, String>,
    /// What differs in the limits. `connections` counts the sessions of this network.
    pub limits: LimitsPart,
}

/// The addresses of all listeners read so far, each with its listener's name.
pub(super) type Addresses<'a> = Vec<(SocketAddr, &'a str)>;

impl Listener {
    /// `[listener.NAME]`, from the value under NAME. `defined` is what it can name.
    pub(super) fn read<'a>(
        value: Value<'a>,
        hostname: &str,
        defined: &Defined,
        addresses: &mut Addresses<'a>,
    ) -> Option<Listener> {
        check_name("a listener", value);
        let mut table = value.table()?;
        let address = read_address(&mut table, value.name, addresses);
        let protocol = read_protocol(&mut table);
        check_ports(&table, protocol, &address);
        let esmtp = read_esmtp(&mut table);
        let tls = Tls::read(&mut table);
        let auth = Auth::read(&mut table, tls.as_ref());
        let proxy = Proxy::read(&mut table);
        let client_name = ClientName::read(&mut table);
        let banner = table.take("banner").and_then(|value| value.parsed(|text| parse_banner(text, hostname)));
        let own = RulesPart::read(&mut table);
        let mut written = Written::default();
        written.note(None, &own);
        let peers = table.take("peer").map(|value| read_peers(value, &mut written)).unwrap_or_default();
        let uses = table.take("extension").and_then(|value| value.each(|item| Use::read(item, defined)));
        let stray_newlines = table.take("stray-newlines").and_then(|value| {
            value.choice(&[("refuse", StrayNewlines::Refuse), ("normalize", StrayNewlines::Normalize)])
        });
        let listener = Listener {
            name: value.name.to_owned(),
            place: value.key,
            address: address.into_iter().map(|(address, _)| address).collect(),
            protocol,
            esmtp,
            tls: tls.unwrap_or_default(),
            auth,
            proxy,
            client_name,
            banner: banner.unwrap_or_else(|| format!("{hostname} ESMTP Pillarbox")),
            rules: Rules {
                relay: Relay::default().with(&own.relay),
                context: own.context,
                limits: Limits::default().with(&own.limits),
            },
            peers,
            extensions: uses.unwrap_or_default(),
            stray_newlines: stray_newlines.unwrap_or_default(),
            written,
        };
        listener.check_uses(&table);
        table.finish();
        Some(listener)
    }

    /// An extension is asked once at each hook, so it stands in the list once.
    fn check_uses(&self, table: &Table<'_>) {
        for (index, used) in self.extensions.iter().enumerate() {
            if self.extensions.iter().take(index).any(|earlier| earlier.extension == used.extension) {
                let message = format!("the extension `{}` is used twice on this listener", used.extension);
                let help = "to ask one component twice, define it under two names";
                table.note(Problem::at(used.place, message).help(help));
            }
        }
    }
}

/// Checks that NAME in `[listener.NAME]` or `[extension.NAME]` can stand in a log line and a message as it is.
pub(super) fn check_name(what: &str, value: Value<'_>) {
    if !is_name(value.name) {
        let message = format!("`{}` cannot be the name of {what}", value.name);
        let help = "write 1 to 64 letters, digits, `_`, `.`, `-`, the first a letter or a digit";
        value.note(Problem::at(value.key, message).help(help));
    }
}

/// RFC 2033 section 5: LMTP is never spoken on the port at which everybody expects SMTP.
fn check_ports(table: &Table<'_>, protocol: Protocol, addresses: &[(SocketAddr, Place)]) {
    for (_, place) in addresses.iter().filter(|(address, _)| protocol == Protocol::Lmtp && address.port() == 25) {
        let problem = Problem::at(*place, "LMTP cannot be spoken on port 25");
        table.note(problem.help("choose another port, as in \"127.0.0.1:24\""));
    }
}

fn read_address<'a>(table: &mut Table<'a>, name: &'a str, addresses: &mut Addresses<'a>) -> Vec<(SocketAddr, Place)> {
    let Some(value) = table.require("address", "[\"127.0.0.1:2525\"]") else {
        return Vec::new();
    };
    let item = |item: Value<'a>| Some((item.parsed(parse_address)?, item.place));
    let Some(own) = value.each(item) else {
        return Vec::new();
    };
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        value.note(Problem::at(value.place, "a listener needs an address to listen on"));
    }
    for (address, place) in &own {
        if let Some((taken, owner)) = addresses.iter().find(|(taken, _)| collide(*taken, *address)) {
            let here = if *owner == name { "this listener".to_owned() } else { format!("the listener `{owner}`") };
            let message = if taken == address {
                format!("{here} has the address `{address}` already")
            } else {
                format!("`{address}` and `{taken}`, which {here} has, cannot both be listened on")
            };
            value.note(Problem::at(*place, message));
        }
        addresses.push((*address, name));
    }
    own
}

/// Whether the system refuses to listen on both: they are equal, or one is every address of the other's family. Port 0
/// is another port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (one == other || one.is_ipv4() == other.is_ipv4() && wildcard)
}

/// Text of the greeting with the host name put in. RFC 5321 section 4.2: printable ASCII; section 4.5.3.1.5: a reply
/// line has at most 512 octets, `220 ` and CR LF among them.
fn parse_banner(text: &str, hostname: &str) -> Result<String, Mistake> {
    if text.is_empty() || text.starts_with(' ') {
        return Err(Mistake::new("`banner` must begin with a word").help("`{hostname}` stands for the server's name"));
    }
    if !text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
        return Err(Mistake::new("`banner` can only hold printable ASCII"));
    }
    check_placeholders(text, &["hostname"])?;
    let banner = text.replace("{hostname}", hostname);
    if banner.len() > 512 - "220 \r\n".len() {
        return Err(Mistake::new("`banner` is longer than the 506 octets that fit into a reply"));
    }
    Ok(banner)
}

fn read_peers(value: Value<'_>, written: &mut Written) -> Vec<PeerBlock> {
    let mut peers: Vec<PeerBlock> = Vec::new();
    for value in value.named_tables("[listener.NAME.peer.\"NETWORK\"]") {
        if ["relay", "context", "limits"].contains(&value.name) {
            let help = "write `[listener.NAME.peer.\"NETWORK\"]`";
            value.note(Problem::at(value.key, format!("`{}` stands outside a peer block", value.name)).help(help));
            continue;
        }
        let network = parse_network(value.name).map_err(|mistake| value.note(mistake.at(value.key))).ok();
        let Some(mut table) = value.table() else {
            continue;
        };
        let part = RulesPart::read(&mut table);
        table.finish();
        let Some(network) = network else {
            continue;
        };
        if peers.iter().any(|block| block.network == network) {
            value.note(Problem::at(value.key, format!("the network `{network}` has two peer blocks")));
        }
        written.note(Some(network), &part);
        let RulesPart { relay, context, limits, .. } = part;
        peers.push(PeerBlock { network, relay, context, limits });
    }
    peers.sort_by_key(|block| (Reverse(block.network.prefix_len()), block.network));
    peers
}
