//! One accepted connection, from the banner to the end: the only room where socket, machine, policy and spool meet.
//!
//! The page to read is [`converse`]: it feeds what the peer sends to the machine and obeys the machine's steps. What the
//! steps mean is next door: [`answer`] for what the host and its policy decide, [`transport`] for the octets,
//! [`facts`] and [`context`] for what is known, [`relay`] for the one decision that can make an open relay. The room does
//! not know who decides ([`policy`] is a trait), how configuration is read, or what becomes of a message once it is on disk.

mod answer;
mod body;
pub mod change;
mod commit;
pub mod context;
pub mod facts;
pub mod generation;
mod identity;
pub mod message;
pub mod policy;
mod relay;
#[allow(clippy::module_inception, reason = "the room and what it is about have one name")]
mod session;
mod trace;
mod transport;
pub mod via;

use crate::observe::Counters;
use crate::spool::Spool;
use generation::Generation;
use pillarbox_smtp::{Patience, Server, Step, reply};
use session::{Moved, Session};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use transport::{Stream, Transport};

/// What all sessions share.
#[derive(Debug)]
pub struct Service {
    /// The newest generation.
    pub generations: watch::Receiver<Arc<Generation>>,
    /// Where messages become durable.
    pub spool: Spool,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// A connection as the listener hands it over.
#[derive(Debug)]
pub struct Arrival<S> {
    /// The stream.
    pub stream: S,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: String,
    /// Becomes true when the server ends.
    pub stop: watch::Receiver<bool>,
}

/// How a session ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The machine said so: QUIT, or a refusal that closes.
    Closed,
    /// The peer went without QUIT.
    Lost,
    /// Reading or writing failed, or the peer took nothing for too long.
    Broken,
    /// The TLS handshake failed.
    Handshake,
}

/// Sessions keep guests' instances this long after a command; what idles longer rests without them.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How long a peer has to take what it is told when the server ends.
const PARTING: Duration = Duration::from_secs(2);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Holds one session to its end.
pub async fn serve<S: Stream>(arrival: Arrival<S>, service: Arc<Service>) {
    let Arrival { stream, peer, local, listener, mut stop } = arrival;
    let mut transport = Transport::Plain(stream);
    let Some(mut session) = open(peer, local, &listener, service).await else {
        let mut farewell = Vec::new();
        reply::reconfigured().reply().encode(&mut farewell);
        let _ = transport.write(&farewell, Duration::from_secs(2)).await;
        return transport.close().await;
    };
    let end = match session.implicit_tls() {
        Some(acceptor) => match until_stopped(&mut stop, transport.encrypt(&acceptor, HANDSHAKE)).await {
            Some(Ok(tls)) => {
                session.under_tls(tls);
                converse(&mut session, &mut transport, stop).await
            }
            Some(Err(error)) => {
                session.handshake_failed(&error);
                End::Handshake
            }
            None => End::Broken,
        },
        None => converse(&mut session, &mut transport, stop).await,
    };
    transport.close().await;
    session.end(end).await;
}

/// Does what depends on the peer alone, and gives it up a moment after the server was told to end: a peer that takes
/// nothing, or never finishes a handshake, does not hold the end up.
async fn until_stopped<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(PARTING).await;
        } => None,
    }
}

/// Opens the session, if its listener is still there. Addresses are bound a moment before the generation that wants them
/// is published, so one that is not there yet is waited for.
async fn open(peer: SocketAddr, local: SocketAddr, listener: &str, service: Arc<Service>) -> Option<Session> {
    let mut generations = service.generations.clone();
    let there = generations.wait_for(|generation| generation.posts.contains_key(listener));
    let _ = tokio::time::timeout(Duration::from_secs(1), there).await.ok()?.ok()?;
    Session::open(peer, local, listener, service)
}

