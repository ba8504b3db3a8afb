//! What the fuzz targets share: an input as a session with the machine, and what must hold of any.
//!
//! An input of `session` and `segments` is sixteen octets that say how the session goes, and then what the peer sends; so a
//! file of plain SMTP behind sixteen zeros is a good seed, and means: everything is accepted, nothing happens besides, and
//! each line is a segment. The machine is played by the same hands as in its own tests, which check every step.

pub mod content;
#[path = "../../../host/smtp/tests/support/mod.rs"]
pub mod support;
#[path = "../../../extensions/sdk/src/xtext.rs"]
pub mod xtext;

use std::sync::Arc;

use pillarbox_smtp::{
    Ask, Auth, Claim, Expiry, Limits, Patience, Protocol, Refusal, Reply, Rule, Settings, StrayNewlines, Tls, reply,
};
use support::{Session, State, accept, count_replies};

/// A session, as an input describes it.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    settings: [u8; 3],
    cut: u8,
    events: [u8; 4],
    answers: [u8; 8],
    /// What the peer sends.
    pub octets: &'a [u8],
}

/// How the peer's octets are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Nowhere,
    /// Behind each CRLF.
    Lines,
    /// Into this many, and what is left.
    Every(usize),
}

impl<'a> Script<'a> {
    /// None if the input is too short to say how the session goes.
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let (head, octets) = input.split_first_chunk::<16>()?;
        let [a, b, c, cut, e0, e1, e2, e3, answers @ ..] = *head;
        Some(Script { settings: [a, b, c], cut, events: [e0, e1, e2, e3], answers, octets })
    }

    /// How the input wants its octets cut.
    pub fn cut(&self) -> Cut {
        match self.cut {
            0 => Cut::Lines,
            255 => Cut::Nowhere,
            octets => Cut::Every(octets.into()),
        }
    }

    /// The same script in which nothing happens besides and nothing depends on what waits behind a command: so it makes no
    /// difference how the octets are cut.
    pub fn cut_makes_no_difference(self) -> Self {
        let [a, b, c] = self.settings;
        Script { settings: [a & !0b11, b & !0b1_1000, c], events: [0; 4], ..self }
    }

    /// Plays it to its end.
    pub fn play(&self, cut: Cut) -> Session {
        let mut answers = self.answers.iter().copied().cycle();
        let mut answer = |ask: Ask<'_>| reply_to(ask, answers.next().unwrap_or_default());
        let mut session = Session::new(self.settings(0), &mut answer);
        for (segment, event) in segments(self.octets, cut).into_iter().zip(self.events.into_iter().cycle()) {
            self.happen(event, &mut session, &mut answer);
            match session.state {
                State::Closed => break,
                State::Handshake => {
                    session.server.secured();
                    session.run(&mut answer);
                }
                State::Reading { .. } => {}
            }
            session.send(segment, &mut answer);
            assert!(!(session.server.in_body() && session.server.has_input()), "content is kept");
        }
        session
    }

    /// What comes from elsewhere between two segments: most octets are nothing.
    fn happen(&self, event: u8, session: &mut Session, answer: &mut dyn FnMut(Ask<'_>)) {
        let in_body = session.server.in_body();
        match event {
            1 | 6 | 7 | 8 => {
                session.server.expire(match event {
                    1 => Expiry::Command,
                    6 => Expiry::Data,
                    7 => Expiry::Transaction,
                    _ => Expiry::DataRate,
                });
                session.due += usize::from(!in_body && !in_exchange(session));
                session.run(answer);
            }
            2 => {
                session.server.end_of_input();
                session.due -= usize::from(in_body);
                session.run(answer);
            }
            3 => {
                session.server.shut(reply::shutting_down());
                session.run(answer);
            }
            4 => session.server.end_transaction(),
            5 | 9..32 => session.server.set_settings(self.settings(event)),
            _ => {}
        }
    }

    /// The settings of the script, or, after a change, others. Zeros are the defaults, with an extension.
    fn settings(&self, change: u8) -> Settings {
        let [a, b, c] = self.settings.map(|octet| octet.wrapping_add(change));
        let pick = |octet: u8, shift: u8| usize::from(octet >> shift & 0b11);
        let defaults = Limits::default();
        let mut settings = Settings::new("mx.example.test");
        // The lowest bits decide what depends on segments, and a change leaves alone what would bring that in.
        let lasting = self.settings[0] & 0b11;
        settings.tls = [Tls::Off, Tls::Offered, Tls::Required, Tls::Active][usize::from(lasting)];
        settings.limits.command_line = [defaults.command_line, 64, 128, 512][pick(a, 2)];
        settings.limits.message_size = [defaults.message_size, 0, 10, 1000][pick(a, 4)];
        settings.limits.recipients = [defaults.recipients, 1, 2, 3][pick(a, 6)];
        if b & 0b0100_0000 != 0 {
            settings.limits.header_size = 40;
            settings.limits.header_lines = 3;
            settings.limits.hops = 1;
        }
        if b & 0b1000_0000 != 0 {
            settings.limits.session_recipients = 4;
            settings.limits.messages = 2;
            settings.limits.commands = 30;
            settings.limits.errors = 5;
            settings.limits.tarpit_after = 2;
            settings.limits.junk_commands = 6;
        }
        // As those of TLS: a session has one protocol, and may depend on segments or not.
        settings.refuse_unauthorized_pipelining = self.settings[1] & 0b1_0000 != 0;
        settings.refuse_early_talk = self.settings[1] & 0b10_0000 != 0;
        settings.protocol = [Protocol::Smtp, Protocol::Lmtp][usize::from(self.settings[2] >> 1 & 1)];
        settings.auth = match pick(c, 2) {
            0 => Auth::Offered(["PLAIN", "LOGIN", "SCRAM-SHA-256"].map(str::to_owned).into()),
            1 => Auth::Off,
            2 => Auth::NeedsTls,
            _ => Auth::Done,
        };
        settings.keywords.chunking = c & 0b1_0000 == 0;
        settings.keywords.smtputf8 = c & 0b10_0000 == 0;
        settings.keywords.dsn = c & 0b100_0000 == 0;
        settings.keywords.enhanced_status_codes = c & 0b1000_0000 == 0;
        settings.stray_newlines = [StrayNewlines::Refuse, StrayNewlines::Normalize][usize::from(c & 1)];
        settings.mail_parameters = Arc::new(["XM".to_owned()].into());
        settings.recipient_parameters = Arc::new(["XR".to_owned()].into());
        let rule =
            Rule { before_hello: b & 1 != 0, in_transaction: b & 2 != 0, only_tls: b & 4 != 0, last_in_group: false };
        let last_in_group = self.settings[1] & 0b1000 != 0;
        let verbs = [
            ("XV", Claim::Open(rule)),
            ("XLAST", Claim::Open(Rule { last_in_group, ..rule })),
            ("XCLOSED", Claim::Closed),
            ("XGONE", Claim::Gone),
        ];
        settings.verbs = Arc::new(verbs.into_iter().map(|(name, claim)| (name.to_owned(), claim)).collect());
        settings
    }
}

