//! How many files and sockets the process may have open. It does not know what for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many as the system lets it: what is set for a process that does not ask, often 1024, is for programs that
/// cannot count further (`select`), and less than the connections and attempts that are allowed by default come to.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }) {
        tracing::debug!(error = %error, "no more descriptors than before");
    }
}
