//! What single strings mean: durations, sizes, networks, socket addresses, names. Pure functions from text to a value
//! or to the words that say what is wrong with it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use pillarbox_smtp::Mailbox;

use super::words::{listed, suggest};
use super::{DomainPattern, Place, Problem, RecipientPattern};

/// What is wrong with a string, before it is known where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    message: String,
    help: Option<String>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, text: impl Into<String>) -> Mistake {
        self.help = Some(text.into());
        self
    }

    pub(super) fn at(self, place: Place) -> Problem {
        let problem = Problem::at(place, self.message);
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

/// Unit names and what one of them is in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Unit names and what one of them is in octets. Each binary unit stands before its decimal neighbour, so that sizes
/// are shown in binary units.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1024 * 1024 * 1024),
    ("GB", 1000 * 1000 * 1000),
    ("MiB", 1024 * 1024),
    ("MB", 1000 * 1000),
    ("KiB", 1024),
    ("KB", 1000),
    ("B", 1),
];

/// A duration as it is written on a command line, in the same words.
///
/// # Errors
/// It is none; says what one looks like.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).map_err(|_| "write a whole number and one of ms, s, m, h, d, as in 2h")
}

/// `50ms`, `5s`, `5m`, `1h`, `1d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Mistake> {
    measured(text, &DURATION_UNITS).map(Duration::from_millis).ok_or_else(|| {
        Mistake::new(format!("`{text}` is no duration"))
            .help("write a whole number and one of ms, s, m, h, d, as in \"5m\"")
    })
}

/// `16MiB`, `10KiB`, `1MB`.
pub(super) fn parse_size(text: &str) -> Result<u64, Mistake> {
    measured(text, &SIZE_UNITS).ok_or_else(|| {
        let meant = Some(format!("{text}iB")).filter(|meant| measured(meant, &SIZE_UNITS).is_some());
        Mistake::new(format!("`{text}` is no size")).help(match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write a whole number and one of B, KB, KiB, MB, MiB, GB, GiB, as in \"16MiB\"".to_owned(),
        })
    })
}

/// A whole number and a unit, in the smallest unit.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration as one would write it.
pub(super) fn show_duration(duration: Duration) -> String {
    shown(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "ms")
}

/// A size as one would write it.
pub(super) fn show_size(octets: u64) -> String {
    shown(octets, &SIZE_UNITS, "B")
}

fn shown(amount: u64, units: &[(&str, u64)], smallest: &str) -> String {
    if amount == 0 {
        return "0".to_owned();
    }
    let unit = units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => format!("{amount}{smallest}"),
    }
}

/// A network, or an address, which is the network of one host. What is written IPv4-mapped becomes IPv4.
pub(super) fn parse_network(text: &str) -> Result<IpNet, Mistake> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let mistake = Mistake::new(format!("`{text}` is no network"));
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        return Err(match bare.filter(|bare| bare.parse::<Ipv6Addr>().is_ok()) {
            Some(bare) => mistake.help(format!("did you mean `{bare}`?")),
            None => {
                mistake.help("write an address or a network, as in \"192.0.2.1\", \"10.0.0.0/8\", \"2001:db8::/32\"")
            }
        });
    };
    if network.trunc() != network {
        return Err(Mistake::new(format!("`{text}` has bits set behind its prefix")).help(format!(
            "the network is `{}`, the host alone `{}`",
            network.trunc(),
            network.addr()
        )));
    }
    Ok(canonical(network))
}

/// An IPv6 network inside `::ffff:0:0/96` as the IPv4 network it stands for.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// An address and a port to listen on.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Mistake> {
    let mistake = || Mistake::new(format!("`{text}` is no address and port"));
    match text.parse::<SocketAddr>() {
        // IPv6 sockets take IPv6 only, so this one could never be reached.
        Ok(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
            let meant = SocketAddr::new(v6.ip().to_canonical(), v6.port());
            Err(Mistake::new(format!("`{text}` is an IPv4 address")).help(format!("did you mean `{meant}`?")))
        }
        Ok(address) => Ok(address),
        Err(_) if text.starts_with("unix:") || text.starts_with("systemd:") => {
            Err(Mistake::new(format!("`{text}` is not available in this version")).help("write an address and a port"))
        }
        Err(_) => Err(match text.parse::<IpAddr>() {
            Ok(address) => mistake().help(format!("did you mean `{}`?", SocketAddr::new(address, 25))),
            Err(_) if text.starts_with(':') || text.starts_with("*:") => {
                let port = text.trim_start_matches(['*', ':']);
                mistake().help(format!("`0.0.0.0:{port}` is every IPv4 address, `[::]:{port}` every IPv6 address"))
            }
            Err(_) => mistake().help("write them as in \"192.0.2.1:25\" or \"[2001:db8::1]:25\""),
        }),
    }
}

