//! One transaction: MAIL, RCPT, the message and its end, and what each recipient got for it.
//!
//! Until the end of the message was sent nothing was taken over, and all may be said again elsewhere. From then on what
//! was not answered is uncertain: it is tried again, since nothing may be lost, and may arrive twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Inner;
use super::command;
use super::connection::Connection;
use super::content::{PIECE, Pieces, Stuffing};
use super::convert::Plan;
use super::fault::{Fault, Phase, is_too_many, judged};
use super::reply::Reply;
use super::wire::Lost;
use crate::config::HopProtocol;
use crate::spool::{Duty, Failure, Outcome, Reach, Receipt, Stored};

/// Recipients of one transaction: what every server takes (RFC 5321 section 4.5.3.1.8).
pub(super) const RECIPIENTS: usize = 100;
/// Octets a second of a message that a server takes at least, beside the time for each piece: whoever is slower would
/// hold a connection for days.
const FLOOR: u64 = 4 * 1024;
/// How long a reply is waited for that may have come before the connection broke.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Servers that fell silent, or went away, over commands that were said ahead: some announce PIPELINING and do not know
/// how. They are asked one thing at a time from then on, which is slower and nothing else.
#[derive(Debug, Default)]
pub(super) struct Hesitant(Mutex<BTreeSet<String>>);

impl Hesitant {
    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn add(&self, name: String) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < HESITANT {
            names.insert(name);
        }
    }
}

const HESITANT: usize = 1000;

/// What came of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// Recipients that the server takes in another transaction.
    pub(super) again: Vec<usize>,
    /// Whether the connection can be used for another.
    pub(super) usable: bool,
}

/// A transaction as it goes.
struct Transaction<'a> {
    connection: &'a mut Connection,
    relay: &'a Inner,
    stored: &'a Arc<Stored>,
    plan: &'a Plan,
    pipelined: bool,
    ended: Ended,
}

/// Sends a message to some of its recipients.
///
/// # Errors
/// The connection failed, or the server went away, before anything of the message was sent.
pub(super) async fn transact(
    connection: &mut Connection,
    relay: &Inner,
    stored: &Arc<Stored>,
    plan: &Plan,
    batch: &[usize],
) -> Result<Ended, Fault> {
    connection.reset(relay).await?;
    let ended = Ended { outcomes: Vec::new(), again: Vec::new(), usable: true };
    let fresh = connection.messages == 0;
    let name = connection.server.name.clone();
    let pipelined = connection.keywords.pipelining && !relay.hesitant.has(&name);
    let mut transaction = Transaction { connection, relay, stored, plan, pipelined, ended };
    let done = transaction.run(batch).await;
    if done.is_err() && pipelined && fresh {
        relay.hesitant.add(name);
    }
    done.map(|()| transaction.ended)
}

