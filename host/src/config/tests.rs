//! The room as a whole: configurations with golden messages, the shipped files, and what resolves rules for a client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use pillarbox_smtp::{Keywords, Protocol, StrayNewlines};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// A directory of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository(directory)).unwrap();
    let mut files = entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn source(path: &Path) -> Source {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    Source { name, directory: "/etc/pillarbox".into(), text: std::fs::read_to_string(path).unwrap() }
}

fn parse(text: &str) -> Result<Config, Problems> {
    let source = Source { name: "test.toml".to_owned(), directory: "/etc/pillarbox".into(), text: text.to_owned() };
    Config::parse(source)
}

/// Beside each wrong configuration lies what the operator reads. `BLESS=1` writes what is read now.
#[test]
fn golden() {
    assert!(toml_files("tests/configurations/bad").len() > 35, "the bad configurations are there");
    assert_golden("tests/configurations/bad", |path| match Config::parse(source(path)) {
        Ok(_) => panic!("{} is accepted", path.display()),
        Err(problems) => format!("{problems}\n"),
    });
}

/// So it does beside those that are served and hardly meant.
#[test]
fn golden_warnings() {
    assert_golden("tests/configurations/warned", |path| {
        let config = Config::parse(source(path)).unwrap_or_else(|problems| panic!("{problems}"));
        config.warnings().iter().map(|warning| format!("{}\n", warning.render(&config.source))).collect()
    });
}

