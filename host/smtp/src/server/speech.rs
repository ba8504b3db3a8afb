//! What is said, and what follows from its being said: refusals are counted, noted for the log, and may close.
//!
//! The sentences are in `reply`; when one fits, the verbs and policy know.

use std::mem;

use super::{NOTED, Noted, Server};
use crate::phase::Phase;
use crate::{Refusal, Reply, reply};

impl Server {
    /// Queues a reply that is no refusal.
    pub(crate) fn say(&mut self, reply: &Reply) {
        self.answering = false;
        self.queue(reply);
    }

    /// Queues a refusal, and closes behind it if it is one that closes.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refuse_each(refusal, 1);
    }

    /// Queues what a message's end comes to, once for each recipient where each has its reply. It is the last word on that
    /// message: where it is the one error too many, it is said all the same, and the connection is closed behind it.
    pub(crate) fn refuse_message(&mut self, refusal: Refusal, replies: usize) {
        let limits = self.settings.limits;
        let last = limits.errors != 0 && self.tally.errors().saturating_add(1) >= limits.errors;
        let ends = refusal.reply().code() >= 500 && last;
        if ends && self.refusals.len() < NOTED {
            self.refusals.push(Noted { reply: refusal.reply().clone(), limit: reply::too_many_errors().limit() });
        }
        self.refuse_each(if ends { refusal.closing() } else { refusal }, replies);
    }

    /// The same, said so often.
    pub(crate) fn refuse_each(&mut self, refusal: Refusal, replies: usize) {
        let mut own = !mem::take(&mut self.answering);
        let mut refusal = refusal;
        // What is said in place of the banner answers no command.
        if self.begun && refusal.reply().code() >= 500 {
            let counted = self.tally.error(&self.settings.limits);
            if let (Err(last), false) = (counted, refusal.closes()) {
                refusal = last;
                own = true;
            }
        }
        if own && self.refusals.len() < NOTED {
            self.refusals.push(Noted { reply: refusal.reply().clone(), limit: refusal.limit() });
        }
        if refusal.closes() {
            self.abandon_message();
        }
        for _ in 0..replies {
            self.queue(refusal.reply());
        }
        if refusal.closes() {
            self.phase = Phase::Closed;
        }
    }

    /// Connect policy refuses the client, in place of the banner or of a reply.
    pub(crate) fn refuse_client(&mut self, refusal: Refusal) {
        if !refusal.closes() {
            self.lock_out();
        }
        self.refuse(refusal);
    }

    fn queue(&mut self, reply: &Reply) {
        if self.settings.keywords.enhanced_status_codes {
            reply.encode(&mut self.output);
        } else {
            reply.encode_bare(&mut self.output);
        }
        self.renewed = true;
    }
}
