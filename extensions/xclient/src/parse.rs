//! The argument of XCLIENT: `attribute=xtext`, one or more, separated by blanks. Nothing here calls the host.

use std::net::IpAddr;

use pillarbox_sdk::identity::Field;
use pillarbox_sdk::session::HostName;
use pillarbox_sdk::{address, printable, xtext};

/// What can be said about the client, in the order Postfix advertises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    Name,
    Addr,
    Port,
    Proto,
    Helo,
    Login,
    Destaddr,
    Destport,
}

impl Attribute {
    pub const ALL: [Self; 8] =
        [Self::Name, Self::Addr, Self::Port, Self::Proto, Self::Helo, Self::Login, Self::Destaddr, Self::Destport];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Login => "LOGIN",
            Self::Destaddr => "DESTADDR",
            Self::Destport => "DESTPORT",
        }
    }

    /// The field of `identity` it changes.
    pub const fn field(self) -> Field {
        match self {
            Self::Name => Field::Name,
            Self::Addr => Field::Addr,
            Self::Port => Field::Port,
            Self::Proto => Field::Proto,
            Self::Helo => Field::Helo,
            Self::Login => Field::Login,
            Self::Destaddr => Field::Destaddr,
            Self::Destport => Field::Destport,
        }
    }
}

/// One attribute with its value. `None` is `[UNAVAILABLE]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Name(HostName),
    Addr(Option<IpAddr>),
    Port(Option<u16>),
    Proto(&'static str),
    Helo(Option<String>),
    Login(Option<String>),
    Destaddr(Option<IpAddr>),
    Destport(Option<u16>),
}

impl Change {
    pub const fn attribute(&self) -> Attribute {
        match self {
            Self::Name(_) => Attribute::Name,
            Self::Addr(_) => Attribute::Addr,
            Self::Port(_) => Attribute::Port,
            Self::Proto(_) => Attribute::Proto,
            Self::Helo(_) => Attribute::Helo,
            Self::Login(_) => Attribute::Login,
            Self::Destaddr(_) => Attribute::Destaddr,
            Self::Destport(_) => Attribute::Destport,
        }
    }
}

/// Why a command is refused; its text is the reply's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    NoArgument,
    NoValue,
    UnknownAttribute(String),
    Repeated(Attribute),
    TooLong(Attribute),
    BadValue(Attribute),
}

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoArgument => formatter.write_str("syntax: XCLIENT attribute=value..."),
            Self::NoValue => formatter.write_str("attribute=value expected"),
            Self::UnknownAttribute(name) => write!(formatter, "bad XCLIENT attribute name: {name}"),
            Self::Repeated(attribute) => write!(formatter, "{} given twice", attribute.name()),
            Self::TooLong(attribute) => write!(formatter, "{} value too long", attribute.name()),
            Self::BadValue(attribute) => write!(formatter, "bad {} syntax", attribute.name()),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reads the whole argument. An attribute that is not among `granted` is as unknown as one that does not exist.
pub fn changes(argument: &str, granted: &[Attribute]) -> Result<Vec<Change>, SyntaxError> {
    let mut changes: Vec<Change> = Vec::new();
    for pair in argument.split([' ', '\t']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or(SyntaxError::NoValue)?;
        let attribute = granted
            .iter()
            .copied()
            .find(|attribute| attribute.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| SyntaxError::UnknownAttribute(clipped(name)))?;
        if changes.iter().any(|change| change.attribute() == attribute) {
            return Err(SyntaxError::Repeated(attribute));
        }
        changes.push(change(attribute, value)?);
    }
    if changes.is_empty() { Err(SyntaxError::NoArgument) } else { Ok(changes) }
}

