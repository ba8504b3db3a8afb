//! The machine: what a session remembers, what may be done to it from outside, and the few effects the verbs share.
//!
//! `advance` finds out what it needs next. What may be said when, and what follows, is in `verb`; how things are written is
//! in `line`, `command` and `body`; what is said is in `reply`. It does not know who answers its questions.

mod advance;
mod intake;
mod speech;

use std::mem;

use self::advance::Due;
use crate::ask::Question;
use crate::line::Input;
use crate::phase::{Chunk, Fate, Phase, Transaction};
use crate::tally::Tally;
use crate::verb::bdat;
use crate::{Envelope, Expiry, Refusal, Reply, Settings, Step, Tls, reply};

/// One SMTP session, from the greeting to the end. The crate's own page tells how it is run.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    input: Input,
    output: Vec<u8>,
    pub(crate) phase: Phase,
    /// HELO, EHLO or LHLO was accepted.
    pub(crate) hello: bool,
    /// PIPELINING was announced to the client.
    pub(crate) pipelines: bool,
    /// The banner was said.
    greeted: bool,
    pub(crate) tally: Tally,
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
    refusals: Vec<Noted>,
    /// [`Step::Tarpit`] was given: what it was for is written next.
    tarpitted: bool,
}

/// What the machine refused by itself, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// What was said.
    pub reply: Reply,
    /// The limit that the peer ran into, if it is for that: the key that it has in the configuration.
    pub limit: Option<&'static str>,
}

/// Refusals kept for the log between two looks at them.
const NOTED: usize = 32;

/// What a question was about, in case it comes back unanswered.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Connect,
    /// The first chunk, and how many replies it gets.
    Chunk(Chunk, usize),
    /// How many replies the message gets.
    Message(usize),
    Commit(usize),
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
            pipelines: false,
            greeted: false,
            tally: Tally::default(),
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
            tarpitted: false,
        }
    }

    /// What the machine refused by itself since this was last asked, for the log: what policy refuses, its owner knows.
    /// At most 32 are kept.
    pub fn refusals(&mut self) -> Vec<Noted> {
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
        if mem::take(&mut self.tarpitted) {
            return Step::Write(mem::take(&mut self.output));
        }
        match self.advance() {
            Due::Read(patience) => Step::Read { patience, renewed: mem::take(&mut self.renewed) },
            Due::Write => match self.tally.take_tarpitted() {
                0 => Step::Write(mem::take(&mut self.output)),
                errors => {
                    self.tarpitted = true;
                    Step::Tarpit(errors)
                }
            },
            Due::Turn => Step::Turn,
            Due::Reset => Step::Reset,
            Due::Ask(question) => {
                self.asked = Some(self.about(&question));
                Step::Ask(question.put(self))
            }
            Due::Body(content) => Step::Body(content),
            Due::Abort => Step::Abort,
            Due::StartTls => Step::StartTls,
            Due::Close => Step::Close,
        }
    }

    /// The peer's time ran out, by the patience of the last [`Step::Read`] or by a longer reckoning: 421 4.4.2, and close.
    pub fn expire(&mut self, why: Expiry) {
        self.refuse(reply::expired(why, &self.settings.hostname));
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
        self.pipelines = false;
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
            match self.take_line(self.line_limit()) {
                Some(Ok(line)) if crate::command::is_bdat(&line) && !refusal.closes() => {
                    self.lock_out();
                    bdat::refuse_line(self, line, refusal);
                }
                _ => self.refuse_client(refusal),
            }
        } else if refusal.closes() {
            self.refuse(refusal);
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
            | Phase::Chunk { fate: Fate::Taken { transaction, .. }, .. }
            | Phase::Received { transaction, .. }
            | Phase::Accepted { transaction, .. } => Some(&transaction.envelope),
            _ => self.transaction.as_ref().map(|transaction| &transaction.envelope),
        }
    }

    /// Whether content is being received: DATA's, or a chunk, be it one that is not wanted.
    pub fn in_body(&self) -> bool {
        matches!(self.phase, Phase::Body { .. } | Phase::Chunk { .. })
    }

    /// Whether HELO or EHLO was accepted.
    pub fn said_hello(&self) -> bool {
        self.hello
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.envelope().is_some()
    }

    /// Whether a message was begun, by DATA's 354 or by the first chunk, and has not come to its end: it is finished whatever
    /// else happens, as long as the peer goes on.
    pub fn in_message(&self) -> bool {
        self.is_in_message()
    }

    /// Whether octets wait that have not been used.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Ends the transaction's scope, and with it what BDAT has begun.
    pub(crate) fn reset(&mut self) {
        let begun = self.transaction.take().is_some_and(|transaction| transaction.content.is_some());
        self.abort |= begun;
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

    /// How many replies the end of this transaction's message gets.
    pub(crate) fn replies(&self, transaction: &Transaction) -> usize {
        transaction.replies(self.settings.protocol)
    }

    /// Connect policy let the client in: the banner, unless the client did not wait for it.
    pub(crate) fn greet(&mut self, banner: &str) {
        let early = !mem::replace(&mut self.greeted, true) && self.has_input();
        if early && self.settings.refuse_early_talk {
            self.answering = false;
            self.refuse(reply::early_talk());
        } else {
            self.say(&reply::banner(banner));
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// What is said next is policy's, or the machine's own.
    fn speak_for_policy(&mut self, policy: bool) {
        self.answering = policy;
    }

    fn about(&self, question: &Question) -> Asked {
        match question {
            Question::Connect => Asked::Connect,
            Question::Data { transaction, chunk: Some(chunk) } => {
                Asked::Chunk(*chunk, if chunk.last { self.replies(transaction) } else { 1 })
            }
            Question::Message { transaction, .. } => Asked::Message(self.replies(transaction)),
            Question::Commit { transaction, .. } => Asked::Commit(self.replies(transaction)),
            _ => Asked::Other,
        }
    }

    fn lock_out(&mut self) {
        self.locked = true;
        self.hello = false;
        self.reset();
    }

    /// A message that was begun, and has not come to its end, comes to none.
    pub(crate) fn abandon_message(&mut self) {
        let begun = match mem::take(&mut self.phase) {
            // A faulty one was given up when the fault was found.
            Phase::Body { decoder, .. } => decoder.content().outcome().is_ok(),
            Phase::Chunk { fate: Fate::Taken { content, .. }, .. } => content.outcome().is_ok(),
            Phase::Received { .. } | Phase::Accepted { .. } => true,
            _ => self.transaction.as_mut().is_some_and(|transaction| transaction.content.take().is_some()),
        };
        self.abort |= begun;
    }
}
