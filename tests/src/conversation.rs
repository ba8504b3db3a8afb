//! Conversations as files, the main form of test: what a client says, and what it must be told.
//!
//! ```text
//! # a comment; the first one says which rule this is about
//! @ key value    how the server is to be set up, for whoever starts it; `@ peer 127.0.0.2` is where to connect from
//! C: text        sent with CRLF
//! C| octets      sent as it stands
//! S: text        the next line of reply; `*` in it is any run
//! S! close       the connection is closed
//! T!             TLS begins
//! ```
//!
//! `\r \n \t \0 \\ \xHH` are escapes in what is sent and expected. At the end the client says that nothing more comes, and
//! the server must close without another word.

use crate::client::SERVER;
use crate::handshake::Handshake;
use crate::pattern::{escape, matches, unescape};
use crate::{Wire, WireError};
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// A conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Its file.
    pub path: PathBuf,
    /// What `@` lines say, but for `peer`.
    pub setup: Vec<(String, String)>,
    /// Where the client connects from.
    pub peer: Option<IpAddr>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    line: usize,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    ExpectClose,
    StartTls,
}

impl Act {
    /// What is sent.
    fn octets(&self) -> &[u8] {
        if let Act::Send(octets) = self { octets } else { &[] }
    }
}

/// In which pieces a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each line of the file at once.
    AsWritten,
    /// Octet by octet.
    Octets,
    /// All that the client has to say in one, up to the beginning of TLS.
    AtOnce,
}

/// Where a conversation did not go as written.
#[derive(Clone, Debug)]
pub struct Failure {
    path: PathBuf,
    line: usize,
    expected: String,
    got: String,
    transcript: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}", self.path.display(), self.line)?;
        writeln!(f, "  expected  {}", self.expected)?;
        writeln!(f, "  got       {}", self.got)?;
        for line in self.transcript.lines() {
            writeln!(f, "  | {line}")?;
        }
        Ok(())
    }
}

impl Conversation {
    /// Every `*.smtp` file of a directory, in the order of their names.
    ///
    /// # Panics
    /// There is none, or one is malformed.
    pub fn all(directory: &Path) -> Vec<Conversation> {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
        paths.sort();
        assert!(!paths.is_empty(), "no conversations in {}", directory.display());
        paths.into_iter().map(Conversation::read).collect()
    }

