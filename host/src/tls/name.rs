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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    const CN: &[u8] = &[6, 3, 85, 4, 3];
    const O: &[u8] = &[6, 3, 85, 4, 10];
    const DC: &[u8] = &[6, 10, 0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
    const EMAIL_ADDRESS: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
    /// 1.2.3, which has no name.
    const NAMELESS: &[u8] = &[6, 2, 42, 3];

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// A kind, and the tag and the octets of its value.
    type Pair<'a> = (&'a [u8], u8, &'a [u8]);

    /// A name of these parts, each of one or more pairs.
    fn name(parts: &[&[Pair<'_>]]) -> Vec<u8> {
        let pair = |(oid, tag, value): &Pair<'_>| der(0x30, &[oid.to_vec(), der(*tag, value)].concat());
        let part = |pairs: &&[Pair<'_>]| der(0x31, &pairs.iter().map(pair).collect::<Vec<_>>().concat());
        der(0x30, &parts.iter().map(part).collect::<Vec<_>>().concat())
    }

    #[test]
    fn names_are_written_as_rfc_4514_has_them() {
        const UTF8: u8 = 12;
        for (parts, text, common_name) in [
            (&[][..], "", None),
            (&[&[(CN, UTF8, &b"mail"[..])][..]], "CN=mail", Some("mail")),
            // The last part first, and parts of several kinds joined.
            (
                &[&[(DC, 22, b"test")], &[(DC, 22, b"example")], &[(O, 19, b"A"), (CN, 19, b"mail")]],
                "O=A+CN=mail,DC=example,DC=test",
                Some("mail"),
            ),
            (&[&[(CN, UTF8, b"outer")], &[(CN, UTF8, b"inner")]], "CN=inner,CN=outer", Some("inner")),
            (&[&[(EMAIL_ADDRESS, 22, b"a@example.test")]], "emailAddress=a@example.test", None),
            // Kinds and values that have no text.
            (&[&[(NAMELESS, UTF8, b"x")]], "1.2.3=#0c0178", None),
            (&[&[(CN, 4, b"\x01\xff")]], "CN=#040201ff", None),
            (&[&[(CN, UTF8, b"\xc3\x28")]], "CN=#0c02c328", None),
            (&[&[(CN, 30, b"\0a\0")]], "CN=#1e03006100", None),
            // The other string types.
            (&[&[(CN, 20, b"M\xfcller")]], r"CN=M\C3\BCller", Some(r"M\C3\BCller")),
            (&[&[(CN, 30, b"\0M\0\xfc")]], r"CN=M\C3\BC", Some(r"M\C3\BC")),
            (&[&[(CN, 28, b"\0\0\0M\0\x01\xf6\0")]], r"CN=M\F0\9F\98\80", Some(r"M\F0\9F\98\80")),
            // What means something in a name, and what could end or turn a line.
            (&[&[(CN, UTF8, br#"a,b+c"d;<e>\f"#)]], r#"CN=a\,b\+c\"d\;\<e\>\\f"#, Some(r#"a,b+c"d;<e>\\f"#)),
            (&[&[(CN, UTF8, b" #a ")]], r"CN=\ #a\ ", Some(" #a ")),
            (&[&[(CN, UTF8, b"#a#")]], r"CN=\#a#", Some("#a#")),
            (&[&[(CN, UTF8, b"a\r\nRCPT\0\x1b[2J")]], r"CN=a\0D\0ARCPT\00\1B[2J", Some(r"a\0D\0ARCPT\00\1B[2J")),
            (&[&[(CN, UTF8, "a\u{202e}b".as_bytes())]], r"CN=a\E2\80\AEb", Some(r"a\E2\80\AEb")),
            (&[&[(CN, UTF8, b"")]], "CN=", None),
        ] {
            let der = name(parts);
            let (_, name) = X509Name::from_der(&der).unwrap();
            assert_eq!(distinguished(&name), text);
            assert_eq!(common(&name).as_deref(), common_name, "{text}");
        }
    }

    #[test]
    fn names_are_bounded_and_a_cut_one_is_told() {
        let long = "x".repeat(700);
        for (last, end) in [(&b"short"[..], format!("CN=short,O={long}")), (long.as_bytes(), format!("CN={long},..."))]
        {
            let der = name(&[&[(O, 12, long.as_bytes())], &[(CN, 12, last)]]);
            assert_eq!(distinguished(&X509Name::from_der(&der).unwrap().1), end);
        }
        let der = name(&[&[(CN, 12, "x".repeat(2000).as_bytes())]]);
        let (_, huge) = X509Name::from_der(&der).unwrap();
        assert_eq!((distinguished(&huge), common(&huge)), ("...".to_owned(), None));
        // As much as a name of 64 characters can take.
        let der = name(&[&[(CN, 12, "\u{1f600}".repeat(64).as_bytes())]]);
        assert_eq!(common(&X509Name::from_der(&der).unwrap().1).unwrap().len(), COMMON_NAME);
    }

    fn certificate(addresses: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "mail");
        let address = |address: &&str| SanType::Rfc822Name((*address).try_into().unwrap());
        params.subject_alt_names.extend(addresses.iter().map(address));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_first_address_counts_if_it_is_plain() {
        let long = format!("{}@example.test", "x".repeat(250));
        for (addresses, expected) in [
            (&[][..], None),
            (&["a@example.test"], Some("a@example.test")),
            (&["a@example.test", "b@example.test"], Some("a@example.test")),
            (&["a\0@example.test", "b@example.test"], None),
            (&["a b@example.test"], None),
            (&["a@example.test\r\n"], None),
            (&["@example.test"], None),
            (&["a@"], None),
            (&["example.test"], None),
            (&[&long], None),
        ] {
            assert_eq!(read(&certificate(addresses)).unwrap().email.as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn whatever_is_in_a_certificate_what_comes_out_can_stand_anywhere() {
        let good = certificate(&["a@example.test"]);
        let sound = |der: &[u8]| {
            let Some(read) = read(&CertificateDer::from(der)) else { return false };
            let texts = [Some(read.subject), read.subject_cn, Some(read.issuer), read.issuer_cn, read.email];
            for text in texts.into_iter().flatten() {
                assert!(text.len() <= NAME && text.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{text:?}");
            }
            true
        };
        assert!(sound(&good));
        assert!(!sound(&[&good[..], b"x"].concat()));
        for at in 0..good.len() {
            assert!(!sound(&good[..at]));
            for octet in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at] ^ 0x20] {
                let mut broken = good.to_vec();
                broken[at] = octet;
                sound(&broken);
            }
        }
    }
}
