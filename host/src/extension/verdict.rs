//! What guests answer, checked before it counts (docs/writing-an-extension.md has the table of verdicts). An answer that cannot be used is a
//! failed call; it is never mended.

use super::bindings::exports::pillarbox::extension::{authenticate, command, verify};
use super::bindings::pillarbox::extension::types;
use super::call::{Failure, Returned};
use super::interface::Hook;
use crate::config::Verdicts;
use crate::session::policy::Credentials;
use pillarbox_sasl::Verifier;
use pillarbox_smtp::{Refusal, Reply, reply};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Lines a verdict's reply may have, and octets in each.
const VERDICT_LINES: usize = 20;
const VERDICT_LINE: usize = 400;
/// Lines a verb's reply may have: enough for XDUMPCONTEXT of full scopes. RFC 5321 bounds the line itself.
const COMMAND_LINES: usize = 1024;
/// Octets a guest may keep between the lines of a verb, or the responses of a mechanism.
const PENDING_STATE: usize = 4096;
/// Octets of a challenge, or of what goes with a success: in base64 a line of RFC 4954 holds them (section 4, 12,288).
const CHALLENGE: usize = 9_000;
/// Octets of the reason for a quarantine.
const REASON: RangeInclusive<usize> = 1..=400;
/// Octets of a user's name.
const USER: RangeInclusive<usize> = 1..=255;
/// Octets of a verifier's salt.
const SALT: RangeInclusive<usize> = 1..=1024;
/// Iterations of a verifier: fewer are too weak (RFC 7677 section 4), more keep a client busy for minutes.
const ITERATIONS: RangeInclusive<u32> = 4096..=10_000_000;

/// A usable verdict.
#[derive(Debug)]
pub enum Verdict {
    /// No opinion.
    Next,
    /// Nobody else is asked.
    Accept,
    /// Deliver nothing.
    Discard,
    /// Keep it aside, for this reason.
    Quarantine(String),
    /// Say this.
    Refuse(Refusal),
}

/// A usable decision.
#[derive(Debug)]
pub struct Ruled {
    /// The verdict.
    pub verdict: Verdict,
    /// How long the peer waits.
    pub delay: Duration,
    /// The verdict's name, if it is outside the grant and was taken as `next`.
    pub outside: Option<&'static str>,
}

/// A usable answer to a verb.
#[derive(Debug)]
pub enum Commanded {
    /// Final.
    Done(Reply),
    /// One more line is wanted.
    More(Reply, Vec<u8>),
    /// Back to the greeting.
    Restart(bool),
    /// Refuse and close.
    Close(Refusal),
}

/// A usable step of a mechanism.
pub enum Step {
    /// Say this, and hand this state back with the response.
    Challenge(Vec<u8>, Vec<u8>),
    /// The user, and what the client is still to be told.
    Success(String, Option<Vec<u8>>),
    /// In these words, or the server's own.
    Failure(Option<Refusal>),
    /// It cannot be told now.
    Later,
}

/// A usable judgement of credentials.
pub enum Judgement {
    /// They are this user's.
    Yes(String),
    /// They are not right.
    No,
    /// It cannot be told now.
    Later,
    /// SCRAM goes on with this.
    Verifier(Verifier),
}

