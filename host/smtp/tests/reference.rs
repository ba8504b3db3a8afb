//! The machine against a reading of RFC 5321 and its extensions that shares nothing with it: a model of a few plain values says
//! of every command which class its reply has, how often it is said, and which messages there are in the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Ask, Auth, Protocol, Settings, Tls, reply};
use support::{Session, State, accept};

const WALKS: u64 = 10_000;
const STEPS: usize = 40;

/// The limits of every server here.
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
    /// MAIL that policy refuses.
    RefusedMail,
    Rcpt(Whom),
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

/// A recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Known,
    Utf8,
    /// Policy refuses it for good.
    Refused,
    /// Policy refuses it for now.
    Later,
}

/// Content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Sound,
    Stray,
    Large,
    None,
    /// Policy refuses a message that ends so.
    Refused,
    /// A message that ends so cannot be kept.
    Lost,
}

impl Text {
    fn octets(self) -> &'static str {
        match self {
            Text::Sound => "..\r\n\r\n.x\r\n",
            Text::Stray => "a\nb\r\n",
            Text::Large => "a line of more than forty octets, whatever way it comes\r\n",
            Text::None => "",
            Text::Refused => "no\r\n",
            Text::Lost => "gone\r\n",
        }
    }

    /// What the octets are in DATA, where a dot in front of a line is taken away.
    fn in_data(self) -> &'static str {
        if self == Text::Sound { ".\r\n\r\nx\r\n" } else { self.octets() }
    }
}

/// What is done where it may make sense or not.
const ACTS: &[Act] = &[
    Act::Hello("EHLO"),
    Act::Hello("HELO"),
    Act::Hello("LHLO"),
    Act::BadHello,
    Act::Mail { binary: false, utf8: false },
    Act::Mail { binary: true, utf8: false },
    Act::Mail { binary: false, utf8: true },
    Act::BadMail("MAIL FROM:<a@example.test> SIZE=41"),
    Act::BadMail("MAIL FROM:<a@example.test> XNO"),
    Act::BadMail("MAIL FROM:<a>"),
    Act::BadMail("MAIL"),
    Act::RefusedMail,
    Act::BadRcpt("RCPT TO:<>"),
    Act::BadRcpt("RCPT TO:<b@example.test> NOTIFY=SOON"),
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
    Act::Idle("AUTH NOBODY", b'5'),
    Act::Idle("STARTTLS now", b'5'),
    Act::Auth("AUTH PLAIN AHVzZXIAc2VjcmV0"),
    Act::AuthLeft("*"),
    Act::AuthLeft("!"),
    Act::StartTls,
    Act::Quit,
];

/// What is mostly done in a transaction, and now and then outside one.
const IN_TRANSACTION: &[Act] = &[
    Act::Rcpt(Whom::Known),
    Act::Rcpt(Whom::Known),
    Act::Rcpt(Whom::Known),
    Act::Rcpt(Whom::Utf8),
    Act::Rcpt(Whom::Refused),
    Act::Rcpt(Whom::Later),
    Act::Data(Text::Sound),
    Act::Data(Text::Sound),
    Act::Data(Text::Stray),
    Act::Data(Text::Large),
    Act::Data(Text::None),
    Act::Data(Text::Refused),
    Act::Data(Text::Lost),
    Act::Chunk { text: Text::Sound, last: false },
    Act::Chunk { text: Text::Sound, last: true },
    Act::Chunk { text: Text::Stray, last: true },
    Act::Chunk { text: Text::Stray, last: false },
    Act::Chunk { text: Text::Large, last: false },
    Act::Chunk { text: Text::None, last: true },
    Act::Chunk { text: Text::None, last: false },
    Act::Chunk { text: Text::Refused, last: true },
    Act::Chunk { text: Text::Refused, last: false },
    Act::Chunk { text: Text::Lost, last: true },
];

/// What one server is set to; 0 is no limit.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    lmtp: bool,
    tls_required: bool,
    errors: usize,
    junk: usize,
    messages: usize,
    session_recipients: usize,
}

/// All that a server remembers, in the model's reading.
#[derive(Debug, Default)]
struct Model {
    rules: Rules,
    greeted: bool,
    transaction: Option<Transaction>,
    tls: bool,
    authenticated: bool,
    closed: bool,
    /// Commands that were answered with 5xx, and those that lead nowhere, since a message was accepted.
    errors: usize,
    junk: usize,
    /// What was accepted of MAIL and RCPT, in the whole session.
    mails: usize,
    recipients: usize,
    messages: Vec<String>,
}

