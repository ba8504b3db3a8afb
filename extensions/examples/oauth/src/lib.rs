//! An example of the hook `authenticate`: OAUTHBEARER (RFC 7628) and XOAUTH2, with bearer tokens that stand in its
//! settings as SHA-256 digests.
//!
//! ```toml
//! [[listener.submission.extension]]
//! use = "oauth"
//! grant.credentials = ["OAUTHBEARER", "XOAUTH2"]
//!
//! [extension.oauth]
//! component = "example-oauth.wasm"
//! settings  = { tokens = { "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" = "alice" } }
//! ```
//!
//! What it shows: mechanisms are declared in `init` and spoken in `begin` and `resume`; what one response leaves for the
//! next goes into the state of a challenge, for the instance may be another by then; a token is compared without telling
//! by the time it takes how much of it was right, and is logged nowhere. An extension for real use would ask the server
//! that issues the tokens (RFC 7662) instead of its settings.

mod message;

use message::{Mechanism, Message};
use pillarbox_sdk::authenticate::{Pending, Step, Success};
use pillarbox_sdk::{Authenticate, Extension, declare, info, settings};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

#[derive(Debug)]
struct Oauth {
    /// SHA-256 of each token, and whose it is.
    tokens: Vec<([u8; 32], String)>,
}

impl Extension for Oauth {
    fn init() -> Result<Self, String> {
        let mut tokens = Vec::new();
        for name in settings::names() {
            let digest =
                name.strip_prefix("tokens.").ok_or_else(|| format!("unknown setting `{name}`; there is `tokens`"))?;
            let digest = digest_of(digest)
                .ok_or_else(|| format!("`{name}`: a token is known by its SHA-256 digest, 64 hexadecimal digits"))?;
            let user = settings::text(&name)?.unwrap_or_default();
            if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
                return Err(format!("`{name}` must be a user: 1 to 255 octets without control characters"));
            }
            tokens.push((digest, user));
        }
        for mechanism in Mechanism::ALL {
            declare::mechanism(mechanism.name())?;
        }
        Ok(Self { tokens })
    }
}

impl Authenticate for Oauth {
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Step {
        match (Mechanism::named(mechanism), initial) {
            (Some(mechanism), Some(response)) => self.answer(mechanism, response),
            // The client speaks first; an empty challenge asks it to (RFC 4954 section 4).
            (Some(mechanism), None) => challenge("", mechanism.name()),
            (None, _) => Step::Failure(None),
        }
    }

    fn resume(&mut self, state: &[u8], response: &[u8]) -> Step {
        match std::str::from_utf8(state).ok().and_then(Mechanism::named) {
            Some(mechanism) => self.answer(mechanism, response),
            // The client has read why it failed, and says so (RFC 7628 section 3.2.3). Whatever it says, that is the end.
            None => Step::Failure(None),
        }
    }
}

pillarbox_sdk::export!(Oauth: authenticate);

/// The state while the client reads why it failed.
const REFUSED: &str = "refused";

impl Oauth {
    fn answer(&self, mechanism: Mechanism, response: &[u8]) -> Step {
        let step = self.judge(mechanism, response);
        if matches!(step, Step::Challenge(_)) {
            info!("{}: token refused", mechanism.name());
        }
        step
    }

    fn judge(&self, mechanism: Mechanism, response: &[u8]) -> Step {
        let Some(message) = message::read(mechanism, response) else { return Step::Failure(None) };
        match self.user_of(&message) {
            Some(user) => Step::Success(Success { user, data: None }),
            None => challenge("{\"status\":\"invalid_token\",\"schemes\":\"bearer\"}", REFUSED),
        }
    }

    /// Whose token it is, if the message does not name somebody else.
    fn user_of(&self, message: &Message<'_>) -> Option<String> {
        let digest: [u8; 32] = Sha256::digest(message.token).into();
        let mut found = u32::MAX;
        // All are compared, and each to its end.
        for (index, (known, _)) in (0_u32..).zip(&self.tokens) {
            let same: Choice = known.ct_eq(&digest);
            found.conditional_assign(&index, same);
        }
        let (_, user) = self.tokens.get(usize::try_from(found).ok()?)?;
        (message.user.is_empty() || message.user == *user).then(|| user.clone())
    }
}

