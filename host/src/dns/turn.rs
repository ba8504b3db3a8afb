//! Look-ups under way, so that each address has one at a time. It knows addresses and names.

use super::ClientName;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The addresses that are looked up now.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<IpAddr, Arc<OnceCell<ClientName>>>>);

/// One of those who want to know the name of an address.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    address: IpAddr,
    found: Arc<OnceCell<ClientName>>,
}

impl Turns {
    /// Joins those who want to know the name of `address`, or is the first of them.
    pub(super) fn join(&self, address: IpAddr) -> Turn<'_> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { turns: self, address, found: Arc::clone(under_way.entry(address).or_default()) }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Turn<'_> {
    /// What one of them finds by `work`: whoever came first. Where that one goes away before its end, the next does its
    /// own.
    pub(super) async fn name(&self, work: impl Future<Output = ClientName>) -> ClientName {
        self.found.get_or_init(|| work).await.clone()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last but for the map itself; nobody joins meanwhile.
        if Arc::strong_count(&self.found) <= 2 {
            under_way.remove(&self.address);
        }
    }
}