/// The conversation: one step of the machine after the other, until it closes or the peer is gone.
async fn converse<S: Stream>(session: &mut Session, transport: &mut Transport<S>, stop: watch::Receiver<bool>) -> End {
    let mut machine = Server::new(session.settings());
    let mut wait = Wait { deadline: Instant::now(), stop, stop_open: true };
    let mut end = End::Closed;
    loop {
        match machine.step() {
            Step::Read { patience, renewed } => {
                session.after_reply().await;
                match wait.until_input(patience, renewed, &mut machine, session, transport).await {
                    Woken::Input => {}
                    Woken::Ended => {
                        end = End::Lost;
                        machine.end_of_input();
                    }
                    Woken::Expired => machine.expire(),
                    Woken::Stopping => machine.shut(reply::shutting_down()),
                    Woken::Removed => machine.shut(reply::reconfigured()),
                    Woken::Broken => return End::Broken,
                }
            }
            Step::Write(bytes) => {
                let write = transport.write(&bytes, session.patience(Patience::Command));
                if !matches!(until_stopped(&mut wait.stop, write).await, Some(Ok(()))) {
                    return End::Broken;
                }
            }
            Step::Turn => {
                // A command: whatever waited for another line got none it could use.
                session.in_exchange = false;
                session.after_reply().await;
                if wait.stopping() {
                    machine.shut(reply::shutting_down());
                } else if !machine.in_transaction() {
                    match session.move_on().await {
                        Moved::Stays => {}
                        Moved::Removed => machine.shut(reply::reconfigured()),
                        Moved::Refused(refusal) => machine.lock(refusal),
                    }
                }
            }
            Step::Reset => session.reset(),
            Step::Ask(ask) => session.answer(ask).await,
            Step::Body(bytes) => session.body(bytes).await,
            Step::Abort => session.abort().await,
            Step::StartTls => {
                let Some(acceptor) = session.acceptor() else { return End::Broken };
                match until_stopped(&mut wait.stop, transport.encrypt(&acceptor, HANDSHAKE)).await {
                    Some(Ok(tls)) => {
                        machine.secured();
                        session.secured(tls);
                    }
                    Some(Err(error)) => {
                        session.handshake_failed(&error);
                        return End::Handshake;
                    }
                    None => return End::Broken,
                }
            }
            Step::Close => return end,
        }
        for reply in machine.refusals() {
            session.note_protocol(&reply);
        }
        if let Some(settings) = session.changed_settings() {
            machine.set_settings(settings);
        }
    }
}

/// What ended a wait for input.
enum Woken {
    Input,
    Ended,
    Expired,
    Stopping,
    Removed,
    Broken,
}

/// The waiting of one session: its deadline, and what may end it early.
struct Wait {
    deadline: Instant,
    stop: watch::Receiver<bool>,
    stop_open: bool,
}

impl Wait {
    fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the peer sends something, or something else comes first.
    ///
    /// The deadline is moved only when the machine says that something was completed: a peer that sends a command octet
    /// by octet does not renew its time (slow loris).
    async fn until_input<S: Stream>(
        &mut self,
        patience: Patience,
        renewed: bool,
        machine: &mut Server,
        session: &mut Session,
        transport: &mut Transport<S>,
    ) -> Woken {
        let began = Instant::now();
        if renewed {
            self.deadline = began + session.patience(patience);
        } else if began >= self.deadline {
            // Also for a peer that never stops sending: its octets are always there before the clock is asked.
            return Woken::Expired;
        }
        let mut rested = false;
        loop {
            // In a message nothing but its octets matters: a stop or a reload lets it finish.
            let between = patience == Patience::Command;
            if between && self.stopping() {
                return Woken::Stopping;
            }
            if between && !machine.in_transaction() && !session.release() {
                return Woken::Removed;
            }
            tokio::select! {
                biased;
                read = poll_fn(|context| transport.poll_read(context, |octets| machine.receive(octets))) => {
                    return match read {
                        Ok(0) => Woken::Ended,
                        Ok(_) => Woken::Input,
                        Err(_) => Woken::Broken,
                    };
                }
                () = sleep_until(self.deadline) => return Woken::Expired,
                () = sleep_until(began + REST_AFTER), if between && !rested => {
                    session.rest();
                    rested = true;
                }
                changed = self.stop.changed(), if between && self.stop_open => self.stop_open = changed.is_ok(),
                () = session.published(), if between => {}
            }
        }
    }
}
