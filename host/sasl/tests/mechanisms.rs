//! PLAIN, LOGIN and EXTERNAL: what each response leads to, and what no response may do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_sasl::{Exchange, FIELD, Mechanism, PreparationError, Terms, Verifier, prepare_password, prepare_user};
use support::{NONCE, begin, line};

#[test]
fn mechanisms_have_their_registered_names() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::named(mechanism.name()), Some(mechanism));
        assert_eq!(Mechanism::named(&mechanism.name().to_lowercase()), Some(mechanism));
    }
    let names = Mechanism::ALL.map(Mechanism::name);
    assert_eq!(names, ["EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    for unknown in ["", "PLAI", "PLAINS", "SCRAM-SHA-1", "CRAM-MD5"] {
        assert_eq!(Mechanism::named(unknown), None, "{unknown}");
    }
}

#[test]
fn rfc4616_plain() {
    let long = |length| [b"\0u\0".as_slice(), &vec![b'x'; length]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"\0tim\0tanstaaftanstaaf", "password tim tanstaaftanstaaf None"),
        (b"tim\0tim\0x", "password tim x Some(\"tim\")"),
        ("\0\u{3a9}\0\u{a0}\u{2163}".as_bytes(), "password \u{3a9}  IV None"),
        ("\0a\u{ad}b\0x".as_bytes(), "password ab x None"),
        (b"\0a b@example.test\0x", "password a b@example.test x None"),
        // What Unicode 3.2 does not know is no name, and a password as it stands.
        ("\0a\u{1f600}\0x".as_bytes(), "refused"),
        ("\0a\0\u{2163}\u{1f600}".as_bytes(), "password a \u{2163}\u{1f600} None"),
        (
            "\0a\0\u{a0}\u{1f468}\u{200d}\u{1f469}\u{fe0f}".as_bytes(),
            "password a \u{a0}\u{1f468}\u{200d}\u{1f469}\u{fe0f} None",
        ),
        ("\0a\0\u{5d0}\u{1f600}".as_bytes(), "password a \u{5d0}\u{1f600} None"),
        ("\0a\0\u{1f600}\u{7}".as_bytes(), "malformed"),
        ("\0a\0\u{1f600}\u{85}".as_bytes(), "malformed"),
        ("\0a\0\u{1f600}\u{202e}".as_bytes(), "refused"),
        ("\0a\0\u{1f600}\u{2028}".as_bytes(), "refused"),
        ("\0a\0\u{1f600}\u{e000}".as_bytes(), "refused"),
        ("\0a\0\u{1f600}\u{e0067}".as_bytes(), "refused"),
        ("\0a\0\u{1f600}\u{fffd}".as_bytes(), "refused"),
        ("\0a\0\u{1f600}\u{1fffe}".as_bytes(), "refused"),
        ("\0a\0\u{5d0}1".as_bytes(), "refused"),
        // To act as another.
        (b"Ursel\0Kurt\0xipj3plmq", "refused"),
        // What cannot be prepared.
        ("\0a\u{e000}\0x".as_bytes(), "refused"),
        ("\0\u{627}1\0x".as_bytes(), "refused"),
        ("\0a\0\u{fffd}".as_bytes(), "refused"),
        // What is not in the grammar.
        (b"", "malformed"),
        (b"\0", "malformed"),
        (b"tim", "malformed"),
        (b"\0\0", "malformed"),
        (b"\0tim\0", "malformed"),
        (b"\0\0x", "malformed"),
        (b"tim\0\0x", "malformed"),
        (b"\0tim\0x\0", "malformed"),
        (b"\0tim\0x\0y", "malformed"),
        (b"\0\0tim\0x", "malformed"),
        (b"\0\xff\0x", "malformed"),
        (b"\0tim\0\xc0\x80", "malformed"),
        (b"\xff\0tim\0x", "malformed"),
        (b"\0tim\r\n\0x", "malformed"),
        (b"\0tim\x7f\0x", "malformed"),
        ("\0tim\u{85}\0x".as_bytes(), "malformed"),
        (b"\0tim\0x\n", "malformed"),
        ("\0\u{ad}\0x".as_bytes(), "malformed"),
        (&long(FIELD + 1), "malformed"),
        (&[b"\0".as_slice(), &[b'u'; FIELD + 1], b"\0x"].concat(), "malformed"),
        (&long(8 * FIELD), "malformed"),
    ];
    for (response, expected) in cases {
        let text = String::from_utf8_lossy(response);
        let mut initial = begin(Mechanism::Plain);
        assert_eq!(line(&initial.respond(Some(response))), *expected, "{text:?}");
        assert_eq!(line(&initial.respond(Some(response))), "malformed", "the exchange is over: {text:?}");
        let mut asked = begin(Mechanism::Plain);
        assert_eq!(line(&asked.respond(None)), "challenge ");
        assert_eq!(line(&asked.respond(Some(response))), *expected, "{text:?}");
    }
    assert!(line(&begin(Mechanism::Plain).respond(Some(&long(FIELD)))).starts_with("password u xxx"));
}

