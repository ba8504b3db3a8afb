//! A connection on its way from the door to its session: whose it is, and whether there is room for it.

use super::Accepted;
use super::accept::Post;
use super::header::{self, HeaderError};
use super::tally::{Full, Reach, Slot};
use crate::config::{self, TlsMode};
use crate::observe::{Counters, chain};
use crate::session::via::Via;
use pillarbox_smtp::reply;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::field::display;

pub(super) struct Caller {
    pub(super) stream: TcpStream,
    /// The other end, and what it is called when a header names another.
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) via: Option<Via>,
    pub(super) post: Arc<Post>,
    pub(super) counters: Arc<Counters>,
}

impl Caller {
    /// Whether and how a PROXY header comes first.
    ///
    /// It is asked of those addresses alone that the operator named, and there it must be: the specification forbids
    /// to guess by what is sent, which would let anybody be anybody.
    pub(super) fn proxy(&self) -> Option<&config::Proxy> {
        let proxy = self.post.listener.proxy.as_ref()?;
        proxy.from.iter().any(|network| network.contains(&self.peer.ip())).then_some(proxy)
    }

    /// Reads the header where one comes first. None when it is not as it should be, which is logged, or when the server
    /// is to end: nothing is under way yet.
    pub(super) async fn introduced(mut self, stop: &mut watch::Receiver<bool>) -> Option<Caller> {
        let Some(wait) = self.proxy().map(|proxy| proxy.timeout) else { return Some(self) };
        let header = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return None,
            header = timeout(wait, header::read(&mut self.stream)) => header.unwrap_or(Err(HeaderError::Late)),
        };
        match header {
            Ok(header) => {
                let named = header.addresses.is_some();
                self.via = Some(Via { proxy: self.peer, named, said: header::said(&header.tlvs) });
                if let Some(ends) = header.addresses {
                    (self.peer, self.local) = (ends.source, ends.destination);
                }
                Some(self)
            }
            Err(error) => {
                self.counters.proxy_header_refused();
                let (listener, reason) = (&self.post.listener.name, chain(&error));
                tracing::info!(listener, proxy = %self.peer, reason, "proxy header refused");
                None
            }
        }
    }

    /// Counts it against what its address is allowed.
    pub(super) fn take_place(&self, slot: &mut Slot) -> Result<(), Full> {
        let address = self.peer.ip();
        slot.count(address, &self.post.listener.limits_for(Some(address)))
    }

    /// Says 421 and closes. The send buffer of a new connection is empty, so the reply goes into it at once or never,
    /// and no peer is waited for. Under implicit TLS a reply would need a handshake, which is what cannot be afforded.
    pub(super) fn turn_away(self, full: Full) {
        self.counters.connection_refused();
        let listener = &self.post.listener.name;
        let Full { reach, open, allowed } = full;
        let (limit, network, prefix, address) = match reach {
            Reach::Listener => ("connections", None, None, None),
            Reach::Network(network) => ("connections", Some(display(network)), None, None),
            Reach::Prefix(prefix) => ("connections-per-prefix", None, Some(display(prefix)), None),
            Reach::Address(address) => ("connections-per-address", None, None, Some(display(address))),
        };
        let proxy = self.via.as_ref().map(|via| display(via.proxy));
        let peer = self.peer;
        tracing::info!(listener, %peer, proxy, limit, network, prefix, address, open, allowed, "connection refused");
        if self.post.listener.tls.mode == TlsMode::Implicit {
            return;
        }
        let mut wire = Vec::new();
        reply::too_many_connections().reply().encode(&mut wire);
        if let Ok(mut stream) = self.stream.into_std() {
            let _ = stream.write(&wire);
            let _ = stream.shutdown(Shutdown::Write);
            // A socket that is closed while octets wait in it resets the connection, and a reset overtakes the reply.
            let _ = stream.read(&mut [0; 16 * 1024]);
        }
    }

    pub(super) fn accepted(self, stop: watch::Receiver<bool>) -> Accepted {
        let Caller { stream, peer, local, via, post, .. } = self;
        Accepted { stream, peer, local, via, listener: post.listener.name.clone(), stop }
    }
}
