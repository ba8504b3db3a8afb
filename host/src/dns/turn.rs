//! What those share who are about the same thing now, so that each question is asked once at a time. It knows questions,
//! answers, and who is the last to leave.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// The questions that somebody is about now.
#[derive(Debug)]
pub(super) struct Turns<Q, S>(Mutex<HashMap<Q, Table<S>>>);

/// What they share, and how many they are. They are counted under the lock: of two who leave at once, one is the last.
#[derive(Debug, Default)]
struct Table<S> {
    shared: Arc<S>,
    present: usize,
}

/// One of those who are about a question.
#[derive(Debug)]
pub(super) struct Turn<'a, Q: Hash + Eq, S> {
    turns: &'a Turns<Q, S>,
    question: Q,
    pub(super) shared: Arc<S>,
}

impl<Q, S> Default for Turns<Q, S> {
    fn default() -> Self {
        Turns(Mutex::default())
    }
}

impl<Q: Hash + Eq + Clone, S: Default> Turns<Q, S> {
    /// Joins those who are about `question`, or is the first of them.
    pub(super) fn join(&self, question: Q) -> Turn<'_, Q, S> {
        let mut tables = self.lock();
        let table = tables.entry(question.clone()).or_default();
        table.present = table.present.saturating_add(1);
        let shared = Arc::clone(&table.shared);
        Turn { turns: self, question, shared }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl<Q, S> Turns<Q, S> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Q, Table<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Hash + Eq, A: Clone> Turn<'_, Q, OnceCell<A>> {
    /// What one of them finds by `work`: whoever came first. Where that one goes away before its end, the next does its
    /// own.
    pub(super) async fn answer(&self, work: impl Future<Output = A>) -> A {
        self.shared.get_or_init(|| work).await.clone()
    }
}

impl<Q: Hash + Eq, S> Drop for Turn<'_, Q, S> {
    fn drop(&mut self) {
        let mut tables = self.turns.lock();
        let Some(table) = tables.get_mut(&self.question) else { return };
        table.present = table.present.saturating_sub(1);
        if table.present == 0 {
            tables.remove(&self.question);
        }
    }
}
