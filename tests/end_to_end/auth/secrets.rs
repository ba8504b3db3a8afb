//! What is secret is nowhere to be found: not in the log, whatever its level, not in the spool, the status or a dump.

use super::{FORMS, NAME, hello, hello_tls, start_tls};
use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::handshake::Version::Tls13;
use pillarbox_tests::{Client, Site, auth};
use std::net::{IpAddr, Ipv4Addr};

/// Passwords that stand for nothing else, and are spelled alike in the log and in a dump.
const RIGHT: &str = "Zanzibar7Quokka";
const WRONG: &str = "Ouagadougou4Yak";

/// What nobody may read: each password, in the clear and in every way base64 spells it, whatever stands before it.
fn secrets() -> Vec<String> {
    let mut secrets = Vec::new();
    for password in [RIGHT, WRONG] {
        secrets.push(password.to_owned());
        for before in 0..3 {
            let text = format!("{}{password}", "\0".repeat(before));
            let encoded = auth::encode(text);
            // The digits at either end are made of neighbours, too.
            secrets.push(encoded.trim_end_matches('=').chars().skip(before + 1).take(16).collect());
        }
    }
    secrets
}

#[track_caller]
fn holds_none(what: &str, octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    for secret in secrets() {
        assert!(!text.contains(&secret), "{what} holds {secret}: {text}");
    }
}

#[test]
fn base64_is_searched_for_as_it_is_spelled() {
    for user in ["a", "al", "ali"] {
        let message = auth::plain_message(user, RIGHT);
        assert!(secrets().iter().any(|secret| message.contains(secret)), "{message}");
    }
    assert!(secrets().iter().any(|secret| auth::encode(RIGHT).contains(secret)));
}

#[test]
fn no_secret_is_written_anywhere() {
    let verbs = configs::extensions(&["xdumpcontext", "xclient"]);
    let listener = format!(
        "auth.users = \"users\"\nrelay.authenticated = true\nlimits.errors = 0\nlimits.tarpit-after = 0\n\
         limits.auth-failures = 30\nlimits.messages = 100\n{}",
        configs::tls("starttls")
    );
    let judged = "[[listener.edge.extension]]\nuse = \"always\"\npeers = [\"127.0.0.2\"]\n\
                  grant.credentials = [\"PLAIN\", \"LOGIN\"]\ngrant.authentication = false\n\
                  [extension.always]\ncomponent = \"builtin:always-allow\"\nsettings = { mode = \"auth\" }\n";
    // Nothing can be delivered, so that what is accepted stays in the spool.
    let config = configs::maildirs(&format!("{listener}{judged}{verbs}"))
        .replace("format = \"json\"", "format = \"json\"\nlevel = \"trace\"");
    let site = Site::new(&config);
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.write("mail", "no directory");
    site.user(NAME, RIGHT);
    let server = site.start();
    let mut heard = String::new();

    for (_, attempt) in FORMS {
        let (mut client, _) = hello_tls(&server, Tls13, None);
        attempt(&mut client, NAME, WRONG);
        // In the wrong field, as people do.
        attempt(&mut client, WRONG, "x");
        heard.push_str(&client.ask("XDUMPCONTEXT").to_string().replace(WRONG, "(the name that was tried)"));
        assert_eq!(attempt(&mut client, NAME, RIGHT).code, 235);
        client.send(format!("AUTH PLAIN {}\r\n", auth::plain_message(NAME, RIGHT)));
        client.expect_reply("503 5.5.1 *");
        heard.push_str(&client.ask("XDUMPCONTEXT").to_string());
        client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
        client.quit();
    }
    // Before TLS, in mechanisms that are not offered, and broken.
    let (mut client, _) = hello(&server);
    for command in [
        format!("AUTH PLAIN {}", auth::plain_message(NAME, RIGHT)),
        format!("AUTH LOGIN {}", auth::encode(RIGHT)),
        format!("AUTH CRAM-MD5 {}", auth::encode(RIGHT)),
        format!("AUTH {} {RIGHT}", auth::encode(WRONG)),
    ] {
        let reply = client.ask(&command);
        assert!(reply.code >= 500, "{reply}");
        heard.push_str(&reply.to_string());
    }
    client.starttls();
    client.hello();
    for command in [
        format!("AUTH PLAIN {RIGHT}"),
        format!("AUTH PLAIN {}", auth::encode(RIGHT)),
        format!("AUTH PLAIN {}", auth::encode(format!("{RIGHT}\0alice\0{WRONG}"))),
        format!("AUTH {} {}", auth::encode(WRONG), auth::encode(RIGHT)),
        format!("AUTH PLAIN {}", auth::encode(format!("\0alice\0{RIGHT}\0{WRONG}"))),
    ] {
        let reply = client.ask(&command);
        assert!(reply.code >= 500, "{reply}");
        heard.push_str(&reply.to_string());
    }
    client.expect("AUTH LOGIN", "334 *");
    client.expect(&auth::encode(NAME), "334 *");
    heard.push_str(&client.ask(RIGHT).to_string());
    // One that is cut off in the middle.
    client.expect("AUTH PLAIN", "334 *");
    client.send(auth::plain_message(NAME, RIGHT));
    drop(client);
    // An extension that is shown them.
    let mut client = Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), server.address("edge"));
    client.hello();
    client.starttls();
    client.hello();
    assert_eq!(auth::login(&mut client, "stranger", WRONG).code, 235);
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.quit();

    let status = server.status().to_string();
    let spooled = site.files("state/spool");
    assert!(spooled.len() > FORMS.len(), "{spooled:?}");
    for file in spooled.iter().chain(&site.files("state")).filter(|file| file.is_file()) {
        holds_none(&file.display().to_string(), &std::fs::read(file).unwrap());
    }
    holds_none("users", &site.read("users"));
    holds_none("the status", status.as_bytes());
    holds_none("a reply", heard.as_bytes());
    // What was tried as a name is a name; whoever confuses the fields is known by it in the log alone.
    let tried = format!("\"user\":\"{WRONG}\"");
    let log: String = server.log().lines().join("\n").replace(&tried, "");
    assert!(log.contains("logged in") && log.contains("\"level\":\"debug\""), "{log}");
    holds_none("the log", log.as_bytes());
}

#[test]
fn the_name_that_was_tried_is_logged() {
    let server = start_tls("");
    let (mut client, _) = hello_tls(&server, Tls13, None);
    auth::plain(&mut client, "mallory", WRONG);
    let event = server.log().event("login refused", &[("mechanism", "PLAIN"), ("user", "mallory")]);
    assert_eq!(event.field("client"), "127.0.0.1");
}
