//! Who may see secrets: the capability `credentials`, by which logins are judged at `verify` and mechanisms are spoken at
//! `authenticate`.

use super::{Probe, attempt, config, gateway, granted, proposed};
use pillarbox_tests::{Client, Server, Site};
use std::net::{IpAddr, Ipv4Addr};

/// Speaks XPROBE and judges passwords.
const BOTH: &str = r#"mechanisms = ["XPROBE"], judge = "yes""#;
/// Logins are taken in the clear here.
const CLEAR: &str = "auth.without-tls = true";
/// The password of `alice` in these tests, which nobody may find anywhere.
const PASSWORD: &str = "S3cretPassword";
/// PLAIN's message with it: `\0alice\0S3cretPassword`.
const PLAIN: &str = "AGFsaWNlAFMzY3JldFBhc3N3b3Jk";
/// `alice`
const ALICE: &str = "YWxpY2U=";

/// What is offered for AUTH.
fn offered(client: &mut Client) -> Vec<String> {
    let reply = client.hello();
    let line = reply.lines.iter().filter_map(|line| line.get(4..)?.strip_prefix("AUTH ")).next();
    line.map(|line| line.split(' ').map(str::to_owned).collect()).unwrap_or_default()
}

/// How often the log says that a hook was asked.
fn asked(server: &Server, hook: &str) -> usize {
    let text = format!("asked at {hook}");
    server.log().events().iter().filter(|event| event.field("text").starts_with(&text)).count()
}

