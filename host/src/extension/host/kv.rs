//! `kv`: the store that outlives the session. What is written there is no staged change: it holds at once, and for every
//! session, also when the call that wrote it fails afterwards.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::kv::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use crate::kv::{Kv, KvError};

impl Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.cross(key.len())?;
        self.spend(Spending::Kv)?;
        if self.linked.grant.space(&key).is_none() {
            return Ok(self.deny(Capability::Kv, &key));
        }
        let value = match self.store() {
            Ok(store) => store.get(&key).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        self.answer(value.iter().flatten().map(Vec::len).sum(), value)
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl: u64) -> wasmtime::Result<Result<(), Error>> {
        self.cross(key.len().saturating_add(value.len()))?;
        self.spend(Spending::Kv)?;
        let linked = self.linked.clone();
        let Some(space) = linked.grant.space(&key) else {
            return Ok(self.deny(Capability::Kv, &key));
        };
        Ok(match self.store() {
            Ok(store) => store.set(space, &key, value, ttl).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn unset(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(key.len())?;
        self.spend(Spending::Kv)?;
        if self.linked.grant.space(&key).is_none() {
            return Ok(self.deny(Capability::Kv, &key));
        }
        Ok(match self.store() {
            Ok(store) => store.unset(&key).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn increment(&mut self, key: String, by: i64, ttl: u64) -> wasmtime::Result<Result<i64, Error>> {
        self.cross(key.len().saturating_add(16))?;
        self.spend(Spending::Kv)?;
        let linked = self.linked.clone();
        let Some(space) = linked.grant.space(&key) else {
            return Ok(self.deny(Capability::Kv, &key));
        };
        Ok(match self.store() {
            Ok(store) => store.increment(space, &key, by, ttl).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }
}

impl State {
    fn store(&self) -> Result<Kv, Error> {
        // `init` runs for a configuration that may be refused, too.
        self.session()?;
        // `check` and `inspect` run `init`, and serve nobody.
        self.linked.services.kv.clone().ok_or_else(|| Error::Unavailable("there is no store here".to_owned()))
    }
}

impl From<KvError> for Error {
    fn from(error: KvError) -> Error {
        let text = error.to_string();
        match error {
            KvError::Key | KvError::Value | KvError::NotACounter | KvError::Overflow => Error::Invalid(text),
            KvError::Full => Error::Limit(text),
            KvError::Busy | KvError::Unavailable => Error::Failed(text),
        }
    }
}
