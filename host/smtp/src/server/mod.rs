//! The machine: what a session remembers, what may be done to it from outside, and the few effects the verbs share.
//!
//! `advance` finds out what it needs next. What may be said when, and what follows, is in `verb`; how things are written is
//! in `line`, `command` and `body`; what is said is in `reply`. It does not know who answers its questions.

mod advance;

use std::mem;

use self::advance::Due;
use crate::ask::Question;
use crate::line::Input;
use crate::phase::{Phase, Transaction};
use crate::{Envelope, Refusal, Reply, Settings, Step, Tls, reply};

/// One SMTP session, from the greeting to the end. The crate's own page tells how it is run.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    input: Input,
    output: Vec<u8>,
    pub(crate) phase: Phase,
    /// HELO or EHLO was accepted.
    pub(crate) hello: bool,
    /// The transaction that MAIL opened, up to DATA.
    pub(crate) transaction: Option<Transaction>,
    /// TLS began with STARTTLS: no settings can take that back.
    secured: bool,
    /// Connect policy refused the client for good: nothing but QUIT is left.
    locked: bool,
    /// The connection's very first line was taken.
    begun: bool,
    /// [`Step::Turn`] was given for the line that waits.
    turned: bool,
    /// Something was completed since the last [`Step::Read`].
    renewed: bool,
    /// [`Step::Abort`] is due.
    abort: bool,
    /// [`Step::Reset`] is due.
    reset: bool,
    /// To be said, and the connection closed, as soon as no message is under way.
    shut: Option<Refusal>,
    /// A question is with its owner.
    asked: Option<Asked>,
    /// What is said now is an answer of the question's owner.
    answering: bool,
    /// A message was accepted, and its 250 has not left.
    pub(crate) committed: bool,
    /// What the machine itself refused, for whoever keeps a log.
    refusals: Vec<Reply>,
}

/// Refusals kept for the log between two looks at them.
const NOTED: usize = 32;

/// What a question was about, in case it comes back unanswered.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Connect,
    Message,
    Other,
}

impl Server {
    /// A session at its very beginning: the first step is [`Ask::Connect`](crate::Ask::Connect).
    pub fn new(settings: Settings) -> Self {
        Server {
            settings,
            input: Input::default(),
            output: Vec::new(),
            phase: Phase::Greeting,
            hello: false,
            transaction: None,
            secured: false,
            locked: false,
            begun: false,
            turned: false,
            renewed: true,
            abort: false,
            reset: false,
            shut: None,
            asked: None,
            answering: false,
            committed: false,
            refusals: Vec::new(),
        }
    }

    /// What the machine refused by itself since this was last asked, for the log: what policy refuses, its owner knows.
    /// At most 32 are kept.
    pub fn refusals(&mut self) -> Vec<Reply> {
        mem::take(&mut self.refusals)
    }

    /// Takes what the peer sent, after a [`Step::Read`].
    pub fn receive(&mut self, bytes: &[u8]) {
        // A command renews the peer's time when it is answered; of a message, every octet is progress.
        if self.in_body() && !bytes.is_empty() {
            self.renewed = true;
        }
        self.input.receive(bytes);
    }

