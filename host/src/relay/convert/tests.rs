//! Messages in, messages out, and what a reader makes of both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::Read;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::rewrite::Rewritten;
use super::survey::{Target, survey};
use super::{Keywords, address, original, plan};
use crate::spool::{Envelope, MessageId, Spool, Stored, sample};

/// What is sent to a hop that takes this, or why nothing can be.
fn convert(message: &[u8], target: Target) -> Result<Vec<u8>, &'static str> {
    let seen = survey(message, target).unwrap();
    if let Some(obstacle) = seen.obstacle {
        return Err(obstacle);
    }
    let mut whole = Vec::new();
    Rewritten::new(message, seen.changes.into(), target).read_to_end(&mut whole).unwrap();
    Ok(whole)
}

/// Hands out so many octets at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len()).min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

const MIXED: &str = "\
Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"b 1\"
Content-Transfer-Encoding: 8bit

pre\u{e4}mble
--b 1
Content-Type: text/plain; charset=utf-8
content-transfer-encoding: 8bit
X-Kept: yes

gr\u{fc}n=1 \n
--b 1
Content-Type: image/x; name=x
Content-Transfer-Encoding:
 8bit

\u{fc}
--b 1 \t
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: within
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b2

--b2

\u{e4}
--b2
Content-Transfer-Encoding: 8bit

ascii
--b2--
--b 1
Content-Transfer-Encoding: base64

/w==
--b 1--
ep\u{ef}logue
";

const MIXED_SEVEN: &str = "\
Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"b 1\"
Content-Transfer-Encoding: 7bit

pre??mble
--b 1
Content-Type: text/plain; charset=utf-8
X-Kept: yes
Content-Transfer-Encoding: quoted-printable

gr=C3=BCn=3D1=20

--b 1
Content-Type: image/x; name=x
Content-Transfer-Encoding: base64

w7w=
--b 1 \t
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit

Subject: within
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Transfer-Encoding: quoted-printable

=C3=A4
--b2
Content-Transfer-Encoding: 7bit

ascii
--b2--
--b 1
Content-Transfer-Encoding: base64

/w==
--b 1--
ep??logue
";

#[test]
fn messages_become_seven_bit() {
    let typed = "MIME-Version: 1.0\nContent-Type: application/x\n\n";
    for (message, expected) in [
        ("Subject: x\n\nascii\n", "Subject: x\n\nascii\n".to_owned()),
        // RFC 1428 section 3.
        (
            "Subject: x\n\n\u{fc}\n",
            "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: \
             quoted-printable\n\n=C3=BC\n"
                .to_owned(),
        ),
        (
            "Content-Type: text/html; charset=utf-8\n\n\u{fc}\n",
            "Content-Type: text/html; charset=utf-8\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"
                .to_owned(),
        ),
        (
            &format!("{typed}\u{fc}\n"),
            "MIME-Version: 1.0\nContent-Type: application/x\nContent-Transfer-Encoding: base64\n\nw7wNCg==\n".to_owned(),
        ),
        // No body, and no end of the header.
        ("MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n", "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n".to_owned()),
        (MIXED, MIXED_SEVEN.to_owned()),
        // What is signed and needs nothing done is left as it is, to its labels.
        (
            "Content-Type: multipart/signed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n--b\nContent-Transfer-Encoding: \
             8bit\n\nx\n--b--\n",
            "Content-Type: multipart/signed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n--b\n\
             Content-Transfer-Encoding: 8bit\n\nx\n--b--\n"
                .to_owned(),
        ),
        // A part of a digest without a type is a message.
        (
            "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\n\n\u{fc}\n--b--\n",
            "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\nMIME-Version: 1.0\nContent-Type: text/plain; \
             charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--b--\n"
                .to_owned(),
        ),
        // The end of what is around ends what is within (RFC 2046 section 5.1.2).
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\u{fc}\n--a--\n",
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
             Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--a--\n"
                .to_owned(),
        ),
    ] {
        let converted = convert(&crlf(message), Target::Seven).unwrap();
        assert_eq!(String::from_utf8(converted).unwrap(), expected.replace('\n', "\r\n"), "{message}");
    }
}

