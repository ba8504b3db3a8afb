//! The octets of a connection, plain or under TLS. No certificate is verified: the tests say which they expect to see.

use crate::PATIENCE;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects, from `source` if it is said.
    pub(crate) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Stream> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        // Octets that are written one by one are to arrive so.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Stream::Plain(stream))
    }

    /// Makes the TLS handshake, asking for a server of this name.
    pub(crate) fn encrypt(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let Stream::Plain(plain) = self else {
            return Err(io::Error::other("the connection is under TLS"));
        };
        let mut socket = plain.try_clone()?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        *self = Stream::Tls(Box::new(StreamOwned::new(tls, socket)));
        Ok(())
    }

    /// What the server showed of itself, DER; nothing in the clear.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(tls.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    /// What both sides of the connection can derive and nobody else (tls-exporter, RFC 9266); nothing in the clear.
    pub(crate) fn binding(&self) -> Option<[u8; 32]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok(),
        }
    }

    /// Whether the handshake was a full one or went on where an earlier connection ended; nothing in the clear.
    pub(crate) fn handshake_kind(&self) -> Option<HandshakeKind> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.handshake_kind(),
        }
    }

    pub(crate) fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(plain) => plain.read(octets),
            Stream::Tls(tls) => tls.read(octets),
        }
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(plain) => plain.write_all(octets),
            Stream::Tls(tls) => tls.write_all(octets).and_then(|()| tls.flush()),
        }
    }

    /// Says that nothing more comes from here.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(plain) => plain.shutdown(Shutdown::Write),
            Stream::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
                tls.sock.shutdown(Shutdown::Write)
            }
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(plain) => plain,
            Stream::Tls(tls) => &tls.sock,
        }
    }
}

/// A client that speaks these versions and takes whatever certificate it is shown.
pub(crate) fn config_of(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anybody(provider.clone()));
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// Takes every certificate, as long as the handshake itself is right.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
