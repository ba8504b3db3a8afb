//! What waits while things change: the server stops or is away, the routes are others, the first of several hosts is gone.

use super::{config, emptied, greeted, route, same, told};
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Site, free_address, until};
use std::time::Duration;

const CONTENT: &str = "Subject: x\r\n\r\ntext\r\n";

#[test]
fn a_reload_leads_what_waits_elsewhere() {
    let (busy, other) = (Sink::start(Manner::Reply(Stage::Recipient, "450 4.2.1 busy")), Sink::start(Manner::Take));
    let to = |sink: &Sink| config("", "", &route("n.test", &format!("smtp://{}", sink.address()), ""));
    let site = Site::new(&to(&busy));
    let server = site.start();
    let id = greeted(&server).deliver("s@client.test", &["b@n.test", "c@n.test"], CONTENT);
    server.log().event("delivery deferred", &[("id", &id)]);
    server.reconfigure(&to(&other));
    let [taken] = &other.wait_for(1)[..] else { panic!("one message") };
    assert_eq!(taken.recipients, ["<b@n.test>", "<c@n.test>"]);
    emptied(&server);
    assert!(busy.taken().is_empty());
}

/// What is under way when the server is told to stop is brought to its end, and is not done again by the next one.
#[test]
fn a_stop_waits_for_what_is_in_hand() {
    let sink = Sink::start(Manner::Slow(Duration::from_millis(5)));
    let site = Site::new(&config("", "", &route("n.test", &format!("smtp://{}", sink.address()), "")));
    let server = site.start();
    greeted(&server).deliver("s@client.test", &["b@n.test"], CONTENT);
    until("a connection", || sink.connections() > 0);
    assert_eq!(server.stop(), Some(0));
    let taken = sink.taken().len();
    sink.behave(Manner::Take);
    let server = site.start();
    emptied(&server);
    assert_eq!((taken, sink.taken().len()), (1, 1));
}

/// Its days ran out while nobody could try: it is tried before it is given up.
#[test]
fn what_expired_while_the_server_was_away_is_tried() {
    let sink = Sink::start(Manner::Reply(Stage::Recipient, "450 4.2.1 busy"));
    let routes = route("n.test", &format!("smtp://{}", sink.address()), "");
    let site = Site::new(&config("", "retry.longest = \"1s\"\nretry.expire = \"2s\"", &routes));
    let server = site.start();
    let id = greeted(&server).deliver("s@client.test", &["b@n.test"], CONTENT);
    let accepted = std::time::Instant::now();
    server.log().event("delivery deferred", &[("id", &id)]);
    server.kill();
    sink.behave(Manner::Take);
    until("its time to be over", || accepted.elapsed() > Duration::from_millis(2100));
    let server = site.start();
    let [taken] = &sink.wait_for(1)[..] else { panic!("one message") };
    same("late", taken, CONTENT.as_bytes());
    emptied(&server);
    assert!(!site.path("told").exists());
}

#[test]
fn of_several_hosts_the_first_that_answers_is_used() {
    let dead = free_address();
    let turning_away = Sink::start(Manner::Reply(Stage::Banner, "421 4.3.2 not now"));
    let (second, third) = (Sink::start(Manner::Take), Sink::start(Manner::Take));
    let hosts =
        [dead, turning_away.address(), second.address(), third.address()].map(|host| format!("\"smtp://{host}\""));
    let routes = format!("[[route]]\ndomains = [\"n.test\"]\nto = [{}]\n", hosts.join(", "));
    let server = Site::new(&config("", "", &routes)).start();
    let mut client = greeted(&server);
    for number in 1..=5 {
        client.deliver("s@client.test", &["b@n.test"], CONTENT);
        second.wait_for(number);
    }
    assert!(third.taken().is_empty() && turning_away.taken().is_empty());
    emptied(&server);
    let deferred = server.log().events().iter().filter(|event| event.is("delivery deferred")).count();
    assert_eq!(deferred, 0);
}

/// One message, a thousand recipients, of whom some are nobody: one notice of just those.
#[test]
fn a_thousand_recipients_are_each_served_or_told_of() {
    let sink = Sink::start(Manner::Except("nobody", "550 5.1.1 no such user"));
    let server = Site::new(&config("", "", &route("n.test", &format!("smtp://{}", sink.address()), ""))).start();
    let to: Vec<String> = (0..1000)
        .map(|number| format!("{}{number}@n.test", if number % 100 == 7 { "nobody" } else { "user" }))
        .collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    greeted(&server).deliver("s@client.test", &to, CONTENT);
    emptied(&server);
    let mut served: Vec<String> = sink.taken().into_iter().flat_map(|taken| taken.recipients).collect();
    served.sort();
    let mut expected: Vec<String> = to.iter().filter(|to| to.starts_with("user")).map(|to| format!("<{to}>")).collect();
    expected.sort();
    assert_eq!(served, expected);
    let [notice] = &told(server.site(), "s", 1)[..] else { panic!("one notice") };
    assert_eq!(notice.matches("\nFinal-Recipient: rfc822; nobody").count(), 10, "{notice}");
    assert_eq!(notice.matches("\nFinal-Recipient: ").count(), 10, "{notice}");
}

/// Many messages over few connections, whatever the sink does between them.
#[test]
fn connections_are_used_again() {
    let sink = Sink::start(Manner::Take);
    let routes = route("n.test", &format!("smtp://{}", sink.address()), "concurrency = 2\nmessages = 25");
    let server = Site::new(&config("", "", &routes)).start();
    let mut client = greeted(&server);
    for _ in 0..100 {
        client.deliver("s@client.test", &["b@n.test"], CONTENT);
    }
    assert_eq!(sink.wait_for(100).len(), 100);
    emptied(&server);
    let connections = sink.connections();
    assert!((4..=12).contains(&connections), "{connections} connections");
}
