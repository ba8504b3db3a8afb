//! A server that messages are relayed to, in one of many manners, good and bad. It keeps what it took.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

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
}

/// A moment of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the greeting.
    Banner,
    /// At EHLO or LHLO.
    Hello,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Recipient,
    /// At DATA.
    Data,
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
    connections: usize,
    taken: Vec<Taken>,
}

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
        let state = Arc::new(Mutex::new(State { manner, lmtp, connections: 0, taken: Vec::new() }));
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
        let Ok(reading) = stream.try_clone() else { return };
        // Whoever went away is no matter of the sink's.
        let _ = self.converse(BufReader::new(reading), &stream);
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn converse(&self, mut reader: BufReader<TcpStream>, stream: &TcpStream) -> std::io::Result<()> {
        let lmtp = self.lock().lmtp;
        let (mut sender, mut recipients) = (String::new(), Vec::<String>::new());
        self.say(stream, Stage::Banner, "220 sink.example.test")?;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let command = line.trim_end();
            let verb = command.get(..4).unwrap_or(command).to_ascii_uppercase();
            match &*verb {
                "EHLO" | "LHLO" | "HELO" => {
                    let keywords = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE";
                    self.say(stream, Stage::Hello, if verb == "HELO" { "250 sink" } else { keywords })?;
                }
                "MAIL" => {
                    sender = command.get(10..).unwrap_or_default().to_owned();
                    recipients.clear();
                    self.say(stream, Stage::Mail, "250 2.1.0 ok")?;
                }
                "RCPT" => {
                    let address = command.get(8..).unwrap_or_default().to_owned();
                    let refusal = match &self.lock().manner {
                        Manner::Except(part, reply) if address.contains(part) => Some(*reply),
                        _ => None,
                    };
                    if self.say(stream, Stage::Recipient, refusal.unwrap_or("250 2.1.5 ok"))? {
                        recipients.push(address);
                    }
                }
                "DATA" if recipients.is_empty() => writeln(stream, "503 5.5.1 nobody to send it to")?,
                "DATA" => {
                    if !self.say(stream, Stage::Data, "354 go")? {
                        continue;
                    }
                    let content = read_content(&mut reader)?;
                    let taken = Taken { sender: sender.clone(), recipients: recipients.clone(), content };
                    let manner = self.lock().manner.clone();
                    let keeps = matches!(
                        manner,
                        Manner::Take | Manner::Except(..) | Manner::TakeThenReset | Manner::TakeUnsaid
                    );
                    if keeps {
                        self.lock().taken.push(taken);
                    }
                    if manner == Manner::TakeUnsaid {
                        return Ok(());
                    }
                    for _ in 0..if lmtp { recipients.len() } else { 1 } {
                        self.say(stream, Stage::End, "250 2.0.0 taken")?;
                    }
                    if manner == Manner::TakeThenReset {
                        return reset(stream);
                    }
                }
                "RSET" | "NOOP" => writeln(stream, "250 2.0.0 ok")?,
                "QUIT" => return writeln(stream, "221 2.0.0 bye"),
                _ => writeln(stream, "500 5.5.1 what?")?,
            }
        }
    }

    /// Replies as its manner is at this stage. Whether that was a yes.
    fn say(&self, mut stream: &TcpStream, stage: Stage, reply: &str) -> std::io::Result<bool> {
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
            Manner::Garbage(at) if at == stage => {
                stream.write_all(b"\0\xff25\r\nnonsense\r\n")?;
                gone()
            }
            _ => {
                writeln(stream, reply)?;
                Ok(reply.starts_with(['2', '3']))
            }
        }
    }
}

fn writeln(mut stream: &TcpStream, reply: &str) -> std::io::Result<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes())
}

/// Ends the connection by RST, once the other side had the time to read what was said.
fn reset(mut stream: &TcpStream) -> std::io::Result<()> {
    // Octets that nobody reads make the end a reset: QUIT, or the next MAIL, is left lying.
    let mut octet = [0];
    let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(200)));
    let _ = stream.peek(&mut octet);
    let _ = stream.flush();
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
        let taken = Taken { sender: "<a@x> SIZE=3".to_owned(), recipients: vec!["<b@x>".to_owned()], content };
        assert_eq!(sink.wait_for(1), [taken]);
        assert_eq!(sink.connections(), 1);
    }
}
