//! Linking by grant: what is granted is there, what is denied is a stub that answers `denied`, and the rest does not
//! exist. A refactoring cannot open what was never linked.

use super::bindings::pillarbox::extension as wit;
use super::engine::Engine;
use super::grant::Grant;
use super::host::Denied as Stub;
use super::state::State;
use crate::config::Capability;
use wasmtime::component::{HasData, Linker};

/// Host functions see the store's data.
struct Granted;

impl HasData for Granted {
    type Data<'a> = &'a mut State;
}

/// The stub sees only whom to count.
struct Denied;

impl HasData for Denied {
    type Data<'a> = Stub<'a>;
}

/// A linker that holds what this grant gives.
///
/// # Errors
/// An interface is linked twice: a mistake in this file.
pub fn linker(engine: &Engine, grant: &Grant) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    macro_rules! free {
        ($($interface:ident),*) => { $(
            wit::$interface::add_to_linker::<State, Granted>(&mut linker, |state| state)?;
        )* };
    }
    macro_rules! granted {
        ($($interface:ident = $capability:ident),*) => { $(
            if grant.has(Capability::$capability) {
                wit::$interface::add_to_linker::<State, Granted>(&mut linker, |state| state)?;
            } else if grant.denies(Capability::$capability) {
                wit::$interface::add_to_linker::<State, Denied>(&mut linker, |state| Stub(state))?;
            }
        )* };
    }
    free!(log, settings, state, declare, advertise);
    granted!(
        session = Session,
        identity = Identity,
        context_read = ContextRead,
        context_write = ContextWrite,
        authentication = Authentication,
        envelope_read = EnvelopeRead,
        envelope_write = EnvelopeWrite,
        message_read = MessageRead,
        message_write = MessageWrite,
        table = Table,
        kv = Kv,
        dns = Dns,
        http = Http,
        stream = Stream,
        clock = Clock,
        random = Random,
        metrics = Metrics
    );
    Ok(linker)
}
