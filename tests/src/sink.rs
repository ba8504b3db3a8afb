//! A server that messages are relayed to, in one of many manners, good and bad. It keeps what it took.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificate::Pair;
use crate::until;

/// How a sink behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes everything.
    Take,
    /// It takes everything but for recipients whose address holds the first: the second is their reply.
    Except(&'static str, &'static str),
    /// Its reply at this stage.
    Reply(Stage, &'static str),
    /// It says nothing at this stage, until the other side goes.
    Hang(Stage),
    /// It closes at this stage, without a reply.
    Drop(Stage),
    /// It takes the message, says 250 and resets the connection.
    TakeThenReset,
    /// It takes the message and closes without a word.
    TakeUnsaid,
    /// Its reply at this stage has no end.
    Endless(Stage),
    /// It says octets that are no reply at this stage.
    Garbage(Stage),
    /// It says exactly these octets at this stage, and closes.
    Say(Stage, &'static str),
    /// Its reply at this stage is one line without an end.
    Long(Stage),
    /// It takes everything, and its replies come octet by octet with so long a wait before each.
    Slow(Duration),
    /// It refuses behind the message's end each recipient whose address holds the first: the second is that reply. Over
    /// LMTP, where each recipient has a reply of its own, and the others are taken.
    ExceptAtEnd(&'static str, &'static str),
    /// It takes the message for its first recipient, says so, and closes. Over LMTP the others wait for their replies.
    TakeForOne,
    /// Its reply at MAIL, which it has forgotten by RCPT.
    Forgetful(&'static str),
}

/// A moment of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the greeting.
    Banner,
    /// At EHLO or LHLO.
    Hello,
    /// At STARTTLS.
    StartTls,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
    /// At DATA.
    Data,
    /// Within the message, of which it has seen a beginning.
    Content,
    /// Behind the message's end.
    End,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What stood behind `MAIL FROM:`.
    pub sender: String,
    /// What stood behind `RCPT TO:`, of the recipients that were accepted.
    pub recipients: Vec<String>,
    /// The octets, without stuffed dots.
    pub content: Vec<u8>,
    /// Whether it came under TLS.
    pub tls: bool,
}

/// A server on loopback, for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Sink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    lmtp: bool,
    keywords: &'static [&'static str],
    tls: Option<Arc<ServerConfig>>,
    connections: usize,
    taken: Vec<Taken>,
}

/// What a sink announces unless it is told otherwise.
const KEYWORDS: &[&str] = &["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE"];

impl Sink {
    /// An SMTP server that announces PIPELINING, 8BITMIME, SMTPUTF8 and SIZE.
    pub fn start(manner: Manner) -> Sink {
        Sink::bind("127.0.0.1:0".parse().expect("an address"), manner, false)
    }

    /// The same at an address of one's own.
    pub fn start_at(address: SocketAddr, manner: Manner) -> Sink {
        Sink::bind(address, manner, false)
    }

    /// An LMTP server.
    pub fn start_lmtp(manner: Manner) -> Sink {
        Sink::bind("127.0.0.1:0".parse().expect("an address"), manner, true)
    }

