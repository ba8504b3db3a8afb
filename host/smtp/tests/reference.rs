//! The machine against a reading of RFC 5321 and its extensions that shares nothing with it: a model of a few plain values says
//! of every command which class its reply has, and how many messages there are in the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Ask, Auth, Settings, Tls, reply};
use support::{Session, State, accept};

const WALKS: u64 = 20_000;
const STEPS: usize = 40;

/// The limits of this server.
const SIZE: usize = 40;
const RECIPIENTS: usize = 3;

/// What a client may do, well or badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Hello(&'static str),
    BadHello,
    Mail {
        binary: bool,
        utf8: bool,
    },
    BadMail(&'static str),
    Rcpt {
        utf8: bool,
    },
    BadRcpt(&'static str),
    /// DATA, and this, if it may.
    Data(Text),
    /// A chunk of this.
    Chunk {
        text: Text,
        last: bool,
    },
    BadChunk,
    Rset,
    /// Verbs that change nothing, and the class of what is said to them.
    Idle(&'static str, u8),
    Auth(&'static str),
    /// AUTH, and an answer that is none.
    AuthLeft(&'static str),
    StartTls,
    Quit,
}

/// Content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Sound,
    Stray,
    Large,
    None,
}

impl Text {
    fn octets(self) -> &'static str {
        match self {
            Text::Sound => "..\r\n\r\n.x\r\n",
            Text::Stray => "a\nb\r\n",
            Text::Large => "a line of more than forty octets, whatever way it comes\r\n",
            Text::None => "",
        }
    }
}

const ACTS: &[Act] = &[
    Act::Hello("EHLO"),
    Act::Hello("HELO"),
    Act::BadHello,
    Act::Mail { binary: false, utf8: false },
    Act::Mail { binary: false, utf8: false },
    Act::Mail { binary: true, utf8: false },
    Act::Mail { binary: false, utf8: true },
    Act::BadMail("MAIL FROM:<a@example.test> SIZE=41"),
    Act::BadMail("MAIL FROM:<a@example.test> XNO"),
    Act::BadMail("MAIL FROM:<a>"),
    Act::BadMail("MAIL"),
    Act::Rcpt { utf8: false },
    Act::Rcpt { utf8: false },
    Act::Rcpt { utf8: false },
    Act::Rcpt { utf8: true },
    Act::BadRcpt("RCPT TO:<>"),
    Act::BadRcpt("RCPT TO:<b@example.test> NOTIFY=SOON"),
    Act::Data(Text::Sound),
    Act::Data(Text::Sound),
    Act::Data(Text::Stray),
    Act::Data(Text::Large),
    Act::Data(Text::None),
    Act::Chunk { text: Text::Sound, last: false },
    Act::Chunk { text: Text::Sound, last: true },
    Act::Chunk { text: Text::Stray, last: true },
    Act::Chunk { text: Text::Stray, last: false },
    Act::Chunk { text: Text::Large, last: false },
    Act::Chunk { text: Text::None, last: true },
    Act::Chunk { text: Text::None, last: false },
    Act::BadChunk,
    Act::Rset,
    Act::Idle("NOOP", b'2'),
    Act::Idle("NOOP x", b'2'),
    Act::Idle("VRFY b", b'2'),
    Act::Idle("VRFY", b'5'),
    Act::Idle("HELP", b'2'),
    Act::Idle("EXPN b", b'5'),
    Act::Idle("RSET now", b'5'),
    Act::Idle("QUIT now", b'5'),
    Act::Idle("", b'5'),
    Act::Idle("\u{7}", b'5'),
    Act::Auth("AUTH PLAIN AHVzZXIAc2VjcmV0"),
    Act::AuthLeft("*"),
    Act::AuthLeft("!"),
    Act::Idle("AUTH NOBODY", b'5'),
    Act::StartTls,
    Act::Quit,
];

/// All that a server remembers, in the model's reading.
#[derive(Debug, Default)]
struct Model {
    greeted: bool,
    transaction: Option<Transaction>,
    tls: bool,
    authenticated: bool,
    closed: bool,
    messages: usize,
}

#[derive(Debug, Default)]
struct Transaction {
    recipients: usize,
    binary: bool,
    utf8: bool,
    /// Octets that came in chunks, if any chunk did.
    chunked: Option<usize>,
}

impl Model {
    /// The classes of the replies, in order.
    fn act(&mut self, act: Act) -> Vec<u8> {
        match act {
            Act::Hello(_) => {
                self.greeted = true;
                self.transaction = None;
                vec![b'2']
            }
            Act::Mail { binary, utf8 } if self.greeted && self.transaction.is_none() => {
                self.transaction = Some(Transaction { binary, utf8, ..Transaction::default() });
                vec![b'2']
            }
            Act::Rcpt { utf8 } => match &mut self.transaction {
                Some(transaction) if transaction.chunked.is_none() && (transaction.utf8 || !utf8) => {
                    if transaction.recipients == RECIPIENTS {
                        return vec![b'4'];
                    }
                    transaction.recipients += 1;
                    vec![b'2']
                }
                _ => vec![b'5'],
            },
            Act::Data(text) => match &self.transaction {
                Some(transaction)
                    if transaction.recipients > 0 && !transaction.binary && transaction.chunked.is_none() =>
                {
                    self.transaction = None;
                    vec![b'3', self.end(matches!(text, Text::Sound | Text::None))]
                }
                _ => vec![b'5'],
            },
            Act::Chunk { text, last } => {
                let Some(mut transaction) = self.transaction.take().filter(|transaction| transaction.recipients > 0)
                else {
                    return vec![b'5'];
                };
                let size = transaction.chunked.unwrap_or_default() + text.octets().len();
                let is_sound = size <= SIZE && (text != Text::Stray || transaction.binary);
                if is_sound && !last {
                    transaction.chunked = Some(size);
                    self.transaction = Some(transaction);
                    return vec![b'2'];
                }
                vec![self.end(is_sound)]
            }
            Act::BadChunk | Act::Quit => {
                self.closed = true;
                vec![if act == Act::Quit { b'2' } else { b'5' }]
            }
            Act::Rset => {
                self.transaction = None;
                vec![b'2']
            }
            Act::Idle(_, class) => vec![class],
            Act::Auth(_) if self.may_authenticate() => {
                self.authenticated = true;
                vec![b'2']
            }
            Act::AuthLeft(_) if self.may_authenticate() => vec![b'3', b'5'],
            // The answer that was to follow is a command to who did not ask for it.
            Act::AuthLeft(_) => vec![b'5', b'5'],
            Act::StartTls if !self.tls && self.transaction.is_none() => {
                *self = Model { tls: true, messages: self.messages, ..Model::default() };
                vec![b'2']
            }
            Act::BadHello | Act::Mail { .. } | Act::BadMail(_) | Act::BadRcpt(_) | Act::Auth(_) | Act::StartTls => {
                vec![b'5']
            }
        }
    }

    fn may_authenticate(&self) -> bool {
        self.greeted && !self.authenticated && self.transaction.is_none()
    }

    fn end(&mut self, is_sound: bool) -> u8 {
        self.messages += usize::from(is_sound);
        if is_sound { b'2' } else { b'5' }
    }
}

#[test]
fn the_machine_does_what_the_model_says() {
    let mut messages = 0;
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..WALKS {
        let mut random = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let mut model = Model::default();
        let mut client = Client::new();
        let mut walk = Vec::new();
        for _ in 0..=below(STEPS) {
            // Half of the time on, so that the walk gets somewhere.
            let act = match (below(2), &model.transaction) {
                (0, _) => ACTS[below(ACTS.len())],
                (_, None) if !model.greeted => Act::Hello("EHLO"),
                (_, None) => Act::Mail { binary: below(4) == 0, utf8: below(2) == 0 },
                (_, Some(transaction)) if transaction.recipients == 0 => Act::Rcpt { utf8: below(4) == 0 },
                (_, Some(_)) => ACTS[17 + below(12)],
            };
            walk.push(act);
            let expected = model.act(act);
            let got = client.act(act);
            let said: Vec<u8> = got.iter().map(|line| line.as_bytes()[0]).collect();
            assert_eq!(said, expected, "seed {seed}: {walk:?}: {got:?}");
            assert_eq!(client.session.state == State::Closed, model.closed, "seed {seed}: {walk:?}");
            seen.insert((format!("{act:?}"), said));
            if model.closed {
                break;
            }
        }
        assert_eq!(client.session.messages.len(), model.messages, "seed {seed}: {walk:?}");
        messages += model.messages;
    }
    // A walk that gets nowhere proves nothing: every act was answered well and badly, if it can be.
    assert!(messages > WALKS as usize / 2, "{messages} messages");
    assert!(seen.len() >= 60, "{} answers", seen.len());
}

/// Speaks to the machine, and does what its host would do.
struct Client {
    session: Session,
    settings: Settings,
}

impl Client {
    fn new() -> Self {
        let mut settings = Settings::new("mx.example.test");
        settings.tls = Tls::Offered;
        settings.auth = Auth::Offered(["PLAIN".to_owned()].into());
        settings.limits.message_size = SIZE as u64;
        settings.limits.recipients = RECIPIENTS;
        settings.limits.errors = 0;
        let mut session = Session::new(settings.clone(), &mut answer);
        session.lines();
        Client { session, settings }
    }

    fn act(&mut self, act: Act) -> Vec<String> {
        match act {
            Act::Hello(verb) => self.say(&format!("{verb} there\r\n")),
            Act::BadHello => self.say("EHLO the re\r\n"),
            Act::Mail { binary, utf8 } => {
                let body = if binary { " BODY=BINARYMIME" } else { "" };
                let utf8 = if utf8 { " SMTPUTF8" } else { "" };
                self.say(&format!("MAIL FROM:<a@example.test>{body}{utf8}\r\n"))
            }
            Act::Rcpt { utf8: false } => self.say("RCPT TO:<b@example.test>\r\n"),
            Act::Rcpt { utf8: true } => self.say("RCPT TO:<b\u{fc}cher@example.test>\r\n"),
            Act::Data(text) => {
                let mut replies = self.say("DATA\r\n");
                if replies[0].starts_with('3') {
                    replies.extend(self.say(text.octets()));
                    replies.extend(self.say(".\r\n"));
                }
                replies
            }
            Act::Chunk { text, last } => {
                let last = if last { " LAST" } else { "" };
                self.say(&format!("BDAT {}{last}\r\n{}", text.octets().len(), text.octets()))
            }
            Act::BadChunk => self.say("BDAT -1\r\n"),
            Act::Rset => self.say("RSET\r\n"),
            Act::Quit => self.say("QUIT\r\n"),
            Act::BadMail(line) | Act::BadRcpt(line) | Act::Idle(line, _) => self.say(&format!("{line}\r\n")),
            Act::Auth(line) => {
                let replies = self.say(&format!("{line}\r\n"));
                if replies[0].starts_with("235") {
                    self.session.server.set_settings(Settings { auth: Auth::Done, ..self.settings.clone() });
                }
                replies
            }
            Act::AuthLeft(line) => {
                let mut replies = self.say("AUTH PLAIN\r\n");
                replies.extend(self.say(&format!("{line}\r\n")));
                replies
            }
            Act::StartTls => {
                let replies = self.say("STARTTLS\r\n");
                if self.session.state == State::Handshake {
                    self.session.server.set_settings(self.settings.clone());
                    self.session.server.secured();
                    self.session.run(&mut answer);
                }
                replies
            }
        }
    }

    /// The last lines of the replies.
    fn say(&mut self, octets: &str) -> Vec<String> {
        self.session.send(octets.as_bytes(), &mut answer);
        self.session.lines().into_iter().filter(|line| line.as_bytes().get(3) == Some(&b' ')).collect()
    }
}

fn answer(ask: Ask<'_>) {
    match ask {
        Ask::Auth(ask) if ask.initial().is_none() => ask.challenge(b""),
        Ask::Response(ask) => ask.refuse(reply::authentication_failed()),
        ask => accept(ask),
    }
}
