//! Clients of other people, as they are installed. They are run when `PILLARBOX_CLIENTS` is in the environment, as
//! `cargo xtask test --clients` puts it there: the directory where those lie that are no programs on the path.
//!
//! Each sends [`LETTER`], which holds what is easily damaged on the way, and it must arrive byte for byte.

mod authentication;
mod downstream;
mod haproxy;
mod openssl;
mod postfix;
mod proxy;
mod sending;
mod swaks;
mod webhook;

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Output, Server, Site, repository};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What every client sends, as it goes over the wire, but for [`LONG_LINE`] behind it: dots at line starts, an empty line
/// and a blank at odd places, octets that are UTF-8 and one that is not, and a line that an mbox would change.
const LETTER: &[u8] = b"From: Anne <a@client.test>\r\n\
    To: Bert <b@example.test>\r\n\
    Subject: byte for byte\r\n\
    Date: Mon, 02 Jan 2023 03:04:05 +0000\r\n\
    Message-ID: <byte-for-byte@client.test>\r\n\
    X-Folded: one\r\n\
    \ttwo\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\
    \r\n\
    .\r\n\
    ..\r\n\
    ..two dots\r\n\
    .\ta dot, a tab\r\n\
    W\xc3\xb6rter ohne Verkleidung, \xf0\x9f\x93\xae, \xe9\r\n\
    blanks at the end \t \r\n\
    \r\n\
    \r\n\
    From the beginning\r\n\
    QUIT\r\n";

/// Characters of the last line but two: 998 octets are a line's most (RFC 5321 section 4.5.3.1.6).
const LONG_LINE: usize = 998;

/// The whole message, as it goes over the wire.
fn letter() -> Vec<u8> {
    [LETTER, "x".repeat(LONG_LINE).as_bytes(), b"\r\n.\r\n\r\n"].concat()
}

/// The message as it lies in a Maildir.
fn letter_delivered() -> Vec<u8> {
    delivered_form(&letter())
}

/// A message whose lines end in CR LF as it lies in a Maildir.
fn delivered_form(letter: &[u8]) -> Vec<u8> {
    letter.iter().copied().filter(|octet| *octet != b'\r').collect()
}

/// Where the clients lie that are no programs on the path, or none when clients are not to be tried.
fn clients() -> Option<PathBuf> {
    let directory = std::env::var_os("PILLARBOX_CLIENTS");
    if directory.is_none() {
        println!("not tried: clients are run by `cargo xtask test --clients`");
    }
    directory.map(PathBuf::from)
}

/// A program to be run, or none when clients are not to be tried. It is ended when it takes too long, and with it what it
/// has started.
fn client(program: &str) -> Option<Command> {
    let clients = clients()?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", program]).stdin(Stdio::null());
    command.env("PYTHONPATH", clients.join("python")).env("NODE_PATH", clients.join("node/node_modules"));
    // As they are installed, and not as whoever runs the test has set them up.
    command.env("HOME", repository().join("target/tmp"));
    Some(command)
}

/// A place for a server of clients: the listener `edge` speaks STARTTLS, and `implicit` TLS from the first octet. Both
/// have these keys besides, and `tables` follow those of `edge`.
fn site_with(keys: &str, tables: &str) -> Site {
    let implicit = format!(
        "\n[listener.implicit]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n{}{keys}",
        configs::tls("implicit")
    );
    site(&format!("{}{keys}{tables}{implicit}", configs::tls("starttls")))
}

/// A server on [`site_with`].
fn start_with(keys: &str, tables: &str) -> Server {
    site_with(keys, tables).start()
}

/// A server whose only listener, `edge`, has these keys and tables.
fn start(listener: &str) -> Server {
    site(listener).start()
}

/// A place with what the clients and the listener need.
fn site(listener: &str) -> Site {
    let site = Site::new(&configs::maildirs(listener));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.write("letter", letter());
    site
}

/// How a client sends. As text it is the name of the way, which the clients' scripts know, and of the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Clear,
    StartTls,
    Implicit,
}

impl Way {
    const ALL: [Way; 3] = [Way::Clear, Way::StartTls, Way::Implicit];

    fn name(self) -> &'static str {
        match self {
            Way::Clear => "clear",
            Way::StartTls => "starttls",
            Way::Implicit => "implicit",
        }
    }

    fn address(self, server: &Server) -> SocketAddr {
        server.address(if self == Way::Implicit { "implicit" } else { "edge" })
    }

    /// RFC 3848.
    fn protocol(self, authenticated: bool) -> &'static str {
        match (self, authenticated) {
            (Way::Clear, false) => "ESMTP",
            (Way::Clear, true) => "ESMTPA",
            (_, false) => "ESMTPS",
            (_, true) => "ESMTPSA",
        }
    }
}

/// The delivered message for this local part, as text.
#[track_caller]
fn delivered(server: &Server, local: &str) -> String {
    String::from_utf8_lossy(&arrived(server, local).0).into_owned()
}

/// The delivered message for this local part, whole, and without what the server put before it.
#[track_caller]
fn arrived(server: &Server, local: &str) -> (Vec<u8>, Vec<u8>) {
    server.log().event("delivered", &[("recipient", &format!("{local}@example.test"))]);
    // So a Maildir has what is not ASCII in its name.
    let escaped = |octet: u8| if octet.is_ascii() { char::from(octet).to_string() } else { format!("%{octet:02x}") };
    let local: String = local.bytes().map(escaped).collect();
    let maildir = server.maildir(&format!("mail/example.test/{local}"));
    (maildir.only(), maildir.content())
}

/// Insists that [`letter`] has come for this local part as it was sent, by this protocol.
#[track_caller]
fn arrived_as_sent(server: &Server, local: &str, protocol: &str) {
    let (whole, content) = arrived(server, local);
    same(&content, &letter_delivered());
    let whole = String::from_utf8_lossy(&whole);
    assert!(whole.contains(&format!("by mx.example.test with {protocol} id ")), "{whole}");
}

/// Insists that two messages are the same, and shows the first line that is not.
#[track_caller]
fn same(arrived: &[u8], sent: &[u8]) {
    let mut lines = arrived.split(|octet| *octet == b'\n').zip(sent.split(|octet| *octet == b'\n'));
    if let Some((arrived, sent)) = lines.find(|(arrived, sent)| arrived != sent) {
        panic!("a line arrived as\n{}\nand was sent as\n{}", arrived.escape_ascii(), sent.escape_ascii());
    }
    assert_eq!(arrived.len(), sent.len(), "the end is missing, or more has come");
}

/// Runs a client that is to succeed.
#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    Output::of(command).exits(0)
}
