//! The conversations in `tests/conversations/core`, played against the machine: as written, one octet at a time, and all at
//! once. The same files are played against the binary.
//!
//! `C: text` is sent with CRLF, `C| text` as it stands; `S: text` is the next line of reply, `*` in it any run of characters;
//! `S! close` is the end of the connection; `T!` is where TLS begins; `@ key value` sets up the run; `#` is a comment. `\r \n \t \0 \\ \xHH` are escapes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use pillarbox_smtp::{Keywords, Limits, Protocol, Settings, StrayNewlines, Tls};
use support::{Session, State, accept};

#[derive(Debug)]
enum Line {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    ExpectClose,
    StartTls,
}

#[test]
fn conversations_go_as_written() {
    for (path, settings, lines) in conversations() {
        play(&path, &settings, &lines, usize::MAX);
    }
}

#[test]
fn conversations_go_the_same_one_octet_at_a_time() {
    for (path, settings, lines) in conversations() {
        // What these are about is one segment: octet by octet, the rest would come when it was their turn.
        let is_about_segments = path.file_name().unwrap().to_string_lossy().starts_with("starttls-injection-")
            || settings.refuse_unauthorized_pipelining;
        if is_about_segments {
            continue;
        }
        play(&path, &settings, &lines, 1);
    }
}

/// Everything the client has to say in one segment, up to the beginning of TLS, as the worst of pipelining clients would send
/// it: the replies are the same, octet for octet. Where unauthorized pipelining is refused it matters what waits behind a
/// command.
#[test]
fn conversations_go_the_same_in_one_segment() {
    for (path, settings, lines) in conversations() {
        if settings.refuse_unauthorized_pipelining {
            continue;
        }
        let mut piecewise = Session::new(settings.clone(), &mut accept);
        let mut at_once = Session::new(settings, &mut accept);
        for lines in lines.split(|line| matches!(line, Line::StartTls)) {
            for session in [&mut piecewise, &mut at_once] {
                if session.state == State::Handshake {
                    session.server.secured();
                    session.run(&mut accept);
                }
            }
            let mut all = Vec::new();
            for line in lines {
                if let Line::Send(octets) = line {
                    piecewise.send(octets, &mut accept);
                    all.extend_from_slice(octets);
                }
            }
            at_once.send(&all, &mut accept);
        }
        assert_eq!(at_once.lines(), piecewise.lines(), "{}", path.display());
        assert_eq!(at_once.messages, piecewise.messages, "{}", path.display());
    }
}

/// A file whose rule nobody can find, or that proves nothing, is a mistake.
#[test]
fn conversations_say_what_they_prove() {
    let all = conversations();
    assert!(all.len() >= 40, "only {} conversations found", all.len());
    for (path, _, lines) in all {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}: the first line is not the rule", path.display());
        assert!(lines.iter().any(|line| matches!(line, Line::Expect(_))), "{}: expects nothing", path.display());
    }
}

fn play(path: &Path, settings: &Settings, lines: &[Line], piece: usize) {
    let path = path.file_name().unwrap().to_string_lossy();
    let mut session = Session::new(settings.clone(), &mut accept);
    let mut replies = session.lines().into_iter();
    for line in lines {
        match line {
            Line::Send(octets) => {
                for piece in octets.chunks(piece) {
                    session.send(piece, &mut accept);
                }
            }
            Line::Expect(expected) => {
                let reply = match replies.next() {
                    Some(reply) => reply,
                    None => {
                        replies = session.lines().into_iter();
                        replies.next().unwrap_or_else(|| panic!("{path}: no reply, expected {}", text(expected)))
                    }
                };
                assert!(matches(expected, reply.as_bytes()), "{path}: expected {}\n got {reply}", text(expected));
            }
            Line::ExpectClose => assert_eq!(session.state, State::Closed, "{path}"),
            Line::StartTls => {
                assert_eq!(session.state, State::Handshake, "{path}");
                session.server.secured();
                session.run(&mut accept);
            }
        }
    }
    let left: Vec<String> = replies.chain(session.lines()).collect();
    assert!(left.is_empty(), "{path}: more replies than expected: {left:?}");
}