/// What must hold of a session that was played, whatever was said: it holds little, each reply is well-formed, each command
/// has one, and no message came from nowhere.
pub fn judge(session: &mut Session) {
    if matches!(session.state, State::Reading { patience: Patience::Command, .. }) {
        assert!(held(session) <= 64 * 1024, "{} octets are held", held(session));
    }
    let lines = session.lines();
    let begun = session.trace.iter().filter(|step| **step == "data").count();
    assert!(session.messages.len() <= begun, "{} messages of {begun} begun", session.messages.len());
    let replies = count_replies(&lines);
    let settings = session.server.settings();
    if settings.protocol == Protocol::Lmtp || !settings.keywords.enhanced_status_codes {
        // How many a message gets, or which came unasked, these lines alone do not tell.
        return;
    }
    // A message that has not come to its end is not answered yet, nor is the line that was to follow 334.
    session.due -= usize::from(session.server.in_body());
    session.due -= usize::from(lines.last().is_some_and(|line| line.starts_with("334 ")));
    session.due += lines.iter().filter(|line| line.starts_with("334 ")).count();
    // Said unasked, unless a line was to follow.
    let unasked = |pair: &&[String]| pair[1].starts_with("421 4.3.2 ") && !pair[0].starts_with("334 ");
    session.due += lines.windows(2).filter(unasked).count();
    assert_eq!(replies, session.due, "replies, {lines:#?}");
}

