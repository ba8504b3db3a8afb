//! Mailboxes, domains and paths: values that cannot be malformed (RFC 5321 sections 4.1.2, 4.1.3 and 4.5.3.1).
//!
//! It knows the grammar; whether a domain exists or a mailbox is ours, it does not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Octets of a local part, a domain and a path (RFC 5321 sections 4.5.3.1.1 to 4.5.3.1.3).
const LOCAL: usize = 64;
const DOMAIN: usize = 255;
const PATH: usize = 256;
/// Octets of a label (RFC 1035 section 2.3.4).
const LABEL: usize = 63;

/// A mailbox: a local part at a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: String,
    domain: Domain,
}

impl Mailbox {
    /// The local part's value: unquoted, its case kept.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

/// The canonical form: the local part is quoted only where it must be.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        write!(f, "@{}", self.domain)
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        let (local, raw_local, rest) = local_part(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::Syntax)?.parse()?;
        // Measured as it was said: the canonical form is never longer.
        if raw_local.len() > LOCAL || text.len() > PATH - "<>".len() {
            return Err(AddressError::TooLong);
        }
        Ok(Mailbox { local, domain })
    }
}

/// A mailbox's domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// A domain name, in lower case.
    Name(String),
    /// An address literal, without its brackets.
    Literal(IpAddr),
}

/// A literal is shown in brackets, as it is written in an address.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => f.write_str(name),
            Domain::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Domain::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        if text.len() > DOMAIN {
            return Err(AddressError::TooLong);
        }
        if let Some(literal) = text.strip_prefix('[') {
            return address_literal(literal.strip_suffix(']').ok_or(AddressError::Syntax)?).map(Domain::Literal);
        }
        if !text.split('.').all(is_label) {
            return Err(AddressError::Syntax);
        }
        Ok(Domain::Name(text.to_ascii_lowercase()))
    }
}

/// Who a message is from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// `<>`: nobody, for notifications that must not be answered (RFC 5321 section 4.5.5).
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Without angle brackets; the null sender is the empty text.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Null => Ok(()),
            Sender::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Without angle brackets; the empty text is the null sender.
impl FromStr for Sender {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Sender::Null) } else { text.parse().map(Sender::Mailbox) }
    }
}

/// Who a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A mailbox.
    Mailbox(Mailbox),
    /// `<postmaster>` without a domain, in any case, which every server takes (RFC 5321 section 4.5.1).
    Postmaster,
}

/// Without angle brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Mailbox(mailbox) => mailbox.fmt(f),
            Address::Postmaster => f.write_str("postmaster"),
        }
    }
}

/// Without angle brackets.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            Ok(Address::Postmaster)
        } else {
            text.parse().map(Address::Mailbox)
        }
    }
}

/// Why something is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It holds octets beyond ASCII, which take SMTPUTF8 (RFC 6531).
    NonAscii,
    /// It does not follow the grammar.
    Syntax,
    /// The local part, the domain or the whole is too long.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::NonAscii => "the address is not ASCII",
            AddressError::Syntax => "the address is malformed",
            AddressError::TooLong => "the address is too long",
        })
    }
}

impl std::error::Error for AddressError {}

/// Splits `<path> and the rest` into what stands between the angle brackets, source route and all, and the rest. None
/// when it does not begin with a bracket, or the bracket is not closed.
pub(crate) fn split_path(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in inside.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let (path, rest) = inside.split_at_checked(at)?;
                return Some((path, rest.strip_prefix('>')?));
            }
            _ => {}
        }
    }
    // A quote that is not closed: no address, but the bracket is there.
    inside.split_once('>')
}

/// The mailbox of a path. A source route is checked and dropped: "@a,@b:mailbox" is "mailbox" (RFC 5321 appendix C).
pub(crate) fn mailbox_of_path<T: FromStr<Err = AddressError>>(path: &str) -> Result<T, AddressError> {
    if !path.is_ascii() {
        return Err(AddressError::NonAscii);
    }
    if path.len() > PATH - "<>".len() {
        return Err(AddressError::TooLong);
    }
    if !path.starts_with('@') {
        return path.parse();
    }
    let (route, mailbox) = path.split_once(':').ok_or(AddressError::Syntax)?;
    for hop in route.split(',') {
        match hop.strip_prefix('@').ok_or(AddressError::Syntax)?.parse()? {
            Domain::Name(_) => {}
            Domain::Literal(_) => return Err(AddressError::Syntax),
        }
    }
    // A route leads to a mailbox with a domain: neither to the null sender nor to a bare postmaster.
    let _: Mailbox = mailbox.parse()?;
    mailbox.parse()
}

/// A name for HELO and EHLO: a domain or an address literal (RFC 5321 section 4.1.1.1). Only the form of a literal is looked
/// at: refusing clients that write `[::1]` would help nobody, and what is in it proves nothing.
pub(crate) fn is_hello_name(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(literal) => {
            !literal.is_empty()
                && text.len() <= DOMAIN
                && literal.bytes().all(|octet| matches!(octet, 0x21..=0x5a | 0x5e..=0x7e))
        }
        None => matches!(text.parse(), Ok(Domain::Name(_))),
    }
}

/// The local part at the front: its value, the text it was written as, and the rest.
fn local_part(text: &str) -> Result<(String, &str, &str), AddressError> {
    if let Some(inside) = text.strip_prefix('"') {
        let mut local = String::new();
        let mut characters = inside.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    let raw = at.saturating_add(2);
                    let (raw, rest) = text.split_at_checked(raw).ok_or(AddressError::Syntax)?;
                    return Ok((local, raw, rest));
                }
                '\\' => match characters.next() {
                    Some((_, c @ ' '..='~')) => local.push(c),
                    _ => return Err(AddressError::Syntax),
                },
                ' '..='~' => local.push(c),
                _ => return Err(AddressError::Syntax),
            }
        }
        return Err(AddressError::Syntax);
    }
    let end = text.find('@').ok_or(AddressError::Syntax)?;
    let (local, rest) = text.split_at_checked(end).ok_or(AddressError::Syntax)?;
    if !is_dot_string(local) {
        return Err(AddressError::Syntax);
    }
    Ok((local.to_owned(), local, rest))
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// RFC 5322 section 3.2.3.
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

/// RFC 5321 section 4.1.2: letters, digits and inner hyphens. Underscores are against the grammar and in wide use.
fn is_label(text: &str) -> bool {
    (1..=LABEL).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 5321 section 4.1.3. General literals have no registered tag but IPv6, so none can be known.
fn address_literal(text: &str) -> Result<IpAddr, AddressError> {
    match text.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        _ => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
    }
    .ok_or(AddressError::Syntax)
}
