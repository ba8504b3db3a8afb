//! The way of a message through a session: from DATA to the commit that 250 waits for.

use super::body::Incoming;
use super::context::Scope;
use super::facts::{Facts, Phase};
use super::message::Message;
use super::policy::{Outcome, Question};
use super::session::Session;
use super::trace;
use crate::observe::chain;
use crate::spool::{self, MessageId};
use pillarbox_smtp::{Refusal, ask, reply};
use std::sync::Arc;

impl Session {
    pub(super) async fn data(&mut self, ask: ask::Data<'_>) {
        let outcome = self.rule(Question::Data, Phase::Data).await;
        if let Outcome::Refuse(refusal) = outcome {
            return ask.refuse(refusal);
        }
        self.begun += 1;
        let id = format!("{}.{}", self.facts.id, self.begun);
        let Ok(id) = id.parse::<MessageId>() else { return ask.refuse(reply::spool_failed()) };
        let envelope = ask.envelope();
        let sole = match envelope.recipients.as_slice() {
            [only] => Some(only.address.to_string()),
            _ => None,
        };
        let trace = trace::received(&self.facts, &self.post.hostname, &id.to_string(), sole.as_deref());
        let draft = self.service.spool.begin(id.clone());
        self.incoming = Some(Incoming::begin(id, draft, trace).await);
        match outcome {
            Outcome::Discard => ask.discard(),
            Outcome::Pass | Outcome::Refuse(_) => ask.accept(),
        }
    }

    pub(super) async fn message(&mut self, ask: ask::Message<'_>) {
        // A message that could not be kept is refused at the commit, whatever policy thinks of it.
        let Some(incoming) = self.incoming.take() else { return ask.accept() };
        if incoming.failed() || !self.policy.reads_messages(&self.facts) {
            self.incoming = Some(incoming);
            return ask.accept();
        }
        let message = Arc::new(Message::new(incoming));
        self.facts_mut().message = Some(message.clone());
        let outcome = self.rule(Question::Message, Phase::Message).await;
        self.facts_mut().message = None;
        self.incoming = Message::reclaim(message);
        match outcome {
            Outcome::Pass => ask.accept(),
            Outcome::Discard => ask.discard(),
            Outcome::Refuse(refusal) => {
                self.abort().await;
                ask.refuse(refusal);
            }
        }
    }

    pub(super) async fn commit(&mut self, ask: ask::Commit<'_>) {
        let recipients = std::mem::take(&mut self.recipients);
        let Some(incoming) = self.incoming.take() else {
            self.end_transaction();
            return ask.failed(reply::spool_failed());
        };
        let id = incoming.id.clone();
        let (size, draft) = match (incoming.len(), incoming.finish()) {
            (size, Ok(draft)) => (size, draft),
            (_, Err(error)) => {
                self.end_transaction();
                return ask.failed(self.not_kept(&error));
            }
        };
        let envelope = ask.envelope();
        let kept: Vec<spool::Recipient> = envelope
            .recipients
            .iter()
            .zip(&recipients)
            .filter(|(_, (_, discarded))| !discarded)
            .map(|(said, (name, _))| spool::Recipient {
                address: said.address.to_string(),
                local: name.local.clone(),
                domain: name.domain.clone(),
                postmaster: name.postmaster,
                parameters: pairs(&said.parameters),
            })
            .collect();
        let count = kept.len();
        // What goes nowhere is not written: nobody would ever read it.
        let done = match envelope.discard || kept.is_empty() {
            true => {
                draft.discard().await;
                Ok(())
            }
            false => draft.commit(self.envelope(&id, envelope, kept)).await,
        };
        if let Err(error) = done {
            self.end_transaction();
            return ask.failed(self.not_kept(&error));
        }
        let text = id.to_string();
        self.service.counters.message_accepted();
        tracing::info!(
            session = &*self.facts.id,
            id = &*text,
            sender = &*envelope.sender.to_string(),
            recipients = count,
            size,
            client = &*self.facts.client_address(),
            "message accepted"
        );
        self.messages += 1;
        self.facts_mut().accept_message();
        ask.done(&text);
        self.accepted = Some(text);
    }

    fn envelope(
        &self,
        id: &MessageId,
        said: &pillarbox_smtp::Envelope,
        recipients: Vec<spool::Recipient>,
    ) -> spool::Envelope {
        let facts: &Facts = &self.facts;
        let scope = |scope| facts.context.entries(scope).map(|(name, value)| (name.into(), value.into())).collect();
        spool::Envelope {
            id: id.clone(),
            session: facts.id.to_string(),
            received: trace::now_ms(),
            listener: facts.listener.to_string(),
            hostname: self.post.hostname.to_string(),
            peer: facts.peer.address.map(|ip| ip.to_string()).unwrap_or_default(),
            client: facts.client_address(),
            helo: facts.client.helo.clone(),
            protocol: trace::with_type(facts),
            sender: facts.transaction.as_ref().map(|transaction| transaction.sender.clone()).unwrap_or_default(),
            parameters: pairs(&said.parameters),
            recipients,
            connection: scope(Scope::Connection),
            message: scope(Scope::Message),
        }
    }

    fn not_kept(&self, error: &spool::SpoolError) -> Refusal {
        tracing::error!(session = &*self.facts.id, error = &*chain(error), "message not kept");
        match error.is_full() {
            true => reply::spool_full(),
            false => reply::spool_failed(),
        }
    }
}

/// Parameters as names and values, which is how they are kept and shown.
pub(super) fn pairs(parameters: &[pillarbox_smtp::Parameter]) -> Vec<(String, Option<String>)> {
    parameters.iter().map(|parameter| (parameter.name.clone(), parameter.value.clone())).collect()
}
