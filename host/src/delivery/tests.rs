//! Messages go in at the spool and are looked for in the mailboxes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

use super::route::Destination;
use super::*;
use crate::config::{Config, Source};
use crate::kv::system_clock;
use crate::spool::{Envelope, Recipient, sample};

const EACH: &str = "[[route]]\nto = \"maildir:mail/{domain}/{local}\"\ncreate = true\n";
const THERE: &str = "[[route]]\nto = \"maildir:mail/{domain}/{local}\"\n";

/// What an attempt is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// The message was just accepted.
    Arrival,
    /// It was found in the queue as the server started.
    Start,
    /// It was tried before.
    Retry,
}

/// A spool, and a place for mailboxes.
struct Bed {
    at: TempDir,
    spool: Spool,
}

impl Bed {
    fn new() -> Bed {
        let at = tempdir().unwrap();
        let spool = Spool::open(&at.path().join("state")).unwrap();
        Bed { at, spool }
    }

    /// The server ends and another one starts.
    fn restart(self) -> Bed {
        let Bed { at, spool } = self;
        drop(spool);
        let spool = Spool::open(&at.path().join("state")).unwrap();
        Bed { at, spool }
    }

    fn routes(&self, routes: &str) -> Arc<Routes> {
        let text = format!(
            "[server]\nhostname = \"mx.example.test\"\nstate-dir = \"state\"\n\
             [listener.edge]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n{routes}"
        );
        let source = Source { name: "test.toml".to_owned(), directory: self.at.path().to_owned(), text };
        Arc::new(routes_of(source))
    }

    async fn commit(&self, name: &str, recipients: &[&str]) {
        let mut draft = self.spool.begin(id(name));
        draft.write(b"Received: here\r\nSubject: hello\r\n\r\nline one\r\n\r\nline three\r\n").await.unwrap();
        draft.commit(envelope(name, recipients)).await.unwrap();
    }

    /// A queue of its own, as a server would have that starts now.
    fn handle(&self, routes: &str) -> Handle {
        let settings = config::Delivery::default();
        Handle::new(self.spool.clone(), self.routes(routes), settings, "mx.example.test", system_clock())
    }

    /// One attempt at each destination of a message.
    async fn attempt(&self, name: &str, routes: &str, occasion: Occasion) {
        self.handle(routes).queue.try_now(&id(name), occasion == Occasion::Arrival).await;
    }

    async fn pending(&self, name: &str) -> Vec<usize> {
        self.spool.load(&id(name)).await.unwrap().progress.pending()
    }

    fn mail(&self, path: &str) -> PathBuf {
        self.at.path().join("mail").join(path)
    }

