//! What was found lately. It knows questions, answers and a clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Answers that are remembered, by question.
#[derive(Debug)]
pub(super) struct Memory<Q, A>(Mutex<Entries<Q, A>>);

#[derive(Debug)]
struct Entries<Q, A> {
    entries: HashMap<Q, Entry<A>>,
    /// Octets of all answers.
    octets: usize,
}

#[derive(Debug)]
struct Entry<A> {
    answer: A,
    until: Instant,
}

/// What takes room in the memory beside what every answer takes.
pub(super) trait Weight {
    /// Octets, roughly.
    fn octets(&self) -> usize;
}

/// Answers that are remembered. With the longest names of clients that is less than 2 MiB.
const ANSWERS: usize = 4096;
/// Octets that are remembered, because whoever owns a name chooses what is said of it.
const OCTETS: usize = 4 << 20;
/// How long an answer holds at most, whatever its owner says.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl<Q, A> Default for Memory<Q, A> {
    fn default() -> Self {
        Memory(Mutex::new(Entries { entries: HashMap::new(), octets: 0 }))
    }
}

impl<Q: Hash + Eq, A: Clone + Weight> Memory<Q, A> {
    /// What is known of `question`.
    pub(super) fn recall(&self, question: &Q) -> Option<A> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entries.get(question).filter(|entry| entry.until > Instant::now()).map(|entry| entry.answer.clone())
    }

    /// Remembers the answer for so long.
    pub(super) fn keep(&self, question: Q, answer: &A, how_long: Duration) {
        if how_long.is_zero() || answer.octets() > OCTETS {
            return;
        }
        let now = Instant::now();
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.is_full(answer) {
            memory.entries.retain(|_, entry| entry.until > now);
            memory.octets = memory.entries.values().map(|entry| entry.answer.octets()).sum();
        }
        if memory.is_full(answer) {
            // Somebody comes from everywhere. To look every one up again is slower and nothing else.
            memory.entries.clear();
            memory.octets = 0;
        }
        let entry = Entry { answer: answer.clone(), until: now + how_long.min(LONGEST) };
        let before = memory.entries.insert(question, entry).map_or(0, |entry| entry.answer.octets());
        memory.octets = memory.octets.saturating_add(answer.octets()).saturating_sub(before);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).octets
    }
}

impl<Q, A: Weight> Entries<Q, A> {
    fn is_full(&self, answer: &A) -> bool {
        self.entries.len() >= ANSWERS || self.octets.saturating_add(answer.octets()) > OCTETS
    }
}
