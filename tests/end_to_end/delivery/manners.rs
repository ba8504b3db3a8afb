//! Servers to relay to in bad manners: whatever they do, a message waits until they behave, or its sender is told, once.

use super::{config, emptied, greeted, route, same, told};
use pillarbox_tests::Site;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::sink::{Manner, Sink, Stage, Taken};
use std::time::Duration;

/// What becomes of the messages.
enum End {
    /// They wait, with this status, and are delivered when the sink behaves.
    Waits(&'static str),
    /// They are delivered at once.
    Taken,
    /// Their senders are told: of this many recipients, with this status; the others have them.
    Told(usize, &'static str),
}

/// How the sink is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Smtp,
    Lmtp,
    /// With a certificate that no authority signed.
    Tls,
}

struct Case {
    kind: Kind,
    manner: Manner,
    keys: &'static str,
    end: End,
}

/// What is sent to each: dots at the beginnings of lines, octets beyond ASCII, and a length that needs many writes.
fn contents() -> Vec<Vec<u8>> {
    let mut odd = b"Subject: odd\r\n\r\n.\r\n..\r\n.a\r\n\r\n. \r\ncaf\xe9 \xff\xfe\x80\r\n\x01\x7f\t\r\n".to_vec();
    odd.extend_from_slice("ü".repeat(400).as_bytes());
    odd.extend_from_slice(b"\r\n.\r\n...end\r\n");
    let mut large = b"Subject: large\r\n\r\n".to_vec();
    for number in 0_usize.. {
        if large.len() >= 1 << 20 {
            break;
        }
        large.extend_from_slice(format!(".{number} é{:-<1$}\r\n", "", number % 70).as_bytes());
    }
    vec![odd, large]
}

const QUICK: &str = "timeout.command = \"2s\"\ntimeout.data = \"2s\"\ntimeout.end-of-data = \"2s\"";
const VERIFIED: &str = "tls.mode = \"verified\"\ntls.authorities = \"good/cert.pem\"\ntls.name = \"sink.example.test\"";

/// All that a server says in a conversation of three recipients from MAIL on.
const AHEAD: &str = "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n";

fn cases() -> Vec<Case> {
    use End::{Taken, Told, Waits};
    use Kind::{Lmtp, Smtp, Tls};
    use Manner::{
        Drop, Endless, Except, ExceptAtEnd, Forgetful, Garbage, Hang, Long, Reply, Say, Slow, TakeForOne,
        TakeThenReset, TakeUnsaid,
    };
    use Stage::{Banner, Content, Data, End as Dot, Hello, Mail, Recipient, StartTls};
    let case = |kind, manner, keys, end| Case { kind, manner, keys, end };
    let smtp = |manner, end| Case { kind: Smtp, manner, keys: "", end };
    vec![
        smtp(Reply(Banner, "421 4.3.2 not now"), Waits("4.3.2")),
        smtp(Reply(Banner, "554 5.3.2 no mail here"), Waits("4.3.2")),
        smtp(Reply(Hello, "421 4.3.2 not now"), Waits("4.3.2")),
        smtp(Reply(Mail, "450 4.7.1 wait"), Waits("4.7.1")),
        smtp(Reply(Mail, "452 4.3.1 full"), Waits("4.3.1")),
        smtp(Reply(Recipient, "450 4.2.1 busy"), Waits("4.2.1")),
        smtp(Reply(Recipient, "451 4.7.1 greylisted"), Waits("4.7.1")),
        smtp(Reply(Recipient, "421 4.7.0 enough"), Waits("4.7.0")),
        smtp(Reply(Data, "451 4.3.0 no"), Waits("4.3.0")),
        smtp(Reply(Data, "421 4.3.2 bye"), Waits("4.3.2")),
        smtp(Reply(Dot, "452 4.3.1 full"), Waits("4.3.1")),
        smtp(Reply(Dot, "421 4.3.2 bye"), Waits("4.3.2")),
        smtp(Reply(Dot, "354 go on"), Waits("4.5.0")),
        case(Smtp, Hang(Banner), QUICK, Waits("4.4.2")),
        case(Smtp, Hang(Mail), QUICK, Waits("4.4.2")),
        case(Smtp, Hang(Dot), QUICK, Waits("4.4.2")),
        case(Smtp, Hang(Content), QUICK, Waits("4.4.2")),
        smtp(Drop(Content), Waits("4.4.2")),
        smtp(Reply(Content, "451 4.3.0 enough"), Waits("4.3.0")),
        smtp(Reply(Content, "552 5.3.4 too large"), Told(3, "5.3.4")),
        smtp(Reply(Banner, "250 hello"), Waits("4.0.0")),
        smtp(Forgetful("451 4.3.0 not now"), Waits("4.3.0")),
        smtp(Forgetful("550 5.7.1 never"), Told(3, "5.7.1")),
        smtp(Reply(Mail, "354 go"), Waits("4.0.0")),
        smtp(Reply(Recipient, "354 go"), Waits("4.0.0")),
        smtp(Reply(Data, "250 2.0.0 ok"), Waits("4.0.0")),
        smtp(Reply(Recipient, "251 2.1.5 will forward"), Taken),
        // Replies to what was not said yet.
        smtp(Say(Mail, AHEAD), Waits("4.5.0")),
        smtp(Say(Data, "354 go\r\n250 2.0.0 taken\r\n"), Waits("4.5.0")),
        smtp(Drop(Banner), Waits("4.4.2")),
        smtp(Drop(Recipient), Waits("4.4.2")),
        smtp(Drop(Data), Waits("4.4.2")),
        smtp(Drop(Dot), Waits("4.4.2")),
        smtp(Endless(Banner), Waits("4.5.0")),
        smtp(Endless(Hello), Waits("4.5.0")),
        smtp(Endless(Dot), Waits("4.5.0")),
        smtp(Garbage(Banner), Waits("4.5.0")),
        smtp(Garbage(Recipient), Waits("4.5.0")),
        smtp(Garbage(Dot), Waits("4.5.0")),
        smtp(Say(Dot, "250 2.0.0 t\0ken\r\n"), Waits("4.5.0")),
        smtp(Say(Dot, "250 2.0.0 half a l"), Waits("4.4.2")),
        smtp(Say(Dot, "250-2.0.0 one\r\n550 5.0.0 other\r\n"), Waits("4.5.0")),
        smtp(Long(Hello), Waits("4.5.0")),
        smtp(Long(Dot), Waits("4.5.0")),
        case(Tls, Reply(StartTls, "454 4.7.0 not now"), "tls.mode = \"required\"", Waits("4.7.4")),
        case(Tls, Say(StartTls, "220 go\r\nno TLS at all\r\n"), "tls.mode = \"required\"", Waits("4.7.5")),
        case(Tls, Manner::Take, VERIFIED, Waits("4.7.5")),
        case(Tls, Reply(StartTls, "454 4.7.0 not now"), "", Taken),
        case(Tls, Manner::Take, "", Taken),
        smtp(TakeUnsaid, Waits("4.4.2")),
        smtp(TakeThenReset, Taken),
        smtp(Slow(Duration::from_millis(2)), Taken),
        smtp(Except("two@", "550 5.1.1 nobody"), Told(1, "5.1.1")),
        smtp(Reply(Mail, "550 5.7.1 not from you"), Told(3, "5.7.1")),
        smtp(Reply(Dot, "554 5.6.0 not this"), Told(3, "5.6.0")),
        case(Lmtp, ExceptAtEnd("two@", "552 5.2.2 over quota"), "", Told(1, "5.2.2")),
        case(Lmtp, ExceptAtEnd("two@", "452 4.2.2 over quota"), "", Waits("4.2.2")),
        case(Lmtp, Drop(Dot), "", Waits("4.4.2")),
        case(Lmtp, TakeForOne, "", Waits("4.4.2")),
    ]
}

struct Bed {
    number: usize,
    case: Case,
    sink: Sink,
    /// Of the messages, in the order of the contents.
    ids: Vec<String>,
}

impl Bed {
    fn what(&self) -> String {
        format!("{} {:?}", self.number, self.case.manner)
    }

