//! `clock`: time.

use crate::extension::bindings::pillarbox::extension::clock::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

impl Host for State {
    fn now(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        self.cross(8)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.map_err(|_| Error::Failed("the clock stands before 1970".to_owned()));
        Ok(since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }

    fn monotonic(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        // Since a moment of this process: when the machine was started is nobody's business.
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        self.cross(8)?;
        Ok(Ok(u64::try_from(BEGINNING.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)))
    }
}
