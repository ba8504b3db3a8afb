//! RCPT (RFC 5321 section 4.1.1.3).

use crate::command::Command;
use crate::parameter;
use crate::phase::Transaction;
use crate::server::Server;
use crate::{AddressError, EnvelopeRecipient, Refusal, address, reply};

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) line: String,
    pub(crate) recipient: EnvelopeRecipient,
    /// What the recipient is to be added to. It goes back to the machine with the answer.
    pub(crate) transaction: Transaction,
}

pub(crate) fn check(server: &mut Server, command: Command) -> Result<Question, Refusal> {
    let Some(transaction) = server.transaction.take() else {
        return Err(reply::mail_first());
    };
    // Its message has begun (RFC 3030 section 2).
    if transaction.content.is_some() {
        server.transaction = Some(transaction);
        return Err(reply::not_with_chunks());
    }
    match parse(server, &transaction, &command) {
        Ok(recipient) => Ok(Question { line: command.line, recipient, transaction }),
        Err(refusal) => {
            server.transaction = Some(Transaction { recipient_refused: true, ..transaction });
            Err(refusal)
        }
    }
}

pub(crate) fn proceed(server: &mut Server, question: Question) {
    let mut transaction = question.transaction;
    transaction.envelope.recipients.push(question.recipient);
    server.tally.recipient();
    server.transaction = Some(transaction);
    server.say(&reply::recipient_accepted());
}

pub(crate) fn refuse(server: &mut Server, question: Question, refusal: Refusal) {
    server.transaction = Some(Transaction { recipient_refused: true, ..question.transaction });
    server.refuse(refusal);
}

fn parse(server: &Server, transaction: &Transaction, command: &Command) -> Result<EnvelopeRecipient, Refusal> {
    let bad_syntax = || reply::bad_syntax("RCPT TO:<address>");
    let envelope = &transaction.envelope;
    let (path, rest) = command.argument_after("TO:").and_then(address::split_path).ok_or_else(bad_syntax)?;
    let address = address::recipient_of_path(path, envelope.smtputf8).map_err(|error| match error {
        AddressError::NonAscii => reply::non_ascii_address(),
        AddressError::Syntax | AddressError::TooLong => reply::bad_recipient(),
    })?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(bad_syntax());
    }
    let settings = server.settings();
    let parameters = parameter::of_recipient(rest, settings, envelope.smtputf8)?;
    server.tally.has_room_for_recipient(&settings.limits, envelope.recipients.len())?;
    Ok(EnvelopeRecipient { address, parameters, discard: false })
}
