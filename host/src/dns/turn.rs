//! Look-ups under way, so that each question is asked once at a time. It knows questions and answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The questions that are asked now.
#[derive(Debug)]
pub(super) struct Turns<Q, A>(Mutex<HashMap<Q, Arc<OnceCell<A>>>>);

/// One of those who want to know the answer to a question.
#[derive(Debug)]
pub(super) struct Turn<'a, Q: Hash + Eq, A> {
    turns: &'a Turns<Q, A>,
    question: Q,
    found: Arc<OnceCell<A>>,
}

impl<Q, A> Default for Turns<Q, A> {
    fn default() -> Self {
        Turns(Mutex::default())
    }
}

impl<Q: Hash + Eq + Clone, A: Clone> Turns<Q, A> {
    /// Joins those who ask `question`, or is the first of them.
    pub(super) fn join(&self, question: Q) -> Turn<'_, Q, A> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Arc::clone(under_way.entry(question.clone()).or_default());
        Turn { turns: self, question, found }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl<Q: Hash + Eq, A: Clone> Turn<'_, Q, A> {
    /// What one of them finds by `work`: whoever came first. Where that one goes away before its end, the next does its
    /// own.
    pub(super) async fn answer(&self, work: impl Future<Output = A>) -> A {
        self.found.get_or_init(|| work).await.clone()
    }
}

impl<Q: Hash + Eq, A> Drop for Turn<'_, Q, A> {
    fn drop(&mut self) {
        let mut under_way = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The last but for the map itself; nobody joins meanwhile.
        if Arc::strong_count(&self.found) <= 2 {
            under_way.remove(&self.question);
        }
    }
}