    fn bind(address: SocketAddr, manner: Manner, lmtp: bool) -> Sink {
        let listener = TcpListener::bind(address).expect("an address for a sink");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            manner,
            lmtp,
            keywords: KEYWORDS,
            tls: None,
            connections: 0,
            taken: Vec::new(),
        }));
        let sink = Sink { address, state };
        let here = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let here = here.clone();
                thread::spawn(move || here.serve(stream));
            }
        });
        sink
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From its next reply on it behaves like this.
    pub fn behave(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// What it announces from now on, in place of PIPELINING, 8BITMIME, SMTPUTF8 and SIZE.
    pub fn announce(&self, keywords: &'static [&'static str]) {
        self.lock().keywords = keywords;
    }

    /// From now on it offers STARTTLS, and shows this certificate.
    ///
    /// # Panics
    /// The pair cannot be read.
    pub fn encrypt(&self, pair: &Pair) {
        let chain =
            CertificateDer::pem_slice_iter(pair.chain.as_bytes()).map(|one| one.expect("a certificate")).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        self.lock().tls = Some(Arc::new(config.with_single_cert(chain, key).expect("a certificate with its key")));
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// What it took so far, those included of which it did not say so.
    pub fn taken(&self) -> Vec<Taken> {
        self.lock().taken.clone()
    }

    /// Waits for so many messages.
    #[track_caller]
    pub fn wait_for(&self, messages: usize) -> Vec<Taken> {
        until("messages at a sink", || self.lock().taken.len() >= messages);
        self.taken()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        self.lock().connections += 1;
        let _ = stream.set_nodelay(true);
        let Ok(closing) = stream.try_clone() else { return };
        // Whoever went away is no matter of the sink's.
        let _ = self.converse(stream);
        let _ = closing.shutdown(Shutdown::Both);
    }

    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let lmtp = self.lock().lmtp;
        let (mut sender, mut recipients) = (None, Vec::<String>::new());
        let mut reader = BufReader::new(Channel::Clear(stream));
        self.say(reader.get_mut(), Stage::Banner, "220 sink.example.test")?;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let command = line.trim_end();
            let verb = command.get(..4).unwrap_or(command).to_ascii_uppercase();
            match &*verb {
                "EHLO" | "LHLO" => {
                    let keywords = self.keywords(reader.get_ref());
                    self.say(reader.get_mut(), Stage::Hello, &keywords)?;
                }
                "HELO" => drop(self.say(reader.get_mut(), Stage::Hello, "250 sink")?),
                "STAR" => {
                    let Some(config) = self.lock().tls.clone() else {
                        writeln(reader.get_mut(), "500 5.5.1 what?")?;
                        continue;
                    };
                    if self.say(reader.get_mut(), Stage::StartTls, "220 2.0.0 go")? {
                        reader = BufReader::new(reader.into_inner().encrypted(config)?);
                    }
                }
                "MAIL" => {
                    let manner = self.lock().manner.clone();
                    let begun = match manner {
                        Manner::Forgetful(reply) => writeln(reader.get_mut(), reply).map(|()| true),
                        _ => self.say(reader.get_mut(), Stage::Mail, "250 2.1.0 ok"),
                    }?;
                    sender = begun.then(|| command.get(10..).unwrap_or_default().to_owned());
                    recipients.clear();
                }
                // Who pipelines says it all the same.
                "RCPT" if sender.is_none() => writeln(reader.get_mut(), "503 5.5.1 no transaction")?,
                "RCPT" => {
                    let address = command.get(8..).unwrap_or_default().to_owned();
                    let refusal = match &self.lock().manner {
                        Manner::Except(part, reply) if address.contains(part) => Some(*reply),
                        _ => None,
                    };
                    if self.say(reader.get_mut(), Stage::Recipient, refusal.unwrap_or("250 2.1.5 ok"))? {
                        recipients.push(address);
                    }
                }
                "DATA" if recipients.is_empty() => writeln(reader.get_mut(), "503 5.5.1 nobody to send it to")?,
                "DATA" => {
                    if !self.say(reader.get_mut(), Stage::Data, "354 go")? {
                        continue;
                    }
                    self.interrupt(&mut reader)?;
                    let content = read_content(&mut reader)?;
                    let tls = matches!(reader.get_ref(), Channel::Tls(_));
                    let mut taken = Taken {
                        sender: sender.clone().unwrap_or_default(),
                        recipients: recipients.clone(),
                        content,
                        tls,
                    };
                    let manner = self.lock().manner.clone();
                    let refused = |address: &str| match &manner {
                        Manner::ExceptAtEnd(part, reply) if address.contains(part) => Some(*reply),
                        _ => None,
                    };
                    taken.recipients.retain(|address| refused(address).is_none());
                    if manner == Manner::TakeForOne {
                        taken.recipients.truncate(1);
                        self.lock().taken.push(taken);
                        return writeln(reader.get_mut(), "250 2.0.0 taken for one");
                    }
                    if keeps(&manner) && !taken.recipients.is_empty() {
                        self.lock().taken.push(taken);
                    }
                    if manner == Manner::TakeUnsaid {
                        return Ok(());
                    }
                    for address in &recipients[..if lmtp { recipients.len() } else { 1 }] {
                        let reply = refused(address).unwrap_or("250 2.0.0 taken");
                        self.say(reader.get_mut(), Stage::End, reply)?;
                    }
                    if manner == Manner::TakeThenReset {
                        return reset(reader.get_ref());
                    }
                }
                "RSET" | "NOOP" => writeln(reader.get_mut(), "250 2.0.0 ok")?,
                "QUIT" => return writeln(reader.get_mut(), "221 2.0.0 bye"),
                _ => writeln(reader.get_mut(), "500 5.5.1 what?")?,
            }
        }
    }

    /// Behaves as its manner is within the message.
    fn interrupt(&self, reader: &mut BufReader<Channel>) -> std::io::Result<()> {
        let manner = self.lock().manner.clone();
        let gone = || Err(ErrorKind::ConnectionAborted.into());
        match manner {
            // The other side sees that nobody reads, and this side never that it went.
            Manner::Hang(Stage::Content) => loop {
                thread::park();
            },
            Manner::Drop(Stage::Content) => {
                reader.read_exact(&mut [0; 16])?;
                gone()
            }
            Manner::Reply(Stage::Content, reply) => {
                reader.read_exact(&mut [0; 16])?;
                writeln(reader.get_mut(), reply)?;
                read_content(reader)?;
                gone()
            }
            _ => Ok(()),
        }
    }

    /// The reply to EHLO.
    fn keywords(&self, channel: &Channel) -> String {
        let state = self.lock();
        let starttls = state.tls.is_some() && matches!(channel, Channel::Clear(_));
        let keywords = state.keywords.iter().copied().chain(starttls.then_some("STARTTLS"));
        let mut lines = vec!["sink".to_owned()];
        lines.extend(keywords.map(str::to_owned));
        let last = lines.pop().unwrap_or_default();
        let before: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        format!("{before}250 {last}")
    }

    /// Replies as its manner is at this stage. Whether that was a yes.
    fn say(&self, stream: &mut Channel, stage: Stage, reply: &str) -> std::io::Result<bool> {
        let manner = self.lock().manner.clone();
        let gone = || Err(ErrorKind::ConnectionAborted.into());
        match manner {
            Manner::Reply(at, refusal) if at == stage => {
                writeln(stream, refusal)?;
                if refusal.starts_with("421") { gone() } else { Ok(refusal.starts_with(['2', '3'])) }
            }
            Manner::Hang(at) if at == stage => {
                while stream.read(&mut [0; 4096])? > 0 {}
                gone()
            }
            Manner::Drop(at) if at == stage => gone(),
            Manner::Endless(at) if at == stage => loop {
                stream.write_all(b"250-and another line\r\n")?;
            },
            Manner::Long(at) if at == stage => loop {
                stream.write_all(&[b'2'; 4096])?;
            },
            Manner::Garbage(at) if at == stage => {
                stream.write_all(b"\0\xff25\r\nnonsense\r\n")?;
                gone()
            }
            Manner::Say(at, octets) if at == stage => {
                stream.write_all(octets.as_bytes())?;
                gone()
            }
            Manner::Slow(wait) => {
                for octet in format!("{reply}\r\n").bytes() {
                    thread::park_timeout(wait);
                    stream.write_all(&[octet])?;
                }
                Ok(reply.starts_with(['2', '3']))
            }
            _ => {
                writeln(stream, reply)?;
                Ok(reply.starts_with(['2', '3']))
            }
        }
    }
}

