//! A client for tests that are written as code. What goes wrong fails the test, with all that was said.

use crate::handshake::{Handshake, HandshakeKind};
use crate::pattern::matches;
use crate::{Wire, WireError};
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// The name the client gives of itself, and the server it takes the other for.
const NAME: &str = "client.example.test";
pub(crate) const SERVER: &str = "mx.example.test";

/// A connection to a server.
#[derive(Debug)]
pub struct Client(Wire);

/// A reply: all its lines have one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its lines as they came, codes and all.
    pub lines: Vec<String>,
}

impl Client {
    /// Connects, and is greeted with 220.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let mut client = Client::dial(address, None);
        client.expect_reply("220 *");
        client
    }

    /// Connects from an address of the test's choice, and is greeted with 220.
    #[track_caller]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Client {
        let mut client = Client::dial(address, Some(source));
        client.expect_reply("220 *");
        client
    }

    /// Connects to a listener of implicit TLS, and is greeted with 220.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr) -> Client {
        let mut client = Client::dial(address, None);
        client.handshake();
        client.expect_reply("220 *");
        client
    }

    /// Connects, and waits for nothing.
    #[track_caller]
    pub fn dial(address: SocketAddr, source: Option<IpAddr>) -> Client {
        Client(Wire::connect(address, source).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}")))
    }

    /// Sends octets as they are. That the connection may be gone is found at the next reply.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.0.send(octets.as_ref());
    }

    /// Sends so many octets that mean nothing, and insists that they can be sent.
    #[track_caller]
    pub fn pour(&mut self, count: usize) {
        if let Err(error) = self.0.pour(count) {
            self.fail(&format!("cannot send {count} octets: {error}"));
        }
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.0.line() {
            Ok(line) => String::from_utf8(line).unwrap_or_else(|_| self.fail("a line that is no text")),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// The next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let mut lines = vec![self.line()];
        let code: Option<u16> = lines[0].get(..3).and_then(|code| code.parse().ok());
        let code = code.unwrap_or_else(|| self.fail("a line without a code"));
        while lines.last().is_some_and(|line| line.as_bytes().get(3) == Some(&b'-')) {
            lines.push(self.line());
            let line = &lines[lines.len() - 1];
            if !line.starts_with(&code.to_string()) {
                self.fail("a reply of two codes");
            }
        }
        Reply { code, lines }
    }

    /// Sends a command.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Reply {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// Sends a command and insists on a reply whose last line is `pattern`, in which `*` is any run.
    #[track_caller]
    pub fn expect(&mut self, command: &str, pattern: &str) -> Reply {
        self.send(format!("{command}\r\n"));
        self.expect_reply(pattern)
    }

    /// Insists on a reply whose last line is `pattern`.
    #[track_caller]
    pub fn expect_reply(&mut self, pattern: &str) -> Reply {
        let reply = self.reply();
        if !matches(pattern.as_bytes(), reply.last().as_bytes()) {
            self.fail(&format!("expected {pattern}"));
        }
        reply
    }

    /// Says EHLO.
    #[track_caller]
    pub fn hello(&mut self) -> Reply {
        self.expect(&format!("EHLO {NAME}"), "250 *")
    }

    /// STARTTLS with its handshake; EHLO is to follow.
    #[track_caller]
    pub fn starttls(&mut self) {
        self.expect("STARTTLS", "220 2.0.0 *");
        self.handshake();
    }

    /// The handshake alone.
    #[track_caller]
    pub fn handshake(&mut self) {
        self.handshake_for(SERVER);
    }

    /// The handshake, asking for a server of this name.
    #[track_caller]
    pub fn handshake_for(&mut self, name: &str) {
        if let Err(error) = self.0.encrypt(&Handshake::plain(), name) {
            self.fail(&format!("the handshake failed: {error}"));
        }
    }

    /// The handshake as a client of the test's own.
    #[track_caller]
    pub fn handshake_as(&mut self, handshake: &Handshake) {
        if let Err(error) = self.handshake_by(handshake) {
            self.fail(&format!("the handshake failed: {error}"));
        }
    }

    /// The same; what goes wrong is for the test to judge.
    ///
    /// # Errors
    /// The handshake failed.
    pub fn handshake_by(&mut self, handshake: &Handshake) -> std::io::Result<()> {
        self.0.encrypt(handshake, SERVER)
    }

    /// Whether the handshake was a full one or went on where an earlier connection ended; nothing in the clear.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.0.handshake_kind()
    }

    /// Begins a transaction whose recipients are all taken.
    #[track_caller]
    pub fn begin(&mut self, sender: &str, recipients: &[&str]) {
        self.expect(&format!("MAIL FROM:<{sender}>"), "250 2.1.0 *");
        for recipient in recipients {
            self.expect(&format!("RCPT TO:<{recipient}>"), "250 2.1.5 *");
        }
    }

    /// Sends content that ends in CRLF, with its dots stuffed, and the end mark; DATA was said.
    pub fn content(&mut self, content: impl AsRef<[u8]>) {
        let mut octets = Vec::new();
        for line in content.as_ref().split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                octets.push(b'.');
            }
            octets.extend_from_slice(line);
        }
        octets.extend_from_slice(b".\r\n");
        self.send(octets);
    }

    /// A whole transaction, which must get as far as the content; what comes of that is returned.
    #[track_caller]
    pub fn submit(&mut self, sender: &str, recipients: &[&str], content: impl AsRef<[u8]>) -> Reply {
        self.begin(sender, recipients);
        self.expect("DATA", "354 *");
        self.content(content);
        self.reply()
    }

    /// A whole transaction, which must succeed; the id of the message is returned.
    #[track_caller]
    pub fn deliver(&mut self, sender: &str, recipients: &[&str], content: impl AsRef<[u8]>) -> String {
        let reply = self.submit(sender, recipients, content);
        match reply.last().strip_prefix("250 2.0.0 OK ") {
            Some(id) => id.to_owned(),
            None => self.fail("the message was not taken"),
        }
    }

    /// QUIT, and the close behind it.
    #[track_caller]
    pub fn quit(mut self) {
        self.expect("QUIT", "221 2.0.0 *");
        self.expect_close();
    }

    /// Whether nothing more comes, be it by an orderly end or not; what does come fails the test.
    #[track_caller]
    pub fn expect_gone(&mut self) {
        match self.0.line() {
            Err(WireError::Closed | WireError::Broken(_)) => {}
            Ok(_) | Err(WireError::Half(_)) => self.fail("expected nothing but the end of the connection"),
            Err(WireError::Silent) => self.fail("expected the end of the connection"),
        }
    }

    /// Insists on the end of the connection, with nothing said before it.
    #[track_caller]
    pub fn expect_close(&mut self) {
        match self.0.line() {
            Err(WireError::Closed) => {}
            Ok(_) => self.fail("expected the end of the connection"),
            Err(error) => self.fail(&format!("expected the end of the connection: {error}")),
        }
    }

    /// Says that nothing more comes from this side.
    pub fn finish(&mut self) {
        let _ = self.0.finish();
    }

    /// The certificate the server showed, DER.
    #[track_caller]
    pub fn certificate(&self) -> Vec<u8> {
        self.0.certificate().unwrap_or_else(|| self.fail("no certificate was shown"))
    }

    /// What a login can be bound to: the connection itself, under TLS.
    #[track_caller]
    pub fn binding(&self) -> [u8; 32] {
        self.0.binding().unwrap_or_else(|| self.fail("nothing to bind to"))
    }

    /// The socket below it all.
    pub fn socket(&self) -> &TcpStream {
        self.0.socket()
    }

    /// All that was said.
    pub fn transcript(&self) -> &str {
        self.0.transcript()
    }

    /// Fails the test.
    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        panic!("{what}\n{}", self.transcript())
    }
}

impl Reply {
    /// The last line, or the only one.
    pub fn last(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// Whether one of the lines says this behind its code.
    pub fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.get(4..) == Some(text))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}
