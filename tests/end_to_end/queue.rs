//! The queue as its operator sees it: what waits and why, and what can be done about it.

use crate::configs;
use pillarbox_tests::{Client, Server, Site, until};
use std::fs;

const CONTENT: &str = "Subject: x\r\n\r\ntext \u{1b}[2J\r\n";

/// A server whose mailboxes cannot be had: a file is in their place.
fn stuck() -> (Site, Server) {
    let site = Site::new(&configs::maildirs(""));
    fs::write(site.path("mail"), "").unwrap();
    let server = site.start();
    (site, server)
}

fn greeted(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client
}

/// A message that was tried and could not be delivered.
fn deferred(server: &Server, sender: &str, recipients: &[&str]) -> String {
    let id = greeted(server).deliver(sender, recipients, CONTENT);
    server.log().event("delivery deferred", &[("id", &id)]);
    id
}

fn list(server: &Server, selection: &[&str]) -> serde_json::Value {
    let order: Vec<&str> = ["queue", "list", "--json"].iter().chain(selection).copied().collect();
    serde_json::from_str(&server.order(&order).exits(0).stdout).unwrap()
}

/// The ids that a selection covers.
fn ids(server: &Server, selection: &[&str]) -> Vec<String> {
    let list = list(server, selection);
    list["messages"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_waits_is_seen_with_its_reason_and_goes_when_it_can() {
    let (site, server) = stuck();
    let id = deferred(&server, "a@client.test", &["b@example.test", "c@example.test"]);
    until("the attempt is recorded", || list(&server, &[])["messages"][0]["attempts"] == 1);
    let listed = list(&server, &[]);
    let message = &listed["messages"][0];
    assert_eq!((&message["id"], &message["from"]), (&id.clone().into(), &"a@client.test".into()), "{listed}");
    assert_eq!((&message["left"], &message["held"]), (&2.into(), &false.into()), "{listed}");
    for (index, to) in ["b@example.test", "c@example.test"].iter().enumerate() {
        let recipient = &message["to"][index];
        assert_eq!((&recipient["address"], &recipient["standing"]), (&(*to).into(), &"deferred".into()), "{listed}");
        assert!(!recipient["destination"].as_str().unwrap().is_empty(), "{listed}");
        assert!(!recipient["reason"].as_str().unwrap().is_empty(), "{listed}");
    }
    server.order(&["queue", "list"]).exits(0).says(&id).says("to <b@example.test>").says("tried once, next in");
    assert_eq!(server.status()["queue"], 1);
    assert!(server.status()["queue_oldest_seconds"].is_u64());
    server.order(&["status"]).exits(0).says("1 in the queue (oldest ").says("DESTINATION");

    let shown = server.order(&["queue", "show", &id]).exits(0);
    shown.clone().says("session ").says("by ESMTP").says("ehlo_").says("delivery deferred").says("text \\u001b[2J");
    assert!(shown.stdout.chars().all(|c| c == '\n' || !c.is_control()), "{shown}");
    let raw = server.order(&["queue", "show", "--raw", &id]).exits(0).stdout;
    assert!(raw.ends_with(CONTENT) && raw.starts_with("Received: "), "{raw}");
    server.order(&["story", &id]).exits(0).says("delivery deferred").says("now in the queue:\n");

    fs::remove_file(site.path("mail")).unwrap();
    server.order(&["queue", "retry", &id]).exits(0).says(&format!("{id} retried\n1 message retried\n"));
    for local in ["b", "c"] {
        server.log().event("delivered", &[("id", &id), ("recipient", &format!("{local}@example.test"))]);
    }
    until("it is gone", || ids(&server, &[]).is_empty());
    server.order(&["queue", "show", &id]).exits(65).says("no such message in the queue");
    server.order(&["story", &id]).exits(0).says("delivery deferred").says("delivered").says("order carried out");
    assert_eq!((&server.status()["queue"], &server.status()["queue_oldest"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn messages_are_selected_by_what_is_known_of_them() {
    let (_site, server) = stuck();
    let first = deferred(&server, "a@client.test", &["b@example.test"]);
    let second = deferred(&server, "", &["c@example.test", "d@example.test"]);
    let third = deferred(&server, "A@other.test", &["B@Example.test"]);
    server.order(&["queue", "hold", &second]).exits(0).says(&format!("{second} held\n1 message held\n"));
    let all = [&first, &second, &third];
    let destination = list(&server, &[])["messages"][0]["to"][0]["destination"].as_str().unwrap().to_owned();
    for (selection, expected) in [
        (vec![], vec![0, 1, 2]),
        (vec!["--sender", "a@client.test"], vec![0]),
        (vec!["--sender", "@CLIENT.test"], vec![0]),
        (vec!["--sender", "<>"], vec![1]),
        (vec!["--recipient", "d@example.test"], vec![1]),
        (vec!["--recipient", "@example.test"], vec![0, 1, 2]),
        (vec!["--recipient", "@other.test"], vec![]),
        (vec!["--destination", &destination], vec![0, 1, 2]),
        (vec!["--destination", "smtp://nowhere:25"], vec![]),
        (vec!["--older-than", "1h"], vec![]),
        (vec!["--younger-than", "1h"], vec![0, 1, 2]),
        (vec!["--held"], vec![1]),
        (vec!["--not-held"], vec![0, 2]),
        (vec!["--meta", "ehlo_domain"], vec![0, 1, 2]),
        (vec!["--meta", "ehlo_domain=client.example.test"], vec![0, 1, 2]),
        (vec!["--meta", "ehlo_domain=other"], vec![]),
        (vec!["--meta", "no_such_name"], vec![]),
        (vec!["--not-held", "--sender", "@other.test"], vec![2]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|index: usize| all[index].clone()).collect();
        assert_eq!(ids(&server, &selection), expected, "{selection:?}");
        if !selection.is_empty() {
            let order: Vec<&str> = ["queue", "delete", "--dry-run"].iter().chain(&selection).copied().collect();
            let would = server.order(&order).exits(0).stdout;
            let lines: Vec<String> = would.lines().map(str::to_owned).collect();
            let (total, named) = lines.split_last().unwrap();
            let named: Vec<&str> = named.iter().map(|line| line.strip_suffix(" would be deleted").unwrap()).collect();
            assert_eq!(named, expected, "{selection:?}");
            assert!(total.starts_with(&format!("{} message", expected.len())), "{would}");
        }
    }
    assert_eq!(ids(&server, &[]).len(), 3);
}

#[test]
fn held_released_deleted_bounced() {
    let (site, server) = stuck();
    let [held, deleted, bounced, left] =
        ["h", "d", "b", "l"].map(|local| deferred(&server, &format!("{local}@example.test"), &["x@example.test"]));
    server.order(&["queue", "hold", &held, "01UNKNOWN.1"]).exits(1).says("01UNKNOWN.1 not held: no such message");
    assert_eq!(server.status()["queue_held"], 1);
    server.order(&["queue", "list", "--held"]).exits(0).says("held until it is released");
    server.order(&["queue", "delete", &deleted]).exits(0).says("1 message deleted");
    server.order(&["queue", "bounce", "--sender", "b@example.test"]).exits(0).says(&format!("{bounced} bounced"));
    until("two are gone", || !ids(&server, &[]).iter().any(|id| *id == deleted || *id == bounced));
    for wrong in ["../queue/x", "..", "", "x\u{1b}[2J"] {
        for order in ["hold", "retry", "delete"] {
            server.order(&["queue", order, wrong]).exits(1);
        }
        server.order(&["queue", "show", wrong]).exits(65);
    }
    for order in ["hold", "retry", "delete", "bounce", "release"] {
        server.order(&["queue", order]).exits(2).says("--all");
    }
    fs::remove_file(site.path("mail")).unwrap();
    server.order(&["queue", "retry", "--not-held"]).exits(0);
    server.log().event("delivered", &[("id", &left)]);
    // It is held over a restart, and nobody else's order lets it go.
    server.stop();
    let server = site.start();
    until("it is found again", || ids(&server, &["--held"]) == [held.clone()]);
    server.order(&["queue", "retry", &held]).exits(1).says("it is held");
    server.order(&["queue", "release", "--held"]).exits(0).says(&format!("{held} released"));
    // It is due when it was before.
    server.order(&["queue", "retry", &held]).exits(0);
    server.log().event("delivered", &[("id", &held)]);
}

/// What lies in the queue's directory and cannot be delivered is shown for what it is.
#[test]
fn faults_are_listed() {
    let (site, server) = stuck();
    let id = deferred(&server, "a@client.test", &["b@example.test"]);
    let queue = site.path("state/spool/queue");
    fs::create_dir(queue.join("01DIRECTORY.1")).unwrap();
    fs::write(queue.join("not a message"), "x").unwrap();
    fs::write(queue.join("01LATER.1"), "pillarbox spool 99\n").unwrap();
    let listed = list(&server, &[]);
    assert_eq!(listed["messages"].as_array().unwrap().len(), 1, "{listed}");
    let faults: Vec<&str> =
        listed["faults"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    for name in ["queue/01LATER.1", "queue/01DIRECTORY.1", "queue/not a message"] {
        assert!(faults.contains(&name), "{name}: {listed}");
    }
    server.order(&["queue", "list"]).exits(0).says(&id).says("queue/01LATER.1\n  ");
}
