//! How many passwords are hashed at a time. Hashing is slow by intent, so who may ask for it must not be able to take all
//! the processors and all the memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a login waits for its turn. Longer, and the client has gone or will think so.
const PATIENCE: Duration = Duration::from_secs(5);

/// The places at which passwords are hashed. Clones share them.
#[derive(Clone, Debug)]
pub struct Hashing(Arc<Semaphore>);

/// What became of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the user's.
    Right,
    /// It is not, or there is no such user.
    Wrong,
    /// There was no place in time to find out: 454 4.7.0.
    Busy,
}

impl Hashing {
    /// At most `concurrent` hashes at a time; at least one.
    pub fn new(concurrent: usize) -> Hashing {
        Hashing(Arc::new(Semaphore::new(concurrent.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Does the work on a thread where it stops nobody.
    pub(super) async fn check(&self, work: impl FnOnce() -> bool + Send + 'static) -> Checked {
        let Ok(Ok(place)) = timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await else {
            return Checked::Busy;
        };
        let work = spawn_blocking(move || {
            // Held until the work is done, not until someone stops waiting for it: a client that goes away and comes
            // again would else be hashed for twice.
            let _place = place;
            work()
        });
        match work.await {
            Ok(true) => Checked::Right,
            Ok(false) => Checked::Wrong,
            Err(_) => Checked::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn work_has_an_outcome() {
        let hashing = Hashing::new(0);
        assert_eq!(hashing.check(|| true).await, Checked::Right);
        assert_eq!(hashing.check(|| false).await, Checked::Wrong);
        Hashing::new(usize::MAX);
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_work_is_done() {
        let hashing = Hashing::new(1);
        let (finish, finished) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let hashing = hashing.clone();
            async move {
                let work = move || {
                    begin.send(()).unwrap();
                    finished.recv().unwrap();
                    true
                };
                hashing.check(work).await
            }
        });
        begun.await.unwrap();
        // The client goes away; its hash goes on.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(hashing.0.available_permits(), 0);
        tokio::time::pause();
        let second = hashing.check(|| true);
        tokio::pin!(second);
        assert!(poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await);
        // The clock does not run by itself while there is work.
        tokio::time::advance(PATIENCE + Duration::from_millis(1)).await;
        assert_eq!(second.await, Checked::Busy);
        tokio::time::resume();
        finish.send(()).unwrap();
        assert_eq!(hashing.check(|| true).await, Checked::Right);
    }
}
