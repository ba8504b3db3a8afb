//! How sessions end: whoever still sends when the server has said its last word can hear it all the same, and holds nothing
//! for long.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Server, Site, until};
use std::io::Read;

/// More than a session reads at a time.
const FLOOD: usize = 1 << 20;

/// More than the peer's own system holds for a connection that is gone.
const MORE: usize = 5 << 20;

fn start(mode: &str) -> Server {
    let site = Site::new(&configs::maildirs(&format!("{}\nlimits.errors = 3", configs::tls(mode))));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.start()
}

/// What ends a session, and its last word.
const ENDS: [(&str, &str); 5] = [
    ("QUIT\r\n", "221 2.0.0 *"),
    ("BDAT what\r\n", "521 5.5.4 *"),
    ("BDAT 99999999999 LAST\r\n", "552 5.3.4 *"),
    ("XWHAT\r\nXWHAT\r\nXWHAT\r\n", "421 4.7.0 *"),
    ("RSET\r\nBDAT 99999999999 LAST\r\n", "503 5.5.1 *"),
];

#[test]
fn the_last_word_is_heard_whatever_the_peer_still_sends() {
    let server = start("starttls");
    for under_tls in [false, true] {
        for (octets, last) in ENDS {
            let mut client = server.client("edge");
            client.hello();
            if under_tls {
                client.starttls();
                client.hello();
            }
            client.begin("a@client.test", &["b@example.test"]);
            client.send(octets);
            client.pour(FLOOD);
            for _ in 1..octets.lines().count() {
                client.reply();
            }
            client.expect_reply(last);
            client.pour(MORE);
            client.expect_close();
        }
    }
}

#[test]
fn octets_in_the_clear_behind_starttls_are_no_reset() {
    let server = start("starttls");
    let mut client = server.client("edge");
    client.hello();
    client.send("STARTTLS\r\nNOOP\r\n");
    client.pour(FLOOD);
    client.expect_reply("554 5.5.0 *");
    client.pour(MORE);
    client.expect_close();
}

#[test]
fn the_alert_of_a_failed_handshake_is_heard() {
    let server = start("implicit");
    let mut client = Client::dial(server.address("edge"), None);
    client.pour(FLOOD);
    let mut said = Vec::new();
    client.socket().read_to_end(&mut said).unwrap();
    // 21 is an alert (RFC 8446 section 5.1).
    assert_eq!(said.first(), Some(&21), "{said:?}");
}

#[test]
fn who_does_not_end_its_side_is_left() {
    let server = start("starttls");
    let mut client = server.client("edge");
    client.hello();
    client.expect("QUIT", "221 2.0.0 *");
    client.expect_close();
    // Nothing waits for it but the socket.
    server.log().event("session ended", &[("end", "closed")]);
    until("no session", || server.status()["listeners"][0]["sessions"] == 0);
    drop(client);
}