#[derive(Debug, Default)]
struct Transaction {
    recipients: usize,
    binary: bool,
    utf8: bool,
    /// What came in chunks, if any chunk did.
    chunks: Option<String>,
}

/// Replies of one class.
#[derive(Clone, Copy, Debug)]
struct Said {
    class: u8,
    times: usize,
    /// Whether it is said as it is though the peer made too many errors: so are the end of a message, and what closes by
    /// itself.
    stands: bool,
}

/// One reply.
fn one(class: u8) -> Vec<Said> {
    vec![Said { class, times: 1, stands: false }]
}

impl Model {
    /// The classes of the replies, in order.
    fn act(&mut self, act: Act) -> Vec<u8> {
        self.junk += usize::from(self.is_junk(act));
        if over(self.junk, self.rules.junk) {
            self.closed = true;
            return vec![b'4'];
        }
        let mut classes = Vec::new();
        for said in self.answer(act) {
            self.errors += usize::from(said.class == b'5');
            let too_many = said.class == b'5' && self.rules.errors != 0 && self.errors >= self.rules.errors;
            match too_many && !said.stands {
                true => classes.push(b'4'),
                false => classes.extend(std::iter::repeat_n(said.class, said.times)),
            }
            if too_many {
                self.closed = true;
                break;
            }
        }
        classes
    }

    fn answer(&mut self, act: Act) -> Vec<Said> {
        // RFC 3207 section 4.
        let in_the_clear = matches!(
            act,
            Act::Hello(_) | Act::BadHello | Act::BadChunk | Act::StartTls | Act::Quit | Act::Idle("NOOP" | "NOOP x", _)
        );
        if self.rules.tls_required && !self.tls && !in_the_clear {
            return if let Act::AuthLeft(_) = act { [one(b'5'), one(b'5')].concat() } else { one(b'5') };
        }
        match act {
            // RFC 2033 section 4.1.
            Act::Hello(verb) if (verb == "LHLO") == self.rules.lmtp => {
                self.greeted = true;
                self.transaction = None;
                one(b'2')
            }
            // RFC 9422 section 4.1.
            Act::Mail { .. } | Act::RefusedMail
                if self.may_begin() && self.rules.messages != 0 && self.mails == self.rules.messages =>
            {
                one(b'4')
            }
            Act::Mail { binary, utf8 } if self.may_begin() => {
                self.mails += 1;
                self.transaction = Some(Transaction { binary, utf8, ..Transaction::default() });
                one(b'2')
            }
            Act::Rcpt(whom) => match &mut self.transaction {
                Some(transaction) if transaction.chunks.is_none() && (transaction.utf8 || whom != Whom::Utf8) => {
                    let all = self.rules.session_recipients;
                    if transaction.recipients == RECIPIENTS || (all != 0 && self.recipients == all) {
                        return one(b'4');
                    }
                    match whom {
                        Whom::Refused => one(b'5'),
                        Whom::Later => one(b'4'),
                        Whom::Known | Whom::Utf8 => {
                            transaction.recipients += 1;
                            self.recipients += 1;
                            one(b'2')
                        }
                    }
                }
                _ => one(b'5'),
            },
            Act::Data(text) => match &self.transaction {
                Some(transaction)
                    if transaction.recipients > 0 && !transaction.binary && transaction.chunks.is_none() =>
                {
                    let transaction = self.transaction.take().expect("it is there");
                    let is_sound = !matches!(text, Text::Stray | Text::Large);
                    let end = self.end(text, text.in_data(), is_sound, transaction.recipients);
                    [one(b'3'), end].concat()
                }
                _ => one(b'5'),
            },
            Act::Chunk { text, last } => {
                let taken = self.transaction.take().filter(|transaction| transaction.recipients > 0);
                let Some(mut transaction) = taken else { return one(b'5') };
                let content = transaction.chunks.take().unwrap_or_default() + text.octets();
                let is_sound = content.len() <= SIZE && (text != Text::Stray || transaction.binary);
                if last {
                    return self.end(text, &content, is_sound, transaction.recipients);
                }
                if !is_sound {
                    // RFC 2033 section 4.2: what is said to each is said of the last chunk.
                    return vec![Said { class: b'5', times: 1, stands: true }];
                }
                transaction.chunks = Some(content);
                self.transaction = Some(transaction);
                one(b'2')
            }
            Act::BadChunk | Act::Quit => {
                self.closed = true;
                vec![Said { class: if act == Act::Quit { b'2' } else { b'5' }, times: 1, stands: true }]
            }
            Act::Rset => {
                self.transaction = None;
                one(b'2')
            }
            Act::Idle(_, class) => one(class),
            Act::Auth(_) if self.may_authenticate() => {
                self.authenticated = true;
                one(b'2')
            }
            Act::AuthLeft(_) if self.may_authenticate() => [one(b'3'), one(b'5')].concat(),
            // The answer that was to follow is a command to who did not ask for it.
            Act::AuthLeft(_) => [one(b'5'), one(b'5')].concat(),
            // RFC 3207 section 4.2: what was said in the clear was never said. What was used up stays so.
            Act::StartTls if !self.tls && self.transaction.is_none() => {
                (self.tls, self.greeted, self.authenticated) = (true, false, false);
                one(b'2')
            }
            Act::Hello(_)
            | Act::BadHello
            | Act::Mail { .. }
            | Act::BadMail(_)
            | Act::RefusedMail
            | Act::BadRcpt(_)
            | Act::Auth(_)
            | Act::StartTls => one(b'5'),
        }
    }