fn change(attribute: Attribute, value: &str) -> Result<Change, SyntaxError> {
    // Postfix's bound, on the value as it came.
    const LONGEST: usize = 255;
    if value.len() > LONGEST {
        return Err(SyntaxError::TooLong(attribute));
    }
    // Postfix takes broken xtext as plain text; then a name or a login means one thing to the gateway and another here.
    let value = xtext::decode_text(value).map_err(|_| SyntaxError::BadValue(attribute))?;
    let known = (!value.eq_ignore_ascii_case("[UNAVAILABLE]")).then_some(value);
    match attribute {
        Attribute::Name => host_name(known).map(Change::Name),
        Attribute::Addr => known_or_not(known, address::parse).map(Change::Addr),
        Attribute::Port => known_or_not(known, address::port).map(Change::Port),
        Attribute::Proto => known.as_deref().and_then(protocol).map(Change::Proto),
        Attribute::Helo => known_or_not(known, hello).map(Change::Helo),
        Attribute::Login => Some(Change::Login(known)),
        Attribute::Destaddr => known_or_not(known, address::parse).map(Change::Destaddr),
        Attribute::Destport => known_or_not(known, address::port).map(Change::Destport),
    }
    .ok_or(SyntaxError::BadValue(attribute))
}

/// `Some(None)` for an unavailable value, `None` for a bad one.
fn known_or_not<T>(value: Option<String>, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match value {
        Some(value) => read(&value).map(Some),
        None => Some(None),
    }
}

/// Only NAME knows `[TEMPUNAVAIL]`.
fn host_name(value: Option<String>) -> Option<HostName> {
    match value {
        None => Some(HostName::Unavailable),
        Some(value) if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") => Some(HostName::TemporarilyUnavailable),
        Some(value) => is_host_name(&value).then_some(HostName::Known(value)),
    }
}

/// RFC 1123 section 2.1 with the underscore that is in use. An address is no name.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(label) && !name.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.')
}

fn protocol(text: &str) -> Option<&'static str> {
    ["SMTP", "ESMTP"].into_iter().find(|protocol| protocol.eq_ignore_ascii_case(text))
}

/// It goes into header fields: printable and without blanks, so that it can be nothing but one word there.
fn hello(text: &str) -> Option<String> {
    text.bytes().all(|octet| octet.is_ascii_graphic()).then(|| text.to_owned())
}

