//! Posting what is too long to be held: the body is read as the other side takes it, and of the answer the status counts.

use super::target::Target;
use super::{HttpError, connector, lookup, pool};
use crate::config;
use crate::observe::chain;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Posts to hosts, and keeps a few connections to them for the next time.
pub struct Poster {
    pool: Pool<HttpsConnector<HttpConnector>, Streamed>,
}

/// What is posted.
pub struct Post<'a> {
    /// Header fields beside Host and Content-Length; a name may occur more than once.
    pub headers: &'a [(&'static str, String)],
    /// The body. Reading it blocks.
    pub body: Box<dyn Read + Send>,
    /// Octets of it.
    pub length: u64,
}

/// The host answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// 200 to 999; redirects too, for they are not followed.
    pub status: u16,
    /// The beginning of the answer's body, for people.
    pub text: String,
    /// Whether it waited for the end of what was posted.
    pub whole: bool,
}

/// The host did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPosted {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Connect(String),
    /// It is not who it should be, or speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Late,
    /// The connection ended, or what came is no HTTP.
    #[error("it gave no answer: {0}")]
    Broken(String),
    /// What was to be sent cannot be.
    #[error("a header cannot be sent")]
    Header,
}

/// How long connecting to all addresses of a host may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Octets of an answer's body that are read, and how long its end is waited for when the status is known: whoever sends more
/// loses the connection.
const ANSWER: usize = 8 << 10;
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Octets of it that people see.
const SHOWN: usize = 300;
/// Octets that are read from the disk at a time.
const CHUNK: u64 = 64 << 10;

impl Poster {
    /// A client that trusts the system's authorities and those of `http`. Nobody is called yet.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn new(http: &config::Http) -> Result<Poster, HttpError> {
        Ok(Poster { pool: pool(connector(http, CONNECT)?) })
    }

    /// Posts to a target, within this time altogether.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, target: &Target, post: Post<'_>, wait: Duration) -> Result<Posted, NotPosted> {
        let mut headers = HeaderMap::new();
        for (name, value) in post.headers {
            let value = HeaderValue::from_str(value).map_err(|_| NotPosted::Header)?;
            headers.append(HeaderName::from_static(name), value);
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static("pillarbox"));
        let whole = Arc::new(AtomicBool::new(post.length == 0));
        let body = Streamed {
            left: post.length,
            reading: Reading::Idle(Some(post.body)),
            runtime: Handle::current(),
            whole: whole.clone(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri();
        *request.headers_mut() = headers;
        let pool = self.pool.clone();
        // The client looks names up wherever it runs.
        let exchange = lookup::spawn(async move {
            let response = pool.request(request).await.map_err(|error| why(&error))?;
            let status = response.status().as_u16();
            // An answer that comes before all was sent may be to a part of it.
            let whole = whole.load(Ordering::Acquire);
            let text = read_some(response.into_body()).await;
            Ok(Posted { status, text, whole })
        });
        let broken = |error: io::Error| NotPosted::Broken(error.to_string());
        match timeout(wait, exchange.map_err(broken)?.end()).await {
            Ok(ended) => ended.map_err(broken)?,
            Err(_) => Err(NotPosted::Late),
        }
    }
}

/// The beginning of an answer, and its end where that comes soon, so that the connection can be used again.
async fn read_some(mut incoming: Incoming) -> String {
    let mut text = Vec::new();
    let mut octets = 0_usize;
    let read = async {
        while octets < ANSWER
            && let Some(Ok(frame)) = incoming.frame().await
        {
            let Ok(data) = frame.into_data() else { continue };
            octets = octets.saturating_add(data.len());
            text.extend(data.iter().take(SHOWN.saturating_sub(text.len())));
        }
    };
    // The status is known, and says it all.
    let _ = timeout(ANSWER_WAIT, read).await;
    String::from_utf8_lossy(&text).into_owned()
}

fn why(error: &hyper_util::client::legacy::Error) -> NotPosted {
    let tls = std::iter::successors(error.source(), |cause| inside(*cause)).any(|cause| cause.is::<rustls::Error>());
    match () {
        () if tls => NotPosted::Tls(chain(error)),
        () if error.is_connect() => NotPosted::Connect(chain(error)),
        () => NotPosted::Broken(chain(error)),
    }
}

/// What an error wraps. One of input and output passes over that when it is asked for its source.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

impl fmt::Debug for Post<'_> {
    /// Without the values of the header, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A body that is read when there is room for more of it. No thread waits for the other side.
struct Streamed {
    left: u64,
    reading: Reading,
    /// Whose threads read: those of the connections look names up.
    runtime: Handle,
    whole: Arc<AtomicBool>,
}

/// The content, and the next octets of it.
type Piece = (Box<dyn Read + Send>, io::Result<Vec<u8>>);

enum Reading {
    /// None after an error.
    Idle(Option<Box<dyn Read + Send>>),
    Busy(JoinHandle<Piece>),
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let left = self.left;
            match &mut self.reading {
                Reading::Idle(_) if left == 0 => return Poll::Ready(None),
                Reading::Idle(source) => {
                    let Some(mut source) = source.take() else { return Poll::Ready(None) };
                    let most = left.min(CHUNK);
                    let task = self.runtime.spawn_blocking(move || {
                        let mut octets = Vec::new();
                        let read = source.by_ref().take(most).read_to_end(&mut octets);
                        (source, read.map(|_| octets))
                    });
                    self.reading = Reading::Busy(task);
                }
                Reading::Busy(task) => {
                    let ended = ready!(Pin::new(task).poll(context));
                    self.reading = Reading::Idle(None);
                    let (source, read) = ended.map_err(io::Error::other)?;
                    let octets = read?;
                    let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                    if length == 0 {
                        return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                    }
                    self.left = left.saturating_sub(length);
                    self.reading = Reading::Idle(Some(source));
                    self.whole.store(self.left == 0, Ordering::Release);
                    return Poll::Ready(Some(Ok(Frame::data(octets.into()))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
