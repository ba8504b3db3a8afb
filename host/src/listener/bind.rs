//! Listening sockets, and why there is none.

use socket2::{Domain, Protocol, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// An address a listener is to have and cannot.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}")]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl BindError {
    /// What the operator can do about it, where that is known.
    pub fn help(&self) -> Option<&'static str> {
        match self.source.kind() {
            ErrorKind::AddrInUse => Some("another process listens there"),
            ErrorKind::AddrNotAvailable => Some("no interface of this machine has this address"),
            ErrorKind::PermissionDenied if self.address.port() < 1024 => {
                Some("a port below 1024 needs the capability CAP_NET_BIND_SERVICE")
            }
            _ => None,
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: TcpListener,
    /// The address it has; the port is not 0.
    pub(super) bound: SocketAddr,
}

/// Listens on `address`.
pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]:25` and `0.0.0.0:25` are two addresses, and an IPv4 peer comes with an IPv4 address.
        socket.set_only_v6(true)?;
    }
    // A restart need not wait until the kernel has forgotten the sessions of the last run. Not SO_REUSEPORT: with it a
    // second server would take half of the connections and nobody would be told.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok(Socket { listener, bound })
}

/// Whether binding failed because something listens there.
pub(super) fn in_use(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// Whether no two sockets can listen on these at a time.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
