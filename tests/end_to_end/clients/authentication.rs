//! Clients that say who they are: each mechanism of each, in the clear where the listener lets them, and under TLS.

use super::sending::{self, Sender};
use super::{Way, arrived_as_sent, clients, site_with};
use pillarbox_tests::{Output, Server, Site, binary};
use std::io::Write;
use std::process::{Command, Stdio};

/// Every client with the mechanisms it speaks.
const CLIENTS: [(&str, Sender, &[&str]); 6] = [
    ("smtplib", sending::smtplib, &["PLAIN", "LOGIN"]),
    ("aiosmtplib", sending::aiosmtplib, &["PLAIN", "LOGIN"]),
    ("nodemailer", sending::nodemailer, &["PLAIN", "LOGIN"]),
    ("msmtp", sending::msmtp, &["PLAIN", "LOGIN", "SCRAM-SHA-256"]),
    ("curl", sending::curl, &["PLAIN", "LOGIN"]),
    ("swaks", sending::swaks, &["PLAIN", "LOGIN"]),
];

const NAME: &str = "alice";
const PASSWORD: &str = "secret";

#[test]
fn clients_say_who_they_are() {
    for (client, sender, mechanisms) in CLIENTS {
        for mechanism in mechanisms {
            let Some(server) = start() else { return };
            for way in Way::ALL {
                let to = format!("{}@example.test", way.name());
                let login = Some((*mechanism, NAME, PASSWORD));
                let mut command = sender(&server, way.address(&server), way, login, &to).expect("clients are tried");
                let output = Output::of(&mut command);
                assert_eq!(output.code, Some(0), "{client} {mechanism} {way:?}\n{output}");
                arrived_as_sent(&server, way.name(), way.protocol(true));
            }
        }
    }
}

#[test]
fn clients_with_a_wrong_password_are_refused() {
    for (client, sender, mechanisms) in CLIENTS {
        for mechanism in mechanisms {
            let Some(server) = start() else { return };
            let way = Way::StartTls;
            let login = Some((*mechanism, NAME, "guess"));
            let to = "b@example.test";
            let mut command = sender(&server, way.address(&server), way, login, to).expect("clients are tried");
            let output = Output::of(&mut command);
            assert_ne!(output.code, Some(0), "{client} {mechanism}\n{output}");
            // It is the password that is refused. curl says so in words of its own.
            let told = ["535", "Login denied"].iter().any(|text| output.to_string().contains(text));
            assert!(told, "{client} {mechanism}\n{output}");
            assert!(!server.site().path("mail").exists(), "{client} {mechanism}\n{output}");
        }
    }
}

/// A server that knows one user, and whom it lets say so in the clear; none when clients are not to be tried.
fn start() -> Option<Server> {
    clients()?;
    let site = site_with("auth.users = \"users\"\nauth.without-tls = true\n", "");
    add_user(&site);
    Some(site.start())
}

fn add_user(site: &Site) {
    let mut add = Command::new(binary());
    add.current_dir(site.directory()).args(["user", "add", "--file", "users", NAME]);
    let mut child = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the command can be run");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(format!("{PASSWORD}\n").as_bytes()).expect("it reads the password");
    drop(input);
    assert!(child.wait().expect("it ends").success());
}
