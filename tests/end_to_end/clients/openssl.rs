//! `openssl s_client`: which versions of TLS it gets, and a message typed into it.

use super::{Way, arrived_as_sent, client, letter, start, start_with};
use crate::configs;
use pillarbox_tests::Output;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn openssl_gets_tls_12_and_13() {
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

#[test]
fn openssl_sends() {
    let server = start_with("", "");
    for way in [Way::StartTls, Way::Implicit] {
        let Some(mut openssl) = client("openssl") else { return };
        openssl.args(["s_client", "-quiet", "-connect", &way.address(&server).to_string()]);
        if way == Way::StartTls {
            openssl.args(["-starttls", "smtp"]);
        }
        let mut child = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut expect = |code: &str| loop {
            let line = lines.next().expect("a reply").unwrap();
            assert!(line.starts_with(code), "{line}, expected {code}");
            if !line.starts_with(&format!("{code}-")) {
                break;
            }
        };
        // What is said before STARTTLS, openssl keeps for itself.
        if way == Way::Implicit {
            expect("220");
        }
        let recipient = format!("RCPT TO:<{}@example.test>", way.name());
        for (line, code) in [
            ("EHLO client.example.test", "250"),
            ("MAIL FROM:<a@client.test> BODY=8BITMIME", "250"),
            (&recipient, "250"),
            ("DATA", "354"),
        ] {
            write!(input, "{line}\r\n").unwrap();
            expect(code);
        }
        // The letter holds dots where a line begins, which are doubled, and ends with its own CRLF.
        for line in letter().split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                input.write_all(b".").unwrap();
            }
            input.write_all(line).unwrap();
        }
        input.write_all(b".\r\n").unwrap();
        expect("250");
        input.write_all(b"QUIT\r\n").unwrap();
        expect("221");
        assert!(child.wait().unwrap().success());
        arrived_as_sent(&server, way.name(), way.protocol(false));
    }
}
