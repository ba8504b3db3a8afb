//! RCPT: the host's own judgement of an address first, then policy's, and the place the recipient has from then on.

use super::admission::NotAdmitted;
use super::commit::pairs;
use super::envelope::{Fate, Recipient};
use super::facts::Phase;
use super::policy::{Outcome, Question};
use super::relay::Right;
use super::session::Session;
use crate::observe::chain;
use pillarbox_smtp::{Refusal, ask, reply};

impl Session {
    pub(super) async fn recipient(&mut self, ask: ask::Recipient<'_>) {
        let address = ask.address().to_string();
        let admission = self.facts.transaction.as_ref().map(|it| it.admission.clone()).unwrap_or_default();
        let (recipient, right) = match admission.admit(&self.facts, ask.address()).await {
            Ok(admitted) => admitted,
            Err(why) => return ask.refuse(self.not_admitted(&address, why)),
        };
        let (line, parameters) = (ask.line().to_owned(), ask.parameters().to_vec());
        let candidate =
            Recipient { parameters: pairs(&parameters), said: Some(ask.envelope().recipients.len()), ..recipient };
        let facts = self.facts_mut();
        facts.address_recipient((&candidate.name.local, &candidate.name.domain), &line);
        if let Some(transaction) = &mut facts.transaction {
            transaction.candidate = Some(candidate);
        }
        let question = Question::Recipient { address: &address, parameters: &parameters };
        let outcome = self.rule(question, Phase::Recipient).await;
        let candidate = self.facts_mut().transaction.as_mut().and_then(|transaction| transaction.candidate.take());
        let (mut recipient, discarded) = match (candidate, outcome) {
            (_, Outcome::Refuse(refusal)) => return ask.refuse(refusal),
            (None, _) => return ask.refuse(reply::extension_failed()),
            (Some(recipient), outcome) => (recipient, matches!(outcome, Outcome::Discard)),
        };
        match &recipient.fate {
            Fate::Refuse(refusal) => {
                let refusal = refusal.clone();
                self.note_refusal(Phase::Recipient.name(), &refusal, "policy");
                return ask.refuse(refusal);
            }
            Fate::Keep if discarded => recipient.fate = Fate::Discard,
            _ => {}
        }
        self.note_right(&recipient, right);
        let nothing = recipient.fate != Fate::Keep;
        self.facts_mut().accept_recipient(recipient);
        match nothing {
            true => ask.discard(),
            false => ask.accept(),
        }
    }

    /// What leaves for elsewhere is for the record: who was let, and by what.
    fn note_right(&self, recipient: &Recipient, right: Right) {
        let (session, recipient) = (&*self.facts.id, &*recipient.address);
        match right {
            Right::Host | Right::Authenticated => {
                let client = &*self.facts.client_address();
                tracing::info!(session, recipient, right = right.name(), client, "relay allowed");
            }
            Right::Postmaster | Right::Domain => {
                tracing::debug!(session, recipient, right = right.name(), "recipient accepted");
            }
        }
    }

    fn not_admitted(&self, address: &str, why: NotAdmitted) -> Refusal {
        let refusal = match why {
            NotAdmitted::Relay => return self.may_not_relay(address),
            NotAdmitted::NoDomain => reply::no_domain(),
            NotAdmitted::UnknownMailbox => reply::unknown_mailbox(),
            NotAdmitted::NoRoute => reply::no_route(),
            NotAdmitted::Unavailable(error) => {
                tracing::warn!(session = &*self.facts.id, error = &*chain(&error), "mailbox cannot be looked at");
                reply::spool_failed()
            }
        };
        self.note_refusal(Phase::Recipient.name(), &refusal, "route");
        refusal
    }

    /// Nothing lets this client send there, and the log says what was looked at.
    pub(super) fn may_not_relay(&self, recipient: &str) -> Refusal {
        self.service.counters.recipient_refused();
        let refusal = reply::relaying_denied();
        let (reply, client) = (refusal.to_string(), self.facts.client_address());
        // Who is authenticated where that counts, is not refused.
        let why = match self.rules.relay.authenticated {
            true => "not authenticated, in no relay.hosts, to no relay.domains",
            false => "in no relay.hosts, to no relay.domains",
        };
        tracing::info!(
            session = &*self.facts.id,
            phase = Phase::Recipient.name(),
            by = "relay",
            recipient,
            why,
            reply = &*reply,
            client = &*client,
            "refused"
        );
        refusal
    }
}
