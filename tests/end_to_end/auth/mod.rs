//! AUTH: every mechanism with the users of a file, and what is told to those who are none of them (RFC 4954).

mod attempts;
mod extensions;
mod moments;
mod secrets;
mod users;

use crate::configs;
use pillarbox_tests::auth::{self, Scram};
use pillarbox_tests::authority::Authority;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::handshake::Handshake;
use pillarbox_tests::handshake::Version::{self, Tls12, Tls13};
use pillarbox_tests::{Client, Reply, Server, Site};
use std::time::{Duration, Instant};

const NAME: &str = "alice";
const PASSWORD: &str = "correct-horse-staple";

/// Users are in a file, and logins are taken in the clear.
const CLEAR: &str = "auth.users = \"users\"\nauth.without-tls = true\nrelay.authenticated = true\n";

/// A place with a certificate and a user, where a listener with these keys takes mail into Maildirs and shows what it knows.
fn site(listener: &str) -> Site {
    let verbs = configs::extensions(&["xdumpcontext"]);
    let site = Site::new(&configs::maildirs(&format!("{listener}{verbs}")));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.user(NAME, PASSWORD);
    site
}

/// A server whose users log in under TLS alone.
fn start_tls(more: &str) -> Server {
    let listener = format!("auth.users = \"users\"\nrelay.authenticated = true\n{more}{}", configs::tls("starttls"));
    site(&listener).start()
}

/// A client that was greeted and said EHLO, and what was said to it.
fn hello(server: &Server) -> (Client, Reply) {
    let mut client = server.client("edge");
    let greeted = client.hello();
    (client, greeted)
}

/// A client under TLS that said EHLO, and what was said to it.
fn hello_tls(server: &Server, version: Version, shown: Option<&Pair>) -> (Client, Reply) {
    let (mut client, _) = hello(server);
    client.expect("STARTTLS", "220 2.0.0 *");
    client.handshake_as(&Handshake::new(version, shown));
    let greeted = client.hello();
    (client, greeted)
}

/// The mechanisms that are offered, in their order.
fn offered(greeted: &Reply) -> Vec<&str> {
    let line = greeted.lines.iter().find_map(|line| line.get(4..)?.strip_prefix("AUTH "));
    line.map(|line| line.split(' ').collect()).unwrap_or_default()
}

/// The names of the context that begin with `auth_`, and `can_relay`: each as `NAME VALUE`.
#[track_caller]
fn login_of(client: &mut Client) -> Vec<String> {
    let dump = client.ask("XDUMPCONTEXT");
    let entries = dump.lines.iter().filter_map(|line| line.get(4..)?.strip_prefix("[connection] "));
    entries.filter(|entry| entry.starts_with("auth_") || entry.starts_with("can_relay")).map(str::to_owned).collect()
}

/// Whether a recipient elsewhere is taken now.
#[track_caller]
fn relays(client: &mut Client) -> bool {
    client.expect("MAIL FROM:<a@client.test>", "250 2.1.0 *");
    let reply = client.ask("RCPT TO:<b@elsewhere.test>");
    client.expect("RSET", "250 2.0.0 *");
    match reply.code {
        250 => true,
        550 => false,
        _ => client.fail("neither taken nor refused"),
    }
}

type Attempt = fn(&mut Client, &str, &str) -> Reply;

/// Every mechanism with a password, in each of its forms.
const FORMS: [(&str, Attempt); 6] = [
    ("PLAIN", |client, user, password| auth::plain(client, user, password)),
    ("PLAIN", |client, user, password| {
        client.expect("AUTH PLAIN", "334 ");
        client.ask(&auth::plain_message(user, password))
    }),
    ("LOGIN", |client, user, password| auth::login(client, user, password)),
    ("LOGIN", |client, user, password| {
        client.expect(&format!("AUTH login {}", auth::encode(user)), "334 UGFzc3dvcmQ6");
        client.ask(&auth::encode(password))
    }),
    ("SCRAM-SHA-256", |client, user, password| auth::scram(client, user, password)),
    ("SCRAM-SHA-256-PLUS", |client, user, password| auth::scram_plus(client, user, password)),
];

