//! Version 2: a block of octets that says its own length (section 2.2). It does not know version 1.

use crate::{Addresses, Header, LONGEST, Stop, behind, tlv};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets before the addresses.
const FIXED: usize = 16;

/// The header at the start of `octets`, and how many of them it has.
pub(crate) fn read(octets: &[u8]) -> Result<(Header, usize), Stop> {
    let fixed = behind(octets, SIGNATURE, "the signature of version 2 is wrong")?;
    let (command, family, high, low) = (fixed.first(), fixed.get(1), fixed.get(2), fixed.get(3));
    let command = command.map(|octet| Command::read(*octet)).transpose()?.ok_or(Stop::Incomplete)?;
    let family = family.map(|octet| Family::read(command, *octet)).transpose()?.ok_or(Stop::Incomplete)?;
    let high = high.ok_or(Stop::Incomplete)?;
    // The lower half can only add to it: what is too long already need not be waited for.
    let length = usize::from(u16::from_be_bytes([*high, *low.unwrap_or(&0)]));
    if FIXED + length > LONGEST {
        return Err(Stop::Malformed("the header is too long"));
    }
    low.ok_or(Stop::Incomplete)?;
    if length < family.size() {
        return Err(Stop::Malformed("the header is too short for its addresses"));
    }
    let header = octets.get(..FIXED + length).ok_or(Stop::Incomplete)?;
    let block = header.get(FIXED..).unwrap_or_default();
    let (addresses, tlvs) = block.split_at_checked(family.size()).unwrap_or_default();
    let header = Header {
        version: 2,
        addresses: family.addresses(addresses),
        tlvs: match family {
            // Where the addresses would end, if there are any, is not known.
            Family::Unspecified => Vec::new(),
            _ => tlv::read(tlvs, header)?,
        },
    };
    Ok((header, FIXED + length))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

impl Command {
    fn read(octet: u8) -> Result<Command, Stop> {
        match octet {
            0x20 => Ok(Command::Local),
            0x21 => Ok(Command::Proxy),
            0x22..=0x2f => Err(Stop::Malformed("the command is neither LOCAL nor PROXY")),
            _ => Err(Stop::Malformed("the version behind the signature is not 2")),
        }
    }
}

/// What the addresses are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Whatever they are, they are not to be looked at.
    Unspecified,
    Inet {
        /// Whether they are those of the connection; they are there in any case.
        stream: bool,
    },
    Inet6 {
        stream: bool,
    },
    Unix,
}

impl Family {
    fn read(command: Command, octet: u8) -> Result<Family, Stop> {
        if command == Command::Local {
            // "The receiver […] must use the real connection endpoints and discard the protocol block including the
            // family which is ignored."
            return Ok(Family::Unspecified);
        }
        let stream = match octet & 0x0f {
            0x0 => false,
            0x1 => true,
            // Taken by the specification, but no SMTP came over datagrams.
            0x2 => return Err(Stop::Malformed("the connection was one of datagrams")),
            _ => return Err(Stop::Malformed("the transport is unknown")),
        };
        match octet >> 4 {
            0x0 => Ok(Family::Unspecified),
            0x1 => Ok(Family::Inet { stream }),
            0x2 => Ok(Family::Inet6 { stream }),
            0x3 => Ok(Family::Unix),
            _ => Err(Stop::Malformed("the address family is unknown")),
        }
    }

    /// Octets of both addresses and ports.
    fn size(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::Inet { .. } => 12,
            Family::Inet6 { .. } => 36,
            Family::Unix => 216,
        }
    }

    fn addresses(self, block: &[u8]) -> Option<Addresses> {
        match self {
            Family::Inet { stream: true } => {
                let (source, rest) = block.split_first_chunk::<4>()?;
                let (destination, rest) = rest.split_first_chunk::<4>()?;
                ends(Ipv4Addr::from(*source), Ipv4Addr::from(*destination), rest)
            }
            Family::Inet6 { stream: true } => {
                let (source, rest) = block.split_first_chunk::<16>()?;
                let (destination, rest) = rest.split_first_chunk::<16>()?;
                ends(Ipv6Addr::from(*source), Ipv6Addr::from(*destination), rest)
            }
            Family::Inet { .. } | Family::Inet6 { .. } | Family::Unix | Family::Unspecified => None,
        }
    }
}

fn ends<A>(source: A, destination: A, ports: &[u8]) -> Option<Addresses>
where
    SocketAddr: From<(A, u16)>,
{
    let (source_port, rest) = ports.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let end = |address, port: &[u8; 2]| SocketAddr::from((address, u16::from_be_bytes(*port)));
    Some(Addresses::new(end(source, source_port), end(destination, destination_port)))
}