#[test]
fn what_grows_as_it_is_prepared_is_bounded_all_the_same() {
    // Three octets become 33.
    let fits = "\u{fdfa}".repeat(FIELD / 33);
    let grows = format!("{fits}\u{fdfa}");
    assert!(prepare_password(&fits).unwrap().expose().len() > FIELD - 33);
    assert_eq!(prepare_password(&grows).unwrap_err(), PreparationError::TooLong);
    assert_eq!(prepare_user(&grows).unwrap_err(), PreparationError::TooLong);
    let plain = |user: &str, password: &str| {
        line(&begin(Mechanism::Plain).respond(Some(format!("\0{user}\0{password}").as_bytes())))
    };
    assert!(plain("a", &fits).starts_with("password a "));
    assert_eq!(plain("a", &grows), "malformed");
    assert_eq!(plain(&grows, "x"), "malformed");
}

#[test]
fn a_newer_password_is_stored_as_it_is_proven() {
    let password = "\u{2163} \u{1f600}";
    let verifier = Verifier::derive(password, &[1; 16], 4096).unwrap();
    assert!(verifier.matches(password));
    assert!(verifier.matches(prepare_password(password).unwrap().expose()));
    assert!(!verifier.matches("IV \u{1f600}"));
}

#[test]
fn login_asks_twice() {
    let cases: &[(&[Option<&[u8]>], &str)] = &[
        (&[None], "challenge Username:"),
        (&[None, Some(b"tim")], "challenge Password:"),
        (&[None, Some(b"tim"), Some(b"tan staaf")], "password tim tan staaf None"),
        (&[Some(b"tim")], "challenge Password:"),
        (&[Some(b"tim"), Some(b"x")], "password tim x None"),
        (&[Some(b"tim"), Some(b"x"), Some(b"x")], "malformed"),
        (&[Some(b"tim"), None], "malformed"),
        (&[None, None], "malformed"),
        (&[Some(b"")], "malformed"),
        (&[None, Some(b"")], "malformed"),
        (&[None, Some(b"tim\0")], "malformed"),
        (&[None, Some(b"\0tim\0x")], "malformed"),
        (&[None, Some(b"\xff")], "malformed"),
        (&[Some(b"tim"), Some(b"")], "malformed"),
        (&[Some(b"tim"), Some(b"x\0")], "malformed"),
        (&[Some(b"tim"), Some(&[b'x'; FIELD + 1])], "malformed"),
        (&[Some("\u{e000}".as_bytes())], "refused"),
    ];
    for (responses, expected) in cases {
        let mut exchange = begin(Mechanism::Login);
        let last = responses.iter().map(|response| line(&exchange.respond(*response))).last();
        assert_eq!(last.as_deref(), Some(*expected), "{responses:?}");
    }
}

#[test]
fn rfc4422_external() {
    let cases: &[(Option<&str>, &[u8], &str)] = &[
        (Some("mx.example.test"), b"", "success mx.example.test"),
        (Some("mx.example.test"), b"mx.example.test", "success mx.example.test"),
        (Some("mx.example.test"), b"root", "refused"),
        (Some("mx.example.test"), b"MX.example.test", "refused"),
        (Some("mx.example.test"), b"mx.example.test\0", "malformed"),
        (Some("mx.example.test"), b"\xff", "malformed"),
        (None, b"", "refused"),
        (None, b"root", "refused"),
        (None, b"\0", "malformed"),
    ];
    for (external, response, expected) in cases {
        let terms = Terms { plus_offered: false, channel_binding: None, external: *external, nonce: NONCE };
        let mut exchange = Exchange::begin(Mechanism::External, terms);
        assert_eq!(line(&exchange.respond(Some(response))), *expected, "{external:?} {response:?}");
        let mut exchange = Exchange::begin(Mechanism::External, terms);
        assert_eq!(line(&exchange.respond(None)), "challenge ");
        assert_eq!(line(&exchange.respond(Some(response))), *expected, "{external:?} {response:?}");
        assert_eq!(exchange.user(), *external);
    }
}

#[test]
fn who_tries_is_known_as_soon_as_it_was_said() {
    let mut plain = begin(Mechanism::Plain);
    assert_eq!(plain.user(), None);
    plain.respond(Some(b"other\0tim\0x"));
    assert_eq!(plain.user(), Some("tim"));
    let mut login = begin(Mechanism::Login);
    login.respond(None);
    assert_eq!(login.user(), None);
    login.respond(Some(b"tim"));
    assert_eq!(login.user(), Some("tim"));
    let mut scram = begin(Mechanism::ScramSha256);
    scram.respond(Some(b"y,a=other,n=tim,r=x"));
    assert_eq!(scram.user(), Some("tim"));
    // A certificate says nothing of who logs in by password.
    let terms = Terms { plus_offered: false, channel_binding: None, external: Some("mx"), nonce: NONCE };
    assert_eq!(Exchange::begin(Mechanism::Plain, terms).user(), None);
}

#[test]
fn secrets_are_not_printed() {
    let mut exchange = begin(Mechanism::Plain);
    let step = exchange.respond(Some(b"\0tim\0tanstaaf"));
    assert!(!format!("{step:?}").contains("tanstaaf"), "{step:?}");
    let verifier = support::verifier();
    let mut scram = begin(Mechanism::ScramSha256);
    scram.respond(Some(b"n,,n=user,r=x"));
    scram.verified(&verifier);
    let key = format!("{:?}", verifier.stored_key);
    assert!(!format!("{scram:?}{verifier:?}").contains(&key));
}
