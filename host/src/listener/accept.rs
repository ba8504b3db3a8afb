//! The loop at one door. It never waits for a peer, and errors of `accept` neither end it nor make it spin.

use super::tally::{Full, Slot, Tally};
use super::{Accepted, Serve};
use crate::config::{self, TlsMode};
use crate::observe::Counters;
use arc_swap::ArcSwap;
use pillarbox_smtp::reply;
use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Who has a door, which a reload can change.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) listener: Arc<config::Listener>,
    pub(super) tally: Arc<Tally>,
}

/// One door from the inside.
pub(super) struct Entrance {
    pub(super) post: Arc<ArcSwap<Post>>,
    pub(super) serve: Arc<dyn Serve>,
    pub(super) counters: Arc<Counters>,
    pub(super) open: watch::Sender<usize>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) cut: watch::Receiver<bool>,
}

/// Where connections come from: a socket, or a test's list.
pub(super) trait Accept: Send + Sync {
    /// The next connection, with the other end.
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl Entrance {
    /// Lets in whoever comes, for ever.
    pub(super) async fn keep(self, socket: Arc<impl Accept>) {
        let mut trouble = None;
        loop {
            match socket.next().await {
                Ok((stream, peer)) => {
                    if trouble.as_ref().is_some_and(Trouble::over) {
                        tracing::info!(listener = self.post.load().listener.name, "accepting connections again");
                        trouble = None;
                    }
                    self.admit(stream, peer);
                }
                Err(error) if concerns_one(&error) => {}
                Err(error) => {
                    if trouble.is_none() {
                        let listener = &self.post.load().listener.name;
                        tracing::error!(listener, %error, "cannot accept connections, trying again");
                    }
                    sleep(trouble.get_or_insert_with(Trouble::new).pause()).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let post = self.post.load_full();
        let peer = canonical(peer);
        match Tally::admit(&post.tally, peer.ip()) {
            Ok(slot) => self.begin(stream, peer, &post, slot),
            Err(full) => self.turn_away(stream, peer, &post, full),
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr, post: &Post, slot: Slot) {
        // Both fail only when the peer has gone meanwhile, and then its session ends soon enough.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let accepted = Accepted {
            stream,
            peer,
            local: canonical(local),
            listener: post.listener.name.clone(),
            stop: self.stop.clone(),
        };
        let presence = Presence::new(&self.open, slot);
        let serve = Arc::clone(&self.serve);
        let mut cut = self.cut.clone();
        tokio::spawn(async move {
            // Here, so that it outlives the session also when that panics.
            let _presence = presence;
            tokio::select! {
                biased;
                _ = cut.wait_for(|cut| *cut) => {}
                () = serve.serve(accepted) => {}
            }
        });
    }

    /// Says 421 and closes. The send buffer of a new connection is empty, so the reply goes into it at once or never,
    /// and no peer is waited for. Under implicit TLS a reply would need a handshake, which is what cannot be afforded.
    fn turn_away(&self, stream: TcpStream, peer: SocketAddr, post: &Post, full: Full) {
        self.counters.connection_refused();
        let listener = &post.listener.name;
        let Full { network, open, limit } = full;
        match network {
            Some(network) => tracing::info!(
                listener, %peer, limit = "connections", %network, open, allowed = limit, "connection refused"
            ),
            None => {
                tracing::info!(listener, %peer, limit = "connections", open, allowed = limit, "connection refused");
            }
        }
        if post.listener.tls.mode == TlsMode::Implicit {
            return;
        }
        let mut wire = Vec::new();
        reply::too_many_connections().reply().encode(&mut wire);
        if let Ok(mut stream) = stream.into_std() {
            let _ = stream.write(&wire);
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Whether an error is about one connection, which is off the queue with it, and not about accepting (accept(2): errors
/// of the network that are pending on the new connection).
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
}

/// A spell in which connections cannot be accepted: no file descriptors, no memory.
struct Trouble {
    pause: Duration,
    last: Instant,
}

impl Trouble {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    fn new() -> Trouble {
        Trouble { pause: Duration::ZERO, last: Instant::now() }
    }

    /// It was seen again: how long to wait.
    fn pause(&mut self) -> Duration {
        self.last = Instant::now();
        self.pause = (self.pause * 2).clamp(Trouble::SHORTEST, Trouble::LONGEST);
        self.pause
    }

    /// Whether it is over, now that a connection was accepted. At the brink one succeeds after each pause, which is no
    /// end.
    fn over(&self) -> bool {
        self.last.elapsed() > Trouble::LONGEST * 2
    }
}

/// The presence of one session: counted from here to its drop.
struct Presence {
    open: watch::Sender<usize>,
    _slot: Slot,
}

impl Presence {
    fn new(open: &watch::Sender<usize>, slot: Slot) -> Presence {
        open.send_modify(|open| *open = open.saturating_add(1));
        Presence { open: open.clone(), _slot: slot }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // What else an IPv6 address carries, such as its scope, stays.
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}
