//! Addresses: what is taken, and the canonical form it gets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::net::IpAddr;

use pillarbox_smtp::{Address, AddressError, Domain, Mailbox, Sender};

#[test]
fn mailboxes_have_one_canonical_form() {
    let cases = [
        ("a@example.test", "a", "a@example.test"),
        ("A.b@EXAMPLE.Test", "A.b", "A.b@example.test"),
        ("\"a.b\"@example.test", "a.b", "a.b@example.test"),
        ("\"a..b\"@example.test", "a..b", "\"a..b\"@example.test"),
        ("\"\"@example.test", "", "\"\"@example.test"),
        ("\"a b\"@example.test", "a b", "\"a b\"@example.test"),
        ("\"a@b\"@example.test", "a@b", "\"a@b\"@example.test"),
        ("\"\\a\\b\"@example.test", "ab", "ab@example.test"),
        ("\"\\\"\\\\\"@example.test", "\"\\", "\"\\\"\\\\\"@example.test"),
        ("\"a>b\"@example.test", "a>b", "\"a>b\"@example.test"),
        ("a@[192.0.2.1]", "a", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0::1]", "a", "a@[IPv6:2001:db8::1]"),
        ("a@_dmarc.example.test", "a", "a@_dmarc.example.test"),
    ];
    for (text, local, canonical) in cases {
        let mailbox: Mailbox = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(mailbox.local(), local, "{text}");
        assert_eq!(mailbox.to_string(), canonical, "{text}");
        assert_eq!(canonical.parse::<Mailbox>().as_ref(), Ok(&mailbox), "{text}: the canonical form says the same");
    }
}

#[test]
fn what_is_no_mailbox_is_refused() {
    let cases = [
        ("", AddressError::Syntax),
        ("a", AddressError::Syntax),
        ("a@", AddressError::Syntax),
        ("@example.test", AddressError::Syntax),
        ("a@example.test.", AddressError::Syntax),
        ("a@[192.0.2.01]", AddressError::Syntax),
        ("a@[IPv6:]", AddressError::Syntax),
        ("a@[IPv6", AddressError::Syntax),
        ("\"a\n\"@example.test", AddressError::Syntax),
        ("\"a\\\n\"@example.test", AddressError::Syntax),
        ("\"a\\", AddressError::Syntax),
        ("\"a\"", AddressError::Syntax),
        ("ä@example.test", AddressError::NonAscii),
        ("a@ä.test", AddressError::NonAscii),
        ("\"ä", AddressError::NonAscii),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Mailbox>(), Err(error), "{text:?}");
    }
    assert_eq!(format!("{}@example.test", "a".repeat(65)).parse::<Mailbox>(), Err(AddressError::TooLong));
    assert_eq!(format!("a@{}", "a.".repeat(127) + "aa").parse::<Mailbox>(), Err(AddressError::TooLong));
}

/// RFC 5321 section 4.1.2: what a quoted string may hold, as it stands and behind a backslash; and an atom.
#[test]
fn every_octet_in_a_local_part() {
    for octet in 0..=0x7f_u8 {
        let c = char::from(octet);
        let printable = (0x20..=0x7e).contains(&octet);
        let atext = c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        let between = Some(format!("a{c}b"));
        for (text, local) in [
            (format!("\"a\\{c}b\"@example.test"), between.clone().filter(|_| printable)),
            (format!("\"a{c}\"@example.test"), Some(format!("a{c}")).filter(|_| printable && !matches!(c, '"' | '\\'))),
            (format!("a{c}b@example.test"), between.filter(|_| atext || c == '.')),
            (format!("{c}@example.test"), Some(c.to_string()).filter(|_| atext)),
        ] {
            let mailbox = text.parse::<Mailbox>().ok();
            assert_eq!(mailbox.as_ref().map(Mailbox::local), local.as_deref(), "{text:?}");
            let again = mailbox.as_ref().map(|mailbox| mailbox.to_string().parse());
            assert_eq!(again, mailbox.map(Ok), "{text:?}: the canonical form says the same");
        }
    }
}

