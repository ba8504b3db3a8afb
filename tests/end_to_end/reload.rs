//! Hot reload: a new configuration is taken up as a whole or not at all, by open sessions between their messages, and
//! nobody is dropped.
//!
//! `example-policy` and `example-policy-v2` are two versions of one component; their replies, their keyword and the stamp
//! they leave in a message's context say which of them judged.

mod load;
mod refused;
mod rights;
mod rollback;

use crate::configs::listeners as config;
use pillarbox_tests::{Client, Event, Server};

/// A listener with these lines and entries, and XDUMPCONTEXT.
pub fn listener(name: &str, lines: &str, entries: &str) -> String {
    let address = if lines.contains("address") { "" } else { "address = [\"127.0.0.1:0\"]" };
    format!(
        r#"
[listener.{name}]
{address}
relay.domains = ["example.test"]
{lines}
{entries}
[[listener.{name}.extension]]
use = "xdumpcontext"
peers = ["127.0.0.0/8"]
grant.context-read = true
"#
    )
}

/// An entry of the policy on a listener.
pub fn policy(listener: &str) -> String {
    format!(
        r#"
[[listener.{listener}.extension]]
use = "policy"
grant.session = ["client"]
grant.context-read = {{ connection = ["policy_bypass"] }}
grant.context-write = {{ message = ["policy_*"] }}
grant.envelope-read = true
grant.message-read = true
"#
    )
}

/// The policy itself, in one of its versions.
pub fn version(component: &str, settings: &str) -> String {
    format!("\n[extension.policy]\ncomponent = \"../../../target/guests/{component}.wasm\"\n{settings}\n")
}

const ONE: &str = "example-policy";
const TWO: &str = "example-policy-v2";
const SETTINGS: &str = r#"
[extension.policy.settings]
senders = ["spam@example.net"]
recipients = ["no@example.test"]
refusals = 3
marker = "X-TEST-MARKER"
"#;

/// One listener with the policy.
fn with_policy(component: &str) -> String {
    config(&(listener("test", "", &policy("test")) + &version(component, SETTINGS)))
}

/// `prober` on a listener.
fn prober(listener: &str, settings: &str) -> String {
    probe(listener) + &probe_settings(settings)
}

fn probe(listener: &str) -> String {
    format!(
        r#"
[[listener.{listener}.extension]]
use = "prober"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = false
grant.authentication = true
grant.context-read = true
grant.context-write = true
grant.envelope-read = true
grant.message-read = true
"#
    )
}

fn probe_settings(settings: &str) -> String {
    format!("\n[extension.prober]\ncomponent = \"../../../target/guests/prober.wasm\"\nsettings = {{ {settings} }}\n")
}

const CONTENT: &str = "Subject: hello\r\n\r\ntext\r\n";

/// What a name of the message context holds.
#[track_caller]
fn stamped(client: &mut Client, name: &str) -> Option<String> {
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let prefix = format!("250-[message] {name} ");
    dump.lines.iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}

/// How often a hook of `prober` was asked for the first session of the server, by the log.
#[track_caller]
fn asked(server: &Server, hook: &str) -> usize {
    let first = server.log().event("session opened", &[]);
    let text = format!("asked at {hook}");
    let of = |event: &&Event| event.field("session") == first.field("session") && event.field("text") == text;
    server.log().events().iter().filter(of).count()
}

