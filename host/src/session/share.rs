//! What becomes of a message that is in: who gets it, whose copy is kept aside and why, and who is refused after all. All
//! that is to be kept is durable before the peer is told.

use super::context::{self, Scope};
use super::envelope::{Fate, Quarantined, Recipient, Transaction};
use super::facts::{Facts, HostName};
use super::session::Session;
use super::trace;
use crate::observe::chain;
use crate::spool::{self, Draft, Failure, MessageId, Reach, SpoolError, one_line};
use pillarbox_smtp::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The recipients of a message, by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Those it is delivered to.
    pub queue: Vec<spool::Recipient>,
    /// For each of these, its places among those that the peer named: its own, and those of recipients made the same as it.
    pub said: BTreeMap<usize, Vec<usize>>,
    /// Those whose copy is kept aside, by the reason.
    pub aside: Vec<(Arc<Quarantined>, Vec<spool::Recipient>)>,
    /// For each that the peer named, how it is refused.
    pub refusals: Vec<Option<Refusal>>,
    /// The first refusal there was.
    pub refusal: Option<Refusal>,
    /// Whether anybody is left for whom the message was taken, be it to deliver nothing.
    pub anybody: bool,
    /// Who is refused.
    refused: Vec<Refused>,
}

/// A recipient that is refused after all.
#[derive(Debug)]
struct Refused {
    recipient: spool::Recipient,
    refusal: Refusal,
    /// Whether the peer named it. Of what policy added, its sender knows nothing.
    said: bool,
}

impl Shares {
    /// Divides a message's recipients; `discarded` where all of it leads nowhere.
    pub(super) fn of(transaction: &Transaction, discarded: bool) -> Shares {
        let said = transaction.recipients.iter().filter(|recipient| recipient.said.is_some()).count();
        let mut shares = Shares { refusals: vec![None; said], ..Shares::default() };
        for recipient in &transaction.recipients {
            let aside = match &recipient.fate {
                Fate::Keep => transaction.quarantined.as_ref(),
                Fate::Quarantine(why) => Some(why),
                Fate::Discard => {
                    shares.anybody = true;
                    continue;
                }
                Fate::Drop | Fate::Joined => continue,
                Fate::Refuse(refusal) => {
                    shares.refuse(recipient, refusal);
                    continue;
                }
            };
            shares.anybody = true;
            if !discarded && !recipient.nowhere {
                shares.keep(recipient, aside);
            }
        }
        for joined in transaction.recipients.iter().filter(|recipient| recipient.fate == Fate::Joined) {
            let refused = transaction.recipients.iter().find_map(|other| match &other.fate {
                Fate::Refuse(refusal) if other.name.is(&joined.name) => Some(refusal),
                _ => None,
            });
            let there = transaction.present().any(|other| other.name.is(&joined.name));
            let same = |kept: &spool::Recipient| kept.domain == joined.name.domain && kept.local == joined.name.local;
            let places = shares.queue.iter().position(same).and_then(|at| shares.said.get_mut(&at));
            if let (Some(places), Some(said)) = (places, joined.said) {
                places.push(said);
            }
            if let Some(refusal) = refused.filter(|_| !there) {
                shares.refuse(joined, refusal);
            }
        }
        shares
    }

    fn refuse(&mut self, recipient: &Recipient, refusal: &Refusal) {
        self.refusal.get_or_insert_with(|| refusal.clone());
        if recipient.fate != Fate::Joined {
            let kept = spool::Recipient { refused: Some(failure(refusal)), ..kept(recipient) };
            self.refused.push(Refused { recipient: kept, refusal: refusal.clone(), said: recipient.said.is_some() });
        }
        if let Some(place) = recipient.said.and_then(|said| self.refusals.get_mut(said)) {
            *place = Some(refusal.clone());
        }
    }

    /// One that the peer named could not be handed over. Only LMTP has a reply for it.
    pub(super) fn refuse_handed_over(&mut self, recipient: &spool::Recipient, refusal: &Refusal) {
        self.refused.push(Refused { recipient: recipient.clone(), refusal: refusal.clone(), said: true });
    }

    fn keep(&mut self, recipient: &Recipient, aside: Option<&Arc<Quarantined>>) {
        let kept = kept(recipient);
        let Some(why) = aside else {
            self.said.insert(self.queue.len(), Vec::from_iter(recipient.said));
            return self.queue.push(kept);
        };
        match self.aside.iter_mut().find(|(other, _)| other == why) {
            Some((_, recipients)) => recipients.push(kept),
            None => self.aside.push((why.clone(), vec![kept])),
        }
    }
}

fn kept(recipient: &Recipient) -> spool::Recipient {
    spool::Recipient {
        address: recipient.address.clone(),
        local: recipient.name.local.clone(),
        domain: recipient.name.domain.clone(),
        postmaster: recipient.name.postmaster,
        parameters: recipient.parameters.clone(),
        refused: None,
    }
}

