//! A shadow: the peer hears the extension in use and nothing else, and the operator hears where the two differ.

use super::{candidate, probers, tried};
use pillarbox_tests::{Client, Server};
use std::time::{Duration, Instant};

const SETTINGS: &str = "shadow = true\nsettings = { senders = [\"other@example.net\"], recipients = [\"no@example.test\"], \
                        refusals = 1, marker = \"X-OTHER-MARKER\" }";

#[track_caller]
fn differs(server: &Server, hook: &str, active: &str, candidate: &str) {
    let said = [("hook", hook), ("active", active), ("candidate", candidate)];
    let event = server.log().event("candidate differs", &said);
    assert_eq!((event.field("extension"), event.field("listener")), ("policy", "test"));
    assert_eq!(event.level, "warn");
    assert!(!event.field("session").is_empty());
}

#[test]
fn the_peer_hears_the_one_in_use_and_the_operator_where_they_differ() {
    let server = Server::start(&candidate(SETTINGS));
    let mut client = server.client("test");
    assert!(client.hello().says("XPOLICY 1 LEFT=3"));
    client.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 1)");
    differs(&server, "mail", "reject 550 5.7.1", "next");
    client.expect("MAIL FROM:<other@example.net>", "250 *");
    differs(&server, "mail", "next", "reject 550 5.7.1");
    // The one in use has no such hook, for it has no recipients to refuse.
    client.expect("RCPT TO:<no@example.test>", "250 *");
    differs(&server, "recipient", "next", "reject 550 5.7.1");
    client.expect("DATA", "354 *");
    client.content("Subject: x\r\n\r\nX-OTHER-MARKER\r\n");
    client.expect_reply("250 2.0.0 OK *");
    differs(&server, "message", "next", "reject 550 5.7.1");
    // What it staged is nowhere.
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let dump = dump.to_string();
    assert!(dump.contains("policy_version 1") && !dump.contains("policy_version 2"), "{dump}");

    // What it remembers is its own: it has had enough of this session, the one in use has not.
    client.expect("MAIL FROM:<a@example.net>", "250 *");
    differs(&server, "mail", "next", "tempfail 451 4.7.1");
    client.expect("RSET", "250 *");
    assert!(client.hello().says("XPOLICY 1 LEFT=2"));
    // That goes over a reload, too.
    server.reload().exits(0).says("nothing changed");
    let before = status(&server);
    client.expect("MAIL FROM:<a@example.net>", "250 *");
    let after = status(&server);
    assert_eq!(after["differed"].as_u64(), before["differed"].as_u64().map(|count| count + 1));
    assert_eq!(after["trial"], "shadow");
    assert_eq!(after["failures"], serde_json::json!({}));
    assert!(after["compared"].as_u64() > after["differed"].as_u64(), "{after:#}");
    server.order(&["status"]).exits(0).says("CANDIDATE FOR").says(" of ");
}

fn status(server: &Server) -> serde_json::Value {
    server.status()["extensions"][0]["candidate"].clone()
}

#[test]
fn where_both_say_the_same_in_other_words_nothing_is_said() {
    let server = Server::start(&candidate("shadow = true"));
    let mut client = server.client("test");
    client.hello();
    client.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 1)");
    client.deliver("a@example.net", &["b@example.test"], "Subject: x\r\n\r\ntext\r\n");
    client.quit();
    server.log().event("session ended", &[]);
    let counted = status(&server);
    assert_eq!(counted["differed"], 0, "{counted:#}");
    assert!(counted["compared"].as_u64() >= Some(4), "{counted:#}");
    assert!(!server.log().events().iter().any(|event| event.is("candidate differs")));
    // Both say a line at the end, and one sees whose it is.
    let lines = ["1", "2"].map(|version| {
        let text = format!("policy {version} refused 1 addresses in this session");
        server.log().event("extension", &[("text", &text)]).field("candidate").to_owned()
    });
    assert_eq!(lines, ["", "shadow"]);
}