#[test]
fn an_open_session_is_judged_anew_from_its_next_message_on() {
    let server = Server::start(&with_policy(ONE));
    let mut clients: Vec<Client> = (0..5).map(|_| server.client("test")).collect();
    for client in &mut clients {
        assert!(client.hello().says("XPOLICY 1 LEFT=3"));
    }
    let [idle, silent, mail, recipient, content] = clients.as_mut_slice() else { panic!("five") };
    // One has been refused once, which the extension remembers.
    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 1)");
    mail.expect("MAIL FROM:<a@example.net>", "250 2.1.0 *");
    recipient.begin("a@example.net", &["b@example.test"]);
    content.begin("a@example.net", &["b@example.test"]);
    content.expect("DATA", "354 *");
    content.send("Subject: half\r\n");

    let reload = server.reconfigure(&with_policy(TWO));
    assert!(reload.stdout.contains("extension policy on test: component changed"), "{reload}");

    // Outside a transaction: at the next command, without another EHLO.
    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");
    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");
    // What it remembers went over with the session.
    idle.expect("MAIL FROM:<a@example.net>", "451 4.7.1 * (policy 2)");
    silent.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(silent, "policy_version").as_deref(), Some("2"));
    assert!(silent.hello().says("XPOLICY 2 LEFT=3"));

    // Inside: the old one to the end of the message, wherever it stood.
    mail.expect("RCPT TO:<no@example.test>", "550 5.7.1 recipient refused (policy 1)");
    mail.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    mail.expect("DATA", "354 *");
    mail.content("Subject: x\r\n\r\nX-TEST-MARKER\r\n");
    mail.expect_reply("550 5.7.1 message refused (policy 1)");
    mail.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");

    recipient.expect("DATA", "354 *");
    recipient.content(CONTENT);
    recipient.expect_reply("250 2.0.0 OK *");
    assert_eq!(stamped(recipient, "policy_version").as_deref(), Some("1"));
    recipient.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");

    content.send("\r\nother half\r\n.\r\n");
    content.expect_reply("250 2.0.0 OK *");
    assert_eq!(stamped(content, "policy_version").as_deref(), Some("1"));
    content.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(content, "policy_version").as_deref(), Some("2"));
    for client in clients {
        client.quit();
    }
}

#[test]
fn rset_ends_the_old_generation_as_well() {
    let server = Server::start(&with_policy(ONE));
    let mut client = server.client("test");
    client.hello();
    client.begin("a@example.net", &["b@example.test"]);
    server.reconfigure(&with_policy(TWO));
    client.expect("RSET", "250 *");
    client.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");
    client.quit();
}

#[test]
fn verbs_and_parameters_come_and_go() {
    let without = config(&listener("test", "", ""));
    let with = config(&listener("test", "", &prober("test", "parameter = \"XNOTE\"")));
    let server = Server::start(&with);
    let (mut early, mut late) = (server.client("test"), server.client("test"));
    for client in [&mut early, &mut late] {
        assert!(client.hello().says("XTRY"));
        client.expect("XTRY session.id", "250 2.0.0 *");
    }
    early.expect("MAIL FROM:<a@example.net> XNOTE=1", "250 2.1.0 *");
    server.reconfigure(&without);
    // In the transaction it is still there.
    early.expect("XTRY session.id", "250 2.0.0 *");
    early.expect("RSET", "250 *");
    for client in [&mut early, &mut late] {
        // It was advertised, so it is not unknown; it is gone.
        client.expect("XTRY session.id", "502 5.5.1 *");
        client.expect("MAIL FROM:<a@example.net> XNOTE=1", "555 5.5.4 *");
        assert!(!client.hello().says("XTRY"));
        client.expect("XTRY session.id", "500 5.5.2 *");
    }
    server.reconfigure(&with);
    // Keywords stay as advertised until the next EHLO; who knows the verb may say it.
    early.expect("XTRY session.id", "250 2.0.0 *");
    assert!(late.hello().says("XTRY"));
    late.expect("MAIL FROM:<a@example.net> XNOTE=1", "250 2.1.0 *");
    early.quit();
    late.quit();
}

