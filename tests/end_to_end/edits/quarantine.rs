//! Messages that are kept aside: which verdict wins, what is on disk after 250, and what the operator can do with them.

use super::*;
use crate::spool::{SmallDisk, append};
use std::fs;

/// Keeps aside at a hook by sender or recipient; the other then discards or refuses.
const KEEPER: &str = r#"
    mail = ["for m@client.test quarantine at mail"]
    data = ["for data@example.test quarantine at data"]
    message = ["for message@example.test quarantine at message"]"#;
const OTHER: &str = r#"
    data = ["for early@example.test discard"]
    message = ["for gone@example.test discard", "for no@example.test reject", "for later@example.test tempfail"]"#;

#[test]
fn discard_and_refusal_win_over_quarantine() {
    let server = start("", &[("", KEEPER), ("", OTHER)]);
    let mut client = greeted(&server);
    let mut aside = 0;
    for (sender, recipients, hook, code) in [
        ("m@client.test", vec!["b@example.test"], "mail", 250),
        ("a@client.test", vec!["data@example.test"], "data", 250),
        ("a@client.test", vec!["message@example.test", "b@example.test"], "message", 250),
        // The first reason stays.
        ("m@client.test", vec!["data@example.test", "message@example.test"], "mail", 250),
        // At the same hook the others are asked all the same.
        ("a@client.test", vec!["message@example.test", "gone@example.test"], "", 250),
        ("m@client.test", vec!["gone@example.test"], "", 250),
        ("a@client.test", vec!["data@example.test", "gone@example.test"], "", 250),
        ("a@client.test", vec!["early@example.test", "message@example.test"], "", 250),
        ("m@client.test", vec!["no@example.test"], "", 550),
        ("a@client.test", vec!["message@example.test", "no@example.test"], "", 550),
        ("a@client.test", vec!["data@example.test", "no@example.test"], "", 550),
        ("m@client.test", vec!["later@example.test"], "", 451),
    ] {
        let reply = client.submit(sender, &recipients, CONTENT);
        assert_eq!(reply.code, code, "{sender} {recipients:?}: {reply}");
        aside += u64::from(!hook.is_empty());
        assert_eq!(server.status()["quarantined"], aside, "{sender} {recipients:?}");
        let id = reply.last().rsplit(' ').next().unwrap_or_default();
        if !hook.is_empty() {
            let reason = format!("at {hook}");
            let fields = [("id", id), ("original", id), ("hook", hook), ("reason", &reason), ("extension", "e0")];
            server.log().event("message quarantined", &fields);
        }
        if code == 250 {
            said(&server, &format!("accepted for {}", recipients.join(" ")));
        }
    }
    assert_eq!((server.site().files("mail").len(), server.site().files("state/spool/queue").len()), (0, 0));
    assert_eq!(server.site().files("state/spool/incoming").len(), 0);
}

