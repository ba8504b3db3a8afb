//! The way of a message through a session: from DATA to the commit that 250 waits for.

use super::body::Incoming;
use super::envelope::{Quarantined, Transaction};
use super::facts::Phase;
use super::message::Message;
use super::policy::{Outcome, Question};
use super::session::Session;
use super::share::Shares;
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
        let Some(id) = self.next_id() else { return ask.refuse(reply::spool_failed()) };
        let sole = {
            let mut present = self.facts.transaction.iter().flat_map(Transaction::present);
            present.next().filter(|_| present.next().is_none()).map(|only| only.address.clone())
        };
        let trace = trace::received(&self.facts, &self.post.hostname, &id.to_string(), sole.as_deref());
        let draft = self.service.spool.begin(id.clone());
        self.incoming = Some(Incoming::begin(id, draft, trace).await);
        match outcome {
            Outcome::Discard => ask.discard(),
            Outcome::Quarantine { extension, reason } => {
                self.quarantine(extension, reason, Phase::Data);
                ask.accept();
            }
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
        self.facts_mut().message = Some(Arc::new(Message::new(incoming)));
        let outcome = self.rule(Question::Message, Phase::Message).await;
        // The one with the header that policy left it with.
        self.incoming = self.facts_mut().message.take().and_then(Message::reclaim);
        match outcome {
            Outcome::Pass => ask.accept(),
            Outcome::Discard => ask.discard(),
            Outcome::Quarantine { extension, reason } => {
                self.quarantine(extension, reason, Phase::Message);
                ask.accept();
            }
            Outcome::Refuse(refusal) => {
                self.abort().await;
                ask.refuse(refusal);
            }
        }
    }

    pub(super) async fn commit(&mut self, ask: ask::Commit<'_>) {
        let Some(incoming) = self.incoming.take() else {
            self.end_transaction();
            return ask.failed(reply::spool_failed());
        };
        let (id, size) = (incoming.id.clone(), incoming.len());
        let discarded = ask.envelope().discard;
        let Some(mut shares) = self.facts.transaction.as_ref().map(|it| Shares::of(it, discarded)) else {
            return ask.failed(reply::spool_failed());
        };
        if let Some(refusal) = shares.refusal.clone().filter(|_| !shares.anybody) {
            self.note_refusal(Phase::Message.name(), &refusal, "policy");
            self.incoming = Some(incoming);
            self.abort().await;
            return match self.facts.lmtp {
                true => ask.done_each(&id.to_string(), &shares.refusals),
                false => ask.failed(refusal),
            };
        }
        let sender = self.facts.transaction.as_ref().map(|it| it.sender.clone()).unwrap_or_default();
        let count = shares.queue.len();
        // More than the log keeps of a field: a message may have thousands.
        let to: Vec<String> = shares.queue.iter().take(20).map(|recipient| recipient.address.clone()).collect();
        let complete = incoming.complete().await;
        if let Ok(draft) = &complete
            && let Some(refusal) = self.hand_over(draft, &id, &mut shares).await
        {
            self.note_refusal(Phase::Message.name(), &refusal, "route");
            if let Ok(draft) = complete {
                draft.discard().await;
            }
            self.end_transaction();
            return match self.facts.lmtp {
                true => ask.done_each(&id.to_string(), &shares.refusals),
                false => ask.failed(refusal),
            };
        }
        let refusals = shares.refusals.clone();
        let kept = match complete {
            Ok(draft) => self.keep(draft, &id, shares).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.end_transaction();
            return ask.failed(self.not_kept(&id, &error));
        }
        let text = id.to_string();
        self.service.counters.message_accepted();
        tracing::info!(
            session = &*self.facts.id,
            id = &*text,
            sender = &*sender,
            recipients = count,
            to = &*to.join(" "),
            size,
            client = &*self.facts.client_address(),
            "message accepted"
        );
        self.messages += 1;
        self.facts_mut().accept_message();
        ask.done_each(&text, &refusals);
        self.accepted = Some(text);
    }

    /// The whole message is to be kept aside. Who said so first, is the one that is noted.
    pub(super) fn quarantine(&mut self, extension: Arc<str>, reason: String, phase: Phase) {
        if let Some(transaction) = &mut self.facts_mut().transaction {
            let hook = phase.name();
            transaction.quarantined.get_or_insert_with(|| Arc::new(Quarantined { extension, reason, hook }));
        }
    }

    /// The next id of this session. None is used twice.
    pub(super) fn next_id(&mut self) -> Option<MessageId> {
        self.begun += 1;
        format!("{}.{}", self.facts.id, self.begun).parse().ok()
    }

    fn not_kept(&self, id: &MessageId, error: &spool::SpoolError) -> Refusal {
        tracing::error!(session = &*self.facts.id, id = id.as_str(), error = &*chain(error), "message not kept");
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
