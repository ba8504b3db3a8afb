//! What the host keeps of one session, and how it follows the configuration: opening, settling what holds for the client,
//! going over to a newer generation, and the end. What it says to the machine's questions stands in [`super::answer`].

use super::body::Incoming;
use super::facts::{Facts, Phase};
use super::generation::{Generation, Post, RecipientName};
use super::policy::{Memory, Outcome, Policy, Question, Standing};
use super::{End, Service, relay, trace};
use crate::config::{self, Rules, TlsMode};
use crate::observe::chain;
use crate::tls;
use pillarbox_smtp::{Claim, Limits, Patience, Refusal, Settings, StrayNewlines, Tls};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One session.
pub(super) struct Session {
    pub(super) service: Arc<Service>,
    generations: watch::Receiver<Arc<Generation>>,
    generation: u64,
    pub(super) post: Arc<Post>,
    pub(super) policy: Box<dyn Policy>,
    pub(super) facts: Arc<Facts>,
    pub(super) rules: Rules,
    pub(super) incoming: Option<Incoming>,
    /// The recipients of the transaction, as routes look at them, and whether they only go to `discard:`.
    pub(super) recipients: Vec<(RecipientName, bool)>,
    /// The id to tell `accepted` hooks of, once the 250 is written.
    pub(super) accepted: Option<String>,
    /// Messages accepted, whoever the client was.
    pub(super) messages: u64,
    /// Messages begun, for their ids.
    pub(super) begun: u64,
    /// Set when a newer generation took the policy's place between commands, until the next command has been judged by
    /// it: what stood before.
    moving: Option<Before>,
    /// Verbs whose extension went with a reload, until the next EHLO.
    gone: BTreeSet<String>,
    /// A verb waits for another line.
    pub(super) in_exchange: bool,
    changed: bool,
    since: Instant,
}

/// What a reload is compared with.
struct Before {
    standing: Standing,
    relay: config::Relay,
    /// A login went with its extension, which may have come back since.
    lost_login: bool,
}

/// What going over to a newer generation came to.
pub(super) enum Moved {
    /// The session goes on.
    Stays,
    /// Its listener is gone.
    Removed,
    /// Policy of the newer generation does not want this client.
    Refused(Refusal),
}

impl Session {
    /// Opens a session of this listener, if there still is such a listener.
    pub(super) fn open(peer: SocketAddr, local: SocketAddr, listener: &str, service: Arc<Service>) -> Option<Session> {
        let mut generations = service.generations.clone();
        let newest = generations.borrow_and_update().clone();
        let post = newest.posts.get(listener)?.clone();
        let facts = Facts::new(trace::session_id(), listener.into(), peer, local);
        tracing::info!(session = &*facts.id, listener, peer = %peer, "session opened");
        service.counters.session_opened();
        let mut session = Session {
            generations,
            generation: newest.number,
            policy: post.extensions.open(Memory::new()),
            rules: post.listener.rules_for(facts.client.endpoint.address),
            facts: Arc::new(facts),
            post,
            service,
            incoming: None,
            recipients: Vec::new(),
            accepted: None,
            messages: 0,
            begun: 0,
            moving: None,
            gone: BTreeSet::new(),
            in_exchange: false,
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
        self.facts_mut().mirror_relay(can_relay);
    }

    /// What the machine has to know.
    pub(super) fn settings(&self) -> Settings {
        let offers = self.policy.offers(&self.facts);
        let mut verbs = offers.verbs;
        if self.gone.iter().any(|verb| !verbs.contains_key(verb)) {
            let mut with_gone = (*verbs).clone();
            for verb in &self.gone {
                with_gone.entry(verb.clone()).or_insert(Claim::Gone);
            }
            verbs = Arc::new(with_gone);
        }
        let limits = &self.rules.limits;
        Settings {
            hostname: self.post.hostname.to_string(),
            tls: match self.post.listener.tls.mode {
                _ if self.facts.tls.is_some() => Tls::Active,
                TlsMode::Starttls if self.post.tls.is_some() => Tls::Offered,
                TlsMode::Required => Tls::Required,
                TlsMode::Off | TlsMode::Starttls | TlsMode::Implicit => Tls::Off,
            },
            limits: Limits {
                command_line: usize::try_from(limits.command_line).unwrap_or(usize::MAX),
                message_size: limits.message_size,
                recipients: usize::try_from(limits.recipients).unwrap_or(usize::MAX),
            },
            verbs,
            mail_parameters: offers.mail_parameters,
            recipient_parameters: offers.recipient_parameters,
            stray_newlines: match self.post.listener.stray_newlines {
                config::StrayNewlines::Refuse => StrayNewlines::Refuse,
                config::StrayNewlines::Normalize => StrayNewlines::Normalize,
            },
        }
    }

    /// The machine's settings, if they changed since they were last asked for.
    pub(super) fn changed_settings(&mut self) -> Option<Settings> {
        std::mem::take(&mut self.changed).then(|| self.settings())
    }

    /// How long the peer may take.
    pub(super) fn patience(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Command => self.rules.limits.command_timeout,
            Patience::Data => self.rules.limits.data_timeout,
        }
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
        self.policy.forget_message();
        self.end_transaction();
        let facts = self.facts_mut();
        facts.context.end_message();
        facts.context.unset(super::context::Scope::Connection, "message_rcpt_count");
    }

