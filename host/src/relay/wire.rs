//! One connection as octets out and replies in, each within its time.
//!
//! The file does not know what is asked, nor what follows from an answer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::reply::{Garbled, Partial, Reply};
use super::servers::At;

/// What a connection is made of: TCP, a Unix socket, or TLS over either.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// What came and was not taken for a reply yet.
    unread: Vec<u8>,
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    #[error("too little was taken within {0:?}")]
    Slow(Duration),
    #[error("{0}")]
    Garbled(#[from] Garbled),
    #[error("it spoke out of turn")]
    OutOfTurn,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Wire {
        Wire { stream, unread: Vec::new() }
    }

    /// The stream, to make another of it; none where something came that belongs to no reply.
    ///
    /// What was said before a handshake is not protected by it, and may be anyone's (CVE-2021-38371).
    pub(super) fn into_stream(self) -> Option<Box<dyn Stream>> {
        self.unread.is_empty().then_some(self.stream)
    }

    /// Waits for a whole reply. `patience` is for all of it: whoever sends an octet a minute gains nothing.
    pub(super) async fn reply(&mut self, patience: Duration) -> Result<Reply, Lost> {
        let reply = async {
            let mut partial = Partial::default();
            loop {
                if let Some(reply) = partial.take(&mut self.unread)? {
                    return Ok(reply);
                }
                let mut octets = [0; CHUNK];
                let read = self.stream.read(&mut octets).await.map_err(lost)?;
                match octets.get(..read) {
                    None | Some([]) => return Err(Lost::Closed),
                    Some(octets) => self.unread.extend_from_slice(octets),
                }
            }
        };
        timeout(patience, reply).await.unwrap_or(Err(Lost::Silent(patience)))
    }

    /// Sends octets, within `patience` in all.
    pub(super) async fn send(&mut self, octets: &[u8], patience: Duration) -> Result<(), Lost> {
        let sending = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        match timeout(patience, sending).await {
            Ok(done) => done.map_err(lost),
            Err(_) => Err(Lost::Slow(patience)),
        }
    }

    /// Whether the other side has said nothing that was not asked for, and not gone away. It waits for nothing.
    pub(super) async fn is_quiet(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        let mut octets = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut octets);
        let stream = &mut self.stream;
        let quiet = poll_fn(|context| Poll::Ready(Pin::new(&mut *stream).poll_read(context, &mut buffer).is_pending()));
        let quiet = quiet.await;
        self.unread.extend_from_slice(buffer.filled());
        quiet
    }

    /// Ends it as TLS ends, so that nobody takes the end for a cut.
    pub(super) async fn close(mut self) {
        let _ = timeout(FAREWELL, self.stream.shutdown()).await;
    }
}

fn lost(error: io::Error) -> Lost {
    match error.kind() {
        // rustls calls a connection that ends without close_notify by this name.
        io::ErrorKind::UnexpectedEof => Lost::Closed,
        _ => Lost::Broken(error),
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

const CHUNK: usize = 4096;
const FAREWELL: Duration = Duration::from_secs(5);

/// Connects, from the source address of its family, if there is one.
pub(super) async fn connect(at: &At, sources: &[IpAddr]) -> io::Result<Box<dyn Stream>> {
    match at {
        At::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        At::Tcp(address) => Ok(Box::new(connect_tcp(*address, sources).await?)),
    }
}

async fn connect_tcp(address: SocketAddr, sources: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = sources.iter().find(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(*source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