fn challenge(text: &str, state: &str) -> Step {
    Step::Challenge(Pending { challenge: text.as_bytes().to_vec(), state: state.as_bytes().to_vec() })
}

fn digest_of(hexadecimal: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hexadecimal
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<_>>()?;
    let octets: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect();
    // An odd digit more would make an octet more.
    octets.try_into().ok().filter(|_| digits.len() == 64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// SHA-256 of "secret".
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn oauth() -> Oauth {
        let other: [u8; 32] = Sha256::digest("other").into();
        Oauth { tokens: vec![(digest_of(SECRET).unwrap(), "alice".to_owned()), (other, "bob".to_owned())] }
    }

    /// The user, "challenged", or "failed".
    fn outcome(step: Step) -> String {
        match step {
            Step::Success(success) => success.user,
            Step::Challenge(_) => "challenged".to_owned(),
            Step::Failure(None) => "failed".to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_is_its_users() {
        for (response, expected) in [
            ("n,,\x01auth=Bearer secret\x01\x01", "alice"),
            ("n,a=alice,\x01auth=Bearer secret\x01\x01", "alice"),
            ("n,a=bob,\x01auth=Bearer secret\x01\x01", "challenged"),
            ("n,a=Alice,\x01auth=Bearer secret\x01\x01", "challenged"),
            ("n,,\x01auth=Bearer other\x01\x01", "bob"),
            ("n,,\x01auth=Bearer secretx\x01\x01", "challenged"),
            ("n,,\x01auth=Bearer Secret\x01\x01", "challenged"),
            // The digest is not the token.
            (&format!("n,,\x01auth=Bearer {SECRET}\x01\x01"), "challenged"),
            ("n,,\x01auth=Basic secret\x01\x01", "failed"),
            ("", "failed"),
        ] {
            assert_eq!(outcome(oauth().judge(Mechanism::Oauthbearer, response.as_bytes())), expected, "{response:?}");
        }
        let said = b"user=alice\x01auth=Bearer secret\x01\x01";
        assert_eq!(outcome(oauth().judge(Mechanism::Xoauth2, said)), "alice");
        assert_eq!(outcome(oauth().judge(Mechanism::Oauthbearer, said)), "failed");
        let nobody = Oauth { tokens: Vec::new() };
        assert_eq!(outcome(nobody.judge(Mechanism::Xoauth2, said)), "challenged");
    }

    #[test]
    fn without_an_initial_response_the_client_is_asked() {
        for mechanism in Mechanism::ALL {
            let Step::Challenge(pending) = oauth().begin(mechanism.name(), None) else { panic!("no challenge") };
            assert!(pending.challenge.is_empty());
            // Nothing but the state comes back, and to another instance.
            let response = match mechanism {
                Mechanism::Oauthbearer => "n,,\x01auth=Bearer secret\x01\x01",
                Mechanism::Xoauth2 => "user=\x01auth=Bearer secret\x01\x01",
            };
            assert_eq!(outcome(oauth().resume(&pending.state, response.as_bytes())), "alice");
        }
    }

    #[test]
    fn after_a_refusal_nothing_succeeds() {
        let good = b"n,,\x01auth=Bearer secret\x01\x01";
        for response in [&b"\x01"[..], b"", good] {
            assert_eq!(outcome(oauth().resume(REFUSED.as_bytes(), response)), "failed");
        }
        assert_eq!(outcome(oauth().begin("PLAIN", Some(good))), "failed");
    }

    #[test]
    fn digests_are_whole() {
        assert_eq!(digest_of(SECRET), Some(Sha256::digest("secret").into()));
        assert_eq!(digest_of(&SECRET.to_uppercase()), digest_of(SECRET));
        for wrong in ["", "00", &SECRET[1..], &format!("{SECRET}0"), &format!("{SECRET}00"), &SECRET.replace('b', "g")]
        {
            assert_eq!(digest_of(wrong), None, "{wrong}");
        }
    }
}