fn assert_golden(directory: &str, read: impl Fn(&Path) -> String) {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for path in toml_files(directory) {
        let read = read(&path);
        let golden = path.with_extension("err");
        if bless {
            std::fs::write(&golden, &read).unwrap();
        }
        if read.is_empty() || std::fs::read_to_string(&golden).unwrap_or_default() != read {
            wrong.push(format!("--- {}\n{read}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "these read otherwise than their .err (BLESS=1 rewrites it):\n{}", wrong.join("\n"));
}

#[test]
fn good_and_shipped_configurations_are_accepted() {
    for path in [toml_files("tests/configurations/good"), toml_files("config")].concat() {
        if let Err(problems) = Config::parse(source(&path)) {
            panic!("{problems}");
        }
    }
    for path in toml_files("config") {
        let warnings = Config::parse(source(&path)).unwrap().warnings();
        assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
    }
}

/// Who sends mail to anywhere has logged in, and logins are taken under TLS alone.
#[test]
fn submission_takes_mail_from_users_under_tls_alone() {
    let config = Config::parse(source(&repository("config/submission.toml"))).unwrap();
    let modes = config.listeners.values().map(|listener| (listener.address[0].port(), listener.tls.mode));
    assert_eq!(modes.collect::<Vec<_>>(), [(587, TlsMode::Required), (465, TlsMode::Implicit)]);
    for listener in config.listeners.values() {
        let Relay { domains, hosts, authenticated } = &listener.rules.relay;
        assert!(domains.is_empty() && hosts.is_empty() && *authenticated && listener.peers.is_empty());
        assert!(listener.auth.users.is_some() && !listener.auth.without_tls);
    }
}

fn takes(route: &Route, domain: &str) -> bool {
    route.takes(("ann", domain), "edge", |_| None)
}

/// What a key in the embedded default looks like when it is commented out: no blank behind the `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn embedded_default_serves_loopback_only() {
    let config = Config::parse(Config::embedded()).unwrap();
    assert_eq!(config.server.hostname, "localhost");
    assert!(config.server.state_dir.is_absolute() && config.server.state_dir.ends_with("pillarbox-data"));
    let local = &config.listeners["local"];
    assert!(local.address.iter().all(|address| address.ip().is_loopback()));
    let used = local.extensions.iter().map(|used| used.extension.as_str()).collect::<Vec<_>>();
    assert_eq!(used, ["xclient", "xremoteip", "xsetcontext", "xdumpcontext"]);
    assert_eq!(config.extensions.len(), STOCK.len());
    assert!(config.routes[0].create && takes(&config.routes[0], "example.com"));
}

/// The commented keys are no prose: all of them taken in at once make a configuration, and what is said to be a
/// default is one.
#[test]
fn embedded_default_shows_the_defaults() {
    let shown = parse(&uncommented(&Config::embedded().text)).unwrap();
    let local = &shown.listeners["local"];
    assert_eq!(shown.server.instances, Instances::default());
    assert_eq!(shown.server.compile, Compile::default());
    assert_eq!(shown.log, Log::default());
    assert_eq!(local.rules.limits, Limits::default());
    assert_eq!(local.tls.mode, TlsMode::default());
    assert_eq!(local.banner, "localhost ESMTP Pillarbox");
    assert_eq!(local.stray_newlines, StrayNewlines::default());
    assert_eq!((local.protocol, local.esmtp, local.client_name), Default::default());
    assert_eq!(shown.dns, Dns::default());
    assert_eq!(shown.delivery, Delivery::default());
    let Target::Relay(relay) = &shown.routes[1].to else { panic!("servers") };
    let RelayTarget { mx, xclient, xforward, concurrency, messages, idle, timeouts, .. } = &**relay;
    let default = RelayTarget::new(HopProtocol::Smtp, relay.hops[0].clone());
    assert_eq!((*mx, *xclient, *xforward), (default.mx, default.xclient, default.xforward));
    assert_eq!((*concurrency, *messages, *idle), (default.concurrency, default.messages, default.idle));
    assert_eq!(*timeouts, HopTimeouts::default());
    let (tls, off) = (&shown.listeners["submission"].tls, Tls::default());
    assert_eq!((tls.handshake_timeout, tls.handshakes), (off.handshake_timeout, off.handshakes));
    let (auth, none) = (&shown.listeners["submission"].auth, Auth::default());
    assert_eq!((auth.without_tls, auth.external), (none.without_tls, none.external));
    assert_eq!(shown.listeners["submission"].proxy.as_ref().unwrap().timeout, Duration::from_secs(5));
    assert_eq!(local.extensions[0].trust, Trust::default());
    assert_eq!(local.extensions[0].verdicts, Verdicts::default());
    assert_eq!(local.extensions[4].extension, "always-allow");
    assert_eq!(shown.extensions["xclient"].limits, ExtensionLimits::default());
    assert_eq!(shown.extensions["xclient"].on_failure, OnFailures::default());
    assert_eq!(shown.extensions["xclient"].breaker, Some(Breaker::default()));
}

/// Every table there is, each with a key in it that is near to none: the messages list all keys there are.
const UNKNOWN: &str = r#"
zzzzzzzzzzzz = 1
[server]
zzzzzzzzzzzz = 1
instances.zzzzzzzzzzzz = 1
compile.zzzzzzzzzzzz = 1
[log]
zzzzzzzzzzzz = 1
[spool]
zzzzzzzzzzzz = 1
reserve.zzzzzzzzzzzz = 1
[dns]
zzzzzzzzzzzz = 1
[listener.a]
zzzzzzzzzzzz = 1
tls = { zzzzzzzzzzzz = 1, certificates = [{ zzzzzzzzzzzz = 1 }] }
auth.zzzzzzzzzzzz = 1
esmtp.zzzzzzzzzzzz = 1
proxy.zzzzzzzzzzzz = 1
relay.zzzzzzzzzzzz = 1
limits.zzzzzzzzzzzz = 1
peer."10.0.0.0/8" = { zzzzzzzzzzzz = 1 }
[[listener.a.extension]]
zzzzzzzzzzzz = 1
grant.zzzzzzzzzzzz = true
grant.context-read.zzzzzzzzzzzz = 1
grant.kv.zzzzzzzzzzzz = 1
limits.zzzzzzzzzzzz = 1
[extension.x]
zzzzzzzzzzzz = 1
breaker.zzzzzzzzzzzz = 1
limits.zzzzzzzzzzzz = 1
limits.session.zzzzzzzzzzzz = 1
[table.t]
zzzzzzzzzzzz = 1
[extension.x.candidate]
zzzzzzzzzzzz = 1
limits.zzzzzzzzzzzz = 1
canary.zzzzzzzzzzzz = 1
[delivery]
zzzzzzzzzzzz = 1
retry.zzzzzzzzzzzz = 1
[[route]]
zzzzzzzzzzzz = 1
[[route]]
to = "smtp://mx.example.org"
tls.zzzzzzzzzzzz = 1
login.zzzzzzzzzzzz = 1
timeout.zzzzzzzzzzzz = 1
"#;

#[test]
fn default_and_documentation_name_every_key() {
    let problems = parse(UNKNOWN).unwrap_err().to_string();
    let helps = problems.split("\n\n").filter(|problem| problem.contains("`zzzzzzzzzzzz`\n")).collect::<Vec<_>>();
    assert_eq!(helps.len(), UNKNOWN.matches("zzzzzzzzzzzz").count());
    let listed = |help: &&str| {
        let (_, words) = help.rsplit_once(" are ").unwrap();
        words.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let shown = uncommented(&Config::embedded().text);
    let documented = std::fs::read_to_string(repository("docs/configuration.md")).unwrap();
    let keys = helps.iter().flat_map(listed).collect::<std::collections::BTreeSet<_>>();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        let written = |line: &str| {
            let before_value = line.split(" =").next().unwrap_or_default();
            before_value.split(['.', '[', ']', ' ']).any(|word| word == key)
        };
        // Most capabilities, the scopes of one and the parts of a certificate stand in values or in prose.
        let elsewhere = Capability::named(&key).is_some()
            || ["connection", "message", "chain", "key", "user", "password-file"].contains(&&*key);
        assert!(elsewhere || shown.lines().any(written), "the embedded default lacks `{key}`");
        let in_backticks = |text: &str| text.split([' ', '.', '=', '[', ']']).any(|word| word == key);
        assert!(documented.split('`').skip(1).step_by(2).any(in_backticks), "docs/configuration.md lacks `{key}`");
    }
}

/// What the documentation shows can be written as it is shown.
#[test]
fn documented_examples_are_accepted() {
    let documented = std::fs::read_to_string(repository("docs/configuration.md")).unwrap();
    let server = "[server]\nhostname = \"mx.example.org\"\nstate-dir = \"state\"\n";
    let blocks = documented.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for block in blocks {
        let listener = "[listener.a]\naddress = [\"127.0.0.1:0\"]\n[[listener.a.extension]]\nuse = \"x\"\n";
        let extension = "[extension.x]\ncomponent = \"x.wasm\"\n";
        let text = match block {
            _ if block.starts_with("[server]") => block.to_owned(),
            _ if block.starts_with("[extension.") => {
                format!("{server}[listener.a]\naddress = [\"127.0.0.1:0\"]\n{block}")
            }
            _ if block.starts_with("grant.") => format!("{server}{listener}{block}{extension}"),
            _ => format!("{server}{block}"),
        };
        if let Err(problems) = parse(&text) {
            panic!("{problems}");
        }
        count += 1;
    }
    assert!(count >= 4, "{count}");
}

const RULES: &str = r#"
[server]
hostname = "MX.Example.org"
state-dir = "state"
[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["example.org"]
context = { pathway = "internet", region = "eu" }
limits.connections = 100
limits.recipients = 50
[listener.edge.peer."10.0.0.0/8"]
relay.hosts = ["10.0.0.0/8"]
limits.recipients = 500
context = { pathway = "internal" }
[listener.edge.peer."10.1.0.0/16"]
relay.domains = []
limits.connections = 5
[listener.edge.peer."10.1.2.3"]
context = { pathway = "host" }
limits.recipients = 1
[listener.edge.peer."2001:db8::/32"]
relay.authenticated = true
"#;

/// Of the networks that hold a client the narrowest wins, key by key and name by name.
#[test]
fn narrowest_network_wins_key_by_key() {
    let config = parse(RULES).unwrap();
    let listener = &config.listeners["edge"];
    let networks = listener.peers.iter().map(|block| block.network.to_string()).collect::<Vec<_>>();
    assert_eq!(networks, ["10.1.2.3/32", "2001:db8::/32", "10.1.0.0/16", "10.0.0.0/8"]);

    //      client              pathway     connections recipients domains hosts authenticated
    let cases = [
        (None, "internet", 100, 50, 1, 0, false),
        (Some("192.0.2.1"), "internet", 100, 50, 1, 0, false),
        (Some("10.9.9.9"), "internal", 100, 500, 1, 1, false),
        (Some("::ffff:10.9.9.9"), "internal", 100, 500, 1, 1, false),
        (Some("10.1.9.9"), "internal", 5, 500, 0, 1, false),
        (Some("10.1.2.3"), "host", 5, 1, 0, 1, false),
        (Some("2001:db8::1"), "internet", 100, 50, 1, 0, true),
        (Some("::1"), "internet", 100, 50, 1, 0, false),
    ];
    for (client, pathway, connections, recipients, domains, hosts, authenticated) in cases {
        let rules = listener.rules_for(client.map(|client| client.parse().unwrap()));
        assert_eq!(rules.context["pathway"], pathway, "{client:?}");
        assert_eq!(rules.context["region"], "eu", "{client:?}");
        assert_eq!(rules.limits.connections, connections, "{client:?}");
        assert_eq!(rules.limits.recipients, recipients, "{client:?}");
        assert_eq!(rules.relay.domains.len(), domains, "{client:?}");
        assert_eq!(rules.relay.hosts.len(), hosts, "{client:?}");
        assert_eq!(rules.relay.authenticated, authenticated, "{client:?}");
        assert_eq!(rules.limits.message_size, 50 * 1024 * 1024, "{client:?}");
    }
}

#[test]
fn values_are_resolved() {
    let config = Config::parse(source(&repository("tests/configurations/good/design.toml"))).unwrap();
    let edge = &config.listeners["edge"];
    assert_eq!(config.server.hostname, "mx.example.org");
    assert_eq!(edge.banner, "mx.example.org ESMTP");
    assert_eq!(edge.tls.certificates[0].chain, Path::new("/etc/pillarbox/tls/cert.pem"));
    assert_eq!(edge.tls.certificates[1].key, Path::new("/etc/tls/b.key"));
    assert_eq!(edge.rules.relay.domains[1], DomainPattern::Below("example.org".to_owned()));
    assert_eq!(edge.rules.limits.command_timeout, Duration::from_secs(90));
    assert_eq!(edge.rules.limits.message_size, 0);

    let greylist = &edge.extensions[0];
    let only_tempfail = Verdicts { tempfail: true, reject: false, disconnect: false, ..Verdicts::default() };
    assert_eq!((greylist.verdicts, &greylist.peers, greylist.trust), (only_tempfail, &None, Trust::Client));
    assert_eq!(greylist.grant.entry(Capability::Kv), Some(&Granted::Denied));
    assert_eq!(greylist.grant.entry(Capability::Metrics), None);
    let message_only = Granted::Scoped { connection: Vec::new(), message: vec!["greylist_*".to_owned()] };
    assert_eq!(greylist.grant.entry(Capability::ContextWrite), Some(&message_only));

    assert_eq!(greylist.grant.entry(Capability::Table), Some(&Granted::Names(vec!["exempt".to_owned()])));

    let xclient = &edge.extensions[1];
    let namespaces = vec!["greylist/".to_owned(), "a.b/c_d/".to_owned()];
    let granted = [Capability::Kv, Capability::Table].map(|capability| xclient.grant.entry(capability).unwrap());
    assert_eq!(granted, [&Granted::Namespaces { namespaces, quota: 1 << 20 }, &Granted::All]);
    let tables = config.tables.values().map(|table| (&*table.name, table.file.to_str().unwrap(), table.kind));
    let expected = [
        ("blocked", "/etc/blocked", TableType::Hash),
        ("exempt", "/etc/pillarbox/tables/exempt", TableType::Cidr),
        ("words", "/etc/pillarbox/words", TableType::Pattern),
    ];
    assert_eq!(tables.collect::<Vec<_>>(), expected);
    let peers = xclient.peers.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(peers, ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::1/128"]);
    let text = &config.source.text;
    assert_eq!(&text[xclient.place.start..xclient.place.end], "\"xclient\"");
    let place = xclient.peers_place.unwrap();
    assert!(text[place.start..place.end].starts_with("[\"10.0.0.0/8\""));

    let extension = &config.extensions["greylist"];
    assert_eq!(extension.component, Component::File("/etc/pillarbox/greylist.wasm".into()));
    assert_eq!(extension.sha256.unwrap()[31], 0xff);
    let expected = [
        ("count", Setting::Integer(3)),
        ("delay", Setting::Text("5m".to_owned())),
        ("names", Setting::Texts(vec!["a".to_owned(), "b".to_owned()])),
        ("nested.deep.x", Setting::Integer(1)),
        ("on", Setting::Boolean(true)),
        ("ratio", Setting::Float(0.5)),
    ];
    assert_eq!(extension.settings, expected.map(|(name, setting)| (name.to_owned(), setting)).into());
    let narrowed = extension.limits.narrowed(&greylist.limits);
    assert_eq!((extension.limits.cpu, narrowed.cpu), (Duration::from_millis(20), Duration::from_millis(10)));
    assert_eq!(narrowed.memory, 8 * 1024 * 1024);

    assert_eq!(config.routes[0].to.to_string(), "maildir:/etc/pillarbox/mail/{domain}/{local}");
    assert!(takes(&config.routes[0], "EXAMPLE.org") && !takes(&config.routes[0], "a.example.org"));
}

#[test]
fn values_of_routes_are_resolved() {
    let config = Config::parse(source(&repository("tests/configurations/good/routes.toml"))).unwrap();
    let second = Duration::from_secs(1);
    let retry = Retry { first: second, longest: 10 * second, warn: Duration::ZERO, expire: 3600 * second };
    assert_eq!(config.delivery, Delivery { concurrency: Concurrency(8), retry });
    let tcp = |host: &str, port| Hop::Tcp { host: HopHost::Host(Host::parse(host).unwrap()), port };
    let file = |name: &str| Path::new("/etc/pillarbox").join(name);
    let relay = |index: usize| match &config.routes[index].to {
        Target::Relay(relay) => &**relay,
        other => panic!("{other}"),
    };
    let first = relay(0);
    let mut tls = first.tls.clone();
    assert_eq!(tls.certificate.take().map(|it| (it.chain, it.key)), Some((file("c.pem"), file("k.pem"))));
    let name = Some("mail.example.net".to_owned());
    let verified = HopTls {
        mode: HopTlsMode::Verified,
        implicit: false,
        authorities: Some(file("ca.pem")),
        name,
        certificate: None,
    };
    assert_eq!(tls, verified);
    let whole = RelayTarget {
        protocol: HopProtocol::Smtp,
        hops: vec![tcp("a.example.net", 25), tcp("[2001:db8::1]", 2525), tcp("192.0.2.1", 25)],
        mx: false,
        tls: first.tls.clone(),
        login: Some(Login { user: "relay".to_owned(), password_file: file("relay.password") }),
        source: vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        hello: Some("out.example.org".to_owned()),
        xclient: PassOn::IfAvailable,
        xforward: PassOn::Required,
        concurrency: 3,
        messages: 7,
        idle: Duration::ZERO,
        timeouts: HopTimeouts { connect: second, command: 2 * second, data: 3 * second, end_of_data: 4 * second },
    };
    assert_eq!(first, &whole);

    let short = |index| {
        let RelayTarget { protocol, mx, tls, .. } = relay(index);
        (relay(index).to_string(), *protocol, *mx, tls.implicit, tls.mode)
    };
    for (index, to, protocol, mx, implicit, mode) in [
        (1, "smtps://mail.example.net:465", HopProtocol::Smtp, false, true, HopTlsMode::Verified),
        (2, "smtps://mail.example.net:4465", HopProtocol::Smtp, false, true, HopTlsMode::Required),
        (3, "smtp://mail.example.net:25", HopProtocol::Smtp, true, false, HopTlsMode::Opportunistic),
        (4, "smtp://{domain}:2525", HopProtocol::Smtp, false, false, HopTlsMode::Opportunistic),
        (5, "lmtp://127.0.0.1:24", HopProtocol::Lmtp, false, false, HopTlsMode::Off),
        (6, "lmtp://lmtp.example.net:24", HopProtocol::Lmtp, false, false, HopTlsMode::Opportunistic),
        (7, "lmtp:/etc/pillarbox/run/lmtp.sock", HopProtocol::Lmtp, false, false, HopTlsMode::Off),
        (11, "smtp://127.0.0.1:2525", HopProtocol::Smtp, false, false, HopTlsMode::Opportunistic),
        (12, "smtp://{domain}:25", HopProtocol::Smtp, true, false, HopTlsMode::Opportunistic),
    ] {
        assert_eq!(short(index), (to.to_owned(), protocol, mx, implicit, mode));
    }
    assert_eq!(*relay(12), RelayTarget { mx: true, ..RelayTarget::new(HopProtocol::Smtp, relay(12).hops[0].clone()) });

    let Target::Webhook(webhook) = &config.routes[8].to else { panic!("a webhook") };
    let expected = WebhookTarget {
        scheme: Scheme::Https,
        host: Host::Name("hook.example.net".to_owned()),
        port: 443,
        path: "/mail?kind=new".to_owned(),
        token_file: Some(file("hook.token")),
        concurrency: 2,
        timeout: 5 * second,
    };
    assert_eq!(**webhook, expected);
    assert_eq!(config.routes[9].to.to_string(), "http://127.0.0.1:8080/");
    let Target::Nats(nats) = &config.routes[10].to else { panic!("a subject") };
    let expected = NatsServers {
        hosts: [("nats1.example.net", 4222), ("nats2.example.net", 5222)]
            .map(|(host, port)| (Host::parse(host).unwrap(), port))
            .to_vec(),
        tls: true,
        authorities: Some(file("ca.pem")),
        credentials: Some(file("mail.creds")),
        token_file: None,
    };
    assert_eq!((&nats.servers, &*nats.subject), (&expected, "mail.{domain}.{listener}"));
    assert_eq!(nats.timeout, 2 * second);
}

/// Each key that is written must hold; each that is left out holds for everything.
#[test]
fn a_route_takes_what_all_its_keys_name() {
    let config = Config::parse(source(&repository("tests/configurations/good/routes.toml"))).unwrap();
    let context = |pathway: &'static str| {
        move |name: &str| match name {
            "pathway" => Some(pathway),
            "x_y" => Some(""),
            _ => None,
        }
    };
    for (local, domain, listener, pathway, taken) in [
        ("bob", "example.org", "edge", "inside", true),
        ("Bob", "EXAMPLE.ORG", "edge", "in", true),
        ("ann", "a.example.org", "edge", "inside", true),
        ("ann", "example.org", "edge", "inside", false),
        ("ann", "b.example.org", "edge", "inside", false),
        ("bob", "example.org", "inside", "inside", false),
        ("bob", "example.org", "edge", "outside", false),
    ] {
        let route = &config.routes[0];
        let said = format!("{local}@{domain} at {listener}, {pathway}");
        assert_eq!(route.takes((local, domain), listener, context(pathway)), taken, "{said}");
        assert!(!route.takes((local, domain), listener, |_| None), "{said} without a context");
    }
    assert!(config.routes[12].takes(("ann", "[192.0.2.1]"), "", |_| None));
}

/// What is left out of the schedule gives way to what is written.
#[test]
fn a_part_of_the_schedule_is_enough() {
    for (written, expected) in [
        ("first = \"2h\"", ["2h", "2h", "4h", "5d"]),
        ("longest = \"1m\"", ["1m", "1m", "4h", "5d"]),
        ("expire = \"1h\"", ["5m", "1h", "0", "1h"]),
        ("warn = \"1m\"", ["5m", "1h", "1m", "5d"]),
    ] {
        let server = "[server]\nhostname = \"mx.example.org\"\nstate-dir = \"state\"\n";
        let text = format!("{server}[listener.a]\naddress = [\"127.0.0.1:0\"]\n[delivery.retry]\n{written}\n");
        let Retry { first, longest, warn, expire } = parse(&text).unwrap().delivery.retry;
        assert_eq!([first, longest, warn, expire].map(value::show_duration), expected, "{written}");
    }
}

#[test]
fn values_at_the_door_are_resolved() {
    let config = Config::parse(source(&repository("tests/configurations/good/everything-at-the-door.toml"))).unwrap();
    let servers = config.dns.servers.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(servers, ["127.0.0.1:5353", "[::1]:53", "192.0.2.53:53", "[2001:db8::53]:53"]);
    assert_eq!(config.dns.timeout, Duration::from_secs(2));

    let door = &config.listeners["submission"];
    // What stands on a keyword that is off is off with it.
    let esmtp =
        Keywords { pipelining: true, size: true, eight_bit_mime: false, enhanced_status_codes: false, ..door.esmtp };
    assert_eq!(door.esmtp, esmtp);
    assert_eq!(
        [door.esmtp.smtputf8, door.esmtp.chunking, door.esmtp.binarymime, door.esmtp.dsn, door.esmtp.limits],
        [false; 5]
    );
    assert!(!door.esmtp.help && !door.esmtp.vrfy);
    assert_eq!((door.tls.clients, door.tls.handshakes), (TlsClients::Required, 32));
    assert_eq!(door.tls.handshake_timeout, Duration::from_secs(10));
    assert_eq!(door.tls.client_authorities, [Path::new("/etc/pillarbox/ca.pem"), Path::new("/etc/other.pem")]);
    assert_eq!(door.auth.users.as_deref(), Some(Path::new("/etc/pillarbox/users")));
    let names = door.auth.mechanisms.iter().flatten().map(|mechanism| mechanism.name()).collect::<Vec<_>>();
    assert_eq!(names, ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL"]);
    assert_eq!((door.auth.without_tls, door.auth.external), (true, External::Email));
    let place = door.auth.users_place;
    assert_eq!(&config.source.text[place.start..place.end], "\"users\"");
    let proxy = door.proxy.as_ref().unwrap();
    let from = proxy.from.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (from, proxy.timeout),
        (vec!["10.0.0.0/8".to_owned(), "2001:db8::1/128".to_owned()], Duration::from_secs(1))
    );
    assert_eq!(door.client_name, ClientName::Verified);

    let own = Limits {
        connections_per_address: 3,
        messages: 0,
        errors: 5,
        data_rate: 1024,
        early_talk: Manners::Refuse,
        ..Limits::default()
    };
    assert_eq!(door.rules.limits, own);
    let inside = door.rules_for(Some("10.1.2.3".parse().unwrap())).limits;
    let banner_delay = Duration::from_secs(2);
    let unauthorized_pipelining = Manners::Refuse;
    assert_eq!(inside, Limits { connections_per_address: 0, banner_delay, unauthorized_pipelining, ..own });
    let granted = door.extensions[0].grant.entry(Capability::Credentials);
    assert_eq!(granted, Some(&Granted::Names(vec!["OAUTHBEARER".to_owned(), "XOAUTH2".to_owned()])));

    assert_eq!(config.listeners["lmtp"].protocol, Protocol::Lmtp);
    assert!(!config.listeners["lmtp"].esmtp.binarymime && config.listeners["lmtp"].esmtp.smtputf8);
    assert_eq!(config.listeners["optional"].tls.clients, TlsClients::Optional);
    assert_eq!(config.listeners["optional"].auth, Auth::default());
}

/// A listener can tighten what an extension may take, never widen it.
#[test]
fn limits_only_narrow() {
    let own = ExtensionLimits::default();
    let wide = ExtensionLimitsPart { memory: Some(1 << 32), log_lines: Some(1000), ..Default::default() };
    assert_eq!(own.narrowed(&wide), own);
    let session = SessionLimitsPart { cpu: Some(Duration::from_secs(1)), kv: Some(u32::MAX), ..Default::default() };
    let narrow = ExtensionLimitsPart { tables: Some(0), session, ..Default::default() };
    let expected = SessionLimits { cpu: Duration::from_secs(1), ..own.session };
    assert_eq!(own.narrowed(&narrow), ExtensionLimits { tables: 0, session: expected, ..own });
}

#[test]
fn what_a_failure_means_is_said_by_hook() {
    let config = |on_failure: &str| {
        let text = format!(
            "[server]\nhostname = \"mx.example.test\"\nstate-dir = \"state\"\n\
             [listener.a]\naddress = [\"127.0.0.1:2525\"]\n[extension.x]\ncomponent = \"x.wasm\"\n{on_failure}\n"
        );
        parse(&text).unwrap().extensions["x"].clone()
    };
    let at = |on_failure: &str| ["connect", "mail", "message"].map(|hook| config(on_failure).on_failure.at(hook));
    use OnFailure::{Reject, Skip, Tempfail};
    assert_eq!(at(""), [Tempfail; 3]);
    assert_eq!(at("on-failure = \"skip\""), [Skip; 3]);
    assert_eq!(at("on-failure = { connect = \"skip\", message = \"reject\" }"), [Skip, Tempfail, Reject]);
    assert_eq!(at("on-failure = { message = \"tempfail\", default = \"skip\" }"), [Skip, Skip, Tempfail]);
    assert_eq!(config("").breaker, Some(Breaker::default()));
    assert_eq!(config("breaker = true").breaker, Some(Breaker::default()));
    assert_eq!(config("breaker = false").breaker, None);
    assert_eq!(config("breaker.failures = 2").breaker, Some(Breaker { failures: 2, ..Breaker::default() }));
}

#[test]
fn domain_patterns() {
    let below = DomainPattern::Below("example.org".to_owned());
    let exact = DomainPattern::Exact("example.org".to_owned());
    let cases = [
        ("example.org", true, false),
        ("EXAMPLE.ORG", true, false),
        ("a.example.org", false, true),
        ("a.b.Example.Org", false, true),
        ("badexample.org", false, false),
        (".example.org", false, false),
        ("example.org.", false, false),
        ("é.example.org", false, true),
        ("", false, false),
    ];
    for (domain, is_exact, is_below) in cases {
        assert_eq!((exact.matches(domain), below.matches(domain)), (is_exact, is_below), "{domain}");
    }
}

/// Whatever the place, rendering answers with text: places come from a parser, and from whoever points into the file.
#[test]
fn rendering_takes_any_place() {
    let text = "a = \"ü\"\r\n\tb = [\n\"x\",\n]\u{7}\n\u{fffd}last";
    let source = Source { name: "x.toml".to_owned(), directory: "/".into(), text: text.to_owned() };
    for start in 0..text.len() + 3 {
        for end in [0, start, start + 1, start + 5, text.len(), usize::MAX] {
            let problem = Problem::at(Place { start, end }, "wrong\u{1b}[m").help("do\nthat\u{7}");
            let rendered = problem.render(&source);
            assert!(rendered.contains('^') && rendered.ends_with('\n'));
            assert!(!rendered.contains(|c: char| c.is_control() && c != '\n'), "{rendered:?}");
        }
    }
}

#[test]
fn rendering_as_documented() {
    let text = "[server]\nhostname = \"mx\"\n[listener.a]\nadress = [\"127.0.0.1:25\"]\n";
    let source = Source { name: "pillarbox.toml".to_owned(), directory: "/".into(), text: text.to_owned() };
    let start = text.find("adress").unwrap();
    let problem = Problem::at(Place { start, end: start + 6 }, "unknown key `adress`").help("did you mean `address`?");
    let expected = "\
error: unknown key `adress`
  --> pillarbox.toml:4:1
   |
 4 | adress = [\"127.0.0.1:25\"]
   | ^^^^^^ did you mean `address`?
";
    assert_eq!(problem.render(&source), expected);
}

/// Garbage is refused with a message, however deep or long.
#[test]
fn garbage_is_refused() {
    let deep = format!("a = {}", "[".repeat(100_000));
    let keys = format!("{}a = 1", "a.".repeat(100_000));
    let settings = format!("extension.x.settings.{keys}");
    let log = "Nov 22 16:00:00 mx postfix/smtpd[1]: connect from unknown[192.0.2.1]\n".repeat(5_000);
    for text in ["\0", "\u{feff}", "=", "[[", "[a]\n[a]", "a = 'x", "\r", &deep, &keys, &settings, &log] {
        let problems = parse(text).unwrap_err();
        assert!((1..=20).contains(&problems.iter().count()) && problems.to_string().ends_with("in test.toml"));
    }
}

#[test]
fn templates_of_mailboxes() {
    for sound in ["/var/mail", "/var/mail/{domain}/{local}", "/m/{local}{domain}"] {
        assert_eq!(MaildirPath::new(sound).unwrap().template(), sound);
    }
    for unsound in ["mail/{local}", "/mail/{user}", "/mail/{local", "/mail/}", "/mail/{{local}}"] {
        assert_eq!(MaildirPath::new(unsound), None, "{unsound}");
    }
    // The directory of the file is no template, whatever it is called.
    let text = format!("{RULES}[[route]]\nto = \"maildir:m\"\n");
    let source = Source { name: "x".to_owned(), directory: "/srv/{local}".into(), text };
    let problems = Config::parse(source).unwrap_err().to_string();
    assert!(problems.contains("has a name that no template can hold"), "{problems}");
}
