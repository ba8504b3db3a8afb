//! The PROXY header as it comes from a socket: its octets and none of the client's.

use crate::observe::{clip, escape};
use pillarbox_proxy::{Header, LONGEST, Parsed, Tlv, parse};
use std::fmt::Write;
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// What came is none.
    #[error("{0}")]
    Malformed(&'static str),
    /// The connection ended first.
    #[error("the connection ended before it")]
    Ended,
    /// It did not come in time.
    #[error("it did not come in time")]
    Late,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// Takes the header off the stream, however it was cut into segments. What follows stays in the socket, where TLS or
/// the session finds it.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Header, HeaderError> {
    let mut octets = vec![0; LONGEST];
    let mut taken = 0;
    loop {
        let room = octets.get_mut(taken..).unwrap_or_default();
        let seen = match stream.peek(room).await.map_err(HeaderError::Broken)? {
            0 => return Err(HeaderError::Ended),
            seen => taken + seen,
        };
        let (header, used) = match parse(octets.get(..seen).unwrap_or_default()) {
            Parsed::Header { header, used } => (Some(header), used),
            // All of it belongs to the header: taken off, because a second look at the same octets would not wait.
            Parsed::Incomplete => (None, seen),
            Parsed::Malformed(reason) => return Err(HeaderError::Malformed(reason)),
        };
        let own = octets.get_mut(taken..used).unwrap_or_default();
        stream.read_exact(own).await.map_err(HeaderError::Broken)?;
        taken = used;
        if let Some(header) = header {
            return Ok(header);
        }
    }
}

/// What a header says besides the addresses, as context names and values that can stand anywhere.
pub(super) fn said(tlvs: &[Tlv]) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let mut say = |name: &str, value: String| said.push((name.to_owned(), value));
    for tlv in tlvs {
        match tlv {
            Tlv::Alpn(octets) => say("proxy_alpn", plain(&octets.escape_ascii().to_string())),
            Tlv::Authority(name) => say("proxy_authority", plain(name)),
            Tlv::UniqueId(id) => say("proxy_unique_id", hexadecimal(id)),
            Tlv::Ssl { verified, version, common_name, cipher, client } if client & TLS_USED != 0 => {
                for (name, value) in [
                    ("proxy_tls_version", version),
                    ("proxy_tls_cipher", cipher),
                    ("proxy_tls_common_name", common_name),
                ] {
                    value.iter().for_each(|value| say(name, plain(value)));
                }
                if *verified {
                    say("proxy_tls_verified", "yes".to_owned());
                }
            }
            Tlv::Ssl { .. } | Tlv::Netns(_) | Tlv::Other(..) => {}
        }
    }
    said
}

/// PP2_CLIENT_SSL: without it the rest of the TLV speaks of no TLS.
const TLS_USED: u8 = 0x01;

fn plain(text: &str) -> String {
    escape(&clip(text)).into_owned()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}
