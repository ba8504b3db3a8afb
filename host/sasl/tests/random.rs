//! Hostile octets at random, always the same ones: no mechanism panics, gives a name that is none, or lets anyone in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_sasl::{Exchange, Mechanism, Step, Terms, Verifier};

const EXCHANGES: u64 = 50_000;

/// What clients say, good and bad. Most of it is sense, so that exchanges get far.
const RESPONSES: &[&[u8]] = &[
    b"",
    b"\0user\0pencil",
    b"user\0user\0wrong",
    b"user",
    b"n,,n=user,r=ours",
    b"y,,n=us=2Cer,r=ours",
    b"p=tls-exporter,,n=user,r=ours",
    b"p=tls-exporter,a=user,n=user,r=ours,x=y",
    b"c=biws,r=ourstheirs,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"c=biws,r=ourstheirs,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    b"=2C,=,a=,m=,p=,,",
    "\u{627}\u{ad}\u{a0}\u{fdfa}\u{1f600}\u{301}".as_bytes(),
    b"\xff\xfe\xc0\x80",
];

struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn response(&mut self) -> Vec<u8> {
        let mut response = RESPONSES[self.throw(RESPONSES.len())].to_vec();
        if self.throw(4) == 0 {
            response.extend_from_slice(RESPONSES[self.throw(RESPONSES.len())]);
        }
        for _ in 0..self.throw(3) {
            let place = self.throw(response.len() + 1);
            let octet = [b',', b'=', 0, b'm', 0xff, b'\n', b'a'][self.throw(7)];
            match self.throw(3) {
                0 => response.insert(place, octet),
                1 if place < response.len() => drop(response.remove(place)),
                _ => response.truncate(place),
            }
        }
        response
    }
}

#[test]
fn nothing_at_random_does_harm() {
    let verifier = Verifier { salt: vec![1; 16], iterations: 4096, stored_key: [2; 32], server_key: [3; 32] };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut passwords, mut proofs) = (0, 0);
    for _ in 0..EXCHANGES {
        let mechanism = Mechanism::ALL[dice.throw(5)];
        let terms = Terms {
            plus_offered: dice.throw(2) == 0,
            channel_binding: Some(b"channel".as_slice()).filter(|_| dice.throw(2) == 0),
            external: None,
            nonce: support::NONCE,
        };
        let mut exchange = Exchange::begin(mechanism, terms);
        for turn in 0..5 {
            let response = dice.response();
            let none = turn == 0 && dice.throw(2) == 0;
            let mut step = exchange.respond(Some(response.as_slice()).filter(|_| !none));
            if let Step::Lookup { user } = &step {
                assert_eq!(exchange.user(), Some(user.as_str()));
                step = exchange.verified(&verifier);
                proofs += 1;
            }
            if let Some(user) = exchange.user() {
                assert!(!user.is_empty() && !user.chars().any(char::is_control), "{user:?}");
            }
            match step {
                Step::Challenge(_) => {}
                Step::Password { .. } => {
                    passwords += 1;
                    break;
                }
                Step::Failure(_) => break,
                Step::Lookup { .. } | Step::Success { .. } => panic!("{mechanism:?} let {response:?} in"),
            }
        }
    }
    assert!(passwords > 500 && proofs > 500, "the walk gets nowhere: {passwords}, {proofs}");
}
