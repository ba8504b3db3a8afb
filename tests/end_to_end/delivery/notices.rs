//! What senders are told of a message that a next hop would not have, as they asked to be told.

use super::{config, emptied, greeted, route, send, told};
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Maildir, Server, Site, until};

const CONTENT: &str = "Subject: x\r\nMessage-ID: <1@client.test>\r\n\r\nthe text\r\n";

/// A server that relays what is for `bad.test` to a sink that refuses every recipient, and for `good.test` to one that
/// takes all.
fn start(delivery: &str, refusal: &'static str) -> (Site, Server, Sink) {
    let (bad, good) = (Sink::start(Manner::Reply(Stage::Recipient, refusal)), Sink::start(Manner::Take));
    let routes = [
        route("bad.test", &format!("smtp://{}", bad.address()), ""),
        route("good.test", &format!("smtp://{}", good.address()), ""),
    ];
    let site = Site::new(&config("", delivery, &routes.concat()));
    let server = site.start();
    (site, server, good)
}

fn maildir(site: &Site, user: &str) -> Maildir {
    Maildir::new(site.path(&format!("told/{user}")))
}

#[test]
fn senders_are_told_as_they_asked() {
    let (site, server, good) = start("", "550 5.1.1 <b@bad.test> nobody");
    // Parameters of MAIL and of RCPT, to whom, what the notice says, what it does not say; no notice where it says nothing.
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a [&'a str]);
    let failed = "\nAction: failed\nStatus: 5.1.1\n";
    let cases: &[Case<'_>] = &[
        ("", "", "b@bad.test", &[failed, "\nSubject: x\n"], &["the text", "Original-"]),
        ("RET=HDRS", "NOTIFY=FAILURE", "b@bad.test", &[failed, "\nSubject: x\n"], &["the text"]),
        ("RET=FULL", "NOTIFY=FAILURE,DELAY", "b@bad.test", &[failed, "\nthe text\n", "message/rfc822"], &[]),
        (
            "ENVID=QQ+2B314",
            "ORCPT=rfc822;Other+2Bone@elsewhere.test",
            "b@bad.test",
            &[failed, "\nOriginal-Envelope-Id: QQ+314\n", "\nOriginal-Recipient: rfc822; Other+one@elsewhere.test\n"],
            &[],
        ),
        ("", "NOTIFY=NEVER", "b@bad.test", &[], &[]),
        ("", "NOTIFY=SUCCESS", "b@bad.test", &[], &[]),
        ("RET=FULL", "NOTIFY=DELAY", "b@bad.test", &[], &[]),
        (
            "RET=FULL",
            "NOTIFY=SUCCESS",
            "b@good.test",
            &["\nAction: relayed\nStatus: 2.", "\nSubject: x\n"],
            &["the text"],
        ),
        ("ENVID=a", "NOTIFY=SUCCESS", "b@client.test", &["\nAction: delivered\n", "\nOriginal-Envelope-Id: a\n"], &[]),
        ("", "NOTIFY=FAILURE", "b@good.test", &[], &[]),
        ("", "", "b@client.test", &[], &[]),
    ];
    let mut client = greeted(&server);
    for (number, (mail, rcpt, to, ..)) in cases.iter().enumerate() {
        send(&mut client, &format!("<s{number}@client.test> {mail}"), &[&format!("<{to}> {rcpt}")], CONTENT);
    }
    let null = send(&mut client, "<>", &["<b@bad.test>"], CONTENT);
    server.log().event("double bounce, nobody is told", &[("id", &null)]);
    emptied(&server);
    for (number, (mail, rcpt, to, says, silent)) in cases.iter().enumerate() {
        let what = format!("{mail} {rcpt} {to}");
        let user = format!("s{number}");
        if says.is_empty() {
            assert_eq!(maildir(&site, &user).messages(), Vec::<Vec<u8>>::new(), "{what}");
            continue;
        }
        let [notice] = &told(&site, &user, 1)[..] else { panic!("{what}: not one notice") };
        assert!(notice.starts_with("Return-Path: <>\n"), "{what}: {notice}");
        says.iter().for_each(|part| assert!(notice.contains(part), "{what}, {part}: {notice}"));
        silent.iter().for_each(|part| assert!(!notice.contains(part), "{what}, {part}: {notice}"));
    }
    assert_eq!(good.taken().len(), 2);
}

/// A next hop that knows DSN tells the sender itself.
#[test]
fn a_next_hop_that_can_tell_is_told_what_to() {
    let (site, server, good) = start("", "550 5.1.1 nobody");
    good.announce(&["DSN", "8BITMIME"]);
    let mut client = greeted(&server);
    let rcpt = "<b@good.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@client.test";
    send(&mut client, "<s@client.test> RET=HDRS ENVID=a+2Bb", &[rcpt], CONTENT);
    let [taken] = &good.wait_for(1)[..] else { panic!("one message") };
    for part in [" RET=HDRS", " ENVID=a+2Bb"] {
        assert!(taken.sender.contains(part), "{}", taken.sender);
    }
    assert_eq!(taken.recipients, [rcpt]);
    emptied(&server);
    assert!(!site.path("told").exists());
}

#[test]
fn delayed_and_then_failed_each_once() {
    let (site, server, _) =
        start("retry.longest = \"1s\"\nretry.warn = \"1s\"\nretry.expire = \"5s\"", "450 4.2.1 busy");
    let mut client = greeted(&server);
    let id = send(&mut client, "<s@client.test> ENVID=e", &["<b@bad.test>", "<c@bad.test> NOTIFY=NEVER"], CONTENT);
    send(&mut client, "<f@client.test>", &["<b@bad.test> NOTIFY=FAILURE"], CONTENT);
    let null = send(&mut client, "<>", &["<b@bad.test>"], CONTENT);
    let [delayed] = &told(&site, "s", 1)[..] else { panic!("one notice") };
    for part in
        ["\nAction: delayed\nStatus: 4.2.1\n", "\nWill-Retry-Until: ", "\nDiagnostic-Code: smtp; 450 4.2.1 busy\n"]
    {
        assert!(delayed.contains(part), "{part}: {delayed}");
    }
    server.log().event("message delayed", &[("id", &id)]);
    // What was told stays told.
    server.kill();
    let server = site.start();
    server.log().event("message expired", &[("id", &id)]);
    server.log().event("double bounce, nobody is told", &[("id", &null)]);
    emptied(&server);
    let mut notices = told(&site, "s", 2);
    notices.retain(|notice| notice != delayed);
    let [failed] = &notices[..] else { panic!("one notice more") };
    for part in ["\nAction: failed\nStatus: 4.4.7\n", "450 4.2.1 busy", "\nOriginal-Envelope-Id: e\n"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert!(!failed.contains("c@bad.test"), "{failed}");
    let [failed] = &told(&site, "f", 1)[..] else { panic!("one notice") };
    assert!(failed.contains("\nAction: failed\n"), "{failed}");
    until("nobody else", || maildir(&site, "").messages().is_empty());
}
