//! One instance of one extension for one session, and one call into it.
//!
//! A call is metered (CPU), bounded in time (wall), in memory and in what crosses by host calls. Whatever goes wrong ends
//! the instance and drops what it staged, by our own code: not every failure poisons a store (a bad return value does
//! not). The guest never holds the session: it has the facts for the length of the call, and hands back changes as data.

use super::bindings::exports::pillarbox::extension as hooks;
use super::bindings::pillarbox::extension::types;
use super::interface::Hook;
use super::load::Linked;
use super::meter::Meter;
use super::rack::{Rack, Seat};
use crate::config::ExtensionLimits;
use crate::observe::Alive;
use crate::session::facts::{Change, Facts};
use crate::session::policy::Remembered;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use wasmtime::component as wasm;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

/// Keywords an extension shows or hides in one session: none hides, else the parameters.
pub type Shown = BTreeMap<String, Option<Option<String>>>;

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
    /// What it now shows of its keywords.
    pub shown: Arc<Shown>,
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

/// What the host functions see: the data of the store.
pub struct State {
    /// The extension as it is linked for its listener.
    pub linked: Arc<Linked>,
    /// What the guest is in.
    pub moment: Moment,
    /// The session, for the length of a call.
    pub facts: Option<Arc<Facts>>,
    /// Changes staged by this call.
    pub staged: Vec<Change>,
    /// What the extension remembers of the session.
    pub remembered: Arc<Remembered>,
    /// What it shows of its keywords.
    pub shown: Arc<Shown>,
    /// What this call may still do.
    pub budget: Budget,
    /// The keywords it declared.
    pub keywords: BTreeSet<String>,
    /// A random number for the guest's hash tables.
    pub seed: u64,
    limits: MemoryLimit,
    _alive: Alive,
}

/// What the guest is in.
#[derive(Debug)]
pub enum Moment {
    /// `init`; what it declares is noted here at load, and ignored in later instances, where it is known.
    Init(Option<super::load::Declared>),
    /// A hook.
    Hook(Hook),
}

/// What a call may still do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    calls: u32,
    bytes: u64,
    lines: u32,
    exhausted: Option<Exhausted>,
}

#[derive(Clone, Copy, Debug)]
enum Exhausted {
    Calls,
    Bytes,
}

impl State {
    /// Counts one host call that moves this many octets. Every host function begins with it.
    ///
    /// # Errors
    /// A budget is used up: the call traps.
    pub fn cross(&mut self, octets: usize) -> wasmtime::Result<()> {
        let budget = &mut self.budget;
        let left = budget.bytes.checked_sub(u64::try_from(octets).unwrap_or(u64::MAX));
        budget.exhausted = match (budget.calls.checked_sub(1), left) {
            (Some(calls), Some(bytes)) => {
                budget.calls = calls;
                budget.bytes = bytes;
                return Ok(());
            }
            (None, _) => Some(Exhausted::Calls),
            (_, None) => Some(Exhausted::Bytes),
        };
        Err(wasmtime::Error::msg("the budget of host calls is used up"))
    }

    /// Counts octets that an answer moves.
    ///
    /// # Errors
    /// As [`State::cross`].
    pub fn answer<T>(&mut self, octets: usize, answer: T) -> wasmtime::Result<T> {
        self.budget.calls = self.budget.calls.saturating_add(1);
        self.cross(octets).map(|()| answer)
    }

    /// Whether one more line may be logged; `Some(true)` when this is the first that may not.
    pub fn log_line(&mut self) -> LogLine {
        match self.budget.lines {
            0 => LogLine::Dropped,
            1 => {
                self.budget.lines = 0;
                LogLine::FirstDropped
            }
            _ => {
                self.budget.lines -= 1;
                LogLine::Kept
            }
        }
    }

    fn arm(&mut self, limits: &ExtensionLimits) {
        self.budget = Budget {
            calls: limits.host_calls,
            bytes: limits.host_bytes,
            // One more than may be logged, to say once that there were more.
            lines: limits.log_lines.saturating_add(1),
            exhausted: None,
        };
        self.limits.refused = false;
    }
}

/// What becomes of a line a guest logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// It is logged.
    Kept,
    /// It is not, and this is said.
    FirstDropped,
    /// It is not.
    Dropped,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("extension", &self.linked.name).finish_non_exhaustive()
    }
}

