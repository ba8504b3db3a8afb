//! DATA, and what follows the end of the content (RFC 5321 section 4.1.1.4).

use crate::body::{Decoder, Fault};
use crate::command::Command;
use crate::phase::{Phase, Transaction};
use crate::server::Server;
use crate::{Refusal, reply};

/// The transaction goes into the question, and back to the machine with the answer.
pub(crate) fn check(server: &mut Server, command: &Command) -> Result<Transaction, Refusal> {
    command.without_argument()?;
    let Some(transaction) = server.transaction.take() else {
        return Err(reply::mail_first());
    };
    if transaction.envelope.recipients.is_empty() {
        let refusal = match transaction.recipient_refused {
            true => reply::no_valid_recipients(),
            false => reply::recipient_first(),
        };
        server.transaction = Some(transaction);
        return Err(refusal);
    }
    Ok(transaction)
}

pub(crate) fn proceed(server: &mut Server, transaction: Transaction) {
    let settings = server.settings();
    let decoder = Decoder::new(settings.limits.message_size, settings.stray_newlines);
    server.phase = Phase::Body { decoder, transaction };
    server.say(&reply::send_content());
}

/// The end of the content was reached.
pub(crate) fn end(server: &mut Server, decoder: &Decoder, transaction: Transaction) {
    match decoder.outcome() {
        Ok(size) => server.phase = Phase::Received { size, transaction },
        Err(Fault::StrayNewline) => server.refuse(reply::stray_newline()),
        Err(Fault::TooLarge) => server.refuse(reply::too_large()),
    }
}
