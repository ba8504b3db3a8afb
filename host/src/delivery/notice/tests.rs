//! Notices as they lie in the spool. Each golden file is one, its lines ending in LF; `BLESS=1` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::spool::{Duty, Reach, sample};

/// Two hours after the message came.
const NOW: u64 = 1_700_007_200_000;
/// When it is given up.
const UNTIL: u64 = 1_700_432_000_000;

const PLAIN: &[u8] = b"Received: from client.example (unknown [192.0.2.7])\r\n\tby mx.example.test with ESMTP id 01SESSION.1;\r\n\
    \tTue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <one@client.example>\r\nSubject: hello\r\n\r\nline one\r\n\r\nline three\r\n";

struct Bed {
    _at: TempDir,
    spool: Spool,
}

impl Bed {
    fn new() -> Bed {
        let at = tempdir().unwrap();
        let spool = Spool::open(&at.path().join("state")).unwrap();
        Bed { _at: at, spool }
    }

    async fn store(&self, envelope: Envelope, content: &[u8]) -> Arc<Stored> {
        let id = envelope.id.clone();
        let mut draft = self.spool.begin(id.clone());
        draft.write(content).await.unwrap();
        draft.commit(envelope).await.unwrap();
        Arc::new(self.spool.load(&id).await.unwrap())
    }

    async fn send(&self, stored: &Arc<Stored>, reports: &[(usize, Report)]) -> Option<Sent> {
        let id = send(&self.spool, "mx.example.test", stored, reports, NOW).await.unwrap()?;
        let stored = self.spool.load(&id).await.unwrap();
        let mut content = Vec::new();
        stored.content().read_to_end(&mut content).unwrap();
        Some(Sent { envelope: stored.envelope.clone(), content })
    }
}

/// A notice, read back.
#[derive(Debug)]
struct Sent {
    envelope: Envelope,
    content: Vec<u8>,
}

/// A part of it: its header, and its octets.
type Part = (Vec<(String, String)>, Vec<u8>);

