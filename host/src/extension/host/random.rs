//! `random`: randomness from the operating system.

use crate::extension::bindings::pillarbox::extension::random::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;

/// Octets of one draw.
const MOST: usize = 4096;

impl Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.cross(4)?;
        let octets = match usize::try_from(length) {
            Ok(length) if length <= MOST => {
                let mut octets = vec![0; length];
                let filled = getrandom::fill(&mut octets);
                filled.map(|()| octets).map_err(|_| Error::Failed("the system gives no randomness".to_owned()))
            }
            _ => Err(Error::Limit("at most 4,096 octets are drawn at a time".to_owned())),
        };
        self.answer(octets.as_ref().map_or(0, Vec::len), octets)
    }
}
