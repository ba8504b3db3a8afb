//! What the host keeps of one session, and how it follows the configuration: opening, settling what holds for the client,
//! going over to a newer generation, and the end. What it says to the machine's questions stands in [`super::answer`].

use super::body::Incoming;
use super::context::{Origin, Scope};
use super::facts::{Facts, HostName, Phase};
use super::generation::{Generation, Post};
use super::login::Exchange;
use super::moving::Before;
use super::policy::{Memory, Policy};
use super::{End, Ends, Service, relay, trace};
use crate::config::{self, Rules, TlsMode};
use crate::observe::chain;
use crate::tls;
use pillarbox_smtp::{Patience, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// However many errors came at once, no reply is held back longer.
const LONGEST_TARPIT: Duration = Duration::from_secs(30);

/// One session.
pub(super) struct Session {
    pub(super) service: Arc<Service>,
    pub(super) generations: watch::Receiver<Arc<Generation>>,
    pub(super) generation: u64,
    pub(super) post: Arc<Post>,
    pub(super) policy: Box<dyn Policy>,
    pub(super) facts: Arc<Facts>,
    pub(super) rules: Rules,
    pub(super) incoming: Option<Incoming>,
    /// The id to tell `accepted` hooks of, once the 250 is written.
    pub(super) accepted: Option<String>,
    /// Messages accepted, whoever the client was.
    pub(super) messages: u64,
    /// Messages begun, for their ids.
    pub(super) begun: u64,
    /// Set when a newer generation took the policy's place between commands, until the next command has been judged by
    /// it: what stood before.
    pub(super) moving: Option<Before>,
    /// Verbs whose extension went with a reload, until the next EHLO.
    pub(super) gone: BTreeSet<String>,
    /// A verb waits for another line.
    pub(super) in_exchange: bool,
    /// Replies to errors were held back.
    tarpitted: bool,
    /// Where the connection comes from, whatever is said of the client.
    pub(super) door: IpAddr,
    /// What proved the user at the login.
    pub(super) proof: Option<[u8; 32]>,
    /// AUTH waits for a response.
    pub(super) exchange: Option<Exchange>,
    /// When the transaction began.
    transaction_since: Option<tokio::time::Instant>,
    /// Somebody in front said what the client's name is, or that it has none.
    pub(super) named: bool,
    /// Whose name was looked up, and what it is.
    pub(super) looked_up: Option<(IpAddr, HostName)>,
    pub(super) changed: bool,
    since: Instant,
}

impl Session {
    /// Opens a session of this listener, if there still is such a listener.
    pub(super) fn open((peer, local, via): Ends, listener: &str, service: Arc<Service>) -> Option<Session> {
        let mut generations = service.generations.clone();
        let newest = generations.borrow_and_update().clone();
        let post = newest.posts.get(listener)?.clone();
        let mut facts = Facts::new(trace::session_id(), listener.into(), peer, local);
        facts.lmtp = post.listener.protocol == Protocol::Lmtp;
        match &via {
            Some(via) => {
                facts.came_by(via);
                tracing::info!(session = &*facts.id, listener, peer = %peer, proxy = %via.proxy, "session opened");
            }
            None => tracing::info!(session = &*facts.id, listener, peer = %peer, "session opened"),
        }
        service.counters.session_opened();
        let mut session = Session {
            generations,
            generation: newest.number,
            policy: post.extensions.open(Memory::new(), &facts),
            rules: post.listener.rules_for(facts.client.endpoint.address),
            facts: Arc::new(facts),
            post,
            service,
            incoming: None,
            accepted: None,
            messages: 0,
            begun: 0,
            moving: None,
            gone: BTreeSet::new(),
            in_exchange: false,
            tarpitted: false,
            door: peer.ip(),
            proof: None,
            exchange: None,
            transaction_since: None,
            named: false,
            looked_up: None,
            changed: false,
            since: Instant::now(),
        };
        session.settle();
        Some(session)
    }

    /// The facts, to change.
    pub(super) fn facts_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    /// Resolves what holds for this session from listener, peer and client, anew whenever one of them changed.
    pub(super) fn settle(&mut self) {
        self.rules = self.post.listener.rules_for(self.facts.client.endpoint.address);
        let rules = self.rules.clone();
        self.facts_mut().configured(&rules);
        self.changed = true;
        self.settle_rights();
    }

    /// Notes the rights that follow from login and client.
    pub(super) fn settle_rights(&mut self) {
        let can_relay = relay::anywhere(&self.rules, &self.facts).is_some();
        self.changed |= self.facts_mut().mirror_relay(can_relay);
    }

    /// How long the peer may take.
    pub(super) fn patience(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Command => self.rules.limits.command_timeout,
            Patience::Data => self.rules.limits.data_timeout,
        }
    }

    /// What holds for this client.
    pub(super) fn limits(&self) -> &config::Limits {
        &self.rules.limits
    }

    /// Until when the transaction must be over.
    pub(super) fn transaction_deadline(&self) -> Option<tokio::time::Instant> {
        self.transaction_since.map(|since| since + self.rules.limits.transaction_timeout)
    }

    /// A transaction began.
    pub(super) fn begin_transaction(&mut self) {
        self.transaction_since = Some(tokio::time::Instant::now());
    }

    /// Waits for the replies to so many errors.
    pub(super) async fn tarpit(&mut self, errors: u32) {
        let wait = self.rules.limits.tarpit.saturating_mul(errors).min(LONGEST_TARPIT);
        if wait.is_zero() {
            return;
        }
        // Said once: each error says for itself what it was.
        if !std::mem::replace(&mut self.tarpitted, true) {
            self.service.counters.limit_reached("tarpit-after");
            let (session, client) = (&*self.facts.id, &*self.facts.client_address());
            tracing::info!(session, limit = "tarpit-after", client, "replies to errors are held back");
        }
        tokio::time::sleep(wait).await;
    }

    /// The peer did not take in time what it was told, and cannot be told that either.
    pub(super) fn takes_nothing(&self) {
        self.service.counters.limit_reached("command-timeout");
        let (session, client) = (&*self.facts.id, &*self.facts.client_address());
        tracing::info!(session, limit = "command-timeout", client, "replies are not taken");
    }

    /// The peer sent something before the banner.
    pub(super) fn talked_early(&mut self) {
        tracing::info!(session = &*self.facts.id, client = &*self.facts.client_address(), "talked before the banner");
        self.facts_mut().context.set(Scope::Connection, "early_talker", "yes", Origin::Host);
    }

    /// The login changed: what it may do, and what AUTH is to it.
    pub(super) fn settle_login(&mut self) {
        self.changed = true;
        self.settle_rights();
    }

    /// What to encrypt with.
    pub(super) fn acceptor(&self) -> Option<tls::Acceptor> {
        self.post.tls.clone()
    }

    /// What to encrypt with before the first octet, on a listener of implicit TLS.
    pub(super) fn implicit_tls(&self) -> Option<tls::Acceptor> {
        (self.post.listener.tls.mode == TlsMode::Implicit).then(|| self.acceptor()).flatten()
    }

    /// TLS was there before the first octet.
    pub(super) fn under_tls(&mut self, tls: tls::Facts) {
        self.facts_mut().tls(tls);
    }

    /// TLS began within the session: what was said in the clear counts no more (RFC 3207 4.2).
    pub(super) fn secured(&mut self, tls: tls::Facts) {
        tracing::info!(session = &*self.facts.id, version = &*tls.version, cipher = &*tls.cipher, "tls started");
        self.policy.forget();
        self.exchange = None;
        self.gone.clear();
        self.reset();
        self.facts_mut().secured(tls);
        self.settle();
    }

    /// The handshake failed.
    pub(super) fn handshake_failed(&self, error: &tls::HandshakeError) {
        self.service.counters.handshake_failed();
        let error = chain(error);
        tracing::info!(session = &*self.facts.id, error = &*error, "tls handshake failed");
    }

    /// The message scope is over.
    pub(super) fn reset(&mut self) {
        self.end_transaction();
        self.leave_message();
    }

    /// What is known of the last message makes room for the next.
    pub(super) fn leave_message(&mut self) {
        // Whatever way it ended, it has.
        if self.facts.transaction.is_some() {
            self.end_transaction();
        }
        let facts = self.facts_mut();
        facts.context.end_message();
        facts.context.unset(Scope::Connection, "message_rcpt_count");
    }

    /// The session idles.
    pub(super) fn rest(&mut self) {
        self.policy.rest();
    }

    /// EHLO was said: keywords are those of now, and so are the verbs.
    pub(super) fn greeted(&mut self) {
        self.changed |= !self.gone.is_empty();
        self.gone.clear();
    }

    /// Tells `accepted` hooks of the message whose 250 has been written.
    pub(super) async fn after_reply(&mut self) {
        if let Some(id) = self.accepted.take() {
            self.policy.accepted(&id, &mut self.facts).await;
            self.end_transaction();
        }
    }

    /// More of the message.
    pub(super) async fn body(&mut self, bytes: Vec<u8>) {
        if let Some(incoming) = &mut self.incoming {
            incoming.write(bytes).await;
        }
    }

    /// The message is not to be kept.
    pub(super) async fn abort(&mut self) {
        if let Some(Ok(draft)) = self.incoming.take().map(Incoming::finish) {
            draft.discard().await;
        }
        self.end_transaction();
    }

    /// There is no transaction any more; what is known of its message stays in the context until the next (Momentum). What
    /// extensions remember from here on is the next one's: it was said before MAIL, and RSET takes it back.
    pub(super) fn end_transaction(&mut self) {
        self.policy.forget_message();
        self.transaction_since = None;
        self.facts_mut().transaction = None;
    }

    /// The end of the session.
    pub(super) async fn end(mut self, end: End) {
        self.leave_exchange();
        self.after_reply().await;
        // Where the connection broke, the machine was not asked for it: the file goes before the session is said to have
        // ended, and not on a thread that serves others.
        self.abort().await;
        self.facts_mut().phase = Phase::Closing;
        self.policy.ended(&mut self.facts).await;
        self.service.counters.session_closed();
        let seconds = format!("{:.3}", self.since.elapsed().as_secs_f64());
        tracing::info!(
            session = &*self.facts.id,
            end = end.name(),
            messages = self.messages,
            seconds = &*seconds,
            "session ended"
        );
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Lost => "lost connection",
            End::Broken => "broken connection",
            End::Handshake => "tls handshake failed",
        }
    }
}
