//! Content that comes in: DATA's up to its end mark, BDAT's by its count of octets.
//!
//! Both feed a `Content`, which knows what may be kept; what follows the end of it is in `verb`.

use super::Server;
use crate::body::Decoder;
use crate::phase::{Chunk, Fate, Phase, Transaction};
use crate::{reply, verb};

impl Server {
    /// Goes on with DATA's content; what is to be kept of it.
    pub(super) fn take_content(&mut self, mut decoder: Decoder, transaction: Transaction) -> Vec<u8> {
        let decoded = decoder.decode(self.input.octets());
        self.input.consume(decoded.consumed);
        self.abort |= decoded.spoiled;
        let exhausted = decoder.content().is_exhausted();
        match decoder.content().outcome() {
            // Whoever was not offered to send on has to wait for the reply to its message, too.
            outcome if decoded.ended && self.deviates(false, 0) => {
                self.abort |= outcome.is_ok();
                self.refuse(reply::unauthorized_pipelining());
            }
            outcome if decoded.ended => verb::data::end(self, outcome, transaction),
            Err(fault) if exhausted => self.refuse(fault.refusal().closing()),
            _ => self.phase = Phase::Body { decoder, transaction },
        }
        decoded.content
    }

    /// Goes on with a chunk; what is to be kept of it.
    pub(super) fn take_chunk(&mut self, mut chunk: Chunk, mut fate: Fate) -> Vec<u8> {
        let waiting = self.input.octets();
        let count = usize::try_from(chunk.left).map_or(waiting.len(), |left| left.min(waiting.len()));
        let octets = waiting.get(..count).unwrap_or_default();
        let mut kept = Vec::new();
        let mut used = count;
        if let Fate::Taken { content, .. } = &mut fate {
            let sound = content.outcome().is_ok();
            kept.reserve(if sound { count.min(crate::content::CHUNK) } else { 0 });
            used = content.take(octets, &mut kept);
            if chunk.last && u64::try_from(used).is_ok_and(|used| used == chunk.left) {
                content.finish(&mut kept);
            }
            self.abort |= sound && content.outcome().is_err();
        }
        self.input.consume(used);
        chunk.left = chunk.left.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
        match fate {
            fate if chunk.left > 0 => self.phase = Phase::Chunk { chunk, fate },
            Fate::Taken { content, transaction } => verb::bdat::end(self, chunk, content, transaction),
            Fate::Refused { refusal, replies, policy } => {
                self.speak_for_policy(policy);
                self.refuse_each(refusal, replies);
            }
        }
        kept
    }
}