/// A name from the wire, short and printable enough to be said back.
fn clipped(name: &str) -> String {
    const SHOWN: usize = 32;
    printable(&name.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn read(argument: &str) -> Result<Vec<Change>, SyntaxError> {
        changes(argument, &Attribute::ALL)
    }

    fn v4(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn values_that_are_taken() {
        let long = "l".repeat(255);
        for (argument, change) in [
            ("NAME=mail.example.org", Change::Name(HostName::Known("mail.example.org".into()))),
            ("name=MAIL_1.example", Change::Name(HostName::Known("MAIL_1.example".into()))),
            ("NAME=[unavailable]", Change::Name(HostName::Unavailable)),
            ("NAME=[TempUnavail]", Change::Name(HostName::TemporarilyUnavailable)),
            ("NAME=+5BUNAVAILABLE+5D", Change::Name(HostName::Unavailable)),
            ("ADDR=192.0.2.1", Change::Addr(v4("192.0.2.1"))),
            ("addr=ipv6:2001:DB8::7", Change::Addr(v4("2001:db8::7"))),
            ("ADDR=2001:db8::1", Change::Addr(v4("2001:db8::1"))),
            ("ADDR=IPV6:::ffff:192.0.2.1", Change::Addr(v4("192.0.2.1"))),
            ("ADDR=[UNAVAILABLE]", Change::Addr(None)),
            ("PORT=0", Change::Port(Some(0))),
            ("PORT=65535", Change::Port(Some(65535))),
            ("PORT=00025", Change::Port(Some(25))),
            ("PORT=[UNAVAILABLE]", Change::Port(None)),
            ("PROTO=esmtp", Change::Proto("ESMTP")),
            ("PROTO=SMTP", Change::Proto("SMTP")),
            ("HELO=[192.0.2.1]", Change::Helo(Some("[192.0.2.1]".into()))),
            ("HELO=a+2Bb", Change::Helo(Some("a+b".into()))),
            ("HELO=[UNAVAILABLE]", Change::Helo(None)),
            ("LOGIN=al+2Bice+3Dx", Change::Login(Some("al+ice=x".into()))),
            ("LOGIN=J+C3+BCrgen+20M", Change::Login(Some("Jürgen M".into()))),
            ("LOGIN=[UNAVAILABLE]", Change::Login(None)),
            (&format!("LOGIN={long}"), Change::Login(Some(long.clone()))),
            ("DESTADDR=IPV6:2001:db8::2", Change::Destaddr(v4("2001:db8::2"))),
            ("DESTPORT=587", Change::Destport(Some(587))),
        ] {
            assert_eq!(read(argument), Ok(vec![change]), "{argument}");
        }
    }

    #[test]
    fn values_that_are_refused() {
        for (attribute, values) in [
            (
                Attribute::Name,
                &[
                    "bad_host!",
                    "a..b",
                    ".a",
                    "a.",
                    "-a.example",
                    "a-.example",
                    "192.0.2.1",
                    "[a]",
                    "a+20b",
                    "a+zz",
                    "a=b",
                ][..],
            ),
            (
                Attribute::Addr,
                &[
                    "[TEMPUNAVAIL]",
                    "[1.2.3.4]",
                    "1.2.3",
                    "192.0.2.1/32",
                    "192.0.2.256",
                    "0300.0.2.1",
                    "3221225985",
                    "192.0.2.01",
                    "IPV6:1.2.3.4",
                    "IPV6:[::1]",
                    "IPV6:",
                    "fe80::1%eth0",
                    "192.0.2.1+00garbage",
                    "192.0.2.1+0D+0AX",
                    "mail.example.org",
                ],
            ),
            (Attribute::Port, &["65536", "99999", "100000", "000025", "-1", "+2B1", "x", "25+20", "[TEMPUNAVAIL]"]),
            (Attribute::Proto, &["[UNAVAILABLE]", "LMTP", "SMTPS", "smtp+00"]),
            (Attribute::Helo, &["a+0D+0AX-Evil:", "a+20b", "a+", "+C3+A9", "a+00"]),
            (Attribute::Login, &["a+00b", "a+0Ab", "a+1Bb", "a+7Fb", "a+C2+85b", "+FF", "a+", "a=b", "é"]),
            (Attribute::Destaddr, &["[TEMPUNAVAIL]", "mx.example.org"]),
            (Attribute::Destport, &["65536"]),
        ] {
            for value in values {
                let argument = format!("{}={value}", attribute.name());
                assert_eq!(read(&argument), Err(SyntaxError::BadValue(attribute)), "{argument}");
            }
        }
    }

    #[test]
    fn the_shape_is_strict() {
        for (argument, error) in [
            ("", SyntaxError::NoArgument),
            ("  ", SyntaxError::NoArgument),
            ("NAME", SyntaxError::NoValue),
            ("NAME=", SyntaxError::NoValue),
            ("=x", SyntaxError::UnknownAttribute(String::new())),
            ("FOO=1", SyntaxError::UnknownAttribute("FOO".into())),
            ("F\\é=1", SyntaxError::UnknownAttribute("F\\x5C\\xC3\\xA9".into())),
            ("NAMEfoobar=1", SyntaxError::UnknownAttribute("NAMEfoobar".into())),
            ("PORT=1 port=2", SyntaxError::Repeated(Attribute::Port)),
            ("NAME=good.example ADDR=bogus", SyntaxError::BadValue(Attribute::Addr)),
        ] {
            assert_eq!(read(argument), Err(error), "{argument:?}");
        }
        assert_eq!(read(&format!("LOGIN={}", "l".repeat(256))), Err(SyntaxError::TooLong(Attribute::Login)));
        // Before decoding: 86 octets in 258.
        assert_eq!(read(&format!("LOGIN={}", "+41".repeat(86))), Err(SyntaxError::TooLong(Attribute::Login)));
        assert_eq!(read(&format!("{}=1", "x".repeat(4000))), Err(SyntaxError::UnknownAttribute("x".repeat(32))));
    }

    #[test]
    fn several_attributes_keep_their_order() {
        assert_eq!(
            read("ADDR=192.0.2.1  NAME=a.example\tPORT=7 "),
            Ok(vec![
                Change::Addr(v4("192.0.2.1")),
                Change::Name(HostName::Known("a.example".into())),
                Change::Port(Some(7)),
            ])
        );
    }

    #[test]
    fn what_is_not_granted_is_unknown() {
        assert_eq!(changes("LOGIN=root", &[Attribute::Addr]), Err(SyntaxError::UnknownAttribute("LOGIN".into())));
    }
}