/// Whether a sink in this manner has the message once its end was seen.
fn keeps(manner: &Manner) -> bool {
    match manner {
        Manner::Reply(Stage::End, reply) => reply.starts_with('2'),
        Manner::Hang(at) | Manner::Drop(at) | Manner::Endless(at) | Manner::Garbage(at) | Manner::Long(at) => {
            *at != Stage::End
        }
        Manner::Say(at, _) => *at != Stage::End,
        _ => true,
    }
}

/// A connection, in the clear or under TLS.
#[derive(Debug)]
enum Channel {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Channel {
    fn encrypted(self, config: Arc<ServerConfig>) -> std::io::Result<Channel> {
        let Channel::Clear(mut stream) = self else { return Err(ErrorKind::AlreadyExists.into()) };
        let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Channel::Tls(Box::new(StreamOwned::new(tls, stream))))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Channel::Clear(stream) => stream,
            Channel::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Channel {
    fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Channel::Clear(stream) => stream.read(octets),
            Channel::Tls(tls) => tls.read(octets),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        match self {
            Channel::Clear(stream) => stream.write(octets),
            Channel::Tls(tls) => tls.write(octets),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Channel::Clear(stream) => stream.flush(),
            Channel::Tls(tls) => tls.flush(),
        }
    }
}

fn writeln(stream: &mut Channel, reply: &str) -> std::io::Result<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes())?;
    stream.flush()
}

/// Ends the connection by RST, once the other side had the time to read what was said.
fn reset(stream: &Channel) -> std::io::Result<()> {
    // Octets that nobody reads make the end a reset: QUIT, or the next MAIL, is left lying.
    let stream = stream.socket();
    let mut octet = [0];
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = stream.peek(&mut octet);
    Ok(())
}

fn read_content(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut content: Vec<u8> = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // Only a line that begins behind CRLF has a dot that is not its own.
        let begins = content.is_empty() || content.ends_with(b"\r\n");
        match line.strip_prefix(b".").filter(|_| begins) {
            Some(b"\r\n") => return Ok(content),
            Some(rest) => content.extend_from_slice(rest),
            None => content.extend_from_slice(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ends_at_its_dot_and_nowhere_else() {
        let sent = b"a\r\n..b\r\n\n.\r\nc\r\n.\r\nQUIT\r\n";
        let mut reader = BufReader::new(&sent[..]);
        assert_eq!(read_content(&mut reader).unwrap(), b"a\r\n.b\r\n\n.\r\nc\r\n");
    }

    #[test]
    fn a_sink_keeps_what_it_took() {
        let sink = Sink::start(Manner::Except("c@", "550 5.1.1 nobody"));
        let mut stream = TcpStream::connect(sink.address()).unwrap();
        let said = "EHLO x\r\nMAIL FROM:<a@x> SIZE=3\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
        stream.write_all(said.as_bytes()).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert!(heard.contains("550 5.1.1 nobody\r\n354 go\r\n250 2.0.0 taken\r\n221"), "{heard}");
        let content = b"hi\r\n".to_vec();
        let taken =
            Taken { sender: "<a@x> SIZE=3".to_owned(), recipients: vec!["<b@x>".to_owned()], content, tls: false };
        assert_eq!(sink.wait_for(1), [taken]);
        assert_eq!(sink.connections(), 1);
    }
}
