//! `to`: one target, or several servers that take each other's place. Text to parts; what else a route says of its target
//! is read where those keys are.

use std::net::Ipv6Addr;

use toml::de::DeValue;

use super::super::host::Host;
use super::super::reader::Value;
use super::super::value::{Mistake, check_placeholders};
use super::super::words::nearest;
use super::super::{Problem, Scheme};
use super::{Hop, HopHost, HopProtocol, MaildirPath};

/// What `to` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// `maildir:PATH`.
    Maildir(MaildirPath),
    /// `discard:`.
    Discard,
    /// `smtp://`, `smtps://`, `lmtp:`.
    Servers(Servers),
    /// `http://`, `https://`.
    Url {
        /// How HTTP is spoken.
        scheme: Scheme,
        /// With whom.
        host: Host,
        /// Where.
        port: u16,
        /// For what; begins with a slash.
        path: String,
    },
    /// `nats://`.
    Subject {
        /// The servers.
        hosts: Vec<(Host, u16)>,
        /// What is published to.
        subject: String,
    },
}

/// Servers that speak alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers {
    /// What is spoken.
    pub(super) protocol: HopProtocol,
    /// Whether TLS begins with the connection.
    pub(super) implicit: bool,
    /// Where they are; never empty.
    pub(super) hops: Vec<Hop>,
}

impl Servers {
    /// Whether a hop is the domain of the recipient.
    pub(super) fn by_domain(&self) -> bool {
        self.hops.iter().any(|hop| matches!(hop, Hop::Tcp { host: HopHost::RecipientDomain, .. }))
    }

    /// Whether what is said there leaves this machine.
    pub(super) fn leave_this_machine(&self) -> bool {
        self.hops.iter().any(|hop| match hop {
            Hop::Unix(_) => false,
            Hop::Tcp { host: HopHost::Host(host), .. } => !is_this_machine(host),
            Hop::Tcp { host: HopHost::RecipientDomain, .. } => true,
        })
    }
}

/// Whether nothing that is said to this host can be heard on the way.
pub(super) fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Address(address) => address.to_canonical().is_loopback(),
        Host::Name(name) => name == "localhost",
    }
}