impl Transaction<'_> {
    async fn run(&mut self, batch: &[usize]) -> Result<(), Fault> {
        let envelope = &self.stored.envelope;
        let hop = &self.connection.keywords;
        let parameters = &self.plan.mail_parameters;
        let mail = match command::mail(envelope, self.plan.body.len(), now(), hop, parameters) {
            Ok(mail) => mail,
            Err(fault) => return self.all(batch, fault.outcome()),
        };
        let mut recipients = Vec::new();
        for &index in batch {
            let Some(recipient) = envelope.recipients.get(index) else { continue };
            match command::rcpt(recipient, hop) {
                Ok(line) => recipients.push((index, line)),
                Err(fault) => self.ended.outcomes.push((index, fault.outcome())),
            }
        }
        if recipients.is_empty() {
            return Ok(());
        }
        if self.pipelined {
            // RFC 2920 section 3.1: DATA is the last of its group. At most as much as is written ahead here fits what lies
            // between the two, whose answers are read only then.
            let mut group = mail.clone();
            recipients.iter().for_each(|(_, line)| group.push_str(line));
            group.push_str(if self.plan.body.binary() { "" } else { DATA });
            let sent = self.connection.wire.send(group.as_bytes(), self.relay.target.timeouts.command).await;
            // The server may have said why.
            if let Err(Lost::Slow(_)) = &sent {
                return sent.map_err(|lost| self.connection.lost(Phase::Mail, &lost));
            }
        }
        self.connection.in_transaction = true;

        let reply = self.ask(Phase::Mail, &mail).await?;
        if !reply.is_success() {
            return self.no_mail(&reply, &recipients).await;
        }
        let (mut accepted, mut all_refused) = (Vec::new(), true);
        for (at, (index, line)) in recipients.iter().enumerate() {
            let reply = self.ask(Phase::Recipient, line).await?;
            all_refused &= reply.code >= 400;
            if reply.is_success() {
                accepted.push(*index);
            } else if reply.code == 421 {
                self.ended.usable = false;
                let rest = recipients.get(at..).unwrap_or_default().iter().map(|(index, _)| *index);
                let rest: Vec<usize> = accepted.into_iter().chain(rest).chain(self.ended.again.drain(..)).collect();
                let outcome = self.judged(Phase::Recipient, &reply, Reach::Destination);
                return self.all(&rest, outcome);
            } else if is_too_many(&reply) && !accepted.is_empty() {
                // RFC 5321 section 4.5.3.1.10: the rest in another transaction.
                self.ended.again.push(*index);
            } else {
                let outcome = self.judged(Phase::Recipient, &reply, Reach::Recipient);
                self.ended.outcomes.push((*index, outcome));
            }
        }
        if accepted.is_empty() {
            self.take_back_data(all_refused).await;
            return Ok(());
        }
        if self.plan.body.binary() {
            return self.chunks(&accepted).await;
        }
        let reply = self.ask(Phase::Data, DATA).await?;
        if reply.code != 354 {
            let outcome = self.judged(Phase::Data, &reply, Reach::Message);
            return self.all(&accepted, outcome);
        }
        self.lines(&accepted).await
    }

    /// Says a command, unless it was said ahead, and waits for its reply.
    async fn ask(&mut self, phase: Phase, line: &str) -> Result<Reply, Fault> {
        let reply = match self.pipelined {
            true => self.connection.reply(self.relay, phase).await?,
            false => self.connection.command(self.relay, phase, line).await?,
        };
        if reply.code == 421 && phase != Phase::Recipient {
            return Err(Fault::turned_away(&self.connection.server.name, phase, &reply));
        }
        Ok(reply)
    }

    async fn no_mail(&mut self, reply: &Reply, recipients: &[(usize, String)]) -> Result<(), Fault> {
        let outcome = self.judged(Phase::Mail, reply, Reach::Message);
        let everybody: Vec<usize> = recipients.iter().map(|(index, _)| *index).collect();
        if self.pipelined {
            let mut all_refused = true;
            for _ in recipients {
                let Ok(reply) = self.connection.reply(self.relay, Phase::Recipient).await else {
                    self.ended.usable = false;
                    return self.all(&everybody, outcome);
                };
                all_refused &= reply.code >= 400;
            }
            self.take_back_data(all_refused).await;
        }
        self.all(&everybody, outcome)
    }

    /// A DATA that was said ahead, and has nobody to go to. A server that wants a message all the same is sent an empty
    /// one (RFC 2920 section 3.1); in LMTP nobody could tell how it answers that (RFC 2033 section 4.2). Where it did not
    /// refuse all recipients, having refused MAIL or said what is neither yes nor no, it would deliver the empty one to them:
    /// only the end of the connection takes that back.
    async fn take_back_data(&mut self, all_refused: bool) {
        if !self.pipelined || self.plan.body.binary() {
            return;
        }
        let patience = self.relay.target.timeouts.command;
        self.ended.usable &= match self.connection.wire.reply(patience).await {
            Ok(reply) if reply.code == 354 => {
                all_refused
                    && self.relay.target.protocol == HopProtocol::Smtp
                    && self.connection.wire.send(b".\r\n", patience).await.is_ok()
                    && self.connection.wire.reply(patience).await.is_ok()
            }
            Ok(reply) => reply.code != 421,
            Err(_) => false,
        };
    }

    /// The message by DATA.
    async fn lines(&mut self, accepted: &[usize]) -> Result<(), Fault> {
        let (mut pieces, mut stuffing) = (Pieces::new(self.plan.body.read()), Stuffing::new());
        let deadline = self.deadline();
        loop {
            let piece = match pieces.next().await {
                Ok(piece) => piece,
                Err(error) => return self.unreadable(accepted, &error),
            };
            let mut octets = stuffing.stuff(&piece);
            let last = piece.len() < PIECE;
            if last {
                octets.extend_from_slice(stuffing.end());
                // A reply that came before there was anything to reply to would be taken for one to the end.
                if !self.connection.wire.is_quiet().await {
                    return self.early(accepted, &Lost::OutOfTurn).await;
                }
            }
            let sent = self.connection.wire.send(&octets, self.patience(deadline)).await;
            match (sent, last) {
                (Ok(()), false) => {}
                (Ok(()), true) => return self.end(accepted, self.relay.target.timeouts.end_of_data).await,
                (Err(lost), false) => return self.early(accepted, &lost).await,
                // Its last octets may have gone out.
                (Err(_), true) => return self.end(accepted, LAST_WORDS).await,
            }
        }
    }

    /// The message by BDAT (RFC 3030), whose octets may be any.
    async fn chunks(&mut self, accepted: &[usize]) -> Result<(), Fault> {
        let mut pieces = Pieces::new(self.plan.body.read());
        let deadline = self.deadline();
        loop {
            let piece = match pieces.next().await {
                Ok(piece) => piece,
                Err(error) => return self.unreadable(accepted, &error),
            };
            let last = piece.len() < PIECE;
            let mut octets = format!("BDAT {}{}\r\n", piece.len(), if last { " LAST" } else { "" }).into_bytes();
            octets.extend_from_slice(&piece);
            if !self.connection.wire.is_quiet().await {
                return self.early(accepted, &Lost::OutOfTurn).await;
            }
            let sent = self.connection.wire.send(&octets, self.patience(deadline)).await;
            match (sent, last) {
                (Ok(()), true) => return self.end(accepted, self.relay.target.timeouts.end_of_data).await,
                (Err(_), true) => return self.end(accepted, LAST_WORDS).await,
                (Err(lost), false) => return self.early(accepted, &lost).await,
                (Ok(()), false) => match self.connection.wire.reply(self.relay.target.timeouts.command).await {
                    Ok(reply) if reply.is_success() => {}
                    Ok(reply) => {
                        let outcome = self.judged(Phase::Content, &reply, Reach::Message);
                        return self.all(accepted, outcome);
                    }
                    Err(lost) => return self.early(accepted, &lost).await,
                },
            }
        }
    }

    /// The answer to the end of the message; in LMTP one for each recipient (RFC 2033 section 4.2).
    async fn end(&mut self, accepted: &[usize], patience: Duration) -> Result<(), Fault> {
        let each = self.relay.target.protocol == HopProtocol::Lmtp;
        let mut waiting = accepted;
        while let Some((&index, rest)) = waiting.split_first() {
            let reply = match self.connection.wire.reply(patience).await {
                Ok(reply) => reply,
                Err(lost) => return self.uncertain(waiting, &lost),
            };
            // An answer that is none: neither yes nor no.
            if reply.code / 100 == 3 {
                return self.uncertain(waiting, &Lost::OutOfTurn);
            }
            let outcome = match reply.is_success() {
                true => Outcome::Delivered(self.receipt(&reply)),
                false => self.judged(Phase::End, &reply, if each { Reach::Recipient } else { Reach::Message }),
            };
            if !each {
                self.connection.in_transaction = false;
                return self.all(waiting, outcome);
            }
            self.ended.outcomes.push((index, outcome));
            waiting = rest;
        }
        self.connection.in_transaction = false;
        Ok(())
    }

    /// The connection failed, or the server spoke, before the end of the message was sent: nothing was taken over.
    async fn early(&mut self, accepted: &[usize], lost: &Lost) -> Result<(), Fault> {
        self.ended.usable = false;
        let outcome = match self.connection.wire.reply(LAST_WORDS).await {
            Ok(reply) if reply.code >= 400 => self.judged(Phase::Content, &reply, Reach::Message),
            Ok(_) => self.broken(&Lost::OutOfTurn),
            Err(_) => self.broken(lost),
        };
        self.all(accepted, outcome)
    }

    fn broken(&self, lost: &Lost) -> Outcome {
        let mut fault = self.connection.lost(Phase::Content, lost);
        fault.failure.reach = Reach::Message;
        fault.outcome()
    }

    fn uncertain(&mut self, waiting: &[usize], lost: &Lost) -> Result<(), Fault> {
        let mut failure = self.connection.lost(Phase::End, lost).failure;
        failure.reach = Reach::Message;
        failure.text = crate::spool::one_line(&format!("{} (uncertain: it may have been taken)", failure.text));
        for index in waiting {
            let envelope = &self.stored.envelope;
            let recipient = envelope.recipients.get(*index).map(|recipient| recipient.address.as_str());
            tracing::warn!(
                session = envelope.session.as_str(),
                id = envelope.id.as_str(),
                recipient,
                server = %self.connection.server,
                reason = failure.text.as_str(),
                "delivery uncertain"
            );
        }
        self.ended.usable = false;
        self.all(waiting, Outcome::Deferred(failure))
    }

    fn unreadable(&mut self, accepted: &[usize], error: &std::io::Error) -> Result<(), Fault> {
        // The server waits for the rest: only the end of the connection takes back what was begun.
        self.ended.usable = false;
        let text = format!("the message cannot be read: {error}");
        self.all(accepted, Outcome::Deferred(Failure::local("4.3.0", text, Reach::Message)))
    }

    fn all(&mut self, indices: &[usize], outcome: Outcome) -> Result<(), Fault> {
        self.ended.outcomes.extend(indices.iter().map(|&index| (index, outcome.clone())));
        Ok(())
    }

    /// What a refusal comes to. After 421 the connection is closed, and an answer that fits no question says that the two
    /// sides no longer speak of the same.
    fn judged(&mut self, phase: Phase, reply: &Reply, reach: Reach) -> Outcome {
        if reply.code < 400 || reply.code == 421 {
            self.ended.usable = false;
        }
        judged(&self.connection.server.name, phase, reply, reach)
    }

    fn receipt(&self, reply: &Reply) -> Receipt {
        let server = &self.connection.server;
        let duty = match (self.connection.keywords.dsn, self.relay.target.protocol) {
            (true, _) => Duty::NextHop,
            // Behind LMTP is the mailbox (RFC 2033 section 1).
            (false, HopProtocol::Lmtp) => Duty::Delivered,
            (false, HopProtocol::Smtp) => Duty::Relayed,
        };
        Receipt {
            to: self.relay.receipt_name(server),
            remote: Some(server.name.clone()),
            reply: Some(reply.on_one_line()),
            duty,
        }
    }

    fn deadline(&self) -> Instant {
        let patience = Duration::from_secs(self.stored.content_len / FLOOR);
        Instant::now() + self.relay.target.timeouts.data + patience
    }

    fn patience(&self, deadline: Instant) -> Duration {
        self.relay.target.timeouts.data.min(deadline.saturating_duration_since(Instant::now()))
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const DATA: &str = "DATA\r\n";
