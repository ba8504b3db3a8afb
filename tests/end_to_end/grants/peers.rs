//! For whom an extension is there: `peers`, `trust`, and the peer blocks of a listener.

use super::{Probe, attempt, config, gateway};
use pillarbox_tests::{Client, Reply, Server, Site};
use std::net::{IpAddr, Ipv4Addr};

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const THREE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

fn client(server: &Server, listener: &str, from: IpAddr) -> Client {
    Client::connect_from(from, server.address(listener))
}

/// The parameter of a keyword in an EHLO reply.
fn shows(reply: &Reply, keyword: &str) -> Option<String> {
    let line = reply.lines.iter().filter_map(|line| line.get(4..)).find(|line| line.split(' ').next() == Some(keyword));
    line.map(str::to_owned)
}

#[test]
fn outside_peers_an_extension_is_not_there() {
    let probe = Probe {
        name: "probe",
        entry: "peers = [\"127.0.0.2/32\"]",
        settings: r#"verdicts = ["mail=reject"]"#,
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut inside = client(&server, "probe", TWO);
    assert!(inside.hello().says("XTRY"));
    assert_eq!(attempt(&mut inside, "session.peer"), r#"ok Some("127.0.0.2")"#);
    inside.expect("MAIL FROM:<a@example.test>", "550 5.7.1 *");
    inside.quit();

    let mut outside = client(&server, "probe", ONE);
    assert!(!outside.hello().says("XTRY"));
    // Before its argument is looked at, and unlike a verb that nobody declared.
    outside.expect("XTRY session.peer", "550 5.7.0 *");
    outside.expect("xtry", "550 5.7.0 *");
    outside.expect("XOTHER", "500 5.5.2 *");
    outside.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
    outside.quit();
    server.log().count(2, "session ended");
    // No hook of it was asked for the session outside.
    let told = server.log().events().iter().filter(|event| event.field("text").contains("told of disconnect")).count();
    assert_eq!(told, 1);
}

#[test]
fn two_claims_on_one_verb_need_peers_apart() {
    fn entry(name: &str, peers: &str) -> String {
        Probe { name, entry: peers, ..Probe::default() }.entry_of("shared")
    }
    let text = |one: &str, two: &str| {
        let definitions = ["one", "two"]
            .map(|name| format!("\n[extension.{name}]\ncomponent = \"../../../target/guests/prober.wasm\"\n"));
        config(
            &(String::from("[listener.shared]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n")
                + &entry("one", one)
                + &entry("two", two)
                + &definitions.concat()),
        )
    };
    let site = Site::new("");
    for (one, two) in [
        ("", ""),
        ("peers = [\"127.0.0.2/32\"]", ""),
        ("peers = [\"127.0.0.0/8\"]", "peers = [\"127.0.0.2/32\"]"),
        ("peers = [\"127.0.0.1/32\", \"127.0.0.2/32\"]", "peers = [\"127.0.0.3/32\", \"127.0.0.2/31\"]"),
        ("peers = [\"::1/128\", \"10.0.0.0/8\"]", "peers = [\"10.0.0.0/9\"]"),
    ] {
        site.configure(&text(one, two));
        let check = site.run(&["check"]);
        assert_ne!(check.code, Some(0), "{one} {two}: {check}");
        check
            .says("extensions `one` and `two` both declare the verb `XTRY`")
            .says("extensions `one` and `two` both declare the keyword `XTRY`");
    }
    site.configure(&text("peers = [\"127.0.0.1/32\"]", "peers = [\"127.0.0.2/31\"]"));
    let server = site.start();
    for from in [ONE, TWO, THREE] {
        let mut client = client(&server, "shared", from);
        assert!(client.hello().says("XTRY"));
        attempt(&mut client, "session.id");
        client.quit();
    }
    let status = server.status();
    let calls = |name: &str| {
        let extensions = status["extensions"].as_array().unwrap();
        let logged = |event: &&pillarbox_tests::Event| event.field("extension") == name && event.is("extension");
        assert!(extensions.iter().any(|extension| extension["name"] == name));
        server.log().events().iter().filter(logged).filter(|event| event.field("text") == "asked at hello").count()
    };
    assert_eq!((calls("one"), calls("two")), (1, 2));
}

/// What can do harm, and what cannot.
const HARMLESS: [(&str, &str); 6] = [
    ("identity", "false"),
    ("authentication", "false"),
    ("context-read", "false"),
    ("context-write", "false"),
    ("envelope-read", "false"),
    ("message-read", "false"),
];

#[test]
fn peers_must_be_named_where_anybody_can_connect() {
    let verb: &[(&str, &str)] = &[];
    let login: &[(&str, &str)] = &[
        ("identity", "false"),
        ("context-read", "false"),
        ("context-write", "false"),
        ("envelope-read", "false"),
        ("message-read", "false"),
    ];
    let silent = r#"verb = """#;
    let everybody = "address = [\"0.0.0.0:0\"]";
    let site = Site::new("");
    let check = |grants: &[(&str, &str)], settings: &str, address: &str, peers: &str| {
        let entry = if peers.is_empty() { String::new() } else { format!("peers = {peers}") };
        let probe = Probe { name: "probe", grants, settings, listener: address, entry: &entry };
        site.configure(&config(&probe.config()));
        site.run(&["check"])
    };
    let needed = "listener `probe` must say for whom it is there";
    for (grants, settings, what) in [
        (verb, "", "extension `probe` declares a verb and is granted more than `session`"),
        (login, silent, "extension `probe` is granted `authentication` at connect"),
    ] {
        for address in [everybody, "address = [\"[::]:0\"]", "address = [\"127.0.0.1:0\", \"0.0.0.0:0\"]"] {
            let said = check(grants, settings, address, "").says(what).says(needed).says("peers = [\"10.0.0.0/8\"]");
            assert_ne!(said.code, Some(0));
            check(grants, settings, address, "[\"10.0.0.0/8\"]").exits(0);
        }
        for peers in [
            r#"["0.0.0.0/0"]"#,
            r#"["::/0"]"#,
            r#"["10.0.0.0/8", "0.0.0.0/0"]"#,
            r#"["0.0.0.0/1", "128.0.0.0/1"]"#,
            r#"["::/1", "8000::/1"]"#,
            r#"["0.0.0.0/2", "128.0.0.0/1", "64.0.0.0/3", "96.0.0.0/3"]"#,
        ] {
            for address in [everybody, "address = [\"127.0.0.1:0\"]"] {
                let said = check(grants, settings, address, peers).says("its `peers` must not hold every address");
                assert_ne!(said.code, Some(0), "{peers}");
            }
        }
        // Nobody else can connect there.
        for address in ["address = [\"127.0.0.1:0\"]", "address = [\"127.9.9.9:0\", \"[::1]:0\"]"] {
            check(grants, settings, address, "").exits(0);
        }
    }
    // A verb that can do nothing, and a policy that is no verb, need none.
    check(&HARMLESS, "", everybody, "").exits(0);
    check(&[("authentication", "false")], silent, everybody, "").exits(0);
}

#[test]
fn trust_is_the_clients_or_the_peers() {
    let probe = |name: &'static str, verb: &'static str, entry: &'static str| Probe {
        name,
        entry,
        settings: match verb {
            "XTRY" => r#"verdicts = ["mail=reject"]"#,
            _ => r#"verb = "XPEER", verdicts = ["recipient=reject"]"#,
        },
        ..Probe::default()
    };
    let (by_client, by_peer) = (
        probe("byclient", "XTRY", "peers = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\ntrust = \"client\""),
        probe("bypeer", "XPEER", "peers = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\ntrust = \"peer\""),
    );
    let text = by_client.config()
        + &by_peer.entry_of("byclient")
        + &gateway("byclient")
        + &format!(
            "\n[extension.bypeer]\ncomponent = \"../../../target/guests/prober.wasm\"\nsettings = {{ {} }}\n",
            by_peer.settings
        );
    let server = Server::start(&config(&text));
    // The client, whether the two are there for it as policies, and what becomes of their verbs.
    for (addr, there, by_client, by_peer) in [
        ("10.1.2.3", true, "250 *", "250 *"),
        ("192.0.2.1", false, "550 5.7.0 *", "250 *"),
        // Who is unknown lies in no network.
        ("[UNAVAILABLE]", false, "550 5.7.0 *", "250 *"),
        ("IPV6:::ffff:10.1.2.3", true, "250 *", "250 *"),
        ("IPV6:2001:db8::1", false, "550 5.7.0 *", "250 *"),
    ] {
        let mut client = server.client("byclient");
        client.hello();
        client.expect(&format!("XCLIENT ADDR={addr}"), "220 *");
        let hello = client.hello();
        assert_eq!(hello.says("XTRY"), there, "{addr}: {hello}");
        assert!(hello.says("XPEER"), "{addr}: {hello}");
        client.expect("XTRY session.client", by_client);
        client.expect("XPEER session.client", by_peer);
        match there {
            true => _ = client.expect("MAIL FROM:<a@example.test>", "550 5.7.1 *"),
            false => {
                client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
                client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
            }
        }
        client.quit();
    }
    // By XREMOTEIP as well, in the middle of things; and the right comes back with the client.
    let mut client = server.client("byclient");
    client.hello();
    client.expect("XREMOTEIP 192.0.2.1", "250 2.0.0 *");
    client.expect("XTRY session.client", "550 5.7.0 *");
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    client.expect("XREMOTEIP 10.1.2.3", "250 2.0.0 *");
    client.expect("XTRY session.client", "250 2.0.0 *");
    client.expect("RSET", "250 *");
    client.expect("MAIL FROM:<a@example.test>", "550 5.7.1 *");
    client.quit();
}

const BLOCKS: &str = r#"
limits.recipients = 5
limits.message-size = "1KiB"
context = { tier = "none", tenant = "house" }
relay.authenticated = true

[listener.edge.peer."127.0.0.0/8"]
relay.domains = ["*"]
limits.recipients = 3
context = { tier = "local" }

[listener.edge.peer."127.0.0.2/31"]
limits.message-size = "2KiB"
context = { tier = "pair" }

[listener.edge.peer."127.0.0.2/32"]
relay.domains = ["example.test"]
limits.recipients = 2

[listener.edge.peer."10.0.0.0/8"]
relay.hosts = ["10.0.0.0/8"]
relay.domains = []
limits.message-size = "3KiB"
context = { tier = "ten" }

[listener.edge.peer."2001:db8::/32"]
context = { tier = "six" }
"#;

/// What holds for a client, as far as it can see it.
#[track_caller]
fn holds(client: &mut Client) -> (String, String, usize, &'static str) {
    let size = shows(&client.hello(), "SIZE").unwrap_or_default();
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let tier = dump.lines.iter().find_map(|line| line.strip_prefix("250-[connection] tier ")).unwrap_or("").to_owned();
    assert!(dump.lines.iter().any(|line| line == "250-[connection] tenant house"), "{dump}");
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    let elsewhere = client.ask("RCPT TO:<b@elsewhere.test>").code == 250;
    let here = client.ask("RCPT TO:<b@example.test>").code == 250;
    let mut recipients = usize::from(elsewhere) + usize::from(here);
    while recipients > 0 && client.ask("RCPT TO:<postmaster>").code == 250 {
        recipients += 1;
    }
    client.expect("RSET", "250 *");
    let takes = match (elsewhere, here) {
        (true, true) => "both",
        (true, false) => "elsewhere",
        (false, true) => "here",
        (false, false) => "nothing",
    };
    (size, tier, recipients, takes)
}

#[test]
fn peer_blocks_hold_for_the_client_the_narrowest_network_key_by_key() {
    let text = "[listener.edge]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n".to_owned()
        + BLOCKS
        + &gateway("edge");
    let server = Server::start(&config(&text));
    let expected = |size: &str, tier: &str, recipients: usize, takes: &'static str| {
        (format!("SIZE {size}"), tier.to_owned(), recipients, takes)
    };
    let one = expected("1024", "local", 3, "both");
    for (from, expected) in
        [(ONE, &one), (TWO, &expected("2048", "pair", 2, "here")), (THREE, &expected("2048", "pair", 3, "both"))]
    {
        let mut client = client(&server, "edge", from);
        assert_eq!(holds(&mut client), *expected, "{from}");
        client.quit();
    }
    // They follow the client, wherever it goes, and back again.
    let mut client = server.client("edge");
    for (command, expected) in [
        ("XCLIENT ADDR=127.0.0.2", &expected("2048", "pair", 2, "here")),
        ("XCLIENT ADDR=10.1.2.3", &expected("3072", "ten", 5, "both")),
        ("XREMOTEIP 2001:db8::9", &expected("1024", "six", 5, "here")),
        ("XREMOTEIP 192.0.2.9", &expected("1024", "none", 5, "here")),
        ("XCLIENT ADDR=[UNAVAILABLE]", &expected("1024", "none", 5, "here")),
        ("XREMOTEIP ::ffff:127.0.0.1", &one),
    ] {
        client.hello();
        client.expect(command, "2*");
        assert_eq!(holds(&mut client), *expected, "{command}");
    }
    client.quit();
}

