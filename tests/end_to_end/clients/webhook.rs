//! A webhook in Python takes what the server posts: the message as it came, the envelope in the header, and what it did not
//! take comes again.

use super::{client, letter};
use crate::configs;
use pillarbox_tests::{Site, repository};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_webhook_has_a_message_octet_for_octet() {
    let Some(mut python) = client("python3") else { return };
    let posted = Site::new("");
    python.arg(repository().join("tests/clients/webhook.py")).arg(posted.directory());
    let mut python = python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let route = format!("to = \"http://127.0.0.1:{}/mail?kind=new\"\ntoken-file = \"token\"", port.trim());
    let retry = "[delivery]\nretry = { first = \"200ms\", longest = \"200ms\" }\n";
    let site = Site::new(&configs::with_route(retry, &route));
    site.write("token", "t0ken\n");
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a@client.test", &["bob@example.test", "carol@example.test"], letter());
    server.log().event("delivered", &[("id", &id), ("recipient", "carol@example.test")]);
    python.kill().unwrap();
    python.wait().unwrap();

    for number in [0, 1] {
        let body = posted.read(&format!("{number}.body"));
        assert!(body.ends_with(&letter()), "the letter is another");
        assert!(body.starts_with(b"Received: from client.example.test "), "what is before it is another");
        let text = posted.read(&format!("{number}.json"));
        let fields: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for (name, expected) in [
            (":path", &["/mail?kind=new"][..]),
            ("content-type", &["message/rfc822"]),
            ("authorization", &["Bearer t0ken"]),
            ("idempotency-key", &[&format!("\"{id}\"")]),
            ("pillarbox-id", &[&id]),
            ("pillarbox-sender", &["a@client.test"]),
            ("pillarbox-recipient", &["bob@example.test", "carol@example.test"]),
        ] {
            assert_eq!(fields[name], serde_json::json!(expected), "{name} of {number}\n{fields}");
        }
    }
    assert!(!posted.path("2.body").exists(), "it was taken once");
}
