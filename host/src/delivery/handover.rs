//! Handing over before the 250: to those of a message's recipients whose route leads to a NATS stream it goes while its
//! client still waits, and it is not spooled for them.

use std::future::poll_fn;
use std::task::Poll;

use super::nats::Nats;
use super::route::{Destination, RecipientName, Routes};
use super::terms::Terms;
use crate::spool::{Draft, Envelope, Outcome};

impl Routes {
    /// Hands a message over for those of its recipients who are not to be spooled, and says what became of each of them;
    /// of the others nothing is said. A message that is to wait (FUTURERELEASE) is spooled like any other.
    pub async fn hand_over(&self, envelope: &Envelope, draft: &Draft) -> Vec<(usize, Outcome)> {
        let terms = Terms::of(envelope);
        if terms.not_before.is_some_and(|time| time > envelope.received) {
            return Vec::new();
        }
        let mut ways: Vec<(Nats, Vec<usize>)> = Vec::new();
        for (index, recipient) in envelope.recipients.iter().enumerate().filter(|(_, it)| it.refused.is_none()) {
            let name = RecipientName::of(envelope, recipient);
            let Some(Destination::Nats(nats, _)) = self.destination(&name) else { continue };
            match ways.iter_mut().find(|(other, _)| other.is(&nats)) {
                Some((_, indices)) => indices.push(index),
                None => ways.push((nats, vec![index])),
            }
        }
        let take = |(nats, indices): &(Nats, Vec<usize>)| {
            let (nats, indices) = (nats.clone(), indices.clone());
            async move { nats.hand_over(envelope, draft, &indices).await }
        };
        // Together, so that the client waits for the slowest of them and not for one after the other.
        let mut under_way = ways.iter().map(|way| Box::pin(take(way))).collect::<Vec<_>>();
        let mut outcomes = Vec::new();
        poll_fn(|context| {
            under_way.retain_mut(|taking| match taking.as_mut().poll(context) {
                Poll::Ready(taken) => {
                    outcomes.extend(taken);
                    false
                }
                Poll::Pending => true,
            });
            if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        outcomes
    }
}