#[test]
fn whatever_a_shadow_does_to_itself_nobody_notices() {
    for (at, kind) in
        [("connect", "trap"), ("hello", "cpu"), ("mail", "cpu"), ("recipient", "trap"), ("message", "memory")]
    {
        let act = match kind {
            "cpu" => "loop",
            "memory" => "memory",
            _ => "stage-then-panic",
        };
        let server = Server::start(&tried(
            "hostile",
            "at = \"none\"",
            "hostile",
            &format!("settings = {{ at = \"{at}\", act = \"{act}\" }}\non-failure = \"disconnect\"\nshadow = true"),
        ));
        let began = Instant::now();
        let mut client = server.client("test");
        client.hello();
        client.deliver("a@example.net", &["b@example.test"], "Subject: x\r\n\r\ntext\r\n");
        client.deliver("a@example.net", &["b@example.test"], "Subject: x\r\n\r\ntext\r\n");
        client.quit();
        // Its own limits bound the wait: 50 ms of CPU a call, on however busy a machine.
        assert!(began.elapsed() < Duration::from_secs(20), "{at}: {:?}", began.elapsed());
        let failed = server.log().event("candidate failed", &[("hook", at), ("kind", kind)]);
        assert_eq!(failed.level, "warn");
        let row = &server.status()["extensions"][0];
        assert!(row["candidate"]["failures"][kind].as_u64() >= Some(1), "{row:#}");
        assert_eq!(row["failures"], serde_json::json!({}), "{row:#}");
    }
}

#[test]
fn a_verb_of_several_lines_goes_on_with_both() {
    let same = "verb = \"XTRY\"";
    let server = Server::start(&probers(same, &format!("shadow = true\nsettings = {{ {same}, mail = [\"panic\"] }}")));
    let mut client = server.client("test");
    client.hello();
    client.expect("XTRY session.listener;more", "354 *");
    let reply = client.expect("go on", "250 *").to_string();
    assert!(reply.contains("state session.listener;more") && reply.contains("line go on"), "{reply}");
    let counted = status(&server);
    assert_eq!((&counted["differed"], &counted["failures"]), (&0.into(), &serde_json::json!({})), "{counted:#}");
    // It can be said to have been there.
    client.expect("MAIL FROM:<a@example.net>", "250 *");
    server.log().event("candidate failed", &[("hook", "mail"), ("kind", "trap")]);
}

#[test]
fn logins_are_compared_and_no_secret_is_said() {
    let server = Server::start(&probers(
        "judge = \"yes\", mechanisms = [\"XPROBE\"]",
        "shadow = true\nsettings = { judge = \"no\", mechanisms = [\"XPROBE\"], authenticate = [\"session.id\"] }",
    ));
    // PLAIN of "user" with the password "hunter22".
    let mut client = login(&server, "AUTH PLAIN AHVzZXIAaHVudGVyMjI=");
    client.expect("NOOP", "250 *");
    let verified = server.log().event("candidate differs", &[("hook", "verify"), ("active", "yes")]);
    assert_eq!(verified.field("candidate"), "no");
    login(&server, "AUTH XPROBE dXNlcg==").quit();
    let spoken = server.log().event("candidate differs", &[("hook", "authenticate"), ("active", "success")]);
    assert_eq!(spoken.field("candidate"), "failure");
    // Said in two steps, which the shadow ends at the first.
    let mut client = server.client("test");
    client.hello();
    client.expect("AUTH XPROBE", "334 *");
    client.expect("dXNlcg==", "235 *");
    server.log().event("candidate differs", &[("hook", "authenticate"), ("active", "challenge")]);
    let log = server.log().lines().join("\n");
    assert!(!log.contains("hunter22") && !log.contains("AHVzZXIAaHVudGVyMjI"), "{log}");
}

#[track_caller]
fn login(server: &Server, command: &str) -> Client {
    let mut client = server.client("test");
    client.hello();
    client.expect(command, "235 *");
    client
}
