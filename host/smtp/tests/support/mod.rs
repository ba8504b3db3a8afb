//! A peer and a host for the machine, both in memory: octets go in, replies come out, and every question is answered by the
//! test. It checks on every step what must hold of any conversation.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use pillarbox_smtp::{Ask, Patience, Server, Settings, Step};

/// The machine with what it has led to.
#[derive(Debug)]
pub struct Session {
    pub server: Server,
    /// Everything that was written.
    pub wire: Vec<u8>,
    /// One entry for each [`Step::Write`].
    pub writes: usize,
    pub state: State,
    /// The steps other than reads and writes, and the answered questions, by name.
    pub trace: Vec<&'static str>,
    /// The messages that were committed.
    pub messages: Vec<Vec<u8>>,
    /// Content of the message under way; none outside one.
    pub draft: Option<Vec<u8>>,
    /// How many replies are due for commands and messages; those to the lines of an extension's verb are not counted.
    pub due: usize,
    /// Errors that were to be waited for.
    pub tarpitted: u32,
}

/// Why the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Reading { patience: Patience, renewed: bool },
    Handshake,
    Closed,
}

impl Session {
    /// A session that has said its banner, if `answer` let it.
    pub fn new(settings: Settings, answer: &mut dyn FnMut(Ask<'_>)) -> Self {
        let mut session = Session {
            server: Server::new(settings),
            wire: Vec::new(),
            writes: 0,
            state: State::Closed,
            trace: Vec::new(),
            messages: Vec::new(),
            draft: None,
            due: 1,
            tarpitted: 0,
        };
        session.run(answer);
        session
    }

    pub fn send(&mut self, octets: &[u8], answer: &mut dyn FnMut(Ask<'_>)) {
        if matches!(self.state, State::Reading { .. }) {
            self.server.receive(octets);
            self.run(answer);
        }
    }

    /// Does what the machine says until it waits for the peer.
    pub fn run(&mut self, answer: &mut dyn FnMut(Ask<'_>)) {
        for _ in 0..1_000_000 {
            let step = self.server.step();
            match step {
                Step::Read { patience, renewed } => {
                    self.state = State::Reading { patience, renewed };
                    return;
                }
                Step::Write(octets) => {
                    assert!(!octets.is_empty(), "an empty write");
                    self.wire.extend(octets);
                    self.writes += 1;
                }
                Step::Tarpit(errors) => {
                    assert!(errors > 0, "no error to wait for");
                    self.tarpitted += errors;
                    self.trace.push("tarpit");
                }
                Step::Turn => {
                    self.due += 1;
                    self.trace.push("turn");
                }
                Step::Reset => self.trace.push("reset"),
                Step::Ask(ask) => {
                    let name = name(&ask);
                    if let Ask::Commit(commit) = &ask {
                        let draft = self.draft.take().expect("a message was begun");
                        assert_eq!(u64::try_from(draft.len()).unwrap(), commit.size(), "octets counted");
                        self.messages.push(draft);
                    }
                    let verb = if let Ask::Data(data) = &ask { data.verb() } else { "" };
                    self.trace.push(name);
                    answer(ask);
                    // An open transaction tells a chunk that is taken from one that is not.
                    if !verb.is_empty() && self.server.in_body() && self.server.in_transaction() {
                        assert!(self.draft.is_none(), "a message is left over");
                        self.draft = Some(Vec::new());
                        // 354 was the reply to DATA; the end of the content gets another.
                        self.due += usize::from(verb == "DATA");
                    }
                }
                Step::Body(octets) => {
                    assert!((1..=64 * 1024).contains(&octets.len()), "a chunk of {} octets", octets.len());
                    self.draft.as_mut().expect("a message was begun").extend(octets);
                }
                Step::Abort => {
                    // A first chunk that is far too large is given up before anything else.
                    let begun = self.draft.take().is_some() || self.trace.last() == Some(&"data");
                    assert!(begun, "a message was begun");
                    self.trace.push("abort");
                }
                Step::StartTls => {
                    self.state = State::Handshake;
                    return;
                }
                Step::Close => {
                    assert!(self.draft.is_none(), "a message is left over");
                    self.state = State::Closed;
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    /// The reply lines so far, which are taken.
    pub fn lines(&mut self) -> Vec<String> {
        let wire = String::from_utf8(std::mem::take(&mut self.wire)).expect("replies are ASCII");
        assert!(wire.is_empty() || wire.ends_with("\r\n"), "half a reply: {wire:?}");
        wire.split_terminator("\r\n").map(str::to_owned).collect()
    }
}

/// How many replies `lines` hold, each checked for its form.
pub fn count_replies(lines: &[String]) -> usize {
    let mut count = 0;
    let mut open: Option<String> = None;
    for line in lines {
        let (code, rest) = line.split_at_checked(3).expect("a code");
        assert!(code.bytes().all(|octet| octet.is_ascii_digit()), "{line:?}");
        assert!((b'2'..=b'5').contains(&code.as_bytes()[0]), "{line:?}");
        assert!(line.bytes().all(|octet| (0x20..=0x7e).contains(&octet)), "{line:?}");
        assert!(line.len() <= 510, "{line:?}");
        if let Some(open) = &open {
            assert_eq!(open, code, "codes of one reply differ");
        }
        match rest.as_bytes().first() {
            Some(b'-') => open = Some(code.to_owned()),
            Some(b' ') => {
                open = None;
                count += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert!(open.is_none(), "a reply without its last line");
    count
}

/// Takes everything, every login among it.
pub fn accept(ask: Ask<'_>) {
    match ask {
        Ask::Connect(ask) => ask.accept("mx.example.test ESMTP Pillarbox"),
        Ask::Hello(ask) => ask.accept("127.0.0.1", &[]),
        Ask::Auth(ask) => ask.success(),
        Ask::Response(ask) => ask.success(),
        Ask::Verb(ask) => ask.fail(pillarbox_smtp::reply::extension_failed()),
        Ask::Resume(ask) => ask.fail(pillarbox_smtp::reply::extension_failed()),
        Ask::Mail(ask) => ask.accept(),
        Ask::Recipient(ask) => ask.accept(),
        Ask::Data(ask) => ask.accept(),
        Ask::Message(ask) => ask.accept(),
        Ask::Commit(ask) => ask.done("TESTID"),
    }
}

fn name(ask: &Ask<'_>) -> &'static str {
    match ask {
        Ask::Connect(_) => "connect",
        Ask::Hello(_) => "hello",
        Ask::Auth(_) => "auth",
        Ask::Response(_) => "response",
        Ask::Verb(_) => "verb",
        Ask::Resume(_) => "resume",
        Ask::Mail(_) => "mail",
        Ask::Recipient(_) => "recipient",
        Ask::Data(_) => "data",
        Ask::Message(_) => "message",
        Ask::Commit(_) => "commit",
    }
}