    /// Commands that lead nowhere, well or badly said.
    fn is_junk(&self, act: Act) -> bool {
        match act {
            Act::Hello(_) | Act::BadHello => self.greeted,
            Act::Rset | Act::Chunk { text: Text::None, last: false } => true,
            Act::Idle(line, _) => ["NOOP", "RSET", "VRFY", "EXPN", "HELP"].iter().any(|verb| line.starts_with(verb)),
            _ => false,
        }
    }

    fn may_begin(&self) -> bool {
        self.greeted && self.transaction.is_none()
    }

    fn may_authenticate(&self) -> bool {
        self.may_begin() && !self.authenticated
    }

    /// The end of a message: what becomes of it, and what each of its recipients hears, if each does.
    fn end(&mut self, text: Text, content: &str, is_sound: bool, recipients: usize) -> Vec<Said> {
        let class = match text {
            _ if !is_sound => b'5',
            Text::Refused => b'5',
            Text::Lost => b'4',
            _ => b'2',
        };
        if class == b'2' {
            self.messages.push(content.to_owned());
            (self.errors, self.junk) = (0, 0);
        }
        vec![Said { class, times: if self.rules.lmtp { recipients } else { 1 }, stands: true }]
    }
}

fn over(count: usize, limit: usize) -> bool {
    limit != 0 && count > limit
}

#[test]
fn the_machine_does_what_the_model_says() {
    let mut messages = 0;
    let mut closed = [0, 0];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..WALKS {
        let mut random = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let rules = Rules {
            lmtp: below(4) == 0,
            tls_required: below(8) == 0,
            errors: [0, 0, 4][below(3)],
            junk: [0, 0, 2][below(3)],
            messages: [0, 0, 2][below(3)],
            session_recipients: [0, 0, 4][below(3)],
        };
        let hello = if rules.lmtp { "LHLO" } else { "EHLO" };
        let mut model = Model { rules, ..Model::default() };
        let mut client = Client::new(rules);
        let mut walk = Vec::new();
        for _ in 0..=below(STEPS) {
            // Half of the time on, so that the walk gets somewhere.
            let act = match (below(2), &model.transaction) {
                (0, _) => match below(2) {
                    0 => ACTS[below(ACTS.len())],
                    _ => IN_TRANSACTION[below(IN_TRANSACTION.len())],
                },
                (_, None) if rules.tls_required && !model.tls => Act::StartTls,
                (_, None) if !model.greeted => Act::Hello(hello),
                (_, None) => Act::Mail { binary: below(4) == 0, utf8: below(2) == 0 },
                (_, Some(transaction)) if transaction.recipients == 0 => Act::Rcpt(Whom::Known),
                (_, Some(_)) => IN_TRANSACTION[below(IN_TRANSACTION.len())],
            };
            walk.push(act);
            let expected = model.act(act);
            let got = client.act(act);
            let said: Vec<u8> = got.iter().map(|line| line.as_bytes()[0]).collect();
            let shown = || format!("seed {seed}: {rules:?} {walk:?}: {got:?}");
            assert_eq!(said, expected, "{}", shown());
            assert_eq!(client.session.state == State::Closed, model.closed, "{}", shown());
            seen.insert((rules.lmtp, format!("{act:?}"), said));
            if model.closed {
                closed[usize::from(act != Act::Quit && act != Act::BadChunk)] += 1;
                break;
            }
            let server = &client.session.server;
            assert_eq!(server.said_hello(), model.greeted, "{}", shown());
            let recipients = server.envelope().map(|envelope| envelope.recipients.len());
            assert_eq!(recipients, model.transaction.as_ref().map(|it| it.recipients), "{}", shown());
        }
        let kept: Vec<&[u8]> = model.messages.iter().map(String::as_bytes).collect();
        assert_eq!(client.session.messages, kept, "seed {seed}: {walk:?}");
        messages += kept.len();
    }
    // A walk that gets nowhere proves nothing: every act was answered well and badly, if it can be.
    assert!(messages > WALKS as usize / 4, "{messages} messages");
    assert!(closed.into_iter().min() > Some(WALKS as usize / 20), "{closed:?} closed");
    assert!(seen.len() >= 220, "{} answers", seen.len());
}