    /// What the machine needs now.
    pub fn step(&mut self) -> Step<'_> {
        match self.advance() {
            Due::Read(patience) => Step::Read { patience, renewed: mem::take(&mut self.renewed) },
            Due::Write => Step::Write(mem::take(&mut self.output)),
            Due::Turn => Step::Turn,
            Due::Reset => Step::Reset,
            Due::Ask(question) => {
                self.asked = Some(match question {
                    Question::Connect => Asked::Connect,
                    Question::Message { .. } => Asked::Message,
                    _ => Asked::Other,
                });
                Step::Ask(question.put(self))
            }
            Due::Body(content) => Step::Body(content),
            Due::Abort => Step::Abort,
            Due::StartTls => Step::StartTls,
            Due::Close => Step::Close,
        }
    }

    /// The patience of the last [`Step::Read`] ran out: 421 4.4.2, and close.
    pub fn expire(&mut self) {
        self.close(reply::timed_out(&self.settings.hostname).reply());
    }

    /// The peer closed its side: [`Step::Close`] follows. What it had sent of a command or a message is dropped.
    pub fn end_of_input(&mut self) {
        self.abandon_message();
        self.phase = Phase::Closed;
    }

    /// TLS is up. What came in the clear goes: the HELO name, the transaction, all input (RFC 3207 section 4.2). There is
    /// no new greeting.
    pub fn secured(&mut self) {
        self.secured = true;
        self.settings.tls = Tls::Active;
        self.input.clear();
        self.hello = false;
        self.reset();
        self.phase = Phase::Commands;
        self.renewed = true;
    }

    /// Says this in answer to the next command, or at once if none waits, and closes. A message under way is finished
    /// first.
    pub fn shut(&mut self, refusal: Refusal) {
        self.shut = Some(refusal);
    }

    /// Connect policy refused a session that is running already. At [`Step::Turn`], says so in answer to the command that
    /// waits. 421 closes; any other code locks the session, as it would have before the banner.
    pub fn lock(&mut self, refusal: Refusal) {
        if self.turned {
            let _answered_by_the_refusal = self.take_line();
            self.refuse_client(refusal);
        } else if refusal.closes() {
            self.close(refusal.reply());
        } else {
            self.lock_out();
        }
    }

    /// Drops the open transaction, if there is one; [`Step::Reset`] follows then.
    pub fn end_transaction(&mut self) {
        if self.transaction.is_some() {
            self.reset();
        }
    }

    /// What holds for the session.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes what holds for the session, from its next command on; a message under way keeps what it began with.
    /// After [`Server::secured`] TLS is [`Tls::Active`], whatever they say.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        if self.secured {
            self.settings.tls = Tls::Active;
        }
    }

    /// The open transaction, from MAIL to the end of the message.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.phase {
            Phase::Body { transaction, .. }
            | Phase::Received { transaction, .. }
            | Phase::Accepted { transaction, .. } => Some(&transaction.envelope),
            _ => self.transaction.as_ref().map(|transaction| &transaction.envelope),
        }
    }

    /// Whether content is being received.
    pub fn in_body(&self) -> bool {
        matches!(self.phase, Phase::Body { .. })
    }

    /// Whether HELO or EHLO was accepted.
    pub fn said_hello(&self) -> bool {
        self.hello
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.envelope().is_some()
    }

    /// Whether octets wait that have not been used.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Queues a reply.
    pub(crate) fn say(&mut self, reply: &Reply) {
        let own = !mem::take(&mut self.answering);
        if own && reply.code() >= 400 && self.refusals.len() < NOTED {
            self.refusals.push(reply.clone());
        }
        reply.encode(&mut self.output);
        self.renewed = true;
    }

    /// Queues a refusal, and closes behind it if it is one that closes.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if refusal.closes() {
            self.close(refusal.reply());
        } else {
            self.say(refusal.reply());
        }
    }

    /// Says this and closes.
    pub(crate) fn close(&mut self, reply: &Reply) {
        self.abandon_message();
        self.say(reply);
        self.phase = Phase::Closed;
    }

    /// Connect policy refuses the client, in place of the banner or of a reply.
    pub(crate) fn refuse_client(&mut self, refusal: Refusal) {
        if !refusal.closes() {
            self.lock_out();
        }
        self.refuse(refusal);
    }

    /// Ends the transaction's scope.
    pub(crate) fn reset(&mut self) {
        self.transaction = None;
        self.reset = true;
    }

    /// The message whose content was received is not to be kept.
    pub(crate) fn abort(&mut self) {
        self.abort = true;
    }

    /// The question was answered.
    pub(crate) fn answered(&mut self) -> &mut Self {
        self.asked = None;
        self.answering = true;
        self
    }

    fn lock_out(&mut self) {
        self.locked = true;
        self.hello = false;
        self.reset();
    }

    /// A message that was begun, and has not come to its end, comes to none.
    fn abandon_message(&mut self) {
        match mem::take(&mut self.phase) {
            // A faulty one was given up when the fault was found.
            Phase::Body { decoder, .. } => self.abort |= decoder.outcome().is_ok(),
            Phase::Received { .. } | Phase::Accepted { .. } => self.abort = true,
            _ => {}
        }
    }
}
