//! Clients that send a message they are given, each by each way: in the clear, by STARTTLS, under TLS from the start; for
//! many at a time, large, pipelined, and to addresses that are not ASCII, where they can.

use super::{Way, arrived, arrived_as_sent, client, clients, delivered_form, same, start_with, succeeds};
use pillarbox_tests::{Server, repository};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Who the client says it is, if it is to say so: mechanism, name, password.
pub type Login<'a> = Option<(&'a str, &'a str, &'a str)>;

/// The program of a client, sending the letter for these recipients, commas between them.
pub type Sender = fn(&Server, SocketAddr, Way, Login<'_>, &str) -> Option<Command>;

#[test]
fn smtplib_sends() {
    let Some(server) = each_way(smtplib) else { return };
    // Its script sends it once more in the same session.
    server.log().count(Way::ALL.len() * (RECIPIENTS + 1), "delivered");
    let again = server.maildir("mail/example.test/again").messages();
    assert_eq!(again.len(), Way::ALL.len());
    assert!(again.iter().all(|message| message.ends_with(&super::letter_delivered())));
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

#[test]
fn swaks_sends_pipelined() {
    each_way(|server, address, way, login, to| {
        let mut swaks = swaks(server, address, way, login, to)?;
        swaks.arg("--pipeline");
        Some(swaks)
    });
}

/// Recipients of each message.
const RECIPIENTS: usize = 20;

/// The server that took it all, or none when clients are not to be tried.
#[track_caller]
fn each_way(sender: Sender) -> Option<Server> {
    let server = start_with("", "");
    for way in Way::ALL {
        let locals: Vec<String> = (0..RECIPIENTS).map(|number| format!("{}{number}", way.name())).collect();
        let to: Vec<String> = locals.iter().map(|local| format!("{local}@example.test")).collect();
        succeeds(&mut sender(&server, way.address(&server), way, None, &to.join(","))?);
        for local in &locals {
            arrived_as_sent(&server, local, way.protocol(false));
        }
    }
    Some(server)
}

/// Many pieces on the wire, and more than any buffer holds.
#[test]
fn clients_send_what_is_large() {
    let all: [(&str, Sender); 6] = [
        ("smtplib", smtplib),
        ("aiosmtplib", aiosmtplib),
        ("nodemailer", nodemailer),
        ("msmtp", msmtp),
        ("curl", curl),
        ("swaks", swaks),
    ];
    if clients().is_none() {
        return;
    }
    let server = start_with("", "");
    let letter = large_letter();
    server.site().write("letter", &letter);
    for (name, sender) in all {
        let way = if name == "swaks" { Way::Implicit } else { Way::StartTls };
        let to = format!("{name}@example.test");
        succeeds(&mut sender(&server, way.address(&server), way, None, &to).expect("clients are tried"));
        same(&arrived(&server, name).1, &delivered_form(&letter));
    }
}

/// Six million octets in lines that are all different; some begin with dots, every seventh is not ASCII.
fn large_letter() -> Vec<u8> {
    let mut letter = super::LETTER.to_vec();
    for number in 0_usize.. {
        if letter.len() >= 6_000_000 {
            break;
        }
        let dots = ".".repeat(if number.is_multiple_of(3) { number % 5 } else { 0 });
        let word = if number.is_multiple_of(7) { "Stra\u{df}e" } else { "street" };
        letter.extend(format!("{dots}{number} {word} {}\r\n", "y".repeat(number % 90)).as_bytes());
    }
    letter
}

/// RFC 6531.
#[test]
fn clients_send_to_addresses_that_are_not_ascii() {
    let server = start_with("", "");
    for (name, sender) in
        [("smtplib", smtplib as Sender), ("aiosmtplib", aiosmtplib), ("nodemailer", nodemailer), ("curl", curl)]
    {
        let local = format!("{name}-b\u{f6}r");
        let to = format!("{local}@example.test");
        let Some(mut sender) = sender(&server, Way::StartTls.address(&server), Way::StartTls, None, &to) else {
            return;
        };
        // curl reads addresses in the locale's characters.
        succeeds(sender.env("LC_ALL", "C.UTF-8"));
        arrived_as_sent(&server, &local, "UTF8SMTPS");
    }
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
        if mechanism == "EXTERNAL" {
            msmtp.arg(format!("--tls-cert-file={}", server.site().path("client/cert.pem").display()));
            msmtp.arg(format!("--tls-key-file={}", server.site().path("client/key.pem").display()));
        }
    }
    // It takes a message as it lies on a Unix disk.
    server.site().write("letter.unix", delivered_form(&written_letter(server)));
    msmtp.stdin(Stdio::from(File::open(server.site().path("letter.unix")).expect("it was just written")));
    msmtp.arg("--").args(to.split(','));
    Some(msmtp)
}

pub fn curl(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    let mut curl = client("curl")?;
    // What stands behind the slash is said in EHLO.
    let scheme = if way == Way::Implicit { "smtps" } else { "smtp" };
    curl.args(["--disable", "--silent", "--show-error", "--max-time", "30", "--insecure"]);
    curl.arg(format!("{scheme}://{address}/client.example.test"));
    for to in to.split(',') {
        curl.args(["--mail-rcpt", to]);
    }
    curl.args(["--mail-from", "a@client.test", "--upload-file"]).arg(server.site().path("letter"));
    if way == Way::StartTls {
        curl.arg("--ssl-reqd");
    }
    if let Some((mechanism, name, password)) = login {
        curl.args(["--login-options", &format!("AUTH={mechanism}")]);
        match mechanism {
            "OAUTHBEARER" | "XOAUTH2" => curl.args(["--user", &format!("{name}:"), "--oauth2-bearer", password]),
            "EXTERNAL" => {
                curl.args(["--user", &format!("{name}:"), "--cert"]).arg(server.site().path("client/cert.pem"));
                curl.arg("--key").arg(server.site().path("client/key.pem"))
            }
            _ => curl.args(["--user", &format!("{name}:{password}")]),
        };
    }
    Some(curl)
}

pub fn swaks(server: &Server, address: SocketAddr, way: Way, login: Login<'_>, to: &str) -> Option<Command> {
    let mut swaks = client("swaks")?;
    swaks.arg("--server").arg(address.ip().to_string()).arg("--port").arg(address.port().to_string());
    swaks.args(["--from", "a@client.test", "--to", to, "--helo", "client.example.test", "--timeout", "30"]);
    // It looks for the dot that ends the message, and would take the letter's own for it.
    server.site().write("letter.swaks", [written_letter(server).as_slice(), b".\r\n"].concat());
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

/// What the clients are to send.
fn written_letter(server: &Server) -> Vec<u8> {
    fs::read(server.site().path("letter")).expect("the site has one")
}
