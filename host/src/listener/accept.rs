//! The loop at one door. It never waits for a peer, and errors of `accept` neither end it nor make it spin.

use super::Serve;
use super::caller::Caller;
use super::tally::{Slot, Tally};
use crate::config;
use crate::observe::Counters;
use arc_swap::ArcSwap;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
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
        // Fails only when the peer has gone meanwhile.
        let Ok(local) = stream.local_addr() else { return };
        let caller = Caller {
            stream,
            peer: canonical(peer),
            local: canonical(local),
            via: None,
            post: self.post.load_full(),
            counters: Arc::clone(&self.counters),
        };
        let mut slot = match Tally::enter(&caller.post.tally) {
            Ok(slot) => slot,
            Err(full) => return caller.turn_away(full),
        };
        // Whose connection a proxy passes on is not known yet. Until then it counts against the listener's limit alone,
        // so that also connections that never say it are bounded.
        if caller.proxy().is_none()
            && let Err(full) = caller.take_place(&mut slot)
        {
            return caller.turn_away(full);
        }
        self.begin(caller, slot);
    }

    fn begin(&self, caller: Caller, slot: Slot) {
        // Fails only when the peer has gone, and then its session ends soon enough.
        let _ = caller.stream.set_nodelay(true);
        let presence = Presence::new(&self.open, slot);
        let serve = Arc::clone(&self.serve);
        let (mut cut, stop) = (self.cut.clone(), self.stop.clone());
        tokio::spawn(async move {
            // Here, so that it outlives the session also when that panics.
            let mut presence = presence;
            tokio::select! {
                biased;
                _ = cut.wait_for(|cut| *cut) => {}
                () = hold(caller, &mut presence.slot, serve, stop) => {}
            }
        });
    }
}

/// Holds one connection from its first octet to its last.
async fn hold(caller: Caller, slot: &mut Slot, serve: Arc<dyn Serve>, mut stop: watch::Receiver<bool>) {
    let proxied = caller.proxy().is_some();
    let Some(caller) = caller.introduced(&mut stop).await else { return };
    if proxied && let Err(full) = caller.take_place(slot) {
        return caller.turn_away(full);
    }
    serve.serve(caller.accepted(stop)).await;
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
    slot: Slot,
}

impl Presence {
    fn new(open: &watch::Sender<usize>, slot: Slot) -> Presence {
        open.send_modify(|open| *open = open.saturating_add(1));
        Presence { open: open.clone(), slot }
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
