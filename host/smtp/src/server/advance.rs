//! The way of the machine: from what it holds to what it needs next, one command line after the other.
//!
//! It dispatches, and knows of a verb only which file is its.

use std::mem;

use super::{Asked, Server};
use crate::ask::Question;
use crate::command::{self, Command, Verb};
use crate::line::TooLong;
use crate::phase::Phase;
use crate::{Auth, Patience, Refusal, Tls, reply, verb};

/// Octets of replies that are collected before they are written, though input remains.
const GROUP: usize = 16 * 1024;

/// Octets of a line that belongs to AUTH, CRLF included (RFC 4954 section 4).
const AUTHENTICATION: usize = 12_288;

/// What `advance` found to do: a step that borrows nothing yet.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of a loop, and a box would be made for each command"
)]
pub(super) enum Due {
    Read(Patience),
    Write,
    Turn,
    Reset,
    Ask(Question),
    Body(Vec<u8>),
    Abort,
    StartTls,
    Close,
}

impl Server {
    pub(super) fn advance(&mut self) -> Due {
        self.fail_unanswered();
        self.answering = false;
        loop {
            if self.output.len() > GROUP {
                return Due::Write;
            }
            if mem::take(&mut self.abort) {
                return Due::Abort;
            }
            if mem::take(&mut self.reset) {
                return Due::Reset;
            }
            if !self.is_in_message()
                && let Some(refusal) = self.shut.take()
            {
                self.refuse(refusal.closing());
            }
            match mem::take(&mut self.phase) {
                Phase::Greeting => return Due::Ask(Question::Connect),
                Phase::Commands => {
                    let limit = self.line_limit();
                    if !self.input.has_line(limit) {
                        return self.read(Patience::Command);
                    }
                    // A message's 250 leaves before the next command is looked at: whoever waits for it, inside or
                    // outside, waits for nothing else.
                    if mem::take(&mut self.committed) && !self.output.is_empty() {
                        return Due::Write;
                    }
                    if !mem::replace(&mut self.turned, true) {
                        return Due::Turn;
                    }
                    if let Some(question) = self.take_line(limit).and_then(|line| self.obey(line)) {
                        return Due::Ask(question);
                    }
                }
                Phase::Resume(name) => {
                    if !self.input.has_line(self.settings.limits.command_line) {
                        self.phase = Phase::Resume(name);
                        return self.read(Patience::Command);
                    }
                    match self.take_line(self.settings.limits.command_line) {
                        Some(Ok(_)) if self.is_worn_out() => self.refuse(reply::too_many_commands()),
                        Some(Ok(line)) if !command::has_control(&line) => {
                            return Due::Ask(Question::Resume(verb::extension::Continuation { name, line }));
                        }
                        Some(Ok(_)) => self.refuse(reply::bad_character()),
                        Some(Err(TooLong { .. })) => self.refuse(reply::line_too_long()),
                        None => {}
                    }
                }
                Phase::Authenticating(mechanism) => {
                    if !self.input.has_line(AUTHENTICATION) {
                        self.phase = Phase::Authenticating(mechanism);
                        return self.read(Patience::Command);
                    }
                    match self.take_line(AUTHENTICATION) {
                        Some(Ok(_)) if self.is_worn_out() => self.refuse(reply::too_many_commands()),
                        Some(Ok(_)) if self.deviates(true, 0) => self.refuse(reply::unauthorized_pipelining()),
                        Some(Ok(line)) => match verb::auth::response(mechanism, &line) {
                            Ok(question) => return Due::Ask(Question::Response(question)),
                            Err(refusal) => self.refuse(refusal),
                        },
                        Some(Err(TooLong { .. })) => self.refuse(reply::authentication_line_too_long()),
                        None => {}
                    }
                }
                Phase::Body { decoder, transaction } => {
                    if self.input.is_empty() {
                        self.phase = Phase::Body { decoder, transaction };
                        return self.read(Patience::Data);
                    }
                    let content = self.take_content(decoder, transaction);
                    if !content.is_empty() {
                        return Due::Body(content);
                    }
                }
                Phase::Chunk { chunk, fate } => {
                    if self.input.is_empty() && chunk.left > 0 {
                        self.phase = Phase::Chunk { chunk, fate };
                        return self.read(Patience::Data);
                    }
                    let content = self.take_chunk(chunk, fate);
                    if !content.is_empty() {
                        return Due::Body(content);
                    }
                }
                Phase::Received { size, transaction } => {
                    return Due::Ask(Question::Message { size, transaction });
                }
                Phase::Accepted { size, transaction } => {
                    return Due::Ask(Question::Commit { size, transaction });
                }
                Phase::Handshake => {
                    self.phase = Phase::Handshake;
                    return if self.output.is_empty() { Due::StartTls } else { Due::Write };
                }
                Phase::Closed => {
                    self.phase = Phase::Closed;
                    return if self.output.is_empty() { Due::Close } else { Due::Write };
                }
            }
        }
    }