    fn route(&self) -> String {
        let scheme = if self.case.kind == Kind::Lmtp { "lmtp" } else { "smtp" };
        route(&format!("n{}.test", self.number), &format!("{scheme}://{}", self.sink.address()), self.case.keys)
    }

    fn sender(&self) -> String {
        format!("s{}", self.number)
    }

    fn recipients(&self) -> [String; 3] {
        ["one", "two", "three"].map(|local| format!("{local}@n{}.test", self.number))
    }

    /// Recipients who are to have each message.
    fn served(&self) -> Vec<String> {
        let refused = match self.case.end {
            End::Told(refused, _) => refused,
            End::Waits(_) | End::Taken => 0,
        };
        // Where it is one, it is the second.
        let recipients = self.recipients().into_iter().enumerate();
        let served = recipients.filter(|(at, _)| refused == 0 || (refused == 1 && *at != 1));
        served.map(|(_, address)| format!("<{address}>")).collect()
    }
}

#[test]
fn nothing_is_lost_nor_twice_whatever_the_next_hop_does() {
    let (wrong, good) = (Pair::new(&["elsewhere.test"]), Pair::new(&["sink.example.test"]));
    let mut beds: Vec<Bed> = Vec::new();
    for (number, case) in cases().into_iter().enumerate() {
        let sink = match case.kind {
            Kind::Lmtp => Sink::start_lmtp(case.manner.clone()),
            Kind::Smtp | Kind::Tls => Sink::start(case.manner.clone()),
        };
        if case.kind == Kind::Tls {
            sink.encrypt(&wrong);
        }
        beds.push(Bed { number, case, sink, ids: Vec::new() });
    }
    let routes: String = beds.iter().map(Bed::route).collect();
    let site = Site::new(&config("", "retry.longest = \"1s\"", &routes));
    good.write(&site.path("good"));
    let server = site.start();
    let contents = contents();
    let mut client = greeted(&server);
    for bed in &mut beds {
        let to = bed.recipients();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let sender = format!("{}@client.test", bed.sender());
        bed.ids = contents.iter().map(|content| client.deliver(&sender, &to, content)).collect();
    }

    let mut wrong = Vec::new();
    for bed in &beds {
        if let End::Waits(status) = bed.case.end {
            let what = bed.what();
            let id = &bed.ids[0];
            let tried = server.log().wait_for(&what, |event| event.is("delivery deferred") && event.field("id") == id);
            if tried.field("status") != status {
                wrong.push(format!("{what}: {tried:?}"));
            }
            if bed.case.kind == Kind::Tls {
                bed.sink.encrypt(&good);
            }
            bed.sink.behave(Manner::Take);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    emptied(&server);
    for bed in &beds {
        check(bed, &site, &contents);
    }
    let log = server.log().lines().join("\n");
    assert!(!log.contains("panicked") && !log.contains("broke off"), "{log}");
}

/// Each recipient has each message as it was sent, and its sender was told of whom it has not reached, once.
fn check(bed: &Bed, site: &Site, contents: &[Vec<u8>]) {
    let what = bed.what();
    let taken = bed.sink.taken();
    let mut of_a_message = 0;
    for content in contents {
        let copies: Vec<&Taken> = taken.iter().filter(|taken| taken.content.ends_with(content)).collect();
        of_a_message += copies.len();
        copies.iter().for_each(|copy| same(&what, copy, content));
        let mut reached: Vec<String> = copies.iter().flat_map(|copy| copy.recipients.clone()).collect();
        reached.sort();
        if bed.case.manner == Manner::TakeUnsaid {
            // Taken without a word is taken again: that is the one thing nobody can know.
            assert!(copies.len() > 1, "{what}");
            reached.dedup();
        }
        let mut served = bed.served();
        served.sort();
        assert_eq!(reached, served, "{what}");
    }
    assert_eq!(of_a_message, taken.len(), "{what}: it has what nobody sent");
    if bed.case.kind == Kind::Tls {
        let plain = matches!(bed.case.manner, Manner::Reply(..)) && bed.case.keys.is_empty();
        assert!(taken.iter().all(|taken| taken.tls != plain), "{what}");
    }
    match bed.case.end {
        End::Told(refused, status) => {
            for notice in told(site, &bed.sender(), contents.len()) {
                assert_eq!(notice.matches("\nAction: failed\n").count(), refused, "{what}: {notice}");
                assert_eq!(notice.matches(&format!("\nStatus: {status}\n")).count(), refused, "{what}: {notice}");
            }
        }
        End::Waits(_) | End::Taken => assert!(!site.path(&format!("told/{}", bed.sender())).exists(), "{what}"),
    }
}
