//! SASL: whatever a client says to any mechanism, nothing panics, no name is none, nobody is let in without a proof, and after
//! the end there is nothing. And a client that knows the password is let in by SCRAM, whatever its name and nonce; with
//! another it is not.
//!
//! The first octet of an input chooses the mechanism, the second what the exchange begins with; what follows are the client's
//! responses, each but the last ended by 0xFF, which stands in no text.

#![no_main]

#[path = "../../../host/sasl/tests/support/mod.rs"]
mod client;

use libfuzzer_sys::fuzz_target;
use pillarbox_sasl::{Exchange, Failure, Mechanism, Step, Terms, Verifier, prepare_user};

fuzz_target!(|input: &[u8]| {
    let [mechanism, terms, responses @ ..] = input else { return };
    let mechanism = Mechanism::ALL[usize::from(*mechanism) % Mechanism::ALL.len()];
    let responses: Vec<&[u8]> = responses.split(|octet| *octet == 0xff).collect();
    let terms_of_it = Terms {
        plus_offered: terms & 1 != 0,
        channel_binding: Some(b"channel".as_slice()).filter(|_| terms & 2 != 0),
        external: Some("alice").filter(|_| terms & 4 != 0),
        nonce: client::NONCE,
    };
    let none_first = terms & 8 != 0;
    go(Exchange::begin(mechanism, terms_of_it), &responses, none_first);
    if let [name, nonce, ..] = *responses {
        log_in(name, nonce);
    }
});

/// Goes through an exchange as far as the responses lead.
fn go(mut exchange: Exchange, responses: &[&[u8]], none_first: bool) {
    let made_up = Verifier { salt: vec![1; 16], iterations: 4096, stored_key: [2; 32], server_key: [3; 32] };
    let none = none_first.then_some(None);
    for response in none.into_iter().chain(responses.iter().copied().map(Some)) {
        let mut step = exchange.respond(response);
        if let Step::Lookup { user } = &step {
            assert_eq!(exchange.user(), Some(user.as_str()));
            step = exchange.verified(&made_up);
        }
        if let Some(user) = exchange.user() {
            assert!(!user.is_empty() && !user.chars().any(char::is_control), "{user:?}");
        }
        match step {
            Step::Challenge(_) => continue,
            Step::Lookup { .. } => panic!("asked twice"),
            // Only the certificate speaks for a client without a proof.
            Step::Success { user } => assert_eq!(user, "alice"),
            Step::Password { user, authorization, .. } => {
                assert_eq!(exchange.user(), Some(user.as_str()));
                assert!(authorization.is_none_or(|authorization| authorization == user));
            }
            Step::Failure(_) => {}
        }
        assert!(matches!(exchange.respond(Some(b"")), Step::Failure(Failure::Malformed)), "there is an end");
        return;
    }
}

/// SCRAM as it should be said, by a client of this name, and by one that only pretends to be.
fn log_in(name: &[u8], nonce: &[u8]) {
    let (Ok(name), Ok(nonce)) = (str::from_utf8(name), str::from_utf8(nonce)) else { return };
    let Ok(prepared) = prepare_user(name) else { return };
    // RFC 5802 section 7: printable, no comma.
    if nonce.is_empty() || nonce.len() > 256 || !nonce.bytes().all(|octet| matches!(octet, 0x21..=0x2b | 0x2d..=0x7e)) {
        return;
    }
    // Few iterations: what is to be found is not their number.
    let verifier = Verifier::derive("pencil", b"salt of the test", 2).expect("a verifier");
    for (password, knows_it) in [("pencil", true), ("pencils", false)] {
        let mut exchange = client::begin(Mechanism::ScramSha256);
        let bare = format!("n={},r={nonce}", name.replace('=', "=3D").replace(',', "=2C"));
        let step = exchange.respond(Some(format!("n,,{bare}").as_bytes()));
        let Step::Lookup { user } = &step else { panic!("{bare:?}: {}", client::line(&step)) };
        assert_eq!(*user, prepared);
        let step = exchange.verified(&verifier);
        let Step::Challenge(first) = step else { panic!("{bare:?}: {}", client::line(&step)) };
        let first = String::from_utf8(first).expect("text");
        let both = first.split(',').next().expect("a nonce");
        let (last, signature) = client::client_final(password, &bare, &first, &format!("c=biws,{both}"));
        let step = exchange.respond(Some(last.as_bytes()));
        if !knows_it {
            assert!(matches!(step, Step::Failure(Failure::Refused)), "{}", client::line(&step));
            continue;
        }
        assert_eq!(client::line(&step), format!("challenge {signature}"));
        let step = exchange.respond(Some(b""));
        let Step::Success { user } = &step else { panic!("{bare:?}: {}", client::line(&step)) };
        assert_eq!(*user, prepared);
    }
}
