//! The questions that the verbs of extensions put.

use crate::server::Server;
use crate::verb::extension;
use crate::{Envelope, Refusal, Reply};

/// A verb that an extension declared, said where its rule allows.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Verb<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: extension::Question,
}

impl Verb<'_> {
    /// The verb, in upper case.
    pub fn name(&self) -> &str {
        &self.question.name
    }

    /// The rest of the line after one blank, as sent.
    pub fn argument(&self) -> &str {
        &self.question.argument
    }

    /// The open transaction, if there is one.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.server.envelope()
    }

    /// The verb is done. 421 closes; 3xx is no final reply, and 451 4.3.0 is said in its place.
    pub fn done(self, reply: Reply) {
        extension::done(self.server.answered(), reply);
    }

    /// Says this 3xx and waits for one more line, which comes as [`Ask::Resume`](crate::Ask::Resume). Anything but 3xx leaves nothing to
    /// wait for, and 451 4.3.0 is said in its place.
    pub fn more(self, reply: Reply) {
        extension::more(self.server.answered(), self.question.name, &reply);
    }

    /// Back to the greeting: transaction and HELO go, [`Ask::Connect`](crate::Ask::Connect) comes, and its answer is the reply. With
    /// `hello_kept` HELO counts as said, so that MAIL may follow.
    pub fn restart(self, hello_kept: bool) {
        extension::restart(self.server.answered(), hello_kept);
    }

    /// Says this and closes.
    pub fn close(self, refusal: Refusal) {
        self.server.answered().refuse(refusal.closing());
    }

    /// Says this and ends the transaction.
    pub fn abandon(self, refusal: Refusal) {
        let server = self.server.answered();
        server.end_transaction();
        server.refuse(refusal);
    }

    /// The client is refused as at [`Connect::refuse`](crate::ask::Connect::refuse); the transaction ends.
    pub fn lock(self, refusal: Refusal) {
        self.server.answered().refuse_client(refusal);
    }

    /// Says this; nothing else changes.
    pub fn fail(self, refusal: Refusal) {
        self.server.answered().refuse(refusal);
    }
}

/// The line that came after [`Verb::more`].
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Resume<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: extension::Continuation,
}

impl<'a> Resume<'a> {
    /// The verb that opened the exchange, in upper case.
    pub fn name(&self) -> &str {
        &self.question.name
    }

    /// The line, without CRLF. It may be no UTF-8; control characters other than TAB it does not hold.
    pub fn line(&self) -> &[u8] {
        &self.question.line
    }

    /// As [`Verb::envelope`].
    pub fn envelope(&self) -> Option<&Envelope> {
        self.server.envelope()
    }

    /// As [`Verb::done`].
    pub fn done(self, reply: Reply) {
        self.verb().done(reply);
    }

    /// As [`Verb::more`].
    pub fn more(self, reply: Reply) {
        self.verb().more(reply);
    }

    /// As [`Verb::restart`].
    pub fn restart(self, hello_kept: bool) {
        self.verb().restart(hello_kept);
    }

    /// As [`Verb::close`].
    pub fn close(self, refusal: Refusal) {
        self.verb().close(refusal);
    }

    /// As [`Verb::abandon`].
    pub fn abandon(self, refusal: Refusal) {
        self.verb().abandon(refusal);
    }

    /// As [`Verb::lock`].
    pub fn lock(self, refusal: Refusal) {
        self.verb().lock(refusal);
    }

    /// As [`Verb::fail`].
    pub fn fail(self, refusal: Refusal) {
        self.verb().fail(refusal);
    }

    fn verb(self) -> Verb<'a> {
        Verb {
            server: self.server,
            question: extension::Question { name: self.question.name, argument: String::new() },
        }
    }
}
