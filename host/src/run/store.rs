//! The store of values that the process keeps, as the configuration names it.

use super::Refused;
use crate::config::{Config, Problem, Problems};
use crate::kv::{self, Kv, OpenError};
use crate::observe::chain;

/// The store of this process.
///
/// # Errors
/// A file that is named for it cannot be used, or the system gives no thread.
pub(super) fn start(config: &Config) -> Result<Kv, Refused> {
    let store = Kv::start(&config.kv, &config.server.state_dir, kv::system_clock());
    store.map_err(|error| Problems::new(config.source.clone(), vec![problem(config, &error)]).into())
}

/// What is wrong with the files that are named for it.
pub(super) fn check(config: &Config) -> Option<Problem> {
    Kv::check(&config.kv).err().map(|error| problem(config, &error))
}

/// Whether it is another store than before: sessions hold on to the one there is.
pub(super) fn is_other(new: &Config, old: &Config) -> bool {
    new.kv.store != old.kv.store || new.kv.timeout != old.kv.timeout
}

fn problem(config: &Config, error: &OpenError) -> Problem {
    Problem::at(config.kv.place, chain(error))
}
