//! The story of a message: one id from the connection to the last delivery, out of the server's memory and out of its log.

use crate::configs;
use pillarbox_tests::{Client, Output, Server, Site, run};
use std::fs;

/// A line of a story: what happened, without when.
fn happenings(output: &Output) -> Vec<String> {
    let told = output.stdout.lines().skip(1).take_while(|line| !line.is_empty());
    told.map(|line| line.get("2026-11-22T16:00:00.123Z  ".len()..).unwrap().to_owned()).collect()
}

fn words(output: &Output) -> Vec<String> {
    let word = |line: String| line.split("  ").next().unwrap_or_default().to_owned();
    happenings(output).into_iter().map(word).collect()
}

/// The story as the log that was kept so far has it.
#[track_caller]
fn from_log(site: &Site, lines: &[String], id: &str) -> Output {
    fs::write(site.path("log"), lines.join("\n")).unwrap();
    let log = site.path("log").display().to_string();
    run(site.directory(), ["story", id, "--log", &log])
}

fn greeted(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client
}

#[test]
fn a_message_is_followed_from_connection_to_delivery() {
    for format in ["json", "text"] {
        let config = configs::maildirs("").replace("format = \"json\"", &format!("format = \"{format}\""));
        let server = Server::start(&config);
        let (mut client, mut other) = (greeted(&server), greeted(&server));
        client.expect("MAIL FROM:<a@client.test>", "250 *");
        client.expect("RCPT TO:<b@elsewhere.test>", "550 *");
        client.expect("RSET", "250 *");
        let id = client.deliver("a@client.test", &["b@example.test", "c@example.test"], "Subject: x\r\n\r\n");
        let second = client.deliver("a@client.test", &["d@example.test"], "Subject: y\r\n\r\n");
        let foreign = other.deliver("a@client.test", &["e@example.test"], "Subject: z\r\n\r\n");
        client.quit();
        other.quit();
        server.log().count(4, "delivered");
        server.log().count(2, "session ended");
        let session = id.split('.').next().unwrap();

        let told = server.order(&["story", &id]).exits(0);
        let head = told.stdout.lines().next().unwrap();
        let begins = format!("message {id} from <a@client.test> for 2 recipients, client 127.0.0.1, accepted 20");
        assert!(head.starts_with(&begins), "{told}");
        let what = words(&told);
        for (happened, times) in
            [("session opened", 1), ("refused", 1), ("message accepted", 1), ("delivered", 2), ("session ended", 1)]
        {
            assert_eq!(what.iter().filter(|word| **word == happened).count(), times, "{happened}: {told}");
        }
        assert_eq!(what.first().map(String::as_str), Some("session opened"), "{told}");
        assert!(told.stderr.is_empty(), "{told}");
        let accepted = happenings(&told).into_iter().find(|line| line.starts_with("message accepted")).unwrap();
        assert!(accepted.contains("to=\"b@example.test c@example.test\""), "{accepted}");
        for missing in [&second, &foreign] {
            assert!(!told.stdout.contains(&**missing), "{told}");
        }

        // The log says the same, whatever else is in it, and needs no server.
        let mut lines = server.log().lines();
        lines.insert(0, "what some other program says of ".to_owned() + &id);
        assert_eq!(from_log(server.site(), &lines, &id).exits(0).stdout, told.stdout);
        let prefixed: Vec<String> =
            lines.iter().map(|line| format!("Nov 22 16:00:00 mx pillarbox[7]: {line}")).collect();
        assert_eq!(from_log(server.site(), &prefixed, &id).exits(0).stdout, told.stdout);

        let whole = server.order(&["story", session]).exits(0);
        assert!(whole.stdout.starts_with(&format!("session {session} from 127.0.0.1:")), "{whole}");
        assert!(whole.stdout.contains(&second) && !whole.stdout.contains(&foreign), "{whole}");
        assert_eq!(words(&whole).iter().filter(|word| **word == "delivered").count(), 3, "{whole}");

        let json = server.order(&["story", &id, "--json"]).exits(0).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["events"].as_array().unwrap().len(), what.len());
        assert_eq!(json["events"][0]["fields"]["session"], session);
    }
}

#[test]
fn what_nobody_remembers_is_said_so() {
    let site = Site::new(&configs::maildirs(""));
    let server = site.start();
    let id = greeted(&server).deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    server.log().event("delivered", &[("id", &id)]);
    let log = server.log().lines();
    server.stop();

    let server = site.start();
    greeted(&server).quit();
    server.log().count(1, "session ended");
    let told = server.order(&["story", &id]).exits(65);
    assert!(told.stdout.is_empty() && told.stderr.contains("remembers nothing of"), "{told}");
    assert!(told.stderr.contains("is in its log: --log FILE"), "{told}");
    from_log(&site, &log, &id).exits(0).says("message accepted").says("delivered");
    from_log(&site, &log, "01UNKNOWN.1").exits(65).says("the log says nothing of 01UNKNOWN.1");
    for wrong in ["../x", "", "a/b", "x\u{1b}[2J"] {
        let told = server.order(&["story", wrong]).exits(65);
        assert!(!told.stderr.contains('\u{1b}'), "{told}");
    }
    run(site.directory(), ["story", &id, "--log", "missing"]).exits(65).says("cannot read missing");
    run(site.directory(), ["story", &id, "--log", "x", "--socket", "y"]).exits(2);
}

/// What a peer says is a value, and puts nothing into the story of another, nor anything on a terminal.
#[test]
fn nobody_talks_himself_into_another_story() {
    let server = Server::start(&configs::maildirs(""));
    let id = greeted(&server).deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    let mut liar = server.client("edge");
    for said in [
        format!("EHLO session={id}"),
        format!("MAIL FROM:<\"id={id} \u{1b}[2J\"@client.test>"),
        format!("RCPT TO:<\"delivered\\\" id={id}\"@elsewhere.test>"),
        format!("MAIL FROM:<{id}@client.test>"),
        format!("RCPT TO:<{id}@elsewhere.test>"),
    ] {
        liar.ask(&said);
    }
    liar.quit();
    server.log().event("delivered", &[("id", &id)]);
    server.log().count(1, "session ended");
    let told = server.order(&["story", &id]).exits(0);
    assert!(told.stdout.chars().all(|c| c == '\n' || !c.is_control()), "{told}");
    assert!(!told.stdout.contains("elsewhere.test"), "{told}");
    assert_eq!(words(&told).iter().filter(|word| *word == "session opened").count(), 1, "{told}");
}
