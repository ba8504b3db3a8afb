//! What a sender asks of the queue, end to end: later, sooner, or by TLS alone.

use super::{config, emptied, greeted, route, same, send, told};
use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Site, until};
use std::time::{Duration, Instant};

const CONTENT: &str = "Subject: x\r\n\r\ntext\r\n";

#[test]
fn held_for_a_time_and_over_a_kill() {
    let sink = Sink::start(Manner::Take);
    let site = Site::new(&config(
        "esmtp.futurerelease = true",
        "",
        &route("n.test", &format!("smtp://{}", sink.address()), ""),
    ));
    let server = site.start();
    let mut client = greeted(&server);
    let begun = Instant::now();
    let later = send(&mut client, "<later@client.test> HOLDFOR=3", &["<b@n.test>"], CONTENT);
    send(&mut client, "<now@client.test>", &["<b@n.test>"], CONTENT);
    let [now] = &sink.wait_for(1)[..] else { panic!("one message") };
    assert!(now.sender.starts_with("<now@client.test>"), "{now:?}");
    server.log().count(1, "message ended");
    server.kill();
    let server = site.start();
    until("it is found again", || server.status()["queue"] == 1);
    let taken = sink.wait_for(2);
    // The server goes by the wall clock, whose milliseconds are cut off.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2990), "after {took:?}");
    assert!(taken[1].sender.starts_with("<later@client.test>"), "{taken:?}");
    server.log().event("delivered", &[("id", &later)]);
    emptied(&server);
    assert_eq!(sink.taken().len(), 2);
}

#[test]
fn delivered_by_a_time_or_returned() {
    let sink = Sink::start(Manner::Reply(Stage::Recipient, "450 4.2.1 busy"));
    let routes = route("n.test", &format!("smtp://{}", sink.address()), "");
    let site = Site::new(&config("esmtp.deliverby = true", "retry.longest = \"1s\"", &routes));
    let server = site.start();
    let mut client = greeted(&server);
    // RFC 2852 section 4.1.4: who is to be sure of the return does not give it to a hop that promises nothing.
    send(&mut client, "<unsure@client.test> BY=60;R", &["<b@n.test>"], CONTENT);
    let [unsure] = &told(&site, "unsure", 1)[..] else { panic!("one notice") };
    assert!(unsure.contains("\nAction: failed\nStatus: 5.3.3\n"), "{unsure}");
    server.log().event("message ended", &[]);
    sink.announce(&["DELIVERBY", "8BITMIME"]);
    // A connection that is kept knows nothing of the keyword.
    server.stop();
    let server = site.start();
    let mut client = greeted(&server);
    let begun = Instant::now();
    send(&mut client, "<return@client.test> BY=2;R", &["<b@n.test>"], CONTENT);
    send(&mut client, "<notify@client.test> BY=2;N", &["<b@n.test>"], CONTENT);
    let [returned] = &told(&site, "return", 1)[..] else { panic!("one notice") };
    let took = begun.elapsed();
    assert!((Duration::from_millis(1990)..Duration::from_secs(10)).contains(&took), "after {took:?}");
    assert!(returned.contains("\nAction: failed\nStatus: 5.4.7\n"), "{returned}");
    let [delayed] = &told(&site, "notify", 1)[..] else { panic!("one notice") };
    assert!(delayed.contains("\nAction: delayed\n"), "{delayed}");
    sink.behave(Manner::Take);
    let [taken] = &sink.wait_for(1)[..] else { panic!("one message") };
    // What is left of its time, which may be none (RFC 2852 section 4.1.4.1).
    let by = taken.sender.split(" BY=").nth(1).and_then(|by| by.strip_suffix(";N")?.parse::<i64>().ok());
    assert!(taken.sender.starts_with("<notify@client.test>") && by.is_some_and(|by| by <= 0), "{}", taken.sender);
    emptied(&server);
    told(&site, "notify", 1);
    told(&site, "return", 1);
}

#[test]
fn only_by_tls() {
    let pair = Pair::new(&["sink.example.test"]);
    let (able, unable, plain) = (Sink::start(Manner::Take), Sink::start(Manner::Take), Sink::start(Manner::Take));
    able.announce(&["8BITMIME", "REQUIRETLS"]);
    plain.announce(&["REQUIRETLS"]);
    able.encrypt(&pair);
    unable.encrypt(&pair);
    let keys = "tls.mode = \"verified\"\ntls.authorities = \"sink/cert.pem\"\ntls.name = \"sink.example.test\"";
    let to = |domain: &str, sink: &Sink| route(domain, &format!("smtp://{}", sink.address()), keys);
    let routes = [to("able.test", &able), to("unable.test", &unable), to("plain.test", &plain)].concat();
    let site = Site::new(&config(&configs::tls("starttls"), "retry.longest = \"1s\"\nretry.expire = \"3s\"", &routes));
    pair.write(&site.path("sink"));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    let server = site.start();
    let mut client = greeted(&server);
    client.starttls();
    assert!(client.hello().says("REQUIRETLS"));
    for domain in ["able", "unable", "plain"] {
        send(
            &mut client,
            &format!("<{domain}@client.test> REQUIRETLS RET=FULL"),
            &[&format!("<b@{domain}.test>")],
            CONTENT,
        );
    }
    let [taken] = &able.wait_for(1)[..] else { panic!("one message") };
    assert!(taken.tls && taken.sender.contains(" REQUIRETLS"), "{taken:?}");
    same("able", taken, CONTENT.as_bytes());
    let [refused] = &told(&site, "unable", 1)[..] else { panic!("one notice") };
    assert!(refused.contains("\nAction: failed\nStatus: 5.7.30\n") && !refused.contains("\ntext\n"), "{refused}");
    // Whether the hop offers TLS the next time is not known now.
    told(&site, "plain", 1);
    emptied(&server);
    assert!(unable.taken().is_empty() && plain.taken().is_empty());
}
