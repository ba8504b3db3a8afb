//! Hostile conversations at random, always the same ones: whatever is sent, answered and done to the machine, it does not panic,
//! comes to rest, holds little, gives each command one reply, and does not care how the octets were cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Arc;

use pillarbox_smtp::{
    Ask, Auth, Claim, Expiry, Patience, Protocol, Refusal, Reply, Rule, Settings, StrayNewlines, Tls, reply,
};
use support::{Session, State, accept, count_replies};

const CONVERSATIONS: u64 = 20_000;

/// What peers say, good and bad. Most of it is sense, so that the walk gets far.
const FRAGMENTS: &[&str] = &[
    "EHLO there\r\n",
    "HELO there\r\n",
    "EHLO there\r\nMAIL FROM:<a@example.test>\r\n",
    "MAIL FROM:<a@example.test>\r\n",
    "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
    "RCPT TO:<b@example.test>\r\n",
    "RCPT TO:<\"b\\\" c\"@[IPv6:::1]>\r\n",
    "RCPT TO:<postmaster>\r\n",
    "DATA\r\n",
    "DATA\r\n.\r\n",
    "DATA\r\nSubject: x\r\n\r\n..text\r\n.\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\r\n",
    "\r",
    "\n",
    ".",
    "\n.\n",
    "\r.\r",
    "\r\n.\n",
    "\r\n.\r\r\n",
    "\0",
    "\u{1b}[2J",
    "\u{85}",
    "RSET\r\n",
    "NOOP\r\n",
    "NOOP",
    "QUIT\r\n",
    "VRFY x\r\n",
    "HELP\r\n",
    "AUTH PLAIN =\r\n",
    "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
    "AUTH PLAIN\r\n",
    "*\r\n",
    "AA==\r\n",
    "BDAT 5 LAST\r\n",
    "BDAT 5 LAST\r\nhello",
    "BDAT 7\r\nhello\r\n",
    "BDAT 3\r\na\nb",
    "BDAT 0\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 2000\r\n",
    "BDAT 18446744073709551615\r\n",
    "BDAT +5\r\n",
    "LHLO there\r\n",
    "MAIL FROM:<b\u{fc}cher@example.test> SMTPUTF8 RET=FULL ENVID=a+3Db\r\n",
    "MAIL FROM:<> BODY=BINARYMIME\r\n",
    "RCPT TO:<b\u{fc}cher@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b\r\n",
    "Received: a\r\nReceived: b\r\nReceived: c\r\n\r\n",
    "STARTTLS\r\n",
    "GET / HTTP/1.1\r\n",
    "XV argument\r\n",
    "xv\r\n",
    "XCLOSED\r\n",
    "XGONE\r\n",
    "XLAST\r\n",
    "MAIL FROM:<a@example.test> SIZE=99999999999999999999\r\n",
    "MAIL FROM:<@a,@b:c@d> XM=1 XM=2\r\n",
    "MAIL FROM:<\"\r\n",
    "RCPT TO:<",
    "x",
    " ",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// Marsaglia's xorshift: enough to wander about, the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

#[test]
fn nothing_a_peer_says_harms_the_machine() {
    let mut seen = Seen::default();
    for seed in 0..CONVERSATIONS {
        let mut random = Random::new(seed);
        let settings = settings(&mut random, true);
        let mut answers = Random::new(seed ^ 0xa5a5);
        let mut answer = |ask: Ask<'_>| answer_at_random(ask, &mut answers);
        let mut session = Session::new(settings.clone(), &mut answer);
        for segment in cut(&octets(&mut random), &mut random) {
            let in_body = session.server.in_body();
            match random.below(40) {
                0 => {
                    session.server.expire(Expiry::Command);
                    session.due += usize::from(!in_body && !in_exchange(&session));
                    session.run(&mut answer);
                }
                1 => {
                    session.server.end_of_input();
                    session.due -= usize::from(in_body);
                    session.run(&mut answer);
                }
                2 => {
                    session.server.shut(reply::shutting_down());
                    session.run(&mut answer);
                }
                3 => session.server.end_transaction(),
                4 => session.server.set_settings(self::settings(&mut random, true)),
                _ => {}
            }
            match session.state {
                State::Closed => break,
                State::Handshake => {
                    session.server.secured();
                    session.run(&mut answer);
                }
                State::Reading { .. } => {}
            }
            session.send(&segment, &mut answer);
            assert!(!(session.server.in_body() && session.server.has_input()), "content is kept");
        }
        if matches!(session.state, State::Reading { patience: Patience::Command, .. }) {
            assert!(held(&session) <= 4096, "seed {seed}: {} octets are held", held(&session));
        }
        let lines = session.lines();
        // A message that has not come to its end is not answered yet, nor is the line that was to follow 334.
        session.due -= usize::from(session.server.in_body());
        session.due -= usize::from(lines.last().is_some_and(|line| line.starts_with("334 ")));
        session.due += lines.iter().filter(|line| line.starts_with("334 ")).count();
        // Said unasked, unless a line was to follow.
        let unasked = |pair: &&[String]| {
            pair[1].contains("server shutting down, closing connection") && !pair[0].starts_with("334 ")
        };
        session.due += lines.windows(2).filter(unasked).count();
        assert_eq!(count_replies(&lines), session.due, "seed {seed}: {lines:#?}");
        seen.count(&session);
    }
    // A walk that gets nowhere proves nothing.
    assert!(seen.messages > 300 && seen.aborts > 500 && seen.restarts > 100 && seen.resumes > 50, "{seen:?}");
    assert!(seen.responses > 50, "{seen:?}");
}

#[test]
fn how_octets_are_cut_makes_no_difference() {
    // Fewer: each is played three times, once by single octets.
    for seed in 0..CONVERSATIONS / 4 {
        let mut random = Random::new(seed);
        let settings = settings(&mut random, false);
        let octets = octets(&mut random);
        let play = |segments: Vec<Vec<u8>>| {
            let mut answers = Random::new(seed ^ 0xa5a5);
            let mut answer = |ask: Ask<'_>| answer_at_random(ask, &mut answers);
            let mut session = Session::new(settings.clone(), &mut answer);
            for segment in segments {
                session.send(&segment, &mut answer);
            }
            // How errors are grouped into writes is a matter of segments; that they are waited for is not.
            session.trace.retain(|step| *step != "tarpit");
            (session.lines(), session.messages, session.trace, session.tarpitted)
        };
        let whole = play(vec![octets.clone()]);
        assert_eq!(play(octets.chunks(1).map(<[u8]>::to_vec).collect()), whole, "seed {seed}");
        assert_eq!(play(cut(&octets, &mut random)), whole, "seed {seed}");
    }
}

/// How far the walk got, over all conversations.
#[derive(Debug, Default)]
struct Seen {
    messages: usize,
    aborts: usize,
    restarts: usize,
    resumes: usize,
    responses: usize,
}

impl Seen {
    fn count(&mut self, session: &Session) {
        let count = |name| session.trace.iter().filter(|step| **step == name).count();
        self.messages += session.messages.len();
        self.aborts += count("abort");
        self.restarts += count("connect").saturating_sub(1);
        self.resumes += count("resume");
        self.responses += count("response");
    }
}

/// Settings with small limits. Where it must make no difference what waits behind a command, `pipelining_matters` is false.
fn settings(random: &mut Random, pipelining_matters: bool) -> Settings {
    let mut settings = Settings::new("mx.example.test");
    settings.limits.command_line = [64, 128, 4096][random.below(3)];
    settings.limits.message_size = [0, 10, 1000][random.below(3)];
    settings.limits.recipients = [1, 3, 1000][random.below(3)];
    settings.limits.errors = [0, 0, 20, 4][random.below(4)];
    settings.limits.tarpit_after = [0, 1, 10][random.below(3)];
    settings.limits.junk_commands = [0, 100, 100, 2][random.below(4)];
    settings.limits.commands = [0, 0, 0, 0, 10][random.below(5)];
    settings.limits.messages = [0, 0, 0, 1][random.below(4)];
    settings.limits.session_recipients = [0, 0, 2][random.below(3)];
    settings.limits.header_size = [0, 0, 20, 1000][random.below(4)];
    settings.limits.header_lines = [0, 0, 0, 2][random.below(4)];
    settings.limits.hops = [0, 0, 0, 2][random.below(4)];
    settings.keywords.chunking = !random.one_in(8);
    settings.keywords.smtputf8 = !random.one_in(8);
    settings.keywords.enhanced_status_codes = !random.one_in(8);
    settings.auth = match random.below(4) {
        0 => Auth::Off,
        1 => Auth::Done,
        _ => Auth::Offered(["PLAIN".to_owned()].into()),
    };
    settings.stray_newlines = [StrayNewlines::Refuse, StrayNewlines::Normalize][random.below(2)];
    settings.mail_parameters = Arc::new(["XM".to_owned()].into());
    let rule = Rule {
        before_hello: random.one_in(2),
        in_transaction: random.one_in(2),
        only_tls: random.one_in(4),
        last_in_group: false,
    };
    let mut verbs = vec![("XV", Claim::Open(rule)), ("XCLOSED", Claim::Closed), ("XGONE", Claim::Gone)];
    if pipelining_matters {
        settings.refuse_unauthorized_pipelining = random.one_in(10);
        settings.tls = [Tls::Off, Tls::Offered, Tls::Required, Tls::Active][random.below(4)];
        verbs.push(("XLAST", Claim::Open(Rule { last_in_group: true, ..rule })));
    }
    if !pipelining_matters && random.one_in(4) {
        settings.protocol = Protocol::Lmtp;
    }
    settings.verbs = Arc::new(verbs.into_iter().map(|(name, claim)| (name.to_owned(), claim)).collect());
    settings
}

fn octets(random: &mut Random) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..random.below(24) {
        let fragment = FRAGMENTS[random.below(FRAGMENTS.len())].as_bytes();
        octets.extend_from_slice(fragment);
        if random.one_in(20) && !octets.is_empty() {
            let at = random.below(octets.len());
            octets[at] = (random.next() & 0xff) as u8;
        }
        // Now and then a read's worth of octets in one.
        if random.one_in(1000) {
            octets.extend(std::iter::repeat_n([b'x', b'\n', b'\r'][random.below(3)], 10_000));
        }
        if random.one_in(12) {
            octets.extend_from_slice(b"HELO x\r\nAUTH PLAIN\r\nAA==\r\n");
        }
        // Now and then a whole transaction, so that its far end is reached.
        if random.one_in(6) {
            octets.extend_from_slice(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
            octets.extend_from_slice([&b"DATA\r\n"[..], b"BDAT 4\r\na: b"][random.below(2)]);
        }
    }
    octets
}

fn cut(octets: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let longest = if random.one_in(20) { rest.len() } else { rest.len().min(60) };
        let (segment, tail) = rest.split_at(random.below(longest) + 1);
        segments.push(segment.to_vec());
        rest = tail;
    }
    segments
}

