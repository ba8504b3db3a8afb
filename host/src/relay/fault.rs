//! Why something could not be done with a server, in the words of an outcome: which status code, and whether another
//! server or a later time may be better.

use super::reply::Reply;
use super::wire::Lost;
use crate::spool::{Failure, Outcome, Reach, one_line};

/// What was about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Banner,
    Hello,
    StartTls,
    Xclient,
    Login,
    Mail,
    Recipient,
    Data,
    Content,
    End,
}

impl Phase {
    /// As it stands in a text.
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Banner => "greeting",
            Phase::Hello => "EHLO",
            Phase::StartTls => "STARTTLS",
            Phase::Xclient => "XCLIENT",
            Phase::Login => "AUTH",
            Phase::Mail => "MAIL",
            Phase::Recipient => "RCPT",
            Phase::Data => "DATA",
            Phase::Content => "the message",
            Phase::End => "the end of the message",
        }
    }
}

/// A server cannot be used, or not for this message.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// Whether it will be so the next time.
    pub(super) permanent: bool,
    /// Whether nothing was heard but the end: of a connection that had waited this says nothing of the server.
    pub(super) silent: bool,
}

impl Fault {
    /// It may go better later.
    pub(super) fn passing(status: &str, text: impl Into<String>) -> Fault {
        Fault { failure: Failure::local(status, text, Reach::Destination), permanent: false, silent: false }
    }

    /// It will not, for this message.
    pub(super) fn lasting(status: &str, text: impl Into<String>) -> Fault {
        Fault { failure: Failure::local(status, text, Reach::Message), permanent: true, silent: false }
    }

    /// It will not, for whom the failure is about.
    pub(super) fn refused(failure: Failure) -> Fault {
        Fault { failure, permanent: true, silent: false }
    }

    /// The connection is gone.
    pub(super) fn lost(server: &str, phase: Phase, lost: &Lost) -> Fault {
        let status = match lost {
            Lost::Closed | Lost::Broken(_) | Lost::Silent(_) | Lost::Slow(_) => "4.4.2",
            Lost::Garbled(_) | Lost::OutOfTurn => "4.5.0",
        };
        let mut fault = Fault::passing(status, format!("{server} at {}: {lost}", phase.name()));
        fault.failure.remote = Some(server.to_owned());
        fault.silent = matches!(lost, Lost::Closed | Lost::Broken(_));
        fault
    }

    /// The server says that it takes nothing now. Whatever its code, a later time may find it otherwise: what is about the
    /// server is no word on the message.
    pub(super) fn turned_away(server: &str, phase: Phase, reply: &Reply) -> Fault {
        let mut failure = refusal(server, phase, reply, Reach::Destination);
        if let Some(rest) = failure.status.strip_prefix('5') {
            failure.status = format!("4{rest}");
        }
        Fault { failure, permanent: false, silent: reply.code == 421 }
    }

    pub(super) fn outcome(self) -> Outcome {
        if self.permanent { Outcome::Failed(self.failure) } else { Outcome::Deferred(self.failure) }
    }
}

/// What a refusal of a message or recipient comes to: 4yz may be tried again, 5yz may not (RFC 5321 section 4.2.1).
pub(super) fn judged(server: &str, phase: Phase, reply: &Reply, reach: Reach) -> Outcome {
    // RFC 5321 section 4.5.3.1.10: 552 at RCPT means 452, unless it says something else itself.
    let too_many = phase == Phase::Recipient && reply.code == 552 && is_too_many(reply);
    if reply.is_permanent() && !too_many {
        return Outcome::Failed(refusal(server, phase, reply, reach));
    }
    // RFC 5321 section 3.8: it says 421 and closes, whatever was asked.
    let reach = if reply.code == 421 { Reach::Destination } else { reach };
    let mut failure = refusal(server, phase, reply, reach);
    if !failure.status.starts_with('4') {
        let rest = failure.status.get(1..).unwrap_or(".0.0").to_owned();
        failure.status = format!("4{rest}");
    }
    Outcome::Deferred(failure)
}

/// Whether a server has had enough recipients in this transaction, and would take more in another.
pub(super) fn is_too_many(reply: &Reply) -> bool {
    matches!(reply.code, 452 | 552) && reply.status().is_none_or(|status| status.ends_with(".5.3"))
}

fn refusal(server: &str, phase: Phase, reply: &Reply, reach: Reach) -> Failure {
    let line = reply.on_one_line();
    Failure {
        status: status(phase, reply),
        text: one_line(&format!("{server} said at {}: {line}", phase.name())),
        remote: Some(server.to_owned()),
        reply: Some(line),
        cause: None,
        reach,
    }
}

/// The reply's own status code, or what its code says at this moment (RFC 3463; RFC 5321 section 4.2.2).
fn status(phase: Phase, reply: &Reply) -> String {
    if let Some(status) = reply.status() {
        return status.to_owned();
    }
    let rest = match (reply.code, phase) {
        (421, _) => "3.2",
        (450 | 550, Phase::Recipient) => "1.1",
        (451, _) => "3.0",
        (452 | 552, Phase::Recipient) => "5.3",
        (452, _) => "3.1",
        (552, _) => "3.4",
        (454 | 530 | 534 | 538, _) => "7.0",
        (432 | 535, _) => "7.8",
        (455 | 555, _) | (501 | 504, _) => "5.4",
        (500 | 502, _) => "5.1",
        (503, _) => "5.1",
        (551, Phase::Recipient) => "1.6",
        (553, Phase::Recipient) => "1.3",
        (553, Phase::Mail) => "1.7",
        (550, _) => "7.1",
        // RFC 7504, RFC 7505.
        (521, _) => "3.2",
        (556, _) => "1.10",
        _ => "0.0",
    };
    let class = if reply.is_permanent() { 5 } else { 4 };
    format!("{class}.{rest}")
}