/// A name server: an address, with port 53 where none is named.
pub(super) fn parse_name_server(text: &str) -> Result<SocketAddr, Mistake> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53)).or_else(|_| text.parse());
    let mistake = || Mistake::new(format!("`{text}` is no address of a name server"));
    match address {
        Ok(address) if address.port() == 0 || address.ip().is_unspecified() => Err(mistake()),
        Ok(address) => Ok(SocketAddr::new(address.ip().to_canonical(), address.port())),
        Err(_) => {
            Err(mistake().help("write an address, as in \"192.0.2.53\", or one with a port, as in \"127.0.0.1:5353\""))
        }
    }
}

/// The name of a host, in lower case.
pub(super) fn parse_hostname(text: &str) -> Result<String, Mistake> {
    let mistake = || Mistake::new(format!("`{text}` is no host name"));
    if text.parse::<IpAddr>().is_ok() || text.starts_with('[') {
        return Err(mistake().help("write a name, not an address, as in \"mx.example.org\""));
    }
    if is_domain(text) && !text.contains('_') {
        return Ok(text.to_ascii_lowercase());
    }
    Err(match text.strip_suffix('.').filter(|name| is_domain(name)) {
        Some(name) => mistake().help(format!("did you mean `{name}`?")),
        None => mistake().help("write a domain name, as in \"mx.example.org\""),
    })
}

/// `example.org` or `*.example.org`.
pub(super) fn parse_domain_pattern(text: &str) -> Result<DomainPattern, Mistake> {
    if text == "*" {
        return Ok(DomainPattern::Every);
    }
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let mistake = Mistake::new(format!("`{text}` is no domain"));
    if is_domain(name) {
        let name = name.to_ascii_lowercase();
        return Ok(if below { DomainPattern::Below(name) } else { DomainPattern::Exact(name) });
    }
    if !text.is_ascii() {
        return Err(mistake.help("write it in ASCII, as the DNS has it (`xn--…`)"));
    }
    let meant = text.trim_start_matches(['@', '*', '.']).trim_end_matches('.');
    Err(if is_domain(meant) && text.starts_with(['*', '.']) {
        mistake.help(format!("`{meant}` is the domain, `*.{meant}` all below it"))
    } else if is_domain(meant) {
        mistake.help(format!("did you mean `{meant}`?"))
    } else {
        mistake.help(
            "write a domain, as in \"example.org\", all below it, as in \"*.example.org\", or \"*\" for every domain",
        )
    })
}

/// `example.org`, `*.example.org` or `user@example.org`.
pub(super) fn parse_recipient_pattern(text: &str) -> Result<RecipientPattern, Mistake> {
    let Some((local, domain)) = text.rsplit_once('@').filter(|(local, _)| !local.is_empty()) else {
        return parse_domain_pattern(text).map(RecipientPattern::Domain);
    };
    // A star may be a letter of an address (RFC 5321 section 4.1.2), but whoever writes one here means more than one
    // address, and the entry would be there for nobody.
    let starred = local.contains('*') && !local.starts_with('"');
    match text.parse::<Mailbox>() {
        Ok(mailbox) if !starred => Ok(RecipientPattern::Address {
            local: mailbox.local().to_owned(),
            domain: mailbox.domain().to_string().to_ascii_lowercase(),
        }),
        _ => Err(Mistake::new(format!("`{text}` is no address")).help(match domain.starts_with("*.") {
            true => format!("`{domain}` covers every address below that domain"),
            false if starred => format!("`{domain}` covers every address of that domain"),
            false => "write a whole address, as in \"user@example.org\", or a domain, as in \"example.org\"".to_owned(),
        })),
    }
}

/// RFC 5321 section 4.1.2, with the underscore that some domains in use have.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// What names a listener or an extension: it stands in logs, in the context and in messages.
pub(super) fn is_name(text: &str) -> bool {
    is_context_name(text) && !text.starts_with('_')
}

/// What names a value in the context: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
pub(super) fn is_context_name(text: &str) -> bool {
    let octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'.' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(octet) && !text.starts_with(['.', '-'])
}

