//! The keys of a route that leads to other servers: `smtp://`, `smtps://` and `lmtp:`.
//!
//! The room looks nothing up and opens no file that is named here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::reader::Value;
use super::super::value::{Mistake, parse_hostname};
use super::super::{Certificate, Host, Problem};
use super::keys::Keys;
use super::to::Servers;

/// Servers that take mail over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTarget {
    /// SMTP, or LMTP (RFC 2033) with an answer for each recipient.
    pub protocol: HopProtocol,
    /// Which servers, the first that answers.
    pub hops: Vec<Hop>,
    /// Whether the hops are mail domains, whose exchangers are looked up (RFC 5321 section 5.1).
    pub mx: bool,
    /// When connections are encrypted, and whom they must lead to.
    pub tls: HopTls,
    /// How the server logs in there, if it does.
    pub login: Option<Login>,
    /// The addresses connections come from, by family; none where the system chooses.
    pub source: Vec<IpAddr>,
    /// What it says at EHLO; the server's own name where nothing is written.
    pub hello: Option<String>,
    /// Whether the client is passed on by XCLIENT.
    pub xclient: PassOn,
    /// Whether it is passed on by XFORWARD.
    pub xforward: PassOn,
    /// Connections to one destination at a time.
    pub concurrency: u32,
    /// Messages over one connection.
    pub messages: u32,
    /// How long a connection waits for another message.
    pub idle: Duration,
    /// How long a server may take.
    pub timeouts: HopTimeouts,
}

/// What is spoken with the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopProtocol {
    /// SMTP.
    Smtp,
    /// LMTP.
    Lmtp,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// By name or address, and port.
    Tcp {
        /// Which.
        host: HopHost,
        /// Where.
        port: u16,
    },
    /// A socket of this machine. Absolute.
    Unix(PathBuf),
}

/// A server's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopHost {
    /// This one.
    Host(Host),
    /// `{domain}`: that of the recipient.
    RecipientDomain,
}

/// `tls`: how connections to the next hop are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTls {
    /// Whether, and how much is asked for.
    pub mode: HopTlsMode,
    /// Whether TLS begins with the connection (`smtps://`), and not with STARTTLS.
    pub implicit: bool,
    /// PEM authorities of its certificate, beside none of the system's; the system's where nothing is written.
    pub authorities: Option<PathBuf>,
    /// The name its certificate must have; the hop's where nothing is written.
    pub name: Option<String>,
    /// The certificate this server shows there.
    pub certificate: Option<Certificate>,
}

/// How much is asked of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopTlsMode {
    /// None.
    Off,
    /// Where the server offers it; whoever it is, and in the clear where it fails.
    Opportunistic,
    /// Always; whoever it is.
    Required,
    /// Always, and its certificate is verified.
    Verified,
}

impl HopTlsMode {
    /// The word for it in `tls.mode`.
    pub fn name(self) -> &'static str {
        match self {
            HopTlsMode::Off => "off",
            HopTlsMode::Opportunistic => "opportunistic",
            HopTlsMode::Required => "required",
            HopTlsMode::Verified => "verified",
        }
    }
}

/// `login`: a name and where its password lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// A file whose first line is the password. Absolute.
    pub password_file: PathBuf,
}

/// Whether a client is passed on (Momentum's `no | ifavailable | required`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PassOn {
    /// No.
    #[default]
    No,
    /// Where the next hop offers the verb.
    IfAvailable,
    /// Always; a hop that does not offer it is as good as one that cannot be reached.
    Required,
}

impl PassOn {
    /// The word for it in `xclient` and `xforward`.
    pub fn name(self) -> &'static str {
        match self {
            PassOn::No => "no",
            PassOn::IfAvailable => "ifavailable",
            PassOn::Required => "required",
        }
    }
}

/// `timeout`: how long the next hop may take (RFC 5321 section 4.5.3.2 recommends the defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopTimeouts {
    /// To connect, for each address. 30 s.
    pub connect: Duration,
    /// For the banner and for every reply but those below. 5 minutes.
    pub command: Duration,
    /// For each piece of the message to be taken. 3 minutes.
    pub data: Duration,
    /// For the reply to the end of the message. 10 minutes.
    pub end_of_data: Duration,
}

impl Default for HopTimeouts {
    fn default() -> HopTimeouts {
        HopTimeouts {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(5 * 60),
            data: Duration::from_secs(3 * 60),
            end_of_data: Duration::from_secs(10 * 60),
        }
    }
}

impl RelayTarget {
    /// A route with nothing but a hop and the defaults of everything else.
    pub fn new(protocol: HopProtocol, hop: Hop) -> RelayTarget {
        RelayTarget {
            protocol,
            hops: vec![hop],
            mx: false,
            tls: HopTls {
                mode: HopTlsMode::Opportunistic,
                implicit: false,
                authorities: None,
                name: None,
                certificate: None,
            },
            login: None,
            source: Vec::new(),
            hello: None,
            xclient: PassOn::No,
            xforward: PassOn::No,
            concurrency: 20,
            messages: 100,
            idle: Duration::from_secs(10),
            timeouts: HopTimeouts::default(),
        }
    }
}