    /// Nothing is left to do until the peer sends more: the replies so far leave, in one piece.
    fn read(&mut self, patience: Patience) -> Due {
        if !self.output.is_empty() {
            return Due::Write;
        }
        if patience == Patience::Command {
            self.input.shrink();
        }
        Due::Read(patience)
    }

    pub(super) fn take_line(&mut self, limit: usize) -> Option<Result<Vec<u8>, TooLong>> {
        self.turned = false;
        self.input.take_line(limit)
    }

    /// How long the command line that waits may be.
    pub(super) fn line_limit(&self) -> usize {
        let limit = self.settings.limits.command_line;
        let is_auth = matches!(self.settings.auth, Auth::Offered(_)) && command::is_auth(&self.input.head());
        if is_auth { limit.max(AUTHENTICATION) } else { limit }
    }

    /// Takes a command line as far as it goes without policy.
    fn obey(&mut self, line: Result<Vec<u8>, TooLong>) -> Option<Question> {
        let first = !mem::replace(&mut self.begun, true);
        let result = match (self.tally.command(&self.settings.limits), line) {
            (Err(refusal), _) => Err(refusal),
            (_, Ok(line)) if first && command::is_http(&line) => Err(reply::not_http().closing()),
            (_, Ok(line)) => self.parse(line).and_then(|command| self.dispatch(command)),
            (_, Err(TooLong { head })) => Err(self.too_long(&head)),
        };
        result.unwrap_or_else(|refusal| {
            let locked = self.locked && !refusal.closes();
            self.refuse(if locked { reply::locked() } else { refusal });
            None
        })
    }

    fn parse(&self, line: Vec<u8>) -> Result<Command, Refusal> {
        let is_bdat = command::is_bdat(&line);
        Command::parse(line).map_err(|refusal| if is_bdat { reply::bad_chunk() } else { refusal })
    }

    fn too_long(&self, head: &[u8]) -> Refusal {
        if command::is_bdat(head) {
            reply::bad_chunk()
        } else if command::is_auth(head) && matches!(self.settings.auth, Auth::Offered(_)) {
            reply::authentication_line_too_long()
        } else {
            reply::line_too_long()
        }
    }

