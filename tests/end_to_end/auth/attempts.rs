//! Guessing: how often a login may fail from one address and for one user, and what the log says when it is too often.

use super::{CLEAR, NAME, PASSWORD, site};
use pillarbox_tests::{Client, Reply, Server, auth, until};
use std::net::IpAddr;

/// Logins fail three times within this window.
fn start(window: &str) -> Server {
    let site = site(&format!("{CLEAR}limits.auth-failures = 3\nlimits.auth-window = \"{window}\"\n"));
    site.user("bob", "bobs-password");
    site.start()
}

/// One attempt in a session of its own, from 127.0.0.`last`.
fn attempt(server: &Server, last: u8, user: &str, password: &str) -> Reply {
    let mut client = Client::connect_from(IpAddr::from([127, 0, 0, last]), server.address("edge"));
    client.hello();
    let reply = auth::plain(&mut client, user, password);
    client.quit();
    reply
}

#[test]
fn an_address_that_failed_too_often_is_not_heard() {
    let server = start("10m");
    for user in ["carol", "dave", "erin"] {
        assert_eq!(attempt(&server, 2, user, "guess").code, 535, "{user}");
    }
    let unheard = attempt(&server, 2, NAME, PASSWORD);
    assert_eq!(unheard.last(), "454 4.7.0 too many failed logins, try again later");
    let refused = server.log().event("login refused", &[("limit", "auth-failures"), ("of", "address")]);
    assert_eq!(refused.field("client"), "127.0.0.2");
    // By every mechanism, and before anything is asked.
    let mut client = Client::connect_from(IpAddr::from([127, 0, 0, 2]), server.address("edge"));
    client.hello();
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        client.expect(&format!("AUTH {mechanism}"), "454 4.7.0 *");
    }
    // Mail is taken as before.
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    assert_eq!(attempt(&server, 3, NAME, PASSWORD).code, 235);
}

#[test]
fn a_user_for_whom_too_many_failed_is_not_heard_from_anywhere() {
    let server = start("10m");
    for last in [2, 3, 4] {
        assert_eq!(attempt(&server, last, "bob", "guess").code, 535);
    }
    assert_eq!(attempt(&server, 5, "bob", "bobs-password").code, 454);
    let refused = server.log().event("login refused", &[("limit", "auth-failures"), ("of", "user")]);
    assert_eq!(refused.field("client"), "127.0.0.5");
    assert_eq!(attempt(&server, 5, NAME, PASSWORD).code, 235);
    // Somebody unknown is counted alike: who is counted tells nothing.
    for last in [6, 7, 8] {
        assert_eq!(attempt(&server, last, "nobody", "guess").code, 535);
    }
    assert_eq!(attempt(&server, 9, "nobody", "guess").code, 454);
}

/// Begun in time, each of them would be one more guess: the right one alone is answered by a proof of the server.
#[test]
fn exchanges_that_were_begun_before_are_not_heard_either() {
    let server = start("10m");
    let begun = [(); 2].map(|()| {
        let mut client = server.client("edge");
        client.hello();
        let begun = auth::UNBOUND.begin(&mut client, NAME).unwrap();
        (client, begun)
    });
    for last in [2, 3, 4] {
        assert_eq!(attempt(&server, last, NAME, "guess").code, 535);
    }
    for (password, (mut client, begun)) in ["guess", PASSWORD].into_iter().zip(begun) {
        assert_eq!(begun.prove(&mut client, password).last(), "454 4.7.0 too many failed logins, try again later");
        client.expect("NOOP", "250 2.0.0 *");
    }
}

/// Each of them is let in to try, for none has failed yet.
#[test]
fn guesses_made_at_one_time_are_no_more_than_others() {
    let server = start("10m");
    let mut clients: Vec<Client> = (0..24).map(|_| server.client("edge")).collect();
    for client in &mut clients {
        client.hello();
    }
    let guess = format!("AUTH PLAIN {}\r\n", auth::plain_message(NAME, "guess"));
    clients.iter_mut().for_each(|client| client.send(&guess));
    let codes: Vec<u16> = clients.iter_mut().map(|client| client.reply().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 535).count(), 3, "{codes:?}");
    assert!(codes.iter().all(|code| [454, 535].contains(code)), "{codes:?}");
    assert_eq!(attempt(&server, 2, NAME, PASSWORD).code, 454);
}

#[test]
fn a_success_does_not_buy_an_address_more_guesses() {
    let server = start("10m");
    for _ in 0..3 {
        assert_eq!(attempt(&server, 2, "bob", "guess").code, 535);
        let own = attempt(&server, 2, NAME, PASSWORD).code;
        if own == 454 {
            break;
        }
        assert_eq!(own, 235);
    }
    assert_eq!(attempt(&server, 2, NAME, PASSWORD).code, 454);
    // A user's own slips are forgiven.
    for _ in 0..2 {
        assert_eq!(attempt(&server, 3, NAME, "slip").code, 535);
    }
    assert_eq!(attempt(&server, 3, NAME, PASSWORD).code, 235);
    for _ in 0..2 {
        assert_eq!(attempt(&server, 4, NAME, "slip").code, 535);
    }
    assert_eq!(attempt(&server, 5, NAME, PASSWORD).code, 235);
}

#[test]
fn what_is_malformed_counts_and_what_is_cancelled_does_not() {
    let server = start("10m");
    let mut client = server.client("edge");
    client.hello();
    for _ in 0..5 {
        client.expect("AUTH PLAIN", "334 ");
        client.expect("*", "501 5.0.0 *");
        client.expect("AUTH UNHEARD-OF", "504 5.5.4 *");
    }
    for _ in 0..3 {
        client.expect("AUTH PLAIN AAA=", "501 5.5.2 *");
    }
    client.expect("AUTH PLAIN", "454 4.7.0 *");
}

#[test]
fn a_window_ends() {
    let server = start("1s");
    for _ in 0..3 {
        assert_eq!(attempt(&server, 2, NAME, "guess").code, 535);
    }
    // The first may have gone out of the window by now, on a machine that is busy.
    until("the window's end", || attempt(&server, 2, NAME, PASSWORD).code == 235);
}
