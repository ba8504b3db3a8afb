//! A connection as lines, with a record of all that was said.

use crate::handshake::{Handshake, HandshakeKind};
use crate::pattern::escape;
use crate::stream::Stream;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// A connection to a server. Errors are values here; [`crate::Client`] is the one that panics.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    input: Vec<u8>,
    transcript: String,
}

/// Why there is no next line.
#[derive(Debug)]
pub enum WireError {
    /// The server closed the connection.
    Closed,
    /// It closed it in the middle of this line.
    Half(Vec<u8>),
    /// It says nothing.
    Silent,
    /// The connection broke.
    Broken(io::Error),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Closed => write!(f, "the server closed the connection"),
            WireError::Half(line) => write!(f, "the server closed the connection after {}", escape(line)),
            WireError::Silent => write!(f, "the server says nothing"),
            WireError::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl Wire {
    /// Connects, from this address if one is given.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Wire> {
        Ok(Wire { stream: Stream::connect(address, source)?, input: Vec::new(), transcript: String::new() })
    }

    /// Makes the TLS handshake as this client, asking for a server of this name.
    ///
    /// # Errors
    /// It failed, or the server said something in the clear that nobody has read.
    pub fn encrypt(&mut self, handshake: &Handshake, name: &str) -> io::Result<()> {
        if !self.input.is_empty() {
            return Err(io::Error::other(format!("said before the handshake: {}", escape(&self.input))));
        }
        let _ = writeln!(self.transcript, "T!");
        self.stream.encrypt(handshake.0.clone(), name)
    }

    /// Whether the handshake was a full one; nothing in the clear.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.stream.handshake_kind()
    }

    /// Sends these octets as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let _ = match line.strip_suffix(b"\r\n") {
                Some(line) => writeln!(self.transcript, "C: {}", escape(line)),
                None => writeln!(self.transcript, "C| {}", escape(line)),
            };
        }
        self.stream.write(octets)
    }

    /// Sends so many octets that mean nothing, which the record says in a word.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn pour(&mut self, count: usize) -> io::Result<()> {
        let _ = writeln!(self.transcript, "C| {count} octets");
        self.stream.write(&vec![b'x'; count])
    }

    /// The next line, without its CRLF.
    ///
    /// # Errors
    /// There is none.
    pub fn line(&mut self) -> Result<Vec<u8>, WireError> {
        let mut searched: usize = 0;
        loop {
            let from = searched.saturating_sub(1);
            if let Some(end) = self.input[from..].windows(2).position(|pair| pair == b"\r\n") {
                let line = self.input[..from + end].to_vec();
                self.input.drain(..from + end + 2);
                let _ = writeln!(self.transcript, "S: {}", escape(&line));
                return Ok(line);
            }
            searched = self.input.len();
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) => return Err(self.end()),
                Ok(count) => self.input.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(WireError::Silent);
                }
                Err(error) => return Err(WireError::Broken(error)),
            }
        }
    }

    fn end(&mut self) -> WireError {
        let _ = writeln!(self.transcript, "S! close");
        match std::mem::take(&mut self.input) {
            rest if rest.is_empty() => WireError::Closed,
            rest => WireError::Half(rest),
        }
    }

    /// Says that nothing more comes from this side.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.finish()
    }

    /// The certificate the server showed, DER; nothing in the clear.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.stream.certificate()
    }

    /// What both sides of the connection can derive and nobody else (tls-exporter, RFC 9266); nothing in the clear.
    pub fn binding(&self) -> Option<[u8; 32]> {
        self.stream.binding()
    }

    /// The socket below it all.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// All that was said, in the form of a conversation.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }
}