/// Checks what a deciding hook answered.
///
/// # Errors
/// A verdict not in the hook's column, a code of the wrong class, a malformed reply.
pub fn decision(hook: Hook, returned: Returned, granted: &Verdicts) -> Result<Ruled, Failure> {
    use types::Verdict as V;
    let Returned::Decision(types::Decision { verdict, delay_ms }) = returned else {
        return Err(Failure::Answer("no decision".to_owned()));
    };
    let at_connect = hook == Hook::Connect;
    let (name, allowed, verdict) = match verdict {
        V::Next => ("next", true, Verdict::Next),
        V::Accept => ("accept", granted.accept, Verdict::Accept),
        V::Tempfail(words) => {
            let refusal = match words {
                Some(words) => refusal(words)?,
                None if at_connect => reply::policy_tempfail_at_connect(),
                None => reply::policy_tempfail(),
            };
            // At connect 421 is the only way to say "not now": the connection ends with it.
            let right = if at_connect { code(&refusal) == 421 } else { code(&refusal) / 100 == 4 };
            ensure(right, hook, "tempfail", &refusal)?;
            ("tempfail", granted.tempfail, Verdict::Refuse(refusal))
        }
        V::Reject(words) => {
            let refusal = match words {
                Some(words) => refusal(words)?,
                None if at_connect => reply::policy_reject_at_connect(),
                None => reply::policy_reject(),
            };
            ensure(code(&refusal) / 100 == 5, hook, "reject", &refusal)?;
            ("reject", granted.reject, Verdict::Refuse(refusal))
        }
        V::Disconnect(words) => {
            let refusal = words.map_or_else(|| Ok(reply::policy_disconnect()), refusal)?.closing();
            ensure(code(&refusal) == 421 || code(&refusal) / 100 == 5, hook, "disconnect", &refusal)?;
            ("disconnect", granted.disconnect, Verdict::Refuse(refusal))
        }
        V::Discard => {
            in_column(matches!(hook, Hook::Mail | Hook::Recipient | Hook::Data | Hook::Message), hook, "discard")?;
            ("discard", granted.discard, Verdict::Discard)
        }
        V::Quarantine(reason) => {
            in_column(matches!(hook, Hook::Mail | Hook::Data | Hook::Message), hook, "quarantine")?;
            if !REASON.contains(&reason.len()) || reason.chars().any(char::is_control) {
                return Err(unusable("the reason of a quarantine has 1 to 400 octets and no control characters"));
            }
            ("quarantine", granted.quarantine, Verdict::Quarantine(reason))
        }
    };
    Ok(Ruled {
        verdict: if allowed { verdict } else { Verdict::Next },
        // Waiting is part of the answer: who may not give it, or may only observe, holds nobody up.
        delay: if allowed && granted.any() { Duration::from_millis(delay_ms.into()) } else { Duration::ZERO },
        outside: (!allowed).then_some(name),
    })
}

/// Checks what a verb answered.
///
/// # Errors
/// A code of the wrong class, a malformed reply, too much state.
pub fn answer(returned: Returned) -> Result<Commanded, Failure> {
    use command::Answer as A;
    let Returned::Answer(answer) = returned else { return Err(Failure::Answer("no answer".to_owned())) };
    Ok(match answer {
        A::Done(words) => {
            let reply = reply_of(words, COMMAND_LINES, usize::MAX)?;
            match reply.is_intermediate() {
                true => return Err(Failure::Answer(format!("a final answer with code {}", reply.code()))),
                false => Commanded::Done(reply),
            }
        }
        A::More(command::Pending { reply, state }) => {
            let reply = reply_of(reply, COMMAND_LINES, usize::MAX)?;
            match reply.is_intermediate() && state.len() <= PENDING_STATE {
                true => Commanded::More(reply, state),
                false => {
                    return Err(Failure::Answer("a challenge has a 3xx code and at most 4 KiB of state".to_owned()));
                }
            }
        }
        A::Restart(hello_kept) => Commanded::Restart(hello_kept),
        A::Close(words) => {
            let refusal = refusal(words)?.closing();
            match code(&refusal) == 421 || code(&refusal) / 100 == 5 {
                true => Commanded::Close(refusal),
                false => return Err(Failure::Answer(format!("closing with code {}", code(&refusal)))),
            }
        }
    })
}

