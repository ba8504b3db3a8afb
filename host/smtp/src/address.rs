//! Mailboxes, domains and paths: values that cannot be malformed (RFC 5321 sections 4.1.2, 4.1.3 and 4.5.3.1; RFC 6531
//! section 3.3).
//!
//! It knows the grammar; whether a domain exists or a mailbox is ours, it does not. What `%`, `!` and quotes in a local part
//! may mean elsewhere it does not know either: they are text.

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
    /// Reads a mailbox that may hold UTF-8 (RFC 6531 section 3.3), which `parse` does not take.
    pub fn parse_utf8(text: &str) -> Result<Self, AddressError> {
        let (local, raw_local, rest) = local_part(text)?;
        let domain = Domain::parse_utf8(rest.strip_prefix('@').ok_or(AddressError::Syntax)?)?;
        // Measured in octets, and as it was said: the canonical form is never longer.
        if raw_local.len() > LOCAL || text.len() > PATH - "<>".len() {
            return Err(AddressError::TooLong);
        }
        Ok(Mailbox { local, domain })
    }

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
        ascii(text).and_then(Mailbox::parse_utf8)
    }
}

/// A mailbox's domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// A domain name; what is ASCII of it in lower case.
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

impl Domain {
    /// Reads a domain that may hold UTF-8 (RFC 6531 section 3.3), which `parse` does not take.
    pub fn parse_utf8(text: &str) -> Result<Self, AddressError> {
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

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        ascii(text).and_then(Domain::parse_utf8)
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

/// Who a path names as the sender; with `utf8` it may hold UTF-8.
pub(crate) fn sender_of_path(path: &str, utf8: bool) -> Result<Sender, AddressError> {
    if path.is_empty() {
        return Ok(Sender::Null);
    }
    mailbox_of_path(path, utf8).map(Sender::Mailbox)
}

/// Who a path names as a recipient; with `utf8` it may hold UTF-8.
pub(crate) fn recipient_of_path(path: &str, utf8: bool) -> Result<Address, AddressError> {
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Address::Postmaster);
    }
    mailbox_of_path(path, utf8).map(Address::Mailbox)
}

/// The mailbox of a path. A source route is checked and dropped: "@a,@b:mailbox" is "mailbox" (RFC 5321 appendix C). It leads
/// to a mailbox with a domain: neither to the null sender nor to a bare postmaster.
fn mailbox_of_path(path: &str, utf8: bool) -> Result<Mailbox, AddressError> {
    if !utf8 {
        ascii(path)?;
    }
    if path.len() > PATH - "<>".len() {
        return Err(AddressError::TooLong);
    }
    if !path.starts_with('@') {
        return Mailbox::parse_utf8(path);
    }
    let (route, mailbox) = path.split_once(':').ok_or(AddressError::Syntax)?;
    for hop in route.split(',') {
        match Domain::parse_utf8(hop.strip_prefix('@').ok_or(AddressError::Syntax)?)? {
            Domain::Name(_) => {}
            Domain::Literal(_) => return Err(AddressError::Syntax),
        }
    }
    Mailbox::parse_utf8(mailbox)
}

fn ascii(text: &str) -> Result<&str, AddressError> {
    if text.is_ascii() { Ok(text) } else { Err(AddressError::NonAscii) }
}

/// A name for HELO and EHLO: a domain or an address literal (RFC 5321 section 4.1.1.1), or what clients say in place of
/// one. It proves nothing, and no mail is to be refused for it (section 4.1.4): only what could not stand in a Received
/// field is no name. So of a literal only the form is looked at, an IPv6 address needs no brackets, a name may end in a dot,
/// as DNS writes it, and a label in a hyphen, as computers' names do that were cut to fifteen letters.
pub(crate) fn is_hello_name(text: &str) -> bool {
    if text.len() > DOMAIN {
        return false;
    }
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && literal.bytes().all(|octet| matches!(octet, 0x21..=0x5a | 0x5e..=0x7e)),
        None => {
            let labels = text.strip_suffix('.').unwrap_or(text).split('.');
            let is_label = |label: &str| {
                let is_character = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
                (1..=LABEL).contains(&label.len()) && !label.starts_with('-') && label.bytes().all(is_character)
            };
            labels.into_iter().all(is_label) || text.parse::<Ipv6Addr>().is_ok()
        }
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
                c if matches!(c, ' '..='~') || is_foreign(c) => local.push(c),
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
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 section 3.2.3, RFC 6531 section 3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_foreign(c)
}

/// What is not ASCII and may stand in an address: no control character, no end of a line by another name, nothing that turns
/// what follows it round (UAX 9) or says that a character was lost, and none that is never one.
fn is_foreign(c: char) -> bool {
    let is_none = matches!(
        c,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffd}'
    ) || u32::from(c) & 0xfffe == 0xfffe;
    !c.is_ascii() && !c.is_control() && !is_none
}

/// RFC 5321 section 4.1.2: letters, digits and inner hyphens. Underscores are against the grammar and in wide use. Of what is
/// not ASCII, blanks and what others read as a dot (RFC 3490 section 3.1) would make it another domain than it seems.
fn is_label(text: &str) -> bool {
    let is_letter = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_')
            || (is_foreign(c) && !c.is_whitespace() && !matches!(c, '\u{3002}' | '\u{ff0e}' | '\u{ff61}'))
    };
    (1..=LABEL).contains(&text.len()) && text.chars().all(is_letter) && !text.starts_with('-') && !text.ends_with('-')
}

/// RFC 5321 section 4.1.3. General literals have no registered tag but IPv6, so none can be known.
fn address_literal(text: &str) -> Result<IpAddr, AddressError> {
    match text.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        _ => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
    }
    .ok_or(AddressError::Syntax)
}