/// Speaks to the machine, and does what its host would do.
struct Client {
    session: Session,
    settings: Settings,
}

impl Client {
    fn new(rules: Rules) -> Self {
        let mut settings = Settings::new("mx.example.test");
        settings.tls = if rules.tls_required { Tls::Required } else { Tls::Offered };
        settings.auth = Auth::Offered(["PLAIN".to_owned()].into());
        settings.protocol = if rules.lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let limits = &mut settings.limits;
        limits.message_size = SIZE as u64;
        limits.recipients = RECIPIENTS;
        limits.errors = rules.errors.try_into().unwrap();
        limits.junk_commands = rules.junk.try_into().unwrap();
        limits.messages = rules.messages as u64;
        limits.session_recipients = rules.session_recipients as u64;
        let mut session = Session::new(settings.clone(), &mut |ask| answer(ask, Text::None));
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
            Act::Rcpt(whom) => {
                let local = match whom {
                    Whom::Known => "b",
                    Whom::Utf8 => "b\u{fc}cher",
                    Whom::Refused => "refused",
                    Whom::Later => "later",
                };
                self.say(&format!("RCPT TO:<{local}@example.test>\r\n"))
            }
            Act::Data(text) => {
                let mut replies = self.say("DATA\r\n");
                if replies[0].starts_with('3') {
                    replies.extend(self.say(text.octets()));
                    replies.extend(self.say_of(text, ".\r\n"));
                }
                replies
            }
            Act::Chunk { text, last } => {
                let last = if last { " LAST" } else { "" };
                self.say_of(text, &format!("BDAT {}{last}\r\n{}", text.octets().len(), text.octets()))
            }
            Act::BadChunk => self.say("BDAT -1\r\n"),
            Act::RefusedMail => self.say("MAIL FROM:<refused@example.test>\r\n"),
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
                    self.settings.tls = Tls::Active;
                    self.session.server.set_settings(self.settings.clone());
                    self.session.server.secured();
                    self.session.run(&mut |ask| answer(ask, Text::None));
                }
                replies
            }
        }
    }

    fn say(&mut self, octets: &str) -> Vec<String> {
        self.say_of(Text::None, octets)
    }

    /// The last lines of the replies, where a message that is at its end ends in this.
    fn say_of(&mut self, text: Text, octets: &str) -> Vec<String> {
        let kept = self.session.messages.len();
        self.session.send(octets.as_bytes(), &mut |ask| answer(ask, text));
        if text == Text::Lost {
            // It was to be kept, and was not.
            self.session.messages.truncate(kept);
        }
        self.session.lines().into_iter().filter(|line| line.as_bytes().get(3) == Some(&b' ')).collect()
    }
}

/// What the host says, of a message that ends in this.
fn answer(ask: Ask<'_>, text: Text) {
    match ask {
        Ask::Auth(ask) if ask.initial().is_none() => ask.challenge(b""),
        Ask::Response(ask) => ask.refuse(reply::authentication_failed()),
        Ask::Mail(ask) if ask.sender().to_string().starts_with("refused@") => ask.refuse(reply::policy_reject()),
        Ask::Recipient(ask) => match ask.address().to_string().split('@').next() {
            Some("refused") => ask.refuse(reply::policy_reject()),
            Some("later") => ask.refuse(reply::policy_tempfail()),
            _ => ask.accept(),
        },
        Ask::Message(ask) if text == Text::Refused => ask.refuse(reply::policy_reject()),
        Ask::Commit(ask) if text == Text::Lost => ask.failed(reply::spool_failed()),
        ask => accept(ask),
    }
}
