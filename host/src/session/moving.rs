//! How a session follows the configuration: it lets go of an old generation as soon as no transaction needs it, and asks
//! again what may have changed, before the next command is looked at.

use super::facts::Phase;
use super::policy::{Outcome, Question, Standing};
use super::session::Session;
use crate::config;
use pillarbox_smtp::Refusal;
use std::sync::Arc;

/// What a reload is compared with.
pub(super) struct Before {
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
        // The extension that wants another line, for its verb or its mechanism, is the one that gets it.
        if self.in_exchange || self.exchange.is_some() {
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
        self.policy = post.extensions.open(self.policy.remembered(), &self.facts);
        self.generation = newest.number;
        let doubtful = self.post.listener.tls.client_authorities != post.listener.tls.client_authorities;
        self.post = post;
        if doubtful {
            Arc::make_mut(&mut self.facts).doubt_certificate();
        }
        self.gone.extend(offered.keys().cloned());
        let there = self.policy.offers(&self.facts).verbs;
        self.gone.retain(|verb| !there.contains_key(verb));
        let (policy, facts) = (&self.policy, &self.facts);
        let gone = facts.given_login().is_some_and(|(extension, login)| !policy.vouches(extension, login, facts));
        if gone {
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
            Outcome::Pass | Outcome::Discard | Outcome::Quarantine { .. } => Moved::Stays,
            Outcome::Refuse(refusal) => Moved::Refused(refusal),
        }
    }
}
