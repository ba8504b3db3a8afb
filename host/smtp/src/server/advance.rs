//! The way of the machine: from what it holds to what it needs next, one command line after the other.
//!
//! It dispatches, and knows of a verb only which file is its.

use std::mem;

use super::{Asked, Server};
use crate::ask::Question;
use crate::command::{self, Command, Verb};
use crate::line::TooLong;
use crate::phase::Phase;
use crate::{Patience, Refusal, Tls, reply, verb};

/// Octets of replies that are collected before they are written, though input remains.
const GROUP: usize = 16 * 1024;

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
            if matches!(self.phase, Phase::Greeting | Phase::Commands | Phase::Resume(_))
                && let Some(refusal) = self.shut.take()
            {
                self.close(refusal.reply());
            }
            match mem::take(&mut self.phase) {
                Phase::Greeting => return Due::Ask(Question::Connect),
                Phase::Commands => {
                    if !self.input.has_line(self.settings.limits.command_line) {
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
                    if let Some(question) = self.take_line().and_then(|line| self.obey(line)) {
                        return Due::Ask(question);
                    }
                }
                Phase::Resume(name) => {
                    if !self.input.has_line(self.settings.limits.command_line) {
                        self.phase = Phase::Resume(name);
                        return self.read(Patience::Command);
                    }
                    match self.take_line() {
                        Some(Ok(line)) if !command::has_control(&line) => {
                            return Due::Ask(Question::Resume(verb::extension::Continuation { name, line }));
                        }
                        Some(Ok(_)) => self.refuse(reply::bad_character()),
                        Some(Err(TooLong)) => self.refuse(reply::line_too_long()),
                        None => {}
                    }
                }
                Phase::Body { mut decoder, transaction } => {
                    if self.input.is_empty() {
                        self.phase = Phase::Body { decoder, transaction };
                        return self.read(Patience::Data);
                    }
                    let decoded = decoder.decode(self.input.octets());
                    self.input.consume(decoded.consumed);
                    self.abort |= decoded.spoiled;
                    if decoded.ended {
                        verb::data::end(self, &decoder, transaction);
                    } else {
                        self.phase = Phase::Body { decoder, transaction };
                    }
                    if !decoded.content.is_empty() {
                        return Due::Body(decoded.content);
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

    pub(super) fn take_line(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        self.turned = false;
        self.input.take_line(self.settings.limits.command_line)
    }

    /// Takes a command line as far as it goes without policy.
    fn obey(&mut self, line: Result<Vec<u8>, TooLong>) -> Option<Question> {
        let first = !mem::replace(&mut self.begun, true);
        let result = match line {
            Ok(line) if first && command::is_http(&line) => Err(reply::not_http().closing()),
            Ok(line) => Command::parse(line).and_then(|command| self.dispatch(command)),
            Err(TooLong) => Err(reply::line_too_long()),
        };
        result.unwrap_or_else(|refusal| {
            let locked = self.locked && !refusal.closes();
            self.refuse(if locked { reply::locked() } else { refusal });
            None
        })
    }

    fn dispatch(&mut self, command: Command) -> Result<Option<Question>, Refusal> {
        let verb = command.verb;
        if self.locked && verb != Verb::Quit {
            return Err(reply::locked());
        }
        if verb == Verb::Other
            && let Some(claim) = self.settings.verbs.get(&command.name).copied()
        {
            return verb::extension::check(self, claim, command).map(|question| Some(Question::Verb(question)));
        }
        // RFC 3207 section 4, and HELO with EHLO.
        let in_the_clear = matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Noop | Verb::Quit | Verb::StartTls);
        if self.settings.tls == Tls::Required && !in_the_clear {
            return Err(reply::tls_first());
        }
        // MAIL and RCPT tell which part of them is not ASCII.
        if !command.line.is_ascii() && !matches!(verb, Verb::Mail | Verb::Rcpt) {
            return Err(reply::bad_character());
        }
        match verb {
            Verb::Ehlo | Verb::Helo => {
                return verb::hello::check(command).map(|question| Some(Question::Hello(question)));
            }
            Verb::Mail => return verb::mail::check(self, command).map(|question| Some(Question::Mail(question))),
            Verb::Rcpt => return verb::rcpt::check(self, command).map(|question| Some(Question::Recipient(question))),
            Verb::Data => return verb::data::check(self, &command).map(|question| Some(Question::Data(question))),
            Verb::Rset => verb::rset::check(&command).map(|()| verb::rset::proceed(self))?,
            Verb::Quit => verb::quit::check(&command).map(|()| verb::quit::proceed(self))?,
            Verb::Vrfy => verb::vrfy::check(&command).map(|()| verb::vrfy::proceed(self))?,
            Verb::StartTls => verb::starttls::check(self, &command).map(|()| verb::starttls::proceed(self))?,
            Verb::Noop => verb::noop::proceed(self),
            Verb::Help => verb::help::proceed(self),
            Verb::NotImplemented => return Err(reply::not_implemented()),
            Verb::Other => return Err(reply::unrecognized()),
        }
        Ok(None)
    }

    /// A question that was dropped leaves the peer without a reply, so it is answered here.
    fn fail_unanswered(&mut self) {
        match self.asked.take() {
            None => {}
            Some(Asked::Connect) => self.close(reply::extension_failed_at_connect().reply()),
            Some(Asked::Message) => {
                self.abort();
                self.refuse(reply::extension_failed());
            }
            Some(Asked::Other) => self.refuse(reply::extension_failed()),
        }
    }
}
