//! The stream of a session, plain or encrypted, the swap between them, and how it ends. It knows octets and deadlines, no
//! SMTP.

use crate::tls;
use std::future::poll_fn;
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
    /// A handshake is under way, or took too long.
    Gone,
}

/// How long a peer may take to end its side, once this one has ended.
const LINGER: Duration = Duration::from_secs(5);

/// What it may send meanwhile, in octets: more than the largest receive window that systems give by default.
const LINGER_OCTETS: usize = 8 * 1024 * 1024;

impl<S: Stream> Transport<S> {
    /// Reads what is there and hands it to `take`; 0 is the peer's end.
    ///
    /// The buffer lives on the stack of one poll, so a session that waits keeps none.
    pub fn poll_read(&mut self, context: &mut Context<'_>, take: impl FnMut(&[u8])) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(stream) => poll_octets(stream, context, take),
            Transport::Tls(stream) => poll_octets(stream, context, take),
            Transport::Gone => Poll::Ready(Ok(0)),
        }
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
    /// The handshake failed or took too long; nothing more can be said.
    pub async fn encrypt(&mut self, acceptor: &tls::Acceptor) -> Result<tls::Facts, tls::HandshakeError> {
        let Transport::Plain(stream) = std::mem::replace(self, Transport::Gone) else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        match acceptor.accept(stream).await {
            Ok((stream, facts)) => {
                *self = Transport::Tls(Box::new(stream));
                Ok(facts)
            }
            Err((error, stream)) => {
                // To be ended in order: the peer may not have read the alert.
                if let Some(stream) = stream {
                    *self = Transport::Plain(stream);
                }
                Err(error)
            }
        }
    }

    /// Ends our side in order; what goes wrong now harms nobody.
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

    /// After [`Transport::close`]: drops what the peer still sends, until it has ended its side too or has had its time.
    ///
    /// A socket that is closed while octets wait in it, or come later, resets the connection (RFC 2525 section 2.17), and
    /// a peer that is reset may never see the last reply. Under TLS the octets are dropped as they come, unread.
    pub async fn linger(&mut self) {
        let stream = match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_mut().0,
            Transport::Gone => return,
        };
        let dropped = async {
            let mut left = LINGER_OCTETS;
            loop {
                let mut take = |octets: &[u8]| left = left.saturating_sub(octets.len());
                let read = poll_fn(|context| poll_octets(stream, context, &mut take)).await;
                if left == 0 || !matches!(read, Ok(1..)) {
                    break;
                }
            }
        };
        let _ = timeout(LINGER, dropped).await;
    }
}

fn poll_octets(
    stream: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
    mut take: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut octets = [std::mem::MaybeUninit::uninit(); 16 * 1024];
    let mut buffer = ReadBuf::uninit(&mut octets);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    take(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::Instant;

    /// How long the server lingers for a peer that sends so much behind the last reply, and then ends or does not.
    async fn lingers(octets: usize, ends: bool) -> Duration {
        let (near, mut far) = duplex(64 * 1024);
        let mut transport = Transport::Plain(near);
        let peer = tokio::spawn(async move {
            // Fails where the server no longer listens.
            let sent = far.write_all(&vec![b'x'; octets]).await.is_ok();
            if ends {
                far.shutdown().await.unwrap();
            }
            let mut reply = Vec::new();
            far.read_to_end(&mut reply).await.unwrap();
            // Held on to until the server was seen to let go.
            (sent, reply, far)
        });
        transport.write(b"221\r\n", LINGER).await.unwrap();
        transport.close().await;
        let began = Instant::now();
        transport.linger().await;
        let lingered = began.elapsed();
        drop(transport);
        let (sent, reply, _far) = peer.await.unwrap();
        assert_eq!((sent, &*reply), (octets <= LINGER_OCTETS, &b"221\r\n"[..]), "{octets}");
        lingered
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_sends_is_listened_to_within_bounds() {
        for (octets, ends, expected) in [
            (0, true, Duration::ZERO),
            (1 << 20, true, Duration::ZERO),
            (0, false, LINGER),
            (1 << 20, false, LINGER),
            // Cut off as soon as it was too much, whatever follows.
            (LINGER_OCTETS + (1 << 20), false, Duration::ZERO),
        ] {
            // The clock of a test that is paused ticks in milliseconds.
            let lingered = lingers(octets, ends).await;
            assert_eq!(lingered.as_secs(), expected.as_secs(), "{octets} {ends}");
        }
    }
}