impl To {
    /// The scheme with what follows it, for messages.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            To::Maildir(_) => "maildir:",
            To::Discard => "discard:",
            To::Servers(Servers { protocol: HopProtocol::Lmtp, .. }) => "lmtp:",
            To::Servers(Servers { implicit: true, .. }) => "smtps://",
            To::Servers(_) => "smtp://",
            To::Url { scheme: Scheme::Http, .. } => "http://",
            To::Url { scheme: Scheme::Https, .. } => "https://",
            To::Subject { .. } => "nats://",
        }
    }

    /// One text, or a list of servers.
    pub(super) fn read(value: Value<'_>) -> Option<To> {
        let DeValue::Array(items) = value.raw else { return To::read_one(value) };
        if items.is_empty() {
            let help = "name a server, as in `to = [\"smtp://mx1.example.org\", \"smtp://mx2.example.org\"]`";
            value.note(Problem::at(value.place, "a route to nowhere").help(help));
            return None;
        }
        let read = value.list()?.map(|item| (item, To::read_one(item))).collect::<Vec<_>>();
        let mut all: Option<To> = None;
        for (item, one) in read {
            // One that is wrong was noted, and the others are judged all the same.
            let Some(one) = one else { continue };
            all = match all {
                None => Some(one),
                Some(all) => Some(all.or_else(item, one)),
            };
        }
        all
    }

    /// With one more server that can take the others' place.
    fn or_else(self, item: Value<'_>, other: To) -> To {
        match (self, other) {
            (To::Servers(mut all), To::Servers(one))
                if all.protocol == one.protocol && all.implicit == one.implicit =>
            {
                if one.hops.iter().any(|hop| all.hops.contains(hop)) {
                    item.note(Problem::at(item.place, "this server is named twice"));
                }
                all.hops.extend(one.hops);
                if all.by_domain() {
                    let help = "give what goes to named servers a route of its own";
                    item.note(Problem::at(item.place, "`{domain}` stands alone, for it is many servers").help(help));
                }
                To::Servers(all)
            }
            (To::Subject { mut hosts, subject }, To::Subject { hosts: more, subject: other }) => {
                if subject != other {
                    let message = format!("one route publishes to one subject, and this is not `{subject}`");
                    item.note(Problem::at(item.place, message));
                }
                hosts.extend(more);
                To::Subject { hosts, subject }
            }
            (one, other) => {
                let message = match (other.scheme(), one.scheme()) {
                    (other, one) if other == one => format!("a route leads to one place by `{one}`"),
                    (other, one) => format!("`{other}` cannot take the place of `{one}`"),
                };
                let help = "a list names servers of one kind: `smtp://`, `smtps://`, `lmtp:` or `nats://`";
                item.note(Problem::at(item.place, message).help(help));
                one
            }
        }
    }

    fn read_one(value: Value<'_>) -> Option<To> {
        let text = value.text()?;
        let servers = |protocol, implicit, hop| Some(To::Servers(Servers { protocol, implicit, hops: vec![hop] }));
        let slashed = |rest: &'_ str| rest.starts_with("//");
        match text.split_once(':') {
            Some(("maildir", path)) => MaildirPath::read(value, path).map(To::Maildir),
            Some(("discard", "")) => Some(To::Discard),
            Some(("discard", _)) => {
                value.note(Problem::at(value.place, "`discard:` takes nothing behind its colon"));
                None
            }
            Some(("lmtp", rest)) if !slashed(rest) => {
                let path = rest.strip_prefix("unix:").unwrap_or(rest);
                servers(HopProtocol::Lmtp, false, Hop::Unix(value.resolve(path)?))
            }
            Some((scheme @ ("smtp" | "smtps" | "lmtp"), rest)) if slashed(rest) => {
                let (protocol, implicit, port) = match scheme {
                    "lmtp" => (HopProtocol::Lmtp, false, 24),
                    "smtps" => (HopProtocol::Smtp, true, 465),
                    _ => (HopProtocol::Smtp, false, 25),
                };
                servers(protocol, implicit, value.parsed(|text| parse_hop(text, scheme, port))?)
            }
            Some((scheme @ ("http" | "https"), rest)) if slashed(rest) => {
                let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
                value.parsed(|text| parse_url(text, scheme))
            }
            Some(("nats", rest)) if slashed(rest) => value.parsed(parse_subject),
            other => {
                let scheme = other.map_or(text, |(scheme, _)| scheme);
                let help = match nearest(scheme, SCHEMES) {
                    Some(near @ ("maildir" | "discard")) => format!("did you mean `{near}:`?"),
                    Some(near) => format!("did you mean `{near}://…`?"),
                    None if text.starts_with(['/', '.']) => format!("did you mean `maildir:{text}`?"),
                    None => "there are `maildir:PATH`, `discard:`, `smtp://HOST`, `smtps://HOST`, `lmtp://HOST`, \
                             `lmtp:SOCKET`, `http://HOST/PATH`, `https://HOST/PATH` and `nats://HOST/SUBJECT`"
                        .to_owned(),
                };
                value.note(Problem::at(value.place, format!("`{text}` is no target of a route")).help(help));
                None
            }
        }
    }
}

const SCHEMES: [&str; 8] = ["maildir", "discard", "smtp", "smtps", "lmtp", "http", "https", "nats"];

