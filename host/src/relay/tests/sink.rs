//! Servers that do what a script says, one connection each, and note what they did not expect.
//!
//! ```text
//! S: TEXT      says the line
//! S+ TEXT      says it without a line end; \0, \r, \n and \x.. stand for octets
//! S* TEXT      says the line until nobody listens
//! C: TEXT      expects this line; a last * stands for anything
//! MESSAGE      reads up to the dot, and keeps what was sent
//! CHUNKS       reads BDAT up to LAST, saying 250 to all but the last, and keeps what was sent
//! SLOWLY       reads an octet a second of what comes
//! TLS          makes the handshake
//! GARBAGE      answers the handshake with what is none
//! HANG         says nothing until the other side is gone
//! RESET        ends the connection by RST
//! END          expects the other side to say QUIT, or to be gone
//! ```
//! At the end of its script it closes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A server, as long as it is held.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    noted: Arc<Mutex<Noted>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Noted {
    connections: usize,
    messages: Vec<Vec<u8>>,
    complaints: Vec<String>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Sink {
    /// Each connection gets the next script; what comes after the last is closed at once and complained about.
    pub(super) async fn start(scripts: &[&str]) -> Sink {
        Sink::start_tls(scripts, None).await
    }

    pub(super) async fn start_tls(scripts: &[&str], tls: Option<TlsAcceptor>) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (noted, mut tasks) = (Arc::new(Mutex::new(Noted::default())), JoinSet::new());
        let (scripts, there): (Vec<String>, _) = (scripts.iter().map(ToString::to_string).collect(), noted.clone());
        tasks.spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A clock that stands still does not wait for delayed acknowledgements.
                stream.set_nodelay(true).unwrap();
                let script = next(&scripts, &there);
                let (there, tls) = (there.clone(), tls.clone());
                tasks.spawn(async move {
                    let reset = script.contains("RESET");
                    if reset {
                        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                    play(Box::new(stream), &script, tls, &there).await;
                });
            }
        });
        Sink { address, noted, _tasks: tasks }
    }

    /// The same on a Unix socket.
    pub(super) fn start_unix(path: &std::path::Path, script: &str) -> Sink {
        let listener = UnixListener::bind(path).unwrap();
        let (noted, mut tasks) = (Arc::new(Mutex::new(Noted::default())), JoinSet::new());
        let (script, there) = (script.to_owned(), noted.clone());
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            next(&[], &there);
            play(Box::new(stream), &script, None, &there).await;
        });
        Sink { address: "0.0.0.0:0".parse().unwrap(), noted, _tasks: tasks }
    }

    pub(super) fn connections(&self) -> usize {
        self.noted.lock().unwrap().connections
    }

    /// The messages that came, without the dots and the end that the way needs.
    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        self.noted.lock().unwrap().messages.clone()
    }

    /// Nothing came but what was expected.
    #[track_caller]
    pub(super) fn is_content(&self) {
        let noted = self.noted.lock().unwrap();
        assert!(noted.complaints.is_empty(), "{:#?}", noted.complaints);
    }
}

fn next(scripts: &[String], noted: &Mutex<Noted>) -> String {
    let mut noted = noted.lock().unwrap();
    let script = scripts.get(noted.connections).cloned();
    noted.connections += 1;
    if script.is_none() && !scripts.is_empty() {
        let connection = noted.connections;
        noted.complaints.push(format!("connection {connection} was not expected"));
    }
    script.unwrap_or_default()
}

async fn play(mut stream: Box<dyn Duplex>, script: &str, tls: Option<TlsAcceptor>, noted: &Mutex<Noted>) {
    let complain = |text: String| noted.lock().unwrap().complaints.push(text);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, text) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "S:" => {
                // Whoever hung up does not hear it.
                if stream.write_all(format!("{text}\r\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            "S+" => stream.write_all(&octets(text)).await.unwrap(),
            "S*" => while stream.write_all(format!("{text}\r\n").as_bytes()).await.is_ok() {},
            "C:" => {
                let said = read_line(&mut stream).await;
                let expected = text.strip_suffix('*');
                let right = expected.map_or(said == text, |start| said.starts_with(start));
                if !right {
                    return complain(format!("{said:?} instead of {text:?}"));
                }
            }
            "MESSAGE" => match read_message(&mut stream).await {
                Some(message) => noted.lock().unwrap().messages.push(message),
                None => return complain("the message broke off".to_owned()),
            },
            "CHUNKS" => {
                let message = read_chunks(&mut stream).await;
                noted.lock().unwrap().messages.push(message);
            }
            "SLOWLY" => loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if stream.read_u8().await.is_err() {
                    return;
                }
            },
            "TLS" => match tls.clone().unwrap().accept(stream).await {
                Ok(secure) => stream = Box::new(secure),
                Err(_) => return,
            },
            "GARBAGE" => {
                let mut hello = [0; 512];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(b"500 what?\r\n").await;
            }
            "HANG" => while !matches!(stream.read(&mut [0; 4096]).await, Ok(0) | Err(_)) {},
            "RESET" => return,
            "END" => {
                let said = read_line(&mut stream).await;
                if !(said.is_empty() || said == "QUIT") {
                    return complain(format!("{said:?} instead of the end"));
                }
                let _ = stream.write_all(b"221 bye\r\n").await;
            }
            _ => panic!("{line}"),
        }
    }
    let _ = stream.shutdown().await;
}

/// A line without its end; as much as came where the other side went away.
async fn read_line(stream: &mut Box<dyn Duplex>) -> String {
    let mut line = Vec::new();
    while let Ok(octet) = stream.read_u8().await {
        line.push(octet);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            break;
        }
    }
    String::from_utf8_lossy(&line).into_owned()
}

async fn read_message(stream: &mut Box<dyn Duplex>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut octets = vec![0; 64 * 1024];
    while !(message == b".\r\n" || message.ends_with(b"\r\n.\r\n")) {
        match stream.read(&mut octets).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => message.extend_from_slice(&octets[..read]),
        }
    }
    message.truncate(message.len() - 3);
    let mut plain = Vec::new();
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        plain.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    Some(plain)
}

async fn read_chunks(stream: &mut Box<dyn Duplex>) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let line = read_line(stream).await;
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("BDAT"), "{line}");
        let length: usize = words.next().unwrap().parse().unwrap();
        let mut chunk = vec![0; length];
        stream.read_exact(&mut chunk).await.unwrap();
        message.extend_from_slice(&chunk);
        if words.next() == Some("LAST") {
            return message;
        }
        stream.write_all(b"250 more\r\n").await.unwrap();
    }
}

fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next().unwrap() {
                'r' => octets.push(b'\r'),
                'n' => octets.push(b'\n'),
                '0' => octets.push(0),
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    octets.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => panic!("\\{other}"),
            },
            character => octets.extend(character.to_string().bytes()),
        }
    }
    octets
}

/// A port where nobody listens.
pub(super) async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(TcpStream::connect(address).await.is_err());
    address
}
