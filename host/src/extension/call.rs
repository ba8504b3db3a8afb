//! What is asked of a guest, what it answers, what that leaves behind, and the ways in which a call fails. Plain data.

use super::bindings::exports::pillarbox::extension as hooks;
use super::bindings::pillarbox::extension::types;
use super::interface::Hook;
use crate::session::change::Change;
use crate::session::policy::Remembered;
use std::sync::Arc;
use std::time::Duration;

/// What a call of a hook is made with.
#[derive(Clone, Debug)]
pub enum Call<'a> {
    /// `connect`
    Connect,
    /// `hello`
    Hello(&'a str, &'a str),
    /// `command.begin`
    Begin(&'a str, &'a str),
    /// `command.resume`
    Resume(&'a [u8], &'a [u8]),
    /// `mail`
    Mail(&'a str, &'a [types::Parameter]),
    /// `recipient`
    Recipient(&'a str, &'a [types::Parameter]),
    /// `data`
    Data,
    /// `message`
    Message,
    /// `accepted`
    Accepted(&'a str),
    /// `disconnect`
    Disconnect,
}

impl Call<'_> {
    /// The hook that is called.
    pub fn hook(&self) -> Hook {
        match self {
            Call::Connect => Hook::Connect,
            Call::Hello(..) => Hook::Hello,
            Call::Begin(..) | Call::Resume(..) => Hook::Command,
            Call::Mail(..) => Hook::Mail,
            Call::Recipient(..) => Hook::Recipient,
            Call::Data => Hook::Data,
            Call::Message => Hook::Message,
            Call::Accepted(_) => Hook::Accepted,
            Call::Disconnect => Hook::Disconnect,
        }
    }
}

/// What a hook answered, not yet looked at.
#[derive(Debug)]
pub enum Returned {
    /// Hooks that decide.
    Decision(types::Decision),
    /// `command`.
    Answer(hooks::command::Answer),
    /// Hooks that only inform.
    Nothing,
}

/// What a call left behind, when it returned cleanly.
#[derive(Debug)]
pub struct Outcome {
    /// What was answered.
    pub returned: Returned,
    /// What was staged, in order.
    pub staged: Vec<Change>,
    /// What the extension now remembers.
    pub remembered: Arc<Remembered>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The guest trapped; with Rust, mostly a panic, whose message is in the log.
    #[error("trapped: {0}")]
    Trap(String),
    /// The CPU budget is spent.
    #[error("used more than {0:?} of cpu time")]
    Cpu(Duration),
    /// The wall budget is spent.
    #[error("took longer than {0:?}")]
    Wall(Duration),
    /// The memory cap, its own or that of all together.
    #[error("needed more than {0} octets of memory")]
    Memory(u64),
    /// The budget of octets that cross by host calls.
    #[error("moved more than {0} octets by host calls")]
    HostBytes(u64),
    /// The budget of host calls.
    #[error("made more than {0} host calls")]
    HostCalls(u32),
    /// The answer cannot be used.
    #[error("answered what cannot be used: {0}")]
    Answer(String),
    /// `init` refused in a new instance what it took at load.
    #[error("init failed: {0}")]
    Init(String),
    /// The instance could not be made.
    #[error("could not be started: {0}")]
    Start(String),
}

impl Failure {
    /// The kind, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Trap(_) => "trap",
            Failure::Cpu(_) => "cpu",
            Failure::Wall(_) => "wall",
            Failure::Memory(_) => "memory",
            Failure::HostBytes(_) => "host-bytes",
            Failure::HostCalls(_) => "host-calls",
            Failure::Answer(_) => "answer",
            Failure::Init(_) => "init",
            Failure::Start(_) => "start",
        }
    }
}
