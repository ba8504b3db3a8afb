//! The questions of a mail transaction, from MAIL to the moment the message is durable.

use crate::phase::{Chunk, Phase, Transaction};
use crate::server::Server;
use crate::verb::{bdat, data, mail, rcpt};
use crate::{Address, Envelope, Parameter, Refusal, Sender};

/// MAIL, at the right moment and well-formed.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Mail<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: mail::Question,
}

impl Mail<'_> {
    /// Who the message is from.
    pub fn sender(&self) -> &Sender {
        &self.question.envelope.sender
    }

    /// All parameters, SIZE and BODY among them.
    pub fn parameters(&self) -> &[Parameter] {
        &self.question.envelope.parameters
    }

    /// The envelope as it will be.
    pub fn envelope(&self) -> &Envelope {
        &self.question.envelope
    }

    /// The whole line, as sent.
    pub fn line(&self) -> &str {
        &self.question.line
    }

    /// The transaction begins.
    pub fn accept(self) {
        mail::proceed(self.server.answered(), self.question);
    }

    /// The transaction begins, and leads nowhere.
    pub fn discard(mut self) {
        self.question.envelope.discard = true;
        self.accept();
    }

    /// No transaction begins.
    pub fn refuse(self, refusal: Refusal) {
        self.server.answered().refuse(refusal);
    }
}

/// RCPT, in a transaction, well-formed, and inside the limit.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0 and the transaction is over"]
#[derive(Debug)]
pub struct Recipient<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: rcpt::Question,
}

impl Recipient<'_> {
    /// Who it is.
    pub fn address(&self) -> &Address {
        &self.question.recipient.address
    }

    /// All parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.question.recipient.parameters
    }

    /// The envelope so far, without this recipient.
    pub fn envelope(&self) -> &Envelope {
        &self.question.transaction.envelope
    }

    /// The whole line, as sent.
    pub fn line(&self) -> &str {
        &self.question.line
    }

    /// The recipient is one of the message's.
    pub fn accept(self) {
        rcpt::proceed(self.server.answered(), self.question);
    }

    /// The same to the peer, but this recipient gets nothing.
    pub fn discard(mut self) {
        self.question.recipient.discard = true;
        self.accept();
    }

    /// The others stay.
    pub fn refuse(self, refusal: Refusal) {
        rcpt::refuse(self.server.answered(), self.question, refusal);
    }
}

/// DATA, or the first BDAT of a message, with at least one recipient.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0 and the transaction is over"]
#[derive(Debug)]
pub struct Data<'a> {
    pub(super) server: &'a mut Server,
    pub(super) transaction: Transaction,
    pub(super) chunk: Option<Chunk>,
}

impl Data<'_> {
    /// "DATA" or "BDAT".
    pub fn verb(&self) -> &'static str {
        if self.chunk.is_some() { "BDAT" } else { "DATA" }
    }

    /// The envelope, complete.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// The content follows. To DATA this says 354.
    pub fn accept(self) {
        let server = self.server.answered();
        match self.chunk {
            Some(chunk) => bdat::proceed(server, chunk, self.transaction),
            None => data::proceed(server, self.transaction),
        }
    }

    /// The same to the peer, but the message leads nowhere.
    pub fn discard(mut self) {
        self.transaction.envelope.discard = true;
        self.accept();
    }

    /// The transaction stays, so that DATA may be said again. After BDAT it is over, for a part of the message is lost.
    pub fn refuse(self, refusal: Refusal) {
        let server = self.server.answered();
        match self.chunk {
            Some(chunk) => bdat::refuse(server, chunk, &self.transaction, refusal),
            None => {
                server.transaction = Some(self.transaction);
                server.refuse(refusal);
            }
        }
    }
}

/// The message is in, well-formed and inside the limits; nothing was said about it yet.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0 and the transaction is over"]
#[derive(Debug)]
pub struct Message<'a> {
    pub(super) server: &'a mut Server,
    pub(super) size: u64,
    pub(super) transaction: Transaction,
}

impl Message<'_> {
    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// Octets of the content, as handed over in [`Step::Body`](crate::Step::Body).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// [`Ask::Commit`](crate::Ask::Commit) follows.
    pub fn accept(self) {
        self.server.answered().phase = Phase::Accepted { size: self.size, transaction: self.transaction };
    }

    /// The same, but the message leads nowhere.
    pub fn discard(mut self) {
        self.transaction.envelope.discard = true;
        self.accept();
    }

    /// The transaction is over; [`Step::Abort`](crate::Step::Abort) follows.
    pub fn refuse(self, refusal: Refusal) {
        let server = self.server.answered();
        let replies = server.replies(&self.transaction);
        server.abort();
        server.refuse_message(refusal, replies);
    }
}

/// The message is accepted, and to be made durable before the peer is told. Of a message that is to be discarded nothing
/// is kept, and the peer is told the same.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0 and the transaction is over"]
#[derive(Debug)]
pub struct Commit<'a> {
    pub(super) server: &'a mut Server,
    pub(super) size: u64,
    pub(super) transaction: Transaction,
}

impl Commit<'_> {
    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// Octets of the content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// It is durable. The transaction is over. In LMTP each recipient gets its reply.
    pub fn done(self, id: &str) {
        data::committed(self.server.answered(), &self.transaction, id);
    }

    /// It is durable, for those recipients for whom nothing is said here, each at the place it has in the envelope. The
    /// transaction is over. In LMTP each gets its own reply (RFC 2033 section 4.2); SMTP has one for all of them, and
    /// says what [`Commit::done`] says.
    pub fn done_each(self, id: &str, refusals: &[Option<Refusal>]) {
        data::committed_each(self.server.answered(), &self.transaction, id, refusals);
    }

    /// It is not. The transaction is over.
    pub fn failed(self, refusal: Refusal) {
        let replies = self.server.replies(&self.transaction);
        self.server.answered().refuse_message(refusal, replies);
    }
}
