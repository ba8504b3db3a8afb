//! A panic in what a guest called is the end of that call, and of nothing else.
//!
//! The session goes on to say what the operator wants said when an extension fails. It does not know what panicked: the
//! log has that, from the process's own hook.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a call; none when it panicked.
///
/// What the call held may be half changed by then: whoever asks drops the instance, and with it all of that.
pub async fn caught<F: Future>(call: F) -> Option<F::Output> {
    let mut call = pin!(call);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
