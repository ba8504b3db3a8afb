//! The doors: the sockets that listeners are bound to, who is let in, and the leaving of all.
//!
//! A reload moves the doors as a whole: everything new is bound before anything old is closed, and when something cannot
//! be bound nothing has changed. A proxy that the listener names says first whose connection it passes on, and from there
//! on only that counts. The room counts sessions and does not know what happens in one: it hands each accepted connection
//! to a [`Serve`].

mod accept;
mod bind;
mod caller;
mod header;
mod tally;

pub use bind::BindError;

use crate::config;
use crate::observe::Counters;
use crate::session::via::Via;
use accept::{Entrance, Post};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Holds sessions.
pub trait Serve: Send + Sync {
    /// Holds one session from its first octet to its last. The session counts against the limits until the future ends
    /// or is dropped.
    fn serve(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, without Nagle's delay.
    pub stream: TcpStream,
    /// The client: the one that the header of a proxy names, or the other end. An IPv4 address is never written as IPv6.
    pub peer: SocketAddr,
    /// What the client connected to: as the header says, or this end.
    pub local: SocketAddr,
    /// The proxy it came through.
    pub via: Option<Via>,
    /// The name of the listener that this address belonged to when the connection came.
    pub listener: String,
    /// Becomes true when the server is about to end: finish what is under way, and then leave.
    pub stop: watch::Receiver<bool>,
}

/// All bound sockets, and the sessions that came through them.
pub struct Doors {
    serve: Arc<dyn Serve>,
    counters: Arc<Counters>,
    doors: Vec<Door>,
    /// By listener name; one that is gone stays until its last session went.
    tallies: BTreeMap<String, Arc<Tally>>,
    house: House,
}

/// What sessions and doors hear of each other.
#[derive(Debug)]
struct House {
    /// Sessions there are.
    open: watch::Sender<usize>,
    /// Sessions are to end.
    stop: watch::Sender<bool>,
    /// Sessions end now.
    cut: watch::Sender<bool>,
}

struct Door {
    /// As configured; its port may be 0.
    address: SocketAddr,
    /// As it is; its port is not.
    bound: SocketAddr,
    post: Arc<ArcSwap<Post>>,
    socket: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Doors {
    /// No doors yet.
    pub fn new(serve: Arc<dyn Serve>, counters: Arc<Counters>) -> Doors {
        let house =
            House { open: watch::Sender::new(0), stop: watch::Sender::new(false), cut: watch::Sender::new(false) };
        Doors { serve, counters, doors: Vec::new(), tallies: BTreeMap::new(), house }
    }

    /// Listens on what `listeners` say and on nothing else, and holds to their limits from now on.
    ///
    /// A socket whose address stays is not touched, also when the address goes to another listener. Sessions stay as
    /// they are, those of a listener that is gone too. Must be called within a runtime.
    ///
    /// # Errors
    /// The first address that could not be had. Then everything is as it was.
    pub async fn apply(&mut self, listeners: &BTreeMap<String, Arc<config::Listener>>) -> Result<(), BindError> {
        let wanted: Vec<Wanted> = listeners
            .values()
            .flat_map(|listener| {
                listener.address.iter().map(|&address| Wanted { listener: Arc::clone(listener), address })
            })
            .collect();
        let mut places = self.match_up(&wanted);
        let fresh = self.bind_missing(&wanted, &mut places).await?;

        // From here on nothing fails.
        for listener in listeners.values() {
            self.tallies.entry(listener.name.clone()).or_default().set_limits(listener);
        }
        let mut old: Vec<Option<Door>> = self.doors.drain(..).map(Some).collect();
        let mut fresh = fresh.into_iter();
        for (Wanted { listener, address }, place) in wanted.into_iter().zip(places) {
            let tally = Arc::clone(self.tallies.entry(listener.name.clone()).or_default());
            let post = Post { listener, tally };
            match place.and_then(|place| old.get_mut(place)).and_then(Option::take) {
                Some(door) => {
                    door.post.store(Arc::new(post));
                    self.doors.push(door);
                }
                None => {
                    let Some(socket) = fresh.next() else { continue };
                    tracing::info!(listener = post.listener.name, address = %socket.bound, "listening");
                    let door = self.open(address, socket, post);
                    self.doors.push(door);
                }
            }
        }
        for door in old.into_iter().flatten() {
            tracing::info!(listener = door.post.load().listener.name, address = %door.bound, "no longer listening");
            door.close().await;
        }
        self.tallies.retain(|name, tally| listeners.contains_key(name) || tally.open() > 0);
        Ok(())
    }

    /// Where connections are taken, by listener, with the ports the system gave.
    pub fn bound(&self) -> Vec<(String, SocketAddr)> {
        self.doors.iter().map(|door| (door.post.load().listener.name.clone(), door.bound)).collect()
    }

    /// How many sessions there are by the listener they came to; a listener that is gone is among them while it has any.
    pub fn sessions(&self) -> BTreeMap<String, usize> {
        self.tallies.iter().map(|(name, tally)| (name.clone(), tally.open())).collect()
    }

    /// Takes no more connections, tells sessions to end and waits for them, at most `grace`. Then those that are left
    /// are cut off; how many these were is returned.
    pub async fn drain(&mut self, grace: Duration) -> usize {
        self.house.stop.send_replace(true);
        for door in self.doors.drain(..) {
            door.close().await;
        }
        let mut open = self.house.open.subscribe();
        if timeout(grace, open.wait_for(|open| *open == 0)).await.is_ok() {
            return 0;
        }
        let cut = *open.borrow_and_update();
        self.house.cut.send_replace(true);
        // Being cut takes a session one turn of the runtime, unless something in it blocks the thread.
        let _ = timeout(Duration::from_secs(1), open.wait_for(|open| *open == 0)).await;
        cut
    }

    /// For each wanted address, which of the doors there are serves it: one of the same listener if there is one, else
    /// any of that address.
    fn match_up(&self, wanted: &[Wanted]) -> Vec<Option<usize>> {
        let mut places = vec![None; wanted.len()];
        let mut taken = vec![false; self.doors.len()];
        for same_listener in [true, false] {
            for (Wanted { listener, address }, place) in wanted.iter().zip(&mut places) {
                if place.is_some() {
                    continue;
                }
                let fits = |door: &Door| {
                    door.address == *address && (!same_listener || door.post.load().listener.name == listener.name)
                };
                let found =
                    self.doors.iter().zip(&mut taken).enumerate().find(|(_, (door, taken))| !**taken && fits(door));
                if let Some((at, (_, taken))) = found {
                    *place = Some(at);
                    *taken = true;
                }
            }
        }
        places
    }

    /// Binds every wanted address that no door serves, in order.
    ///
    /// A door that is about to be closed can stand in the way: `0.0.0.0:25` of `192.0.2.1:25`, or the other way round.
    /// Such a one is closed first, and opened again when something fails. `places` follow.
    async fn bind_missing(
        &mut self,
        wanted: &[Wanted],
        places: &mut [Option<usize>],
    ) -> Result<Vec<bind::Socket>, BindError> {
        let mut fresh = Vec::new();
        let mut displaced = Vec::new();
        for (at, Wanted { listener, address }) in wanted.iter().enumerate() {
            if places.get(at).is_some_and(Option::is_some) {
                continue;
            }
            let mut bound = bind::bind(*address);
            while bound.as_ref().is_err_and(bind::in_use) {
                let in_the_way = (0..self.doors.len()).find(|door| {
                    !places.contains(&Some(*door))
                        && self.doors.get(*door).is_some_and(|door| bind::overlap(door.bound, *address))
                });
                let Some(index) = in_the_way else { break };
                let door = self.doors.remove(index);
                for place in places.iter_mut().flatten() {
                    *place -= usize::from(*place > index);
                }
                displaced.push(Displaced { address: door.address, bound: door.bound, post: door.post.load_full() });
                door.close().await;
                bound = bind::bind(*address);
            }
            match bound {
                Ok(socket) => fresh.push(socket),
                Err(source) => {
                    drop(fresh);
                    self.put_back(displaced);
                    return Err(BindError { listener: listener.name.clone(), address: *address, source });
                }
            }
        }
        Ok(fresh)
    }

    fn put_back(&mut self, displaced: Vec<Displaced>) {
        for Displaced { address, bound, post } in displaced {
            match bind::bind(bound) {
                Ok(socket) => {
                    let door = self.open(address, socket, Post::clone(&post));
                    self.doors.push(door);
                }
                Err(error) => {
                    let listener = &post.listener.name;
                    tracing::error!(listener, address = %bound, %error, "an address was lost while trying another");
                }
            }
        }
    }

    fn open(&self, address: SocketAddr, socket: bind::Socket, post: Post) -> Door {
        let post = Arc::new(ArcSwap::from_pointee(post));
        let bind::Socket { listener, bound } = socket;
        let socket = Arc::new(listener);
        let entrance = Entrance {
            post: Arc::clone(&post),
            serve: Arc::clone(&self.serve),
            counters: Arc::clone(&self.counters),
            open: self.house.open.clone(),
            stop: self.house.stop.subscribe(),
            cut: self.house.cut.subscribe(),
        };
        let task = tokio::spawn(entrance.keep(Arc::clone(&socket)));
        Door { address, bound, post, socket, task }
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("bound", &self.bound()).field("tallies", &self.tallies).finish_non_exhaustive()
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        for door in &self.doors {
            door.task.abort();
        }
    }
}

impl Door {
    /// Closes the socket: when this returns, the address is free.
    async fn close(self) {
        self.task.abort();
        let _ = self.task.await;
        drop(self.socket);
    }
}

/// An address, and who is to have it.
struct Wanted {
    listener: Arc<config::Listener>,
    address: SocketAddr,
}

/// A door that was closed to make room for another.
struct Displaced {
    address: SocketAddr,
    bound: SocketAddr,
    post: Arc<Post>,
}

#[cfg(test)]
mod tests;
