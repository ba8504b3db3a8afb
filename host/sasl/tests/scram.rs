//! SCRAM-SHA-256 and -PLUS: RFC 7677's exchange octet for octet, what RFC 5802 makes fail, and verifiers as text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pillarbox_sasl::{
    Exchange, FIELD, Mechanism, ScramClient, ScramError, Secret, Step, Terms, Verifier, VerifierError,
};
use support::{NONCE, begin, client_final, line, verifier};

const CHANNEL: &[u8] = &[0x9a; 32];

/// Goes from the client's first message to the end, as far as the server lets it. `change` is done to the final message
/// without its proof, which is made over what comes of it.
fn converse(mechanism: Mechanism, terms: Terms<'_>, first: &str, change: impl Fn(String) -> String) -> String {
    let mut exchange = Exchange::begin(mechanism, terms);
    let step = exchange.respond(Some(first.as_bytes()));
    let Step::Lookup { .. } = step else { return line(&step) };
    let Step::Challenge(server_first) = exchange.verified(&verifier()) else { panic!("no server-first") };
    let server_first = String::from_utf8(server_first).unwrap();
    let bare = first.splitn(3, ',').nth(2).unwrap();
    let mut binding = first.strip_suffix(bare).unwrap().as_bytes().to_vec();
    if first.starts_with("p=") {
        binding.extend_from_slice(CHANNEL);
    }
    let nonce = server_first.split(',').next().unwrap();
    let without_proof = change(format!("c={},{nonce}", STANDARD.encode(binding)));
    let (last, signature) = client_final("pencil", bare, &server_first, &without_proof);
    let step = exchange.respond(Some(last.as_bytes()));
    if line(&step) != format!("challenge {signature}") {
        return line(&step);
    }
    line(&exchange.respond(Some(b"")))
}

fn terms(plus_offered: bool, channel_binding: Option<&[u8]>) -> Terms<'_> {
    Terms { plus_offered, channel_binding, external: None, nonce: NONCE }
}

