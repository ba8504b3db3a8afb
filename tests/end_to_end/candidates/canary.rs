//! A canary: the candidate in the extension's place, in the sessions that are drawn or whose peer is named.

use super::{candidate, tried};
use pillarbox_tests::{Client, Server};
use std::net::IpAddr;

/// Which version judges this session, by its keyword, and it must be the same at each step.
#[track_caller]
fn version(client: &mut Client) -> u32 {
    let version = if client.hello().says("XPOLICY 2 LEFT=3") { 2 } else { 1 };
    assert_eq!(judge(client), version);
    version
}

/// Which version judges a sender.
#[track_caller]
fn judge(client: &mut Client) -> u32 {
    let refusal = client.ask("MAIL FROM:<spam@example.net>");
    if refusal.to_string().ends_with("(policy 2)") { 2 } else { 1 }
}

#[test]
fn a_share_of_the_sessions_is_the_canarys_and_stays_so() {
    let server = Server::start(&candidate("canary = { share = \"25%\" }"));
    let mut drawn = 0;
    let mut kept = Vec::new();
    for number in 0..400 {
        let mut client = server.client("test");
        let version = version(&mut client);
        drawn += version - 1;
        if number % 20 == 0 {
            kept.push((client, version));
        }
    }
    // 100 are expected, with a standard deviation of 9.
    assert!((55..=145).contains(&drawn), "{drawn} of 400");

    // The same candidate in another generation is the same draw, and what was refused so far is remembered.
    server.reload().exits(0);
    for (client, version) in &mut kept {
        assert_eq!(judge(client), *version);
    }
    let status = server.status();
    let policy = &status["extensions"][0];
    assert_eq!(policy["candidate"]["trial"], "canary 25%", "{status:#}");
    assert!(policy["candidate"]["calls"].as_u64() > Some(100) && policy["calls"].as_u64() > Some(300), "{status:#}");
    assert_eq!(policy["candidate"]["compared"], 0);
    let told = server.log().events().iter().filter(|event| event.is("canary")).count();
    assert!(told >= drawn as usize, "{told} of {drawn}");

    // Without a candidate everybody is back, with what is remembered.
    server.site().configure(&super::with_candidate(""));
    server.reload().exits(0).says("candidate for policy on test: gone");
    for (client, _) in &mut kept {
        assert_eq!(judge(client), 1);
    }
    // A rollback brings it back as well.
    server.order(&["rollback"]).exits(0);
    for (client, version) in &mut kept {
        assert_eq!(judge(client), *version);
    }
}

#[test]
fn peers_are_the_canarys() {
    let near = IpAddr::from([127, 0, 0, 1]);
    let far = IpAddr::from([127, 0, 7, 1]);
    for (canary, expected) in [
        ("canary = { peers = [\"127.0.7.0/24\"] }", [1, 2]),
        ("canary = { share = \"100%\" }", [2, 2]),
        ("canary = { share = \"100%\", peers = [\"127.0.0.0/24\", \"::1\"] }", [2, 1]),
    ] {
        let server = Server::start(&candidate(canary));
        let versions = [near, far].map(|from| version(&mut Client::connect_from(from, server.address("test"))));
        assert_eq!(versions, expected, "{canary}");
    }
}

#[test]
fn what_a_canary_breaks_is_counted_and_tagged_as_its_own() {
    let server = Server::start(&tried(
        "hostile",
        "at = \"none\"",
        "hostile",
        "settings = { at = \"mail\", act = \"panic\" }\non-failure = \"reject\"\ncanary = { share = \"100%\" }",
    ));
    let mut client = server.client("test");
    client.hello();
    client.expect("MAIL FROM:<a@example.net>", "550 5.7.1 *");
    let failed = server.log().event("extension failed", &[("hook", "mail"), ("extension", "tried")]);
    assert_eq!(failed.field("candidate"), "canary", "{failed:?}");
    let status = server.status();
    let row = &status["extensions"][0];
    assert_eq!(row["candidate"]["failures"]["trap"], 1, "{status:#}");
    assert_eq!((&row["calls"], &row["failures"]), (&0.into(), &serde_json::json!({})), "{status:#}");
}
