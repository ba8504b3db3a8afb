//! What is asked of a guest, what it answers, what that leaves behind, and the ways in which a call fails. Plain data.
//!
//! What is asked may hold a password and what is answered may prove one: neither is ever printed.

use super::bindings::exports::pillarbox::extension as hooks;
use super::bindings::pillarbox::extension::types;
use super::interface::Hook;
use crate::session::change::Change;
use crate::session::policy::Remembered;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a call of a hook is made with.
#[derive(Clone)]
pub enum Call<'a> {
    /// `connect`
    Connect,
    /// `hello`
    Hello(&'a str, &'a str),
    /// `command.begin`
    Begin(&'a str, &'a str),
    /// `command.resume`
    Resume(&'a [u8], &'a [u8]),
    /// `authenticate.begin`
    Authenticate(&'a str, Option<&'a [u8]>),
    /// `authenticate.resume`
    Respond(&'a [u8], &'a [u8]),
    /// `verify.password`
    Password {
        /// Who it is said to be.
        user: &'a str,
        /// In the clear.
        password: &'a str,
        /// PLAIN's authorization identity, if one was given.
        authorization: Option<&'a str>,
    },
    /// `verify.lookup`
    Lookup(&'a str),
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
            Call::Authenticate(..) | Call::Respond(..) => Hook::Authenticate,
            Call::Password { .. } | Call::Lookup(_) => Hook::Verify,
            Call::Mail(..) => Hook::Mail,
            Call::Recipient(..) => Hook::Recipient,
            Call::Data => Hook::Data,
            Call::Message => Hook::Message,
            Call::Accepted(_) => Hook::Accepted,
            Call::Disconnect => Hook::Disconnect,
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.hook().name())
    }
}

/// What a hook answered, not yet looked at.
#[derive(Clone)]
pub enum Returned {
    /// Hooks that decide.
    Decision(types::Decision),
    /// `command`.
    Answer(hooks::command::Answer),
    /// `authenticate`.
    Step(hooks::authenticate::Step),
    /// `verify`.
    Outcome(hooks::verify::Outcome),
    /// Hooks that only inform.
    Nothing,
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Returned::Decision(_) => "Decision",
            Returned::Answer(_) => "Answer",
            Returned::Step(_) => "Step",
            Returned::Outcome(_) => "Outcome",
            Returned::Nothing => "Nothing",
        })
    }
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
