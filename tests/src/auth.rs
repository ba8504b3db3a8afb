//! The client's side of AUTH, mechanism by mechanism. SCRAM is written out here from RFC 5802, so that the server is not
//! measured by its own code.

use crate::{Client, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// In base64.
pub fn encode(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

/// What a challenge holds.
///
/// # Panics
/// The reply is none.
#[track_caller]
pub fn challenge(reply: &Reply) -> String {
    let data = reply.last().strip_prefix("334 ").unwrap_or_else(|| panic!("expected a challenge and not {reply}"));
    String::from_utf8(STANDARD.decode(data).expect("base64")).expect("a text")
}

/// The message of PLAIN (RFC 4616).
pub fn plain_message(user: &str, password: &str) -> String {
    encode(format!("\0{user}\0{password}"))
}

/// PLAIN, with the initial response.
#[track_caller]
pub fn plain(client: &mut Client, user: &str, password: &str) -> Reply {
    client.ask(&format!("AUTH PLAIN {}", plain_message(user, password)))
}

/// LOGIN, question by question.
#[track_caller]
pub fn login(client: &mut Client, user: &str, password: &str) -> Reply {
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6");
    client.expect(&encode(user), "334 UGFzc3dvcmQ6");
    client.ask(&encode(password))
}

/// SCRAM-SHA-256, by a client that cannot bind.
#[track_caller]
pub fn scram(client: &mut Client, user: &str, password: &str) -> Reply {
    UNBOUND.play(client, user, password)
}

/// SCRAM-SHA-256-PLUS, bound to the connection.
#[track_caller]
pub fn scram_plus(client: &mut Client, user: &str, password: &str) -> Reply {
    let binding = client.binding();
    Scram { mechanism: "SCRAM-SHA-256-PLUS", flag: "p=tls-exporter", binding: &binding }.play(client, user, password)
}

/// A client of SCRAM-SHA-256 that cannot bind.
pub const UNBOUND: Scram<'_> = Scram { mechanism: "SCRAM-SHA-256", flag: "n", binding: &[] };

/// How a client of SCRAM goes about channel binding.
#[derive(Clone, Copy, Debug)]
pub struct Scram<'a> {
    /// The mechanism it names.
    pub mechanism: &'a str,
    /// `n`, `y` or `p=NAME`.
    pub flag: &'a str,
    /// What it takes the connection for.
    pub binding: &'a [u8],
}

impl Scram<'_> {
    /// The whole exchange. The server's proof must be right where it gives one; what is returned is its last reply.
    #[track_caller]
    pub fn play(&self, client: &mut Client, user: &str, password: &str) -> Reply {
        match self.begin(client, user) {
            Ok(begun) => begun.prove(client, password),
            Err(refusal) => refusal,
        }
    }

    /// The first message, and what the server says to it.
    ///
    /// # Errors
    /// It was no challenge.
    #[track_caller]
    pub fn begin(&self, client: &mut Client, user: &str) -> Result<Begun, Reply> {
        let bare = format!("n={user},r=rOprNGfwEbeRWgbNEkqO");
        let first = client.ask(&format!("AUTH {} {}", self.mechanism, encode(format!("{},,{bare}", self.flag))));
        if first.code != 334 {
            return Err(first);
        }
        let channel = [format!("{},,", self.flag).as_bytes(), self.binding].concat();
        Ok(Begun { bare, first: challenge(&first), channel: encode(channel) })
    }
}

/// An exchange of SCRAM in which the client's proof is due.
#[derive(Debug)]
pub struct Begun {
    bare: String,
    first: String,
    channel: String,
}

impl Begun {
    /// The proof, and what the server says at last.
    #[track_caller]
    pub fn prove(self, client: &mut Client, password: &str) -> Reply {
        let Begun { bare, first, channel } = self;
        let [nonce, salt, iterations] = ["r=", "s=", "i="].map(|name| {
            let value = first.split(',').find_map(|attribute| attribute.strip_prefix(name));
            value.unwrap_or_else(|| client.fail("the server's first message lacks something"))
        });
        assert!(nonce.len() > "rOprNGfwEbeRWgbNEkqO".len() && nonce.starts_with("rOprNGfwEbeRWgbNEkqO"), "{first}");
        let salt = STANDARD.decode(salt).expect("base64");
        let iterations = iterations.parse().expect("a number");
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, iterations);
        let without_proof = format!("c={channel},r={nonce}");
        let message = format!("{bare},{first},{without_proof}");

        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let last = client.ask(&encode(format!("{without_proof},p={}", encode(proof))));
        if last.code != 334 {
            return last;
        }
        let expected = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
        assert_eq!(challenge(&last), format!("v={}", encode(expected)), "the server does not prove itself");
        client.ask("")
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