#[test]
fn what_must_not_be_changed_is_not_sent() {
    let eight = "\n\n\u{fc}\n";
    for (message, obstacle) in [
        ("Subject: \u{fc}\n\nx\n".to_owned(), "its header is not ASCII"),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: \u{fc}\n\n--b--\n".to_owned(),
            "its header is not ASCII",
        ),
        (
            format!("Content-Type: multipart/signed; boundary=b\n\n--b{eight}--b--\n"),
            "a part that is signed or encrypted would be broken",
        ),
        (
            format!(
                "Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x{eight}"
            ),
            "a part that is signed or encrypted would be broken",
        ),
        (
            "Content-Type: multipart/signed; boundary=b\n\n\u{fc}\n--b--\n".to_owned(),
            "a part that is signed or encrypted would be broken",
        ),
        (format!("Content-Type: message/partial; id=x; number=1{eight}"), "a part of it may not be encoded"),
        (format!("Content-Type: multipart/mixed{eight}"), "a part of it may not be encoded"),
        (format!("Content-Transfer-Encoding: base64{eight}"), "a part of it is not what its encoding says"),
    ] {
        assert_eq!(convert(&crlf(&message), Target::Seven).map(drop), Err(obstacle), "{message}");
        // All of that is nothing to a hop that takes it.
        assert_eq!(convert(&crlf(&message), Target::Eight).unwrap(), crlf(&message), "{message}");
    }
}

#[test]
fn binary_bodies_become_lines() {
    let head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\n";
    let part = "Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let text = "Content-Transfer-Encoding: binary\r\n\r\n";
    let message = format!("{head}{part}\0\n\r\n\r\n--b\r\n{part}\u{fc}\r\n--b\r\n{text}a\nb \r\n\r\n--b--\r\n");
    let label = |label: &str| format!("Content-Transfer-Encoding: {label}\r\n\r\n");
    let head = |name: &str| head.replace("Encoding: binary", &format!("Encoding: {name}"));
    let kind = "Content-Type: application/x\r\n";
    let eight = format!(
        "{}{kind}{}AAoNCg==\r\n--b\r\n{kind}{}\u{fc}\r\n--b\r\n{}a=0Ab=20\r\n\r\n--b--\r\n",
        head("8bit"),
        label("base64"),
        label("8bit"),
        label("quoted-printable")
    );
    assert_eq!(String::from_utf8(convert(message.as_bytes(), Target::Eight).unwrap()).unwrap(), eight);
    let seven = eight.replace("8bit\r\n\r\n\u{fc}", "base64\r\n\r\nw7w=").replace("Encoding: 8bit", "Encoding: 7bit");
    assert_eq!(String::from_utf8(convert(message.as_bytes(), Target::Seven).unwrap()).unwrap(), seven);
    // A body that does not end with a line end stays one.
    for (message, expected) in [
        (
            "\r\nx",
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nx=\r\n",
        ),
        (
            "MIME-Version: 1\r\nContent-Type: a/b\r\n\r\nx",
            "MIME-Version: 1\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n",
        ),
    ] {
        assert_eq!(String::from_utf8(convert(message.as_bytes(), Target::Eight).unwrap()).unwrap(), expected);
    }
}

#[test]
fn it_is_the_same_however_it_is_read() {
    let message = crlf(MIXED);
    let seen = survey(&*message, Target::Seven).unwrap();
    let whole = convert(&message, Target::Seven).unwrap();
    let changes: Arc<[_]> = seen.changes.into();
    for piece in 1..=message.len() {
        let again = survey(Dribble(&message, piece), Target::Seven).unwrap();
        assert_eq!((&*again.changes, again.obstacle), (&*changes, None), "{piece}");
        let mut read = Rewritten::new(Dribble(&message, piece), changes.clone(), Target::Seven);
        let mut converted = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            let length = read.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            converted.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(converted, whole, "{piece}");
    }
}

