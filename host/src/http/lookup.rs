//! Names of hosts, looked up as the system does, away from the threads that serve and those that write mail.
//!
//! The system's resolver blocks a thread as long as it likes, also when nobody waits for it any more. So there is a runtime of
//! its own for whatever looks names up, and its threads for what blocks do nothing else. The file does not know who asks.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Look-ups at a time. Where a name server is silent each takes 10 to 30 seconds, whatever time its caller has; more wait
/// for a thread, and go with those who wanted them.
const PLACES: usize = 32;

static APART: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).max_blocking_threads(PLACES).thread_name("reach").enable_all().build()
});

/// What runs apart. Dropped, it is given up.
pub(super) struct Task<T>(JoinHandle<T>);

/// The addresses of a host.
///
/// # Errors
/// The system knows none.
#[allow(clippy::disallowed_methods, reason = "the thread that waits is there for it")]
pub async fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = name.to_owned();
    look_up(move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect)).await
}

async fn look_up<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    Task(apart()?.spawn_blocking(work)).end().await?
}

/// Runs what may look names up on its way.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<Task<T>> {
    Ok(Task(apart()?.spawn(work)))
}

fn apart() -> io::Result<&'static Runtime> {
    APART.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

impl<T> Task<T> {
    /// Its end.
    ///
    /// # Errors
    /// It panicked.
    pub(super) async fn end(mut self) -> io::Result<T> {
        (&mut self.0).await.map_err(io::Error::other)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;
    use tokio::sync::{Mutex, MutexGuard};
    use tokio::task::JoinSet;

    /// Every place there is, held by look-ups that nobody waits for and that end with this.
    pub(crate) struct Hanging(Vec<mpsc::Sender<()>>, #[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

    /// Two who take half of the places each would wait for the other.
    static ONE: Mutex<()> = Mutex::const_new(());

    impl Hanging {
        pub(crate) async fn start() -> Hanging {
            let (begun, mut all) = tokio::sync::mpsc::unbounded_channel();
            let mut hanging = Hanging(Vec::new(), ONE.lock().await);
            for _ in 0..PLACES {
                let (end, ended) = mpsc::channel();
                let begun = begun.clone();
                let look_up = look_up(move || {
                    begun.send(()).unwrap();
                    let _: Result<(), _> = ended.recv();
                    Ok(())
                });
                let mut look_up = Box::pin(look_up);
                std::future::poll_fn(|context| std::task::Poll::Ready(look_up.as_mut().poll(context).is_pending()))
                    .await;
                all.recv().await.unwrap();
                hanging.0.push(end);
            }
            hanging
        }
    }

    #[tokio::test]
    async fn no_more_threads_hang_than_there_are_places() {
        let hanging = Hanging::start().await;
        let looked_up = Arc::new(AtomicUsize::new(0));
        let mut waiting = JoinSet::new();
        for _ in 0..PLACES {
            let looked_up = looked_up.clone();
            let work = move || Ok(looked_up.fetch_add(1, Ordering::SeqCst));
            waiting.spawn(tokio::time::timeout(Duration::from_millis(50), look_up(work)));
        }
        assert!(waiting.join_all().await.iter().all(Result::is_err));
        // Mail is written by others.
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
        drop(hanging);
        assert_eq!(addresses("127.0.0.1", 25).await.unwrap(), ["127.0.0.1:25".parse().unwrap()]);
        assert_eq!(looked_up.load(Ordering::SeqCst), 0, "what nobody waits for is not begun");
    }
}
