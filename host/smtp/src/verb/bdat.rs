//! BDAT (RFC 3030 section 2): content in chunks of a size that is told beforehand.
//!
//! Whatever is said of one, its octets follow it, and are used up before the reply: else they would be read as commands.

use crate::ask::Question;
use crate::command::Command;
use crate::content::{self, Content};
use crate::phase::{Chunk, Fate, Phase, Transaction};
use crate::server::Server;
use crate::{Protocol, Refusal, Tls, reply};

/// `BDAT size [LAST]`. Of anything else nobody knows where it ends.
pub(crate) fn parse(command: &Command) -> Result<Chunk, Refusal> {
    let mut words = command.argument().split([' ', '\t']).filter(|word| !word.is_empty());
    let size = words.next().filter(|word| word.bytes().all(|octet| octet.is_ascii_digit()));
    let size: u64 = size.and_then(|size| size.parse().ok()).ok_or_else(reply::bad_chunk)?;
    let last = match (words.next(), words.next()) {
        (None, None) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(reply::bad_chunk()),
    };
    Ok(Chunk { size, left: size, last })
}

/// The question is put before the first chunk is taken; every further one goes to the same message.
pub(crate) fn check(server: &mut Server, chunk: Chunk) -> Option<Question> {
    let settings = server.settings();
    let protocol = settings.protocol;
    // A message under way keeps what it began with.
    let begun = server.transaction.as_ref().is_some_and(|transaction| transaction.content.is_some());
    let refusal = if server.is_locked() {
        reply::locked()
    } else if settings.tls == Tls::Required && !begun {
        reply::tls_first()
    } else if !settings.keywords.chunking && !begun {
        reply::not_implemented()
    } else {
        match server.transaction.take() {
            None => reply::mail_first(),
            Some(Transaction { envelope, recipient_refused, .. }) if envelope.recipients.is_empty() => {
                // The chunk is lost, so what it was a part of cannot become a message any more.
                server.reset();
                match recipient_refused && protocol == Protocol::Smtp {
                    true => reply::no_valid_recipients(),
                    false => reply::recipient_first(),
                }
            }
            Some(mut transaction) => match transaction.content.take() {
                Some(content) => {
                    take(server, chunk, content, transaction);
                    return None;
                }
                None => return Some(Question::Data { transaction, chunk: Some(chunk) }),
            },
        }
    };
    swallow(server, chunk, refusal, 1, false);
    None
}

/// Policy lets the message begin.
pub(crate) fn proceed(server: &mut Server, chunk: Chunk, transaction: Transaction) {
    let content = Content::new(server.settings(), transaction.envelope.body);
    take(server, chunk, content, transaction);
}

/// Policy does not. The chunk is lost, and with it the message.
pub(crate) fn refuse(server: &mut Server, chunk: Chunk, transaction: &Transaction, refusal: Refusal) {
    let replies = if chunk.last { server.replies(transaction) } else { 1 };
    server.reset();
    swallow(server, chunk, refusal, replies, true);
}

/// The same of a line that was not looked at yet.
pub(crate) fn refuse_line(server: &mut Server, line: Vec<u8>, refusal: Refusal) {
    match Command::parse(line).and_then(|command| parse(&command)) {
        Ok(chunk) => swallow(server, chunk, refusal, 1, true),
        Err(_) => server.refuse(reply::bad_chunk()),
    }
}

/// Uses the chunk up, then says this so often; at once, if that would take too long.
pub(crate) fn swallow(server: &mut Server, chunk: Chunk, refusal: Refusal, replies: usize, policy: bool) {
    if refusal.closes() || content::is_beyond_patience(&server.settings().limits, chunk.left) {
        server.refuse_each(refusal.closing(), replies);
    } else {
        server.phase = Phase::Chunk { chunk, fate: Fate::Refused { refusal, replies, policy } };
    }
}

/// The chunk is in.
pub(crate) fn end(server: &mut Server, chunk: Chunk, content: Content, mut transaction: Transaction) {
    match content.outcome() {
        Err(fault) => {
            let replies = if chunk.last { server.replies(&transaction) } else { 1 };
            server.refuse_message(fault.refusal(), replies);
        }
        Ok(size) if chunk.last => server.phase = Phase::Received { size, transaction },
        Ok(_) => {
            transaction.content = Some(content);
            server.transaction = Some(transaction);
            server.say(&reply::chunk_received(chunk.size));
        }
    }
}

fn take(server: &mut Server, chunk: Chunk, mut content: Content, transaction: Transaction) {
    content.announce(chunk.size);
    match content.outcome() {
        Ok(_) => {}
        Err(fault) => {
            server.abort();
            if content.would_exhaust(chunk.size) {
                return server.refuse(fault.refusal().closing());
            }
        }
    }
    server.phase = Phase::Chunk { chunk, fate: Fate::Taken { content, transaction } };
}
