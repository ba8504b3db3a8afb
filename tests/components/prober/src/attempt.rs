//! One attempt, written `INTERFACE.FUNCTION ARGUMENT …`, and how it went: `ok`, `ok VALUE`, or the kind of error.
//!
//! A few arguments are words for what cannot be written in a command line: `CRLF`, `LONG` (40,000 octets). `why` is what
//! the denial before it said.
#![allow(clippy::panic, reason = "one of the attempts is a panic")]

use std::cell::RefCell;
use std::fmt::Debug;

use pillarbox_sdk::{
    Entry, Error, Scope, advertise, authentication, context_read, context_write, declare, envelope_read, identity,
    message_read, printable, session, state,
};

thread_local! {
    /// What the last denial said.
    static DENIAL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Tries it.
pub fn attempt(attempt: &str) -> String {
    let mut words = attempt.split_ascii_whitespace();
    let what = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.map(spelled).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let scope = || if argument(0) == "message" { Scope::Message } else { Scope::Connection };
    match what {
        "panic" => panic!("on purpose"),
        "why" => printable(&DENIAL.take()),
        "session.id" => said(session::id().map(|id| id.len())),
        "session.listener" => said(session::listener()),
        "session.peer" => said(session::peer().map(|peer| peer.address)),
        "session.client" => said(session::client().map(|client| client.endpoint.address)),
        "session.helo" => said(session::client().map(|client| client.helo)),
        "session.destination" => said(session::destination().map(|end| end.address)),
        "session.tls" => said(session::tls().map(|tls| tls.is_some())),
        "session.authentication" => said(session::authentication().map(|login| login.map(|login| login.user))),
        "session.phase" => said(session::phase()),
        "identity.settable" => said(identity::settable()),
        "identity.set-addr" => done(identity::set_addr(Some(argument(0)))),
        "identity.set-port" => done(identity::set_port(argument(0).parse().ok())),
        "identity.set-name" => done(identity::set_name(&session::HostName::Known(argument(0).to_owned()))),
        "identity.set-helo" => done(identity::set_helo(Some(argument(0)))),
        "identity.set-proto" => done(identity::set_proto(argument(0))),
        "identity.set-login" => done(identity::set_login(Some(argument(0)))),
        "identity.set-destaddr" => done(identity::set_destaddr(Some(argument(0)))),
        "identity.set-destport" => done(identity::set_destport(argument(0).parse().ok())),
        "context-read.get" => said(context_read::get(scope(), argument(1))),
        "context-read.entries" => said(context_read::entries(scope()).map(|entries| {
            entries.into_iter().map(|entry| format!("{}={}", entry.name, entry.value)).collect::<Vec<_>>()
        })),
        "context-write.set" => done(context_write::set(scope(), argument(1), argument(2))),
        "context-write.set-all" => done(context_write::set_all(scope(), &entries(arguments.get(1..)))),
        "context-write.unset" => done(context_write::unset(scope(), argument(1))),
        "context-write.fill" => done(fill(scope())),
        "context-write.flood" => flood(),
        "authentication.allow" => done(authentication::allow(argument(0))),
        "authentication.forbid" => done(authentication::forbid()),
        "envelope-read.sender" => said(envelope_read::sender()),
        "envelope-read.recipients" => said(envelope_read::recipients()),
        "envelope-read.parameters" => said(envelope_read::parameters().map(|given| given.len())),
        "message-read.size" => said(message_read::size()),
        "message-read.headers" => said(
            message_read::headers().map(|headers| headers.into_iter().map(|header| header.name).collect::<Vec<_>>()),
        ),
        "message-read.header-values" => said(message_read::header_values(argument(0)).map(|values| values.len())),
        "message-read.read" => said(message_read::read(0, 10).map(|octets| octets.len())),
        "message-read.find" => said(message_read::find(argument(0).as_bytes(), 0).map(|at| at.is_some())),
        "state.set" => done(state::set(scope(), argument(1), argument(2).as_bytes())),
        "state.get" => said(state::get(scope(), argument(1)).map(|value| value.map(|octets| octets.len()))),
        "advertise.show" => done(advertise::show(argument(0), arguments.get(1).map(String::as_str))),
        "advertise.hide" => done(advertise::hide(argument(0))),
        "declare.keyword" => done(declare::keyword(argument(0), None)),
        _ => "there is no such attempt".to_owned(),
    }
}

fn spelled(word: &str) -> String {
    match word {
        "CRLF" => "a\r\n250 b".to_owned(),
        "NUL" => "a\0b".to_owned(),
        "C1" => "a\u{85}b".to_owned(),
        "EMPTY" => String::new(),
        "LONG" => "x".repeat(40_000),
        word => word.to_owned(),
    }
}

fn entries(pairs: Option<&[String]>) -> Vec<Entry> {
    let pair = |pair: &String| {
        let (name, value) = pair.split_once('=')?;
        Some(Entry { name: name.to_owned(), value: value.to_owned() })
    };
    pairs.unwrap_or_default().iter().filter_map(pair).collect()
}

/// Sets names until the host has had enough.
fn fill(scope: Scope) -> Result<(), Error> {
    (0..1_000).try_for_each(|number| context_write::set(scope, &format!("n{number}"), "x"))
}

/// Sets a name again and again, and says how often that was denied.
fn flood() -> String {
    let denied = (0..5_000)
        .filter(|_| matches!(context_write::set(Scope::Connection, "flood", "x"), Err(Error::Denied(_))))
        .count();
    format!("denied {denied}")
}

fn said<T: Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => printable(&format!("ok {value:?}")),
        Err(error) => failed(error),
    }
}

fn done(result: Result<(), Error>) -> String {
    result.map_or_else(failed, |()| "ok".to_owned())
}

fn failed(error: Error) -> String {
    match error {
        Error::Denied(why) => {
            DENIAL.set(why);
            "denied".to_owned()
        }
        Error::Invalid(_) => "invalid".to_owned(),
        Error::Limit(_) => "limit".to_owned(),
        Error::Unavailable(_) => "unavailable".to_owned(),
        Error::Failed(_) => "failed".to_owned(),
    }
}
