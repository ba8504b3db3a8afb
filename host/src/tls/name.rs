//! The names in a client's certificate, as text that can stand anywhere: printable ASCII of bounded length, whatever is in
//! the certificate. Nothing here says whether they are true.

use super::facts::ClientCertificate;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The octets of a distinguished name. One that is longer ends with `...` in place of what is left, which no full name
/// does: `...` has no `=`.
const NAME: usize = 1024;
/// The octets of a common name. A certificate may hold 64 characters (RFC 5280 appendix A.1, ub-common-name), each of
/// which can take twelve octets here; a part of one would be somebody else's.
const COMMON_NAME: usize = 768;
/// The octets of an address (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const EMAIL: usize = 254;

/// Reads the names, and leaves `verified` at false; none when it is no certificate that can be read.
pub(super) fn read(der: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    Some(ClientCertificate {
        subject: distinguished(certificate.subject()),
        subject_cn: common(certificate.subject()),
        issuer: distinguished(certificate.issuer()),
        issuer_cn: common(certificate.issuer()),
        email: email(&certificate),
        verified: false,
    })
}

/// As RFC 4514 writes it: the last part first, as OpenSSL does with `-nameopt RFC2253`.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.into_iter().rev() {
        let part = part.iter().map(attribute).collect::<Vec<_>>().join("+");
        let comma = if text.is_empty() { "" } else { "," };
        if text.len() + part.len() > NAME - ",,...".len() {
            return text + comma + "...";
        }
        text.push_str(comma);
        text.push_str(&part);
    }
    text
}

/// `CN=value`, or where the kind has no short name or the value is no text, `1.2.3=#` and its DER in hex (section 2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short(&oid), decoded(attribute.attr_value())) {
        (Some(short), Some(value)) => format!("{short}={}", escaped(&value)),
        (short, _) => {
            let der = attribute.attr_value().to_der_vec().unwrap_or_default();
            let hex: String = der.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("{}=#{hex}", short.unwrap_or(&oid))
        }
    }
}

/// The names of RFC 4514 section 3, and two more that certificates of people and machines often have.
fn short(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The text in one of the string types of a DirectoryString or an IA5String.
fn decoded(value: &Any<'_>) -> Option<String> {
    let octets = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(octets.to_vec()).ok()
        }
        // T.61 as nobody writes it; what stands in it is Latin-1 (RFC 5280 appendix B leaves it open).
        Tag::T61String => Some(octets.iter().map(|octet| char::from(*octet)).collect()),
        Tag::BmpString => {
            let (units, []) = octets.as_chunks::<2>() else { return None };
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit))).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (units, []) = octets.as_chunks::<4>() else { return None };
            units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect()
        }
        _ => None,
    }
}

/// A value within a name (RFC 4514 section 2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let special = match c {
            '"' | '+' | ',' | ';' | '<' | '>' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if special {
            text.push('\\');
        }
        push(&mut text, c);
    }
    text
}

/// The last common name, which stands first in the text; none when it is empty or too long to be one.
fn common(name: &X509Name<'_>) -> Option<String> {
    let all = name.iter_common_name().collect::<Vec<_>>();
    let mut text = String::new();
    decoded(all.last()?.attr_value())?.chars().for_each(|c| push(&mut text, c));
    (1..=COMMON_NAME).contains(&text.len()).then_some(text)
}

/// The backslash, and in hex what is not printable ASCII, can be told from what they stand for.
fn push(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        ' '..='~' => text.push(c),
        _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|octet| text.push_str(&format!("\\{octet:02X}"))),
    }
}

/// The first address among the subject's other names. One that is not plain is none, not a piece of one: with a NUL in it
/// it would be read as another elsewhere.
fn email(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    })?;
    let first = names.iter().find_map(|name| match name {
        GeneralName::RFC822Name(address) => Some(*address),
        _ => None,
    })?;
    let (local, domain) = first.rsplit_once('@')?;
    let plain = first.len() <= EMAIL && first.bytes().all(|octet| octet.is_ascii_graphic());
    (plain && !local.is_empty() && !domain.is_empty()).then(|| first.to_owned())
}
