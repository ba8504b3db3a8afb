//! Verbs that extensions declared. The machine holds their rules; what they mean it does not know.

use crate::command::Command;
use crate::phase::Phase;
use crate::server::Server;
use crate::{Claim, Refusal, Reply, Tls, reply};

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) argument: String,
}

/// The next line of an exchange that the verb `name` opened.
#[derive(Debug)]
pub(crate) struct Continuation {
    pub(crate) name: String,
    pub(crate) line: Vec<u8>,
}

pub(crate) fn check(server: &Server, claim: Claim, command: Command) -> Result<Question, Refusal> {
    // Trust comes before everything else, so that nothing else tells a stranger about the verb.
    if claim == Claim::Closed {
        return Err(reply::insufficient_authorization());
    }
    let tls = server.settings().tls;
    if tls == Tls::Required {
        return Err(reply::tls_first());
    }
    let Claim::Open(rule) = claim else {
        return Err(reply::no_longer_available());
    };
    if rule.only_tls && tls != Tls::Active {
        return Err(reply::tls_first());
    }
    if !rule.before_hello && !server.hello {
        return Err(reply::hello_first(server.settings().protocol));
    }
    if !rule.in_transaction && server.in_transaction() {
        return Err(reply::not_in_transaction());
    }
    // RFC 2920 section 3.1.
    if rule.last_in_group && server.has_input() {
        return Err(reply::not_last_in_group());
    }
    let argument = command.raw_argument().to_owned();
    Ok(Question { name: command.name, argument })
}

/// The final reply. A 3xx would leave the peer waiting to be heard, so it is a failure of whoever gave it.
pub(crate) fn done(server: &mut Server, reply: Reply) {
    if reply.is_intermediate() {
        return server.refuse(reply::extension_failed());
    }
    // 421 closes (RFC 5321 section 3.8).
    match Refusal::try_from(reply.clone()) {
        Ok(refusal) => server.refuse(refusal),
        Err(_) => server.say(&reply),
    }
}

/// An intermediate reply; the next line is `name`'s. Any other would leave the peer not knowing that it is heard.
pub(crate) fn more(server: &mut Server, name: String, reply: &Reply) {
    if !reply.is_intermediate() {
        return server.refuse(reply::extension_failed());
    }
    server.say(reply);
    server.phase = Phase::Resume(name);
}

/// Back to the greeting, as if the connection had just been made. The input stays: commands may wait in it.
pub(crate) fn restart(server: &mut Server, hello_kept: bool) {
    server.hello = hello_kept;
    server.pipelines &= hello_kept;
    server.reset();
    server.phase = Phase::Greeting;
}