    /// The files in a directory below `mail/`, sorted.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.mail(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn make_mailbox(&self, path: &str) {
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.mail(path).join(name)).unwrap();
        }
    }

    /// Runs the delivery until the queue is empty.
    async fn run_until_empty(&self, routes: &str) {
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(self.handle(routes).run(stopped));
        self.until_depth(0).await;
        stop.send(true).unwrap();
        timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    }

    async fn until_depth(&self, depth: u64) {
        let waited = timeout(Duration::from_secs(30), async {
            while self.spool.depth() != depth {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        waited.await.unwrap();
    }
}

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

fn envelope(name: &str, recipients: &[&str]) -> Envelope {
    Envelope { client: "127.0.0.1".to_owned(), helo: None, ..sample::envelope(name, recipients) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_message_arrives() {
    let bed = Bed::new();
    bed.commit("s.1", &["Bob@example.test", "carol@example.test"]).await;
    bed.attempt("s.1", EACH, Occasion::Arrival).await;
    assert_eq!(bed.spool.depth(), 0);
    for (local, index) in [("bob", 0), ("carol", 1)] {
        let mailbox = format!("example.test/{local}");
        let name = format!("1700000000.s.1R{index}.mx.example.test");
        assert_eq!(bed.names(&mailbox), ["cur", "new", "tmp"]);
        assert_eq!(bed.names(&format!("{mailbox}/new")), [name.as_str()]);
        assert_eq!(bed.names(&format!("{mailbox}/tmp")), [""; 0]);
        let file = bed.mail(&mailbox).join("new").join(&name);
        let expected = "Return-Path: <a@example.test>\nReceived: here\nSubject: hello\n\nline one\n\nline three\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        assert_eq!(
            (mode(&file), mode(&bed.mail(&mailbox)), mode(&bed.mail(&mailbox).join("new"))),
            (0o600, 0o700, 0o700)
        );
    }
}

#[tokio::test]
async fn senders_stay_in_their_field() {
    let bed = Bed::new();
    for (at, (sender, field)) in
        [("", "<>"), ("\"a b\"@x.test", "<\"a b\"@x.test>"), ("a\r\nX-Evil: 1@x.test", "<aX-Evil: 1@x.test>")]
            .into_iter()
            .enumerate()
    {
        let name = format!("s.{at}");
        let draft = bed.spool.begin(id(&name));
        draft.commit(Envelope { sender: sender.to_owned(), ..envelope(&name, &["bob@example.test"]) }).await.unwrap();
        bed.attempt(&name, EACH, Occasion::Arrival).await;
        let file = bed.mail("example.test/bob/new").join(format!("1700000000.{name}R0.mx.example.test"));
        assert_eq!(fs::read_to_string(file).unwrap(), format!("Return-Path: {field}\n"));
    }
}

#[tokio::test]
async fn no_address_leads_out() {
    let bed = Bed::new();
    let outside: Vec<_> = fs::read_dir(bed.at.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let long = format!("{}@{}", "x".repeat(3000), "y".repeat(3000));
    let recipients = [
        "../../../evil@example.test",
        "/etc/evil@example.test",
        "..@..",
        "@",
        ".@.",
        "a\0b@c\0d",
        "a@../../evil",
        &long,
    ];
    bed.commit("s.1", &recipients).await;
    bed.attempt("s.1", EACH, Occasion::Arrival).await;
    assert_eq!(bed.spool.depth(), 0);
    let mut now: Vec<_> = fs::read_dir(bed.at.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    now.retain(|name| !outside.contains(name));
    assert_eq!(now, ["mail"]);
    assert_eq!(bed.names("example.test"), ["%2e.%2f..%2f..%2fevil", "%2fetc%2fevil"]);
    assert!(["%2e.", "%2e", "c%00d", "%2e.%2f..%2fevil"].iter().all(|domain| bed.mail(domain).is_dir()));
}

#[tokio::test]
async fn one_mailbox_that_fails_keeps_only_its_own_recipient() {
    let bed = Bed::new();
    fs::create_dir_all(bed.mail("example.test")).unwrap();
    fs::write(bed.mail("example.test/carol"), "in the way").unwrap();
    let all = ["bob@example.test", "carol@example.test", "dave@example.test"];
    bed.commit("s.1", &all).await;
    for occasion in [Occasion::Arrival, Occasion::Retry] {
        bed.attempt("s.1", EACH, occasion).await;
        assert_eq!(bed.pending("s.1").await, [1]);
    }
    let bed = bed.restart();
    fs::remove_file(bed.mail("example.test/carol")).unwrap();
    bed.attempt("s.1", EACH, Occasion::Start).await;
    assert_eq!(bed.spool.depth(), 0);
    for local in ["bob", "carol", "dave"] {
        assert_eq!(bed.names(&format!("example.test/{local}/new")).len(), 1, "{local}");
    }
}

#[tokio::test]
async fn a_copy_that_was_delivered_but_not_recorded_is_found() {
    let flagged = ["", ":2,S", ":2,", ";2,FS", ",S=100:2,"];
    let places = flagged.map(|flags| ("cur", flags)).into_iter().chain([("new", "")]);
    for (directory, flags) in places {
        let bed = Bed::new();
        let name = "1700000000.s.1R0.mx.example.test";
        bed.make_mailbox("example.test/bob");
        // Killed between delivery and record, and read by Bob since.
        fs::write(bed.mail("example.test/bob").join(directory).join(format!("{name}{flags}")), "delivered").unwrap();
        fs::write(bed.mail("example.test/bob/cur").join(format!("{name}.other:2,")), "another host's").unwrap();
        bed.commit("s.1", &["bob@example.test"]).await;
        bed.attempt("s.1", THERE, Occasion::Start).await;
        assert_eq!(bed.spool.depth(), 0);
        let copies = bed.names("example.test/bob/new").len() + bed.names("example.test/bob/cur").len();
        assert_eq!(copies, 2, "{directory} {flags}");
    }
}

#[tokio::test]
async fn what_a_killed_attempt_left_in_tmp_is_replaced() {
    let bed = Bed::new();
    let name = "1700000000.s.1R0.mx.example.test";
    bed.make_mailbox("example.test/bob");
    fs::write(bed.mail("example.test/bob/tmp").join(name), "half").unwrap();
    bed.commit("s.1", &["bob@example.test"]).await;
    bed.attempt("s.1", THERE, Occasion::Start).await;
    assert_eq!((bed.names("example.test/bob/tmp"), bed.names("example.test/bob/new")), (vec![], vec![name.to_owned()]));
    assert!(fs::read_to_string(bed.mail("example.test/bob/new").join(name)).unwrap().starts_with("Return-Path"));
}

/// As a server leaves it that was killed while it made the mailbox.
#[tokio::test]
async fn a_half_made_mailbox_is_completed() {
    for made in [&[][..], &["tmp"], &["tmp", "cur"]] {
        let bed = Bed::new();
        fs::create_dir_all(bed.mail("example.test/bob")).unwrap();
        for name in made {
            fs::create_dir(bed.mail("example.test/bob").join(name)).unwrap();
        }
        bed.commit("s.1", &["bob@example.test"]).await;
        bed.attempt("s.1", THERE, Occasion::Arrival).await;
        assert_eq!(bed.pending("s.1").await, [0], "it is no mailbox yet");
        bed.attempt("s.1", EACH, Occasion::Start).await;
        assert_eq!(bed.names("example.test/bob/new").len(), 1);
    }
}

#[tokio::test]
async fn a_symbolic_link_in_the_place_of_the_file_is_not_followed() {
    let bed = Bed::new();
    let name = "1700000000.s.1R0.mx.example.test";
    bed.make_mailbox("example.test/bob");
    let target = bed.at.path().join("target");
    symlink(&target, bed.mail("example.test/bob/tmp").join(name)).unwrap();
    bed.commit("s.1", &["bob@example.test"]).await;
    bed.attempt("s.1", THERE, Occasion::Arrival).await;
    assert!(!target.exists());
    assert!(bed.mail("example.test/bob/new").join(name).is_file());
}

#[tokio::test]
async fn routes_judge_recipients() {
    let bed = Bed::new();
    bed.make_mailbox("there.test/bob");
    fs::create_dir_all(bed.mail("there.test/half/cur")).unwrap();
    fs::write(bed.mail("there.test/file"), "").unwrap();
    symlink("loop", bed.mail("there.test/loop")).unwrap();
    let several = "[[route]]\ndomains = [\"there.test\"]\nto = \"maildir:mail/{domain}/{local}\"\n\
                   [[route]]\ndomains = [\"*.made.test\"]\nto = \"maildir:made/{domain}/{local}\"\ncreate = true\n\
                   [[route]]\ndomains = [\"away.test\", \"there.test\"]\nto = \"discard:\"\n";
    let only_discard = "[[route]]\ndomains = [\"away.test\"]\nto = \"discard:\"\n";
    for (routes, local, domain, expected) in [
        (several, "bob", "there.test", "Deliver"),
        (several, "BOB", "There.TEST", "Deliver"),
        (several, "carol", "there.test", "UnknownMailbox"),
        (several, "half", "there.test", "UnknownMailbox"),
        (several, "file", "there.test", "UnknownMailbox"),
        (several, "loop", "there.test", "Unavailable"),
        (several, "..", "there.test", "UnknownMailbox"),
        (several, "postmaster", "there.test", "Deliver"),
        (several, "anyone", "x.made.test", "Deliver"),
        (several, "anyone", "made.test", "NoRoute"),
        (several, "anyone", "away.test", "Discard"),
        (several, "postmaster", "away.test", "Discard"),
        (several, "postmaster", "else.test", "NoRoute"),
        (several, "<postmaster>", "mx.example.test", "Deliver"),
        (only_discard, "<postmaster>", "mx.example.test", "Deliver"),
        (only_discard, "bob", "there.test", "NoRoute"),
    ] {
        let recipient = RecipientName {
            local: local.trim_matches(['<', '>']),
            domain,
            postmaster: local.contains("postmaster"),
            bare_postmaster: local == "<postmaster>",
            listener: "edge",
            context: &envelope("s.1", &[]),
        };
        let judgement = format!("{:?}", bed.routes(routes).judge(&recipient).await);
        assert!(judgement.starts_with(expected), "{local}@{domain}: {judgement}");
    }
    assert!(!bed.at.path().join("made").exists() && !bed.mail("there.test/postmaster").exists());
}

/// Of a message that came in at a listener with these values in its context.
fn came_in(listener: &str, connection: &[(&str, &str)], message: &[(&str, &str)]) -> Envelope {
    let owned = |entries: &[(&str, &str)]| entries.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let (connection, message) = (owned(connection), owned(message));
    Envelope { listener: listener.to_owned(), connection, message, ..envelope("s.1", &["bob@example.test"]) }
}

#[tokio::test]
async fn the_first_route_that_takes_a_recipient_is_its_way() {
    let bed = Bed::new();
    let routes = "[listener.inside]\naddress = [\"127.0.0.1:0\"]\n\
        [[route]]\ndomains = [\"away.test\"]\nto = \"smtp://{domain}\"\n\
        [[route]]\ncontext = { spam = \"y*\" }\nto = \"discard:\"\n\
        [[route]]\naddresses = [\"carol@example.test\"]\nlisteners = [\"inside\"]\nto = \"lmtp:/run/lmtp.sock\"\n\
        [[route]]\nlisteners = [\"inside\"]\nto = [\"smtps://hub.test\", \"smtps://hub2.test\"]\nconcurrency = 3\n\
        [[route]]\ncontext = { a = \"1\", b = \"2\" }\nto = \"https://hook.test/x\"\n\
        [[route]]\ndomains = [\"example.test\"]\nto = \"maildir:mail/{local}\"\ncreate = true\n\
        [[route]]\ndomains = [\"gone.test\"]\nto = \"discard:\"\n";
    let routes = bed.routes(routes);
    let mail = format!("maildir:{}", bed.mail("{local}").display());
    let none: &[(&str, &str)] = &[];
    for (address, listener, connection, message, key, at_rcpt) in [
        ("bob@example.test", "edge", none, none, &*mail, "Deliver"),
        ("bob@away.test", "inside", none, none, "smtp://away.test:25", "Deliver"),
        ("bob@example.test", "inside", none, none, "smtps://hub.test:465", "Deliver"),
        ("Carol@EXAMPLE.test", "inside", none, none, "lmtp:/run/lmtp.sock", "Deliver"),
        ("carol@example.test", "edge", none, none, &mail, "Deliver"),
        // What may look otherwise when the message is there is kept until then.
        ("bob@example.test", "edge", &[("spam", "yes")], none, "discard:", "Deliver"),
        ("bob@example.test", "edge", none, &[("spam", "y")], "discard:", "Deliver"),
        ("bob@example.test", "edge", &[("spam", "yes")], &[("spam", "no")], &mail, "Deliver"),
        ("bob@example.test", "edge", &[("a", "1")], &[("b", "2")], "https://hook.test:443/x", "Deliver"),
        ("bob@example.test", "edge", &[("a", "1")], none, &mail, "Deliver"),
        ("bob@gone.test", "edge", none, none, "discard:", "Deliver"),
        ("bob@else.test", "edge", none, none, "none", "NoRoute"),
    ] {
        let envelope = came_in(listener, connection, message);
        let (local, domain) = address.split_once('@').unwrap();
        let recipient =
            Recipient { local: local.to_owned(), domain: domain.to_owned(), ..envelope.recipients[0].clone() };
        let name = RecipientName::of(&envelope, &recipient);
        let destination = routes.destination(&name);
        let found = destination.as_ref().map_or("none".to_owned(), Destination::key);
        assert_eq!(found, key, "{address} at {listener}, {connection:?}, {message:?}");
        let judgement = format!("{:?}", routes.judge(&name).await);
        assert_eq!(judgement, at_rcpt, "{address} at {listener}, {connection:?}, {message:?}");
        let concurrency = destination.as_ref().map_or(0, Destination::concurrency);
        assert_eq!(concurrency == 3, key.starts_with("smtps:"), "{address} at {listener}");
    }
    let plain = bed.routes("[[route]]\nto = \"discard:\"\n");
    let envelope = came_in("edge", none, none);
    let name = RecipientName::of(&envelope, &envelope.recipients[0]);
    assert_eq!(format!("{:?}", plain.judge(&name).await), "Discard");
}

#[tokio::test]
async fn postmaster_always_has_a_mailbox() {
    let bed = Bed::new();
    bed.commit("s.1", &["Postmaster"]).await;
    bed.attempt("s.1", THERE, Occasion::Arrival).await;
    assert_eq!(bed.names("mx.example.test/postmaster/new").len(), 1);
    bed.commit("s.2", &["postmaster@example.test"]).await;
    bed.attempt("s.2", THERE, Occasion::Arrival).await;
    assert_eq!(bed.names("example.test/postmaster/new").len(), 1);
    let other = "[[route]]\ndomains = [\"other.test\"]\nto = \"maildir:mail/{domain}/{local}\"\n";
    bed.commit("s.3", &["postmaster", "postmaster@example.test"]).await;
    bed.attempt("s.3", other, Occasion::Arrival).await;
    assert_eq!(bed.names("mx.example.test/postmaster/new").len(), 2);
    assert_eq!(bed.pending("s.3").await, [1]);
}

#[tokio::test]
async fn discarded_recipients_are_done() {
    let bed = Bed::new();
    let routes = format!("[[route]]\ndomains = [\"away.test\"]\nto = \"discard:\"\n{EACH}");
    bed.commit("s.1", &["x@away.test", "bob@example.test", "y@away.test"]).await;
    bed.attempt("s.1", &routes, Occasion::Arrival).await;
    assert_eq!((bed.spool.depth(), bed.names("")), (0, vec!["example.test".to_owned()]));
}

#[tokio::test]
async fn what_no_route_takes_stays() {
    let bed = Bed::new();
    let routes = "[[route]]\ndomains = [\"other.test\"]\nto = \"discard:\"\n";
    bed.commit("s.1", &["bob@example.test", "x@other.test", "carol@example.test"]).await;
    bed.attempt("s.1", routes, Occasion::Arrival).await;
    assert_eq!(bed.pending("s.1").await, [0, 2]);
}

#[tokio::test]
async fn a_message_without_recipients_left_is_removed() {
    let bed = Bed::new();
    bed.commit("s.1", &["bob@example.test"]).await;
    bed.spool.record(&id("s.1"), vec![crate::spool::Record::Delivered(0)]).await.unwrap();
    bed.attempt("s.1", EACH, Occasion::Start).await;
    assert_eq!((bed.spool.depth(), bed.mail("").exists()), (0, false));
}

#[tokio::test]
async fn file_names_are_short_and_have_no_colon() {
    let long = Envelope { hostname: "h:o/s\0t.".repeat(40), ..envelope(&format!("s.{}", "1".repeat(62)), &[]) };
    let name = maildir::file_name(&long, 999);
    assert_eq!(name.len(), 200);
    assert!(name.contains("R999.h_o_s_t.h_o_s_t") && !name.contains([':', '/', '\0']), "{name}");
}

#[tokio::test]
async fn a_start_delivers_what_was_left() {
    let mut bed = Bed::new();
    for at in 0..40 {
        bed.commit(&format!("s.{at}"), &["bob@example.test", "carol@example.test"]).await;
    }
    bed = bed.restart();
    assert_eq!(bed.spool.depth(), 40);
    bed.run_until_empty(EACH).await;
    assert_eq!((bed.names("example.test/bob/new").len(), bed.names("example.test/carol/new").len()), (40, 40));
    assert!(bed.spool.queued().unwrap().next().is_none());
}

#[tokio::test]
async fn a_damaged_message_stops_nobody() {
    let mut bed = Bed::new();
    for at in 0..10 {
        bed.commit(&format!("s.{at}"), &["bob@example.test"]).await;
    }
    let queue = bed.at.path().join("state/spool/queue");
    fs::write(queue.join("s.3"), "rubbish").unwrap();
    fs::write(queue.join("s.4"), "PILLARBOX-SPOOL 2\nlater").unwrap();
    fs::write(queue.join("s.5"), "").unwrap();
    fs::create_dir(queue.join("dir")).unwrap();
    bed = bed.restart();
    let (stop, stopped) = watch::channel(false);
    let run = tokio::spawn(bed.handle(EACH).run(stopped));
    bed.until_depth(1).await;
    drop(stop);
    timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    assert_eq!((bed.names("example.test/bob/new").len(), bed.spool.damaged()), (7, 2));
    assert!(queue.join("s.4").exists());
}

#[tokio::test]
async fn arrivals_are_delivered_at_once_however_many() {
    let bed = Bed::new();
    let (stop, stopped) = watch::channel(false);
    let run = tokio::spawn(bed.handle(EACH).run(stopped));
    for round in 0..3 {
        for at in 0..30 {
            bed.commit(&format!("s{round}.{at}"), &["bob@example.test"]).await;
        }
        bed.until_depth(0).await;
    }
    assert_eq!(bed.names("example.test/bob/new").len(), 90);
    stop.send(true).unwrap();
    timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    bed.commit("s.late", &["bob@example.test"]).await;
    assert_eq!(bed.spool.depth(), 1, "it has stopped");
}

#[tokio::test]
async fn what_is_left_is_tried_again_with_the_routes_of_the_day() {
    let bed = Bed::new();
    let (_stop, stopped) = watch::channel(false);
    let handle = bed.handle("[[route]]\ndomains = [\"other.test\"]\nto = \"discard:\"\n");
    let run = tokio::spawn(handle.clone().run(stopped));
    bed.commit("s.1", &["bob@example.test", "x@other.test"]).await;
    let settled = timeout(Duration::from_secs(30), async {
        while bed.pending("s.1").await != [0] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    settled.await.unwrap();
    handle.follow(bed.routes(EACH), config::Delivery::default(), "mx.example.test");
    bed.until_depth(0).await;
    assert_eq!(bed.names("example.test/bob/new").len(), 1);
    run.abort();
}

#[tokio::test]
async fn stopping_ends_what_is_in_hand_and_begins_nothing() {
    let bed = Bed::new();
    for at in 0..60 {
        bed.commit(&format!("s.{at}"), &["bob@example.test", "carol@example.test"]).await;
    }
    let (stop, stopped) = watch::channel(false);
    let run = tokio::spawn(bed.handle(EACH).run(stopped));
    while bed.spool.depth() == 60 {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    let left = bed.spool.depth() as usize;
    let delivered = bed.names("example.test/bob/new").len();
    assert_eq!(left + delivered, 60, "none is half-way");
    assert_eq!(delivered, bed.names("example.test/carol/new").len());
    assert!(left > 20, "{left}");
}

#[tokio::test]
async fn there_is_one_delivery() {
    let bed = Bed::new();
    let _taken = bed.spool.arrivals();
    let (_stop, stopped) = watch::channel(false);
    let run = bed.handle(EACH).run(stopped);
    timeout(Duration::from_secs(30), run).await.unwrap();
}

fn routes_of(source: Source) -> Routes {
    let config = Config::parse(source).unwrap();
    let names = Arc::new(crate::dns::Resolver::new(&config.dns).unwrap());
    let (routes, problems) = Routes::load(&config, &names);
    assert!(problems.is_empty(), "{problems:?}");
    routes
}
