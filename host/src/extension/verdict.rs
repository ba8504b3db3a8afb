//! What guests answer, checked before it counts (docs/writing-an-extension.md has the table of verdicts). An answer that cannot be used is a
//! failed call; it is never mended.

use super::bindings::exports::pillarbox::extension::command;
use super::bindings::pillarbox::extension::types;
use super::call::{Failure, Returned};
use super::interface::Hook;
use crate::config::Verdicts;
use pillarbox_smtp::{Refusal, Reply, reply};
use std::time::Duration;

/// Lines a verdict's reply may have, and octets in each.
const VERDICT_LINES: usize = 20;
const VERDICT_LINE: usize = 400;
/// Lines a verb's reply may have: enough for XDUMPCONTEXT of full scopes. RFC 5321 bounds the line itself.
const COMMAND_LINES: usize = 1024;
/// Octets a guest may keep between the lines of a verb.
const PENDING_STATE: usize = 4096;

/// A usable verdict.
#[derive(Debug)]
pub enum Verdict {
    /// No opinion.
    Next,
    /// Nobody else is asked.
    Accept,
    /// Deliver nothing.
    Discard,
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
        V::Quarantine(_) => {
            in_column(matches!(hook, Hook::Mail | Hook::Data | Hook::Message), hook, "quarantine")?;
            // Not to be granted in this version, so it is always outside.
            ("quarantine", false, Verdict::Next)
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
