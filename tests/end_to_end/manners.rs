//! What one session may do before it is sent away: errors, commands that lead nowhere, talking out of turn. Each limit is
//! named in the log by its key, and counted.

use crate::configs;
use pillarbox_tests::{Client, Server, until};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Insists that sessions reached this limit so often, in the log and in `status`.
#[track_caller]
fn reached(server: &Server, limit: &str, times: u64) {
    server.log().event("refused", &[("by", "protocol"), ("limit", limit)]);
    // A session may log after its peer has read the reply.
    let logged = || server.log().events().iter().filter(|event| event.field("limit") == limit).count() as u64;
    until(limit, || logged() >= times);
    assert_eq!(logged(), times, "{limit}");
    assert_eq!(server.status()["limits_reached"][limit], times, "{limit}");
}

#[test]
fn the_twentieth_error_is_the_last() {
    let server = Server::start(&configs::discard("limits.tarpit-after = 0"));
    let mut client = server.client("edge");
    client.hello();
    // Refusals for now are no errors.
    client.expect("STARTTLS", "502 5.5.1 *");
    for command in
        ["XUNKNOWN", "RCPT TO:<b@example.test>", "MAIL FROM:<a", "DATA", "EHLO", "\u{e9}"].iter().cycle().take(18)
    {
        client.expect(command, "5*");
    }
    client.send("MAIL FROM:<a@client.test>\r\n");
    client.expect_reply("250 2.1.0 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "421 4.7.0 too many errors, closing connection");
    client.expect_close();
    reached(&server, "errors", 1);
    server.log().event("session ended", &[("end", "closed")]);
    assert!(server.site().run(&["status"]).exits(0).stdout.contains("limits reached errors 1\n"));
}

#[test]
fn replies_to_errors_are_held_back_from_the_one_that_is_set_on() {
    let server =
        Server::start(&configs::discard("limits.tarpit-after = 4\nlimits.tarpit = \"300ms\"\nlimits.errors = 6"));
    let mut client = server.client("edge");
    client.hello();
    let mut timed = |pattern: &str| {
        let began = Instant::now();
        client.expect("XUNKNOWN", pattern);
        began.elapsed()
    };
    let quick: Duration = (0..3).map(|_| timed("500 5.5.2 *")).sum();
    for pattern in ["500 5.5.2 *", "500 5.5.2 *", "421 4.7.0 *"] {
        let slow = timed(pattern);
        assert!(slow >= Duration::from_millis(300), "{slow:?} after {quick:?}");
    }
    // Whoever pipelines them waits for all of them, and others do not wait.
    let mut client = server.client("edge");
    client.hello();
    let began = Instant::now();
    client.send("XUNKNOWN\r\n".repeat(5));
    let mut other = server.client("edge");
    other.expect("NOOP", "250 *");
    let undisturbed = began.elapsed();
    for _ in 0..5 {
        client.expect_reply("500 5.5.2 *");
    }
    let held = began.elapsed();
    assert!(held >= Duration::from_millis(600) && undisturbed < held, "{held:?} {undisturbed:?}");
}

#[test]
fn commands_of_a_session() {
    let server = Server::start(&configs::discard("limits.commands = 5"));
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.expect("NOOP", "250 *");
    client.expect("NOOP", "421 4.7.0 too many commands, closing connection");
    client.expect_close();
    reached(&server, "commands", 1);
}

#[test]
fn commands_that_lead_nowhere() {
    let server = Server::start(&configs::discard("limits.junk-commands = 6"));
    let mut client = server.client("edge");
    // The first EHLO leads somewhere.
    client.hello();
    for command in ["NOOP", "RSET", "VRFY b", "HELP", "EHLO client.example.test", "NOOP"] {
        client.expect(command, "2*");
    }
    // A message makes good for it.
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    for _ in 0..6 {
        client.expect("NOOP", "250 *");
    }
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RSET", "421 4.7.0 too many commands without a message, closing connection");
    client.expect_close();
    reached(&server, "junk-commands", 1);
}

#[test]
fn ten_thousand_noops_are_too_many_where_nothing_is_said() {
    let server = Server::start(&configs::discard(""));
    let mut client = server.client("edge");
    client.send("NOOP\r\n".repeat(10_000));
    for _ in 0..100 {
        client.expect_reply("250 2.0.0 *");
    }
    client.expect_reply("421 4.7.0 too many commands without a message, closing connection");
    client.expect_close();
    reached(&server, "junk-commands", 1);
}

#[test]
fn who_is_sent_away_while_it_still_sends_hears_why() {
    let server = Server::start(&configs::discard("limits.commands = 5000\nlimits.junk-commands = 0"));
    let mut client = server.client("edge");
    client.send("HELP\r\n".repeat(20_000));
    // Most of the replies are still on the server's side, and most of the commands nobody wanted to read.
    server.log().event("session ended", &[("end", "closed")]);
    for _ in 0..5000 {
        client.expect_reply("214 2.0.0 *");
    }
    client.expect_reply("421 4.7.0 too many commands, closing connection");
    client.expect_close();
}

#[test]
fn messages_of_a_session() {
    let server = Server::start(&configs::maildirs("limits.messages = 2"));
    let mut client = server.client("edge");
    assert!(client.hello().says("LIMITS MAILMAX=2 RCPTMAX=1000"));
    for _ in 0..2 {
        client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    }
    client.expect("MAIL FROM:<a@client.test>", "452 4.5.3 Service unavailable, batch limit reached");
    client.quit();
    server.log().count(2, "delivered");
    reached(&server, "messages", 1);
    // The next connection has as many.
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
}

#[test]
fn recipients_of_a_session() {
    let server = Server::start(&configs::maildirs("limits.session-recipients = 3"));
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@client.test", &["b@example.test", "c@example.test"], "Subject: one\r\n\r\n");
    client.begin("a@client.test", &["d@example.test"]);
    for _ in 0..2 {
        client.expect(
            "RCPT TO:<e@example.test>",
            "452 4.5.3 Service unavailable, recipients per connection limit reached",
        );
    }
    client.expect("DATA", "354 *");
    client.content("Subject: two\r\n\r\n");
    client.expect_reply("250 2.0.0 OK *");
    server.log().count(3, "delivered");
    reached(&server, "session-recipients", 2);
}

#[test]
fn a_limit_follows_the_client_through_peer_blocks() {
    let server = Server::start(&configs::discard(&format!(
        "limits.recipients = 4\nlimits.errors = 3\nlimits.messages = 1\n\
         [listener.edge.peer.\"10.0.0.0/8\"]\nlimits.recipients = 2\nlimits.messages = 9\n\
         [listener.edge.peer.\"10.1.0.0/16\"]\nlimits.recipients = 1\n\
         [listener.edge.peer.\"127.0.0.2\"]\nlimits.recipients = 3\n{}",
        configs::extensions(&["xclient", "xremoteip"]).replace("peers =", "trust = \"peer\"\npeers =")
    )));
    /// How many recipients a message may have.
    #[track_caller]
    fn room(client: &mut Client) -> usize {
        client.expect("MAIL FROM:<a@client.test>", "250 *");
        let taken = (0..9).take_while(|n| client.ask(&format!("RCPT TO:<b{n}@example.test>")).code == 250).count();
        client.expect("RSET", "250 *");
        taken
    }
    let mut peer = Client::connect_from(IpAddr::from([127, 0, 0, 2]), server.address("edge"));
    peer.hello();
    assert_eq!(room(&mut peer), 3);

    let mut client = server.client("edge");
    client.hello();
    assert_eq!(room(&mut client), 4);
    client.expect("MAIL FROM:<a@client.test>", "452 4.5.3 *");
    // Key by key: the narrowest block says how many recipients, the wider one how many messages, the listener the rest.
    client.expect("XCLIENT ADDR=10.1.2.3", "220 *");
    assert!(client.hello().says("LIMITS MAILMAX=9 RCPTMAX=1"));
    assert_eq!(room(&mut client), 1);
    client.expect("XREMOTEIP 10.2.2.3", "250 *");
    assert_eq!(room(&mut client), 2);
    client.expect("XUNKNOWN", "500 *");
    client.expect("XUNKNOWN", "500 *");
    client.expect("XUNKNOWN", "421 4.7.0 *");
    client.expect_close();
    let refused = server.log().event("refused", &[("limit", "errors")]);
    assert_eq!(refused.field("client"), "10.2.2.3");
}

#[test]
fn who_talks_before_the_banner_is_noticed_or_refused() {
    let server = Server::start(&configs::discard(&format!(
        "limits.banner-delay = \"400ms\"\n[listener.edge.peer.\"127.0.0.2\"]\nlimits.early-talk = \"refuse\"\n\
         [listener.strict]\naddress = [\"127.0.0.1:0\"]\nlimits.early-talk = \"refuse\"\nlimits.banner-delay = \"400ms\"\n{}",
        configs::extensions(&["xdumpcontext"])
    )));
    let address = server.address("edge");
    // Allowed: the banner comes, the command is answered, and policy can know.
    let mut early = Client::dial(address, None);
    early.send("EHLO early.example.test\r\n");
    early.expect_reply("220 *");
    early.expect_reply("250 *");
    assert!(early.ask("XDUMPCONTEXT").says("[connection] early_talker yes"));
    early.quit();
    server.log().event("talked before the banner", &[("client", "127.0.0.1")]);
    // Whoever waits, waits for the banner, and is no early talker.
    let began = Instant::now();
    let mut patient = server.client("edge");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    patient.hello();
    assert!(!patient.ask("XDUMPCONTEXT").to_string().contains("early_talker"));
    patient.quit();
    // Refused in place of the banner, on the listener or for one network, and nothing of it is done.
    for (address, from) in [(server.address("strict"), [127, 0, 0, 1]), (address, [127, 0, 0, 2])] {
        for talk in ["EHLO early.example.test\r\n", "QUIT\r\n", "\r\n", "x"] {
            let mut early = Client::dial(address, Some(IpAddr::from(from)));
            early.send(talk);
            early.expect_reply("421 4.7.0 *");
            early.expect_gone();
        }
    }
    reached(&server, "early-talk", 8);
    Client::connect(server.address("strict")).quit();
}

#[test]
fn unauthorized_pipelining() {
    let server = Server::start(&configs::discard(
        "[listener.edge.peer.\"127.0.0.2\"]\nlimits.unauthorized-pipelining = \"refuse\"\n",
    ));
    let groups = [
        ("", "EHLO client.example.test\r\nMAIL FROM:<a@client.test>\r\n"),
        ("HELO client.example.test\r\n", "MAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.test>\r\n"),
        ("EHLO client.example.test\r\n", "NOOP\r\nMAIL FROM:<a@client.test>\r\n"),
        ("EHLO client.example.test\r\n", "QUIT\r\nNOOP\r\n"),
    ];
    let mut refused = 0;
    for (before, group) in groups {
        for (last, pattern) in [(1, "2*"), (2, "421 4.7.0 *")] {
            let mut client = Client::connect_from(IpAddr::from([127, 0, 0, last]), server.address("edge"));
            if !before.is_empty() {
                client.send(before);
                client.expect_reply("250 *");
            }
            client.send(group);
            client.expect_reply(pattern);
            if last == 2 {
                client.expect_gone();
                refused += 1;
            }
        }
    }
    reached(&server, "unauthorized-pipelining", refused);
    // What RFC 2920 allows stays allowed.
    let mut client = Client::connect_from(IpAddr::from([127, 0, 0, 2]), server.address("edge"));
    client.hello();
    client.send("RSET\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n");
    for pattern in ["250 *", "250 2.1.0 *", "250 2.1.5 *", "354 *"] {
        client.expect_reply(pattern);
    }
    client.content("Subject: x\r\n\r\n");
    client.expect_reply("250 2.0.0 OK *");
    client.quit();
}
