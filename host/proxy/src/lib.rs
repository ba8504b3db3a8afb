//! The PROXY header, by which a proxy says whose connection it passes on: versions 1 and 2 of the specification that
//! comes with HAProxy (doc/proxy-protocol.txt; its sections are named where they are obeyed).
//!
//! [`parse`] is a pure function over the octets that have come so far. It knows no socket and no clock, and not who may
//! send a header: whoever calls it decides that beforehand, because a header from anybody is anybody's claim.

#![forbid(unsafe_code)]

mod binary;
mod text;
mod tlv;

use std::net::SocketAddr;
pub use tlv::Tlv;

/// The longest header that is read, in octets.
///
/// Of version 1 it is 107 (section 2.1). Version 2 could declare 65,551, and "is always smaller than an MSS" (section
/// 2.2), which not every sender keeps to: some put the client's certificate in a TLV (HAProxy writes there whatever its
/// configuration says). A certificate rarely has more than 4 KiB, and a third more in base64; all else that is registered
/// has about 1.5 KiB. This leaves twice the room, and a proxy that says more is not believed rather than waited for.
pub const LONGEST: usize = 16 * 1024;

/// What octets at the start of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: more octets are needed.
    Incomplete,
    /// A header.
    Header {
        /// What it says.
        header: Header,
        /// How many of the octets it has. What follows is the client's.
        used: usize,
    },
    /// No header, whatever may follow, and why.
    Malformed(&'static str),
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u8,
    /// Whose connection it is; none where the proxy does not know or speaks for itself: then the connection's own ends
    /// count, and nothing that follows from a named client does.
    pub addresses: Option<Addresses>,
    /// What else it says, in its order; each registered type occurs at most once. Empty in version 1, and where the
    /// proxy speaks for itself.
    pub tlvs: Vec<Tlv>,
}

/// Both ends of the connection the proxy accepted. An IPv4 address is never written as IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

impl Addresses {
    fn new(source: SocketAddr, destination: SocketAddr) -> Addresses {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Addresses { source: canonical(source), destination: canonical(destination) }
    }
}

/// Reads the header at the start of `octets`, all that came so far.
///
/// [`Parsed::Incomplete`] is answered only while they can still become a header: who does not send one is told from who
/// is slow at the first wrong octet. No answer looks at octets behind the header.
pub fn parse(octets: &[u8]) -> Parsed {
    let read = match octets.first() {
        None => Err(Stop::Incomplete),
        Some(b'P') => text::read(octets),
        Some(b'\r') => binary::read(octets),
        Some(_) => Err(Stop::Malformed("neither version of the header begins so")),
    };
    match read {
        Ok((header, used)) => Parsed::Header { header, used },
        Err(Stop::Incomplete) => Parsed::Incomplete,
        Err(Stop::Malformed(reason)) => Parsed::Malformed(reason),
    }
}

/// Why reading does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Incomplete,
    Malformed(&'static str),
}

/// What follows `constant`, which must stand at the start of `octets`.
fn behind<'a>(octets: &'a [u8], constant: &[u8], otherwise: &'static str) -> Result<&'a [u8], Stop> {
    match octets.strip_prefix(constant) {
        Some(rest) => Ok(rest),
        None if constant.starts_with(octets) => Err(Stop::Incomplete),
        None => Err(Stop::Malformed(otherwise)),
    }
}

#[cfg(test)]
mod tests;