/// A generator of its own, so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn body(&mut self, binary: bool) -> Vec<u8> {
        let length = match self.roll(6) {
            0 => 0,
            1 => self.roll(3000),
            _ => self.roll(120),
        };
        let mut body = Vec::new();
        for _ in 0..length {
            match self.roll(12) {
                0 => body.extend_from_slice(b"\r\n"),
                1 => body.push(b' '),
                2 => body.extend_from_slice("\u{fc}".as_bytes()),
                3 => body.extend_from_slice(b"--b"),
                4 if binary => body.push([0, b'\r', b'\n', 0xff, b'=', b'\t'][self.roll(6) as usize]),
                _ => body.push(b'!' + self.roll(90) as u8),
            }
        }
        body
    }

    /// An entity, and the bodies in it.
    fn entity(&mut self, depth: u64, binary: bool, message: bool, bodies: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let mut entity = if message { b"MIME-Version: 1.0\r\n".to_vec() } else { Vec::new() };
        let label = |entity: &mut Vec<u8>| {
            let label: &[u8] = if binary { b"binary" } else { b"8bit" };
            entity.extend_from_slice(&[b"Content-Transfer-Encoding: ", label, b"\r\n"].concat());
        };
        match if depth == 0 { 2 } else { self.roll(4) } {
            0 => {
                let boundary = format!("b{}{}", depth, self.roll(1000));
                entity.extend_from_slice(format!("Content-Type: multipart/mixed; boundary={boundary}\r\n").as_bytes());
                label(&mut entity);
                for _ in 0..1 + self.roll(3) {
                    entity.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
                    entity.extend_from_slice(&self.entity(depth - 1, binary, false, bodies));
                }
                entity.extend_from_slice(format!("\r\n--{boundary}--").as_bytes());
            }
            1 => {
                entity.extend_from_slice(b"Content-Type: message/rfc822\r\n");
                label(&mut entity);
                entity.extend_from_slice(b"\r\n");
                entity.extend_from_slice(&self.entity(depth - 1, binary, true, bodies));
            }
            kind => {
                let kind = if kind == 2 { "text/plain" } else { "application/x" };
                entity.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
                if self.roll(2) == 0 {
                    label(&mut entity);
                }
                let body = self.body(binary);
                entity.extend_from_slice(b"\r\n");
                entity.extend_from_slice(&body);
                bodies.push(body);
            }
        }
        entity
    }
}

/// The bodies that a reader finds, decoded. It knows the form of what [`Dice`] makes, and nothing of the converter.
fn bodies(entity: &[u8], found: &mut Vec<Vec<u8>>) {
    let at = memchr::memmem::find(entity, b"\r\n\r\n").unwrap();
    let (head, body) = (String::from_utf8(entity[..at].to_vec()).unwrap(), &entity[at + 4..]);
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kind = field("Content-Type: ");
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        // The header's empty line may be the one before the first boundary.
        let body = &entity[at + 2..];
        let delimiter = format!("\r\n--{boundary}");
        let places: Vec<_> = memchr::memmem::find_iter(body, &delimiter)
            .filter(|at| {
                matches!(&body[at + delimiter.len()..][..2.min(body.len() - at - delimiter.len())], b"\r\n" | b"--")
            })
            .collect();
        for pair in places.windows(2) {
            bodies(&body[pair[0] + delimiter.len() + 2..pair[1]], found);
        }
    } else if kind == "message/rfc822" {
        bodies(body, found);
    } else {
        found.push(match field("Content-Transfer-Encoding: ") {
            "quoted-printable" => unquoted(body),
            "base64" => {
                STANDARD.decode(body.iter().copied().filter(|o| !o.is_ascii_whitespace()).collect::<Vec<_>>()).unwrap()
            }
            _ => body.to_vec(),
        });
    }
}

fn unquoted(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = body;
    while let Some((octet, behind)) = rest.split_first() {
        rest = behind;
        if *octet != b'=' {
            decoded.push(*octet);
            continue;
        }
        let code = std::str::from_utf8(&rest[..2]).unwrap();
        if code != "\r\n" {
            decoded.push(u8::from_str_radix(code, 16).unwrap());
        }
        rest = &rest[2..];
    }
    decoded
}

#[test]
fn a_reader_finds_the_octets_that_were_sent() {
    for seed in 1..=1000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let binary = seed % 2 == 0;
        let mut sent = Vec::new();
        let message = dice.entity(5, binary, true, &mut sent);
        for target in [Target::Seven, Target::Eight] {
            let converted = convert(&message, target).unwrap();
            let mut found = Vec::new();
            bodies(&converted, &mut found);
            // What was no line at the message's end has become one where nothing had to be encoded.
            assert_eq!(found.len(), sent.len(), "seed {seed} {target:?}");
            assert_eq!(found, sent, "seed {seed} {target:?}\n{}", String::from_utf8_lossy(&converted));
            if binary || target == Target::Seven {
                assert!(target == Target::Eight || converted.is_ascii(), "seed {seed}");
                assert!(!converted.contains(&0), "seed {seed}");
                let lines = String::from_utf8_lossy(&converted).replace("\r\n", "|");
                assert!(!lines.contains(['\r', '\n']), "seed {seed}");
            }
        }
    }
}