    /// Reads one.
    ///
    /// # Panics
    /// It cannot be read, or is malformed.
    pub fn read(path: PathBuf) -> Conversation {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Conversation::parse(path, &text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn parse(path: PathBuf, text: &str) -> Result<Conversation, String> {
        let mut conversation = Conversation { path, setup: Vec::new(), peer: None, steps: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |why: &str| format!("{}:{number}: {why}: {line}", conversation.path.display());
            let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let octets = || unescape(rest).map_err(|why| wrong(&why));
            let act = match mark {
                "" | "#" | "# " => continue,
                "@ " => {
                    let (key, value) = rest.split_once(' ').ok_or_else(|| wrong("`@` wants a key and a value"))?;
                    match key {
                        "peer" => conversation.peer = Some(value.parse().map_err(|_| wrong("no address"))?),
                        _ => conversation.setup.push((key.to_owned(), value.to_owned())),
                    }
                    continue;
                }
                "C:" => Act::Send([octets()?, b"\r\n".to_vec()].concat()),
                "C|" => Act::Send(octets()?),
                "S:" => Act::Expect(octets()?),
                "S!" if rest == "close" => Act::ExpectClose,
                "T!" if rest.is_empty() => Act::StartTls,
                _ => return Err(wrong("no line of a conversation")),
            };
            conversation.steps.push(Step { line: number, act });
        }
        if !conversation.steps.iter().any(|step| matches!(step.act, Act::Expect(_))) {
            return Err(format!("{}: expects nothing", conversation.path.display()));
        }
        Ok(conversation)
    }

    /// The name of its file, without `.smtp`.
    pub fn name(&self) -> &str {
        self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// What an `@` line says of this.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.setup.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Plays it against a server.
    ///
    /// # Errors
    /// The first thing that did not go as written.
    pub fn play(&self, address: SocketAddr, pace: Pace) -> Result<(), Failure> {
        let mut play = Play { conversation: self, line: 1, wire: Wire::connect(address, self.peer), closed: false };
        let mut sent = 0;
        for (at, step) in self.steps.iter().enumerate() {
            play.line = step.line;
            match &step.act {
                Act::Send(_) if pace == Pace::AtOnce => {
                    if at >= sent {
                        let in_one = self.steps[at..].iter().take_while(|step| !matches!(step.act, Act::StartTls));
                        sent = at + in_one.clone().count();
                        play.act(&Act::Send(in_one.flat_map(|step| step.act.octets()).copied().collect()), pace)?;
                    }
                }
                act => play.act(act, pace)?,
            }
        }
        if play.closed { Ok(()) } else { play.end() }
    }
}

/// A conversation under way.
struct Play<'a> {
    conversation: &'a Conversation,
    line: usize,
    wire: std::io::Result<Wire>,
    closed: bool,
}

impl Play<'_> {
    fn act(&mut self, act: &Act, pace: Pace) -> Result<(), Failure> {
        let wire = match &mut self.wire {
            Ok(wire) => wire,
            Err(error) => {
                let got = error.to_string();
                return Err(self.failure("a connection", got));
            }
        };
        match act {
            Act::Send(octets) => {
                let pieces = octets.chunks(if pace == Pace::Octets { 1 } else { usize::MAX });
                // A connection that is gone is noticed by what is not heard.
                for piece in pieces {
                    if wire.send(piece).is_err() {
                        break;
                    }
                }
                Ok(())
            }
            Act::StartTls => wire
                .encrypt(&Handshake::plain(), SERVER)
                .map_err(|error| self.failure("a TLS handshake", error.to_string())),
            Act::Expect(pattern) => match wire.line() {
                Ok(line) if matches(pattern, &line) => Ok(()),
                Ok(line) => Err(self.failure(&escape(pattern), escape(&line))),
                Err(error) => Err(self.failure(&escape(pattern), error.to_string())),
            },
            Act::ExpectClose => {
                self.closed = true;
                self.expect_close()
            }
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.line += 1;
        if let Ok(wire) = &mut self.wire {
            // If the server has closed already, that is what is expected.
            let _ = wire.finish();
        }
        self.expect_close()
    }

    fn expect_close(&mut self) -> Result<(), Failure> {
        let Ok(wire) = &mut self.wire else { return Ok(()) };
        match wire.line() {
            Err(WireError::Closed) => Ok(()),
            Ok(line) => Err(self.failure("the end of the connection", escape(&line))),
            Err(error) => Err(self.failure("the end of the connection", error.to_string())),
        }
    }

    fn failure(&self, expected: &str, got: String) -> Failure {
        Failure {
            path: self.conversation.path.clone(),
            line: self.line,
            expected: expected.to_owned(),
            got,
            transcript: self.wire.as_ref().map_or_else(|_| String::new(), |wire| wire.transcript().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Plays `text` against a server that says `says` at once, whatever it hears.
    fn play(text: &str, says: &'static str) -> Result<(), String> {
        play_at(text, says, Pace::AsWritten).1
    }

    /// The same at this pace, and what the server heard.
    fn play_at(text: &str, says: &'static str, pace: Pace) -> (Vec<u8>, Result<(), String>) {
        let conversation = Conversation::parse("x.smtp".into(), text).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(says.as_bytes()).unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            heard
        });
        let played = conversation.play(address, pace).map_err(|failure| failure.to_string());
        (server.join().unwrap(), played)
    }

    #[test]
    fn at_whatever_pace_the_same_is_said() {
        let text = "S: 220 *\nC: NOOP\nS: 250 a\nC| RSET\nC: x\nS: 250 b\nC: QUIT\nS: 221 *";
        for pace in [Pace::AsWritten, Pace::Octets, Pace::AtOnce] {
            let (heard, played) = play_at(text, "220 hello\r\n250 a\r\n250 b\r\n221 bye\r\n", pace);
            assert_eq!((heard.as_slice(), played), (&b"NOOP\r\nRSETx\r\nQUIT\r\n"[..], Ok(())), "{pace:?}");
        }
        // In one: it is all said before the second reply is waited for, and nothing before the first.
        let (heard, played) = play_at(text, "220 hello\r\n250 a\r\n500 c\r\n", Pace::AtOnce);
        assert!(heard.ends_with(b"QUIT\r\n") && played.is_err());
        assert!(!play_at(text, "500 no\r\n", Pace::AtOnce).0.ends_with(b"QUIT\r\n"));
    }

    #[test]
    fn what_goes_as_written_is_right() {
        assert_eq!(play("# rule\nS: 220 *\nC: NOOP\nS: 250 ok\n", "220 hello\r\n250 ok\r\n"), Ok(()));
    }

    #[test]
    fn what_does_not_is_shown_with_its_line() {
        for (text, says, expected) in [
            ("S: 220 *\n\nS: 250 *", "220 a\r\n251 b\r\n", ["x.smtp:3", "expected  250 *", "got       251 b"]),
            ("S: 220 *", "220 a\r\n250 b\r\n", ["x.smtp:2", "expected  the end of the connection", "got       250 b"]),
            ("S: 220 *\nC: QUIT", "220 a\r\n25", ["x.smtp:3", "closed the connection after 25", "| C: QUIT"]),
        ] {
            let failure = play(text, says).unwrap_err();
            for part in expected {
                assert!(failure.contains(part), "no {part:?} in\n{failure}");
            }
        }
    }

    #[test]
    fn what_is_malformed_is_no_conversation() {
        for text in
            ["C: HELO", "S: 220\nX: what", "S: 220 \\q", "@ peer nowhere\nS: 220", "@ config\nS: 220", "S: 1\nS! open"]
        {
            assert!(Conversation::parse("x.smtp".into(), text).is_err(), "{text}");
        }
    }
}