/// `SCHEME://HOST[:PORT]`, of which the host may be `{domain}` for SMTP.
fn parse_hop(text: &str, scheme: &str, standard: u16) -> Result<Hop, Mistake> {
    let rest = behind_slashes(text);
    if let Some(port) = rest.strip_prefix("{domain}") {
        // Whose exchangers are asked is found in the DNS, which speaks of SMTP with STARTTLS alone (RFC 5321 section 5.1).
        if scheme != "smtp" {
            return Err(Mistake::new(format!("`{{domain}}` does not stand in `{scheme}://`")).help(
                "only by SMTP is mail brought to the servers of the recipient's domain: write `smtp://{domain}`",
            ));
        }
        if let Some((_, port)) = Host::parse_with_port(&format!("domain{port}")) {
            return Ok(Hop::Tcp { host: HopHost::RecipientDomain, port: port.unwrap_or(standard) });
        }
    }
    let (host, port) = parse_authority(text, rest, "25")?;
    let port = port.unwrap_or(standard);
    if scheme == "lmtp" && port == 25 {
        // RFC 2033 section 5.
        return Err(Mistake::new("LMTP is not spoken on port 25").help("name its own port; without one it is 24"));
    }
    Ok(Hop::Tcp { host: HopHost::Host(host), port })
}

fn parse_url(text: &str, scheme: Scheme) -> Result<To, Mistake> {
    let rest = behind_slashes(text);
    let (authority, path) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    let (host, port) = parse_authority(text, authority, "8080")?;
    let sound = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&octet);
    if !path.is_empty() && !path.starts_with('/') || !path.bytes().all(sound) {
        let mistake = Mistake::new(format!("`{text}` is no URL to post to"));
        return Err(match path.contains(['{', '}', '#']) {
            true => mistake.help("one URL takes every message: there are no placeholders and no fragments in it"),
            false => mistake.help("write a path of letters, digits and `%XX`, as in \"https://hook.example.org/mail\""),
        });
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok(To::Url { scheme, host, port: port.unwrap_or(scheme.port()), path: path.to_owned() })
}

fn parse_subject(text: &str) -> Result<To, Mistake> {
    let rest = behind_slashes(text);
    let (authority, subject) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = parse_authority(text, authority, "4222")?;
    check_placeholders(subject, &["domain", "local", "listener"])?;
    let token =
        |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '>' | '/'));
    // What begins with `$` is the system's own.
    if !subject.split('.').all(token) || subject.starts_with('$') {
        return Err(Mistake::new(format!("`{text}` names no subject"))
            .help("write words with dots between them, as in \"nats://127.0.0.1:4222/mail.{domain}\""));
    }
    Ok(To::Subject { hosts: vec![(host, port.unwrap_or(4222))], subject: subject.to_owned() })
}

/// `HOST` or `HOST:PORT`, which stands in `text`. `port` is an example of one.
fn parse_authority(text: &str, rest: &str, port: &str) -> Result<(Host, Option<u16>), Mistake> {
    if let Some(found) = Host::parse_with_port(rest) {
        return match found.0 {
            Host::Address(address) if address.is_unspecified() || address.is_multicast() => {
                Err(Mistake::new(format!("`{address}` is the address of no server")))
            }
            _ => Ok(found),
        };
    }
    let before = text.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
    let mistake = match rest {
        "" => Mistake::new(format!("`{text}` names no host")),
        rest => Mistake::new(format!("`{rest}` is no host")),
    };
    if rest.contains('@') {
        return Err(Mistake::new("`to` holds no names and no passwords")
            .help("a route has `login`, `token-file` or `credentials` for them"));
    }
    if rest.contains(['{', '}']) {
        return Err(
            mistake.help("the one placeholder is `{domain}`, which stands for the whole host in `smtp://{domain}`")
        );
    }
    if let Some((host, _)) = rest.split_once('/').filter(|(host, _)| Host::parse_with_port(host).is_some()) {
        return Err(mistake.help(format!("did you mean `{before}{host}`?")));
    }
    if rest.parse::<Ipv6Addr>().is_ok() {
        return Err(mistake.help(format!("did you mean `{before}[{rest}]`?")));
    }
    if let Some(name) = rest.strip_suffix('.').filter(|name| Host::parse(name).is_some()) {
        return Err(mistake.help(format!("did you mean `{before}{name}`?")));
    }
    Err(mistake.help(format!("write a name or an address and maybe a port: `mx.example.org`, `[2001:db8::1]:{port}`")))
}

fn behind_slashes(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, rest)| rest)
}
