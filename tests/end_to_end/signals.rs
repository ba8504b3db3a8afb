//! Signals: the orderly end, and the reload.

use crate::configs;
use pillarbox_tests::{Client, PATIENCE, Server, Wire};
use rustix::process::Signal;
use std::time::Instant;

#[test]
fn a_message_under_way_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&configs::maildirs(""));
        let (mut sender, mut idle) = (server.client("edge"), server.client("edge"));
        let address = server.address("edge");
        sender.hello();
        sender.begin("a@client.test", &["b@example.test"]);
        sender.expect("DATA", "354 *");
        sender.send("Subject: under way\r\n\r\nfirst half, ");

        server.signal(signal);
        // Whoever idles is told to go.
        idle.expect_reply("421 4.3.2 *");
        idle.expect_close();
        server.log().event("stopping", &[]);
        // The door closes a moment later, and nobody new is taken.
        let began = Instant::now();
        while Wire::connect(address, None).is_ok() {
            assert!(began.elapsed() < PATIENCE, "connections are taken while the server stops");
        }

        sender.send("second half\r\n.\r\n");
        sender.expect_reply("250 2.0.0 OK *");
        sender.expect_reply("421 4.3.2 *");
        sender.expect_close();
        assert_eq!(server.wait(), Some(0));
        // What was accepted is in its Maildir, or in the spool for the next start.
        let site = server.site().clone();
        drop(server);
        let server = site.start();
        if server.maildir("mail/example.test/b").messages().is_empty() {
            server.log().event("delivered", &[]);
        }
        assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: under way\n\nfirst half, second half\n");
    }
}

#[test]
fn a_message_between_its_chunks_is_finished() {
    let mut server = Server::start(&configs::maildirs(""));
    let (mut sender, mut left) = (server.client("edge"), server.client("edge"));
    for client in [&mut sender, &mut left] {
        client.hello();
        client.begin("a@client.test", &["b@example.test"]);
        client.send("BDAT 11\r\nSubject: x\r");
        client.expect_reply("250 2.0.0 *");
    }
    let mut idle = server.client("edge");
    server.signal(Signal::TERM);
    // Those who wait for nobody's octets are told at once, whatever others are in the middle of.
    idle.expect_reply("421 4.3.2 *");
    idle.expect_close();
    sender.send("BDAT 6 LAST\r\n\n\r\nend");
    sender.expect_reply("250 2.0.0 OK *");
    sender.expect_reply("421 4.3.2 *");
    sender.expect_close();
    drop(left);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_transaction_before_its_content_is_told_to_come_again() {
    let mut server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    server.signal(Signal::TERM);
    client.expect_reply("421 4.3.2 *");
    client.expect_close();
    assert_eq!(server.wait(), Some(0));
    assert!(!server.site().path("state/control.sock").exists(), "the control socket is left");
}

#[test]
fn asked_twice_it_ends_at_once() {
    let mut server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.hello();
    let kept = client.deliver("a@client.test", &["b@example.test"], "Subject: kept\r\n\r\n");
    client.begin("a@client.test", &["c@example.test"]);
    client.expect("DATA", "354 *");
    client.send("Subject: never ending\r\n");
    server.signal(Signal::TERM);
    server.log().event("stopping", &[]);
    server.signal(Signal::TERM);
    server.wait();
    // What was acknowledged is there, and of the rest nothing is.
    let site = server.site().clone();
    drop(server);
    let server = site.start();
    let b = server.maildir("mail/example.test/b");
    if b.messages().is_empty() {
        server.log().event("delivered", &[("id", &kept)]);
    }
    b.only();
    assert!(!site.path("mail/example.test/c").exists());
}

#[test]
fn nothing_under_way_ends_at_once() {
    let server = Server::start(&configs::discard(""));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn hangup_reloads() {
    let server = Server::start(&configs::discard("banner = \"one\""));
    let address = server.address("edge");
    Client::dial(address, None).expect_reply("220 one");

    server.site().configure(&configs::discard("banner = \"two\""));
    server.signal(Signal::HUP);
    server.log().event("reloaded", &[]);
    Client::dial(address, None).expect_reply("220 two");

    server.site().configure(&configs::discard("baner = \"three\""));
    server.signal(Signal::HUP);
    let refused = server.log().wait_for("a refused reload", |event| event.message.starts_with("reload refused"));
    assert!(refused.field("error").contains("baner"), "{refused:?}");
    Client::dial(address, None).expect_reply("220 two");
}

#[test]
fn many_hangups_do_no_harm() {
    let server = Server::start(&configs::discard(""));
    let mut client = server.client("edge");
    for _ in 0..50 {
        server.signal(Signal::HUP);
        client.expect("NOOP", "250 *");
    }
    server.log().event("reloaded", &[]);
    client.quit();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn other_signals_do_no_harm() {
    let server = Server::start(&configs::discard(""));
    let mut client = server.client("edge");
    // Writing to a socket nobody reads raises it.
    server.signal(Signal::PIPE);
    client.expect("NOOP", "250 *");
    client.quit();
}
