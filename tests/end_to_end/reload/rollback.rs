//! Back to the generation before: at once, for open sessions too, once, and until the next reload or restart.

use super::{CONTENT, ONE, TWO, listener, policy, stamped, version, with_policy};
use crate::configs::listeners as config;
use pillarbox_tests::{Server, Site, free_address};
use std::net::TcpListener;

#[test]
fn a_rollback_brings_the_previous_generation_back_to_open_sessions() {
    let server = Server::start(&with_policy(ONE));
    let [mut idle, mut busy] = [server.client("test"), server.client("test")];
    for client in [&mut idle, &mut busy] {
        assert!(client.hello().says("XPOLICY 1 LEFT=3"));
    }
    server.reconfigure(&with_policy(TWO));
    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 2)");
    busy.begin("a@example.net", &["b@example.test"]);

    let told = server.order(&["rollback"]);
    told.exits(0).says("generation 3 is served, which is what generation 1 was");
    let rolled_back = server.log().event("rolled back", &[]);
    assert_eq!(rolled_back.level, "warn");
    let status = server.status();
    assert_eq!((&status["generation"], &status["rolled_back_from"]), (&3.into(), &2.into()), "{status:#}");
    server.order(&["status"]).exits(0).says("generation 3, rolled back from generation 2");

    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 1)");
    idle.expect("MAIL FROM:<spam@example.net>", "550 5.7.1 sender refused (policy 1)");
    // What it remembers went there and back: three refused by now.
    idle.expect("MAIL FROM:<a@example.net>", "451 4.7.1 * (policy 1)");
    // A transaction ends as it began.
    busy.expect("DATA", "354 *");
    busy.content(CONTENT);
    busy.expect_reply("250 2.0.0 OK *");
    assert_eq!(stamped(&mut busy, "policy_version").as_deref(), Some("2"));
    busy.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(&mut busy, "policy_version").as_deref(), Some("1"));

    // One step back is all there is.
    server.order(&["rollback"]).exits(65).says("there is no generation to go back to");
    assert_eq!(server.status()["generation"], 3);

    // The file still says what was reloaded.
    server.reload().exits(0).says("extension policy on test: component changed");
    idle.expect("MAIL FROM:<a@example.net>", "451 4.7.1 * (policy 2)");
    assert_eq!(server.status()["rolled_back_from"], serde_json::Value::Null);
    // And the way back is to what was rolled back to.
    server.order(&["rollback"]).exits(0).says("generation 5 is served, which is what generation 3 was");
    idle.expect("MAIL FROM:<a@example.net>", "451 4.7.1 * (policy 1)");
}

#[test]
fn there_is_no_way_back_from_the_first_generation() {
    let server = Server::start(&with_policy(ONE));
    server.order(&["rollback"]).exits(65).says("there is no generation to go back to");
    assert_eq!(server.log().event("rollback refused, everything stays", &[]).level, "error");
}

#[test]
fn a_refused_reload_leaves_the_way_back() {
    let server = Server::start(&with_policy(ONE));
    server.reconfigure(&with_policy(TWO));
    server.site().configure(&with_policy(TWO).replace("refusals = 3", "refusals = \"three\""));
    server.reload().exits(65);
    server.site().configure("nonsense");
    server.reload().exits(65);

    server.order(&["rollback"]).exits(0).says("what generation 1 was");
    let mut client = server.client("test");
    assert!(client.hello().says("XPOLICY 1 LEFT=3"));
}

#[test]
fn a_restart_serves_the_file() {
    let site = Site::new(&with_policy(ONE));
    let server = site.start();
    server.reconfigure(&with_policy(TWO));
    server.order(&["rollback"]).exits(0);
    assert!(server.client("test").hello().says("XPOLICY 1 LEFT=3"));
    assert_eq!(server.stop(), Some(0));

    let server = site.start();
    assert!(server.client("test").hello().says("XPOLICY 2 LEFT=3"));
    assert_eq!(server.status()["rolled_back_from"], serde_json::Value::Null);
}

#[test]
fn listeners_come_back_and_go_unless_the_address_is_taken() {
    let free = free_address();
    let second = listener("second", &format!("address = [\"{free}\"]"), &policy("second"));
    let first = listener("test", "", &policy("test")) + &version(ONE, "");
    let server = Server::start(&config(&(first.clone() + &second)));
    server.client("second").hello();
    server.reconfigure(&config(&first));
    server.log().event("no longer listening", &[("listener", "second")]);

    // Somebody else has it now.
    let taken = TcpListener::bind(free).unwrap();
    server.order(&["rollback"]).exits(65).says(&free.to_string());
    assert_eq!(server.status()["generation"], 2);
    server.client("test").hello();
    drop(taken);

    // What could not be done then can be done now.
    server.order(&["rollback"]).exits(0);
    server.client("second").hello();
}