#[test]
fn an_exchange_is_finished_by_whom_it_was_begun() {
    let with = |stamp: &str| config(&listener("test", "", &prober("test", &format!("stamp = \"{stamp}\""))));
    let server = Server::start(&with("one"));
    let mut client = server.client("test");
    client.hello();
    client.expect("XTRY session.id; more", "354 *");
    server.reconfigure(&config(&listener("test", "", "")));
    let reply = client.expect("the line", "250 2.0.0 line the line");
    assert_eq!(reply.lines[0], "250-2.0.0 state session.id; more");
    client.expect("XTRY session.id; more", "502 5.5.1 *");

    // One that comes to nothing holds nobody back either.
    server.reconfigure(&with("two"));
    client.expect("XTRY session.id; more", "354 *");
    client.expect("a line with \u{1}", "500 5.5.2 *");
    server.reconfigure(&with("three"));
    client.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(&mut client, "stamp_mail").as_deref(), Some("three"));
    client.quit();
}

#[test]
fn what_a_session_was_shown_stays_with_it() {
    let with = |name: &str| {
        config(&listener("test", &format!("context = {{ generation = \"{name}\" }}"), &prober("test", "")))
    };
    let server = Server::start(&with("one"));
    let mut client = server.client("test");
    assert!(client.hello().says("XTRY"));
    client.expect("XTRY advertise.hide XTRY; state.set connection a b", "250 2.0.0 *");
    assert!(!client.hello().says("XTRY"));
    server.reconfigure(&with("two"));
    client.expect("XTRY context-read.get connection generation", "250 2.0.0 *: ok Some(\"two\")");
    client.expect("XTRY state.get connection a", "250 2.0.0 *: ok Some(1)");
    assert!(!client.hello().says("XTRY"), "{}", client.transcript());
    client.quit();
}

#[test]
fn hooks_are_asked_again_only_when_they_would_say_something_else() {
    // A client that a peer block says something of.
    let lines = |tier: &str, relay: &str, peer: &str| {
        format!(
            "context = {{ tier = \"{tier}\" }}\nrelay.hosts = [\"{relay}\"]\n[listener.test.peer.\"127.0.0.0/8\"]\n\
             relay.hosts = [\"{peer}\"]\n"
        )
    };
    let text = |lines: &str, settings: &str| config(&listener("test", lines, &prober("test", settings)));
    let (here, there) = ("127.0.0.0/8", "10.0.0.0/8");
    let server = Server::start(&text(&lines("one", there, here), ""));
    let mut client = server.client("test");
    client.hello();
    let mut others = 0;
    let mut expect = |lines: &str, settings: &str, connect: usize, hello: usize| {
        server.reconfigure(&text(lines, settings));
        client.expect("NOOP", "250 2.0.0 *");
        // When the end of a later session is in the log, so is all that was before.
        server.client("test").quit();
        others += 1;
        server.log().count(others, "session ended");
        assert_eq!((asked(&server, "connect"), asked(&server, "hello")), (connect, hello), "{lines} {settings}");
    };
    // Nothing changed, then something they do not depend on.
    expect(&lines("one", there, here), "", 1, 1);
    expect(&lines("two", there, here), "", 1, 1);
    // What the client may relay.
    expect(&lines("two", there, there), "", 2, 2);
    expect(&lines("two", here, there), "", 2, 2);
    // Their settings.
    expect(&lines("two", here, there), "stamp = \"x\"", 3, 3);
    client.quit();
}

#[test]
fn a_call_under_way_is_finished_and_holds_nobody_up() {
    let hostile = r#"
[[listener.test.extension]]
use = "hostile"
grant.session = true
grant.identity = false
grant.authentication = false
grant.context-write = false
grant.envelope-read = true
grant.message-read = true

[extension.hostile]
component = "../../../target/guests/hostile.wasm"
settings = { at = "mail", act = "loop" }
limits = { cpu = "1s", wall = "60s" }
"#;
    let server = Server::start(&config(&listener("test", "", hostile)));
    let mut client = server.client("test");
    client.hello();
    client.send("MAIL FROM:<a@example.net>\r\n");
    server.reconfigure(&config(&listener("test", "", "")));
    client.expect_reply("451 4.3.0 *");
    client.expect("MAIL FROM:<a@example.net>", "250 2.1.0 *");
    client.quit();
}