/// The memory of one instance: the sum over all its memories, which wasmtime's own limits do not take.
struct MemoryLimit {
    cap: u64,
    used: u64,
    seat: Seat,
    /// What the seat already counts.
    reserved: u64,
    refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let after = self.used.saturating_add(more);
        let granted = after <= self.cap && (after <= self.reserved || self.seat.grow(more));
        match granted {
            true => self.used = after,
            false => self.refused = true,
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 20_000)
    }
}

/// An instance that has been through `init`.
pub struct Instance {
    store: Store<State>,
    instance: wasm::Instance,
    meter: Meter,
    guests: Guests,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("extension", &self.store.data().linked.name).finish_non_exhaustive()
    }
}

macro_rules! guests {
    ($($hook:ident),*) => {
        /// What a component exports, found once when it is loaded.
        pub struct Indices {
            lifecycle: hooks::lifecycle::GuestIndices,
            $($hook: Option<hooks::$hook::GuestIndices>),*
        }

        /// The hooks of one instance; each is type-checked when it is first called.
        #[derive(Default)]
        struct Guests { $($hook: Option<hooks::$hook::Guest>),* }

        impl Indices {
            /// Finds the hooks.
            ///
            /// # Errors
            /// An interface has a hook's name and not its functions.
            pub fn new(pre: &wasm::InstancePre<State>) -> wasmtime::Result<Indices> {
                Ok(Indices {
                    lifecycle: hooks::lifecycle::GuestIndices::new(pre)?,
                    $($hook: {
                        let name = concat!("pillarbox:extension/", stringify!($hook), "@0.1.0");
                        match pre.component().get_export_index(None, name) {
                            Some(_) => Some(hooks::$hook::GuestIndices::new(pre)?),
                            None => None,
                        }
                    }),*
                })
            }

            /// Checks the types of every hook against an instance: names alone prove nothing.
            fn check(&self, store: &mut Store<State>, instance: &wasm::Instance) -> wasmtime::Result<()> {
                self.lifecycle.load(&mut *store, instance)?;
                $( if let Some(indices) = &self.$hook { indices.load(&mut *store, instance)?; } )*
                Ok(())
            }
        }
    };
}
guests!(connect, hello, command, mail, recipient, data, message, accepted, disconnect);

impl fmt::Debug for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indices").finish_non_exhaustive()
    }
}