/// RFC 5321 section 4.1.3.
#[test]
fn literals() {
    for (text, canonical) in [
        ("[192.0.2.1]", Some("[192.0.2.1]")),
        ("[0.0.0.0]", Some("[0.0.0.0]")),
        ("[IPv6:1:2:3:4:5:6:7:8]", Some("[IPv6:1:2:3:4:5:6:7:8]")),
        ("[IPv6:1::8]", Some("[IPv6:1::8]")),
        ("[IPv6:::]", Some("[IPv6:::]")),
        ("[IPv6:1::]", Some("[IPv6:1::]")),
        ("[IPV6:1:2:3:4:5:6:192.0.2.1]", Some("[IPv6:1:2:3:4:5:6:c000:201]")),
        ("[IPv6:::192.0.2.1]", Some("[IPv6:::c000:201]")),
        ("[IPv6:::FFFF:192.0.2.1]", Some("[IPv6:::ffff:192.0.2.1]")),
        ("[IPv6:1:2:3:4:5:6:7]", None),
        ("[IPv6:1:2:3:4:5:6:7:8:9]", None),
        ("[IPv6:1::2::3]", None),
        ("[IPv6:12345::]", None),
        ("[IPv6:::192.0.2.01]", None),
        ("[IPv6:::192.0.2.1:1]", None),
        ("[IPv6: ::1]", None),
        ("[IPv6::1]", None),
        ("[IPv6]", None),
        ("[::1]", None),
        ("[192.0.2]", None),
        ("[192.0.2.1.1]", None),
        ("[192.0.2.256]", None),
        ("[0xc0.0.2.1]", None),
        ("[3221225985]", None),
        ("[192.0.2.1", None),
        ("192.0.2.1]", None),
        ("[192.0.2.1]]", None),
        ("[[192.0.2.1]]", None),
        ("[192.0.2.1].test", None),
        ("[192.0.2.1/32]", None),
        ("[fe80::1%lo]", None),
        ("[tag:anything]", None),
        ("[tag]", None),
        ("[\\192.0.2.1]", None),
        ("[]", None),
    ] {
        let domain = text.parse::<Domain>().map(|domain| domain.to_string());
        assert_eq!(domain.ok().as_deref(), canonical, "{text}");
    }
}

#[test]
fn domains_compare_without_case() {
    assert_eq!("MX.Example.Test".parse::<Domain>(), Ok(Domain::Name("mx.example.test".to_owned())));
    assert_eq!("[192.0.2.1]".parse::<Domain>(), Ok(Domain::Literal(IpAddr::from([192, 0, 2, 1]))));
    assert_eq!("a@EXAMPLE.test".parse::<Mailbox>(), "a@example.TEST".parse());
    assert_ne!("A@example.test".parse::<Mailbox>(), "a@example.test".parse());
}

#[test]
fn nobody_and_postmaster_are_addresses_of_their_own() {
    assert_eq!("".parse(), Ok(Sender::Null));
    assert_eq!(Sender::Null.to_string(), "");
    assert_eq!("PostMaster".parse(), Ok(Address::Postmaster));
    assert_eq!(Address::Postmaster.to_string(), "postmaster");
    assert!(matches!("postmaster@example.test".parse(), Ok(Address::Mailbox(_))));
    assert_eq!("postmaster".parse::<Sender>(), Err(AddressError::Syntax));
    assert_eq!("".parse::<Address>(), Err(AddressError::Syntax));
}

/// RFC 6531 section 3.3: UTF-8 before and behind the `@`, measured in octets, its case kept; ASCII as ever.
#[test]
fn mailboxes_may_hold_utf8_where_that_is_asked_for() {
    let cases = [
        ("b\u{fc}cher@B\u{dc}CHER.Example.Test", Some("b\u{fc}cher@b\u{dc}cher.example.test")),
        ("\"b\u{fc}cher laden\"@example.test", Some("\"b\u{fc}cher laden\"@example.test")),
        ("\"b\u{fc}cher\"@example.test", Some("b\u{fc}cher@example.test")),
        (
            "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}@\u{4f8b}.test",
            Some("\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}@\u{4f8b}.test"),
        ),
        ("a@example.test", Some("a@example.test")),
        ("a@[192.0.2.1]", Some("a@[192.0.2.1]")),
        ("\"\\\u{fc}\"@example.test", None),
        ("a@[\u{661}92.0.2.1]", None),
        ("a@b\u{3002}test", None),
        ("a@b\u{a0}c.test", None),
        ("a@b\u{2003}c.test", None),
        ("a\u{80}@example.test", None),
        ("a\u{9f}@example.test", None),
        ("a\u{202e}@example.test", None),
        ("a\u{2066}@example.test", None),
        ("a\u{fffd}@example.test", None),
        ("a\u{fffe}@example.test", None),
        ("a\u{1ffff}@example.test", None),
        ("\u{fdd0}@example.test", None),
        ("@\u{fc}.test", None),
    ];
    for (text, canonical) in cases {
        let mailbox = Mailbox::parse_utf8(text);
        assert_eq!(mailbox.as_ref().ok().map(ToString::to_string).as_deref(), canonical, "{text:?}");
        if let Ok(mailbox) = mailbox {
            assert_eq!(
                Mailbox::parse_utf8(&mailbox.to_string()),
                Ok(mailbox),
                "{text:?}: the canonical form says the same"
            );
        }
    }
    for (octets, fits) in [(64, true), (66, false)] {
        let text = format!("{}@example.test", "\u{fc}".repeat(octets / 2));
        assert_eq!(Mailbox::parse_utf8(&text).is_ok(), fits, "{octets} octets");
        let text = format!("a@{}a.test", "\u{fc}".repeat(octets / 2 - 1));
        assert_eq!(Mailbox::parse_utf8(&text).is_ok(), fits, "{octets} octets of a label");
    }
}