#[test]
fn encoded_lines_are_no_boundary_and_no_longer_than_they_may_be() {
    // The soft break falls before what would read as the boundary, wherever it falls.
    for before in 0..160 {
        let line = format!("{}--b\r\n", "y".repeat(before));
        let content = format!("\u{fc}{line}\u{fc}x{line}{}--b\u{fc}", "x".repeat(before));
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{content}\r\n--b--\r\n");
        let converted = String::from_utf8(convert(message.as_bytes(), Target::Seven).unwrap()).unwrap();
        assert_eq!(converted.lines().filter(|line| matches!(*line, "--b" | "--b--")).count(), 2, "{converted}");
        assert!(converted.lines().all(|line| line.len() <= 76), "{converted}");
    }
}

#[test]
fn hostile_structures_cost_little() {
    let mut nested = String::new();
    for level in 0..10_000 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    assert!(convert(nested.as_bytes(), Target::Seven).is_ok());
    nested.push_str("\r\n\u{fc}\r\n");
    assert_eq!(convert(nested.as_bytes(), Target::Seven), Err("a part of it may not be encoded"));

    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert_eq!(convert(messages.as_bytes(), Target::Seven).unwrap(), messages.as_bytes());

    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b\r\n\r\n\u{fc}\r\n",
        "--b\r\n\r\n".repeat(100_000)
    );
    assert_eq!(convert(parts.as_bytes(), Target::Seven), Err("it has too many parts"));

    let endless = format!("Content-Type: multipart/mixed;\r\n{}", " x=y;\r\n".repeat(100_000));
    assert_eq!(convert(endless.as_bytes(), Target::Seven).unwrap(), endless.as_bytes());
    let line = [b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--".to_vec(), vec![b'b'; 1_000_000]].concat();
    assert_eq!(convert(&line, Target::Seven).unwrap(), line);
}

/// More than is held at any time: what comes out is as long as it has to be.
#[test]
fn a_large_part_goes_through() {
    let size = 30 * 1024 * 1024_u64;
    let head: &[u8] = b"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let content = || head.chain(std::io::repeat(0xff).take(size));
    let seen = survey(content(), Target::Eight).unwrap();
    assert_eq!((seen.changes.len(), seen.obstacle), (1, None));
    let mut read = Rewritten::new(content(), seen.changes.into(), Target::Eight);
    let length = std::io::copy(&mut read, &mut std::io::sink()).unwrap();
    let lines = size.div_ceil(57);
    assert_eq!(length, head.len() as u64 + size.div_ceil(3) * 4 + lines * 2);
    assert!(read.held() < 64 * 1024, "{}", read.held());
}

async fn stored(parameters: &[(&str, Option<&str>)], sender: &str, recipient: &str, content: &[u8]) -> Arc<Stored> {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path()).unwrap();
    let id: MessageId = "0A1B2C3D4E5-1".parse().unwrap();
    let mut draft = spool.begin(id.clone());
    draft.write(content).await.unwrap();
    let (sender, parameters) = (sender.to_owned(), sample::parameters(parameters));
    let envelope = Envelope { sender, parameters, ..sample::envelope(id.as_str(), &[recipient]) };
    draft.commit(envelope).await.unwrap();
    Arc::new(spool.load(&id).await.unwrap())
}

