//! The argument of XFORWARD: `attribute=xtext`, one or more, separated by blanks. Nothing here calls the host.

use pillarbox_sdk::{address, printable, xtext};

/// What can be said of where a message came from, in the order it is advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    Name,
    Addr,
    Port,
    Proto,
    Helo,
    Ident,
    Source,
}

impl Attribute {
    pub const ALL: [Self; 7] = [Self::Name, Self::Addr, Self::Port, Self::Proto, Self::Helo, Self::Ident, Self::Source];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Ident => "IDENT",
            Self::Source => "SOURCE",
        }
    }

    /// Its name in the message context.
    pub const fn context_name(self) -> &'static str {
        match self {
            Self::Name => "xforward_name",
            Self::Addr => "xforward_addr",
            Self::Port => "xforward_port",
            Self::Proto => "xforward_proto",
            Self::Helo => "xforward_helo",
            Self::Ident => "xforward_ident",
            Self::Source => "xforward_source",
        }
    }
}

/// One attribute with its value; none for `[UNAVAILABLE]`, and for a name that could not be looked up in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    pub attribute: Attribute,
    pub value: Option<String>,
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
            Self::NoArgument => formatter.write_str("syntax: XFORWARD attribute=value..."),
            Self::NoValue => formatter.write_str("attribute=value expected"),
            Self::UnknownAttribute(name) => write!(formatter, "bad XFORWARD attribute name: {name}"),
            Self::Repeated(attribute) => write!(formatter, "{} given twice", attribute.name()),
            Self::TooLong(attribute) => write!(formatter, "{} value too long", attribute.name()),
            Self::BadValue(attribute) => write!(formatter, "bad {} syntax", attribute.name()),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reads the whole argument.
pub fn forwarded(argument: &str) -> Result<Vec<Forwarded>, SyntaxError> {
    let mut said: Vec<Forwarded> = Vec::new();
    for pair in argument.split([' ', '\t']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or(SyntaxError::NoValue)?;
        let attribute = Attribute::ALL
            .into_iter()
            .find(|attribute| attribute.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| SyntaxError::UnknownAttribute(clipped(name)))?;
        if said.iter().any(|forwarded| forwarded.attribute == attribute) {
            return Err(SyntaxError::Repeated(attribute));
        }
        said.push(Forwarded { attribute, value: value_of(attribute, value)? });
    }
    if said.is_empty() { Err(SyntaxError::NoArgument) } else { Ok(said) }
}