#[test]
fn a_large_message_is_shown_and_released_octet_for_octet() {
    let server = start("", &[("", r#"message = ["insert X-New 0 v", "quarantine bait"]"#)]);
    let body: String = (0..60_000).map(|line| format!("line {line} of more than one answer holds\r\n")).collect();
    let content = format!("{CONTENT}{body}");
    let mut client = greeted(&server);
    let id = client.deliver("a@client.test", &["b@example.test", "c@example.test"], &content);
    let other = client.deliver("a@client.test", &["d@example.test"], CONTENT);
    let expected = format!("X-New: v\r\n{content}");

    let raw = server.order(&["quarantine", "show", "--raw", &id]).exits(0).stdout;
    let trace = raw.strip_suffix(&expected).expect("the message ends as it was sent");
    assert!(trace.starts_with("Received: ") && trace.ends_with("\r\n") && trace.contains(&id), "{trace}");
    let shown = server.order(&["quarantine", "show", &id]).exits(0);
    shown
        .clone()
        .says("from <a@client.test>")
        .says("to <b@example.test> <c@example.test>")
        .says("said client.example.test");
    assert!(shown.stdout.ends_with("line 59999 of more than one answer holds\n"));

    for wrong in ["01UNKNOWN.1", "../queue/x", "..", ".", "/etc/passwd", "", "a/b", "x\u{1b}[2J"] {
        for order in ["show", "release", "delete"] {
            server.order(&["quarantine", order, wrong]).exits(65);
        }
    }
    // One that is not there keeps no other from it.
    server.order(&["quarantine", "release", "01UNKNOWN.1", &id]).exits(65).says(&format!("{id} is in the queue"));
    for local in ["b", "c"] {
        assert!(delivered(&server, local) == expected, "{local}");
    }
    server.order(&["quarantine", "show", &id]).exits(65);
    server.order(&["quarantine", "release", &id]).exits(65);
    server.order(&["quarantine", "delete", &other]).exits(0);
    server.order(&["quarantine", "delete", &other]).exits(65).says("no message of this id is in quarantine");
    server.order(&["quarantine", "list", "--json"]).exits(0).says("\"messages\": []");
    pillarbox_tests::until("the spool is empty", || server.site().files("state/spool").is_empty());
    assert_eq!(server.status()["quarantined"], 0);
}

/// The copy and the message are on disk when 250 is read, and nothing that follows is needed for them.
#[test]
fn both_parts_of_a_message_outlive_a_crash() {
    let tenant = r#"recipients = ["b@example.test", "c@example.test"]"#;
    let site = site("", &[(tenant, "", r#"message = ["quarantine bait"]"#)]);
    let server = site.start();
    let recipients = ["b@example.test", "d@example.test", "c@example.test"];
    let id = greeted(&server).deliver("a@client.test", &recipients, CONTENT);
    server.kill();
    let kept = site.files("state/spool/quarantine");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let copy = kept[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert_ne!(copy, id);

    let server = site.start();
    assert_eq!(delivered(&server, "d"), CONTENT);
    server
        .order(&["quarantine", "list"])
        .exits(0)
        .says(&copy)
        .says("to <b@example.test> <c@example.test>")
        .says("bait");
    server.order(&["quarantine", "release", &copy]).exits(0);
    for local in ["b", "c"] {
        assert_eq!(delivered(&server, local), CONTENT, "{local}");
    }
    // A message has a name in the log by which its copies are found.
    let copy = greeted(&server).deliver("a@client.test", &["b@example.test", "e@example.test"], CONTENT);
    let event =
        server.log().event("message quarantined", &[("original", &copy), ("extension", "e0"), ("hook", "message")]);
    assert_ne!(event.field("id"), copy);
    assert!(site.path(&format!("state/spool/quarantine/{}", event.field("id"))).exists());
}

#[test]
fn what_cannot_be_used_is_listed_as_what_it_is() {
    let site = site("", &[("", "", r#"message = ["quarantine bait"]"#)]);
    let server = site.start();
    let mut client = greeted(&server);
    let ids: Vec<String> = (0..4).map(|_| client.deliver("a@client.test", &["b@example.test"], CONTENT)).collect();
    client.quit();
    assert_eq!(server.stop(), Some(0));
    let path = |name: &str| site.path(&format!("state/spool/quarantine/{name}"));
    let whole = fs::read(path(&ids[0])).unwrap();
    fs::write(path(&ids[0]), &whole[..whole.len() / 2]).unwrap();
    let version = whole.iter().position(|octet| *octet == b'\n').unwrap() - 1;
    let mut future = whole.clone();
    assert_eq!(future[version], b'1');
    future[version] = b'9';
    fs::write(path(&ids[1]), &future).unwrap();
    let mut flipped = fs::read(path(&ids[2])).unwrap();
    let middle = flipped.windows(4).position(|window| window == b"text").unwrap();
    flipped[middle] ^= 1;
    fs::write(path(&ids[2]), &flipped).unwrap();
    fs::write(path("notes \u{1b}[2J"), "x").unwrap();
    fs::create_dir(path("directory")).unwrap();

    let server = site.start();
    let list = server.order(&["quarantine", "list"]).exits(0);
    assert!(!list.stdout.contains('\u{1b}'), "{list}");
    list.says("notes ").says("directory");
    let list = server.order(&["quarantine", "list", "--json"]).exits(0);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    let fault = |id: &str| {
        let messages = list["messages"].as_array().unwrap();
        let message = messages.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("{id} in {list}"));
        message["fault"].as_str().unwrap_or_default().to_owned()
    };
    assert!(!fault(&ids[0]).is_empty() && !fault("directory").is_empty(), "{list}");
    assert!(fault(&ids[1]).contains("format 9"), "{list}");
    // Content is looked at when somebody asks for it.
    assert_eq!((fault(&ids[2]), fault(&ids[3])), (String::new(), String::new()));
    for id in &ids[..3] {
        server.order(&["quarantine", "release", id]).exits(65);
        server.order(&["quarantine", "show", id]).exits(65);
        assert!(path(id).exists());
    }
    server.order(&["quarantine", "release", &ids[3]]).exits(0);
    assert_eq!(delivered(&server, "b"), CONTENT);
    assert_eq!(fs::read(path(&ids[1])).unwrap(), future, "a newer server can read it");
    greeted(&server).deliver("a@client.test", &["c@example.test"], CONTENT);
}

/// Wherever it fails: before the first part of a message, between them, or at the last.
#[test]
fn a_full_disk_leaves_nothing_of_what_was_refused() {
    let one = (r#"recipients = ["b@example.test"]"#, "", r#"message = ["quarantine one"]"#);
    let two = (r#"recipients = ["c@example.test"]"#, "", r#"message = ["quarantine two"]"#);
    let site = site("", &[one, two]);
    // With a reserve most of this would be refused at MAIL.
    let config = String::from_utf8(site.read("pillarbox.toml")).unwrap();
    site.configure(&format!("{config}\n[spool]\nreserve = {{ octets = \"0B\", inodes = 0 }}\n"));
    let Some(disk) = SmallDisk::mount(site.path("state")) else {
        println!("not tried: no small disk can be mounted here");
        return;
    };
    let server = site.start();
    let mut client = greeted(&server);
    let recipients = ["b@example.test", "c@example.test", "d@example.test"];
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    // It is on disk while it comes in, and there is no room for another.
    let mut cases = vec![(0, 9_000, 452)];
    // It is in memory until it is accepted, and each part takes 56 KiB.
    cases.extend([(1, 800, 452), (40, 800, 452), (80, 800, 452), (140, 800, 452), (400, 800, 250)]);
    let filler = site.path("state/filler");
    for (room, lines, code) in cases {
        if room > 0 {
            while append(&filler, &[0; 4096]) {}
            let length = fs::metadata(&filler).unwrap().len();
            fs::OpenOptions::new().write(true).open(&filler).unwrap().set_len(length - room * 1024).unwrap();
        }
        let reply = client.submit("a@client.test", &recipients, format!("{CONTENT}{}", line.repeat(lines)));
        assert_eq!(reply.code, code, "{room} KiB: {reply}");
        let kept = if code == 250 { 2 } else { 0 };
        assert_eq!(server.status()["quarantined"], kept, "{room} KiB");
        assert_eq!(site.files("state/spool/quarantine").len(), kept, "{room} KiB");
        assert_eq!(site.files("state/spool/incoming").len(), 0, "{room} KiB");
    }
    server.log().event("delivered", &[("recipient", "d@example.test")]);
    assert_eq!(site.files("mail").len(), 1);
    client.quit();
    server.kill();
    drop(disk);
}