impl Instance {
    /// Makes an instance and runs its `init`. With `declared`, what `init` declares is noted, and the types of all hooks
    /// are checked: that is how an extension is loaded.
    ///
    /// # Errors
    /// Any failure; [`Failure::Init`] carries the guest's own words.
    pub async fn start(
        linked: &Arc<Linked>,
        rack: &Arc<Rack>,
        declared: Option<super::load::Declared>,
    ) -> Result<Instance, Failure> {
        let limits = &linked.limits;
        let loading = declared.is_some();
        let seat =
            timeout(limits.wall, rack.seat(linked.initial_memory)).await.map_err(|_| Failure::Wall(limits.wall))?;
        let state = State {
            linked: linked.clone(),
            moment: Moment::Init(declared),
            facts: None,
            staged: Vec::new(),
            remembered: Arc::default(),
            shown: Arc::default(),
            budget: Budget::default(),
            keywords: BTreeSet::new(),
            seed: seed(),
            _alive: linked.counters.instance(),
            limits: MemoryLimit { cap: limits.memory, used: 0, seat, reserved: linked.initial_memory, refused: false },
        };
        let mut store = Store::new(linked.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(usize::try_from(limits.host_bytes).unwrap_or(usize::MAX));
        let meter = Meter::default();
        let ticks = meter.clone();
        store.epoch_deadline_callback(move |_| {
            Ok(match ticks.tick() {
                true => UpdateDeadline::Interrupt,
                // Back to the end of the runtime's queue: a plain yield would go to its front.
                false => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
            })
        });
        store.set_epoch_deadline(1);
        store.data_mut().arm(limits);
        meter.arm(limits.cpu);

        let running = linked.engine.running();
        let start = async {
            let instance = linked.pre.instantiate_async(&mut store).await?;
            if loading {
                linked.indices.check(&mut store, &instance)?;
            }
            let init = linked.indices.lifecycle.load(&mut store, &instance)?.call_init(&mut store).await?;
            Ok((instance, init))
        };
        let result = timeout(limits.wall, meter.run(start)).await;
        drop(running);
        match result {
            Ok(Ok((instance, Ok(())))) => Ok(Instance { store, instance, meter, guests: Guests::default() }),
            Ok(Ok((_, Err(words)))) => Err(Failure::Init(clipped(&words))),
            Ok(Err(error)) => Err(failure(&error, store.data(), limits)),
            Err(_) => Err(Failure::Wall(limits.wall)),
        }
    }

    /// What `init` declared, if it was asked to note it.
    pub fn declared(&mut self) -> Option<super::load::Declared> {
        match &mut self.store.data_mut().moment {
            Moment::Init(declared) => declared.take(),
            Moment::Hook(_) => None,
        }
    }

    /// Calls a hook. The instance is handed back only after a clean return.
    ///
    /// # Errors
    /// Any failure; the instance is gone, and so is what it staged.
    pub async fn call(
        mut self,
        call: Call<'_>,
        facts: Arc<Facts>,
        remembered: Arc<Remembered>,
        shown: Arc<Shown>,
    ) -> Result<(Instance, Outcome), Failure> {
        let linked = self.store.data().linked.clone();
        let limits = &linked.limits;
        let state = self.store.data_mut();
        state.moment = Moment::Hook(call.hook());
        state.facts = Some(facts);
        state.remembered = remembered;
        state.shown = shown;
        state.arm(limits);
        self.store.set_epoch_deadline(1);
        self.meter.arm(limits.cpu);

        let running = linked.engine.running();
        let meter = self.meter.clone();
        let result = timeout(limits.wall, meter.run(self.enter(&linked.indices, call))).await;
        drop(running);
        let state = self.store.data_mut();
        state.facts = None;
        match result {
            Ok(Ok(returned)) => {
                let staged = std::mem::take(&mut state.staged);
                let outcome = Outcome {
                    returned,
                    staged,
                    remembered: std::mem::take(&mut state.remembered),
                    shown: std::mem::take(&mut state.shown),
                };
                Ok((self, outcome))
            }
            Ok(Err(error)) => Err(failure(&error, state, limits)),
            Err(_) => Err(Failure::Wall(limits.wall)),
        }
    }

    async fn enter(&mut self, indices: &Indices, call: Call<'_>) -> wasmtime::Result<Returned> {
        let (store, instance) = (&mut self.store, &self.instance);
        macro_rules! guest {
            ($hook:ident) => {{
                if self.guests.$hook.is_none() {
                    let Some(indices) = &indices.$hook else {
                        return Err(wasmtime::Error::msg(concat!("no hook ", stringify!($hook))));
                    };
                    self.guests.$hook = Some(indices.load(&mut *store, instance)?);
                }
                match &self.guests.$hook {
                    Some(guest) => guest,
                    None => return Err(wasmtime::Error::msg("unreachable: the hook was just loaded")),
                }
            }};
        }
        Ok(match call {
            Call::Connect => Returned::Decision(guest!(connect).call_connect(store).await?),
            Call::Hello(verb, domain) => Returned::Decision(guest!(hello).call_hello(store, verb, domain).await?),
            Call::Begin(verb, argument) => Returned::Answer(guest!(command).call_begin(store, verb, argument).await?),
            Call::Resume(state, line) => Returned::Answer(guest!(command).call_resume(store, state, line).await?),
            Call::Mail(sender, given) => Returned::Decision(guest!(mail).call_mail(store, sender, given).await?),
            Call::Recipient(to, given) => Returned::Decision(guest!(recipient).call_recipient(store, to, given).await?),
            Call::Data => Returned::Decision(guest!(data).call_data(store).await?),
            Call::Message => Returned::Decision(guest!(message).call_message(store).await?),
            Call::Accepted(id) => {
                guest!(accepted).call_accepted(store, id).await?;
                Returned::Nothing
            }
            Call::Disconnect => {
                guest!(disconnect).call_disconnect(store).await?;
                Returned::Nothing
            }
        })
    }
}

/// What an error of wasmtime means. A trap does not say that memory was the reason, so our own notes come first.
fn failure(error: &wasmtime::Error, state: &State, limits: &ExtensionLimits) -> Failure {
    match state.budget.exhausted {
        Some(Exhausted::Calls) => return Failure::HostCalls(limits.host_calls),
        Some(Exhausted::Bytes) => return Failure::HostBytes(limits.host_bytes),
        None => {}
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Failure::Cpu(limits.cpu);
    }
    if state.limits.refused {
        return Failure::Memory(limits.memory);
    }
    match trap {
        Some(trap) => Failure::Trap(trap.to_string()),
        None => {
            let cause = clipped(&error.root_cause().to_string());
            match cause.contains("fuel allocated for hostcalls") {
                true => Failure::HostBytes(limits.host_bytes),
                false => Failure::Answer(cause),
            }
        }
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(500).collect()
}

/// A number nobody outside can guess, from the keys std seeds its own hash maps with.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}
