//! Version 1: a line of text (section 2.1). It does not know version 2.

use crate::{Addresses, Header, Stop, behind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Octets of the longest line, CR LF included.
const LONGEST: usize = 107;

/// The header at the start of `octets`, and how many of them it has.
pub(crate) fn read(octets: &[u8]) -> Result<(Header, usize), Stop> {
    let window = octets.get(..LONGEST).unwrap_or(octets);
    let Some(end) = window.iter().position(|octet| matches!(octet, b'\r' | b'\n')) else {
        // Too long also when only the CR LF would lie beyond.
        if window.len() > LONGEST - 2 {
            return Err(Stop::Malformed("the line is too long"));
        }
        return Line { rest: window, whole: false }.read().and(Err(Stop::Incomplete));
    };
    let (line, ending) = window.split_at_checked(end).unwrap_or_default();
    // "The receiver must not tolerate a single CR or LF character to end the line", nor inside of what it ignores
    // behind UNKNOWN: others would see two lines.
    let ending = behind(ending, b"\r\n", "a CR or LF stands alone");
    if ending == Err(Stop::Incomplete) && window.len() == LONGEST {
        return Err(Stop::Malformed("the line is too long"));
    }
    if let Err(alone @ Stop::Malformed(_)) = ending {
        return Err(alone);
    }
    let addresses = Line { rest: line, whole: true }.read()?;
    ending?;
    Ok((Header { version: 1, addresses, tlvs: Vec::new() }, end + 2))
}

/// The line without its end, from the field that is read next.
struct Line<'a> {
    rest: &'a [u8],
    /// Whether all of it is there.
    whole: bool,
}

impl Line<'_> {
    fn read(mut self) -> Result<Option<Addresses>, Stop> {
        self.constant(b"PROXY ", "the line does not begin with `PROXY `")?;
        if self.rest.starts_with(b"U") {
            self.constant(b"UNKNOWN", UNKNOWN_PROTOCOL)?;
            return match self.rest.first() {
                // "The receiver must ignore anything presented before the CRLF is found."
                None | Some(b' ') if self.whole => Ok(None),
                None | Some(b' ') => Err(Stop::Incomplete),
                Some(_) => Err(Stop::Malformed(UNKNOWN_PROTOCOL)),
            };
        }
        self.constant(b"TCP", UNKNOWN_PROTOCOL)?;
        let (source, destination) = match self.rest.first() {
            Some(b'4') => self.ends::<Ipv4Addr>(b"4 ")?,
            Some(b'6') => self.ends::<Ipv6Addr>(b"6 ")?,
            Some(_) => return Err(Stop::Malformed(UNKNOWN_PROTOCOL)),
            None => return self.cut(UNKNOWN_PROTOCOL),
        };
        Ok(Some(Addresses::new(source, destination)))
    }

    /// The four fields behind the protocol.
    fn ends<A: FromStr + Into<IpAddr>>(&mut self, family: &[u8]) -> Result<(SocketAddr, SocketAddr), Stop> {
        self.constant(family, UNKNOWN_PROTOCOL)?;
        let source: A = self.field(Position::Inner, address, "the source is no address of this family")?;
        let destination: A = self.field(Position::Inner, address, "the destination is no address of this family")?;
        let source_port = self.field(Position::Inner, port, "the source port is none")?;
        let destination_port = self.field(Position::Last, port, "the destination port is none")?;
        Ok((SocketAddr::new(source.into(), source_port), SocketAddr::new(destination.into(), destination_port)))
    }

    fn constant(&mut self, constant: &[u8], otherwise: &'static str) -> Result<(), Stop> {
        match behind(self.rest, constant, otherwise) {
            Ok(rest) => self.rest = rest,
            Err(Stop::Incomplete) => return self.cut(otherwise),
            Err(malformed) => return Err(malformed),
        }
        Ok(())
    }

    /// The next field, up to one blank, or to the end of the line where it is the last.
    fn field<T>(
        &mut self,
        position: Position,
        read: impl Fn(&str) -> Reading<T>,
        otherwise: &'static str,
    ) -> Result<T, Stop> {
        let blank = self.rest.iter().position(|octet| *octet == b' ');
        let (field, rest) = blank.and_then(|at| self.rest.split_at_checked(at)).unwrap_or((self.rest, &[]));
        let ends_here = match position {
            Position::Inner => blank.is_some(),
            Position::Last => self.whole && blank.is_none(),
        };
        match (std::str::from_utf8(field).map_or(Reading::Wrong, read), ends_here) {
            (Reading::Whole(value), true) => {
                self.rest = rest.get(1..).unwrap_or_default();
                Ok(value)
            }
            // Behind the last field stands nothing, not even a blank.
            (Reading::Whole(_) | Reading::Beginning, false) if blank.is_none() => self.cut(otherwise),
            _ => Err(Stop::Malformed(otherwise)),
        }
    }

    /// There is nothing more of the line where something should be.
    fn cut<T>(&self, otherwise: &'static str) -> Result<T, Stop> {
        Err(if self.whole { Stop::Malformed(otherwise) } else { Stop::Incomplete })
    }
}

const UNKNOWN_PROTOCOL: &str = "the protocol is none of TCP4, TCP6 and UNKNOWN";

#[derive(Clone, Copy)]
enum Position {
    Inner,
    Last,
}

/// What a text is to a field.
enum Reading<T> {
    /// All of it, though it may be the beginning of a longer one too.
    Whole(T),
    /// The beginning of one.
    Beginning,
    Wrong,
}

/// The standard library's grammar is the specification's: no leading zeros in IPv4, one `::` in IPv6, no zones.
fn address<A: FromStr>(text: &str) -> Reading<A> {
    // A text is the beginning of an address exactly when one of these makes it one: each is what is left of an address
    // whose missing parts are zero, after a group, after a point or colon, and after nothing.
    const ENDINGS: [&str; 24] = [
        "0",
        ".0",
        "0.0",
        ".0.0",
        "0.0.0",
        ".0.0.0",
        "0.0.0.0",
        ":",
        "::",
        ":0",
        "0:0",
        ":0:0",
        "0:0:0",
        ":0:0:0",
        "0:0:0:0",
        ":0:0:0:0",
        "0:0:0:0:0",
        ":0:0:0:0:0",
        "0:0:0:0:0:0",
        ":0:0:0:0:0:0",
        "0:0:0:0:0:0:0",
        ":0:0:0:0:0:0:0",
        "0:0:0:0:0:0:0:0",
        "",
    ];
    if let Ok(address) = text.parse() {
        return Reading::Whole(address);
    }
    let becomes_one = |ending: &&str| format!("{text}{ending}").parse::<A>().is_ok();
    if ENDINGS.iter().any(becomes_one) { Reading::Beginning } else { Reading::Wrong }
}

/// "Heading zeroes are not permitted", and neither is the sign that Rust would take.
fn port(text: &str) -> Reading<u16> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        _ if text.is_empty() => Reading::Beginning,
        Ok(port) if digits && (text == "0" || !text.starts_with('0')) => Reading::Whole(port),
        _ => Reading::Wrong,
    }
}
