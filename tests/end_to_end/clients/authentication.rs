//! Clients that say who they are: each mechanism of each, in the clear where the listener lets them, and under TLS.

use super::sending::{self, Sender};
use super::{Way, arrived_as_sent, client, clients, site_with, succeeds};
use pillarbox_tests::{Output, Server, Site, binary, guest};
use std::fs;
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

/// With the mechanisms of the example `oauth`.
const BEARERS: [(&str, Sender, &[&str]); 4] = [
    ("aiosmtplib", sending::aiosmtplib, &["XOAUTH2"]),
    ("nodemailer", sending::nodemailer, &["XOAUTH2"]),
    ("msmtp", sending::msmtp, &["OAUTHBEARER", "XOAUTH2"]),
    ("curl", sending::curl, &["OAUTHBEARER", "XOAUTH2"]),
];

/// With a certificate of their own.
const CERTIFIED: [(&str, Sender, &[&str]); 2] =
    [("msmtp", sending::msmtp, &["EXTERNAL"]), ("curl", sending::curl, &["EXTERNAL"])];

const NAME: &str = "alice";
const PASSWORD: &str = "secret";

#[test]
fn clients_say_who_they_are() {
    each_says_who_it_is(&CLIENTS, &Way::ALL, start);
}

#[test]
fn clients_show_bearer_tokens() {
    each_says_who_it_is(&BEARERS, &Way::ALL, start_with_oauth);
}

#[test]
fn clients_show_certificates() {
    each_says_who_it_is(&CERTIFIED, &[Way::StartTls, Way::Implicit], start_with_authority);
}

#[track_caller]
fn each_says_who_it_is(all: &[(&str, Sender, &[&str])], ways: &[Way], start: fn() -> Option<Server>) {
    for (client, sender, mechanisms) in all {
        for mechanism in *mechanisms {
            let Some(server) = start() else { return };
            for way in ways {
                let to = format!("{}@example.test", way.name());
                let login = Some((*mechanism, NAME, PASSWORD));
                let mut command = sender(&server, way.address(&server), *way, login, &to).expect("clients are tried");
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

/// One that knows a token and whose it is.
fn start_with_oauth() -> Option<Server> {
    clients()?;
    let used = |listener: &str| {
        format!(
            "[[listener.{listener}.extension]]\nuse = \"oauth\"\n\
             grant.credentials = [\"OAUTHBEARER\", \"XOAUTH2\"]\n"
        )
    };
    // The SHA-256 digest of the password that is shown as a token.
    let tables = format!(
        "{}{}[extension.oauth]\ncomponent = \"{}\"\n\
         settings.tokens.2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b = \"{NAME}\"\n",
        used("edge"),
        used("implicit"),
        guest("example-oauth").display()
    );
    Some(site_with("auth.without-tls = true\n", &tables).start())
}

/// One that takes the name in a client's certificate, which the client has in `client`.
fn start_with_authority() -> Option<Server> {
    let site = site_with("", "");
    let keys =
        "tls.clients = \"optional\"\ntls.client-authorities = [\"client/cert.pem\"]\nauth.mechanisms = [\"EXTERNAL\"]";
    let configuration = fs::read_to_string(site.config()).expect("the site has one");
    site.configure(&configuration.replace("tls.mode", &format!("{keys}\ntls.mode")));
    site.write("client/cert.pem", "");
    let mut openssl = client("openssl")?;
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={NAME}"), "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-out").arg(site.path("client/cert.pem")).arg("-keyout").arg(site.path("client/key.pem"));
    succeeds(&mut openssl);
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