    /// The session idles.
    pub(super) fn rest(&mut self) {
        self.policy.rest();
    }

    /// Waits for the next generation to be published.
    pub(super) async fn published(&mut self) {
        if self.generations.changed().await.is_err() {
            // The server ends; `stop` says so.
            std::future::pending::<()>().await;
        }
    }

    /// Lets go of a generation that is no longer the newest, outside transactions, so that only transactions hold an old
    /// one. The hooks are asked at the next command, by [`Session::move_on`]. False when the listener is gone.
    pub(super) fn release(&mut self) -> bool {
        // The extension that wants another line for its verb is the one that gets it.
        if self.in_exchange {
            return true;
        }
        let newest = self.generations.borrow_and_update().clone();
        if newest.number == self.generation {
            return true;
        }
        let Some(post) = newest.posts.get(&*self.facts.listener).cloned() else { return false };
        let offered = self.policy.offers(&self.facts).verbs;
        let (standing, relay) = (self.policy.standing(), self.rules.relay.clone());
        let before = self.moving.get_or_insert(Before { standing, relay, lost_login: false });
        self.policy = post.extensions.open(self.policy.remembered());
        self.generation = newest.number;
        self.post = post;
        self.gone.extend(offered.keys().cloned());
        let there = self.policy.offers(&self.facts).verbs;
        self.gone.retain(|verb| !there.contains_key(verb));
        let (policy, facts) = (&self.policy, &self.facts);
        if facts.given_login().is_some_and(|(extension, login)| !policy.vouches(extension, login, facts)) {
            before.lost_login = true;
            Arc::make_mut(&mut self.facts).forget_login();
        }
        self.settle();
        true
    }

    /// Goes over to the newest generation, before a command outside a transaction is looked at.
    /// Where what decided at `connect` or `hello` is not what it was, it is asked again.
    pub(super) async fn move_on(&mut self) -> Moved {
        if !self.release() {
            return Moved::Removed;
        }
        let Some(before) = self.moving.take() else { return Moved::Stays };
        let same = before.relay == self.rules.relay && before.standing == self.policy.standing();
        if same && !before.lost_login {
            return Moved::Stays;
        }
        tracing::debug!(session = &*self.facts.id, generation = self.generation, "asked again after a reload");
        self.facts_mut().forget_hello();
        self.facts_mut().forget_connect();
        self.settle();
        let mut outcome = self.rule(Question::Connect, Phase::Connect).await;
        let hello = self.facts.client.helo.clone().filter(|_| matches!(outcome, Outcome::Pass));
        if let Some(domain) = hello {
            let verb = if self.facts.client.esmtp { "EHLO" } else { "HELO" };
            outcome = self.rule(Question::Hello { verb, domain: &domain }, Phase::Hello).await;
        }
        self.facts_mut().phase = Phase::Idle;
        match outcome {
            Outcome::Pass | Outcome::Discard => Moved::Stays,
            Outcome::Refuse(refusal) => Moved::Refused(refusal),
        }
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

    /// There is no transaction any more; what is known of its message stays in the context until the next (Momentum).
    pub(super) fn end_transaction(&mut self) {
        self.recipients.clear();
        self.facts_mut().transaction = None;
    }

    /// The end of the session.
    pub(super) async fn end(mut self, end: End) {
        self.after_reply().await;
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