    fn dispatch(&mut self, command: Command) -> Result<Option<Question>, Refusal> {
        let verb = command.verb;
        let chunk = if verb == Verb::Bdat { Some(verb::bdat::parse(&command)?) } else { None };
        // A chunk's own octets belong to its command.
        let own = chunk.map_or(0, |chunk| chunk.size);
        if self.deviates(verb.ends_group(), own) {
            return Err(reply::unauthorized_pipelining());
        }
        let junk = match verb {
            Verb::Noop | Verb::Rset | Verb::Vrfy | Verb::Expn | Verb::Help => true,
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => self.hello,
            _ => chunk.is_some_and(|chunk| chunk.size == 0 && !chunk.last),
        };
        if junk {
            self.tally.junk(&self.settings.limits)?;
        }
        // Its octets are there, whatever is to be said.
        if let Some(chunk) = chunk {
            return Ok(verb::bdat::check(self, chunk));
        }
        if self.locked && verb != Verb::Quit {
            return Err(reply::locked());
        }
        if verb == Verb::Other
            && let Some(claim) = self.settings.verbs.get(&command.name).copied()
        {
            return verb::extension::check(self, claim, command).map(|question| Some(Question::Verb(question)));
        }
        // RFC 3207 section 4, and the other greetings with EHLO.
        let in_the_clear =
            matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Noop | Verb::Quit | Verb::StartTls);
        if self.settings.tls == Tls::Required && !in_the_clear {
            return Err(reply::tls_first());
        }
        // MAIL and RCPT tell which part of them is not ASCII.
        if !command.line.is_ascii() && !matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Vrfy) {
            return Err(reply::bad_character());
        }
        match verb {
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
                return verb::hello::check(self, command).map(|question| Some(Question::Hello(question)));
            }
            Verb::Auth => return verb::auth::check(self, &command).map(|question| Some(Question::Auth(question))),
            Verb::Mail => return verb::mail::check(self, command).map(|question| Some(Question::Mail(question))),
            Verb::Rcpt => return verb::rcpt::check(self, command).map(|question| Some(Question::Recipient(question))),
            Verb::Data => {
                return verb::data::check(self, &command)
                    .map(|transaction| Some(Question::Data { transaction, chunk: None }));
            }
            Verb::Rset => verb::rset::check(&command).map(|()| verb::rset::proceed(self))?,
            Verb::Quit => verb::quit::check(&command).map(|()| verb::quit::proceed(self))?,
            Verb::Vrfy => verb::vrfy::check(self, &command).map(|()| verb::vrfy::proceed(self))?,
            Verb::StartTls => verb::starttls::check(self, &command).map(|()| verb::starttls::proceed(self))?,
            Verb::Noop => verb::noop::proceed(self),
            Verb::Help => verb::help::check(self).map(|()| verb::help::proceed(self))?,
            Verb::Bdat | Verb::Expn | Verb::NotImplemented => return Err(reply::not_implemented()),
            Verb::Other => return Err(reply::unrecognized()),
        }
        Ok(None)
    }

    /// Another line of an exchange, which counts as a command: whether it is one too many.
    fn is_worn_out(&mut self) -> bool {
        self.tally.command(&self.settings.limits).is_err()
    }

    /// Whether the peer sent on where it had to wait, and that matters here; of what it sent, so many octets are no deviation.
    pub(super) fn deviates(&self, ends_group: bool, own: u64) -> bool {
        let waiting = u64::try_from(self.input.octets().len()).unwrap_or(u64::MAX);
        self.settings.refuse_unauthorized_pipelining && waiting > own && (ends_group || !self.pipelines)
    }

    /// Whether what was begun comes to its end without the peer's being told to go.
    pub(super) fn is_in_message(&self) -> bool {
        match self.phase {
            Phase::Commands => self.transaction.as_ref().is_some_and(|transaction| transaction.content.is_some()),
            Phase::Greeting | Phase::Resume(_) | Phase::Authenticating(_) => false,
            _ => true,
        }
    }

    /// A question that was dropped leaves the peer without a reply, so it is answered here.
    fn fail_unanswered(&mut self) {
        match self.asked.take() {
            None => {}
            Some(Asked::Connect) => self.refuse(reply::extension_failed_at_connect()),
            Some(Asked::Chunk(chunk, replies)) => {
                verb::bdat::swallow(self, chunk, reply::extension_failed(), replies, false);
            }
            Some(Asked::Message(replies)) => {
                self.abort();
                self.refuse_each(reply::extension_failed(), replies);
            }
            Some(Asked::Commit(replies)) => self.refuse_each(reply::extension_failed(), replies),
            Some(Asked::Other) => self.refuse(reply::extension_failed()),
        }
    }
}
