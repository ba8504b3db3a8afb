//! What an extension remembers about the session: octets under names, and counters.
//!
//! The fields of the extension's own type are not the place for that: an instance is dropped whenever the session idles
//! for a second, and a new one is made for the next command.

pub use crate::bindings::imports::pillarbox::extension::state::{get, set, unset};

use crate::{Error, Scope};

/// A counter's value; 0 when nothing was counted yet.
pub fn counter(scope: Scope, name: &str) -> Result<u64, Error> {
    Ok(get(scope, name)?.map_or(0, |octets| read(&octets)))
}

/// Adds to a counter and answers the sum, which stops at the largest number there is.
pub fn count(scope: Scope, name: &str, by: u64) -> Result<u64, Error> {
    let sum = counter(scope, name)?.saturating_add(by);
    set(scope, name, &sum.to_le_bytes())?;
    Ok(sum)
}

/// A value of another length was not written by `count`: it counts as nothing.
fn read(octets: &[u8]) -> u64 {
    octets.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_comes_back() {
        assert_eq!(read(&7_u64.to_le_bytes()), 7);
        assert_eq!(read(b""), 0);
        assert_eq!(read(b"text"), 0);
    }
}
