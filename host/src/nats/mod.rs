//! Connections to NATS servers: which servers, whom to trust, how to be let in, and what became of what was published.
//!
//! A [`Link`] connects when it is first used, and again when it is used after its connection broke; it never waits for a
//! server in the background, and what could not be sent is not sent later. The files it is let in by are read anew each
//! time, so whoever mends one restarts nothing. Whoever publishes hears within a bounded time whether a stream has it. The
//! room does not know what is published, nor why.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use hyper::body::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::config::NatsServers;
use crate::file;
use crate::observe::{Trouble, chain};

/// How long servers may take to be connected to.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nobody connects after it went wrong: those who come meanwhile hear what the last one heard.
const REST: Duration = Duration::from_millis(500);
/// How often a connection is asked whether it is still there. The second silence ends it.
const PING: Duration = Duration::from_secs(10);

/// A way to the servers of one NATS system. Clones share its connection.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    servers: NatsServers,
    state: Arc<Mutex<Standing>>,
}

#[derive(Clone, Default)]
struct Standing {
    connection: Option<Context>,
    /// How many there were until now.
    made: u64,
    /// When connecting failed last, and why.
    failed: Option<(Instant, String)>,
    trouble: Trouble,
}

/// A file that the configuration names for NATS servers cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Where a stream keeps what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The stream.
    pub stream: String,
    /// The place in it.
    pub sequence: u64,
}

/// What was published is in no stream, so far as is known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// There is no connection.
    #[error("no server can be reached: {0}")]
    Unreachable(String),
    /// No stream takes the subject, or no JetStream is there.
    #[error("no stream takes the subject")]
    NoStream,
    /// Servers take no more than this.
    #[error("the server takes messages of at most {0} octets")]
    TooLarge(usize),
    /// The stream takes none that is so large.
    #[error("it is too large for the stream")]
    TooLargeForStream,
    /// It may be kept and may be not.
    #[error("no acknowledgement came in time")]
    Silent,
    /// It was to be the successor of something that is not the last any more.
    #[error("something else was published there meanwhile")]
    Outdated,
    /// The stream does not take it.
    #[error("the stream refused it: {0}")]
    Refused(String),
}

impl Link {
    /// Reads the files that are named, to see whether they can be used. Nobody is connected to.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn load(servers: &NatsServers) -> Result<Link, FileError> {
        options(servers)?;
        Ok(Link(Arc::new(Inner { servers: servers.clone(), state: Arc::default() })))
    }

    /// Takes over the connection of a way to the same servers, when a new configuration takes the old one's place.
    pub fn inherit(&self, before: &Link) {
        // Who is connecting at this moment has no connection to give.
        if let (Ok(mut new), Ok(old)) = (self.0.state.try_lock(), before.0.state.try_lock())
            && self.0.servers == before.0.servers
        {
            new.clone_from(&old);
        }
    }

    /// The connection, made if there is none. Takes no longer than connecting may.
    ///
    /// # Errors
    /// [`NotKept::Unreachable`].
    pub async fn connection(&self) -> Result<Context, NotKept> {
        Ok(self.numbered().await?.0)
    }

    /// Makes another connection the next time: nothing was heard over this one when it should have been. The library asks
    /// whether it is still there as well, and takes half a minute to believe that it is not.
    pub fn let_go(&self, number: u64) {
        if let Ok(mut standing) = self.0.state.try_lock()
            && standing.made == number
        {
            standing.connection = None;
        }
    }

    /// The number of the connection there is; none while one is being made.
    pub fn number(&self) -> Option<u64> {
        self.0.state.try_lock().ok().map(|standing| standing.made)
    }

    async fn numbered(&self) -> Result<(Context, u64), NotKept> {
        let mut standing = self.0.state.clone().lock_owned().await;
        let alive = |it: &&Context| it.client().connection_state() != State::Disconnected;
        if let Some(connection) = standing.connection.as_ref().filter(alive) {
            return Ok((connection.clone(), standing.made));
        }
        standing.connection = None;
        if let Some((at, said)) = &standing.failed
            && at.elapsed() < REST
        {
            return Err(NotKept::Unreachable(said.clone()));
        }
        // Whoever gives up waiting leaves it to those who come later.
        let link = self.clone();
        let connecting = tokio::spawn(async move {
            let connected = timeout(CONNECT, connect(link.0.servers.clone())).await;
            let servers = link.to_string();
            match connected.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(client) => {
                    standing.failed = None;
                    if standing.trouble.ends() {
                        tracing::info!(servers, "nats servers are reached again");
                    }
                    standing.made = standing.made.wrapping_add(1);
                    let made = standing.made;
                    Ok((standing.connection.insert(jetstream::new(client)).clone(), made))
                }
                Err(error) => {
                    if standing.trouble.is_news(&error) {
                        tracing::warn!(servers, error, "nats servers cannot be reached");
                    }
                    standing.failed = Some((Instant::now(), error.clone()));
                    Err(NotKept::Unreachable(error))
                }
            }
        });
        connecting.await.unwrap_or_else(|error| Err(NotKept::Unreachable(error.to_string())))
    }

    /// Octets of the largest message that is taken, headers and all.
    ///
    /// # Errors
    /// [`NotKept::Unreachable`].
    pub async fn largest(&self) -> Result<usize, NotKept> {
        Ok(self.connection().await?.client().max_payload())
    }

    /// Publishes, and waits so long at most for the word of a stream that it has it.
    ///
    /// # Errors
    /// It has not, so far as is known.
    pub async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Kept, NotKept> {
        let mut number = None;
        let published = timeout(patience, async {
            let (mut connection, its_number) = self.numbered().await?;
            number = Some(its_number);
            connection.set_timeout(patience);
            let sent = connection.publish_with_headers(subject, headers, payload).await;
            let kept = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            kept.map_err(|error| match error.kind() {
                PublishErrorKind::StreamNotFound => NotKept::NoStream,
                PublishErrorKind::WrongLastSequence => NotKept::Outdated,
                PublishErrorKind::TimedOut => NotKept::Silent,
                PublishErrorKind::BrokenPipe => NotKept::Unreachable("the connection broke".to_owned()),
                PublishErrorKind::MaxPayloadExceeded => NotKept::TooLarge(connection.client().max_payload()),
                _ if refusal(&error) == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => NotKept::TooLargeForStream,
                PublishErrorKind::MaxAckPending | PublishErrorKind::WrongLastMessageId | PublishErrorKind::Other => {
                    NotKept::Refused(error.to_string())
                }
            })
        });
        let published = published.await.unwrap_or(Err(NotKept::Silent));
        if let (Err(NotKept::Silent), Some(number)) = (&published, number) {
            self.let_go(number);
        }
        let kept = published?;
        Ok(Kept { stream: kept.stream, sequence: kept.sequence })
    }
}

