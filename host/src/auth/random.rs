//! Randomness from the operating system.

use std::io;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A fresh nonce for SCRAM: 24 random octets in base64.
///
/// Where the system gives no randomness it is empty, and no exchange is begun with an empty one.
pub fn nonce() -> String {
    octets::<24>().map(|octets| STANDARD.encode(octets)).unwrap_or_default()
}

/// Random octets.
pub(super) fn octets<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut octets = [0; COUNT];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

/// What is random once for the life of this process.
pub(super) fn secret() -> io::Result<[u8; 32]> {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    match SECRET.get() {
        Some(secret) => Ok(*secret),
        None => {
            let fresh = octets()?;
            Ok(*SECRET.get_or_init(|| fresh))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nonces_are_new_and_the_secret_stays() {
        assert_ne!(nonce(), nonce());
        assert_eq!(STANDARD.decode(nonce()).unwrap().len(), 24);
        assert_eq!(secret().unwrap(), secret().unwrap());
        assert_ne!(secret().unwrap(), [0; 32]);
    }
}
