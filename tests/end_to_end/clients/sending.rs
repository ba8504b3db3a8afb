//! Clients that send a message they are given, each by each way: in the clear, by STARTTLS, under TLS from the start.

use super::{Way, arrived_as_sent, client, letter, letter_delivered, start_with, succeeds};
use pillarbox_tests::{Server, repository};
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Who the client says it is, if it is to say so: mechanism, name, password.
pub type Login<'a> = Option<(&'a str, &'a str, &'a str)>;

/// The program of a client, sending the letter for this recipient.
pub type Sender = fn(&Server, SocketAddr, Way, Login<'_>, &str) -> Option<Command>;

#[test]
fn smtplib_sends() {
    let Some(server) = each_way(smtplib) else { return };
    // Its script sends it once more, for twenty recipients.
    server.log().count(Way::ALL.len() * 21, "delivered");
    for number in 0..20 {
        let messages = server.maildir(&format!("mail/example.test/many{number}")).messages();
        assert_eq!(messages.len(), Way::ALL.len());
        assert!(messages.iter().all(|message| message.ends_with(&letter_delivered())));
    }
}

#[test]
fn aiosmtplib_sends() {
    each_way(aiosmtplib);
}

#[test]
fn nodemailer_sends() {
    each_way(nodemailer);
}

#[test]
fn msmtp_sends() {
    each_way(msmtp);
}

#[test]
fn curl_sends() {
    each_way(curl);
}

#[test]
fn swaks_sends() {
    each_way(swaks);
}

/// The server that took it all, or none when clients are not to be tried.
#[track_caller]
fn each_way(sender: Sender) -> Option<Server> {
    let server = start_with("", "");
    for way in Way::ALL {
        succeeds(&mut sender(&server, way.address(&server), way, None, &recipient(way))?);
        arrived_as_sent(&server, way.name(), way.protocol(false));
    }
    Some(server)
}

fn recipient(way: Way) -> String {
    format!("{}@example.test", way.name())
}

pub fn smtplib(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    script("python3", "send_smtplib.py", server, address, way, login, to)
}

pub fn aiosmtplib(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    script("python3", "send_aiosmtplib.py", server, address, way, login, to)
}

pub fn nodemailer(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    script("node", "send_nodemailer.js", server, address, way, login, to)
}

/// A script in `tests/clients`: they all take the same arguments.
fn script(
    program: &str,
    script: &str,
    server: &Server,
    address: SocketAddr,
    way: Way,
    login: Login<'_>,
    to: &str,
) -> Option<Command> {
    let mut command = client(program)?;
    command.arg(repository().join("tests/clients").join(script));
    command.arg(address.ip().to_string()).arg(address.port().to_string());
    command.args([way.name(), to]).arg(server.site().path("letter"));
    if let Some((mechanism, name, password)) = login {
        command.args([mechanism, name, password]);
    }
    Some(command)
}

pub fn msmtp(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    let mut msmtp = client("msmtp")?;
    msmtp.arg(format!("--host={}", address.ip())).arg(format!("--port={}", address.port()));
    msmtp.args(["--from=a@client.test", "--domain=client.example.test", "--timeout=30"]);
    match way {
        Way::Clear => msmtp.arg("--tls=off"),
        Way::StartTls => msmtp.args(["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"]),
        Way::Implicit => msmtp.args(["--tls=on", "--tls-starttls=off", "--tls-certcheck=off"]),
    };
    if let Some((mechanism, name, password)) = login {
        msmtp.arg(format!("--auth={}", mechanism.to_ascii_lowercase())).arg(format!("--user={name}"));
        msmtp.arg(format!("--passwordeval=echo {password}"));
    }
    // It takes a message as it lies on a Unix disk.
    server.site().write("letter.unix", letter_delivered());
    msmtp.stdin(Stdio::from(File::open(server.site().path("letter.unix")).expect("it was just written")));
    msmtp.arg("--").arg(to);
    Some(msmtp)
}

pub fn curl(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    let mut curl = client("curl")?;
    // What stands behind the slash is said in EHLO.
    let scheme = if way == Way::Implicit { "smtps" } else { "smtp" };
    curl.args(["--disable", "--silent", "--show-error", "--max-time", "30", "--insecure"]);
    curl.arg(format!("{scheme}://{address}/client.example.test"));
    curl.args(["--mail-from", "a@client.test", "--mail-rcpt", to, "--upload-file"]).arg(server.site().path("letter"));
    if way == Way::StartTls {
        curl.arg("--ssl-reqd");
    }
    if let Some((mechanism, name, password)) = login {
        curl.args(["--login-options", &format!("AUTH={mechanism}"), "--user", &format!("{name}:{password}")]);
    }
    Some(curl)
}

pub fn swaks(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    let mut swaks = client("swaks")?;
    swaks.arg("--server").arg(address.ip().to_string()).arg("--port").arg(address.port().to_string());
    swaks.args(["--from", "a@client.test", "--to", to, "--helo", "client.example.test", "--timeout", "30"]);
    // It looks for the dot that ends the message, and would take the letter's own for it.
    server.site().write("letter.swaks", [letter().as_slice(), b".\r\n"].concat());
    swaks.arg("--data").arg(format!("@{}", server.site().path("letter.swaks").display()));
    match way {
        Way::Clear => {}
        Way::StartTls => drop(swaks.arg("--tls")),
        Way::Implicit => drop(swaks.arg("--tls-on-connect")),
    }
    if let Some((mechanism, name, password)) = login {
        swaks.args(["--auth", mechanism, "--auth-user", name, "--auth-password", password]);
    }
    Some(swaks)
}
