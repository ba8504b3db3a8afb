//! Recipients whose message is not spooled: it goes to where it is kept before its client hears 250. It does not know
//! where that is.

use super::session::Session;
use super::share::Shares;
use crate::spool::{Draft, Failure, MessageId, Outcome, Receipt};
use pillarbox_smtp::{Refusal, reply};

impl Session {
    /// Hands the message over for those who are not to be spooled, and takes them out of the shares. This comes before all
    /// that the spool keeps, so that a message that is refused is nowhere in it; where something was handed over all the
    /// same, its client's next attempt makes it arrive twice, which is better than not at all.
    ///
    /// SMTP has one reply for all: if one recipient was not served, nobody is, and this is the refusal. LMTP has one for
    /// each (RFC 2033 section 4.2), and there is a refusal only where nobody is left.
    pub(super) async fn hand_over(&mut self, draft: &Draft, id: &MessageId, shares: &mut Shares) -> Option<Refusal> {
        if shares.queue.is_empty() || !self.post.routing.hands_over() {
            return None;
        }
        let envelope = self.envelope(id, shares.queue.clone(), None);
        let mut served = Vec::new();
        let mut refusal: Option<Refusal> = None;
        for (index, outcome) in self.post.routing.hand_over(&envelope, draft).await {
            let Some(recipient) = envelope.recipients.get(index) else { continue };
            served.push(index);
            let refused = match &outcome {
                Outcome::Delivered(receipt) => {
                    self.note_handed_over(id, &recipient.address, receipt);
                    continue;
                }
                Outcome::Deferred(failure) => self.refused(id, &recipient.address, failure, false),
                Outcome::Failed(failure) => self.refused(id, &recipient.address, failure, true),
            };
            for &place in shares.said.get(&index).into_iter().flatten() {
                if let Some(place) = shares.refusals.get_mut(place) {
                    *place = Some(refused.clone());
                }
            }
            if self.facts.lmtp {
                shares.refuse_handed_over(recipient, &refused);
            }
            // What lasts is said first: trying again would not help.
            if refusal.as_ref().is_none_or(|other| !lasts(other) && lasts(&refused)) {
                refusal = Some(refused);
            }
        }
        let mut at = 0;
        shares.queue.retain(|_| {
            at += 1;
            !served.contains(&(at - 1))
        });
        let refusal = refusal?;
        if !self.facts.lmtp {
            return Some(refusal);
        }
        shares.refusals.iter().all(Option::is_some).then_some(refusal)
    }

    /// What the client hears of it. Why it is so, the log says.
    fn refused(&self, id: &MessageId, recipient: &str, failure: &Failure, lasts: bool) -> Refusal {
        let (session, id) = (&*self.facts.id, id.as_str());
        tracing::warn!(session, id, recipient, status = &*failure.status, error = &*failure.text, "not handed over");
        match lasts {
            true => reply::too_large_to_hand_over(),
            false => reply::not_handed_over(),
        }
    }

    fn note_handed_over(&self, id: &MessageId, recipient: &str, receipt: &Receipt) {
        tracing::info!(
            session = &*self.facts.id,
            id = id.as_str(),
            recipient,
            to = &*receipt.to,
            reply = receipt.reply.as_deref().unwrap_or_default(),
            "delivered"
        );
    }
}

fn lasts(refusal: &Refusal) -> bool {
    refusal.reply().code() >= 500
}
