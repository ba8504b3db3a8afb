//! Who is in: the sessions of one listener, counted against its limits.

use crate::config;
use ipnet::IpNet;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions of one listener. It outlives reloads, which change the limits and not the sessions.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    open: u32,
    /// 0 for none.
    limit: u32,
    /// Those whose address counts. No entry is 0, so that nothing is kept of those who left.
    addresses: HashMap<IpAddr, u32>,
    /// The same by their prefixes.
    prefixes: HashMap<IpNet, u32>,
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
    /// Whose sessions it counts.
    pub(super) reach: Reach,
    /// Sessions that count against it.
    pub(super) open: u32,
    /// Sessions it allows.
    pub(super) allowed: u32,
}

/// Whose sessions a limit counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All of the listener.
    Listener,
    /// Those of a peer block's network.
    Network(IpNet),
    /// Those of a /24 or /64.
    Prefix(IpNet),
    /// Those of one address.
    Address(IpAddr),
}

impl Tally {
    /// Takes over the limits of `listener`, and counts those who are in by its networks.
    pub(super) fn set_limits(&self, listener: &config::Listener) {
        let mut count = self.lock();
        count.limit = listener.rules.limits.connections;
        let networks = listener.peers.iter().filter_map(|block| {
            let limit = block.limits.connections.filter(|limit| *limit > 0)?;
            let inside = count.addresses.iter().filter(|(address, _)| block.network.contains(*address));
            Some(Network { network: block.network, open: inside.map(|(_, open)| open).sum(), limit })
        });
        count.networks = networks.collect();
    }

    /// A place for a session of whoever it may be, or the listener's limit, which leaves none.
    pub(super) fn enter(this: &Arc<Tally>) -> Result<Slot, Full> {
        let mut count = this.lock();
        room(Reach::Listener, count.open, count.limit)?;
        count.open += 1;
        Ok(Slot { tally: Arc::clone(this), address: None })
    }

    /// Sessions there are.
    pub(super) fn open(&self) -> usize {
        usize::try_from(self.lock().open).unwrap_or(usize::MAX)
    }

    /// Addresses and prefixes that something is kept of.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let count = self.lock();
        count.addresses.len() + count.prefixes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // Nothing that panics runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Whether everything around an address has room for one more; the narrowest that has none is named.
    fn check(&mut self, address: IpAddr, limits: &config::Limits) -> Result<(), Full> {
        let open = |count: Option<&u32>| count.copied().unwrap_or_default();
        let prefix = prefix(address);
        room(Reach::Address(address), open(self.addresses.get(&address)), limits.connections_per_address)?;
        room(Reach::Prefix(prefix), open(self.prefixes.get(&prefix)), limits.connections_per_prefix)?;
        self.around(address).try_for_each(|network| room(Reach::Network(network.network), network.open, network.limit))
    }

    fn around(&mut self, address: IpAddr) -> impl Iterator<Item = &mut Network> {
        self.networks.iter_mut().filter(move |network| network.network.contains(&address))
    }
}

/// The place of one session, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    tally: Arc<Tally>,
    /// Whose it is, once that counts.
    address: Option<IpAddr>,
}

impl Slot {
    /// Counts it as a session of `address`, or answers which of the limits around the address leaves no room: each of
    /// its networks' and what `limits`, those that hold for it, say of addresses and prefixes.
    pub(super) fn count(&mut self, address: IpAddr, limits: &config::Limits) -> Result<(), Full> {
        let mut count = self.tally.lock();
        count.check(address, limits)?;
        *count.addresses.entry(address).or_default() += 1;
        *count.prefixes.entry(prefix(address)).or_default() += 1;
        count.around(address).for_each(|network| network.open += 1);
        drop(count);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut count = self.tally.lock();
        count.open = count.open.saturating_sub(1);
        let Some(address) = self.address else { return };
        one_less(&mut count.addresses, address);
        one_less(&mut count.prefixes, prefix(address));
        count.around(address).for_each(|network| network.open = network.open.saturating_sub(1));
    }
}

/// Whether one more fits into a limit; 0 is none.
fn room(reach: Reach, open: u32, allowed: u32) -> Result<(), Full> {
    if allowed > 0 && open >= allowed { Err(Full { reach, open, allowed }) } else { Ok(()) }
}

/// What one customer of a network is commonly given: whoever has it has every address in it.
fn prefix(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(open) = counts.get_mut(&key) {
        *open = open.saturating_sub(1);
        if *open == 0 {
            counts.remove(&key);
        }
    }
}
