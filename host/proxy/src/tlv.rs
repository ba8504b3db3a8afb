//! What a header of version 2 says besides the addresses: types, lengths and values (sections 2.2.1 to 2.2.8). What it
//! means to the server, the module does not know.

use crate::Stop;

/// One thing a header says. Values are as the proxy sent them: the client may have chosen them, and nobody has checked
/// what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlv {
    /// What is spoken in the connection, by the names of ALPN.
    Alpn(Vec<u8>),
    /// The host name the client asked for: with TLS its SNI.
    Authority(String),
    /// The proxy's name for the connection, at most 128 octets.
    UniqueId(Vec<u8>),
    /// What is known of the client's TLS.
    Ssl {
        /// Whether the client showed a certificate and it was verified.
        verified: bool,
        /// The version: `TLSv1.3`.
        version: Option<String>,
        /// The common name of the client's certificate, verified or not.
        common_name: Option<String>,
        /// The cipher suite.
        cipher: Option<String>,
        /// The `client` octet: 1 TLS was used, 2 and 4 a certificate was shown on this connection or in this session.
        client: u8,
    },
    /// The network namespace at the proxy.
    Netns(String),
    /// Any other type with its value, and one of the above whose value is not the text it should be.
    Other(u8, Vec<u8>),
}

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const NETNS: u8 = 0x30;

/// What stands in `octets`, the end of `header`.
pub(crate) fn read(octets: &[u8], header: &[u8]) -> Result<Vec<Tlv>, Stop> {
    let mut tlvs = Vec::new();
    let mut seen = [false; NETNS as usize + 1];
    let mut rest = octets;
    while !rest.is_empty() {
        let (kind, value, behind) = next(rest)?;
        // Of two, one program would believe the first and another the last.
        if let Some(seen) = seen.get_mut(usize::from(kind)).filter(|_| kind != NOOP)
            && std::mem::replace(seen, true)
        {
            return Err(Stop::Malformed("a TLV is there twice"));
        }
        let tlv = match kind {
            ALPN => Tlv::Alpn(value.to_vec()),
            AUTHORITY => text(value).map_or_else(|| Tlv::Other(kind, value.to_vec()), Tlv::Authority),
            CRC32C => {
                check(value, header.len() - behind.len() - value.len(), header)?;
                rest = behind;
                continue;
            }
            NOOP => {
                rest = behind;
                continue;
            }
            UNIQUE_ID if value.len() > 128 => return Err(Stop::Malformed("the unique id is too long")),
            UNIQUE_ID => Tlv::UniqueId(value.to_vec()),
            SSL => ssl(value)?,
            NETNS => text(value).map_or_else(|| Tlv::Other(kind, value.to_vec()), Tlv::Netns),
            _ => Tlv::Other(kind, value.to_vec()),
        };
        tlvs.push(tlv);
        rest = behind;
    }
    Ok(tlvs)
}

/// The type and value at the start of `octets`, and what follows.
fn next(octets: &[u8]) -> Result<(u8, &[u8], &[u8]), Stop> {
    const LIE: Stop = Stop::Malformed("a TLV is longer than what holds it");
    let ([kind, high, low], rest) = octets.split_first_chunk::<3>().ok_or(LIE)?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, behind) = rest.split_at_checked(length).ok_or(LIE)?;
    Ok((*kind, value, behind))
}

fn ssl(value: &[u8]) -> Result<Tlv, Stop> {
    let (fixed, mut rest) = value.split_first_chunk::<5>().ok_or(Stop::Malformed("the TLV of TLS is too short"))?;
    let [client, verify @ ..] = *fixed;
    let (mut version, mut common_name, mut cipher) = (None, None, None);
    while !rest.is_empty() {
        let (kind, value, behind) = next(rest)?;
        let place = match kind {
            SSL_VERSION => Some(&mut version),
            SSL_CN => Some(&mut common_name),
            SSL_CIPHER => Some(&mut cipher),
            _ => None,
        };
        if let Some(place) = place
            && place.replace(text(value)).is_some()
        {
            return Err(Stop::Malformed("a TLV is there twice"));
        }
        rest = behind;
    }
    Ok(Tlv::Ssl {
        // Zero is also what a proxy has to say of a client that showed no certificate.
        verified: verify == [0; 4] && client & (CERT_CONN | CERT_SESS) != 0,
        version: version.flatten(),
        common_name: common_name.flatten(),
        cipher: cipher.flatten(),
        client,
    })
}

const CERT_CONN: u8 = 0x02;
const CERT_SESS: u8 = 0x04;

fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.to_vec()).ok()
}

/// Checks the sum over the header, in which the sum itself, `value` at `at`, counts as zeros (section 2.2.3).
fn check(value: &[u8], at: usize, header: &[u8]) -> Result<(), Stop> {
    let sum = <[u8; 4]>::try_from(value).map_err(|_| Stop::Malformed("the checksum has not four octets"))?;
    let octets = header.iter().enumerate();
    let blanked = octets.map(|(index, octet)| if (at..at + 4).contains(&index) { 0 } else { *octet });
    if crc32c(blanked) == u32::from_be_bytes(sum) {
        return Ok(());
    }
    Err(Stop::Malformed("the checksum is wrong"))
}

/// CRC-32C (RFC 4960 appendix B), bit by bit: one header a connection is not worth a table.
pub(crate) fn crc32c(octets: impl Iterator<Item = u8>) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    !octets.fold(!0, |sum, octet| {
        (0..8).fold(sum ^ u32::from(octet), |sum: u32, _| {
            let carry = if sum & 1 == 1 { REVERSED_POLYNOMIAL } else { 0 };
            (sum >> 1) ^ carry
        })
    })
}
