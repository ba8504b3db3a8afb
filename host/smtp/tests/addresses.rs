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
