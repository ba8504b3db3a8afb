//! Which recipients are taken, of those that are written so that they may seem to be of one domain and be of another: no way
//! of writing an address makes an open relay, and the log says why each is taken or not.

use crate::configs;
use pillarbox_tests::{Client, Event, Server, until};

const OURS: &str = "example.test";

/// Local parts that name another host to who reads more into them than a name.
const LOCALS: [&str; 18] = [
    "b",
    "b%evil.test",
    "b%example.test",
    "b%evil.test%example.test",
    "evil.test!b",
    "example.test!b",
    "evil.test!example.test!b",
    "evil.test!b%example.test",
    "\"b@evil.test\"",
    "\"b@example.test\"",
    "\"b\\@evil.test\"",
    "\"b%evil.test\"",
    "\"evil.test!b\"",
    "\"@evil.test:b\"",
    "\"@example.test:b\"",
    "\"b> TO:<b@evil.test\"",
    "\"b,c@evil.test\"",
    "\"\"",
];

/// What stands in front of a mailbox and is dropped.
const ROUTES: [&str; 5] =
    ["", "@evil.test:", "@example.test:", "@evil.test,@example.test:", "@example.test,@evil.test:"];

/// Domains, and whether they are ours.
const DOMAINS: [(&str, bool); 10] = [
    (OURS, true),
    ("EXAMPLE.Test", true),
    ("evil.test", false),
    ("evil.example.test", false),
    ("evil-example.test", false),
    ("example.test.evil.test", false),
    ("test", false),
    ("[127.0.0.1]", false),
    ("[IPv6:::1]", false),
    ("[IPv6:::ffff:127.0.0.1]", false),
];

fn client(server: &Server, sender: &str) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client.expect(&format!("MAIL FROM:<{sender}>"), "250 2.1.0 *");
    client
}

#[test]
fn an_address_is_of_the_domain_behind_its_last_at_sign() {
    let server = Server::start(&configs::discard(
        "relay.authenticated = true\nlimits.errors = 0\nlimits.tarpit-after = 0\nlimits.recipients = 0",
    ));
    let mut refused = 0;
    // Neither nobody nor somebody of ours has a right that others have not.
    for sender in ["", "a@evil.test", "a@example.test", "postmaster@mx.example.test", "@example.test:a@evil.test"] {
        let mut client = client(&server, sender);
        for route in ROUTES {
            for local in LOCALS {
                for (domain, ours) in DOMAINS {
                    refused += usize::from(!ours);
                    let expected = if ours { "250 2.1.5 *" } else { "550 5.7.1 relaying denied" };
                    client.expect(&format!("RCPT TO:<{route}{local}@{domain}>"), expected);
                }
            }
        }
        // And these are of no domain at all.
        for address in [
            "b@evil.test@example.test",
            "b@example.test@evil.test",
            "b\\@evil.test@example.test",
            "b@evil.test\\@example.test",
            "\"b\"@evil.test\"@example.test",
            "\"b@evil.test@example.test",
            "b@evil.test%example.test",
            "b@evil.test,example.test",
            "b@evil.test:example.test",
            "b@example.test:evil.test",
            "b@example.test,c@evil.test",
            "b@example.test/evil.test",
            "b@example.test#evil.test",
            "b@[evil.test]",
            "b@[127.0.0.1]example.test",
            "b@[127.0.0.1].example.test",
            "b@127.0.0.1]",
            "b@(evil.test)example.test",
            "b@example.test(evil.test)",
            "b@ example.test",
            "b@evil.test example.test",
            "b@evil.test\texample.test",
            "b@example.test.",
            "b@.example.test",
            "@example.test",
            "@evil.test:@example.test",
            "@evil.test:@example.test:b@example.test",
            "@evil.test b@example.test",
            "evil.test!example.test",
            "",
            "<b@example.test",
        ] {
            client.expect(&format!("RCPT TO:<{address}>"), "501 5.1.3 *");
        }
        for address in
            ["<b@example.test>,<c@evil.test>", "<b@example.test> <c@evil.test>", "<b@example.test>@evil.test"]
        {
            let reply = client.ask(&format!("RCPT TO:{address}"));
            assert!([501, 555].contains(&reply.code), "{address}: {reply}");
        }
        client.quit();
    }
    // One word for each: who was refused what, and what was looked at.
    let by_relay = |event: &Event| event.is("refused") && event.field("by") == "relay";
    until("all refusals", || server.log().events().iter().filter(|event| by_relay(event)).count() == refused);
    for event in server.log().events().iter().filter(|event| by_relay(event)) {
        assert!(!event.field("recipient").is_empty() && !event.field("session").is_empty(), "{event:?}");
        assert_eq!(event.field("why"), "not authenticated, in no relay.hosts, to no relay.domains");
    }
}

#[test]
fn what_a_recipient_is_taken_for_is_logged() {
    let config = configs::discard("relay.hosts = [\"127.0.0.2\"]")
        .replace("format = \"json\"", "format = \"json\"\nlevel = \"debug\"");
    let server = Server::start(&config);
    let mut stranger = client(&server, "");
    for (recipient, right) in [
        ("postmaster", "postmaster"),
        ("postmaster@mx.example.test", "postmaster"),
        ("b@example.test", "relay.domains"),
    ] {
        stranger.expect(&format!("RCPT TO:<{recipient}>"), "250 2.1.5 *");
        server.log().event("recipient accepted", &[("recipient", recipient), ("right", right)]);
    }
    let mut known = Client::connect_from([127, 0, 0, 2].into(), server.address("edge"));
    known.hello();
    known.expect("MAIL FROM:<>", "250 2.1.0 *");
    known.expect("RCPT TO:<b@elsewhere.test>", "250 2.1.5 *");
    let event = server.log().event("relay allowed", &[("recipient", "b@elsewhere.test"), ("right", "relay.hosts")]);
    assert_eq!(event.field("client"), "127.0.0.2");
}
