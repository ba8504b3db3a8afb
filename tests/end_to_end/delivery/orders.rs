//! The operator's hand on what waits for a server that is down.

use super::{config, emptied, greeted, route, told};
use pillarbox_tests::sink::{Manner, Sink};
use pillarbox_tests::{Server, Site, free_address, until};
use std::net::SocketAddr;

/// A server with a next hop where nobody listens, and with waits so long that nothing is tried of itself.
fn start() -> (Site, Server, SocketAddr) {
    let dead = free_address();
    let site = Site::new(
        &config("", "retry.longest = \"1h\"", &route("dead.test", &format!("smtp://{dead}"), ""))
            .replace("\"1s\"", "\"1h\""),
    );
    let server = site.start();
    (site, server, dead)
}

#[test]
fn held_released_retried_deleted_and_bounced() {
    let (site, server, dead) = start();
    let mut client = greeted(&server);
    let [held, retried, deleted, bounced, null] =
        ["held@client.test", "retried@client.test", "deleted@client.test", "bounced@client.test", ""].map(|sender| {
            client.deliver(sender, &["b@dead.test", "c@dead.test"], format!("Subject: of {sender}\r\n\r\n"))
        });
    let first = server.log().event("delivery deferred", &[]);
    assert_eq!(first.field("status"), "4.4.1", "{first:?}");
    until("all are known", || server.status()["queue"] == 5);
    let waits = || server.order(&["queue", "list"]).exits(0).stdout;
    server.order(&["queue", "hold", &held]).exits(0);
    // Neither is done while an attempt is under way.
    until("it is deleted", || server.order(&["queue", "delete", &deleted]).stdout.contains("1 message deleted"));
    until("it is bounced", || server.order(&["queue", "bounce", &bounced]).stdout.contains("1 message bounced"));
    until("the other is bounced", || server.order(&["queue", "bounce", &null]).stdout.contains("1 message bounced"));
    let [notice] = &told(&site, "bounced", 1)[..] else { panic!("one notice") };
    for part in
        ["\nStatus: 5.7.1\n", "rfc822; b@dead.test\n", "rfc822; c@dead.test\n", "\nSubject: of bounced@client.test\n"]
    {
        assert!(notice.contains(part), "{part}: {notice}");
    }
    assert_eq!(notice.matches("\nAction: failed\n").count(), 2, "{notice}");
    server.log().event("double bounce, nobody is told", &[("id", &null)]);
    until("two are left", || server.status()["queue"] == 2);
    let left = waits();
    assert!(left.contains(&held) && left.contains(&retried), "{left}");

    // It answers: nothing goes by itself, for its turn is in an hour, and what is held does not go by an order.
    let sink = Sink::start_at(dead, Manner::Take);
    server.order(&["queue", "retry", &held]).exits(1).says("it is held");
    server.order(&["queue", "retry", &retried]).exits(0);
    let [taken] = &sink.wait_for(1)[..] else { panic!("one message") };
    assert_eq!(taken.sender.split(' ').next(), Some("<retried@client.test>"));
    assert_eq!(taken.recipients.len(), 2);
    server.log().event("message ended", &[("id", &retried)]);
    server.order(&["queue", "release", &held]).exits(0);
    server.order(&["queue", "retry", &held]).exits(0);
    assert_eq!(sink.wait_for(2).len(), 2);
    emptied(&server);
    assert_eq!(sink.taken().len(), 2, "what was deleted and bounced stays so");
    assert!(!site.path("told/deleted").exists() && !site.path("told/held").exists());
}

/// By what they have in common, and with the server gone in between.
#[test]
fn orders_outlive_the_server() {
    let (site, server, dead) = start();
    let mut client = greeted(&server);
    let mut ids: Vec<String> = Vec::new();
    for number in 0..20 {
        let sender = format!("s@{}.test", if number % 2 == 0 { "even" } else { "odd" });
        ids.push(client.deliver(&sender, &["b@dead.test"], "Subject: x\r\n\r\n"));
    }
    server.log().event("delivery deferred", &[]);
    until("all even ones are held", || {
        server.order(&["queue", "hold", "--sender", "@even.test"]);
        server.status()["queue_held"] == 10
    });
    server.kill();
    let server = site.start();
    until("all are found again", || server.status()["queue"] == 20 && server.status()["queue_held"] == 10);
    let sink = Sink::start_at(dead, Manner::Take);
    server.order(&["queue", "retry", "--not-held", "--destination", &format!("smtp://{dead}")]);
    until("the odd ones are taken", || {
        server.order(&["queue", "retry", "--not-held"]);
        sink.taken().len() == 10
    });
    assert!(sink.taken().iter().all(|taken| taken.sender.starts_with("<s@odd.test>")));
    server.order(&["queue", "release", "--all"]).exits(0).says("10 messages released");
    until("the others are taken", || {
        server.order(&["queue", "retry", "--all"]);
        sink.taken().len() == 20
    });
    emptied(&server);
    assert_eq!(sink.taken().len(), 20);
}
