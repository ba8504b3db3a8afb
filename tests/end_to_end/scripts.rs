//! Components in JavaScript and Python, from the sources in `extensions/examples`: asked at every hook, with every import
//! they have, failing, and never ending.
//!
//! Like the clients they are tried by `cargo xtask test --clients`, which builds them: the tools come from npm and PyPI.
//! Both are in one server, because compiling them takes half a minute.

use pillarbox_tests::pattern::matches;
use pillarbox_tests::{Client, Event, Server, Site, auth, guest};
use std::time::Duration;

/// Each language by the name of its listener and extension, with what the component calls itself.
const LANGUAGES: [(&str, &str); 2] = [("javascript", "JavaScript"), ("python", "Python")];

/// Compiling takes so long on a machine that has other things to do.
const COMPILED: Duration = Duration::from_secs(600);

#[test]
fn components_in_other_languages_are_whole_extensions() {
    if std::env::var_os("PILLARBOX_CLIENTS").is_none() {
        println!("not tried: components in other languages are built by `cargo xtask test --clients`");
        return;
    }
    let server = start();
    for (name, language) in LANGUAGES {
        every_hook_is_asked(&server, name, language);
        refusals_are_counted(&server, name, language);
        logins_are_judged(&server, name);
        failures_are_told(&server, name);
    }
    clients_are_refused(&server);
}

fn start() -> Server {
    let listeners: String = LANGUAGES.iter().map(|(name, _)| listener(name)).collect();
    let site = Site::new(&format!(
        r#"[server]
hostname = "mx.example.test"
state-dir = "state"

[log]
format = "json"

[extension.xdumpcontext]
component = "builtin:xdumpcontext"

[[route]]
to = "discard:"
{listeners}"#
    ));
    site.start_within(COMPILED)
}

fn listener(name: &str) -> String {
    // Missing, it is better told of here.
    guest(&format!("example-{name}"));
    format!(
        r#"
[listener.{name}]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
auth.without-tls = true

[[listener.{name}.extension]]
use = "{name}"
peers = ["127.0.0.0/8"]
grant.session = ["listener", "client"]
grant.context-read = true
grant.context-write = {{ message = ["policy_*"] }}
grant.credentials = ["XTOKEN", "PLAIN", "LOGIN"]
grant.envelope-read = true
grant.message-read = true

[[listener.{name}.extension]]
use = "xdumpcontext"
peers = ["127.0.0.0/8"]
grant.context-read = {{ message = ["policy_*"] }}

[extension.{name}]
component = "../../../target/guests/example-{name}.wasm"
limits = {{ memory = "64MiB", cpu = "2s", wall = "20s" }}

[extension.{name}.settings]
clients = ["127.0.0.66"]
names = ["bad.example"]
addresses = ["spam@example.net", "no@example.test"]
most = 2
marker = "X-TEST-MARKER"
users = ["anne:secret"]
drill = true
"#
    )
}

/// One conversation past every hook; each tells what it saw.
fn every_hook_is_asked(server: &Server, name: &str, language: &str) {
    let mut client = server.client(name);
    said(server, name, &format!("connect from 127.0.0.1 to {name}"));
    let greeted = client.hello();
    said(server, name, "EHLO client.example.test");
    assert!(greeted.says("XPOLICY REFUSED=0") && greeted.says("AUTH PLAIN LOGIN XTOKEN"), "{greeted}");

    client.expect("XPOLICY now", "501 5.5.4 XPOLICY takes no argument");
    client.expect("XPOLICY", "354 sender or recipient?");
    client.expect("sender", "354 which address?");
    client.expect("spam@example.net", &format!("250 2.0.0 as {language} sees it, this sender is refused"));

    client.expect("MAIL FROM:<a@sender.example> BODY=8BITMIME", "250 2.1.0 *");
    said(server, name, "MAIL <a@sender.example> BODY=8BITMIME");
    for (number, recipient) in ["b@example.test", "c@example.test"].into_iter().enumerate() {
        client.expect(&format!("RCPT TO:<{recipient}>"), "250 2.1.5 *");
        said(server, name, &format!("RCPT <{recipient}> after {number}"));
    }
    client.expect("DATA", "354 *");
    said(server, name, "DATA from <a@sender.example> for 2");
    client.content("Subject: hello\r\n\tthere \u{e4}\r\nX-Other: b\r\n\r\ntext\r\n");
    let taken = client.expect_reply("250 2.0.0 OK *");
    said(server, name, "message of * octets with Subject X-Other");
    let id = taken.last().rsplit(' ').next().unwrap_or_default();
    said(server, name, &format!("accepted {id} for b@example.test c@example.test: hello there *"));
    let dumped = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    assert!(dumped.says(&format!("[message] policy_language {language}")), "{dumped}");

    client.begin("a@sender.example", &["b@example.test", "c@example.test", "d@example.test"]);
    client.expect("DATA", "452 4.5.3 too many recipients");
    client.expect("RSET", "250 *");
    let refused = client.submit("", &["b@example.test"], "Subject: x\r\n\r\nnow an X-TEST-MARKER\r\nmore\r\n");
    assert_eq!(refused.last(), format!("550 5.7.1 message refused ({language})"));
    said(server, name, "refused for: X-TEST-MARKER");
    client.quit();
    said(server, name, "0 addresses refused in this session");
}