#[test]
fn rfc7677_section_3() {
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let terms = Terms { plus_offered: false, channel_binding: None, external: None, nonce };
    let mut exchange = Exchange::begin(Mechanism::ScramSha256, terms);
    assert_eq!(line(&exchange.respond(Some(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))), "lookup user");
    assert_eq!(
        line(&exchange.verified(&verifier())),
        "challenge r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let server_final = "challenge v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(line(&exchange.respond(Some(last.as_bytes()))), server_final);
    assert_eq!(line(&exchange.respond(Some(b""))), "success user");
    assert_eq!(line(&exchange.respond(Some(b""))), "malformed");
}

#[test]
fn the_initial_response_may_come_later() {
    let mut exchange = begin(Mechanism::ScramSha256);
    assert_eq!(line(&exchange.respond(None)), "challenge ");
    assert_eq!(line(&exchange.respond(Some(b"n,,n=user,r=x"))), "lookup user");
}

#[test]
fn rfc5802_section_6_channel_binding() {
    use Mechanism::{ScramSha256, ScramSha256Plus};
    let cases = [
        (ScramSha256, terms(false, None), "n,,", "success user"),
        (ScramSha256, terms(true, Some(CHANNEL)), "n,,", "success user"),
        (ScramSha256, terms(false, None), "y,,", "success user"),
        (ScramSha256, terms(false, Some(CHANNEL)), "y,,", "success user"),
        // Someone took the offer away.
        (ScramSha256, terms(true, Some(CHANNEL)), "y,,", "refused"),
        (ScramSha256, terms(true, Some(CHANNEL)), "p=tls-exporter,,", "refused"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "p=tls-exporter,,", "success user"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "p=tls-exporter,a=user,", "success user"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "n,,", "refused"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "y,,", "refused"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "p=tls-unique,,", "refused"),
        (ScramSha256Plus, terms(true, Some(CHANNEL)), "p=tls-server-end-point,,", "refused"),
        (ScramSha256Plus, terms(true, None), "p=tls-exporter,,", "refused"),
        // The client is at the end of another connection.
        (ScramSha256Plus, terms(true, Some(&[0x9b; 32])), "p=tls-exporter,,", "refused"),
        (ScramSha256Plus, terms(true, Some(&[])), "p=tls-exporter,,", "refused"),
    ];
    for (mechanism, terms, header, expected) in cases {
        let first = format!("{header}n=user,r=ours");
        assert_eq!(converse(mechanism, terms, &first, |last| last), expected, "{mechanism:?} {terms:?} {header}");
    }
}

#[test]
fn rfc5802_section_7_client_first() {
    let cases = [
        ("n,,n=user,r=x", "lookup user"),
        ("n,a=user,n=user,r=x", "lookup user"),
        ("n,,n=us=2Cer=3D=3D2C,r=x", "lookup us,er==2C"),
        ("n,,n=us=3D2Cer,r=x", "lookup us=2Cer"),
        ("n,,n=\u{2163},r=x", "lookup IV"),
        ("n,,n=user,r=x,z=extension,Y==", "lookup user"),
        ("n,a=other,n=user,r=x", "refused"),
        ("n,a=User,n=user,r=x", "refused"),
        ("n,,m=must,n=user,r=x", "refused"),
        ("n,,n=user,m=must,r=x", "refused"),
        ("n,,n=user,r=x,m=must", "refused"),
        ("n,,n=\u{e000},r=x", "refused"),
        ("", "malformed"),
        ("n", "malformed"),
        ("n,", "malformed"),
        ("n,,", "malformed"),
        ("n,,n=user", "malformed"),
        ("n,,n=user,", "malformed"),
        ("n,,n=user,r=", "malformed"),
        ("n,,n=user,r= x", "malformed"),
        ("n,,n=user,r=\u{e9}", "malformed"),
        ("n,,n=user,r=x,", "malformed"),
        ("n,,n=user,r=x,,", "malformed"),
        ("n,,n=user,r=x,y=", "malformed"),
        ("n,,n=user,r=x,1=y", "malformed"),
        ("n,,n=user,r=x,yy", "malformed"),
        ("n,,r=x,n=user", "malformed"),
        ("n,,N=user,r=x", "malformed"),
        ("n,,n=,r=x", "malformed"),
        ("n,,n=us=er,r=x", "malformed"),
        ("n,,n=user=,r=x", "malformed"),
        ("n,,n=user=2,r=x", "malformed"),
        ("n,,n=user=2c,r=x", "malformed"),
        ("n,,n=us\0er,r=x", "malformed"),
        ("n,,n=user,r=x\0", "malformed"),
        ("n,,n=us\rer,r=x", "malformed"),
        ("n,a=,n=user,r=x", "malformed"),
        ("n,user,n=user,r=x", "malformed"),
        ("n,a==,n=user,r=x", "malformed"),
        ("x,,n=user,r=x", "malformed"),
        ("N,,n=user,r=x", "malformed"),
        (",,n=user,r=x", "malformed"),
        ("p=,,n=user,r=x", "malformed"),
        ("p,,n=user,r=x", "malformed"),
        ("p=a b,,n=user,r=x", "malformed"),
        ("F,n,,n=user,r=x", "malformed"),
        ("n,,n=user,r=x\r\n", "malformed"),
    ];
    for (first, expected) in cases {
        assert_eq!(line(&begin(Mechanism::ScramSha256).respond(Some(first.as_bytes()))), expected, "{first:?}");
    }
    let long = "x".repeat(FIELD + 1);
    let endless = format!("n,,n=user,r=x,y={}", "x".repeat(4 * FIELD));
    assert_eq!(line(&begin(Mechanism::ScramSha256).respond(Some(endless.as_bytes()))), "malformed");
    for first in [format!("n,,n={long},r=x"), format!("n,,n=user,r={long}"), format!("n,a={long},n=user,r=x")] {
        assert_eq!(line(&begin(Mechanism::ScramSha256).respond(Some(first.as_bytes()))), "malformed");
    }
    assert_eq!(line(&begin(Mechanism::ScramSha256).respond(Some(b"n,,n=\xff,r=x"))), "malformed");
}

#[test]
fn rfc5802_section_7_client_final() {
    let good = format!("c=biws,r=ours{NONCE}");
    let cases = [
        (good.clone(), "success user"),
        (format!("{good},x=extension"), "success user"),
        (format!("{good},p=x"), "success user"),
        (format!("{good},m=must"), "refused"),
        (format!("m=must,{good}"), "refused"),
        ("c=biws,r=ours".to_owned(), "refused"),
        (format!("c=biws,r={NONCE}"), "refused"),
        (format!("c=biws,r=ours{NONCE}x"), "refused"),
        (format!("c=biws,r=ourx{NONCE}"), "refused"),
        (format!("c=eSws,r=ours{NONCE}"), "refused"),
        (format!("c=,r=ours{NONCE}"), "refused"),
        (format!("c=biws=,r=ours{NONCE}"), "malformed"),
        (format!("c=biw,r=ours{NONCE}"), "malformed"),
        (format!("r=ours{NONCE},c=biws"), "malformed"),
        (format!("{good},"), "malformed"),
        (format!("{good},x"), "malformed"),
        ("c=biws".to_owned(), "malformed"),
        (String::new(), "malformed"),
    ];
    for (last, expected) in cases {
        let outcome = converse(Mechanism::ScramSha256, terms(false, None), "n,,n=user,r=ours", |_| last.clone());
        assert_eq!(outcome, expected, "{last}");
    }
}

#[test]
fn a_proof_must_be_whole_and_right() {
    let ask = |password: &str, change: fn(String) -> String| {
        let mut exchange = begin(Mechanism::ScramSha256);
        exchange.respond(Some(b"n,,n=user,r=ours"));
        let Step::Challenge(server_first) = exchange.verified(&verifier()) else { panic!("no server-first") };
        let server_first = String::from_utf8(server_first).unwrap();
        let without_proof = format!("c=biws,r=ours{NONCE}");
        let (last, _) = client_final(password, "n=user,r=ours", &server_first, &without_proof);
        let outcome = line(&exchange.respond(Some(change(last).as_bytes())));
        assert_eq!(line(&exchange.respond(Some(b""))) == "success user", outcome.starts_with("challenge v="));
        outcome
    };
    assert!(ask("pencil", |last| last).starts_with("challenge v="));
    assert_eq!(ask("Pencil", |last| last), "refused");
    assert_eq!(ask("pencil", |last| last.replace(",p=", ",p=AAAA")), "malformed");
    assert_eq!(ask("pencil", |last| last.replace('=', "")), "malformed");
    assert_eq!(ask("pencil", |last| format!("{last}\n")), "malformed");
    assert_eq!(ask("pencil", |last| format!("{last},x=y")), "malformed");
    assert_eq!(ask("pencil", |last| last.split(",p=").next().unwrap().to_owned()), "malformed");
    assert_eq!(ask("pencil", |last| format!("{},p=", last.split(",p=").next().unwrap())), "malformed");
}

#[test]
fn nothing_is_proven_out_of_turn() {
    let mut exchange = begin(Mechanism::ScramSha256);
    assert_eq!(line(&exchange.verified(&verifier())), "malformed");
    let mut exchange = begin(Mechanism::ScramSha256);
    exchange.respond(Some(b"n,,n=user,r=ours"));
    assert_eq!(line(&exchange.respond(Some(b""))), "malformed");
    assert_eq!(line(&exchange.verified(&verifier())), "malformed");
    let mut plain = begin(Mechanism::Plain);
    assert_eq!(line(&plain.verified(&verifier())), "malformed");
    // After the server's proof only an empty response is in order.
    let mut exchange = begin(Mechanism::ScramSha256);
    exchange.respond(Some(b"n,,n=user,r=ours"));
    let Step::Challenge(server_first) = exchange.verified(&verifier()) else { panic!("no server-first") };
    let server_first = String::from_utf8(server_first).unwrap();
    let without_proof = format!("c=biws,r=ours{NONCE}");
    let (last, _) = client_final("pencil", "n=user,r=ours", &server_first, &without_proof);
    exchange.respond(Some(last.as_bytes()));
    assert_eq!(line(&exchange.respond(Some(b"x"))), "malformed");
    assert_eq!(line(&exchange.respond(Some(b""))), "malformed");
}

#[test]
fn there_is_no_exchange_without_a_nonce() {
    for nonce in ["", "a,b", "a b", "\u{e9}"] {
        let terms = Terms { plus_offered: false, channel_binding: None, external: None, nonce };
        let mut exchange = Exchange::begin(Mechanism::ScramSha256, terms);
        assert_eq!(line(&exchange.respond(Some(b"n,,n=user,r=x"))), "refused", "{nonce:?}");
    }
}

#[test]
fn verifiers_are_text() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let parsed: Verifier = text.parse().unwrap();
    assert_eq!(parsed, verifier());
    assert_eq!(parsed.to_string(), text);
    assert!(parsed.matches("pencil"));
    assert!(!parsed.matches("pencil "));
    assert!(!parsed.matches(""));
    // A soft hyphen says nothing (RFC 4013 section 3).
    assert!(parsed.matches("pen\u{ad}cil"));

    use VerifierError::{Form, Iterations, Key, Salt};
    let cases = [
        ("SCRAM-SHA-256$", "SCRAM-SHA-1$", Form),
        ("SCRAM-SHA-256$", "scram-sha-256$", Form),
        ("SCRAM-SHA-256$", " SCRAM-SHA-256$", Form),
        ("==$WG5", "==:WG5", Form),
        ("4096:", "4096", Form),
        ("4096:", "4095:", Iterations),
        ("4096:", "+4096:", Iterations),
        ("4096:", "04096:", Iterations),
        ("4096:", "10000001:", Iterations),
        ("4096:", "99999999999999999999:", Iterations),
        ("4096:", ":", Iterations),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "", Salt),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQ", Salt),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gR==", Salt),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaA==", Salt),
        ("4qY=", "4qY", Key),
        ("WG5d", "", Key),
        ("2dU=", "2dU= ", Key),
        ("2dU=", "2dU=$", Form),
        ("2dU=", "2dU=:", Key),
    ];
    for (part, with, expected) in cases {
        let broken = text.replace(part, with);
        assert_eq!(broken.parse::<Verifier>(), Err(expected), "{broken}");
    }
    assert!(text.replace("4096:", "10000000:").parse::<Verifier>().is_ok());
}

