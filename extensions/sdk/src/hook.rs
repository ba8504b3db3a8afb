//! One trait for each hook. An extension implements those it wants to be asked at and names them in
//! [`export!`](crate::export!).
//!
//! `&mut self` is the instance: what `init` made. It may be used again for the next command of the same session, or be
//! gone by then, and it never serves two sessions: what must be remembered goes into [`state`](crate::state).

use crate::{Answer, Decision, Parameter, Reply, authenticate, log, verify};

/// What every extension is.
pub trait Extension: Sized + 'static {
    /// Reads the settings, declares what it adds to the protocol, and makes the instance.
    ///
    /// Called once when the extension is loaded for a listener, and again in every new instance before its first hook.
    /// The error is the sentence the operator reads; it refuses the whole load.
    fn init() -> Result<Self, String>;
}

/// Asked before the banner, and again when the client changed.
pub trait Connect: Extension {
    /// May answer next, accept, tempfail (421, close), reject (554), disconnect.
    fn connect(&mut self) -> Decision;
}

/// Asked at HELO, EHLO and LHLO.
pub trait Hello: Extension {
    /// `verb` is "HELO", "EHLO" or "LHLO", `domain` the peer's argument. May answer next, accept, tempfail, reject,
    /// disconnect. Own keywords are shown or hidden with [`advertise`](crate::advertise).
    fn hello(&mut self, verb: &str, domain: &str) -> Decision;
}

/// Asked when the peer says a verb this extension declared.
pub trait Command: Extension {
    /// `verb` in upper case; `argument` is the rest of the line after one space, without the line end.
    fn begin(&mut self, verb: &str, argument: &str) -> Answer;

    /// The peer's next line after [`Answer::More`]. An extension that never answers `More` leaves this out.
    fn resume(&mut self, state: &[u8], line: &[u8]) -> Answer {
        let _ = (state, line);
        log::log(log::Level::Error, "answered `more` without having a `resume`");
        Answer::Done(Reply::new(451, "4.3.0", "the exchange cannot go on"))
    }
}

/// Asked step by step for a SASL mechanism this extension declared with
/// [`declare::mechanism`](crate::declare::mechanism).
///
/// What the client says here is secret. Log none of it, at no level; panic with none of it, for a panic's message is
/// logged; keep none of it in [`state`](crate::state) or the context; compare it in constant time.
pub trait Authenticate: Extension {
    /// `initial` is the decoded initial response; none when the client sent none. A mechanism in which the client speaks
    /// first then answers an empty challenge.
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> authenticate::Step;

    /// The client's decoded response to a challenge. The instance may be another than the one that sent it: `state` is
    /// all that came along, and it is secret if the exchange was. A mechanism of one step leaves this out.
    fn resume(&mut self, state: &[u8], response: &[u8]) -> authenticate::Step {
        let _ = (state, response);
        log::log(log::Level::Error, "sent a challenge without having a `resume`");
        authenticate::Step::Later
    }
}

/// Asked who is right when the host speaks PLAIN, LOGIN or SCRAM itself.
///
/// Passwords are seen here: what [`Authenticate`] says of secrets holds. Extensions are asked in order until one answers
/// anything but `no`.
pub trait Verify: Extension {
    /// PLAIN and LOGIN: is this the user's password? `authorization` is PLAIN's authzid, if one was given: whom the
    /// client wants to act for, which is for the extension to allow. May answer yes, no, later.
    fn password(&mut self, user: &str, password: &str, authorization: Option<&str>) -> verify::Outcome;

    /// SCRAM-SHA-256: the user's verifier. May answer verifier, no, later. An extension that keeps none answers `no`, and
    /// its operator does not grant it SCRAM.
    fn lookup(&mut self, user: &str) -> verify::Outcome;
}

/// Asked at each MAIL.
pub trait Mail: Extension {
    /// `sender` is the address without angle brackets, "" for the null sender. May answer next, accept, tempfail,
    /// reject, disconnect, discard, quarantine.
    fn mail(&mut self, sender: &str, parameters: &[Parameter]) -> Decision;
}

/// Asked at each RCPT that passed the host's own checks.
pub trait Recipient: Extension {
    /// `address` is the address without angle brackets. May answer next, accept, tempfail, reject, disconnect, discard
    /// (this recipient).
    fn recipient(&mut self, address: &str, parameters: &[Parameter]) -> Decision;
}

/// Asked before 354, or at the first BDAT.
pub trait Data: Extension {
    /// May answer next, accept, tempfail, reject, disconnect, discard, quarantine.
    fn data(&mut self) -> Decision;
}

/// Asked when the whole message is in, before it is made durable.
pub trait Message: Extension {
    /// May answer next, accept, tempfail (ends the transaction), reject, disconnect, discard, quarantine.
    fn message(&mut self) -> Decision;
}

/// Told after the 250.
pub trait Accepted: Extension {
    /// `id` is the message's id, as in the reply and in the log.
    fn accepted(&mut self, id: &str);
}

/// Told when the session ends.
pub trait Disconnect: Extension {
    /// Nothing can be staged any more.
    fn disconnect(&mut self);
}