#[test]
fn a_right_of_the_peer_does_not_stay_when_the_client_changes() {
    let text = "[listener.edge]\naddress = [\"127.0.0.1:0\"]\nrelay.hosts = [\"127.0.0.0/8\"]\n".to_owned()
        + "relay.authenticated = true\n"
        + &gateway("edge");
    let server = Server::start(&config(&text));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@example.test", &["b@elsewhere.test"]);
    // Decided anew for the recipient that was taken already: the refusal ends the transaction.
    client.expect("XREMOTEIP 192.0.2.1", "550 5.7.1 *");
    client.expect("DATA", "503 5.5.1 *");
    client.begin("a@example.test", &["postmaster"]);
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.expect("RSET", "250 *");
    // A login that XCLIENT gave is the client's it was given for.
    client.expect("XCLIENT ADDR=192.0.2.1 LOGIN=alice", "220 *");
    client.hello();
    client.begin("a@example.test", &["b@elsewhere.test"]);
    client.expect("RSET", "250 *");
    client.expect("XREMOTEIP 192.0.2.2", "250 2.0.0 *");
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.expect("RSET", "250 *");
    client.expect("XCLIENT ADDR=127.0.0.5", "220 *");
    client.hello();
    client.begin("a@example.test", &["b@elsewhere.test"]);
    client.quit();
}
