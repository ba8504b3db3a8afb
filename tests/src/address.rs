//! Addresses for servers that cannot be asked which port they were given.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address nobody listens at, nor will until the caller does. A port found free on `127.0.0.1` can be given to any
/// connection before a server has it; so each process of the tests has an address of its own on the loopback interface,
/// made of its number, which holds less than 22 bits on Linux.
///
/// # Panics
/// After some ten thousand.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    // What the system gives to connections begins there.
    assert!(port < 32_768, "no more addresses");
    SocketAddr::from((Ipv4Addr::new(127, 64 + high, middle, low), port))
}
