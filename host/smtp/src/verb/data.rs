//! DATA, and what follows the end of a message (RFC 5321 section 4.1.1.4).

use crate::body::Decoder;
use crate::command::Command;
use crate::content::{Content, Fault};
use crate::phase::{Phase, Transaction};
use crate::server::Server;
use crate::{Body, Protocol, Refusal, reply};

/// The transaction goes into the question, and back to the machine with the answer.
pub(crate) fn check(server: &mut Server, command: &Command) -> Result<Transaction, Refusal> {
    command.without_argument()?;
    let Some(transaction) = server.transaction.take() else {
        return Err(reply::mail_first());
    };
    match refusal(&transaction, server.settings().protocol) {
        None => Ok(transaction),
        Some(refusal) => {
            server.transaction = Some(transaction);
            Err(refusal)
        }
    }
}

pub(crate) fn proceed(server: &mut Server, transaction: Transaction) {
    let decoder = Decoder::new(Content::new(server.settings(), transaction.envelope.body));
    server.phase = Phase::Body { decoder, transaction };
    server.say(&reply::send_content());
}

/// The end of the content was reached.
pub(crate) fn end(server: &mut Server, outcome: Result<u64, Fault>, transaction: Transaction) {
    match outcome {
        Ok(size) => server.phase = Phase::Received { size, transaction },
        Err(fault) => {
            let replies = server.replies(&transaction);
            server.refuse_message(fault.refusal(), replies);
        }
    }
}

/// The message is durable.
pub(crate) fn committed(server: &mut Server, transaction: &Transaction, id: &str) {
    committed_each(server, transaction, id, &[]);
}

/// The message is durable for some of its recipients. In LMTP, where it may be so for none, those others hear why not.
pub(crate) fn committed_each(server: &mut Server, transaction: &Transaction, id: &str, refusals: &[Option<Refusal>]) {
    let mut accepted = true;
    match server.settings().protocol {
        Protocol::Smtp => server.say(&reply::message_accepted(id)),
        // RFC 2033 section 4.2.
        Protocol::Lmtp => {
            accepted = false;
            for (index, recipient) in transaction.envelope.recipients.iter().enumerate() {
                match refusals.get(index) {
                    Some(Some(refusal)) => server.say(refusal.reply()),
                    Some(None) | None => {
                        accepted = true;
                        server.say(&reply::message_accepted_for(&recipient.address, id));
                    }
                }
            }
        }
    }
    if accepted {
        server.tally.message_accepted();
    }
    server.committed = true;
}

fn refusal(transaction: &Transaction, protocol: Protocol) -> Option<Refusal> {
    if transaction.content.is_some() {
        return Some(reply::not_with_chunks());
    }
    if transaction.envelope.recipients.is_empty() {
        // RFC 2033 section 4.2 knows 503 only.
        return Some(match transaction.recipient_refused && protocol == Protocol::Smtp {
            true => reply::no_valid_recipients(),
            false => reply::recipient_first(),
        });
    }
    // RFC 3030 section 3.
    (transaction.envelope.body == Body::BinaryMime).then(reply::only_with_chunks)
}