/// Checks a step of a mechanism.
///
/// # Errors
/// Too large a challenge or state, a user that is no name, a refusal that is not 5xx or malformed.
pub fn step(returned: Returned) -> Result<Step, Failure> {
    use authenticate::Step as S;
    let Returned::Step(step) = returned else { return Err(unusable("no step of a mechanism")) };
    Ok(match step {
        S::Challenge(authenticate::Pending { challenge, state }) => {
            match challenge.len() <= CHALLENGE && state.len() <= PENDING_STATE {
                true => Step::Challenge(challenge, state),
                false => return Err(unusable("a challenge has at most 9,000 octets, and 4 KiB of state")),
            }
        }
        S::Success(authenticate::Success { user, data }) => {
            match data.as_ref().is_none_or(|data| data.len() <= CHALLENGE) {
                true => Step::Success(checked_user(user)?, data),
                false => return Err(unusable("what goes with a success has at most 9,000 octets")),
            }
        }
        S::Failure(None) => Step::Failure(None),
        S::Failure(Some(words)) => {
            let refusal = refusal(words)?;
            ensure(code(&refusal) / 100 == 5, Hook::Authenticate, "failure", &refusal)?;
            Step::Failure(Some(refusal))
        }
        S::Later => Step::Later,
    })
}

/// Checks a judgement of these credentials.
///
/// # Errors
/// An answer to another question, a user that is no name, a verifier that proves nothing.
pub fn judgement(credentials: &Credentials<'_>, returned: Returned) -> Result<Judgement, Failure> {
    use verify::Outcome as O;
    let Returned::Outcome(outcome) = returned else { return Err(unusable("no judgement of credentials")) };
    Ok(match (outcome, credentials) {
        (O::Yes(user), Credentials::Password { .. }) => Judgement::Yes(checked_user(user)?),
        (O::Verifier(verifier), Credentials::Lookup { .. }) => Judgement::Verifier(checked_verifier(verifier)?),
        (O::No, _) => Judgement::No,
        (O::Later, _) => Judgement::Later,
        // Nothing has been proven yet.
        (O::Yes(_), Credentials::Lookup { .. }) => return Err(unusable("`yes` to a look-up")),
        (O::Verifier(_), Credentials::Password { .. }) => return Err(unusable("a verifier for a password")),
    })
}

fn checked_user(user: String) -> Result<String, Failure> {
    match USER.contains(&user.len()) && !user.chars().any(char::is_control) {
        true => Ok(user),
        false => Err(unusable("a user has 1 to 255 octets and no control characters")),
    }
}

fn checked_verifier(verifier: verify::Verifier) -> Result<Verifier, Failure> {
    let verify::Verifier { salt, iterations, stored_key, server_key } = verifier;
    if !SALT.contains(&salt.len()) {
        return Err(unusable("the salt of a verifier has 1 to 1,024 octets"));
    }
    if !ITERATIONS.contains(&iterations) {
        return Err(unusable("the iterations of a verifier are 4,096 to 10,000,000"));
    }
    match (stored_key.try_into(), server_key.try_into()) {
        (Ok(stored_key), Ok(server_key)) => Ok(Verifier { salt, iterations, stored_key, server_key }),
        _ => Err(unusable("the keys of a verifier have 32 octets")),
    }
}

/// A failure whose text says what was expected, and nothing of what was answered: that may be a secret.
fn unusable(text: &str) -> Failure {
    Failure::Answer(text.to_owned())
}

/// Checks how a recipient is refused. 421 speaks of the connection, and is none (RFC 5321 section 3.8).
///
/// # Errors
/// A code that is not 4xx or 5xx, or is 421; a malformed reply.
pub fn recipient_refusal(words: types::Reply) -> Result<Refusal, Failure> {
    let refusal = refusal(words)?;
    ensure(code(&refusal) != 421, Hook::Recipient, "refuse-recipient", &refusal)?;
    Ok(refusal)
}

fn refusal(words: types::Reply) -> Result<Refusal, Failure> {
    let types::Reply { code, enhanced, text } = words;
    check_size(&text, VERDICT_LINES, VERDICT_LINE)?;
    Refusal::new(code, enhanced.as_deref(), text).map_err(|error| Failure::Answer(error.to_string()))
}

