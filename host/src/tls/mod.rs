//! TLS for sessions: certificates from files, the handshake, and what is known afterwards.
//!
//! The provider is *ring*, said explicitly and never taken from a process-wide default: it builds with a C compiler alone,
//! which is all that this project asks for. TLS 1.2 and 1.3; no early data, no renegotiation, no ALPN (SMTP has no
//! registered name for it). The room does not know when TLS begins, or what SMTP is.

mod certificate;
mod choice;
mod client;
mod connector;
mod facts;
mod files;
mod name;
mod places;
mod renewal;
mod served;

pub use certificate::{Fault, Standing, TlsError, Validity};
pub use connector::{Connector, Proof};
pub use facts::{ChannelBinding, ClientCertificate, Facts};
pub use renewal::{Refreshed, watch};

use crate::config;
use arc_swap::ArcSwap;
use places::{Denied, FAIR, Places};
use renewal::Renewal;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use served::Served;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Takes TLS connections for one listener. A clone shares everything.
///
/// Each has session tickets of its own, so a session of one listener cannot be resumed on another, nor after its
/// certificates were replaced.
#[derive(Clone)]
pub struct Acceptor(Arc<Inner>);

struct Inner {
    tls: config::Tls,
    served: ArcSwap<Served>,
    places: Places,
    renewal: Mutex<Renewal>,
    clock: Arc<dyn TimeProvider>,
}

impl Acceptor {
    /// Reads and checks the certificates and keys of a listener, and the authorities of its clients.
    ///
    /// A certificate that has expired is loaded: whether to go on with it is for the caller to say, who knows if there
    /// is a better one ([`Acceptor::validity`]).
    ///
    /// # Errors
    /// The first file that cannot be used, with the place of its certificate in `tls.certificates`.
    pub fn load(tls: &config::Tls) -> Result<Acceptor, TlsError> {
        Acceptor::load_by(tls, Arc::new(DefaultTimeProvider))
    }

    /// The same by a given clock.
    fn load_by(tls: &config::Tls, clock: Arc<dyn TimeProvider>) -> Result<Acceptor, TlsError> {
        // Looked at before they are read, so that what is written in between is seen later.
        let renewal = Renewal::new(tls, moment(&*clock));
        let served = Served::load(tls, &clock)?;
        Ok(Acceptor(Arc::new(Inner {
            tls: tls.clone(),
            served: ArcSwap::from_pointee(served),
            places: Places::new(tls.handshakes),
            renewal: Mutex::new(renewal),
            clock,
        })))
    }

    /// Makes the handshake on `stream`, within the listener's time for it, and in one of its places.
    ///
    /// # Errors
    /// It failed, and the peer was sent the alert that says why: the stream comes back, to be ended. Or the time was over,
    /// and the stream is gone.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, Facts), (HandshakeError, Option<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let patience = self.0.tls.handshake_timeout;
        let handshake = async {
            // A renewal meanwhile is for the next one.
            let served = self.0.served.load_full();
            let handshake = TlsAcceptor::from(Arc::clone(&served.config)).accept(stream).into_fallible();
            let stream = handshake.await.map_err(|(error, stream)| (error.into(), Some(stream)))?;
            let facts = Facts::of(stream.get_ref().1, &served, self.0.clock.current_time());
            Ok((stream, facts))
        };
        self.0.places.hold(patience, handshake).await.unwrap_or_else(|denied| {
            let error = match denied {
                Denied::Busy => HandshakeError::Busy(patience),
                Denied::TooSlow => HandshakeError::TooSlow(patience),
                Denied::Displaced => HandshakeError::Displaced(FAIR),
            };
            Err((error, None))
        })
    }

    /// A digest of all certificates in their order, and of what is asked of clients. Two acceptors with the same one
    /// present the same.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.served.load().fingerprint
    }

    /// From when to when each certificate holds, in the order of `tls.certificates`.
    pub fn validity(&self) -> Vec<Validity> {
        self.0.served.load().validity().cloned().collect()
    }

    /// Keeps good the tickets that clients have from `before`, which this one takes the place of, if it presents the
    /// same. The files, the time and the places are still its own.
    pub fn inherit(&self, before: &Acceptor) {
        let (own, old) = (self.0.served.load_full(), before.0.served.load_full());
        if own.fingerprint == old.fingerprint {
            let config = Arc::clone(&old.config);
            self.0.served.store(Arc::new(Served { config, ..Served::clone(&own) }));
        }
    }

    fn now(&self) -> SystemTime {
        moment(&*self.0.clock)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("validity", &self.validity()).finish_non_exhaustive()
    }
}

/// Why a handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer said something that cannot be answered, or went away.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// The time given was over.
    #[error("the handshake took longer than {0:?}")]
    TooSlow(Duration),
    /// The time given was over before it could begin, because too many others were under way.
    #[error("no place for a handshake came free within {0:?}")]
    Busy(Duration),
    /// It had its time, and others waited for its place.
    #[error("the handshake took longer than {0:?} and another waited for its place")]
    Displaced(Duration),
}

/// Without a clock it is 1970, when nothing is expired.
fn moment(clock: &dyn TimeProvider) -> SystemTime {
    clock.current_time().map_or(SystemTime::UNIX_EPOCH, certificate::moment)
}

#[cfg(test)]
mod tests;
