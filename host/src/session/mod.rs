//! One accepted connection, from the banner to the end: the only room where socket, machine, policy and spool meet.
//!
//! The page to read is [`converse`]: it feeds what the peer sends to the machine and obeys the machine's steps. What the
//! steps mean is next door: [`answer`] for what the host and its policy decide, [`transport`] for the octets,
//! [`facts`] and [`context`] for what is known, [`relay`] for the one decision that can make an open relay. The room does
//! not know who decides ([`policy`] is a trait), how configuration is read, or what becomes of a message once it is on disk.

pub mod admission;
mod answer;
mod authentication;
mod body;
pub mod change;
mod commit;
pub mod context;
pub mod envelope;
pub mod facts;
pub mod generation;
mod handover;
pub mod header;
mod hold;
mod identity;
mod login;
mod mechanisms;
pub mod message;
mod moving;
mod naming;
pub mod policy;
mod recipient;
mod relay;
#[allow(clippy::module_inception, reason = "the room and what it is about have one name")]
mod session;
mod settings;
mod share;
mod trace;
mod transport;
pub mod via;
mod wait;

use crate::auth::{Attempts, Hashing, Users};
use crate::config::Manners;
use crate::observe::Counters;
use crate::spool::Spool;
use generation::Generation;
use moving::Moved;
use pillarbox_smtp::{Patience, Server, Step, reply};
use session::Session;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use transport::{Stream, Transport};
use via::Via;
use wait::{Wait, Woken};

/// What all sessions share.
#[derive(Debug)]
pub struct Service {
    /// The newest generation.
    pub generations: watch::Receiver<Arc<Generation>>,
    /// Where messages become durable.
    pub spool: Spool,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Failed logins, over all sessions.
    pub attempts: Attempts,
    /// Places for the hashing of passwords.
    pub hashing: Hashing,
    /// Whom SCRAM is made to believe in where there is no file of users.
    pub nobody: Arc<Users>,
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
    /// The proxy that says so, if one does.
    pub via: Option<Via>,
    /// The listener's name.
    pub listener: String,
    /// Becomes true when the server ends.
    pub stop: watch::Receiver<bool>,
}

/// The ends of a connection: the peer's, ours, and the proxy between them.
type Ends = (SocketAddr, SocketAddr, Option<Via>);

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

/// How long a peer has to take what it is told when the server ends.
const PARTING: Duration = Duration::from_secs(2);

/// Holds one session to its end.
pub async fn serve<S: Stream>(arrival: Arrival<S>, service: Arc<Service>) {
    let Arrival { stream, peer, local, via, listener, mut stop } = arrival;
    let mut transport = Transport::Plain(stream);
    let Some(mut session) = open((peer, local, via), &listener, service).await else {
        let mut farewell = Vec::new();
        reply::reconfigured().reply().encode(&mut farewell);
        let _ = transport.write(&farewell, Duration::from_secs(2)).await;
        transport.close().await;
        until_stopped(&mut stop, transport.linger()).await;
        return;
    };
    let mut stopped = stop.clone();
    let end = match session.implicit_tls() {
        Some(acceptor) => match until_stopped(&mut stop, Box::pin(transport.encrypt(&acceptor))).await {
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
    // What is left is the socket: nothing else of the session waits for its peer. Whoever took nothing while the server
    // ends has had its time.
    if end != End::Broken || !*stopped.borrow() {
        until_stopped(&mut stopped, transport.linger()).await;
    }
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
async fn open(ends: Ends, listener: &str, service: Arc<Service>) -> Option<Session> {
    let mut generations = service.generations.clone();
    let there = generations.wait_for(|generation| generation.posts.contains_key(listener));
    let _ = tokio::time::timeout(Duration::from_secs(1), there).await.ok()?.ok()?;
    Session::open(ends, listener, service)
}

/// Listens before the banner, where the listener wants to know who talks early.
async fn listen<S: Stream>(
    session: &mut Session,
    machine: &mut Server,
    transport: &mut Transport<S>,
) -> std::io::Result<()> {
    let limits = session.limits();
    if limits.banner_delay.is_zero() && limits.early_talk == Manners::Allow {
        return Ok(());
    }
    let read = poll_fn(|context| transport.poll_read(context, |octets| machine.receive(octets)));
    if let Ok(read) = tokio::time::timeout(limits.banner_delay, read).await {
        match read? {
            0 => machine.end_of_input(),
            _ => session.talked_early(),
        }
    }
    Ok(())
}

/// The conversation: one step of the machine after the other, until it closes or the peer is gone.
async fn converse<S: Stream>(session: &mut Session, transport: &mut Transport<S>, stop: watch::Receiver<bool>) -> End {
    let mut machine = Server::new(session.settings());
    let mut wait = Wait::new(stop);
    if !matches!(until_stopped(&mut wait.stop, Box::pin(listen(session, &mut machine, transport))).await, Some(Ok(())))
    {
        return End::Broken;
    }
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
                    Woken::Expired(why) => machine.expire(why),
                    Woken::Stopping => machine.shut(reply::shutting_down()),
                    Woken::Removed => machine.shut(reply::reconfigured()),
                    Woken::Broken => return End::Broken,
                }
            }
            Step::Write(bytes) => {
                // Whoever has read a refusal finds it in the log and the counts.
                note(session, &mut machine);
                let write = transport.write(&bytes, session.patience(Patience::Command));
                match until_stopped(&mut wait.stop, write).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        // The system's own, of a peer that is gone, has a number.
                        if error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none() {
                            session.takes_nothing();
                        }
                        return End::Broken;
                    }
                    None => return End::Broken,
                }
            }
            Step::Tarpit(errors) => {
                let _ = until_stopped(&mut wait.stop, session.tarpit(errors)).await;
            }
            Step::Turn => {
                if !machine.in_message() {
                    wait.between_messages();
                }
                // A command: whatever waited for another line got none it could use.
                session.in_exchange = false;
                session.leave_exchange();
                session.after_reply().await;
                if wait.stopping() {
                    machine.shut(reply::shutting_down());
                } else if !machine.in_transaction() {
                    match session.move_on().await {
                        Moved::Stays => session.check_login(),
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
                match until_stopped(&mut wait.stop, Box::pin(transport.encrypt(&acceptor))).await {
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
        note(session, &mut machine);
        if let Some(settings) = session.changed_settings() {
            machine.set_settings(settings);
        }
    }
}

/// Notes what the machine refused by itself.
fn note(session: &Session, machine: &mut Server) {
    for noted in machine.refusals() {
        session.note_protocol(&noted);
    }
}
