//! Where a message ends, whatever is tried (RFC 5321 section 4.1.1.4): every end mark that some server somewhere has fallen for,
//! followed by a second transaction that must never be seen as one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Settings, StrayNewlines};
use support::{Session, accept};

/// What follows the mark: a whole transaction, if anybody takes it for one.
const TAIL: &str = "MAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nsecond\r\n.\r\n";

/// What a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// No end: all that follows is content, and sound.
    Content,
    /// No end, and the message holds a lone CR or LF.
    Stray,
    /// The end of a sound message.
    End,
    /// The end of a message that holds a lone CR or LF.
    StrayThenEnd,
}
use Mark::{Content, End, Stray, StrayThenEnd};

/// Marks behind text, and what `normalize` makes of them up to the tail, where it takes the message.
const MARKS: &[(&str, Mark, &str)] = &[
    ("\r\n.\r\n", End, "\r\n"),
    ("\n.\n", Stray, "\r\n.\r\n"),
    ("\n.\r\n", Stray, "\r\n.\r\n"),
    ("\r\n.\n", Stray, "\r\n\r\n"),
    ("\n\n.\r\n", Stray, "\r\n\r\n.\r\n"),
    ("\n.\n\r\n", Stray, "\r\n.\r\n\r\n"),
    ("\n.\r\r\n", Stray, "\r\n.\r\n\r\n"),
    ("\r\n.\r\r\n", Stray, "\r\n\r\n\r\n"),
    ("\r\r\n.\r\r\n", Stray, "\r\n\r\n\r\n\r\n"),
    ("\r\0\n.\r\n", Stray, "\r\n\0\r\n.\r\n"),
    ("\r.\r", Stray, "\r\n.\r\n"),
    ("\r.\r\n", Stray, "\r\n.\r\n"),
    ("\r\n.\r", Stray, "\r\n\r\n"),
    ("\r.\n", Stray, "\r\n.\r\n"),
    ("\n.\r", Stray, "\r\n.\r\n"),
    ("\r\n.\r\0\n", Stray, "\r\n\r\n\0\r\n"),
    ("\r\n\r.\r\n", Stray, "\r\n\r\n.\r\n"),
    ("\r\n\n.\r\n", Stray, "\r\n\r\n.\r\n"),
    ("\r\n\0.\r\n", Content, "\r\n\0.\r\n"),
    ("\r\n.\0\r\n", Content, "\r\n\0\r\n"),
    ("\r\n.\0junk\r\n", Content, "\r\n\0junk\r\n"),
    ("\r\n. \r\n", Content, "\r\n \r\n"),
    ("\r\n.\t\r\n", Content, "\r\n\t\r\n"),
    ("\r\n .\r\n", Content, "\r\n .\r\n"),
    ("\r\n..\r\n", Content, "\r\n.\r\n"),
    ("\u{85}.\u{85}", Content, "\u{85}.\u{85}"),
    ("\u{2028}.\u{2028}", Content, "\u{2028}.\u{2028}"),
    ("\u{b}.\u{b}", Content, "\u{b}.\u{b}"),
    ("\u{c}.\u{c}", Content, "\u{c}.\u{c}"),
    ("\r\r\n.\r\n", StrayThenEnd, "\r\n\r\n"),
    ("\n\r\n.\r\n", StrayThenEnd, "\r\n\r\n"),
    ("\r\n.\r\r\n\r\n.\r\n", StrayThenEnd, "\r\n\r\n\r\n\r\n"),
];

/// Marks right behind 354, where the CRLF of DATA counts.
const FIRST: &[(&str, Mark, &str)] = &[
    (".\r\n", End, ""),
    ("\r\n.\r\n", End, "\r\n"),
    (".\n", Stray, "\r\n"),
    (".\r", Stray, "\r\n"),
    (".\r\r\n", Stray, "\r\n\r\n"),
    ("\n.\r\n", Stray, "\r\n.\r\n"),
    ("\r.\r\n", Stray, "\r\n.\r\n"),
    ("\r\n.\n", Stray, "\r\n\r\n"),
    ("..\r\n", Content, ".\r\n"),
    (".\0\r\n", Content, "\0\r\n"),
    ("\0.\r\n", Content, "\0.\r\n"),
];