fn reply_of(words: types::Reply, lines: usize, line: usize) -> Result<Reply, Failure> {
    let types::Reply { code, enhanced, text } = words;
    check_size(&text, lines, line)?;
    Reply::new(code, enhanced.as_deref(), text).map_err(|error| Failure::Answer(error.to_string()))
}

fn check_size(text: &[String], lines: usize, line: usize) -> Result<(), Failure> {
    match text.len() <= lines && text.iter().all(|text| text.len() <= line) {
        true => Ok(()),
        false => {
            Err(Failure::Answer(format!("a reply of more than {lines} lines, or a line of more than {line} octets")))
        }
    }
}

fn ensure(right: bool, hook: Hook, verdict: &str, refusal: &Refusal) -> Result<(), Failure> {
    match right {
        true => Ok(()),
        false => Err(Failure::Answer(format!("{verdict} with code {} at {}", code(refusal), hook.name()))),
    }
}

fn in_column(right: bool, hook: Hook, verdict: &str) -> Result<(), Failure> {
    match right {
        true => Ok(()),
        false => Err(Failure::Answer(format!("{verdict} at {}", hook.name()))),
    }
}

fn code(refusal: &Refusal) -> u16 {
    refusal.reply().code()
}

#[cfg(test)]
mod unusable;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use pillarbox_sasl::Secret;

    fn failure(code: u16, enhanced: &str, text: &str) -> authenticate::Step {
        let (enhanced, text) = (Some(enhanced.to_owned()), vec![text.to_owned()]);
        authenticate::Step::Failure(Some(types::Reply { code, enhanced, text }))
    }

    fn success(user: &str, data: Option<usize>) -> authenticate::Step {
        let data = data.map(|length| vec![b'x'; length]);
        authenticate::Step::Success(authenticate::Success { user: user.to_owned(), data })
    }

    fn challenge(challenge: usize, state: usize) -> authenticate::Step {
        authenticate::Step::Challenge(authenticate::Pending { challenge: vec![0; challenge], state: vec![0; state] })
    }

    #[test]
    fn steps_are_bounded() {
        for (answer, usable) in [
            (challenge(0, 0), true),
            (challenge(9_000, 4_096), true),
            (challenge(9_001, 0), false),
            (challenge(0, 4_097), false),
            (success("a", None), true),
            (success("Jürgen M", Some(0)), true),
            (success(&"u".repeat(255), Some(9_000)), true),
            (success("", None), false),
            (success(&"u".repeat(256), None), false),
            (success("a\nb", None), false),
            (success("a\0", None), false),
            (success("a\u{85}b", None), false),
            (success("a", Some(9_001)), false),
            (authenticate::Step::Failure(None), true),
            (failure(535, "5.7.8", "no"), true),
            (failure(550, "5.7.1", "no"), true),
            (failure(454, "4.7.0", "not now"), false),
            (failure(235, "2.7.0", "welcome"), false),
            (failure(334, "", "go on"), false),
            (failure(421, "4.7.0", "go away"), false),
            (failure(535, "4.7.8", "no"), false),
            (failure(535, "5.7.8", "no\r\n235 2.7.0 yes"), false),
            (failure(535, "5.7.8", &"x".repeat(401)), false),
            (authenticate::Step::Later, true),
        ] {
            let shown = format!("{answer:?}");
            assert_eq!(step(Returned::Step(answer)).is_ok(), usable, "{shown:.100}");
        }
        assert!(step(Returned::Nothing).is_err());
    }

    #[test]
    fn an_answer_fits_to_what_was_asked() {
        use verify::Outcome as O;
        let secret = Secret::new("secret".to_owned());
        let password = Credentials::Password { mechanism: "PLAIN", user: "a", password: &secret, authorization: None };
        let lookup = Credentials::Lookup { mechanism: "SCRAM-SHA-256", user: "a" };
        let verifier = |salt: usize, iterations: u32, stored: usize, server: usize| {
            O::Verifier(verify::Verifier {
                salt: vec![1; salt],
                iterations,
                stored_key: vec![2; stored],
                server_key: vec![3; server],
            })
        };
        for (outcome, answers_password, answers_lookup) in [
            (O::Yes("a".to_owned()), true, false),
            (O::Yes("another".to_owned()), true, false),
            (O::Yes(String::new()), false, false),
            (O::Yes("a\r\nb".to_owned()), false, false),
            (O::Yes("u".repeat(256)), false, false),
            (O::No, true, true),
            (O::Later, true, true),
            (verifier(1, 4_096, 32, 32), false, true),
            (verifier(1_024, 10_000_000, 32, 32), false, true),
            (verifier(0, 4_096, 32, 32), false, false),
            (verifier(1_025, 4_096, 32, 32), false, false),
            (verifier(16, 4_095, 32, 32), false, false),
            (verifier(16, 0, 32, 32), false, false),
            (verifier(16, 10_000_001, 32, 32), false, false),
            (verifier(16, 4_096, 31, 32), false, false),
            (verifier(16, 4_096, 32, 33), false, false),
            (verifier(16, 4_096, 0, 0), false, false),
        ] {
            let judge = |credentials| judgement(credentials, Returned::Outcome(outcome.clone())).is_ok();
            assert_eq!(judge(&password), answers_password, "password: {outcome:?}");
            assert_eq!(judge(&lookup), answers_lookup, "lookup: {outcome:?}");
        }
        assert!(judgement(&lookup, Returned::Nothing).is_err());
    }

    #[test]
    fn what_is_answered_is_kept_as_it_is() {
        let given = verify::Verifier {
            salt: b"salt".to_vec(),
            iterations: 4_096,
            stored_key: (0..32).collect(),
            server_key: (32..64).collect(),
        };
        let lookup = Credentials::Lookup { mechanism: "SCRAM-SHA-256", user: "a" };
        let Ok(Judgement::Verifier(kept)) =
            judgement(&lookup, Returned::Outcome(verify::Outcome::Verifier(given.clone())))
        else {
            panic!("not the verifier");
        };
        assert_eq!((kept.salt, kept.iterations), (given.salt, given.iterations));
        assert_eq!(kept.stored_key.to_vec(), given.stored_key);
        assert_eq!(kept.server_key.to_vec(), given.server_key);
        let Ok(Step::Failure(Some(refusal))) = step(Returned::Step(failure(554, "5.7.8", "too old"))) else {
            panic!("not the refusal");
        };
        assert_eq!(code(&refusal), 554);
    }

    #[test]
    fn secrets_are_not_printed() {
        let step = authenticate::Step::Success(authenticate::Success { user: "alice".to_owned(), data: None });
        let calls = [
            format!("{:?}", crate::extension::call::Call::Authenticate("XOAUTH2", Some(b"token"))),
            format!("{:?}", crate::extension::call::Call::Respond(b"state", b"token")),
            format!(
                "{:?}",
                crate::extension::call::Call::Password { user: "alice", password: "token", authorization: None }
            ),
            format!("{:?}", Returned::Step(step)),
        ];
        for shown in calls {
            for secret in ["token", "116", "alice", "state"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        // Nor does a failure quote what was answered.
        let failures = [
            step_failure(success("alice\n", None)),
            step_failure(challenge(9_001, 0)),
            judgement_failure(verify::Outcome::Yes("alice\n".to_owned())),
        ];
        for text in failures {
            assert!(!text.contains("alice"), "{text}");
        }
    }

    fn step_failure(answer: authenticate::Step) -> String {
        step(Returned::Step(answer)).err().expect("a failure").to_string()
    }

    fn judgement_failure(outcome: verify::Outcome) -> String {
        let secret = Secret::new(String::new());
        let password = Credentials::Password { mechanism: "PLAIN", user: "a", password: &secret, authorization: None };
        judgement(&password, Returned::Outcome(outcome)).err().expect("a failure").to_string()
    }
}
