//! The control socket: how `pillarbox reload` and its like speak to the server that runs.
//!
//! One JSON object on a line asks, one answers, and the connection is over. Whoever may open the socket may give orders, so
//! it is of mode 0600 from the moment it has its name, and the kernel is asked besides who is calling. The room does not
//! know how an order is carried out: it has an [`Operator`] for that. Nothing that is said here, and no number of callers,
//! ends or holds up the server.

mod client;
mod message;
mod quarantine;
mod queue;
mod socket;
mod spool;
mod status;
mod story;

pub use client::{AskError, ask};
pub use message::{Order, QueueOrder, Request, Response};
pub use quarantine::{Kept, PART, Shelf, Shown, page};
pub use queue::{Acted, Fault, Letter, QueuePage, Queued, QueuedRecipient, done};
pub use socket::{Control, ControlError};
pub use spool::SpoolStatus;
pub use status::{
    CandidateStatus, CertificateStatus, DestinationStatus, ExtensionStatus, ListenerStatus, ReloadStatus, Status,
};
pub use story::Tale;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// A future whose type is nobody's business.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries orders out.
pub trait Operator: Send + Sync {
    /// Loads the configuration anew. What happened, or why everything stays as it is: lines for a person.
    ///
    /// Several may be asked for at a time, by callers here and by signals; to put them in order is the operator's part.
    /// One that began is not ended early when its caller goes away.
    fn reload(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Goes back to the generation before. What happened, or why everything stays as it is: lines for a person. In order
    /// with reloads.
    fn rollback(&self) -> BoxFuture<'_, Result<String, String>>;

    /// How the server is.
    fn status(&self) -> Status;

    /// Does something with messages that are kept aside.
    fn quarantine(&self, order: Order) -> BoxFuture<'_, Response> {
        Box::pin(async move { Response::Refused(format!("nothing is kept aside here: {order:?}")) })
    }

    /// Does something with messages that wait for delivery.
    fn queue(&self, order: QueueOrder) -> BoxFuture<'_, Response> {
        Box::pin(async move { Response::Refused(format!("nothing waits for delivery here: {order:?}")) })
    }

    /// Tells what became of a message or a session, from an event of this number on.
    fn story(&self, id: String, from: u64) -> BoxFuture<'_, Response> {
        Box::pin(async move { Response::Refused(format!("nothing is remembered here: {id} from {from}")) })
    }
}

/// Callers at a time; who comes when there are so many is told so.
const CALLERS: usize = 16;
/// Octets of a request, its line end included.
const REQUEST: usize = 4096;
/// How long a caller may take to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long orders that are being carried out are waited for at the end.
const GRACE: Duration = Duration::from_secs(2);

impl Control {
    /// Answers whoever calls, until `stop` becomes true. The socket is gone when this returns.
    pub async fn serve(self, operator: Arc<dyn Operator>, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CALLERS));
        let mut callers = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = callers.join_next() => {}
                stream = self.accept() => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let operator = Arc::clone(&operator);
                        callers.spawn(async move {
                            answer(stream, &*operator).await;
                            drop(place);
                        });
                    }
                    Err(_) => turn_away(&stream),
                },
            }
        }
        drop(self);
        let _ = timeout(GRACE, async { while callers.join_next().await.is_some() {} }).await;
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The other end going away means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Holds one conversation: a request and its answer.
async fn answer(mut stream: UnixStream, operator: &dyn Operator) {
    let response = match allowed(&stream) {
        Ok(()) => match timeout(PATIENCE, read_request(&mut stream)).await {
            Ok(Ok(request)) => carry_out(request, operator).await,
            Ok(Err(fault)) => Response::Refused(fault),
            Err(_) => Response::Refused(format!("no request came within {PATIENCE:?}")),
        },
        Err(fault) => Response::Refused(fault),
    };
    // A caller that does not wait for its answer has none.
    let _ = timeout(PATIENCE, async {
        stream.write_all(response.to_line().as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

async fn carry_out(request: Request, operator: &dyn Operator) -> Response {
    match request {
        Request::Reload => match operator.reload().await {
            Ok(text) => Response::Done(text),
            Err(text) => Response::Refused(text),
        },
        Request::Rollback => match operator.rollback().await {
            Ok(text) => Response::Done(text),
            Err(text) => Response::Refused(text),
        },
        Request::Status => Response::Status(Box::new(operator.status())),
        Request::Quarantine(order) => operator.quarantine(order).await,
        Request::Queue(order) => operator.queue(order).await,
        Request::Story { id, from } => operator.story(id, from).await,
    }
}

/// The first line, or what comes before the end where there is none.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = stream.read(&mut piece).await.map_err(|error| format!("the request cannot be read: {error}"))?;
        let piece = piece.get(..count).unwrap_or_default();
        let end = piece.iter().position(|octet| *octet == b'\n');
        line.extend_from_slice(end.and_then(|end| piece.get(..end)).unwrap_or(piece));
        if line.len() >= REQUEST {
            return Err(format!("the request is longer than {REQUEST} octets"));
        }
        if end.is_some() || count == 0 {
            return Request::from_line(&line);
        }
    }
}

/// The socket's mode says the same. But a mode can be changed by a mistake, and root may be a root without rights.
fn allowed(stream: &UnixStream) -> Result<(), String> {
    let caller = stream.peer_cred().map_err(|error| format!("it is not known who calls: {error}"))?.uid();
    may_order(caller, rustix::process::geteuid().as_raw()).then_some(()).ok_or_else(|| {
        tracing::warn!(uid = caller, "an order on the control socket from somebody who may give none");
        "orders are taken from the server's own user and from root".to_owned()
    })
}

fn may_order(caller: u32, own: u32) -> bool {
    caller == own || caller == 0
}

/// The send buffer is empty, so this goes at once or never.
fn turn_away(stream: &UnixStream) {
    let busy = Response::Refused(format!("{CALLERS} callers are being answered; try again"));
    let _: io::Result<usize> = stream.try_write(busy.to_line().as_bytes());
}

#[cfg(test)]
mod tests;
