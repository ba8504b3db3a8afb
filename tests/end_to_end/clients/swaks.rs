//! What swaks can say beyond a message: SMTP without extensions, pipelining, XCLIENT.

use super::{client, delivered, start, succeeds};
use crate::configs;
use pillarbox_tests::{Output, Server};
use std::process::Command;

/// `swaks` with what every use of it says.
pub fn swaks(server: &Server) -> Option<Command> {
    let mut command = client("swaks")?;
    let address = server.address("edge");
    command.arg("--server").arg(address.ip().to_string()).arg("--port").arg(address.port().to_string());
    command.args(["--from", "a@client.test", "--to", "b@example.test", "--helo", "client.example.test"]);
    command.args(["--header", "Subject: by swaks", "--body", "the text"]);
    Some(command)
}

#[test]
fn swaks_in_the_clear_and_under_tls() {
    for (mode, options, protocol) in [
        ("starttls", &["--pipeline"][..], "ESMTP"),
        ("starttls", &["--protocol", "SMTP"], "SMTP"),
        ("starttls", &["--pipeline", "--tls"], "ESMTPS"),
        ("required", &["--tls"], "ESMTPS"),
    ] {
        let server = start(&configs::tls(mode));
        let Some(mut swaks) = swaks(&server) else { return };
        succeeds(swaks.args(options));
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
    let output = succeeds(&mut swaks);
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
    succeeds(content.args(from_elsewhere).arg("--xclient-optional"));
    let message = delivered(&server, "b");
    assert!(message.contains("\nReceived: from client.example.test (unknown [127.0.0.2])\n"), "{message}");
}
