//! Clients of other people, as they are installed: Python's smtplib, swaks, Postfix's smtp-source, openssl. They are run when
//! `PILLARBOX_CLIENTS=1` is in the environment, as `cargo xtask test --clients` puts it there.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Output, Server, Site, repository};
use std::process::{Command, Stdio};

/// A program to be run, or none when clients are not to be tried.
fn client(program: &str) -> Option<Command> {
    if std::env::var("PILLARBOX_CLIENTS").as_deref() != Ok("1") {
        println!("not tried: {program} is run by `cargo xtask test --clients`");
        return None;
    }
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    Some(command)
}

fn start(listener: &str) -> Server {
    let site = Site::new(&configs::maildirs(listener));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.start()
}

/// The delivered message for this local part, as text.
#[track_caller]
fn delivered(server: &Server, local: &str) -> String {
    server.log().event("delivered", &[("recipient", &format!("{local}@example.test"))]);
    String::from_utf8(server.maildir(&format!("mail/example.test/{local}")).only()).expect("UTF-8")
}

#[test]
fn smtplib() {
    for (way, mode) in [("plain", "starttls"), ("starttls", "starttls"), ("implicit", "implicit"), ("many", "starttls")]
    {
        let Some(mut python) = client("python3") else { return };
        let server = start(&configs::tls(mode));
        let address = server.address("edge");
        let script = repository().join("tests/end_to_end/clients/send.py");
        python.arg(script).arg(address.ip().to_string()).arg(address.port().to_string()).arg(way);
        Output::of(&mut python).exits(0);
        let locals =
            if way == "many" { (0..20).map(|number| format!("b{number}")).collect() } else { vec!["b".to_owned()] };
        for local in locals {
            let message = delivered(&server, &local);
            assert!(message.contains(&format!("\nSubject: by smtplib, {way}\n")), "{message}");
            assert!(message.ends_with("\n\nfirst line\n.\n..two dots\nWörter ohne Verkleidung\n"), "{message}");
        }
        let protocol = if matches!(way, "starttls" | "implicit") { "ESMTPS" } else { "ESMTP" };
        let second = delivered(&server, "second");
        assert!(second.contains(&format!("by mx.example.test with {protocol} id ")), "{second}");
    }
}

/// `swaks` with what every use of it says.
fn swaks(server: &Server) -> Option<Command> {
    let program = std::env::var("PILLARBOX_SWAKS").unwrap_or_else(|_| "swaks".to_owned());
    let mut command = client(&program)?;
    let address = server.address("edge");
    command.arg("--server").arg(address.ip().to_string()).arg("--port").arg(address.port().to_string());
    command.args(["--from", "a@client.test", "--to", "b@example.test", "--helo", "client.example.test"]);
    command.args(["--header", "Subject: by swaks", "--body", "the text"]);
    Some(command)
}

#[test]
fn swaks_in_the_clear_and_under_tls() {
    for (mode, options, protocol) in [
        ("starttls", &[][..], "ESMTP"),
        ("starttls", &["--pipeline"], "ESMTP"),
        ("starttls", &["--protocol", "SMTP"], "SMTP"),
        ("starttls", &["--tls"], "ESMTPS"),
        ("required", &["--tls"], "ESMTPS"),
        ("implicit", &["--tls-on-connect"], "ESMTPS"),
    ] {
        let server = start(&configs::tls(mode));
        let Some(mut swaks) = swaks(&server) else { return };
        Output::of(swaks.args(options)).exits(0);
        let message = delivered(&server, "b");
        assert!(message.contains("\nSubject: by swaks\n") && message.contains("\nthe text\n"), "{message}");
        assert!(message.contains(&format!(" with {protocol} id ")), "{options:?}\n{message}");
    }
}

#[test]
fn swaks_says_xclient() {
    let server = start(&format!("{}{}", configs::tls("starttls"), configs::extensions(&["xclient"])));
    let Some(mut swaks) = swaks(&server) else { return };
    swaks.args(["--xclient-addr", "192.0.2.9", "--xclient-name", "mail.remote.test", "--xclient-helo", "remote.test"]);
    swaks.args(["--xclient-port", "1234", "--xclient-proto", "ESMTP"]);
    let output = Output::of(&mut swaks).exits(0);
    assert!(output.stdout.contains("XCLIENT"), "{output}");
    let message = delivered(&server, "b");
    // swaks says EHLO again, as it must.
    assert!(message.contains("\nReceived: from client.example.test (mail.remote.test [192.0.2.9])\n"), "{message}");
}

#[test]
fn swaks_may_not_say_xclient_from_elsewhere() {
    let server = start(&configs::extensions(&["xclient"]));
    let Some(mut insisting) = swaks(&server) else { return };
    let from_elsewhere = ["--local-interface", "127.0.0.2", "--xclient-addr", "192.0.2.9"];
    let output = Output::of(insisting.args(from_elsewhere));
    assert!(output.code != Some(0) && output.stderr.contains("did not advertise XCLIENT"), "{output}");
    assert!(!server.site().path("mail").exists());
    // Content to go on without, it is who it is.
    let Some(mut content) = swaks(&server) else { return };
    Output::of(content.args(from_elsewhere).arg("--xclient-optional")).exits(0);
    let message = delivered(&server, "b");
    assert!(message.contains("\nReceived: from client.example.test (unknown [127.0.0.2])\n"), "{message}");
}

#[test]
fn smtp_source() {
    for options in [&[][..], &["-d"]] {
        let server = start("");
        let Some(mut source) = client("smtp-source") else { return };
        source.args(["-s", "10", "-m", "500", "-l", "4096", "-f", "a@client.test", "-t", "b@example.test"]);
        let address = server.address("edge");
        Output::of(source.args(options).arg(format!("inet:{address}"))).exits(0);
        server.log().count(500, "delivered");
        let messages = server.maildir("mail/example.test/b").messages();
        assert_eq!(messages.len(), 500);
        assert!(messages.iter().all(|message| message.len() >= 4096));
        assert_eq!(server.status()["messages_accepted"], 500);
    }
}

#[test]
fn openssl() {
    let server = start(&configs::tls("starttls"));
    for (version, told) in [
        ("-tls1_3", "Protocol version: TLSv1.3"),
        ("-tls1_2", "Protocol version: TLSv1.2"),
        ("-tls1_1", "SSL alert number"),
        ("-tls1", "SSL alert number"),
    ] {
        let Some(mut openssl) = client("openssl") else { return };
        openssl.args(["s_client", "-brief", "-starttls", "smtp", "-connect", &server.address("edge").to_string()]);
        // The versions that must be refused, openssl itself takes only when it is told to.
        let output = Output::of(openssl.args([version, "-cipher", "DEFAULT@SECLEVEL=0"]));
        assert_eq!(output.code == Some(0), told.starts_with("Protocol"), "{version}\n{output}");
        output.says(told);
    }
}