/// A client whose nonce is RFC 7677's.
fn client(user: &str, offered: bool, channel_binding: Option<&[u8]>) -> ScramClient {
    let password = Secret::new("pencil".to_owned());
    ScramClient::begin(user, &password, "rOprNGfwEbeRWgbNEkqO", offered, channel_binding).unwrap()
}

#[test]
fn a_client_in_rfc7677_section_3() {
    let mut client = client("user", false, None);
    assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(client.respond(first.as_bytes()).unwrap(), last);
    assert!(!client.is_proven());
    assert_eq!(client.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap(), "");
    assert!(client.is_proven());
    assert_eq!(client.respond(b""), Err(ScramError::Malformed));
    assert!(!client.is_proven());
}

#[test]
fn a_client_binds_where_both_can() {
    let cases = [
        (false, None, "n,,", Mechanism::ScramSha256),
        (true, None, "n,,", Mechanism::ScramSha256),
        (false, Some(CHANNEL), "y,,", Mechanism::ScramSha256),
        (true, Some(CHANNEL), "p=tls-exporter,,", Mechanism::ScramSha256Plus),
    ];
    for (offered, channel_binding, header, mechanism) in cases {
        // RFC 5802 section 5.1 and RFC 4013: the name as the server reads it.
        let mut client = client("u\u{ad}s=2C,\u{2163}", offered, channel_binding);
        assert_eq!(client.mechanism(), mechanism);
        assert_eq!(client.first(), format!("{header}n=us=3D2C=2CIV,r=rOprNGfwEbeRWgbNEkqO"));
        let mut server = Exchange::begin(mechanism, terms(offered, channel_binding));
        let mut step = server.respond(Some(client.first().as_bytes()));
        loop {
            step = match step {
                Step::Lookup { user } if user == "us=2C,IV" => server.verified(&verifier()),
                Step::Challenge(challenge) => server.respond(Some(client.respond(&challenge).unwrap().as_bytes())),
                other => break assert_eq!(line(&other), "success us=2C,IV", "{header}"),
            };
        }
        assert!(client.is_proven());
    }
}

