//! What is asked of a guest, what it answers, what that leaves behind, and the ways in which a call fails. Plain data.
//!
//! What is asked may hold a password and what is answered may prove one: neither is ever printed.

use super::bindings::exports::pillarbox::extension as hooks;
use super::bindings::pillarbox::extension::types;
use super::interface::Hook;
use super::panic::{Frames, Panic};
use crate::config::Spending;
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
    /// The guest trapped; with Rust, mostly a panic.
    #[error("trapped: {trap}")]
    Trap {
        /// What wasmtime calls it.
        trap: String,
        /// The panic it told of before.
        panic: Option<Panic>,
        /// Where it was.
        frames: Frames,
    },
    /// The CPU budget is spent.
    #[error("used more than {0:?} of cpu time")]
    Cpu(Duration),
    /// The session's CPU budget is spent.
    #[error("used more than {0:?} of cpu time in one session")]
    SessionCpu(Duration),
    /// The wall budget is spent.
    #[error("took longer than {0:?}")]
    Wall(Duration),
    /// The session's wall budget is spent.
    #[error("took longer than {0:?} in one session")]
    SessionWall(Duration),
    /// The wall budget went by while all instances there may be were in use.
    #[error("found no room for an instance within {0:?}")]
    Room(Duration),
    /// The instance's own cap.
    #[error("needed more than {0} octets of memory")]
    Memory(u64),
    /// The cap on all instances together.
    #[error("needed more memory than all instances have together")]
    SharedMemory,
    /// The cap on the elements of its tables.
    #[error("needed more than {0} elements of tables")]
    Tables(u32),
    /// A budget of what a call makes the host do.
    #[error("{} more than {} {}", .0.words().0, .1, .0.words().1)]
    Spent(Spending, u64),
    /// A session's.
    #[error("{} more than {} {} in one session", .0.words().0, .1, .0.words().1)]
    SessionSpent(Spending, u64),
    /// The answer cannot be used.
    #[error("answered what cannot be used: {0}")]
    Answer(String),
    /// `init` refused in a new instance what it took at load.
    #[error("init failed: {0}")]
    Init(String),
    /// The instance could not be made.
    #[error("could not be started: {0}")]
    Start(String),
    /// It failed so often that it is not called for now.
    #[error("is left alone for now, because it kept failing")]
    Breaker,
    /// A host function panicked: a mistake of ours. The log has its place; no word of it goes further, because it may
    /// quote what the call was made with.
    #[error("the host failed in this call")]
    HostPanic,
}

impl Failure {
    /// The kind, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Trap { .. } => "trap",
            Failure::Cpu(_) => "cpu",
            Failure::SessionCpu(_) => "session-cpu",
            Failure::Wall(_) => "wall",
            Failure::SessionWall(_) => "session-wall",
            Failure::Room(_) => "room",
            Failure::Memory(_) | Failure::SharedMemory => "memory",
            Failure::Tables(_) => "tables",
            Failure::Spent(what, _) => what.key(),
            Failure::SessionSpent(what, _) => what.session_key(),
            Failure::Answer(_) => "answer",
            Failure::Init(_) => "init",
            Failure::Start(_) => "start",
            Failure::Breaker => "breaker",
            Failure::HostPanic => "host-panic",
        }
    }

    /// Whether it speaks against the extension: such failures open its breaker. What others used up does not, so that no
    /// guest can have another one left alone; nor does what one session used up, which says nothing of the next.
    pub fn is_its_own(&self) -> bool {
        match self {
            Failure::Trap { .. }
            | Failure::Cpu(_)
            | Failure::Wall(_)
            | Failure::Memory(_)
            | Failure::Tables(_)
            | Failure::Spent(..)
            | Failure::Answer(_)
            | Failure::Init(_) => true,
            Failure::SessionCpu(_)
            | Failure::SessionWall(_)
            | Failure::SessionSpent(..)
            | Failure::Room(_)
            | Failure::SharedMemory
            | Failure::Start(_)
            | Failure::HostPanic
            | Failure::Breaker => false,
        }
    }
}
