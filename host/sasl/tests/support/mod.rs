//! What a client does in SCRAM (RFC 5802 section 3), and steps as one line of text.

#![allow(dead_code)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use pillarbox_sasl::{Exchange, Failure, Mechanism, Step, Terms, Verifier};
use sha2::{Digest, Sha256};

pub const NONCE: &str = "theirs";

/// An exchange on a connection without TLS.
pub fn begin(mechanism: Mechanism) -> Exchange {
    Exchange::begin(mechanism, Terms { plus_offered: false, channel_binding: None, external: None, nonce: NONCE })
}

/// `user`, whose password is `pencil`, as RFC 7677 section 3 has it.
pub fn verifier() -> Verifier {
    Verifier::derive("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096).unwrap()
}

/// A step, so that tables can hold it.
pub fn line(step: &Step) -> String {
    match step {
        Step::Challenge(octets) => format!("challenge {}", String::from_utf8_lossy(octets)),
        Step::Password { user, password, authorization } => {
            format!("password {user} {} {authorization:?}", password.expose())
        }
        Step::Lookup { user } => format!("lookup {user}"),
        Step::Success { user } => format!("success {user}"),
        Step::Failure(Failure::Malformed) => "malformed".to_owned(),
        Step::Failure(Failure::Refused) => "refused".to_owned(),
    }
}

/// The client's final message, and the proof it then expects of the server.
pub fn client_final(password: &str, first_bare: &str, server_first: &str, without_proof: &str) -> (String, String) {
    let attribute = |name: &str| {
        let field = server_first.split(',').find_map(|field| field.strip_prefix(name));
        field.unwrap_or_else(|| panic!("{name} is not in {server_first}"))
    };
    let salt = STANDARD.decode(attribute("s=")).unwrap();
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, attribute("i=").parse().unwrap(), &mut salted);
    let message = format!("{first_bare},{server_first},{without_proof}");
    let client_key = hmac(&salted, "Client Key");
    let signature = hmac(&Sha256::digest(&client_key), &message);
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, with)| key ^ with).collect();
    let server = hmac(&hmac(&salted, "Server Key"), &message);
    (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