impl Sent {
    /// The header and the three parts, after everything was checked that holds for each notice.
    fn parse(&self) -> (Vec<(String, String)>, [Part; 3]) {
        let (header, body) = split(&self.content);
        let kind = value(&header, "Content-Type");
        assert!(kind.starts_with("multipart/report; report-type=delivery-status;"), "{kind}");
        let boundary = kind.split("boundary=\"").nth(1).unwrap().strip_suffix('"').unwrap();
        assert!(boundary.len() <= 70, "{boundary}");
        let body = [b"\r\n", body].concat();
        let (delimiter, end) = (format!("\r\n--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
        let body = body.strip_suffix(end.as_bytes()).expect("it ends with its boundary");
        let mut parts = Vec::new();
        let mut rest = body;
        while let Some(at) = memchr::memmem::find(rest, delimiter.as_bytes()) {
            parts.push(&rest[..at]);
            rest = &rest[at + delimiter.len()..];
        }
        parts.push(rest);
        assert_eq!(parts.len(), 4, "{}", String::from_utf8_lossy(&self.content));
        assert!(parts[0].is_empty());
        let parts = [parts[1], parts[2], parts[3]].map(|part| {
            let (header, octets) = split(part);
            let encoding = value(&header, "Content-Transfer-Encoding");
            assert!(octets.is_ascii() || encoding == "8bit", "{encoding}");
            (header, octets.to_vec())
        });
        let says = |name: &str| self.envelope.parameters.iter().any(|(other, _)| other == name);
        assert_eq!(self.content.is_ascii(), value(&header, "Content-Transfer-Encoding") == "7bit");
        assert_eq!(self.content.is_ascii(), !says("BODY"));
        let outer = header.iter().chain(parts.iter().flat_map(|(header, _)| header));
        assert!(says("SMTPUTF8") || outer.clone().all(|(_, value)| value.is_ascii()));
        for line in self.content.split_inclusive(|octet| *octet == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{:?}", String::from_utf8_lossy(line));
            let inner = &line[..line.len() - 2];
            assert!(!inner.contains(&b'\r') && !inner.contains(&0), "{:?}", String::from_utf8_lossy(line));
        }
        (header, parts)
    }

    /// The fields about each recipient.
    fn recipients(&self) -> Vec<Vec<(String, String)>> {
        let (_, [_, (_, status), _]) = self.parse();
        let status = String::from_utf8(status).unwrap();
        status.split("\r\n\r\n").skip(1).map(|block| fields(block.as_bytes())).collect()
    }
}

fn split(octets: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let at = memchr::memmem::find(octets, b"\r\n\r\n").unwrap();
    (fields(&octets[..at]), &octets[at + 4..])
}

/// Fields, unfolded.
fn fields(octets: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8(octets.to_vec()).unwrap().replace("\r\n\t", " ");
    let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().map(|line| field(line).unwrap_or_else(|| panic!("no field: {line:?}"))).collect()
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let mut values = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value);
    let value = values.next().unwrap_or_else(|| panic!("{name} is not in {fields:?}"));
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn parameters(said: &[&str]) -> Vec<(String, Option<String>)> {
    let pair = |said: &&str| match said.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => ((*said).to_owned(), None),
    };
    said.iter().map(pair).collect()
}

fn recipient(address: &str, said: &[&str]) -> Recipient {
    Recipient { parameters: parameters(said), ..sample::recipient(address) }
}

fn envelope(sender: &str, said: &[&str], recipients: Vec<Recipient>) -> Envelope {
    Envelope {
        peer: "192.0.2.7".to_owned(),
        sender: sender.to_owned(),
        parameters: parameters(said),
        recipients,
        connection: BTreeMap::from([("pathway".to_owned(), "out".to_owned())]),
        ..sample::envelope("01SESSION.1", &[])
    }
}

fn rejected(status: &str, reply: &str) -> Failure {
    Failure {
        status: status.to_owned(),
        text: "it said no".to_owned(),
        remote: Some("mx.example.net".to_owned()),
        reply: Some(reply.to_owned()),
        cause: None,
        reach: Reach::Recipient,
    }
}

fn receipt(duty: Duty) -> Receipt {
    let there = duty != Duty::Delivered;
    Receipt {
        to: "maildir:/secret/place/bob".to_owned(),
        remote: there.then(|| "mx.example.net".to_owned()),
        reply: there.then(|| "250 2.0.0 queued".to_owned()),
        duty,
    }
}

const BOB: &str = "bob@example.net";
const JOERG: &str = "j\u{f6}rg@b\u{fc}ro.example";

/// A name, a message, and what is to be told of it.
type Case = (&'static str, Envelope, Vec<u8>, Vec<(usize, Report)>);

/// What is in a golden file: its name, the envelope, the content, and what is told.
fn golden() -> Vec<Case> {
    let expired = Failure::local("4.4.7", "not delivered within 5 days: /secret", Reach::Message);
    let failed = |reply: &str| Report::Failed(rejected("5.1.1", reply));
    let utf8 = "Subject: gr\u{fc}\u{df}e\r\n\r\nh\u{e9}\r\n".as_bytes();
    vec![
        (
            "failed",
            envelope("alice@client.example", &[], vec![recipient(BOB, &[])]),
            PLAIN.to_vec(),
            vec![(0, failed("550 5.1.1 no such user here, and none of this name ever was in all these many years"))],
        ),
        (
            "failed-returned",
            envelope(
                "alice@client.example",
                &["RET=FULL", "ENVID=QQ+2B314"],
                vec![recipient("robert@inside.example", &["NOTIFY=FAILURE", "ORCPT=rfc822;bob+2Blist@example.net"])],
            ),
            PLAIN.to_vec(),
            vec![(0, Report::Failed(Failure { cause: Some([4, 4, 1]), ..expired }))],
        ),
        (
            "delayed",
            envelope("alice@client.example", &["RET=FULL"], vec![recipient(BOB, &[])]),
            PLAIN.to_vec(),
            vec![(0, Report::Delayed(Some(rejected("4.2.2", "452 4.2.2 mailbox full")), UNTIL))],
        ),
        (
            "of-each-kind",
            envelope(
                "\"a b\"@client.example",
                &[],
                vec![
                    recipient("postmaster", &["NOTIFY=SUCCESS,FAILURE"]),
                    recipient("carol@example.net", &["NOTIFY=SUCCESS"]),
                    recipient("dave@example.net", &["NOTIFY=DELAY"]),
                    recipient("erin@example.net", &["NOTIFY=FAILURE"]),
                    recipient("frank@example.net", &["NOTIFY=SUCCESS"]),
                ],
            ),
            PLAIN.to_vec(),
            vec![
                (0, Report::Delivered(receipt(Duty::Delivered))),
                (1, Report::Delivered(receipt(Duty::Relayed))),
                (2, Report::Delayed(None, UNTIL)),
                (3, failed("550 no")),
                (4, Report::Delivered(receipt(Duty::NextHop))),
            ],
        ),
        (
            "utf8-to-ascii-sender",
            envelope(
                "alice@client.example",
                &["SMTPUTF8", "RET=FULL"],
                vec![recipient(JOERG, &["ORCPT=utf-8;j\u{f6}rg@b\\x{FC}ro.example"])],
            ),
            utf8.to_vec(),
            vec![(0, failed("550 5.1.1 kennt niemand f\u{fc}r immer"))],
        ),
        (
            "utf8-to-utf8-sender",
            envelope("\u{e4}lice@client.example", &["SMTPUTF8"], vec![recipient(JOERG, &[])]),
            utf8.to_vec(),
            vec![(0, failed("550 5.1.1 kennt niemand f\u{fc}r immer"))],
        ),
    ]
}

#[tokio::test]
async fn notices_read_as_they_should() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/delivery/notice/golden");
    for (name, envelope, content, reports) in golden() {
        let bed = Bed::new();
        let stored = bed.store(envelope, &content).await;
        let sent = bed.send(&stored, &reports).await.unwrap();
        sent.parse();
        let text = String::from_utf8(sent.content).unwrap().replace("\r\n", "\n");
        let path = place.join(format!("{name}.eml"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}: BLESS=1 writes it anew");
    }
}

/// RFC 3461 sections 4.1, 5.2 and 6.2; RFC 3464 section 2.3.3.
#[test]
fn who_is_told_of_what() {
    let failed = Report::Failed(rejected("5.0.0", "550 no"));
    let delayed = Report::Delayed(None, UNTIL);
    let [here, passed, onward] =
        [Duty::Delivered, Duty::Relayed, Duty::NextHop].map(|duty| Report::Delivered(receipt(duty)));
    let reports = [&failed, &delayed, &here, &passed, &onward];
    for (notify, told) in [
        ("", ["failed", "delayed", "", "", ""]),
        ("NOTIFY=NEVER", ["", "", "", "", ""]),
        ("NOTIFY=never", ["", "", "", "", ""]),
        ("NOTIFY=FAILURE", ["failed", "", "", "", ""]),
        ("NOTIFY=DELAY", ["", "delayed", "", "", ""]),
        ("NOTIFY=SUCCESS", ["", "", "delivered", "relayed", ""]),
        ("NOTIFY=success,Failure", ["failed", "", "delivered", "relayed", ""]),
        ("NOTIFY=DELAY,FAILURE", ["failed", "delayed", "", "", ""]),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", ["failed", "delayed", "delivered", "relayed", ""]),
    ] {
        let said: Vec<&str> = Some(notify).into_iter().filter(|said| !said.is_empty()).collect();
        let recipient = recipient(BOB, &said);
        let actions = reports.map(|report| wish::action(&recipient, report).map_or("", Action::as_str));
        assert_eq!(actions, told, "{notify}");
    }
}

#[tokio::test]
async fn the_class_of_a_status_fits_the_action() {
    for (status, as_failed, as_delayed) in [
        ("5.1.1", "5.1.1", "4.1.1"),
        ("4.4.7", "4.4.7", "4.4.7"),
        ("2.0.0", "5.0.0", "4.0.0"),
        ("5.7.509", "5.7.509", "4.7.509"),
        ("", "5.0.0", "4.0.0"),
        ("4", "4.0.0", "4.0.0"),
        ("5.1.1 X: y", "5.0.0", "4.0.0"),
        ("5.1.1.1", "5.0.0", "4.0.0"),
        ("9.1.1", "5.0.0", "4.0.0"),
    ] {
        let bed = Bed::new();
        let of = envelope("alice@client.example", &[], vec![recipient(BOB, &[]), recipient(BOB, &[])]);
        let stored = bed.store(of, PLAIN).await;
        let failure = rejected(status, "550 no");
        let reports = [(0, Report::Failed(failure.clone())), (1, Report::Delayed(Some(failure), UNTIL))];
        let sent = bed.send(&stored, &reports).await.unwrap();
        let said: Vec<_> = sent.recipients().iter().map(|fields| value(fields, "Status").to_owned()).collect();
        assert_eq!(said, [as_failed, as_delayed], "{status:?}");
    }
}

#[tokio::test]
async fn nobody_is_told_what_nobody_sent() {
    let report = |at| (at, Report::Failed(rejected("5.1.1", "550 no")));
    let notice = Envelope {
        notice_of: Some("01SESSION.0".parse().unwrap()),
        ..envelope("alice@client.example", &[], vec![recipient(BOB, &[])])
    };
    for envelope in [
        envelope("", &[], vec![recipient(BOB, &[])]),
        notice,
        envelope("no address", &[], vec![recipient(BOB, &[])]),
        envelope("a@client.example\r\nBcc: x@y.example", &[], vec![recipient(BOB, &[])]),
        envelope("alice@client.example", &[], vec![recipient(BOB, &["NOTIFY=NEVER"])]),
    ] {
        let bed = Bed::new();
        let stored = bed.store(envelope, PLAIN).await;
        assert!(bed.send(&stored, &[report(0), report(7)]).await.is_none(), "{:?}", stored.envelope);
        assert_eq!(bed.spool.depth(), 1);
    }
}

#[tokio::test]
async fn a_notice_is_a_message_like_others() {
    let bed = Bed::new();
    let said = ["REQUIRETLS", "RET=FULL", "MT-PRIORITY=3", "BODY=8BITMIME"];
    let of = envelope("Alice@Client.EXAMPLE", &said, vec![recipient(BOB, &[]), recipient("c@example.net", &[])]);
    let stored = bed.store(of, PLAIN).await;
    let reports = [(1, Report::Failed(rejected("5.1.1", "550 no"))), (0, Report::Failed(rejected("5.1.1", "550 no")))];
    let sent = bed.send(&stored, &reports).await.unwrap();
    let it = &sent.envelope;
    assert_eq!((&*it.sender, &it.notice_of), ("", &Some(stored.envelope.id.clone())));
    assert_eq!((&*it.session, &*it.listener, it.received), ("01SESSION", "edge", NOW));
    assert_eq!(it.parameters, parameters(&["REQUIRETLS", "MT-PRIORITY=3"]));
    let [to] = &it.recipients[..] else { panic!("{it:?}") };
    assert_eq!((&*to.address, &*to.local, &*to.domain), ("Alice@client.example", "Alice", "client.example"));
    assert_eq!(to.parameters, parameters(&["NOTIFY=NEVER"]));
    assert!(it.id.as_str().starts_with("01SESSION.1.f"), "{}", it.id);
    // RFC 8689 section 5.
    assert_eq!(value(&sent.parse().1[2].0, "Content-Type"), "text/rfc822-headers");

    // Said twice, in whatever order, it is one; of another recipient it is another.
    let again = [reports[1].clone(), reports[0].clone()];
    assert_eq!(bed.send(&stored, &again).await.unwrap().envelope.id, it.id);
    assert_eq!(bed.spool.depth(), 2);
    let one = bed.send(&stored, &reports[..1]).await.unwrap().envelope.id;
    let other = bed.send(&stored, &reports[1..]).await.unwrap().envelope.id;
    assert!(one != it.id && other != it.id && one != other, "{one} {other}");
    let delayed = [(0, Report::Delayed(None, UNTIL)), (1, Report::Delayed(None, UNTIL))];
    assert!(bed.send(&stored, &delayed).await.unwrap().envelope.id.as_str().starts_with("01SESSION.1.d"));
    assert_eq!(bed.spool.depth(), 5);
}

#[tokio::test]
async fn a_log_without_its_notice_is_no_notice() {
    let bed = Bed::new();
    let stored = bed.store(envelope("alice@client.example", &[], vec![recipient(BOB, &[])]), PLAIN).await;
    let reports = [(0, Report::Failed(rejected("5.1.1", "550 no")))];
    let id = bed.send(&stored, &reports).await.unwrap().envelope.id;
    let queue = bed._at.path().join("state/spool/queue");
    std::fs::remove_file(queue.join(id.as_str())).unwrap();
    std::fs::write(queue.join(format!("{id}.log")), b"").unwrap();
    assert!(send(&bed.spool, "mx.example.test", &stored, &reports, NOW).await.is_err());
    assert_eq!(bed.send(&stored, &reports).await.unwrap().envelope.id, id);
}

#[tokio::test]
async fn the_longest_id_has_a_notice() {
    let bed = Bed::new();
    let long = "x".repeat(64).parse().unwrap();
    let of = envelope("alice@client.example", &[], vec![recipient(BOB, &[])]);
    let stored = bed.store(Envelope { id: long, ..of }, PLAIN).await;
    let sent = bed.send(&stored, &[(0, Report::Failed(rejected("5.1.1", "550 no")))]).await.unwrap();
    assert!(sent.envelope.id.as_str().starts_with("f."), "{}", sent.envelope.id);
}

/// What comes back of which message.
#[tokio::test]
async fn what_comes_back() {
    let long_line = [b"A: b\r\n\r\n".as_slice(), &[b'x'; 1200], b"\r\n"].concat();
    let large = [PLAIN, &b"0123456789abcdef0123456789abcde\r\n".repeat(35_000)].concat();
    let fits = [PLAIN, &b"0123456789abcdef0123456789abcde\r\n".repeat(30_000)].concat();
    let wide = [b"A: ".as_slice(), &[b'y'; 1200], b"\r\nB: \0c\rd\ne\r\n\r\nbody\r\n"].concat();
    let tall = [b"A: b\r\n".repeat(20_000), b"\r\nbody\r\n".to_vec()].concat();
    let beginning =
        |octets: &[u8]| octets[..octets.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 2].to_vec();
    let (full, none): (&[&str], &[&str]) = (&["RET=FULL"], &[]);
    for (said, content, kind, back) in [
        (none, PLAIN.to_vec(), "text/rfc822-headers", beginning(PLAIN)),
        (&["RET=HDRS"], PLAIN.to_vec(), "text/rfc822-headers", beginning(PLAIN)),
        (&["RET=full"], PLAIN.to_vec(), "message/rfc822", PLAIN.to_vec()),
        (full, fits.clone(), "message/rfc822", fits),
        (full, large, "text/rfc822-headers", beginning(PLAIN)),
        (full, long_line, "text/rfc822-headers", b"A: b\r\n".to_vec()),
        (full, b"A: b\r\n\r\nno end".to_vec(), "message/rfc822", b"A: b\r\n\r\nno end".to_vec()),
        (full, b"A: b\r\n\r\nbinary \0".to_vec(), "text/rfc822-headers", b"A: b\r\n".to_vec()),
        (full, b"A: b\r\n\r\nbare \n".to_vec(), "text/rfc822-headers", b"A: b\r\n".to_vec()),
        (full, b"A: b\r\n\r\nbare \r".to_vec(), "text/rfc822-headers", b"A: b\r\n".to_vec()),
        (full, b"A: b\r\n\r\n8 bit \xfc\r\n".to_vec(), "message/rfc822", b"A: b\r\n\r\n8 bit \xfc\r\n".to_vec()),
        (none, b"A: \xfc\r\n\r\n".to_vec(), "text/rfc822-headers", b"A: \xfc\r\n".to_vec()),
        (none, b"A : b\r\n c\r\nno field\r\nD: e\r\n\r\n".to_vec(), "text/rfc822-headers", b"A : b\r\n c\r\n".to_vec()),
        (none, b"no header\r\n".to_vec(), "text/rfc822-headers", Vec::new()),
        (none, b"".to_vec(), "text/rfc822-headers", Vec::new()),
        (full, b"".to_vec(), "message/rfc822", Vec::new()),
        (none, wide, "text/rfc822-headers", [b"A: ".as_slice(), &[b'y'; 995], b"\r\nB: ?c?d?e\r\n"].concat()),
        (none, tall, "text/rfc822-headers", b"A: b\r\n".repeat(10_922)),
    ] {
        let bed = Bed::new();
        let stored = bed.store(envelope("alice@client.example", said, vec![recipient(BOB, &[])]), &content).await;
        let sent = bed.send(&stored, &[(0, Report::Failed(rejected("5.1.1", "550 no")))]).await.unwrap();
        let (_, [_, _, (header, octets)]) = sent.parse();
        assert_eq!(value(&header, "Content-Type"), kind, "{said:?}");
        assert!(octets == back, "{said:?}: {} octets, not {}", octets.len(), back.len());
    }
}

/// A sender that knew the boundary could end a part; so none is taken that is in the message.
#[tokio::test]
async fn no_boundary_occurs_in_what_comes_back() {
    let reports = [(0, Report::Failed(rejected("5.1.1", "550 no")))];
    for (said, before) in [("RET=FULL", "A: b\r\n\r\n"), ("RET=HDRS", "A: ")] {
        let of = envelope("alice@client.example", &[said], vec![recipient(BOB, &[])]);
        let bed = Bed::new();
        let stored = bed.store(of.clone(), PLAIN).await;
        let sent = bed.send(&stored, &reports).await.unwrap();
        let boundary = value(&sent.parse().0, "Content-Type").split('"').nth(1).unwrap().to_owned();
        let (start, ending) = boundary.split_at(boundary.len() - 8);
        assert_eq!(ending, "00000000");
        // The first lies across two of the pieces in which a whole message is read.
        let head = format!("{before}--{start}00000002\r\n");
        let filler = match said {
            "RET=FULL" => {
                format!("{}\r\n", "x".repeat(62)).repeat(1023) + &"y".repeat(64 - 10 - 2 - head.len() % 64) + "\r\n"
            }
            _ => String::new(),
        };
        let across = (head.len() + filler.len()) as i64 - 64 * 1024;
        assert!(said != "RET=FULL" || (-20..0).contains(&across), "{across}");
        let taken = format!("--{start}00000000--\r\n--{start}00000001\r\nA: b\r\n--{start}00000003");
        let content = format!("{head}{filler}{taken}\r\n");
        let content = if said == "RET=HDRS" { content.replace("\r\n--", "\r\nA: --") } else { content };
        let bed = Bed::new();
        let stored = bed.store(of, content.as_bytes()).await;
        let sent = bed.send(&stored, &reports).await.unwrap();
        assert!(value(&sent.parse().0, "Content-Type").ends_with("00000004\""), "{said}");
    }
}

/// Nothing a peer says is more than the value of the field it is in.
#[tokio::test]
async fn no_peer_writes_fields() {
    let long = "x".repeat(5000);
    let words = "many words ".repeat(400);
    let hostile = [
        "a\r\nBcc: victim@example.org",
        "a\r\n\r\nContent-Type: text/html\r\n\r\n<b>",
        "a\nAction: delivered",
        "a\rb\0c\x1b[31m\u{85}\u{2028}d",
        "--=_",
        "(unclosed \"quoted <",
        "",
        " ",
        "\t\r\n",
        &long,
        &words,
        "h\u{e9}\u{202e}",
    ];
    let xtext = |text: &str| text.bytes().map(|octet| format!("+{octet:02X}")).collect::<String>();
    for text in hostile {
        for sender in ["alice@client.example", "\u{e4}lice@client.example"] {
            let (raw, encoded) = (text, xtext(text));
            let orcpts = [format!("ORCPT=rfc822;{encoded}"), format!("ORCPT=utf-8;{raw}"), format!("ORCPT={raw};x")];
            let recipients = orcpts.iter().map(|orcpt| recipient(&format!("{raw}@x"), &[orcpt])).collect();
            let mut of = envelope(sender, &[&format!("ENVID={encoded}"), "RET=FULL"], recipients);
            of.helo = Some(raw.to_owned());
            let failure = Failure {
                status: raw.to_owned(),
                text: raw.to_owned(),
                remote: Some(raw.to_owned()),
                reply: Some(raw.to_owned()),
                cause: None,
                reach: Reach::Recipient,
            };
            let receipt =
                Receipt { remote: Some(raw.to_owned()), reply: Some(raw.to_owned()), ..receipt(Duty::Relayed) };
            let mut with = of.recipients[0].clone();
            with.parameters.push(("NOTIFY".to_owned(), Some("SUCCESS".to_owned())));
            of.recipients.push(with);
            let content = format!("Message-ID: <{}>\r\nA: b\r\n\r\n", text.replace(['\r', '\n', '\0'], " "));
            let bed = Bed::new();
            let stored = bed.store(of, content.as_bytes()).await;
            let reports = [
                (0, Report::Failed(failure.clone())),
                (1, Report::Delayed(Some(failure.clone()), u64::MAX)),
                (2, Report::Failed(failure)),
                (3, Report::Delivered(receipt)),
            ];
            let sent = bed.send(&stored, &reports).await.unwrap();
            let (header, [_, (_, status), _]) = sent.parse();
            let names: Vec<&str> = header.iter().map(|(name, _)| &**name).collect();
            let known = ["Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"];
            let known = [&known[..], &["MIME-Version", "Content-Type", "Content-Transfer-Encoding"]].concat();
            assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
            let recipients = sent.recipients();
            let actions: Vec<&str> = recipients.iter().map(|fields| value(fields, "Action")).collect();
            assert_eq!(actions, ["failed", "delayed", "failed", "relayed"], "{text:?}");
            for fields in recipients {
                let known =
                    ["Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"];
                let known = [&known[..], &["Last-Attempt-Date", "Will-Retry-Until"]].concat();
                assert!(fields.iter().all(|(name, _)| known.contains(&&**name)), "{fields:?}");
                for name in ["Final-Recipient", "Status", "Last-Attempt-Date"] {
                    value(&fields, name);
                }
            }
            let status = String::from_utf8(status).unwrap();
            assert!(sender.is_ascii() <= status.is_ascii(), "{status}");
            assert!(!status.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t')), "{status:?}");
        }
    }
}

#[test]
fn message_ids_are_answered_if_they_are_any() {
    for (header, id) in [
        ("Message-ID: <a@b>\r\n", Some("<a@b>")),
        ("A: b\r\nmessage-id:<a@b>\r\n", Some("<a@b>")),
        ("Message-Id:\r\n <a@b>\r\n", Some("<a@b>")),
        ("Message-ID: <a@b> <c@d>\r\n", None),
        ("Message-ID: <a b>\r\n", None),
        ("Message-ID: <>\r\n", None),
        ("Message-ID: a@b\r\n", None),
        ("Message-ID:\r\nA: <a@b>\r\n", None),
        ("Message-ID: <\u{fc}@b>\r\n", None),
        ("X-Message-ID: <a@b>\r\n", None),
    ] {
        let original = Original { header: header.as_bytes().to_vec(), ..Original::default() };
        assert_eq!(original.message_id().as_deref(), id, "{header:?}");
    }
    let long = format!("Message-ID: <{}>\r\n", "x".repeat(251));
    assert_eq!(Original { header: long.into_bytes(), ..Original::default() }.message_id(), None);
}