#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message() {
    for stray_newlines in [StrayNewlines::Refuse, StrayNewlines::Normalize] {
        for (before, marks) in [("text", MARKS), ("", FIRST)] {
            for &(mark, kind, normalized) in marks {
                let sent = format!("{before}{mark}{TAIL}");
                assert_eq!(
                    ends_at(sent.as_bytes()).is_some_and(|at| at <= before.len() + mark.len()),
                    kind.ends(),
                    "{mark:?}"
                );
                for cut in 0..=sent.len() {
                    let (first, second) = sent.as_bytes().split_at(cut);
                    check(&[first, second], kind, stray_newlines, before, normalized, mark);
                }
                let octets: Vec<&[u8]> = sent.as_bytes().chunks(1).collect();
                check(&octets, kind, stray_newlines, before, normalized, mark);
            }
        }
    }
}

impl Mark {
    fn ends(self) -> bool {
        matches!(self, End | StrayThenEnd)
    }

    fn is_stray(self) -> bool {
        matches!(self, Stray | StrayThenEnd)
    }
}

/// Plays one message, cut into `segments`; a message that the mark does not end is ended by the tail's own end mark.
fn check(segments: &[&[u8]], kind: Mark, stray_newlines: StrayNewlines, before: &str, normalized: &str, mark: &str) {
    let mut settings = Settings::new("mx.example.test");
    settings.stray_newlines = stray_newlines;
    let mut session = Session::new(settings, &mut accept);
    let preamble = "HELO there\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n";
    session.send(preamble.as_bytes(), &mut accept);
    session.lines();
    for segment in segments {
        session.send(segment, &mut accept);
    }
    let replies = session.lines();
    let refused = kind.is_stray() && stray_newlines == StrayNewlines::Refuse;
    // Where no field can begin any more, it is the body.
    let in_header = before.is_empty() && !mark.starts_with("\r\n");
    let first = match (refused, in_header) {
        (true, true) => "550 5.6.0 lone CR or LF in headers",
        (true, false) => "550 5.6.0 lone CR or LF in body",
        (false, _) => "250 2.0.0 OK TESTID",
    };
    let mut expected = vec![first];
    let mut messages = Vec::new();
    if !refused {
        let rest = if kind.ends() { "" } else { TAIL.strip_suffix(".\r\n").unwrap() };
        messages.push(format!("{before}{normalized}{rest}").into_bytes());
    }
    if kind.ends() {
        // Behind a true end the tail is what it looks like.
        expected.extend(["250 2.1.0 MAIL FROM accepted", "250 2.1.5 RCPT TO accepted"]);
        expected.extend(["354 End data with <CR><LF>.<CR><LF>", "250 2.0.0 OK TESTID"]);
        messages.push(b"second\r\n".to_vec());
    }
    assert_eq!(replies, expected, "{mark:?} {stray_newlines:?} {}", segments.len());
    assert_eq!(session.messages, messages, "{mark:?} {stray_newlines:?} {}", segments.len());
}

/// Every mark behind and before others' company, with what an attacker would have follow it, cut in its every place. What the
/// one message is, and what is a command, an independent reading says.
#[test]
fn marks_in_every_company_end_nothing_they_should_not() {
    let prefixes = ["", "text", "line\r\n", "Subject: x\r\n\r\ntext", "..", "\r\n"];
    let suffixes = ["", "\r\n", " ", "\0", "."];
    let tails = [
        TAIL,
        "MAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\nBDAT 8 LAST\r\nsecond\r\n.\r\n",
        "BDAT 8 LAST\r\nsecond\r\nQUIT\r\n.\r\n",
        "\r\n.\r\nRSET\r\n",
    ];
    let mut played = 0;
    for (mark, ..) in MARKS.iter().chain(FIRST) {
        for prefix in prefixes {
            for suffix in suffixes {
                for tail in tails {
                    let sent = format!("{prefix}{mark}{suffix}{tail}");
                    let around = prefix.len()..=(prefix.len() + mark.len() + suffix.len());
                    let at = ends_at(sent.as_bytes()).expect("the tail ends it");
                    for cut in around.clone() {
                        let (first, second) = sent.as_bytes().split_at(cut);
                        one_message(&[first, second], at);
                        played += 1;
                    }
                    one_message(&sent.as_bytes().chunks(1).collect::<Vec<_>>(), at);
                }
            }
        }
    }
    assert!(played > 3000, "{played}");
}