/// Mostly yes, so that the walk gets far; sometimes no, sometimes nonsense, sometimes nothing at all.
fn answer_at_random(ask: Ask<'_>, random: &mut Random) {
    let refusal = |random: &mut Random| {
        let refusal = Refusal::new([450, 550, 554, 450, 550, 421][random.below(6)], None, ["no", "never"]).unwrap();
        if random.one_in(10) { refusal.closing() } else { refusal }
    };
    let final_reply =
        |random: &mut Random| Reply::new([250, 334, 550, 250, 421][random.below(5)], None, ["so"]).unwrap();
    let challenge = || Reply::new(334, None, [""]).unwrap();
    let mood = random.below(24);
    match ask {
        Ask::Verb(ask) => match mood {
            0..6 => ask.done(final_reply(random)),
            6..11 => ask.more(challenge()),
            11 => ask.more(final_reply(random)),
            12..18 => ask.restart(random.one_in(2)),
            18 => ask.close(refusal(random)),
            19 => ask.lock(refusal(random)),
            20 => ask.abandon(refusal(random)),
            21 => ask.fail(refusal(random)),
            _ => {}
        },
        Ask::Resume(ask) => match mood {
            0..10 => ask.done(final_reply(random)),
            10..14 => ask.more(challenge()),
            14 => ask.restart(random.one_in(2)),
            15 => ask.close(refusal(random)),
            16 => ask.lock(refusal(random)),
            17 => ask.abandon(refusal(random)),
            18 => ask.fail(refusal(random)),
            _ => {}
        },
        _ if mood == 0 => {}
        Ask::Auth(ask) if mood < 12 => ask.challenge(b"more"),
        Ask::Auth(ask) if mood < 16 => ask.refuse(reply::authentication_failed()),
        Ask::Response(ask) if mood < 8 => ask.challenge(b""),
        Ask::Response(ask) if mood < 12 => ask.refuse(refusal(random)),
        Ask::Connect(ask) if mood == 1 => ask.refuse(refusal(random)),
        Ask::Hello(ask) if mood == 1 => ask.refuse(refusal(random)),
        Ask::Mail(ask) if mood == 1 => ask.refuse(refusal(random)),
        Ask::Recipient(ask) if mood < 3 => ask.refuse(refusal(random)),
        Ask::Data(ask) if mood == 1 => ask.refuse(refusal(random)),
        Ask::Message(ask) if mood < 4 => ask.refuse(refusal(random)),
        Ask::Commit(ask) if mood < 4 => ask.failed(refusal(random)),
        Ask::Mail(ask) if mood == 5 => ask.discard(),
        Ask::Recipient(ask) if mood == 5 => ask.discard(),
        Ask::Data(ask) if mood == 5 => ask.discard(),
        Ask::Message(ask) if mood == 5 => ask.discard(),
        ask => accept(ask),
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
