//! Who is in: the sessions of one listener, counted against its limits.

use crate::config;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions of one listener. It outlives reloads, which change the limits and not the sessions.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    open: u32,
    limit: u32,
    /// No entry is 0.
    addresses: HashMap<IpAddr, u32>,
    /// Those that have a limit. The count of each is the sum over the addresses in it.
    networks: Vec<Network>,
}

#[derive(Debug)]
struct Network {
    network: IpNet,
    open: u32,
    limit: u32,
}

/// A limit that is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// The network of the peer block that sets it; none: it is the listener's.
    pub(super) network: Option<IpNet>,
    /// Sessions that count against it.
    pub(super) open: u32,
    /// Sessions it allows.
    pub(super) limit: u32,
}

impl Tally {
    /// Takes over the limits of `listener`, and counts those who are in by its networks.
    pub(super) fn set_limits(&self, listener: &config::Listener) {
        let mut count = self.lock();
        count.limit = listener.rules.limits.connections;
        let networks = listener.peers.iter().filter_map(|block| {
            let limit = block.limits.connections?;
            let inside = count.addresses.iter().filter(|(address, _)| block.network.contains(*address));
            Some(Network { network: block.network, open: inside.map(|(_, open)| open).sum(), limit })
        });
        count.networks = networks.collect();
    }

    /// A place for a session of `address`, or the limit that leaves none: every network that holds the address must
    /// have room, and so must the listener.
    pub(super) fn admit(this: &Arc<Tally>, address: IpAddr) -> Result<Slot, Full> {
        let mut count = this.lock();
        if count.open >= count.limit {
            return Err(Full { network: None, open: count.open, limit: count.limit });
        }
        if let Some(full) = count.around(address).find(|network| network.open >= network.limit) {
            return Err(Full { network: Some(full.network), open: full.open, limit: full.limit });
        }
        count.open += 1;
        *count.addresses.entry(address).or_default() += 1;
        count.around(address).for_each(|network| network.open += 1);
        Ok(Slot { tally: Arc::clone(this), address })
    }

    /// Sessions there are.
    pub(super) fn open(&self) -> usize {
        usize::try_from(self.lock().open).unwrap_or(usize::MAX)
    }

    fn leave(&self, address: IpAddr) {
        let mut count = self.lock();
        count.open = count.open.saturating_sub(1);
        if let Some(open) = count.addresses.get_mut(&address) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                count.addresses.remove(&address);
            }
        }
        count.around(address).for_each(|network| network.open = network.open.saturating_sub(1));
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // Nothing that panics runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn around(&mut self, address: IpAddr) -> impl Iterator<Item = &mut Network> {
        self.networks.iter_mut().filter(move |network| network.network.contains(&address))
    }
}

/// The place of one session, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    tally: Arc<Tally>,
    address: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.tally.leave(self.address);
    }
}
