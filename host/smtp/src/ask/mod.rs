//! The questions the machine stops at. Each tells what it is about, and its answer consumes it, so that nothing is answered
//! twice, nor too late; each takes only the answers that make sense for it.
//!
//! The machine does not know who answers, nor how long it takes.

mod auth;
mod transaction;
mod verb;

pub use self::auth::{Auth, Response};
pub use self::transaction::{Commit, Data, Mail, Message, Recipient};
pub use self::verb::{Resume, Verb};
use crate::Refusal;
use crate::phase::{Chunk, Transaction};
use crate::server::Server;
use crate::verb::{self as verbs, extension, hello, mail, rcpt};

/// A question to policy, or to the spool.
#[derive(Debug)]
pub enum Ask<'a> {
    /// May this client use the server?
    Connect(Connect<'a>),
    /// HELO, EHLO or LHLO.
    Hello(Hello<'a>),
    /// AUTH.
    Auth(Auth<'a>),
    /// The client's answer to a challenge of AUTH.
    Response(Response<'a>),
    /// A verb that an extension declared.
    Verb(Verb<'a>),
    /// The next line of an exchange that such a verb opened.
    Resume(Resume<'a>),
    /// MAIL.
    Mail(Mail<'a>),
    /// RCPT.
    Recipient(Recipient<'a>),
    /// DATA, before 354, or the first BDAT of a message.
    Data(Data<'a>),
    /// The message is in, well-formed and inside the limits.
    Message(Message<'a>),
    /// The message is accepted: it is to be made durable.
    Commit(Commit<'a>),
}

/// A question before it is put.
#[derive(Debug)]
pub(crate) enum Question {
    Connect,
    Hello(hello::Question),
    Auth(verbs::auth::Question),
    Response(verbs::auth::Question),
    Verb(extension::Question),
    Resume(extension::Continuation),
    Mail(mail::Question),
    Recipient(rcpt::Question),
    /// With the chunk, if it is BDAT's.
    Data {
        transaction: Transaction,
        chunk: Option<Chunk>,
    },
    Message {
        size: u64,
        transaction: Transaction,
    },
    Commit {
        size: u64,
        transaction: Transaction,
    },
}

impl Question {
    pub(crate) fn put(self, server: &mut Server) -> Ask<'_> {
        match self {
            Question::Connect => Ask::Connect(Connect { server }),
            Question::Hello(question) => Ask::Hello(Hello { server, question }),
            Question::Auth(question) => Ask::Auth(Auth { server, question }),
            Question::Response(question) => Ask::Response(Response { server, question }),
            Question::Verb(question) => Ask::Verb(Verb { server, question }),
            Question::Resume(question) => Ask::Resume(Resume { server, question }),
            Question::Mail(question) => Ask::Mail(Mail { server, question }),
            Question::Recipient(question) => Ask::Recipient(Recipient { server, question }),
            Question::Data { transaction, chunk } => Ask::Data(Data { server, transaction, chunk }),
            Question::Message { size, transaction } => Ask::Message(Message { server, size, transaction }),
            Question::Commit { size, transaction } => Ask::Commit(Commit { server, size, transaction }),
        }
    }
}

/// May this client use the server? Asked before the banner, and again when a verb leads back to the greeting.
#[must_use = "the peer waits; dropped, it is told 421 4.3.0"]
#[derive(Debug)]
pub struct Connect<'a> {
    server: &'a mut Server,
}

impl Connect<'_> {
    /// Says `220`, a blank, and `banner`; to a client that did not wait for it and had to, 421 4.7.0, and closes.
    pub fn accept(self, banner: &str) {
        self.server.answered().greet(banner);
    }

    /// 421 closes. After any other refusal the session is locked: 503 5.7.0 to everything but QUIT (RFC 5321 section 3.1).
    pub fn refuse(self, refusal: Refusal) {
        self.server.answered().refuse_client(refusal);
    }
}

/// HELO, EHLO or LHLO, with an argument of the right form.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Hello<'a> {
    server: &'a mut Server,
    question: hello::Question,
}

impl Hello<'_> {
    /// "HELO", "EHLO" or "LHLO".
    pub fn verb(&self) -> &str {
        self.question.verb
    }

    /// The argument, as given.
    pub fn domain(&self) -> &str {
        &self.question.domain
    }

    /// The whole line, as sent.
    pub fn line(&self) -> &str {
        &self.question.line
    }

    /// Greets `client`. To EHLO and LHLO the machine shows its own keywords, then `keywords`, each with its parameters.
    pub fn accept(self, client: &str, keywords: &[String]) {
        hello::proceed(self.server.answered(), self.question, client, keywords);
    }

    /// Nothing changes but what the peer hears.
    pub fn refuse(self, refusal: Refusal) {
        self.server.answered().refuse(refusal);
    }
}