impl RelayTarget {
    /// The keys of a route to these servers.
    pub(super) fn read(servers: Servers, keys: &mut Keys<'_>) -> Option<RelayTarget> {
        let tls = HopTls::read(keys.take("tls"), &servers);
        let mx = read_mx(keys.take("mx"), &servers);
        let mode = tls.as_ref().map_or(HopTlsMode::Verified, |tls| tls.mode);
        let login = keys.take("login").map(|value| Login::read(value, &servers, mode));
        let source = keys.take("source").and_then(|value| read_source(value, &servers)).unwrap_or_default();
        let hello = keys.take("hello").and_then(|value| value.parsed(parse_hostname));
        let pass_on = |value: Option<Value<'_>>| value.and_then(|value| value.choice(&PASS_ON)).unwrap_or_default();
        let xclient = pass_on(keys.take("xclient"));
        let xforward = pass_on(keys.take("xforward"));
        let concurrency = keys.take("concurrency").and_then(|value| value.count(1..=10_000));
        let messages = keys.take("messages").and_then(|value| value.count(1..=1_000_000));
        let idle = keys.take("idle").and_then(|value| value.duration(Duration::ZERO..=Duration::from_secs(60 * 60)));
        let timeouts = keys.take("timeout").map(HopTimeouts::read);
        let Servers { protocol, hops, .. } = servers;
        let default = RelayTarget::new(protocol, hops.first()?.clone());
        Some(RelayTarget {
            hops,
            mx,
            tls: tls?,
            login: login.flatten(),
            source,
            hello,
            xclient,
            xforward,
            concurrency: concurrency.unwrap_or(default.concurrency),
            messages: messages.unwrap_or(default.messages),
            idle: idle.unwrap_or(default.idle),
            timeouts: timeouts.flatten().unwrap_or_default(),
            ..default
        })
    }
}

/// The servers of a recipient's domain are its exchangers, unless it says otherwise; a named host is itself.
fn read_mx(value: Option<Value<'_>>, servers: &Servers) -> bool {
    let Some(value) = value else { return servers.by_domain() };
    let chosen = value.boolean().unwrap_or_default();
    let address =
        |hop: &Hop| !matches!(hop, Hop::Tcp { host: HopHost::Host(Host::Name(_)) | HopHost::RecipientDomain, .. });
    let problem = if chosen && (servers.protocol == HopProtocol::Lmtp || servers.implicit) {
        Problem::at(value.key, "exchangers take mail by SMTP").help("write `smtp://`, or leave `mx` out")
    } else if chosen && servers.hops.iter().any(address) {
        Problem::at(value.key, "an address has no mail exchangers").help("name the domain in `to`, or leave `mx` out")
    } else {
        return chosen;
    };
    value.note(problem);
    chosen
}

fn read_source(value: Value<'_>, servers: &Servers) -> Option<Vec<IpAddr>> {
    let source = value.each(|item| Some((item, item.parsed(parse_source)?)))?;
    for (index, (item, address)) in source.iter().enumerate() {
        if source.iter().take(index).any(|(_, other)| other.is_ipv4() == address.is_ipv4()) {
            let message = "connections come from one address of a family";
            item.note(Problem::at(item.place, message).help("name one IPv4 address, one IPv6 address or both"));
        }
    }
    if !source.is_empty() && servers.hops.iter().all(|hop| matches!(hop, Hop::Unix(_))) {
        let message = "a connection to a socket of this machine comes from no address";
        value.note(Problem::at(value.key, message).help("leave `source` out"));
    }
    Some(source.into_iter().map(|(_, address)| address).collect())
}

fn parse_source(text: &str) -> Result<IpAddr, Mistake> {
    let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
    address.ok().filter(|address| !address.is_unspecified() && !address.is_multicast()).ok_or_else(|| {
        Mistake::new(format!("`{text}` is no address to connect from"))
            .help("write one of this machine's own, as in \"192.0.2.1\"")
    })
}

const PASS_ON: [(&str, PassOn); 3] =
    [("no", PassOn::No), ("ifavailable", PassOn::IfAvailable), ("required", PassOn::Required)];

impl HopTimeouts {
    fn read(value: Value<'_>) -> Option<HopTimeouts> {
        let default = HopTimeouts::default();
        let mut table = value.table()?;
        let mut read = |key, default| {
            let range = Duration::from_millis(1)..=Duration::from_secs(60 * 60);
            table.take(key).and_then(|value| value.duration(range)).unwrap_or(default)
        };
        let read = HopTimeouts {
            connect: read("connect", default.connect),
            command: read("command", default.command),
            data: read("data", default.data),
            end_of_data: read("end-of-data", default.end_of_data),
        };
        table.finish();
        Some(read)
    }
}

/// The first hop as it is written; of several the others are as good as it.
impl fmt::Display for RelayTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.tls.implicit) {
            (HopProtocol::Lmtp, _) => "lmtp",
            (HopProtocol::Smtp, true) => "smtps",
            (HopProtocol::Smtp, false) => "smtp",
        };
        match self.hops.first() {
            Some(Hop::Tcp { host: HopHost::Host(host), port }) => write!(f, "{scheme}://{host}:{port}"),
            Some(Hop::Tcp { host: HopHost::RecipientDomain, port }) => write!(f, "{scheme}://{{domain}}:{port}"),
            Some(Hop::Unix(path)) => write!(f, "{scheme}:{}", path.display()),
            None => f.write_str(scheme),
        }
    }
}