/// The refusal as the queue knows it. No other host said it, but the sender is to read it.
fn failure(refusal: &Refusal) -> Failure {
    let reply = refusal.reply();
    let status = reply.enhanced().map_or_else(|| format!("{}.0.0", reply.code() / 100), str::to_owned);
    let said = refusal.to_string();
    Failure { reply: Some(one_line(&said)), ..Failure::local(&status, said, Reach::Recipient) }
}

impl Session {
    /// Makes all shares durable. The last of them has the message's own id; the others are copies with an id of their own.
    pub(super) async fn keep(&mut self, draft: Draft, id: &MessageId, shares: Shares) -> Result<(), SpoolError> {
        let Shares { mut queue, aside, refused, .. } = shares;
        // Whom no reply can tell any more, the queue tells: those it is not delivered to are kept with the others, or alone.
        let tells = self.tells();
        let told = refused.iter().filter(|refused| tells && refused.said);
        queue.extend(told.map(|refused| refused.recipient.clone()));
        // The queue's comes last, because from then on it is delivered.
        let mut parts: Vec<_> = aside.into_iter().map(|(why, recipients)| (Some(why), recipients)).collect();
        if !queue.is_empty() {
            parts.push((None, queue));
        }
        // What goes nowhere is not written: nobody would ever read it.
        let Some((why, recipients)) = parts.pop() else {
            draft.discard().await;
            self.note_refused(id, &refused);
            return Ok(());
        };
        let mut copies = Vec::new();
        for (why, recipients) in parts {
            match self.copy(&draft, &why, recipients).await {
                Ok(copy) => copies.push((copy, why)),
                Err(error) => {
                    draft.discard().await;
                    self.take_back(copies).await;
                    return Err(error);
                }
            }
        }
        let envelope = self.envelope(id, recipients, why.as_deref());
        if let Err(error) = draft.commit(envelope).await {
            self.take_back(copies).await;
            return Err(error);
        }
        copies.push((id.clone(), why));
        for (copy, why) in copies {
            if let Some(why) = why {
                self.note_quarantined(&copy, id, &why);
            }
        }
        self.note_refused(id, &refused);
        Ok(())
    }

    async fn copy(
        &mut self,
        draft: &Draft,
        why: &Option<Arc<Quarantined>>,
        recipients: Vec<spool::Recipient>,
    ) -> Result<MessageId, SpoolError> {
        let id = self.next_id().ok_or_else(|| SpoolError::from(std::io::Error::other("no id is left")))?;
        let copy = draft.rewritten(id.clone(), &[], 0).await?;
        copy.commit(self.envelope(&id, recipients, why.as_deref())).await?;
        Ok(id)
    }

    /// The message is not taken, so its client keeps it, copies and all.
    async fn take_back(&self, copies: Vec<(MessageId, Option<Arc<Quarantined>>)>) {
        for (id, _) in copies {
            if let Err(error) = self.service.spool.delete(&id).await {
                let (session, id, error) = (&*self.facts.id, id.as_str(), &*chain(&error));
                tracing::warn!(session, id, error, "copy of a refused message is left in quarantine");
            }
        }
    }

    pub(super) fn envelope(
        &self,
        id: &MessageId,
        recipients: Vec<spool::Recipient>,
        quarantined: Option<&Quarantined>,
    ) -> spool::Envelope {
        let facts: &Facts = &self.facts;
        let settings = self.service.spool.settings();
        let kept = |name: &str| !settings.exclude_context.iter().any(|pattern| context::matches(pattern, name));
        let scope = |scope| {
            let entries = facts.context.entries(scope).filter(|(name, _)| kept(name));
            entries.map(|(name, value)| (name.into(), value.into())).collect()
        };
        let (sender, parameters) =
            facts.transaction.as_ref().map(|it| (it.sender.clone(), it.parameters.clone())).unwrap_or_default();
        spool::Envelope {
            id: id.clone(),
            session: facts.id.to_string(),
            received: trace::now_ms(),
            listener: facts.listener.to_string(),
            hostname: self.post.hostname.to_string(),
            peer: facts.peer.address.map(|ip| ip.to_string()).unwrap_or_default(),
            client: facts.client_address(),
            client_name: match &facts.client.name {
                HostName::Known(name) => Some(name.clone()),
                HostName::Unavailable | HostName::TemporarilyUnavailable => None,
            },
            client_port: facts.client.endpoint.port,
            helo: facts.client.helo.clone(),
            protocol: trace::with_type(facts),
            sender,
            parameters,
            recipients,
            connection: scope(Scope::Connection),
            message: scope(Scope::Message),
            quarantined: quarantined.map(|why| spool::Quarantined {
                extension: why.extension.to_string(),
                reason: why.reason.clone(),
                hook: why.hook.to_owned(),
            }),
            notice_of: None,
        }
    }

