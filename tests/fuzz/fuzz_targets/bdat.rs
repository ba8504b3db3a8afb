//! What a client sends in chunks arrives octet for octet, however it is cut into chunks and these into segments; an edge
//! inside a CRLF is none inside the content; a message that is refused leaves nothing of its chunks behind to be read as
//! commands.
//!
//! The first octet of an input says what the content is and how it ends, the second how segments are cut, the third how long
//! chunks are; the rest is the content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::content::{expected, unlimited};
use pillarbox_fuzz::support::{Session, accept, count_replies};
use pillarbox_fuzz::{Cut, segments};
use pillarbox_smtp::{Settings, StrayNewlines};

fuzz_target!(|input: &[u8]| {
    let [choice, cut, length, content @ ..] = input else { return };
    let is_binary = choice & 2 != 0;
    let normalizes = choice & 1 != 0;
    let mut settings = Settings::new("mx.example.test");
    settings.limits = unlimited(settings.limits);
    settings.stray_newlines = if normalizes { StrayNewlines::Normalize } else { StrayNewlines::Refuse };

    let mut sent = Vec::new();
    let mut chunks = 0;
    let mut chunk = |octets: &[u8], last: &str| {
        sent.extend_from_slice(format!("BDAT {}{last}\r\n", octets.len()).as_bytes());
        sent.extend_from_slice(octets);
        chunks += 1;
    };
    let length = if *length == 0 { content.len().max(1) } else { (*length).into() };
    let mut rest = content;
    while let Some((octets, behind)) = rest.split_at_checked(length) {
        chunk(octets, "");
        rest = behind;
    }
    // What is left may be nothing, which may be said by itself, too.
    match choice & 4 {
        0 => chunk(rest, " LAST"),
        _ => {
            chunk(rest, "");
            chunk(b"", " LAST");
        }
    }

    let mut session = Session::new(settings, &mut accept);
    let body = if is_binary { "BINARYMIME" } else { "8BITMIME" };
    let begin = format!("EHLO there\r\nMAIL FROM:<a@example.test> BODY={body}\r\nRCPT TO:<b@example.test>\r\n");
    session.send(begin.as_bytes(), &mut accept);
    assert_eq!(count_replies(&session.lines()), 4);
    for segment in segments(&sent, if *cut == 0 { Cut::Lines } else { Cut::Every((*cut).into()) }) {
        session.send(segment, &mut accept);
    }
    session.send(b"NOOP\r\n", &mut accept);

    let lines = session.lines();
    assert_eq!(count_replies(&lines), chunks + 1, "{lines:?}");
    let code = |back: usize| lines.iter().rev().nth(back).and_then(|line| line.get(..3)).unwrap_or_default();
    assert_eq!(code(0), "250", "{lines:?}: NOOP is a command");
    match if is_binary { Some(content.to_vec()) } else { expected(content, normalizes) } {
        Some(expected) => {
            assert!(lines.iter().all(|line| line.starts_with("250 ")), "{lines:?}");
            assert_eq!(session.messages, [expected]);
        }
        None => {
            assert!(code(1).starts_with('5'), "{lines:?}");
            assert_eq!(session.messages, [b""; 0]);
        }
    }
});
