//! One instance of one extension for one session, and one call into it.
//!
//! A call is metered (CPU), bounded in time (wall), in memory and in what crosses by host calls. Whatever goes wrong ends
//! the instance and drops what it staged, by our own code: not every failure poisons a store (a bad return value does
//! not). The guest never holds the session: it has the facts for the length of the call, and hands back changes as data.

use super::bindings::exports::pillarbox::extension as hooks;
use super::call::{Call, Failure, Outcome, Returned};
use super::caught::caught;
use super::load::{Declared, Linked};
use super::meter::Meter;
use super::panic::Frames;
use super::rack::{Rack, Seat};
use super::state::{Moment, State};
use crate::config::{ExtensionLimits, Spending};
use crate::session::facts::Facts;
use crate::session::policy::{Remembered, Spent};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use wasmtime::component as wasm;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

/// An instance that has been through `init`.
pub struct Instance {
    store: Store<State>,
    instance: wasm::Instance,
    meter: Meter,
    guests: Guests,
    // Behind the store, and so dropped after it.
    _seat: Arc<Seat>,
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
                self.lifecycle.load(&mut *store, instance).map_err(|error| misfit("lifecycle", &error))?;
                $( if let Some(indices) = &self.$hook {
                    indices.load(&mut *store, instance).map_err(|error| misfit(stringify!($hook), &error))?;
                } )*
                Ok(())
            }
        }
    };
}
guests!(connect, hello, command, authenticate, verify, mail, recipient, data, message, accepted, disconnect);

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
        declared: Option<Declared>,
        deadline: Instant,
        spent: &mut Spent,
    ) -> Result<Instance, Failure> {
        let limits = &linked.limits;
        let loading = declared.is_some();
        // Who is heard by nobody takes nobody's room, and nobody waits for its own.
        let seat = match linked.candidate {
            Some("shadow") if !loading => rack.spare_seat(linked.initial_memory),
            _ => timeout_at(deadline, rack.seat(linked.initial_memory)).await.ok(),
        };
        let seat = seat.ok_or(Failure::Room(limits.wall))?;
        let terms = Terms::new(limits, spent, deadline)?;
        let seat = Arc::new(seat);
        let state = State::new(linked, declared, seat.clone());
        let mut store = Store::new(linked.engine.wasmtime(), state);
        store.limiter(State::limiter);
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
        store.data_mut().arm(*spent);
        meter.arm(terms.cpu);

        let running = linked.engine.running();
        let start = async {
            let instance = linked.pre.instantiate_async(&mut store).await?;
            if loading {
                linked.indices.check(&mut store, &instance)?;
            }
            let init = linked.indices.lifecycle.load(&mut store, &instance)?.call_init(&mut store).await?;
            Ok((instance, init))
        };
        let result = timeout_at(terms.deadline, caught(meter.run(start))).await;
        drop(running);
        *spent = store.data_mut().disarm(meter.spent(), terms.began.elapsed());
        match result {
            Ok(Some(Ok((instance, Ok(()))))) => {
                Ok(Instance { store, instance, meter, guests: Guests::default(), _seat: seat })
            }
            Ok(Some(Ok((_, Err(words))))) => Err(Failure::Init(clipped(&words))),
            Ok(Some(Err(error))) => Err(failure(error, store.data(), *spent)),
            Ok(None) => Err(Failure::HostPanic),
            Err(_) => Err(terms.late),
        }
    }

    /// What `init` declared, if it was asked to note it.
    pub fn declared(&mut self) -> Option<Declared> {
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
        deadline: Instant,
        spent: &mut Spent,
    ) -> Result<(Instance, Outcome), Failure> {
        let linked = self.store.data().linked.clone();
        let terms = Terms::new(&linked.limits, spent, deadline)?;
        let state = self.store.data_mut();
        state.moment = Moment::Hook(call.hook());
        state.facts = Some(facts);
        state.remembered = remembered;
        state.arm(*spent);
        self.store.set_epoch_deadline(1);
        self.meter.arm(terms.cpu);

        let running = linked.engine.running();
        let meter = self.meter.clone();
        let result = timeout_at(terms.deadline, caught(meter.run(self.enter(&linked.indices, call)))).await;
        drop(running);
        let state = self.store.data_mut();
        state.facts = None;
        state.streams.close_all();
        *spent = state.disarm(meter.spent(), terms.began.elapsed());
        match result {
            Ok(Some(Ok(returned))) => {
                let staged = std::mem::take(&mut state.staged);
                let outcome = Outcome { returned, staged, remembered: std::mem::take(&mut state.remembered) };
                Ok((self, outcome))
            }
            Ok(Some(Err(error))) => Err(failure(error, state, *spent)),
            Ok(None) => Err(Failure::HostPanic),
            Err(_) => Err(terms.late),
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
            Call::Authenticate(mechanism, initial) => {
                Returned::Step(guest!(authenticate).call_begin(store, mechanism, initial).await?)
            }
            Call::Respond(state, response) => {
                Returned::Step(guest!(authenticate).call_resume(store, state, response).await?)
            }
            Call::Password { user, password, authorization } => {
                Returned::Outcome(guest!(verify).call_password(store, user, password, authorization).await?)
            }
            Call::Lookup(user) => Returned::Outcome(guest!(verify).call_lookup(store, user).await?),
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

/// The time a run may take: its own budgets, or what is left of the session's where that is less.
struct Terms {
    cpu: Duration,
    began: Instant,
    deadline: Instant,
    /// What it means when the deadline goes by.
    late: Failure,
}

impl Terms {
    /// What is left, with room made already.
    ///
    /// # Errors
    /// Nothing is left of the session's.
    fn new(limits: &ExtensionLimits, spent: &Spent, deadline: Instant) -> Result<Terms, Failure> {
        let (cpu, wall) = (limits.session.cpu, limits.session.wall);
        let left = |whole: Duration, gone: Duration| whole.checked_sub(gone).filter(|left| !left.is_zero());
        let cpu_left = left(cpu, spent.cpu).ok_or(Failure::SessionCpu(cpu))?;
        let wall_left = left(wall, spent.wall).ok_or(Failure::SessionWall(wall))?;
        let began = Instant::now();
        let (deadline, late) = match began.checked_add(wall_left).filter(|end| *end < deadline) {
            Some(end) => (end, Failure::SessionWall(wall)),
            None => (deadline, Failure::Wall(limits.wall)),
        };
        Ok(Terms { cpu: limits.cpu.min(cpu_left), began, deadline, late })
    }
}

/// An exported interface does not have the functions of its name.
fn misfit(interface: &str, error: &wasmtime::Error) -> wasmtime::Error {
    let why = error.root_cause();
    Failure::Start(format!("the component's `{interface}` is not the interface of that name: {why}")).into()
}

/// What an error of wasmtime means. A trap does not say that memory was the reason, so our own notes come first.
fn failure(error: wasmtime::Error, state: &State, spent: Spent) -> Failure {
    let limits = &state.linked.limits;
    let error = match error.downcast::<Failure>() {
        Ok(misfit) => return misfit,
        Err(error) => error,
    };
    if let Some(exhausted) = state.exhausted() {
        return exhausted;
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return match spent.cpu < limits.session.cpu {
            true => Failure::Cpu(limits.cpu),
            false => Failure::SessionCpu(limits.session.cpu),
        };
    }
    if let Some(refused) = state.refused() {
        return refused;
    }
    if let Some(trap) = trap {
        let panic = state.panic.clone();
        let frames = if panic.is_none() { Frames::of(&error) } else { Frames::default() };
        return Failure::Trap { trap: trap.to_string(), panic, frames };
    }
    let cause = clipped(&error.root_cause().to_string());
    // Too many memories, tables or core modules count as a component that is too large.
    if error.is::<wasmtime::PoolConcurrencyLimitError>() || cause.contains("resource limit exceeded") {
        return Failure::Start(cause);
    }
    if cause.contains("fuel allocated for hostcalls") {
        return Failure::Spent(Spending::HostBytes, limits.host_bytes);
    }
    match error.is::<WasmBacktrace>() {
        // It was still running: what it handed to a host function cannot be read.
        true => Failure::Trap { trap: cause, panic: state.panic.clone(), frames: Frames::of(&error) },
        false => Failure::Answer(cause),
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(500).collect()
}