    fn note_quarantined(&self, id: &MessageId, message: &MessageId, why: &Quarantined) {
        tracing::info!(
            session = &*self.facts.id,
            id = id.as_str(),
            original = message.as_str(),
            extension = &*why.extension,
            hook = why.hook,
            reason = &*why.reason,
            client = &*self.facts.client_address(),
            "message quarantined"
        );
    }

    /// Whether the sender of this message can be told of a recipient by a notice, and only by one. LMTP has a reply for
    /// each; the null sender is told nothing.
    fn tells(&self) -> bool {
        !self.facts.lmtp && self.facts.transaction.as_ref().is_some_and(|transaction| !transaction.sender.is_empty())
    }

    /// SMTP has no reply for one recipient of many once the message is in.
    fn note_refused(&self, id: &MessageId, refused: &[Refused]) {
        for Refused { recipient, refusal, said } in refused {
            let (recipient, reply) = (&*recipient.address, &*refusal.to_string());
            self.service.counters.recipient_refused();
            let (session, id, client) = (&*self.facts.id, id.as_str(), &*self.facts.client_address());
            match self.facts.lmtp || (self.tells() && *said) {
                true => tracing::info!(session, id, recipient, reply, client, "recipient refused"),
                false => {
                    tracing::warn!(session, id, recipient, reply, client, "recipient refused, its sender is not told")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::envelope::Edit;
    use super::super::generation::RecipientName;
    use super::*;
    use pillarbox_smtp::reply;

    fn recipient(address: &str, said: usize) -> Recipient {
        Recipient {
            address: address.to_owned(),
            name: RecipientName::of(&address.parse().unwrap(), "mx.example.test"),
            parameters: Vec::new(),
            nowhere: false,
            fate: Fate::Keep,
            said: Some(said),
        }
    }

    /// Whoever was made the same as another is told what that one is told: nobody hears 250 of a copy that is nowhere.
    #[test]
    fn who_is_made_the_same_as_another_shares_its_fate() {
        let name = |address: &str| recipient(address, 0).name;
        let rewrite = |from: &str, to: &str| Edit::Rewrite(name(from), recipient(to, 9));
        for (edits, refused, kept) in [
            (vec![rewrite("b@x.test", "d@x.test")], [false, false], vec!["d@x.test"]),
            (
                vec![rewrite("b@x.test", "d@x.test"), Edit::Refuse(name("d@x.test"), reply::policy_reject())],
                [true, true],
                vec![],
            ),
            (
                vec![
                    rewrite("b@x.test", "d@x.test"),
                    rewrite("d@x.test", "e@x.test"),
                    Edit::Refuse(name("e@x.test"), reply::policy_reject()),
                ],
                [true, true],
                vec![],
            ),
            (
                vec![Edit::Refuse(name("d@x.test"), reply::policy_reject()), rewrite("b@x.test", "d@x.test")],
                [false, true],
                vec!["d@x.test"],
            ),
        ] {
            let recipients = vec![recipient("b@x.test", 0), recipient("d@x.test", 1)];
            let mut transaction = Transaction { recipients, ..Transaction::default() };
            let what = format!("{edits:?}");
            edits.into_iter().for_each(|edit| transaction.apply(edit));
            let shares = Shares::of(&transaction, false);
            assert_eq!([0, 1].map(|place: usize| shares.refusals[place].is_some()), refused, "{what}");
            let queue: Vec<&str> = shares.queue.iter().map(|kept| &*kept.address).collect();
            assert_eq!(queue, kept, "{what}");
        }
    }

    /// Those that the peer named are kept for a notice with the words of the refusal; of what policy added, nobody is told.
    #[test]
    fn who_is_refused_is_kept_with_the_refusal() {
        let refuse = |address: &str, refusal| Edit::Refuse(recipient(address, 0).name, refusal);
        let plain = Refusal::new(450, None, ["two", "lines"]).unwrap();
        let recipients = vec![recipient("b@x.test", 0), recipient("d@x.test", 1)];
        let mut transaction = Transaction { recipients, ..Transaction::default() };
        let added = Edit::Add(Recipient { said: None, ..recipient("e@x.test", 0) });
        let edits = [
            added,
            refuse("b@x.test", reply::policy_reject()),
            refuse("d@x.test", plain),
            refuse("e@x.test", reply::policy_reject()),
        ];
        edits.into_iter().for_each(|edit| transaction.apply(edit));
        let shares = Shares::of(&transaction, false);
        let refused: Vec<_> = shares.refused.iter().map(|it| (&*it.recipient.address, it.said)).collect();
        assert_eq!(refused, [("b@x.test", true), ("d@x.test", true), ("e@x.test", false)]);
        let failure = |at: usize| shares.refused[at].recipient.refused.clone().unwrap();
        let policy = reply::policy_reject();
        assert_eq!(failure(0).reply.as_deref(), Some(&*policy.to_string()));
        assert_eq!(Some(&*failure(0).status), policy.reply().enhanced());
        assert_eq!((&*failure(1).status, failure(1).reply.as_deref()), ("4.0.0", Some("450 two / lines")));
    }
}