/// Content, what MAIL says, addresses; the hop; then the parameters, the status of a refusal, whether it is converted.
#[tokio::test]
async fn plans_follow_from_the_message_and_the_hop() {
    let none = Keywords::default();
    let eight = Keywords { eight_bit_mime: true, ..none.clone() };
    let utf8 = Keywords { smtputf8: true, ..eight.clone() };
    let chunks = Keywords { chunking: true, binarymime: true, ..eight.clone() };
    let odd = Keywords { binarymime: true, ..none.clone() };
    let (ascii, umlaut) = ("Subject: x\r\n\r\nx\r\n", "Subject: x\r\n\r\n\u{fc}\r\n");
    let (header, stray) = ("Subject: \u{fc}\r\n\r\nx\r\n", "Subject: x\r\n\r\na\nb\r\n");
    let body = |value| vec![("BODY", Some(value))];
    let said = vec![("BODY", Some("8BITMIME")), ("SMTPUTF8", None)];
    let (a, b) = ("a@example.org", "b@example.org");
    let (local, domain) = ("\u{fc}@example.org", "a@b\u{fc}cher.example");
    for (content, parameters, sender, recipient, hop, expected, status, converted) in [
        (ascii, vec![], a, b, &none, vec![], None, false),
        (ascii, body("8BITMIME"), a, b, &none, vec![], None, false),
        (ascii, body("8BITMIME"), a, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (umlaut, body("8BITMIME"), a, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (umlaut, vec![], a, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (umlaut, body("8bitmime"), a, b, &none, vec![], None, true),
        (umlaut, vec![], "", b, &none, vec![], None, true),
        (header, vec![], a, b, &none, vec![], Some("5.6.3"), false),
        (header, vec![], a, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (stray, body("BINARYMIME"), a, b, &chunks, vec!["BODY=BINARYMIME"], None, false),
        (stray, body("BINARYMIME"), a, b, &eight, vec![], None, true),
        (stray, body("BINARYMIME"), a, b, &odd, vec![], None, true),
        (umlaut, body("BINARYMIME"), a, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (ascii, body("BINARYMIME"), a, b, &none, vec![], None, false),
        (header, said.clone(), a, b, &utf8, vec!["BODY=8BITMIME", "SMTPUTF8"], None, false),
        (header, said.clone(), a, b, &eight, vec!["BODY=8BITMIME"], Some("5.6.9"), false),
        (ascii, said.clone(), a, b, &utf8, vec!["BODY=8BITMIME"], None, false),
        (umlaut, said.clone(), a, b, &none, vec![], None, true),
        (ascii, said.clone(), local, b, &utf8, vec!["BODY=8BITMIME", "SMTPUTF8"], None, false),
        (ascii, said.clone(), local, b, &eight, vec!["BODY=8BITMIME"], Some("5.6.7"), false),
        (ascii, said.clone(), domain, b, &eight, vec!["BODY=8BITMIME"], None, false),
        (ascii, said.clone(), a, local, &eight, vec!["BODY=8BITMIME"], None, false),
        (ascii, said.clone(), a, local, &utf8, vec!["BODY=8BITMIME", "SMTPUTF8"], None, false),
    ] {
        let message = stored(&parameters, sender, recipient, content.as_bytes()).await;
        let plan = plan(&message, hop).unwrap();
        let case = format!("{content:?} {parameters:?} {sender} {recipient} {hop:?}");
        assert_eq!(plan.mail_parameters, expected, "{case}");
        assert_eq!(plan.refuse.as_ref().map(|failure| &*failure.status), status, "{case}");
        assert_eq!(plan.body.len().is_none(), converted, "{case}");
        assert_eq!(plan.body.binary(), expected == ["BODY=BINARYMIME"], "{case}");
        for _ in 0..2 {
            let mut sent = Vec::new();
            plan.body.read().read_to_end(&mut sent).unwrap();
            assert_eq!(sent != content.as_bytes(), converted, "{case}");
        }
    }
}

#[test]
fn addresses_have_a_form_for_hops_that_know_ascii_only() {
    let (ascii, utf8) = (Keywords::default(), Keywords { smtputf8: true, ..Keywords::default() });
    for (given, expected) in [
        ("", Some("")),
        ("a@example.org", Some("a@example.org")),
        ("a@b\u{fc}cher.example", Some("a@xn--bcher-kva.example")),
        ("\"a@b\"@b\u{fc}cher.example", Some("\"a@b\"@xn--bcher-kva.example")),
        ("\u{fc}@example.org", None),
        ("\u{fc}", None),
        ("a@\u{fc}..\u{200d}", None),
    ] {
        assert_eq!(address(given, &ascii).ok().as_deref(), expected, "{given}");
        assert_eq!(address(given, &utf8).unwrap(), given);
    }
    assert_eq!(address("\u{fc}@example.org", &ascii).unwrap_err().status, "5.6.7");
    assert_eq!(original("utf-8;\u{fc}+2B\u{1f600}@x", &ascii), "utf-8;\\x{FC}+2B\\x{1F600}@x");
    assert_eq!(original("utf-8;\u{fc}@x", &utf8), "utf-8;\u{fc}@x");
}