fn conversations() -> Vec<(PathBuf, Settings, Vec<Line>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conversations/core");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> (PathBuf, Settings, Vec<Line>) {
    let mut settings = Settings::new("mx.example.test");
    let mut lines = Vec::new();
    for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
        let wrong = || -> ! { panic!("{}:{}: not a line of a conversation: {line}", path.display(), number + 1) };
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "# " | "#" | "" => {}
            "C:" => lines.push(Line::Send([unescape(rest).as_slice(), b"\r\n"].concat())),
            "C|" => lines.push(Line::Send(unescape(rest))),
            "S:" => lines.push(Line::Expect(unescape(rest))),
            "S!" if rest == "close" => lines.push(Line::ExpectClose),
            "T!" if rest.is_empty() => lines.push(Line::StartTls),
            "@ " if set_up(&mut settings, rest).is_none() => wrong(),
            "@ " => {}
            _ => wrong(),
        }
    }
    (path, settings, lines)
}

/// What an `@` line asks for.
fn set_up(settings: &mut Settings, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["limit", name, value] => limit(&mut settings.limits, name, value.parse().ok()?)?,
        ["keyword", "deliverby", "on"] => settings.keywords.deliver_by = Some(0),
        ["keyword", "deliverby", least] => settings.keywords.deliver_by = Some(least.parse().ok()?),
        ["keyword", "futurerelease", most] => settings.keywords.future_release = Some(most.parse().ok()?),
        ["keyword", name, "on"] => *keyword(&mut settings.keywords, name)? = true,
        ["keyword", name, "off"] => *keyword(&mut settings.keywords, name)? = false,
        ["protocol", "lmtp"] => settings.protocol = Protocol::Lmtp,
        ["stray-newlines", "normalize"] => settings.stray_newlines = StrayNewlines::Normalize,
        ["refuse", "unauthorized-pipelining"] => settings.refuse_unauthorized_pipelining = true,
        ["tls", "off"] => settings.tls = Tls::Off,
        ["tls", "offered"] => settings.tls = Tls::Offered,
        ["tls", "required"] => settings.tls = Tls::Required,
        _ => return None,
    }
    Some(())
}

fn limit(limits: &mut Limits, name: &str, value: u64) -> Option<()> {
    match name {
        "command-line" => limits.command_line = value.try_into().ok()?,
        "message-size" => limits.message_size = value,
        "recipients" => limits.recipients = value.try_into().ok()?,
        "session-recipients" => limits.session_recipients = value,
        "messages" => limits.messages = value,
        "commands" => limits.commands = value,
        "errors" => limits.errors = value.try_into().ok()?,
        "tarpit-after" => limits.tarpit_after = value.try_into().ok()?,
        "junk-commands" => limits.junk_commands = value.try_into().ok()?,
        "header-size" => limits.header_size = value,
        "header-lines" => limits.header_lines = value,
        "hops" => limits.hops = value.try_into().ok()?,
        _ => return None,
    }
    Some(())
}

fn keyword<'a>(keywords: &'a mut Keywords, name: &str) -> Option<&'a mut bool> {
    Some(match name {
        "pipelining" => &mut keywords.pipelining,
        "size" => &mut keywords.size,
        "8bitmime" => &mut keywords.eight_bit_mime,
        "enhancedstatuscodes" => &mut keywords.enhanced_status_codes,
        "smtputf8" => &mut keywords.smtputf8,
        "chunking" => &mut keywords.chunking,
        "binarymime" => &mut keywords.binarymime,
        "dsn" => &mut keywords.dsn,
        "limits" => &mut keywords.limits,
        "help" => &mut keywords.help,
        "vrfy" => &mut keywords.vrfy,
        "mt-priority" => &mut keywords.mt_priority,
        "requiretls" => &mut keywords.require_tls,
        _ => return None,
    })
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'\\' => match rest.next().expect("an escape") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no escape: \\{}", char::from(other)),
            },
            octet => octet,
        });
    }
    octets
}

/// Whether `text` is what `pattern` says; a `*` stands for any run.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some((octet, rest)) => text.first() == Some(octet) && matches(rest, &text[1..]),
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
