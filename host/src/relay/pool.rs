//! Connections that wait for another message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Connection;

/// What connections may be used for one another: those to the servers of one domain, protected alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The domain; empty where every domain's mail goes to the same servers.
    pub(super) domain: String,
    /// Whether its certificate was verified because a message asked for it.
    pub(super) verified: bool,
}

/// The connections of one route that wait.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    connections: Vec<Idle>,
    serial: u64,
}

#[derive(Debug)]
struct Idle {
    serial: u64,
    key: Key,
    connection: Connection,
}

/// Connections that wait, all destinations of a route together. Each is a socket, and in TLS some tens of KiB.
const MOST: usize = 256;

impl Pool {
    /// The one that was used last, which its server has the least reason to close.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut waiting = self.lock();
        let at = waiting.connections.iter().rposition(|idle| idle.key == *key)?;
        Some(waiting.connections.remove(at).connection)
    }

    /// Lets one wait this long.
    pub(super) fn put(self: &Arc<Self>, key: Key, connection: Connection, idle: Duration) {
        let (serial, oldest) = {
            let mut waiting = self.lock();
            waiting.serial = waiting.serial.wrapping_add(1);
            let serial = waiting.serial;
            waiting.connections.push(Idle { serial, key, connection });
            let oldest = (waiting.connections.len() > MOST).then(|| waiting.connections.remove(0));
            (serial, oldest)
        };
        if let Some(oldest) = oldest {
            oldest.connection.farewell();
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pool = Arc::downgrade(self);
        runtime.spawn(async move {
            tokio::time::sleep(idle).await;
            let Some(pool) = pool.upgrade() else { return };
            let over = {
                let mut waiting = pool.lock();
                let at = waiting.connections.iter().position(|idle| idle.serial == serial);
                at.map(|at| waiting.connections.remove(at))
            };
            if let Some(over) = over {
                over.connection.farewell();
            }
        });
    }

    /// All that wait.
    pub(super) fn drain(&self) -> Vec<(Key, Connection)> {
        let connections = std::mem::take(&mut self.lock().connections);
        connections.into_iter().map(|idle| (idle.key, idle.connection)).collect()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
