//! Certificates, those of clients and the server's own when they are replaced while it runs.

use crate::configs;
use pillarbox_tests::authority::Authority;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::handshake::{Handshake, HandshakeKind, Version};
use pillarbox_tests::{Client, Reply, Site, until};
use std::net::SocketAddr;

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// The keys of a listener of implicit TLS that asks for certificates of clients.
fn asks(clients: &str) -> String {
    format!("{}tls.clients = \"{clients}\"\ntls.client-authorities = [\"tls/clients.pem\"]\n", configs::tls("implicit"))
}

/// A site with the server's certificate and the authority of its clients.
fn site(config: &str, authority: &Authority) -> Site {
    let site = Site::new(config);
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.write("tls/clients.pem", &authority.pem);
    site
}

/// What every client may show that is not as it should be.
fn unverified() -> [(&'static str, Pair); 2] {
    [("of an unknown authority", Authority::new("Clients").issue("anne")), ("self-signed", Pair::new(&["anne.test"]))]
}

fn dial(address: SocketAddr, version: Version, shown: Option<&Pair>) -> Client {
    let mut client = Client::dial(address, None);
    if let Err(error) = client.handshake_by(&Handshake::new(version, shown)) {
        client.fail(&error.to_string());
    }
    client
}

/// What the context says of the client's certificate.
fn told(dump: &Reply) -> Vec<String> {
    let names = dump.lines.iter().filter_map(|line| line.strip_prefix("250-[connection] tls_client_"));
    names.map(str::to_owned).collect()
}

#[test]
fn a_certificate_that_is_optional() {
    let authority = Authority::new("Clients");
    let verbs = configs::extensions(&["xdumpcontext"]);
    let server = site(&configs::discard(&(asks("optional") + &verbs)), &authority).start();
    let (known, expired) = (authority.issue("anne"), authority.issue_expired("anne"));
    let named = |issuer: &str| {
        ["cert_issuer CN=", "cert_issuer_cn ", "cert_subject CN=", "cert_subject_cn "]
            .iter()
            .enumerate()
            .map(|(n, name)| format!("{name}{}", if n < 2 { issuer } else { "anne" }))
            .collect::<Vec<_>>()
    };
    for version in VERSIONS {
        let tells = |shown: Option<&Pair>| {
            let mut client = dial(server.address("edge"), version, shown);
            client.expect_reply("220 *");
            client.hello();
            let told = told(&client.ask("XDUMPCONTEXT"));
            client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
            client.quit();
            told
        };
        assert_eq!(tells(None), Vec::<String>::new(), "{version:?}");
        let verified = [named("Clients"), vec!["verified yes".to_owned()]].concat();
        assert_eq!(tells(Some(&known)), verified, "{version:?}");
        // Whatever else is shown is taken and not believed.
        assert_eq!(tells(Some(&expired)), named("Clients"), "{version:?}");
        let [(_, unknown), (_, alone)] = unverified();
        assert_eq!(tells(Some(&unknown)), named("Clients"), "{version:?}");
        assert!(!tells(Some(&alone)).contains(&"verified yes".to_owned()), "{version:?}");
    }
}

#[test]
fn a_certificate_that_is_required() {
    let authority = Authority::new("Clients");
    let server = site(&configs::discard(&asks("required")), &authority).start();
    let (known, expired) = (authority.issue("anne"), authority.issue_expired("anne"));
    let [unknown, alone] = unverified();
    for version in VERSIONS {
        for _ in 0..2 {
            let mut client = dial(server.address("edge"), version, Some(&known));
            client.expect_reply("220 *");
            client.quit();
        }
        let shown =
            [("no", None), ("an expired", Some(&expired)), (unknown.0, Some(&unknown.1)), (alone.0, Some(&alone.1))];
        for (what, shown) in shown {
            let mut client = Client::dial(server.address("edge"), None);
            // Under TLS 1.3 the client is done before the server has looked.
            if client.handshake_by(&Handshake::new(version, shown)).is_ok() {
                assert_eq!(version, Version::Tls13, "{what} certificate is taken");
                client.send("NOOP\r\n");
                client.expect_gone();
            }
        }
    }
    server.log().count(8, "tls handshake failed");
    until("8 failures", || server.status()["handshakes_failed"] == 8);
    assert!(
        server
            .log()
            .events()
            .iter()
            .filter(|event| event.is("tls handshake failed"))
            .all(|event| !event.field("error").is_empty())
    );
}

#[test]
fn under_starttls_it_is_asked_for_as_well() {
    let authority = Authority::new("Clients");
    let keys = asks("required").replace("implicit", "starttls");
    let verbs = configs::extensions(&["xdumpcontext"]);
    let server = site(&configs::discard(&(keys + &verbs)), &authority).start();
    let known = authority.issue("anne");
    let mut client = server.client("edge");
    client.hello();
    assert_eq!(told(&client.ask("XDUMPCONTEXT")), Vec::<String>::new());
    client.expect("STARTTLS", "220 *");
    client.handshake_by(&Handshake::new(Version::Tls13, Some(&known))).unwrap();
    client.hello();
    assert!(told(&client.ask("XDUMPCONTEXT")).contains(&"cert_subject_cn anne".to_owned()));
    client.quit();
}

#[test]
fn a_session_is_not_resumed_on_another_listener() {
    let pair = Pair::new(&["mx.example.test"]);
    let config = configs::discard(&format!(
        "{}[listener.other]\naddress = [\"127.0.0.1:0\"]\n{}",
        configs::tls("implicit"),
        configs::tls("implicit")
    ));
    let site = Site::new(&config);
    pair.write(&site.path("tls"));
    let server = site.start();
    for version in VERSIONS {
        let client = Handshake::new(version, None);
        let kind = |listener: &str| {
            let mut connection = Client::dial(server.address(listener), None);
            connection.handshake_by(&client).unwrap();
            // The tickets of TLS 1.3 come behind the handshake.
            connection.expect_reply("220 *");
            let kind = connection.handshake_kind().unwrap();
            connection.quit();
            kind
        };
        assert_eq!(kind("edge"), HandshakeKind::Full, "{version:?}");
        assert_eq!(kind("edge"), HandshakeKind::Resumed, "{version:?}: tickets are of use at all");
        assert_eq!(kind("other"), HandshakeKind::Full, "{version:?}: a ticket of the one is taken by the other");
    }
}

#[test]
fn new_files_are_served_without_an_order() {
    let site = Site::new(&configs::discard(&configs::tls("implicit")));
    let (first, second) = (Pair::new(&["mx.example.test"]), Pair::new(&["mx.example.test"]));
    first.write(&site.path("tls"));
    let server = site.start();
    let address = server.address("edge");
    let mut open = Client::connect_tls(address);
    assert_eq!(open.certificate(), first.der);
    let status = server.status();
    let days = status["certificates"][0]["days_left"].as_i64().unwrap();
    assert!(days > 0, "{status:#}");
    assert!(server.site().run(&["status"]).exits(0).stdout.contains(&days.to_string()));

    // Not the two at once, as whatever renews them writes them.
    site.write("tls/cert.pem", &second.chain);
    let complaint = server.log().event("certificate not renewed, the old one stays", &[("listener", "edge")]);
    assert!(complaint.level == "error" && complaint.field("error").contains("does not belong"), "{complaint:?}");
    assert_eq!(Client::connect_tls(address).certificate(), first.der, "half of a renewal");
    let status = server.status();
    assert!(
        status["renewal_errors"]["edge"].as_str().is_some_and(|text| text.contains("does not belong")),
        "{status:#}"
    );
    assert!(server.site().run(&["status"]).exits(0).stdout.contains("NOT TAKEN UP"));

    site.write("tls/key.pem", &second.key);
    server.log().event("certificate renewed", &[("listener", "edge")]);
    assert_eq!(Client::connect_tls(address).certificate(), second.der, "after the renewal");
    assert_eq!(server.status()["renewal_errors"], serde_json::json!({}));
    // Who is in stays in, and what goes wrong is said once.
    open.hello();
    open.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    open.quit();
    let complaints = server.log().events().iter().filter(|event| event.is(&complaint.message)).count();
    assert_eq!(complaints, 1);
}

#[test]
fn files_that_cannot_be_used_replace_nothing() {
    let site = Site::new(&configs::discard(&configs::tls("implicit")));
    let first = Pair::new(&["mx.example.test"]);
    first.write(&site.path("tls"));
    let server = site.start();
    let expired = Pair::expired(&["mx.example.test"]);
    site.write("tls/key.pem", &expired.key);
    site.write("tls/cert.pem", &expired.chain);
    server.log().wait_for("the refusal of an expired certificate", |event| {
        event.message.starts_with("certificate not renewed") && event.field("error").contains("expired")
    });
    assert_eq!(Client::connect_tls(server.address("edge")).certificate(), first.der);
    std::fs::remove_file(site.path("tls/cert.pem")).unwrap();
    server.log().wait_for("the refusal of a file that is gone", |event| {
        event.message.starts_with("certificate not renewed") && event.field("error").contains("No such file")
    });
    assert_eq!(Client::connect_tls(server.address("edge")).certificate(), first.der);
    // The old pair once more is nothing new, and all is well.
    first.write(&site.path("tls"));
    until("no complaint", || server.status()["renewal_errors"] == serde_json::json!({}));
    assert_eq!(Client::connect_tls(server.address("edge")).certificate(), first.der);
}

#[test]
fn a_pair_that_cannot_be_used_holds_up_no_other() {
    let site = Site::new(&configs::discard(
        "tls.mode = \"implicit\"\ntls.certificates = [\n\
         { chain = \"tls/cert.pem\", key = \"tls/key.pem\" },\n\
         { chain = \"other/cert.pem\", key = \"other/key.pem\" },\n]",
    ));
    let (first, second) = (Pair::new(&["mx.example.test"]), Pair::new(&["other.example.test"]));
    first.write(&site.path("tls"));
    second.write(&site.path("other"));
    let server = site.start();
    let shown = |name: &str| {
        let mut client = Client::dial(server.address("edge"), None);
        client.handshake_for(name);
        client.certificate()
    };
    site.write("tls/cert.pem", "no certificate");
    server.log().event("certificate not renewed, the old one stays", &[]);
    let renewed = Pair::new(&["other.example.test"]);
    renewed.write(&site.path("other"));
    let event = server.log().event("certificate renewed", &[("listener", "edge")]);
    assert!(event.field("chain").ends_with("other/cert.pem"), "{event:?}");
    assert_eq!((shown("other.example.test"), shown("mx.example.test")), (renewed.der, first.der));
    let errors = server.status()["renewal_errors"]["edge"].as_str().unwrap().to_owned();
    assert!(errors.contains("tls/cert.pem") && !errors.contains("other/"), "{errors}");
}

#[test]
fn new_authorities_are_believed_without_an_order() {
    let (first, second) = (Authority::new("First"), Authority::new("Second"));
    let server = site(&configs::discard(&asks("required")), &first).start();
    let (by_first, by_second) = (first.issue("anne"), second.issue("anne"));
    let enters = |shown: &Pair| {
        let mut client = Client::dial(server.address("edge"), None);
        client.handshake_by(&Handshake::new(Version::Tls12, Some(shown))).is_ok()
    };
    assert!(enters(&by_first) && !enters(&by_second));
    server.site().write("tls/clients.pem", &second.pem);
    server.log().event("client authorities changed", &[("listener", "edge")]);
    assert!(!enters(&by_first) && enters(&by_second));
}
