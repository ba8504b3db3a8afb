//! What a session may, after a reload: rights that came from what is gone go, and connect policy is asked again.

use super::{CONTENT, ONE, TWO, config, listener, policy, probe, probe_settings, stamped, version};
use pillarbox_tests::{Client, Server};

/// always-allow on a listener that relays for whoever is authenticated.
fn allowing(entry: &str, settings: &str) -> String {
    let definition = format!("\n[extension.always-allow]\ncomponent = \"builtin:always-allow\"\n{settings}\n");
    config(&(listener("test", "relay.authenticated = true", entry) + &definition))
}

const ALLOW: &str = r#"
[[listener.test.extension]]
use = "always-allow"
peers = ["127.0.0.0/8"]
grant.session = true
grant.authentication = true
"#;

/// Whether mail to elsewhere is taken now, and who is logged in.
#[track_caller]
fn right(client: &mut Client) -> (bool, Option<String>) {
    client.expect("MAIL FROM:<a@example.net>", "250 2.1.0 *");
    let relays = client.ask("RCPT TO:<b@elsewhere.test>").code == 250;
    client.expect("RSET", "250 *");
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let user = dump.lines.iter().find_map(|line| line.strip_prefix("250-[connection] auth_user "));
    assert_eq!(user.is_some(), dump.to_string().contains("can_relay true"), "{dump}");
    (relays, user.map(str::to_owned))
}

#[test]
fn a_login_goes_with_what_gave_it() {
    let anonymous = (true, Some("anonymous".to_owned()));
    let nobody = (false, None);
    let server = Server::start(&allowing(ALLOW, ""));
    let (mut idle, mut busy) = (server.client("test"), server.client("test"));
    idle.hello();
    busy.hello();
    assert_eq!(right(&mut idle), anonymous);
    busy.begin("a@example.net", &["b@elsewhere.test"]);

    server.reconfigure(&allowing("", ""));
    assert_eq!(right(&mut idle), nobody);
    // A message is handled by one generation to its end.
    busy.expect("RCPT TO:<c@elsewhere.test>", "250 2.1.5 *");
    busy.expect("DATA", "354 *");
    busy.content(CONTENT);
    busy.expect_reply("250 2.0.0 OK *");
    assert_eq!(right(&mut busy), nobody);

    server.reconfigure(&allowing(ALLOW, ""));
    assert_eq!(right(&mut idle), anonymous);
    // Other settings, and a grant that no longer covers the user.
    server.reconfigure(&allowing(ALLOW, "settings = { user = \"guest\" }"));
    assert_eq!(right(&mut idle), (true, Some("guest".to_owned())));
    server.reconfigure(&allowing(ALLOW, "settings = { deny = true }"));
    assert_eq!(right(&mut idle), nobody);
    server.reconfigure(&allowing(ALLOW, ""));
    assert_eq!(right(&mut idle), anonymous);
    server.reconfigure(&allowing(&ALLOW.replace("127.0.0.0/8", "127.0.0.2/32"), ""));
    assert_eq!(right(&mut idle), nobody);
    idle.quit();
    busy.quit();
}

#[test]
fn a_login_comes_back_with_what_gives_it() {
    // Away and back while the session idles: it is as a new one would be.
    let server = Server::start(&allowing(ALLOW, ""));
    let mut client = server.client("test");
    client.hello();
    assert!(right(&mut client).0);
    server.reconfigure(&allowing("", ""));
    // The session hears of it while it idles, before the next.
    for _ in 0..20 {
        server.client("test").quit();
    }
    server.reconfigure(&allowing(ALLOW, ""));
    assert_eq!(right(&mut client), (true, Some("anonymous".to_owned())));
    client.quit();
}

#[test]
fn a_login_from_a_verb_goes_with_its_extension() {
    let xclient = r#"
[[listener.test.extension]]
use = "xclient"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = ["login", "addr"]
grant.authentication = true
"#;
    let text = |entry: &str| {
        allowing(entry, "")
            .replace("[extension.always-allow]", "[extension.xclient]")
            .replace("builtin:always-allow", "builtin:xclient")
    };
    let server = Server::start(&text(xclient));
    let logged_in = |client: &mut Client| {
        client.hello();
        client.expect("XCLIENT LOGIN=alice", "220 *");
        client.hello();
        assert_eq!(right(client), (true, Some("alice".to_owned())));
    };
    let (mut gone, mut narrowed) = (server.client("test"), server.client("test"));
    logged_in(&mut gone);
    logged_in(&mut narrowed);
    server.reconfigure(&text(""));
    assert_eq!(right(&mut gone), (false, None));
    gone.expect("XCLIENT LOGIN=alice", "502 5.5.1 *");
    gone.quit();

    // It may still be there and no longer give this right: that is gone as well.
    server.reconfigure(&text(xclient));
    logged_in(&mut narrowed);
    server.reconfigure(&text(
        &xclient.replace("\"login\", ", "").replace("authentication = true", "authentication = false"),
    ));
    assert_eq!(right(&mut narrowed), (false, None));
    server.reconfigure(&text(xclient));
    logged_in(&mut narrowed);
    server.reconfigure(&text(&xclient.replace("127.0.0.0/8", "127.0.0.2/32")));
    assert_eq!(right(&mut narrowed), (false, None));
    narrowed.quit();
}