/// A name in the context, or one with `*` in it, which stands for any run of characters.
pub(super) fn parse_context_pattern(text: &str) -> Result<String, Mistake> {
    // What a pattern leaves open may as well be a letter.
    if is_context_name(&text.replace('*', "x")) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("`{text}` is no pattern of context names"))
        .help("write letters, digits, `_`, `.`, `-`, with `*` for any run of them, as in \"greylist_*\""))
}

/// A header field's name (RFC 5322 section 2.2), or one with `*` in it, which stands for any run of characters.
pub(super) fn parse_header_pattern(text: &str) -> Result<String, Mistake> {
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':') {
        return Ok(text.to_owned());
    }
    let mistake = Mistake::new(format!("`{text}` is no pattern of header names"));
    Err(match text.strip_suffix(':') {
        Some(name) if !name.is_empty() => mistake.help(format!("did you mean `{name}`?")),
        _ => mistake.help("write a name, with `*` for any run of characters, as in \"subject\" or \"x-spam-*\""),
    })
}

/// What keys of a store begin with: `NAME/`, or several of them.
pub(super) fn parse_namespace(text: &str) -> Result<String, Mistake> {
    const LONGEST: usize = 128;
    let sound = |text: &str| {
        let names = text.strip_suffix('/').map(|names| names.split('/').all(is_context_name));
        names.unwrap_or_default() && text.len() <= LONGEST
    };
    if sound(text) {
        return Ok(text.to_owned());
    }
    let mistake = Mistake::new(format!("`{text}` is no namespace"));
    Err(match Some(format!("{text}/")).filter(|meant| sound(meant)) {
        Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
        None => mistake.help("write a name of letters, digits, `_`, `.`, `-` with `/` behind it, as in \"greylist/\""),
    })
}

/// Who may be said to be authenticated: the user's name, whole.
pub(super) fn parse_identity(text: &str) -> Result<String, Mistake> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Mistake::new("an identity is a user name without control characters"));
    }
    if text.contains('*') {
        return Err(Mistake::new(format!("`{text}` is no identity: they are compared whole"))
            .help("`true` covers every identity"));
    }
    Ok(text.to_owned())
}

/// The name of a SASL mechanism (RFC 4422 section 3.1).
pub(super) fn parse_mechanism(text: &str) -> Result<String, Mistake> {
    let octet = |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || matches!(octet, b'_' | b'-');
    let is_mechanism = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(octet);
    if is_mechanism(text) {
        return Ok(text.to_owned());
    }
    let mistake = Mistake::new(format!("`{text}` is no name of a mechanism"));
    Err(match Some(text.to_ascii_uppercase()).filter(|meant| is_mechanism(meant)) {
        Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
        None => mistake.help("write 1 to 20 upper-case letters, digits, `-`, `_`, as in \"XOAUTH2\""),
    })
}

/// Sixty-four hexadecimal digits.
pub(super) fn parse_sha256(text: &str) -> Result<[u8; 32], Mistake> {
    let digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let octets = digits.collect::<Option<Vec<u8>>>().map(|digits| {
        let (pairs, _) = digits.as_chunks::<2>();
        pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<u8>>()
    });
    octets.filter(|_| text.len() == 64).and_then(|octets| octets.try_into().ok()).ok_or_else(|| {
        Mistake::new("`sha256` must be 64 hexadecimal digits")
            .help("`pillarbox extension inspect FILE` shows a component's digest")
    })
}

/// Whether each brace of a template belongs to a placeholder there is.
pub(super) fn check_placeholders(template: &str, placeholders: &[&str]) -> Result<(), Mistake> {
    let written = placeholders.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>();
    let written = written.iter().map(String::as_str).collect::<Vec<_>>();
    let lead = if written.len() == 1 { "there is" } else { "there are" };
    let (mut texts, mut names) = (template, Vec::new());
    while let Some((text, (name, rest))) =
        texts.split_once('{').and_then(|(text, behind)| Some((text, behind.split_once('}')?)))
    {
        if text.contains('}') {
            break;
        }
        names.push(name);
        texts = rest;
    }
    if texts.contains(['{', '}']) {
        return Err(Mistake::new("a brace that belongs to no placeholder").help(format!("{lead} {}", listed(&written))));
    }
    match names.into_iter().find(|name| !placeholders.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Mistake::new(format!("there is no placeholder `{{{name}}}`")).help(suggest(
            &format!("{{{name}}}"),
            &written,
            lead,
        ))),
    }
}
