//! The byte streams of one call: handles that lead to sockets. It does not know which addresses are granted.

use crate::config::{Host, StreamAddress};
use crate::http;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// What a handle leads to.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// The streams a call holds open.
#[derive(Default)]
pub struct Streams {
    open: BTreeMap<u32, Box<dyn Socket>>,
    /// The handle the next one gets. None is given twice, so that an old one never leads to a new stream.
    next: u32,
}

/// How long one step of a stream may take. The call's own time may end before.
const STEP: Duration = Duration::from_secs(10);

impl Streams {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Connects, and answers the handle.
    ///
    /// # Errors
    /// The address cannot be connected to, or not in time.
    pub async fn connect(&mut self, address: &StreamAddress) -> io::Result<u32> {
        let socket = within(async {
            Ok::<Box<dyn Socket>, io::Error>(match address {
                StreamAddress::Tcp(Host::Address(address), port) => {
                    Box::new(TcpStream::connect((*address, *port)).await?)
                }
                StreamAddress::Tcp(Host::Name(name), port) => {
                    Box::new(TcpStream::connect(&*http::addresses(name, *port).await?).await?)
                }
                StreamAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        });
        let socket = socket.await?;
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, socket);
        Ok(handle)
    }

    /// The stream of a handle.
    pub fn get(&mut self, handle: u32) -> Option<&mut Box<dyn Socket>> {
        self.open.get_mut(&handle)
    }

    /// Closes one; whether there was one.
    pub fn close(&mut self, handle: u32) -> bool {
        self.open.remove(&handle).is_some()
    }

    /// Closes what is left open: the call ends.
    pub fn close_all(&mut self) {
        self.open.clear();
    }
}

/// Writes all of it.
///
/// # Errors
/// The other end is gone, or takes nothing.
pub async fn write(socket: &mut dyn Socket, octets: &[u8]) -> io::Result<()> {
    within(async {
        socket.write_all(octets).await?;
        socket.flush().await
    })
    .await
}

/// What there is, at most so much; nothing at the end.
///
/// # Errors
/// The other end is gone, or says nothing.
pub async fn read(socket: &mut dyn Socket, most: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; most];
    let count = within(socket.read(&mut octets)).await?;
    octets.truncate(count);
    Ok(octets)
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