/// The octets in segments.
pub fn segments(octets: &[u8], cut: Cut) -> Vec<&[u8]> {
    match cut {
        Cut::Nowhere => vec![octets],
        Cut::Every(count) => octets.chunks(count.max(1)).collect(),
        Cut::Lines => {
            let mut segments = Vec::new();
            let mut rest = octets;
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
                let (segment, behind) = rest.split_at(end + 2);
                segments.push(segment);
                rest = behind;
            }
            segments.push(rest);
            segments
        }
    }
}

/// An answer to a question. Zero is yes, as is most of what makes no sense.
fn reply_to(ask: Ask<'_>, mood: u8) {
    let refusal = || {
        let code = [450, 550, 554, 421][usize::from(mood >> 4 & 0b11)];
        let refusal = Refusal::new(code, None, ["no", "never"]).expect("a refusal");
        if mood >= 0xf0 { refusal.closing() } else { refusal }
    };
    let said = |code: u16| Reply::new(code, None, ["so"]).expect("a reply");
    match (ask, mood & 0x0f) {
        (_, 1) => {}
        (Ask::Verb(ask), 0 | 2) => ask.done(said([250, 334, 550, 421][usize::from(mood >> 4 & 0b11)])),
        (Ask::Verb(ask), 3) => ask.more(said(334)),
        (Ask::Verb(ask), 4) => ask.more(said(250)),
        (Ask::Verb(ask), 5) => ask.restart(mood & 0x10 != 0),
        (Ask::Verb(ask), 6) => ask.close(refusal()),
        (Ask::Verb(ask), 7) => ask.lock(refusal()),
        (Ask::Verb(ask), 8) => ask.abandon(refusal()),
        (Ask::Resume(ask), 0 | 2) => ask.done(said([250, 334, 550, 421][usize::from(mood >> 4 & 0b11)])),
        (Ask::Resume(ask), 3) => ask.more(said(334)),
        (Ask::Resume(ask), 5) => ask.restart(mood & 0x10 != 0),
        (Ask::Resume(ask), 6) => ask.close(refusal()),
        (Ask::Resume(ask), 7) => ask.lock(refusal()),
        (Ask::Resume(ask), 8) => ask.abandon(refusal()),
        (Ask::Auth(ask), 2..5) => ask.challenge(&[0, mood]),
        (Ask::Auth(ask), 9) => ask.refuse(refusal()),
        (Ask::Response(ask), 2) => ask.challenge(b""),
        (Ask::Response(ask), 9) => ask.refuse(refusal()),
        (Ask::Connect(ask), 9) => ask.refuse(refusal()),
        (Ask::Hello(ask), 9) => ask.refuse(refusal()),
        (Ask::Mail(ask), 9) => ask.refuse(refusal()),
        (Ask::Recipient(ask), 9..12) => ask.refuse(refusal()),
        (Ask::Data(ask), 9) => ask.refuse(refusal()),
        (Ask::Message(ask), 9) => ask.refuse(refusal()),
        (Ask::Commit(ask), 9) => ask.failed(refusal()),
        (Ask::Mail(ask), 12) => ask.discard(),
        (Ask::Recipient(ask), 12) => ask.discard(),
        (Ask::Data(ask), 12) => ask.discard(),
        (Ask::Message(ask), 12) => ask.discard(),
        (ask, _) => accept(ask),
    }
}

/// Whether the last thing that was said asks for one more line.
fn in_exchange(session: &Session) -> bool {
    String::from_utf8_lossy(&session.wire).lines().last().is_some_and(|line| line.starts_with("334 "))
}

/// How many octets of memory the machine keeps for input: its debug form tells.
fn held(session: &Session) -> usize {
    let debug = format!("{:?}", session.server);
    let (_, count) = debug.split_once("capacity: ").expect("the input is shown");
    count.split_once(',').expect("a count").0.parse().expect("a count")
}
