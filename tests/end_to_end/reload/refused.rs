//! A configuration that cannot be served changes nothing, and `pillarbox reload` says why.

use super::{CONTENT, ONE, TWO, config, listener, policy, stamped, version, with_policy};
use pillarbox_tests::Server;
use std::net::TcpListener;
use std::thread;

#[test]
fn whatever_is_wrong_the_old_one_goes_on() {
    let server = Server::start(&with_policy(ONE));
    let mut open = server.client("test");
    open.hello();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let replaced = |from: &str, to: &str| {
        let good = with_policy(TWO);
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let busy = listener("busy", &format!("address = [\"127.0.0.1:0\", \"{taken}\"]"), "");
    for (wrong, words) in [
        (String::new(), "missing table `[server]`"),
        (with_policy(TWO) + "\n[listener", "error: "),
        (replaced("hostname", "host-name"), "unknown key `host-name`"),
        (replaced("grant.envelope-read = true", ""), "grant.envelope-read = true"),
        (replaced("grant.envelope-read", "grant.envelope-reed"), "there is no capability `envelope-reed`"),
        (replaced("example-policy-v2.wasm", "missing.wasm"), "extension `policy`: cannot read"),
        (replaced("refusals = 3", "refusals = \"three\""), "extension `policy` says: `refusals` must be an integer"),
        (replaced("refusals", "refuzals"), "did you mean `refusals`?"),
        (replaced("builtin:xdumpcontext", "builtin:xdumpcontex"), "did you mean"),
        (
            replaced("state-dir = \"state\"", "state-dir = \"other\""),
            "`server.state-dir` changed, which needs a restart",
        ),
        (
            replaced("state-dir = \"state\"", "state-dir = \"state\"\ninstances.count = 7"),
            "`server.instances` changed, which needs a restart",
        ),
        (replaced("discard:", "teleport:"), "error: "),
        (with_policy(TWO) + &busy, "cannot listen"),
        (
            replaced(
                "relay.domains",
                "tls.mode = \"starttls\"\ntls.certificates = [{ chain = \"no.pem\", key = \"no.pem\" }]\nrelay.domains",
            ),
            "no.pem",
        ),
    ] {
        server.site().configure(&wrong);
        let reload = server.reload();
        assert_ne!(reload.code, Some(0), "{reload}");
        assert!(reload.stderr.contains(words), "not said: {words}\n{reload}");
        let status = server.status();
        assert_eq!(status["generation"], 1, "{words}");
        assert_eq!(status["last_reload"]["ok"], false, "{words}");
        open.deliver("a@example.net", &["b@example.test"], CONTENT);
        assert_eq!(stamped(&mut open, "policy_version").as_deref(), Some("1"), "{words}");
        assert!(server.client("test").hello().says("XPOLICY 1 LEFT=3"), "{words}");
    }
    server.log().event("reload refused, the previous generation goes on", &[]);
    // No door was opened for what was refused.
    let status = server.status();
    assert_eq!(status["listeners"].as_array().unwrap().len(), 1, "{status}");
    server.reconfigure(&with_policy(TWO));
    assert_eq!(server.status()["generation"], 2);
    open.deliver("a@example.net", &["b@example.test"], CONTENT);
    assert_eq!(stamped(&mut open, "policy_version").as_deref(), Some("2"));
    open.quit();
}

#[test]
fn reloads_are_done_one_after_the_other_and_the_last_wins() {
    let text = |name: &str| {
        config(&(listener("test", &format!("context = {{ name = \"{name}\" }}"), &policy("test")) + &version(ONE, "")))
    };
    let server = Server::start(&text("first"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    server.reload().exits(0);
                }
            });
        }
    });
    assert_eq!(server.status()["generation"], 21);
    server.reconfigure(&text("last"));
    let mut client = server.client("test");
    client.hello();
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    assert!(dump.lines.iter().any(|line| line == "250-[connection] name last"), "{dump}");
    client.quit();
}
