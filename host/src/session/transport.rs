//! The stream of a session, plain or encrypted, and the swap between them. It knows octets and deadlines, no SMTP.

use crate::tls;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// What a session can be held over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A stream that can become encrypted.
#[derive(Debug)]
pub enum Transport<S> {
    /// In the clear.
    Plain(S),
    /// Under TLS.
    Tls(Box<TlsStream<S>>),
    /// A handshake failed, or is under way.
    Gone,
}

impl<S: Stream> Transport<S> {
    /// Reads what is there and hands it to `take`; 0 is the peer's end.
    ///
    /// The buffer lives on the stack of one poll, so a session that waits keeps none.
    pub fn poll_read(&mut self, context: &mut Context<'_>, mut take: impl FnMut(&[u8])) -> Poll<io::Result<usize>> {
        let mut octets = [std::mem::MaybeUninit::uninit(); 16 * 1024];
        let mut buffer = ReadBuf::uninit(&mut octets);
        ready!(match self {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Transport::Gone => Poll::Ready(Ok(())),
        })?;
        take(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes all of it, or fails when the peer does not take it in time.
    pub async fn write(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        let written = timeout(patience, async {
            match self {
                Transport::Plain(stream) => stream.write_all(bytes).await,
                Transport::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        });
        written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Turns the plain stream into an encrypted one.
    ///
    /// # Errors
    /// The handshake failed or took too long; the stream is gone.
    pub async fn encrypt(&mut self, acceptor: &tls::Acceptor) -> Result<tls::Facts, tls::HandshakeError> {
        let Transport::Plain(stream) = std::mem::replace(self, Transport::Gone) else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        let (stream, facts) = acceptor.accept(stream).await?;
        *self = Transport::Tls(Box::new(stream));
        Ok(facts)
    }

    /// Ends the stream in order; what goes wrong now harms nobody.
    pub async fn close(&mut self) {
        let end = async {
            match self {
                Transport::Plain(stream) => stream.shutdown().await,
                Transport::Tls(stream) => stream.shutdown().await,
                Transport::Gone => Ok(()),
            }
        };
        let _ = timeout(Duration::from_secs(2), end).await;
    }
}
