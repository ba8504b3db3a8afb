//! What a client sends as it should arrives octet for octet, in whatever segments; lone CR and LF are refused, or each becomes
//! a CRLF, and neither lets a message end.
//!
//! The first octet of an input chooses what becomes of those, the second how segments are cut; the rest is the content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::content::{expected, unlimited};
use pillarbox_fuzz::support::{Session, accept};
use pillarbox_fuzz::{Cut, segments};
use pillarbox_smtp::{Settings, StrayNewlines};

fuzz_target!(|input: &[u8]| {
    let [choice, cut, content @ ..] = input else { return };
    let mut content = content.to_vec();
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    let mut settings = Settings::new("mx.example.test");
    settings.limits = unlimited(settings.limits);
    settings.stray_newlines = if choice & 1 == 0 { StrayNewlines::Refuse } else { StrayNewlines::Normalize };
    let normalizes = settings.stray_newlines == StrayNewlines::Normalize;

    let mut session = Session::new(settings, &mut accept);
    session.send(b"EHLO there\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n", &mut accept);
    let sent = stuffed(&content);
    for segment in segments(&sent, if *cut == 0 { Cut::Lines } else { Cut::Every((*cut).into()) }) {
        session.send(segment, &mut accept);
    }
    session.send(b"NOOP\r\n", &mut accept);
    let lines = session.lines();
    let code = |back: usize| lines.iter().rev().nth(back).and_then(|line| line.get(..3)).unwrap_or_default();
    assert_eq!(code(0), "250", "{lines:?}: NOOP is a command");
    match expected(&content, normalizes) {
        Some(expected) => {
            assert_eq!(code(1), "250", "{lines:?}");
            assert_eq!(session.messages, [expected]);
        }
        None => {
            assert_eq!(code(1), "550", "{lines:?}");
            assert_eq!(session.messages, [b""; 0]);
        }
    }
});

/// As a client sends it: RFC 5321 section 4.5.2.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    for line in segments(content, Cut::Lines) {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
    }
    sent.extend_from_slice(b".\r\n");
    sent
}