#[test]
fn a_login_by_each_mechanism() {
    let server = start_tls("");
    for (number, (mechanism, attempt)) in FORMS.into_iter().enumerate() {
        let (mut client, greeted) = hello_tls(&server, Tls13, None);
        assert_eq!(offered(&greeted), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert!(!relays(&mut client), "{mechanism}");

        let refused = attempt(&mut client, NAME, "guess");
        assert_eq!(refused.last(), "535 5.7.8 authentication credentials invalid", "{mechanism}");
        let (name, user) = (format!("auth_name {mechanism}"), format!("auth_user {NAME}"));
        assert_eq!(login_of(&mut client), [&*name, "auth_status fail", &*user], "{mechanism}");
        assert!(!relays(&mut client), "{mechanism}");

        let taken = attempt(&mut client, NAME, PASSWORD);
        assert_eq!((taken.code, taken.last().starts_with("235 2.7.0 ")), (235, true), "{mechanism}: {taken}");
        assert_eq!(login_of(&mut client), [&*name, "auth_status pass", &*user, "can_relay true"], "{mechanism}");
        assert!(relays(&mut client), "{mechanism}");
        assert!(offered(&client.hello()).is_empty(), "{mechanism}");

        client.expect("MAIL FROM:<a@client.test> AUTH=<>", "250 2.1.0 *");
        client.expect(&format!("RCPT TO:<b{number}@example.test>"), "250 2.1.5 *");
        client.expect("DATA", "354 *");
        client.content("Subject: x\r\n\r\n");
        let id = client.expect_reply("250 2.0.0 OK *").last().rsplit(' ').next().unwrap_or_default().to_owned();
        server.log().event("delivered", &[("id", &id)]);
        let message = String::from_utf8(server.maildir(&format!("mail/example.test/b{number}")).only()).unwrap();
        assert!(message.contains(&format!("by mx.example.test with ESMTPSA id {id}\n")), "{mechanism}: {message}");
        server.log().event("logged in", &[("mechanism", mechanism), ("user", NAME)]);
        client.quit();
    }
    let status = server.status();
    assert_eq!(status["logins_failed"], FORMS.len(), "{status:#}");
}

#[test]
fn a_login_in_the_clear_where_the_listener_takes_it() {
    let server = site(CLEAR).start();
    for (mechanism, attempt) in FORMS.into_iter().filter(|(mechanism, _)| *mechanism != "SCRAM-SHA-256-PLUS") {
        let (mut client, greeted) = hello(&server);
        assert_eq!(offered(&greeted), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(attempt(&mut client, NAME, PASSWORD).code, 235, "{mechanism}");
        assert!(relays(&mut client));
    }
    let (mut client, _) = hello(&server);
    auth::plain(&mut client, NAME, PASSWORD);
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    server.log().event("delivered", &[("id", &id)]);
    let message = String::from_utf8(server.maildir("mail/example.test/b").only()).unwrap();
    assert!(message.contains(&format!("by mx.example.test with ESMTPA id {id}\n")), "{message}");
}

#[test]
fn channel_binding() {
    let server = start_tls("");
    // tls-exporter is of TLS 1.3 (RFC 9266).
    let (mut old, greeted) = hello_tls(&server, Tls12, None);
    assert_eq!(offered(&greeted), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    old.expect("AUTH SCRAM-SHA-256-PLUS", "504 5.5.4 *");
    // `y`: it could bind and believes that the server cannot, which is so.
    let unoffered = Scram { mechanism: "SCRAM-SHA-256", flag: "y", binding: &[] };
    assert_eq!(unoffered.play(&mut old, NAME, PASSWORD).code, 235);

    let (mut client, _) = hello_tls(&server, Tls13, None);
    let right = client.binding();
    let bound = Scram { mechanism: "SCRAM-SHA-256-PLUS", flag: "p=tls-exporter", binding: &right };
    for (what, scram) in [
        ("somebody took the offer away", unoffered),
        ("another connection", Scram { binding: &[7; 32], ..bound }),
        ("nothing to bind to", Scram { binding: &[], ..bound }),
        ("bound by a mechanism that does not bind", Scram { mechanism: "SCRAM-SHA-256", ..bound }),
        ("not bound by one that does", Scram { flag: "n", binding: &[], ..bound }),
        ("another kind", Scram { flag: "p=tls-unique", ..bound }),
    ] {
        assert_eq!(
            scram.play(&mut client, NAME, PASSWORD).last(),
            "535 5.7.8 authentication credentials invalid",
            "{what}"
        );
    }
    assert_eq!(bound.play(&mut client, NAME, PASSWORD).code, 235);
}

#[test]
fn the_certificate_of_a_client() {
    let (ours, others) = (Authority::new("Ours"), Authority::new("Others"));
    let listener = format!(
        "auth.users = \"users\"\ntls.clients = \"optional\"\ntls.client-authorities = [\"ours.pem\"]\n\
         relay.authenticated = true\n{}",
        configs::tls("starttls")
    );
    let site = site(&listener);
    site.write("ours.pem", &ours.pem);
    let server = site.start();
    let (carol, stranger) = (ours.issue("carol"), others.issue("carol"));

    let (mut client, greeted) = hello_tls(&server, Tls13, Some(&carol));
    assert!(offered(&greeted).contains(&"EXTERNAL"), "{greeted}");
    client.expect(&format!("AUTH EXTERNAL {}", auth::encode("bob")), "535 5.7.8 *");
    assert_eq!(login_of(&mut client), ["auth_name EXTERNAL", "auth_status fail", "auth_user carol"]);
    client.expect("AUTH EXTERNAL =", "235 2.7.0 *");
    assert_eq!(login_of(&mut client), ["auth_name EXTERNAL", "auth_status pass", "auth_user carol", "can_relay true"]);

    // Asked for, and by name.
    for response in [String::new(), auth::encode("carol")] {
        let (mut client, _) = hello_tls(&server, Tls12, Some(&carol));
        client.expect("AUTH EXTERNAL", "334 ");
        client.expect(&response, "235 2.7.0 *");
    }
    // Nobody vouches for these.
    for certificate in [Some(&stranger), None] {
        let (mut client, greeted) = hello_tls(&server, Tls13, certificate);
        assert!(!offered(&greeted).contains(&"EXTERNAL"), "{greeted}");
        client.expect("AUTH EXTERNAL =", "504 5.5.4 *");
        assert!(login_of(&mut client).is_empty());
    }
}

#[test]
fn who_is_unknown_is_told_what_everybody_is_told_and_as_late() {
    let server = site(&format!(
        "{CLEAR}limits.auth-failures = 0\nlimits.errors = 0\nlimits.tarpit-after = 0\nlimits.junk-commands = 0\n"
    ))
    .start();
    let (mut client, _) = hello(&server);
    let forms = [FORMS[0], FORMS[2], FORMS[4]];
    for (mechanism, attempt) in forms {
        let mut time = |user: &str| -> Duration {
            let began = Instant::now();
            let refused = attempt(&mut client, user, "guess");
            assert_eq!(refused.last(), "535 5.7.8 authentication credentials invalid", "{mechanism} {user}");
            began.elapsed()
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for number in 0..20 {
            known.push(time(NAME));
            unknown.push(time(&format!("nobody{number}")));
        }
        let [known, unknown] = [known, unknown].map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        assert!(known < unknown * 2 && unknown < known * 2, "{mechanism}: {known:?} and {unknown:?}");
    }
    // SCRAM shows a salt before there is a proof: it is the same each time for whoever is unknown, too.
    let mut salt = |user: &str| {
        let first = client.ask(&format!("AUTH SCRAM-SHA-256 {}", auth::encode(format!("n,,n={user},r=abc"))));
        client.expect("*", "501 5.0.0 *");
        auth::challenge(&first).split_once(",s=").unwrap().1.to_owned()
    };
    assert_eq!(salt("nobody"), salt("nobody"));
    assert_ne!(salt("nobody"), salt("somebody"));
    let shape = |salt: String| (salt.len(), salt.split_once(",i=").map(|(_, iterations)| iterations.to_owned()));
    assert_eq!(shape(salt("nobody")), shape(salt(NAME)));
}
