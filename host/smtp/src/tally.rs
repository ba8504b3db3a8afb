//! What a session has used up: commands, errors, messages, recipients.
//!
//! It counts and compares; which command counts for what, the verbs and the server know. A limit of 0 is none.

use crate::{Limits, Refusal, reply};

/// The counts of a connection, from its beginning to its end: neither STARTTLS nor a new greeting sets one back. Those of
/// what leads nowhere begin anew with a message that is accepted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    commands: u64,
    errors: u32,
    junk: u32,
    messages: u64,
    recipients: u64,
    /// Errors that are to be answered late, and were not yet.
    tarpitted: u32,
}

impl Tally {
    /// Another command line.
    pub(crate) fn command(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.commands = self.commands.saturating_add(1);
        if limits.commands != 0 && self.commands > limits.commands { Err(reply::too_many_commands()) } else { Ok(()) }
    }

    /// A command that leads nowhere.
    pub(crate) fn junk(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.junk = self.junk.saturating_add(1);
        let over = limits.junk_commands != 0 && self.junk > limits.junk_commands;
        if over { Err(reply::too_many_junk_commands()) } else { Ok(()) }
    }

    /// A command was answered with 5xx. Fails when it is one too many.
    pub(crate) fn error(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.errors = self.errors.saturating_add(1);
        if limits.tarpit_after != 0 && self.errors >= limits.tarpit_after {
            self.tarpitted = self.tarpitted.saturating_add(1);
        }
        if limits.errors != 0 && self.errors >= limits.errors { Err(reply::too_many_errors()) } else { Ok(()) }
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> u32 {
        self.errors
    }

    /// The errors since this was last asked that are to be answered late.
    pub(crate) fn take_tarpitted(&mut self) -> u32 {
        std::mem::take(&mut self.tarpitted)
    }

    /// Whether another MAIL is taken.
    pub(crate) fn has_room_for_message(&self, limits: &Limits) -> Result<(), Refusal> {
        if limits.messages != 0 && self.messages >= limits.messages { Err(reply::too_many_messages()) } else { Ok(()) }
    }

    /// MAIL was accepted.
    pub(crate) fn message(&mut self) {
        self.messages = self.messages.saturating_add(1);
    }

    /// Whether another RCPT is taken, behind the `count` that the message has.
    pub(crate) fn has_room_for_recipient(&self, limits: &Limits, count: usize) -> Result<(), Refusal> {
        if limits.recipients != 0 && count >= limits.recipients {
            return Err(reply::too_many_recipients());
        }
        if limits.session_recipients != 0 && self.recipients >= limits.session_recipients {
            return Err(reply::too_many_session_recipients());
        }
        Ok(())
    }

    /// RCPT was accepted.
    pub(crate) fn recipient(&mut self) {
        self.recipients = self.recipients.saturating_add(1);
    }

    /// A message was accepted: what went before led somewhere. A list with some dead addresses is no attack, however long
    /// its connection lives.
    pub(crate) fn message_accepted(&mut self) {
        self.junk = 0;
        self.errors = 0;
    }
}