/// What a session is to remember is there at its next command, also in another instance.
fn refusals_are_counted(server: &Server, name: &str, language: &str) {
    let mut client = server.client(name);
    client.expect("EHLO bad.example", "550 5.7.1 no mail from this name");
    client.hello();
    let reply = format!("550 5.7.1 sender refused ({language})");
    client.expect("MAIL FROM:<spam@example.net>", &reply);
    client.expect("MAIL FROM:<SPAM@example.net>", &reply);
    client.expect("MAIL FROM:<a@sender.example>", "250 *");
    client.expect("RCPT TO:<no@example.test>", &format!("550 5.7.1 recipient refused ({language})"));
    assert!(client.hello().says("XPOLICY REFUSED=3"));
    client.quit();
    said(server, name, "3 addresses refused in this session");
}

fn logins_are_judged(server: &Server, name: &str) {
    let mut client = server.client(name);
    client.hello();
    client.expect("AUTH XTOKEN", &format!("334 {}", auth::encode("name?")));
    client.expect(&auth::encode("anne"), &format!("334 {}", auth::encode("password?")));
    client.expect(&auth::encode("guess"), "535 5.7.8 *");
    assert_eq!(auth::plain(&mut client, "nobody", "secret").code, 535);
    assert_eq!(auth::plain(&mut client, "anne", "guess").code, 535);
    assert_eq!(auth::login(&mut client, "anne", "secret").code, 235);
    client.quit();
    said(server, name, "asked for a password");

    let mut client = server.client(name);
    client.hello();
    client.expect(&format!("AUTH XTOKEN {}", auth::encode("anne")), &format!("334 {}", auth::encode("password?")));
    client.expect(&auth::encode("secret"), "235 2.7.0 *");
    client.quit();
}

/// What is thrown is told with its words, what does not end is ended, and the session goes on.
fn failures_are_told(server: &Server, name: &str) {
    let mut client = server.client(name);
    client.hello();
    client.expect("MAIL FROM:<a@sender.example>", "250 *");
    client.expect("RCPT TO:<throw@example.test>", "451 4.3.0 *");
    let event = said(server, name, "*a drill for throw@example.test*");
    assert_eq!(event.level, "error");
    client.expect("RCPT TO:<loop@example.test>", "451 4.3.0 *");
    client.expect("RCPT TO:<b@example.test>", "250 *");
    client.quit();

    let status = server.status();
    let failures: Vec<&str> = status["extensions"]
        .as_array()
        .expect("a list of extensions")
        .iter()
        .filter(|extension| extension["name"] == name)
        .flat_map(|extension| extension["failures"].as_object().expect("failures by kind").keys())
        .map(String::as_str)
        .collect();
    assert_eq!(failures, ["cpu", "trap"], "{status}");
}

fn clients_are_refused(server: &Server) {
    for (name, _) in LANGUAGES {
        let refused = "127.0.0.66".parse().expect("an address");
        let mut client = Client::dial(server.address(name), Some(refused));
        client.expect_reply("554 5.7.1 no mail from this address");
        client.quit();
    }
}

/// Waits until the extension has logged this; `*` is any run.
#[track_caller]
fn said(server: &Server, name: &str, words: &str) -> Event {
    server.log().wait_for(words, |event| {
        event.is("extension")
            && event.field("extension") == name
            && matches(words.as_bytes(), event.field("text").as_bytes())
    })
}