#[test]
fn what_a_verb_forbade_stays_forbidden() {
    let text = |user: &str, entries: &str| {
        allowing(entries, &format!("settings = {{ user = \"{user}\" }}")) + &probe_settings("")
    };
    let both = ALLOW.to_owned() + &probe("test");
    let server = Server::start(&text("one", &both));
    let mut client = server.client("test");
    client.hello();
    assert_eq!(right(&mut client), (true, Some("one".to_owned())));
    client.expect("XTRY authentication.forbid", "250 2.0.0 *: ok");
    assert_eq!(right(&mut client), (false, None));
    // Connect hooks are asked again, and cannot take it back.
    server.reconfigure(&text("two", &both));
    assert_eq!(right(&mut client), (false, None));
    client.quit();
}

/// The policy with addresses it refuses at connect, and names it refuses at hello.
fn refusing(clients: &str, names: &str) -> String {
    let settings = format!("[extension.policy.settings]\nclients = [{clients}]\nnames = [{names}]");
    config(&(listener("test", "", &policy("test")) + &version(ONE, &settings)))
}

#[test]
fn connect_policy_is_asked_again_when_it_changed() {
    let server = Server::start(&refusing("", ""));
    let (mut idle, mut busy) = (server.client("test"), server.client("test"));
    idle.hello();
    busy.hello();
    busy.begin("a@example.net", &["b@example.test"]);
    server.reconfigure(&refusing("\"127.0.0.1\"", ""));
    // In place of the next command's reply; then nothing is left but to go.
    idle.expect("MAIL FROM:<a@example.net>", "554 5.7.1 no mail from this address (policy 1)");
    idle.expect("MAIL FROM:<a@example.net>", "503 5.7.0 *");
    idle.expect("EHLO again", "503 5.7.0 *");
    idle.quit();
    busy.expect("DATA", "354 *");
    busy.content(CONTENT);
    busy.expect_reply("250 2.0.0 OK *");
    busy.expect("NOOP", "554 5.7.1 no mail from this address (policy 1)");
    busy.quit();
    let mut fresh = Client::dial(server.address("test"), None);
    fresh.expect_reply("554 5.7.1 *");
    fresh.quit();
}

#[test]
fn hello_policy_is_asked_again_when_it_changed() {
    let server = Server::start(&refusing("", ""));
    let mut client = server.client("test");
    client.expect("EHLO bad.example", "250 *");
    server.reconfigure(&refusing("", "\"bad.example\""));
    client.expect("MAIL FROM:<a@example.net>", "550 5.7.1 no mail from this name (policy 1)");
    client.expect("MAIL FROM:<a@example.net>", "503 5.*");
    client.quit();
}

#[test]
fn sessions_of_a_listener_that_is_gone_are_told_and_the_others_go_on() {
    let both = |component| {
        config(
            &(listener("test", "", &policy("test"))
                + &listener("other", "", &policy("other"))
                + &version(component, "")),
        )
    };
    let alone = |component| config(&(listener("test", "", &policy("test")) + &version(component, "")));
    let server = Server::start(&both(ONE));
    let address = server.address("other");
    let (mut idle, mut busy, mut stays) = (server.client("other"), server.client("other"), server.client("test"));
    for client in [&mut idle, &mut busy, &mut stays] {
        client.hello();
    }
    busy.begin("a@example.net", &["b@example.test"]);
    stays.begin("a@example.net", &["b@example.test"]);
    let reload = server.reconfigure(&alone(TWO));
    assert!(reload.stdout.contains("listener other: gone"), "{reload}");
    idle.expect_reply("421 4.3.2 *");
    idle.expect_close();
    assert!(pillarbox_tests::Wire::connect(address, None).is_err(), "the door is still open");
    // A message under way is finished, by the generation it began with.
    busy.expect("DATA", "354 *");
    busy.content(CONTENT);
    busy.expect_reply("250 2.0.0 OK *");
    busy.expect_reply("421 4.3.2 *");
    busy.expect_close();
    stays.expect("DATA", "354 *");
    stays.content(CONTENT);
    stays.expect_reply("250 2.0.0 OK *");
    assert_eq!(stamped(&mut stays, "policy_version").as_deref(), Some("1"));
    stays.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(&mut stays, "policy_version").as_deref(), Some("2"));
    stays.quit();
}

#[test]
fn new_addresses_are_served() {
    let text = |listeners: &[&str]| config(&listeners.iter().map(|name| listener(name, "", "")).collect::<String>());
    let server = Server::start(&text(&["test"]));
    let mut stays = server.client("test");
    stays.hello();
    let reload = server.reconfigure(&text(&["test", "new"]));
    assert!(reload.stdout.contains("listener new: new"), "{reload}");
    let mut new = server.client("new");
    new.hello();
    new.deliver("a@example.net", &["b@example.test"], CONTENT);
    new.quit();
    stays.deliver("a@example.net", &["b@example.test"], CONTENT);
    stays.quit();
}
