//! `pillarbox check --peer`: what holds for an address, and who said so.

use super::{assert_golden, run_alone, steady};
use crate::configs;
use pillarbox_tests::{Output, Site};

fn site() -> Site {
    Site::new(&configs::discard(
        r#"relay.hosts = ["127.0.0.0/8"]
context = { pathway = "internet", region = "eu" }
limits = { recipients = 100, errors = 0, message-size = "10MiB" }
proxy.from = ["10.9.0.0/16"]

[listener.edge.peer."10.0.0.0/8"]
relay.hosts = ["10.0.0.0/8"]
context.pathway = "internal"
limits = { connections = 500, recipients = 1000, command-timeout = "90s" }

[listener.edge.peer."10.1.0.0/16"]
relay.domains = []
limits = { recipients = 10, tarpit = "0s" }

[listener.edge.peer."2001:db8::/32"]
limits.data-rate = 0

[[listener.edge.extension]]
use = "xdumpcontext"
peers = ["10.1.0.0/16", "2001:db8::/32"]
grant.context-read = true

[[listener.edge.extension]]
use = "always"
peers = ["127.0.0.1"]
grant.session = true
grant.authentication = ["anonymous"]

[extension.xdumpcontext]
component = "builtin:xdumpcontext"

[extension.always]
component = "builtin:always-allow"

[listener.inside]
address = ["127.0.0.1:0"]
protocol = "lmtp""#,
    ))
}

fn told(site: &Site, arguments: &[&str]) -> Output {
    site.run(&[&["check", "--peer"], arguments].concat())
}

#[test]
fn each_value_has_its_place() {
    let site = site();
    for (address, name) in [("10.1.2.3", "check-peer"), ("unknown", "check-peer-unknown")] {
        let output = told(&site, &[address]).exits(0);
        assert_eq!(output.stderr, "");
        assert_golden(name, &steady(&output.stdout, site.directory()));
    }
    // It looks, and does nothing else.
    assert!(!site.path("state").exists());
}

#[test]
fn one_address_has_many_forms() {
    let site = site();
    for forms in [
        &["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"][..],
        &["2001:db8::9", "2001:DB8::9", "2001:db8:0:0:0:0:0:9"],
    ] {
        let said: Vec<String> = forms.iter().map(|form| told(&site, &[form]).exits(0).stdout).collect();
        assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{forms:?}");
        assert!(said[0].contains(&format!("what holds for {}\n", forms[0])), "{}", said[0]);
    }
    // Which networks hold it, and which do not.
    for (address, word) in
        [("10.1.2.3", "peer.\"10.1.0.0/16\""), ("10.2.3.4", "peer.\"10.0.0.0/8\""), ("2001:db8::9", "2001:db8::/32")]
    {
        told(&site, &[address]).exits(0).says(word);
    }
    for address in ["192.0.2.1", "127.0.0.1", "::1", "unknown"] {
        assert!(!told(&site, &[address]).exits(0).stdout.contains(".peer."), "{address}");
    }
    told(&site, &["10.9.0.1"]).exits(0).says("must send a PROXY header");
}

#[test]
fn one_listener_alone_and_mistakes() {
    let site = site();
    let one = told(&site, &["10.1.2.3", "--listener", "inside"]).exits(0);
    assert!(one.stdout.contains("[listener.inside]") && !one.stdout.contains("[listener.edge]"), "{one}");
    told(&site, &["10.1.2.3", "--listener", "egde"]).exits(65).says("there is no listener `egde`");
    // What is no address is a mistake on the command line; so is a listener without an address.
    for wrong in ["mx.example.test", "10.0.0.0/8", "10.1.2", "10.1.2.3:25", "[::1]", "Unknown", ""] {
        let output = told(&site, &[wrong]).exits(2);
        assert!(output.stdout.is_empty(), "{output}");
    }
    site.run(&["check", "--listener", "edge"]).exits(2);
    let (_, output) = run_alone(&["check", "--peer"]);
    output.exits(2);
    // A configuration that is wrong is told of, and nothing of what would hold.
    site.configure(&configs::discard("limits.recipients = \"many\""));
    let output = told(&site, &["10.1.2.3"]).exits(65).says("limits.recipients");
    assert_eq!(output.stdout, "");
}