/// Plays content that ends `at` there: one message is read, and one answered; what follows are commands.
fn one_message(segments: &[&[u8]], at: usize) {
    let sent = segments.concat();
    let (content, commands) = sent.split_at(at);
    for stray_newlines in [StrayNewlines::Refuse, StrayNewlines::Normalize] {
        let mut settings = Settings::new("mx.example.test");
        settings.stray_newlines = stray_newlines;
        let begun = b"HELO there\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n";
        let mut session = Session::new(settings.clone(), &mut accept);
        session.send(begun, &mut accept);
        session.lines();
        for segment in segments {
            session.send(segment, &mut accept);
        }
        // The same commands without anything in front of them.
        let mut other = Session::new(settings, &mut accept);
        other.send(b"HELO there\r\n", &mut accept);
        other.lines();
        other.send(commands, &mut accept);
        let (is_sound, normalized) = read(content);
        let refused = !is_sound && stray_newlines == StrayNewlines::Refuse;
        let mut replies = session.lines();
        let first = replies.remove(0);
        assert_eq!(first.starts_with("550 5.6.0 "), refused, "{}: {first}", sent.escape_ascii());
        assert_eq!(first.starts_with("250 "), !refused, "{}: {first}", sent.escape_ascii());
        assert_eq!(replies, other.lines(), "{}", sent.escape_ascii());
        let kept: Vec<Vec<u8>> = (!refused).then_some(normalized).into_iter().chain(other.messages).collect();
        assert_eq!(session.messages, kept, "{}", sent.escape_ascii());
    }
}

/// An independent reading of content up to its end mark: whether every CR and LF in it is half of a CRLF, and what it is when
/// each that is not becomes one.
fn read(content: &[u8]) -> (bool, Vec<u8>) {
    let text: Vec<char> = content.iter().copied().map(char::from).collect();
    let text: String = text.into_iter().collect();
    let text = text.strip_suffix(".\r\n").expect("the mark");
    let lines: Vec<&str> = text.split("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
    let is_sound = !lines.iter().any(|line| line.contains(['\r', '\n']));
    let whole = lines.iter().map(|line| line.replace(['\r', '\n'], "\r\n")).collect::<Vec<_>>().join("\r\n");
    (is_sound, whole.chars().map(|c| u8::try_from(u32::from(c)).expect("an octet")).collect())
}

/// An independent reading of the rule: where the first CRLF.CRLF ends, the CRLF of DATA in front.
fn ends_at(content: &[u8]) -> Option<usize> {
    let all = [b"\r\n", content].concat();
    all.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3)
}

/// What a stray becomes may fill a chunk, and then nothing of what follows is lost.
#[test]
fn a_stray_at_the_edge_of_a_chunk_loses_nothing() {
    let mut settings = Settings::new("mx.example.test");
    settings.stray_newlines = StrayNewlines::Normalize;
    for length in 65_526..=65_540 {
        let content = [b"x: ".as_slice(), &vec![b'y'; length - 3], b"\r\rz\r\n.\r\n"].concat();
        let expected = [b"x: ".as_slice(), &vec![b'y'; length - 3], b"\r\n\r\nz\r\n"].concat();
        for piece in [1, content.len()] {
            let mut session = Session::new(settings.clone(), &mut accept);
            session.send(b"HELO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n", &mut accept);
            content.chunks(piece).for_each(|piece| session.send(piece, &mut accept));
            assert_eq!(session.messages.len(), 1, "{length} by {piece}");
            assert!(session.messages[0] == expected, "{length} by {piece}");
        }
    }
}
