//! `state`: what an extension remembers of one session.

use crate::extension::bindings::pillarbox::extension::state::Host;
use crate::extension::bindings::pillarbox::extension::types::{Error, Scope};
use crate::extension::state::State;
use crate::session::policy::Remembered;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Octets in one scope, names included.
const LARGEST: usize = 16 << 10;

impl Host for State {
    fn get(&mut self, scope: Scope, name: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.cross(name.len())?;
        let value = self.session().map(|_| scoped(&self.remembered, scope).get(&name).cloned());
        let octets = value.as_ref().map_or(0, |value| value.as_ref().map_or(0, Vec::len));
        self.answer(octets, value)
    }

    fn set(&mut self, scope: Scope, name: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len() + value.len())?;
        Ok(self.session().and_then(|_| {
            let values = scoped(&self.remembered, scope);
            let others = values.iter().filter(|(other, _)| **other != name);
            let octets: usize = others.map(|(other, value)| other.len() + value.len()).sum();
            if octets + name.len() + value.len() > LARGEST {
                return Err(Error::Limit("state holds 16 KiB for each scope".to_owned()));
            }
            scoped_mut(Arc::make_mut(&mut self.remembered), scope).insert(name, value);
            Ok(())
        }))
    }

    fn unset(&mut self, scope: Scope, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        Ok(self.session().map(|_| {
            scoped_mut(Arc::make_mut(&mut self.remembered), scope).remove(&name);
        }))
    }
}

fn scoped(remembered: &Remembered, scope: Scope) -> &BTreeMap<String, Vec<u8>> {
    match scope {
        Scope::Connection => &remembered.connection,
        Scope::Message => &remembered.message,
    }
}

fn scoped_mut(remembered: &mut Remembered, scope: Scope) -> &mut BTreeMap<String, Vec<u8>> {
    match scope {
        Scope::Connection => &mut remembered.connection,
        Scope::Message => &mut remembered.message,
    }
}