/// The servers.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (host, port)) in self.0.servers.hosts.iter().enumerate() {
            let between = if number == 0 { "" } else { "," };
            write!(f, "{between}{host}:{port}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.to_string()).finish()
    }
}

/// By what number a stream refused it.
fn refusal(error: &PublishError) -> Option<ErrorCode> {
    Some(std::error::Error::source(error)?.downcast_ref::<jetstream::Error>()?.error_code())
}

/// Connects to one of the servers: all are asked, and who lets this host in first has it. One that is silent holds up nobody.
async fn connect(servers: NatsServers) -> Result<Client, String> {
    let (scheme, hosts) = (if servers.tls { "tls" } else { "nats" }, servers.hosts.clone());
    let options = spawn_blocking(move || options(&servers)).await.map_err(|error| error.to_string())?;
    let options = options.map_err(|error| chain(&error))?;
    let mut asked = JoinSet::new();
    for (host, port) in hosts {
        let address = format!("{scheme}://{host}:{port}").parse::<ServerAddr>();
        let options = options.clone();
        asked.spawn(async move {
            let address = address.map_err(|error| chain(&error))?;
            options.connect(address).await.map_err(|error| error.to_string())
        });
    }
    let mut heard = "there is no server".to_owned();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => heard = error,
            Err(error) => heard = error.to_string(),
        }
    }
    Err(heard)
}

/// Whom to trust and how to be let in, as the files say it now.
fn options(servers: &NatsServers) -> Result<ConnectOptions, FileError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| FileError { path, source }
    };
    let mut options = ConnectOptions::new()
        .name("pillarbox")
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        // Once: who is left without a connection connects anew, and hears at once what is wrong.
        .max_reconnects(1)
        .ignore_discovered_servers();
    if servers.tls || servers.authorities.is_some() {
        let file = servers.authorities.as_deref();
        let tls = trust(file).map_err(fail(file.unwrap_or(Path::new("the system's authorities"))))?;
        options = options.tls_client_config(tls).require_tls(servers.tls);
    }
    if let Some(path) = &servers.credentials {
        let read = || Ok(std::fs::read_to_string(path)?);
        let text: String = read().map_err(fail(path))?;
        options = options.credentials(&text).map_err(|error| fail(path)(error.into()))?;
    }
    if let Some(path) = &servers.token_file {
        options = options.token(file::secret(path).map_err(|error| fail(path)(error.into()))?);
    }
    Ok(options)
}

/// TLS with servers of these authorities, or of the system's.
fn trust(file: Option<&Path>) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    match file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            for certificate in CertificateDer::pem_slice_iter(&std::fs::read(file)?) {
                roots.add(certificate?)?;
            }
        }
    }
    if roots.is_empty() {
        return Err(pem::Error::NoItemsFound.into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
