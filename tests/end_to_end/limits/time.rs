//! How long a peer may take: for a command, for a transaction, for a message that drips.

use super::memory;
use crate::configs;
use pillarbox_tests::{Client, PATIENCE, Server};
use std::io::Write;
use std::time::{Duration, Instant};

/// Sends `piece` each tenth of a second until the server has something to say, which is how long it took.
#[track_caller]
fn drip(client: &mut Client, piece: &[u8]) -> Duration {
    let began = Instant::now();
    client.socket().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut octet = [0];
    while client.socket().peek(&mut octet).is_err() {
        client.send(piece);
        assert!(began.elapsed() < PATIENCE, "the server waits on");
    }
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    began.elapsed()
}

/// Insists that the session was ended for this limit, and left nothing.
#[track_caller]
fn ended_by(server: &Server, limit: &str) {
    server.log().event("refused", &[("by", "protocol"), ("limit", limit)]);
    server.log().event("session ended", &[]);
    assert_eq!(server.status()["limits_reached"][limit], 1, "{limit}");
    assert!(server.site().files("state/spool").is_empty());
}

#[test]
fn each_time_limit_has_its_name() {
    let server = Server::start(&configs::discard("limits.command-timeout = \"200ms\""));
    let mut client = server.client("edge");
    client.expect_reply("421 4.4.2 mx.example.test *, closing connection");
    client.expect_close();
    ended_by(&server, "command-timeout");

    let server = Server::start(&configs::discard("limits.data-timeout = \"200ms\""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.expect_reply("421 4.4.2 mx.example.test *, closing connection");
    client.expect_close();
    ended_by(&server, "data-timeout");
}

#[test]
fn commands_do_not_renew_the_time_for_a_transaction() {
    let server = Server::start(&configs::discard("limits.transaction-timeout = \"1s\""));
    let mut client = server.client("edge");
    client.hello();
    // Outside a transaction it does not run.
    for _ in 0..2 {
        let began = Instant::now();
        client.begin("a@client.test", &["b@example.test"]);
        client.expect("RSET", "250 *");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    let began = Instant::now();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    let mut replies = 0;
    loop {
        let reply = client.ask("NOOP");
        if reply.code == 421 {
            assert!(reply.last().starts_with("421 4.4.2 "), "{reply}");
            break;
        }
        replies += 1;
        // It is not to run into the limit of junk commands.
        client.socket().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let said = client.socket().peek(&mut [0]).is_ok();
        client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        if said {
            client.expect_reply("421 4.4.2 *");
            break;
        }
    }
    client.expect_gone();
    assert!(replies > 3 && began.elapsed() >= Duration::from_millis(950), "{replies} in {:?}", began.elapsed());
    ended_by(&server, "transaction-timeout");
}

#[test]
fn a_message_has_no_more_than_the_time_of_its_transaction() {
    let server = Server::start(&configs::discard("limits.transaction-timeout = \"1s\"\nlimits.data-rate = 0"));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    let took = drip(&mut client, b"x\r\n");
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    ended_by(&server, "transaction-timeout");
}

#[test]
fn a_message_that_drips() {
    let server = Server::start(&configs::discard("limits.data-timeout = \"700ms\"\nlimits.data-rate = \"100B\""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    // One octet each tenth of a second: never silent for long, and still too slow.
    let took = drip(&mut client, b"x");
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(10), "{took:?}");
    ended_by(&server, "data-rate");

    // The same by chunks.
    let server = Server::start(&configs::discard("limits.data-timeout = \"700ms\"\nlimits.data-rate = \"100B\""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.send("BDAT 1000 LAST\r\n");
    drip(&mut client, b"x");
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
    ended_by(&server, "data-rate");
}

#[test]
fn a_message_that_comes_at_the_rate_that_is_wanted_takes_its_time() {
    let server = Server::start(&configs::discard("limits.data-timeout = \"500ms\"\nlimits.data-rate = \"100B\""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    let began = Instant::now();
    let patience = Duration::from_millis(50);
    client.socket().set_read_timeout(Some(patience)).unwrap();
    while began.elapsed() < Duration::from_millis(1500) {
        client.send("0123456789abcdef0123456789abcdef\r\n");
        assert!(client.socket().peek(&mut [0]).is_err(), "the server has something to say");
    }
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(".\r\n");
    client.expect_reply("250 2.0.0 OK *");
    client.quit();
}

#[test]
fn replies_that_nobody_takes_cost_no_memory() {
    let server = Server::start(&configs::discard("limits.command-timeout = \"2s\"\nlimits.junk-commands = 0"));
    let client = server.client("edge");
    let before = memory(server.pid());
    let mut socket = client.socket();
    socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Each answer is many times its command: HELP. What the server does not write it must not keep.
    let commands = "HELP\r\n".repeat(100_000);
    let mut sent = 0;
    while let Ok(count) = socket.write(commands.as_bytes()) {
        sent += count;
        assert!(sent < 1 << 30, "the server reads on");
    }
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more");
    // Nobody else waits for it.
    server.client("edge").quit();
    server.log().event("session ended", &[("end", "broken connection")]);
    server.log().event("replies are not taken", &[("limit", "command-timeout")]);
    assert_eq!(server.status()["limits_reached"]["command-timeout"], 1);
}