#[test]
fn a_client_goes_no_further_with_a_server_that_is_not_the_one() {
    use ScramError::{Iterations, Malformed, Unproven};
    const NONCE: &str = "r=rOprNGfwEbeRWgbNEkqOtheirs";
    let first = |rest: &str| format!("{NONCE},{rest}");
    let cases = [
        (first("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095"), Iterations),
        (first("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295"), Iterations),
        (first("s=W22ZaJ0SNY7soEsUEjb6gQ==,i="), Iterations),
        (first("s=W22ZaJ0SNY7soEsUEjb6gQ=="), Malformed),
        (first("s=,i=4096"), Malformed),
        (first("s=*,i=4096"), Malformed),
        (format!("m=must,{}", first("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")), Malformed),
        // Nothing of its own, and not an answer to this client.
        ("r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(), Malformed),
        ("r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(), Malformed),
        ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned(), Malformed),
        (String::new(), Malformed),
        ("\0".to_owned(), Malformed),
    ];
    for (challenge, expected) in cases {
        assert_eq!(client("user", false, None).respond(challenge.as_bytes()), Err(expected), "{challenge}");
    }
    for challenge in ["", "v=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=*", "\u{e9}"] {
        let mut client = client("user", false, None);
        client.respond(first("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").as_bytes()).unwrap();
        assert_eq!(client.respond(challenge.as_bytes()), Err(Unproven), "{challenge}");
        assert!(!client.is_proven());
    }
    let refused = |user: &str, password: &str| {
        ScramClient::begin(user, &Secret::new(password.to_owned()), "x", false, None).unwrap_err()
    };
    assert_eq!(refused("us\u{e000}er", "pencil"), pillarbox_sasl::PreparationError::Prohibited);
    assert_eq!(refused("user", "\u{ad}"), pillarbox_sasl::PreparationError::Empty);
}

#[test]
fn a_client_hears_that_a_server_refuses() {
    let cases =
        [("e=invalid-proof", "invalid-proof"), ("e=other-error,x=more", "other-error"), ("e=", ""), ("e=v=x", "v=x")];
    for (challenge, error) in cases {
        let refused = Err(ScramError::Refused(error.to_owned()));
        assert_eq!(client("user", false, None).respond(challenge.as_bytes()), refused, "{challenge}");
        let mut client = client("user", false, None);
        client.respond(b"r=rOprNGfwEbeRWgbNEkqOtheirs,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").unwrap();
        assert_eq!(client.respond(challenge.as_bytes()), refused, "{challenge}");
        // It is over, whatever follows.
        assert_eq!(client.respond(challenge.as_bytes()), Err(ScramError::Malformed), "{challenge}");
        assert!(!client.is_proven());
    }
}
