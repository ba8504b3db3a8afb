//! Calling hosts by HTTP: one request, one answer, within a time and with a bounded answer. The room follows no redirect,
//! keeps no cookie and asks no proxy that the environment names. It does not know who may call whom: it calls the target
//! it is given.

mod lookup;
mod post;
mod target;

pub use lookup::addresses;
pub use post::{NotPosted, Post, Posted, Poster};
pub use target::{BadUrl, Target};

use crate::config::{self, Host, METHODS};
use crate::observe;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Calls hosts, and keeps a few connections to them for the next call.
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// How long a request may take.
    wait: Duration,
    /// Octets of an answer's body that are kept.
    most: usize,
    /// Requests under way, by host. There are as many hosts as the grants name.
    places: Mutex<HashMap<(Host, u16), Arc<Semaphore>>>,
}

/// A request whose headers have been looked at.
#[derive(Debug)]
pub struct Outgoing {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 999; redirects too, for they are not followed.
    pub status: u16,
    /// Names in lower case, in the order of their first appearance.
    pub headers: Vec<(String, String)>,
    /// Cut at the cap.
    pub body: Vec<u8>,
}

/// Why hosts cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file of authorities cannot be used.
    #[error("cannot use the authorities in {file}", file = file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS cannot be had.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The method is none of those there are.
    #[error("the method must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, in upper case")]
    Method,
    /// No name of a header field.
    #[error("a header name is a token")]
    Name,
    /// A header the host writes itself, or one that is between two neighbours.
    #[error("this header is the host's to write")]
    Reserved,
    /// A control character in a header.
    #[error("a header value holds no control characters")]
    Value,
    /// More headers than are sent.
    #[error("at most 64 headers of 16 KiB together are sent")]
    TooManyHeaders,
}

/// No answer; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

/// Requests to one host at a time, of all extensions together. Each holds a socket and an answer. A host that hangs keeps
/// nobody from calling another.
const PLACES: usize = 32;
/// Connections to one host that are kept for the next request.
const IDLE: usize = 4;
/// How long they are kept.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Octets of the head of an answer.
const LARGEST_HEAD: usize = 64 << 10;
/// Headers of an answer, and of a request.
const ANSWER_HEADERS: usize = 100;
const HEADERS: usize = 64;
/// Octets of a request's headers.
const HEADER_OCTETS: usize = 16 << 10;

/// What a guest does not write: what frames the message (RFC 9112 section 6), what names the host, and what is between
/// two neighbours only (RFC 9110 section 7.6.1). `expect` would wait for a word that nobody passes on.
const RESERVED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

impl Client {
    /// A client that trusts the system's authorities and those of `http`. Nobody is called yet.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn new(http: &config::Http) -> Result<Client, HttpError> {
        let pool = pool(connector(http, http.timeout)?);
        let most = usize::try_from(http.response).unwrap_or(usize::MAX);
        Ok(Client { pool, wait: http.timeout, most, places: Mutex::default() })
    }

    /// Sends a request to its target and takes the answer. It takes no longer than the configuration allows, the wait for
    /// a place included.
    ///
    /// # Errors
    /// No answer, or none in time.
    pub async fn send(&self, target: &Target, outgoing: Outgoing) -> Result<Answer, NoAnswer> {
        let places = self.places(target);
        let exchange = async {
            // It is never closed.
            let _place = places.acquire().await.map_err(|error| NoAnswer(error.to_string()))?;
            let Outgoing { method, headers, body } = outgoing;
            let mut request = Request::new(Full::new(body));
            *request.method_mut() = method;
            *request.uri_mut() = target.uri();
            *request.headers_mut() = headers;
            let (pool, most) = (self.pool.clone(), self.most);
            // The client looks names up wherever it runs.
            let apart = lookup::spawn(async move {
                let response = pool.request(request).await.map_err(|error| NoAnswer(observe::chain(&error)))?;
                take(response, most).await
            });
            match apart {
                Ok(task) => task.end().await.unwrap_or_else(|error| Err(NoAnswer(error.to_string()))),
                Err(error) => Err(NoAnswer(error.to_string())),
            }
        };
        match timeout(self.wait, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer("the host did not answer in time".to_owned())),
        }
    }

    fn places(&self, target: &Target) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = places.entry((target.host.clone(), target.port));
        Arc::clone(of_host.or_insert_with(|| Arc::new(Semaphore::new(PLACES))))
    }
}

/// What connects to hosts, and verifies those who speak TLS.
fn connector(http: &config::Http, wait: Duration) -> Result<HttpsConnector<HttpConnector>, HttpError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(file) = &http.authorities {
        add_authorities(file, &mut roots).map_err(|source| HttpError::Authorities { file: file.clone(), source })?;
    }
    if roots.is_empty() {
        tracing::warn!("the system knows no authorities: no host can be called by https");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(wait));
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector))
}

/// Connections, with bounds for what hosts answer.
fn pool<B>(connector: HttpsConnector<HttpConnector>) -> Pool<HttpsConnector<HttpConnector>, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE)
        .http1_max_buf_size(LARGEST_HEAD)
        .http1_max_headers(ANSWER_HEADERS)
        .build(connector)
}

async fn take(response: Response<Incoming>, most: usize) -> Result<Answer, NoAnswer> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    // What is beyond the cap is never read: the connection goes with the rest.
    while body.len() < most
        && let Some(frame) = incoming.frame().await
    {
        let frame = frame.map_err(|error| NoAnswer(observe::chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = most.saturating_sub(body.len());
        body.extend(data.iter().take(room));
    }
    Ok(Answer { status, headers, body })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("wait", &self.wait).field("most", &self.most).finish_non_exhaustive()
    }
}

impl Outgoing {
    /// A request, if it can be sent. Host and length are written when it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new<'a>(
        method: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Vec<u8>,
    ) -> Result<Outgoing, BadRequest> {
        let method = Some(method).filter(|method| METHODS.contains(method)).and_then(|method| method.parse().ok());
        let method = method.ok_or(BadRequest::Method)?;
        let mut fields = HeaderMap::new();
        let mut octets = 0_usize;
        for (name, value) in headers {
            octets = octets.saturating_add(name.len()).saturating_add(value.len());
            if fields.len() >= HEADERS || octets > HEADER_OCTETS {
                return Err(BadRequest::TooManyHeaders);
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadRequest::Name)?;
            if RESERVED.contains(&name.as_str()) {
                return Err(BadRequest::Reserved);
            }
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| BadRequest::Value)?;
            fields.append(name, value);
        }
        if !fields.contains_key(header::USER_AGENT) {
            fields.insert(header::USER_AGENT, HeaderValue::from_static("pillarbox"));
        }
        Ok(Outgoing { method, headers: fields, body: body.into() })
    }
}

fn add_authorities(file: &Path, roots: &mut RootCertStore) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let text = std::fs::read(file)?;
    let mut any = false;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate?)?;
        any = true;
    }
    match any {
        true => Ok(()),
        false => Err(pem::Error::NoItemsFound.into()),
    }
}

#[cfg(test)]
mod tests;
