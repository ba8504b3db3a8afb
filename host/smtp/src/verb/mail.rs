//! MAIL (RFC 5321 section 4.1.1.2).

use crate::command::Command;
use crate::parameter;
use crate::phase::Transaction;
use crate::server::Server;
use crate::{AddressError, Envelope, Refusal, address, reply};

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) line: String,
    /// The envelope as it will be, if the sender is accepted.
    pub(crate) envelope: Envelope,
    /// The priority the message has instead of the one that was asked for.
    lowered_to: Option<i8>,
}

pub(crate) fn check(server: &Server, command: Command) -> Result<Question, Refusal> {
    if !server.hello {
        return Err(reply::hello_first(server.settings().protocol));
    }
    // RFC 5321 section 4.1.4: mail transactions do not nest.
    if server.in_transaction() {
        return Err(reply::mail_already_given());
    }
    let bad_syntax = || reply::bad_syntax("MAIL FROM:<address>");
    let (path, rest) = command.argument_after("FROM:").and_then(address::split_path).ok_or_else(bad_syntax)?;
    let settings = server.settings();
    let utf8 = settings.keywords.offers_smtputf8() && parameter::says_smtputf8(rest);
    let sender = address::sender_of_path(path, utf8).map_err(|error| match error {
        AddressError::NonAscii => reply::non_ascii_address(),
        AddressError::Syntax | AddressError::TooLong => reply::bad_sender(),
    })?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(bad_syntax());
    }
    let (parameters, declared) = parameter::of_mail(rest, settings)?;
    server.tally.has_room_for_message(&settings.limits)?;
    let envelope = Envelope {
        sender,
        parameters,
        body: declared.body,
        size: declared.size,
        smtputf8: declared.smtputf8,
        recipients: Vec::new(),
        discard: false,
    };
    Ok(Question { line: command.line, envelope, lowered_to: declared.lowered_to })
}

pub(crate) fn proceed(server: &mut Server, question: Question) {
    server.tally.message();
    server.transaction = Some(Transaction { envelope: question.envelope, recipient_refused: false, content: None });
    server.say(&question.lowered_to.map_or_else(reply::mail_accepted, reply::mail_accepted_with_priority));
}
