//! What extensions keep over sessions, and what they look up: the store through restarts, and tables through reloads. The
//! extension is the example of greylisting, whose conversations show the rest.

use pillarbox_tests::{Client, Server, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CONFIG: &str = r#"
[server]
hostname = "mx.example.test"
state-dir = "state"

[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]

[[listener.edge.extension]]
use = "greylist"
verdict = ["tempfail"]
grant.session = ["client", "authentication"]
grant.envelope-read = true
grant.kv = ["greylist/"]
grant.table = ["exempt"]

[extension.greylist]
component = "../../../target/guests/example-greylist.wasm"
settings = { delay = "0s" }

[table.exempt]
file = "exempt"
type = "cidr"

[[route]]
to = "discard:"
"#;

fn site() -> Site {
    let site = Site::new(CONFIG);
    site.write("exempt", "192.0.2.0/24\n");
    site
}

/// A transaction that this recipient can be added to.
fn transaction(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@example.net>", "250 2.1.0 *");
    client
}

#[test]
fn what_was_seen_is_known_after_a_reload_and_a_restart() {
    let site = site();
    let server = site.start();
    let mut client = transaction(&server);
    client.expect("RCPT TO:<b@example.test>", "450 4.7.1 greylisted*");
    client.expect("RCPT TO:<c@example.test>", "450 4.7.1 greylisted*");
    server.reload().exits(0);
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.quit();
    let file = site.path("state/kv.redb");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.stop(), Some(0));

    let server = site.start();
    let mut client = transaction(&server);
    client.expect("RCPT TO:<c@example.test>", "250 2.1.5 *");
    client.expect("RCPT TO:<d@example.test>", "450 4.7.1 greylisted*");
    client.quit();
    // Whatever a crash leaves can be used, and is not taken for damage.
    server.kill();
    let server = site.start();
    let mut client = transaction(&server);
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.quit();
    assert!(!site.path("state/kv.redb.damaged-1").exists());
}

#[test]
fn a_damaged_store_is_set_aside_and_stops_nothing() {
    let site = site();
    fs::create_dir(site.path("state")).unwrap();
    site.write("state/kv.redb", "this is no store");
    let server = site.start();
    server.log().event("kv store is damaged and set aside, a new one begins", &[]);
    assert_eq!(site.read("state/kv.redb.damaged-1"), b"this is no store");
    let mut client = transaction(&server);
    client.expect("RCPT TO:<b@example.test>", "450 4.7.1 greylisted*");
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.quit();
}

#[test]
fn tables_are_read_by_a_reload_and_a_mistake_in_one_refuses_it() {
    let site = site();
    let server = site.start();
    let mut client = transaction(&server);
    client.expect("RCPT TO:<b@example.test>", "450 4.7.1 greylisted*");
    site.write("exempt", "192.0.2.0/24\n192.0.2.0/25 narrower\n127.0.0.1/8\nlocalhost\n");
    let refused = server.reload();
    assert_ne!(refused.code, Some(0));
    for line in ["line 3: `127.0.0.1/8` has bits set", "line 4: `localhost` is no address and no network"] {
        assert!(refused.stderr.contains(line), "{refused}");
    }
    assert!(refused.stderr.contains("file = \"exempt\""), "{refused}");
    client.expect("RCPT TO:<c@example.test>", "450 4.7.1 greylisted*");
    site.write("exempt", "192.0.2.0/24\n127.0.0.0/8 here\n");
    let reloaded = server.reload().exits(0);
    assert!(reloaded.stdout.contains("table exempt: changed, 2 entries"), "{reloaded}");
    // The transaction is the old generation's to its end.
    client.expect("RCPT TO:<d@example.test>", "450 4.7.1 greylisted*");
    client.expect("RSET", "250 2.0.0 OK");
    client.expect("MAIL FROM:<a@example.net>", "250 2.1.0 *");
    client.expect("RCPT TO:<e@example.test>", "250 2.1.5 *");
    client.quit();
}

#[test]
fn a_table_that_is_not_granted_is_denied() {
    let site = site();
    // Loopback is exempt, and nobody may know.
    site.write("exempt", "127.0.0.0/8\n");
    site.write("other", "127.0.0.0/8\n");
    let other = "[table.other]\nfile = \"other\"\ntype = \"cidr\"\n[[route]]";
    site.configure(
        &CONFIG.replace("grant.table = [\"exempt\"]", "grant.table = [\"other\"]").replace("[[route]]", other),
    );
    let server = site.start();
    let mut client = transaction(&server);
    client.expect("RCPT TO:<b@example.test>", "450 4.7.1 greylisted*");
    client.quit();
    server.log().event("denied", &[("capability", "table"), ("what", "exempt")]);
}