#[test]
fn without_the_grant_the_load_is_refused_with_the_line() {
    for (settings, line) in [
        (BOTH, r#"grant.credentials = ["PLAIN", "LOGIN", "XPROBE"]"#),
        (r#"judge = "no""#, r#"grant.credentials = ["PLAIN", "LOGIN"]"#),
        (r#"mechanisms = ["XPROBE", "XOTHER"]"#, r#"grant.credentials = ["XOTHER", "XPROBE"]"#),
    ] {
        let probe = Probe { name: "probe", settings, listener: CLEAR, ..Probe::default() };
        let site = Site::new(&config(&probe.config()));
        let check =
            site.run(&["check"]).says("extension `probe` needs `credentials`, which listener `probe` does not grant");
        assert_ne!(check.code, Some(0), "{settings}");
        assert_eq!(proposed(&check.stderr), [line], "{check}");
        site.configure(&config(&granted(&probe.config(), &[line.to_owned()])));
        site.run(&["check"]).exits(0);
    }
    // A hook without work needs nothing, and nobody is told to grant it.
    let probe = Probe { name: "probe", grants: &[("session", "")], ..Probe::default() };
    let check = Site::new(&config(&probe.config())).run(&["check"]);
    let lines = proposed(&check.stderr);
    assert!(lines.len() == 1 && lines[0].starts_with("grant.session"), "{lines:?}");
    Site::new(&config(&Probe { grants: &[], ..probe }.config())).run(&["check"]).exits(0);
}

#[test]
fn a_mechanism_must_be_named_by_the_grant() {
    let probe = Probe {
        name: "probe",
        settings: BOTH,
        listener: CLEAR,
        entry: r#"grant.credentials = ["PLAIN"]"#,
        ..Probe::default()
    };
    let site = Site::new(&config(&probe.config()));
    let said = site
        .run(&["check"])
        .says("extension `probe` declares the SASL mechanism `XPROBE`, which its `credentials` do not name");
    assert_ne!(said.code, Some(0));
    assert_eq!(proposed(&said.stderr), [r#"grant.credentials = ["PLAIN", "XPROBE"]"#], "{said}");
    let mended = Probe { entry: r#"grant.credentials = ["PLAIN", "XPROBE"]"#, ..probe };
    site.configure(&config(&mended.config()));
    site.run(&["check"]).exits(0);
}

#[test]
fn denied_it_is_never_asked() {
    let probe = Probe {
        name: "probe",
        settings: BOTH,
        listener: CLEAR,
        entry: "grant.credentials = false",
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("probe");
    assert_eq!(offered(&mut client), Vec::<String>::new());
    for command in [format!("AUTH PLAIN {PLAIN}"), format!("AUTH XPROBE {ALICE}"), "AUTH XPROBE".to_owned()] {
        client.expect(&command, "50* 5.5.* *");
    }
    assert_eq!(attempt(&mut client, "session.authentication"), "ok None");
    client.quit();
    server.log().count(1, "session ended");
    assert_eq!((asked(&server, "verify"), asked(&server, "authenticate")), (0, 0));
}

#[test]
fn what_is_offered_is_what_is_granted() {
    let probe = |name: &'static str, entry: &'static str| Probe {
        name,
        settings: r#"mechanisms = ["XPROBE"], judge = "yes""#,
        listener: CLEAR,
        entry,
        ..Probe::default()
    };
    let text = probe("plain", r#"grant.credentials = ["PLAIN", "XPROBE"]"#).config()
        + &probe("scram", r#"grant.credentials = ["SCRAM-SHA-256", "XPROBE"]"#).config()
        // EXTERNAL is the server's own to judge.
        + &probe("external", r#"grant.credentials = ["EXTERNAL", "XPROBE"]"#).config();
    let server = Server::start(&config(&text));
    for (listener, mechanisms) in
        [("plain", &["PLAIN", "XPROBE"][..]), ("scram", &["SCRAM-SHA-256", "XPROBE"]), ("external", &["XPROBE"])]
    {
        let mut client = server.client(listener);
        assert_eq!(offered(&mut client), mechanisms, "{listener}");
        client.quit();
    }
    let mut client = server.client("plain");
    client.hello();
    client.expect("AUTH LOGIN", "504 5.5.4 *");
    client.expect(&format!("AUTH PLAIN {PLAIN}"), "235 2.7.0 *");
    assert_eq!(attempt(&mut client, "session.authentication"), r#"ok Some("alice")"#);
    client.quit();
}

#[test]
fn who_is_logged_in_is_a_matter_of_the_client() {
    // With `trust = "peer"` the verb stays with the peer; a login never does.
    let probe = Probe {
        name: "probe",
        settings: BOTH,
        listener: CLEAR,
        entry: "peers = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\ntrust = \"peer\"\ngrant.credentials = true",
        ..Probe::default()
    };
    let server = Server::start(&config(&(probe.config() + &gateway("probe"))));
    for (addr, there) in [("10.1.2.3", true), ("192.0.2.1", false), ("[UNAVAILABLE]", false)] {
        let mut client = server.client("probe");
        assert!(offered(&mut client).contains(&"XPROBE".to_owned()));
        client.expect(&format!("XCLIENT ADDR={addr}"), "220 *");
        assert_eq!(offered(&mut client).contains(&"XPROBE".to_owned()), there, "{addr}");
        match there {
            true => _ = client.expect(&format!("AUTH XPROBE {ALICE}"), "235 2.7.0 *"),
            false => _ = client.expect(&format!("AUTH XPROBE {ALICE}"), "50* 5.5.* *"),
        }
        // The verb is there all the same.
        attempt(&mut client, "session.id");
        client.quit();
    }
}

#[test]
fn the_first_that_does_not_say_no_decides() {
    let entry = |name: &'static str, settings: &'static str| Probe {
        name,
        settings,
        entry: "grant.credentials = [\"PLAIN\"]",
        ..Probe::default()
    };
    let judges = [
        entry("no", r#"verb = "", judge = "no""#),
        entry("yes", r#"verb = "", judge = "yes""#),
        entry("later", r#"verb = "", judge = "later""#),
        entry("fails", r#"verb = "", judge = "fail""#),
        entry("skipped", r#"verb = "", judge = "fail""#),
    ];
    let cases = [
        ("a", &["no", "yes", "later"][..], "235 2.7.0 *"),
        ("b", &["no", "later", "yes"], "454 4.7.0 *"),
        ("c", &["yes", "no"], "235 2.7.0 *"),
        ("d", &["no"], "535 5.7.8 *"),
        ("e", &["fails", "yes"], "454 4.7.0 *"),
        ("f", &["skipped", "yes"], "235 2.7.0 *"),
        ("g", &["skipped", "no"], "535 5.7.8 *"),
        ("h", &["skipped"], "535 5.7.8 *"),
    ];
    let mut text = String::new();
    for (listener, extensions, _) in cases {
        text += &format!("\n[listener.{listener}]\naddress = [\"127.0.0.1:0\"]\n{CLEAR}\n");
        for name in extensions {
            text += &judges.iter().find(|judge| judge.name == *name).unwrap().entry_of(listener);
        }
    }
    for Probe { name, settings, .. } in judges {
        let skips = if name == "skipped" { "on-failure = \"skip\"" } else { "" };
        text += &format!(
            "\n[extension.{name}]\ncomponent = \"../../../target/guests/prober.wasm\"\nsettings = {{ {settings} }}\n{skips}\n"
        );
    }
    let server = Server::start(&config(&text));
    for (listener, _, reply) in cases {
        let mut client = server.client(listener);
        client.hello();
        client.expect(&format!("AUTH PLAIN {PLAIN}"), reply);
        client.quit();
    }
}

#[test]
fn what_can_be_done_where_secrets_are_seen() {
    let attempts = r#"authenticate = ["context-write.set connection mark here", "authentication.allow mallory", "authentication.forbid", "identity.set-addr 10.0.0.1", "session.authentication"]"#;
    let settings = format!("mechanisms = [\"XPROBE\"], {attempts}");
    let probe = Probe {
        name: "probe",
        settings: &settings,
        listener: CLEAR,
        entry: "grant.credentials = true",
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("probe");
    client.hello();
    let reply = client.ask(&format!("AUTH XPROBE {ALICE}"));
    assert_eq!(reply.code, 535, "{reply}");
    for (tried, went) in [
        ("context-write.set connection mark here", "ok"),
        // Who proves who it is says so by its answer, and no other way.
        ("authentication.allow mallory", "unavailable"),
        ("authentication.forbid", "unavailable"),
        ("identity.set-addr 10.0.0.1", "unavailable"),
        ("session.authentication", "ok None"),
    ] {
        assert!(reply.says(&format!("{tried}: {went}")), "{tried}: {reply}");
    }
    // What was staged took effect, for the call returned.
    assert_eq!(attempt(&mut client, "context-read.get connection mark"), r#"ok Some("here")"#);
    client.quit();
}

#[test]
fn an_exchange_goes_step_by_step() {
    let probe = Probe {
        name: "probe",
        settings: r#"mechanisms = ["XPROBE"]"#,
        listener: CLEAR,
        entry: "grant.credentials = true",
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("probe");
    client.hello();
    // `who?`
    client.expect("AUTH XPROBE", "334 d2hvPw==");
    client.expect("*", "501 5.0.0 *");
    // The state of an exchange that was given up is no line of a verb's.
    client.expect("XTRY session.id;more", "354 *");
    client.expect("a line", "250 2.0.0 line a line");
    client.expect("AUTH XPROBE", "334 d2hvPw==");
    client.expect("", "535 5.7.8 *");
    client.expect("AUTH xprobe", "334 d2hvPw==");
    client.expect(ALICE, "235 2.7.0 *");
    assert_eq!(attempt(&mut client, "session.authentication"), r#"ok Some("alice")"#);
    client.quit();
}

#[test]
fn secrets_are_in_no_log() {
    let probe = |name: &'static str, judge: &'static str, on_failure: &'static str| {
        let settings = format!("mechanisms = [\"XPROBE\"], judge = \"{judge}\"");
        Probe { name, settings: &settings, listener: CLEAR, entry: "grant.credentials = true", ..Probe::default() }
            .config()
            .replacen("component", &format!("on-failure = \"{on_failure}\"\ncomponent"), 1)
    };
    let text = probe("yes", "yes", "tempfail") + &probe("no", "no", "tempfail") + &probe("fail", "fail", "tempfail");
    let server = Server::start(&(config(&text) + "\n[log]\nlevel = \"trace\"\n"));
    for (listener, reply) in [("yes", "235 2.7.0 *"), ("no", "535 5.7.8 *"), ("fail", "454 4.7.0 *")] {
        let mut client = server.client(listener);
        client.hello();
        client.expect(&format!("AUTH PLAIN {PLAIN}"), reply);
        client.quit();
        // The same secret as a mechanism of its own gets it, taken for a user's name only where that is asked for.
        let mut client = server.client(listener);
        client.hello();
        client.expect("AUTH XPROBE", "334 *");
        client.expect("not base64", "501 5.5.2 *");
        client.quit();
    }
    server.log().count(6, "session ended");
    server.log().count(1, "extension failed");
    for line in server.log().lines() {
        for secret in [PASSWORD, PLAIN, "UzNjcmV0UGFzc3dvcmQ"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[test]
fn two_claims_on_one_mechanism_need_peers_apart() {
    let text = |one: &str, two: &str| {
        let entry = |name: &str, peers: &str| {
            let entry = format!("{peers}\ngrant.credentials = true");
            Probe { name, entry: &entry, ..Probe::default() }.entry_of("shared")
        };
        let definitions = ["one", "two"].map(|name| {
            format!(
                "\n[extension.{name}]\ncomponent = \"../../../target/guests/prober.wasm\"\n\
                 settings = {{ verb = \"\", mechanisms = [\"XPROBE\"] }}\n"
            )
        });
        config(
            &(format!("[listener.shared]\naddress = [\"127.0.0.1:0\"]\n{CLEAR}\n")
                + &entry("one", one)
                + &entry("two", two)
                + &definitions.concat()),
        )
    };
    let site = Site::new("");
    for (one, two) in [("", ""), ("peers = [\"127.0.0.0/8\"]", "peers = [\"127.0.0.2/32\"]")] {
        site.configure(&text(one, two));
        let check = site.run(&["check"]).says("extensions `one` and `two` both declare the SASL mechanism `XPROBE`");
        assert_ne!(check.code, Some(0), "{one} {two}");
    }
    // Whom the operator denied it claims nothing.
    site.configure(&text("", "").replacen("grant.credentials = true", "grant.credentials = false", 1));
    site.run(&["check"]).exits(0);

    site.configure(&text("peers = [\"127.0.0.1/32\"]", "peers = [\"127.0.0.2/32\"]"));
    let server = site.start();
    for last in 1..=3 {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let mut client = Client::connect_from(from, server.address("shared"));
        assert_eq!(offered(&mut client).contains(&"XPROBE".to_owned()), last < 3, "{from}");
        client.quit();
    }
}

#[test]
fn behind_a_proxy_peers_must_be_named_on_loopback_too() {
    let site = Site::new("");
    for (proxy, needed) in [("", false), ("proxy.from = [\"127.0.0.1/32\"]", true)] {
        let probe = Probe { name: "probe", listener: proxy, ..Probe::default() };
        site.configure(&config(&probe.config()));
        let check = site.run(&["check"]);
        assert_eq!(check.code != Some(0), needed, "{check}");
        assert_eq!(check.stderr.contains("must say for whom it is there"), needed, "{check}");
        let peers = Probe { entry: "peers = [\"10.0.0.0/8\"]", ..probe };
        site.configure(&config(&peers.config()));
        site.run(&["check"]).exits(0);
    }
}