fn value_of(attribute: Attribute, value: &str) -> Result<Option<String>, SyntaxError> {
    // Postfix's bounds, on the value as it came; it has a lower one for PROTO.
    const LONGEST: usize = 255;
    const LONGEST_PROTO: usize = 64;
    let longest = if attribute == Attribute::Proto { LONGEST_PROTO } else { LONGEST };
    if value.len() > longest {
        return Err(SyntaxError::TooLong(attribute));
    }
    // Postfix puts "?" for what is not printable. Refused, it cannot be taken for what the relay said.
    let value = xtext::decode_text(value).map_err(|_| SyntaxError::BadValue(attribute))?;
    if value.eq_ignore_ascii_case("[UNAVAILABLE]") {
        return Ok(None);
    }
    match attribute {
        Attribute::Name if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") => return Ok(None),
        // Names need not be in the DNS, nor protocols be SMTP: they are words for people.
        Attribute::Name | Attribute::Helo | Attribute::Ident | Attribute::Proto => Some(value),
        Attribute::Addr => address::parse(&value).map(|address| address.to_string()),
        Attribute::Port => address::port(&value).map(|port| port.to_string()),
        Attribute::Source => {
            ["LOCAL", "REMOTE"].into_iter().find(|s| s.eq_ignore_ascii_case(&value)).map(str::to_owned)
        }
    }
    .map(Some)
    .ok_or(SyntaxError::BadValue(attribute))
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

    fn said(attribute: Attribute, value: Option<&str>) -> Forwarded {
        Forwarded { attribute, value: value.map(str::to_owned) }
    }

    #[test]
    fn values_that_are_taken() {
        let long = "i".repeat(255);
        for (argument, attribute, value) in [
            ("NAME=mail.example.org", Attribute::Name, Some("mail.example.org")),
            // Not only names of the DNS.
            ("name=print+20server_7", Attribute::Name, Some("print server_7")),
            ("NAME=[unavailable]", Attribute::Name, None),
            ("NAME=[TempUnavail]", Attribute::Name, None),
            ("NAME=+5BUNAVAILABLE+5D", Attribute::Name, None),
            ("ADDR=192.0.2.1", Attribute::Addr, Some("192.0.2.1")),
            ("addr=ipv6:2001:DB8::7", Attribute::Addr, Some("2001:db8::7")),
            ("ADDR=IPV6:::ffff:192.0.2.1", Attribute::Addr, Some("192.0.2.1")),
            ("ADDR=[UNAVAILABLE]", Attribute::Addr, None),
            ("PORT=00025", Attribute::Port, Some("25")),
            ("PORT=[UNAVAILABLE]", Attribute::Port, None),
            ("PROTO=ESMTPS", Attribute::Proto, Some("ESMTPS")),
            ("PROTO=QMQP", Attribute::Proto, Some("QMQP")),
            ("HELO=[192.0.2.1]", Attribute::Helo, Some("[192.0.2.1]")),
            ("HELO=J+C3+BCrgen", Attribute::Helo, Some("Jürgen")),
            // A word of NAME's alone.
            ("HELO=[TEMPUNAVAIL]", Attribute::Helo, Some("[TEMPUNAVAIL]")),
            ("IDENT=4BxQ7z2+3D", Attribute::Ident, Some("4BxQ7z2=")),
            (&format!("IDENT={long}"), Attribute::Ident, Some(&*long)),
            ("SOURCE=local", Attribute::Source, Some("LOCAL")),
            ("SOURCE=REMOTE", Attribute::Source, Some("REMOTE")),
            ("SOURCE=[UNAVAILABLE]", Attribute::Source, None),
        ] {
            assert_eq!(forwarded(argument), Ok(vec![said(attribute, value)]), "{argument}");
        }
    }

    #[test]
    fn values_that_are_refused() {
        for (attribute, values) in [
            (Attribute::Name, &["a+00", "a+0D+0Ab", "a+zz", "a=b", "é", "+FF", "a+C2+85"][..]),
            (Attribute::Addr, &["mail.example.org", "[192.0.2.1]", "1.2.3", "[TEMPUNAVAIL]", "192.0.2.1+00"]),
            (Attribute::Port, &["65536", "000025", "+2B1", "-1", "x"]),
            (Attribute::Proto, &["SMTP+0A", "a+"]),
            (Attribute::Helo, &["a+1B[2J", "a+7F"]),
            (Attribute::Ident, &["a+0Ab"]),
            (Attribute::Source, &["ELSEWHERE", "LOCAL+00"]),
        ] {
            for value in values {
                let argument = format!("{}={value}", attribute.name());
                assert_eq!(forwarded(&argument), Err(SyntaxError::BadValue(attribute)), "{argument}");
            }
        }
    }

    #[test]
    fn the_shape_is_strict() {
        for (argument, error) in [
            ("", SyntaxError::NoArgument),
            (" \t", SyntaxError::NoArgument),
            ("NAME", SyntaxError::NoValue),
            ("NAME=", SyntaxError::NoValue),
            ("=x", SyntaxError::UnknownAttribute(String::new())),
            ("LOGIN=root", SyntaxError::UnknownAttribute("LOGIN".into())),
            ("F\\é=1", SyntaxError::UnknownAttribute("F\\x5C\\xC3\\xA9".into())),
            ("PORT=1 port=2", SyntaxError::Repeated(Attribute::Port)),
            ("NAME=good.example ADDR=bogus", SyntaxError::BadValue(Attribute::Addr)),
        ] {
            assert_eq!(forwarded(argument), Err(error), "{argument:?}");
        }
        for (name, attribute, longest) in
            [("IDENT", Attribute::Ident, 255), ("HELO", Attribute::Helo, 255), ("PROTO", Attribute::Proto, 64)]
        {
            assert!(forwarded(&format!("{name}={}", "x".repeat(longest))).is_ok(), "{name}");
            let longer = format!("{name}={}", "x".repeat(longest + 1));
            assert_eq!(forwarded(&longer), Err(SyntaxError::TooLong(attribute)), "{name}");
        }
    }

    #[test]
    fn several_attributes_keep_their_order() {
        assert_eq!(
            forwarded("ADDR=192.0.2.1  SOURCE=REMOTE\tNAME=[UNAVAILABLE] "),
            Ok(vec![
                said(Attribute::Addr, Some("192.0.2.1")),
                said(Attribute::Source, Some("REMOTE")),
                said(Attribute::Name, None),
            ])
        );
    }
}
