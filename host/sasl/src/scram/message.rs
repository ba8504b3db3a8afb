//! The two messages of a SCRAM client, by the grammar of RFC 5802 section 7, and what both sides know of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{FIELD, Failure, preparation};

/// What the client says of channel binding, at the front of its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// `n`: it cannot.
    Unsupported,
    /// `y`: it can, and thinks that the server cannot.
    Unoffered,
    /// `p=tls-exporter`: it does.
    TlsExporter,
}

/// The client's first message.
pub(super) struct ClientFirst {
    /// All before [`bare`](ClientFirst::bare): what is bound with the channel.
    pub(super) header: String,
    pub(super) binding: Binding,
    pub(super) authorization: Option<String>,
    /// The part that proofs are made over.
    pub(super) bare: String,
    pub(super) user: String,
    pub(super) nonce: String,
}

/// The client's final message.
pub(super) struct ClientFinal {
    /// The part that proofs are made over.
    pub(super) without_proof: String,
    pub(super) binding: Vec<u8>,
    pub(super) nonce: String,
    pub(super) proof: [u8; 32],
}

impl ClientFirst {
    /// `gs2-cbind-flag "," [ authzid ] "," username "," nonce ["," extensions]`
    pub(super) fn read(octets: &[u8]) -> Result<ClientFirst, Failure> {
        let text = text(octets)?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::Malformed)?;
        let (authorization, bare) = rest.split_once(',').ok_or(Failure::Malformed)?;
        let binding = binding(flag)?;
        let authorization = match authorization {
            "" => None,
            field => Some(name(value(field, "a=")?)?),
        };
        let mut attributes = bare.split(',');
        let user = name(value(attributes.next().unwrap_or_default(), "n=")?)?;
        let nonce = nonce(attributes.next())?;
        if nonce.len() > FIELD {
            return Err(Failure::Malformed);
        }
        extensions(attributes)?;
        let header = text.strip_suffix(bare).unwrap_or_default().to_owned();
        Ok(ClientFirst { header, binding, authorization, bare: bare.to_owned(), user, nonce })
    }
}

impl ClientFinal {
    /// `channel-binding "," nonce ["," extensions] "," proof`
    pub(super) fn read(octets: &[u8]) -> Result<ClientFinal, Failure> {
        let text = text(octets)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = decode(value(attributes.next().unwrap_or_default(), "c=")?)?;
        let nonce = nonce(attributes.next())?;
        extensions(attributes)?;
        let proof = decode(proof)?.try_into().map_err(|_| Failure::Malformed)?;
        Ok(ClientFinal { without_proof: without_proof.to_owned(), binding, nonce, proof })
    }
}

/// `1*printable`: ASCII that can be seen, without the comma.
pub(super) fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| matches!(octet, 0x21..=0x2b | 0x2d..=0x7e))
}

fn text(octets: &[u8]) -> Result<&str, Failure> {
    str::from_utf8(octets).ok().filter(|text| !text.contains('\0')).ok_or(Failure::Malformed)
}

fn binding(flag: &str) -> Result<Binding, Failure> {
    match flag {
        "n" => Ok(Binding::Unsupported),
        "y" => Ok(Binding::Unoffered),
        "p=tls-exporter" => Ok(Binding::TlsExporter),
        _ => {
            let name = value(flag, "p=")?;
            let is_name = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'));
            // tls-unique is gone with TLS 1.3, and tls-server-end-point binds to less than the connection.
            Err(if is_name && !name.is_empty() { Failure::Refused } else { Failure::Malformed })
        }
    }
}

/// The value of the attribute that must stand here.
fn value<'a>(field: &'a str, attribute: &str) -> Result<&'a str, Failure> {
    match field.strip_prefix(attribute) {
        Some(value) => Ok(value),
        None => Err(misplaced(field)),
    }
}

/// RFC 5802 section 5.1: `m=` is for extensions that must be understood, wherever it stands, and there is none. It is in
/// the grammar, so it is refused as such.
fn misplaced(field: &str) -> Failure {
    if field.starts_with("m=") { Failure::Refused } else { Failure::Malformed }
}

fn nonce(field: Option<&str>) -> Result<String, Failure> {
    let nonce = value(field.unwrap_or_default(), "r=")?;
    if is_nonce(nonce) { Ok(nonce.to_owned()) } else { Err(Failure::Malformed) }
}

/// Any others are passed over: `ALPHA "=" 1*value-char`.
fn extensions<'a>(fields: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    for field in fields {
        let is_extension = match field.as_bytes() {
            [attribute, b'=', _, ..] => attribute.is_ascii_alphabetic() && *attribute != b'm',
            _ => false,
        };
        if !is_extension {
            return Err(misplaced(field));
        }
    }
    Ok(())
}

/// A name as `saslname`.
pub(super) fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// `saslname`: a comma is `=2C` and an equals sign `=3D`; RFC 5802 section 5.1 knows no other.
fn name(encoded: &str) -> Result<String, Failure> {
    let mut parts = encoded.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(Failure::Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    preparation::user(name.as_bytes())
}

fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|_| Failure::Malformed)
}
