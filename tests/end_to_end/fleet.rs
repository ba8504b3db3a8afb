//! What 250 means where a message goes to a NATS stream: the stream has it, whatever becomes of its server. Debian's server
//! is started on loopback, stopped and killed; where it is not installed the tests say so, and `PILLARBOX_CLIENTS` in the
//! environment makes that a failure.

use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, PATIENCE, Server, Site, free_address, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A NATS server on a port of its own, and where it keeps its streams. Dropped, it is killed.
struct Nats {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Nats {
    /// One that keeps its streams here, with a stream for `mail.>`; none where the program is not there.
    fn start(directory: &Path) -> Option<Nats> {
        let address = free_address();
        let Some(child) = run(address, directory, &[]) else {
            assert!(std::env::var_os("PILLARBOX_CLIENTS").is_none(), "there is no nats-server");
            println!("not tried: there is no nats-server");
            return None;
        };
        let nats = Nats { child, address, directory: directory.to_owned(), arguments: Vec::new() };
        until("nats-server", || TcpStream::connect(address).is_ok());
        Some(nats)
    }

    fn make_stream(&self) {
        let config = json!({ "name": "MAIL", "subjects": ["mail.>"], "storage": "file" });
        let made = self.ask("$JS.API.STREAM.CREATE.MAIL", &config);
        assert_eq!(made["config"]["name"], "MAIL", "{made}");
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn start_again(&mut self) {
        self.child = run(self.address, &self.directory, &self.arguments).unwrap();
        until("nats-server", || TcpStream::connect(self.address).is_ok());
    }

    /// Goes on with other arguments on its command line.
    fn become_one_with(&mut self, arguments: &[String]) {
        self.arguments = arguments.to_vec();
        self.kill();
        self.start_again();
    }

    /// The number of the connection that asks: each gets the next.
    fn connections(&self) -> u64 {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        info["client_id"].as_u64().unwrap()
    }

    /// One question to the server, on a connection of its own.
    fn ask(&self, subject: &str, question: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let question = question.to_string();
        let hello = r#"CONNECT {"verbose":false,"headers":true,"no_responders":true}"#;
        write!(stream, "{hello}\r\nSUB in 1\r\nPUB {subject} in {}\r\n{question}\r\n", question.len()).unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the server hung up");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("MSG") => {
                    let mut answer = vec![0; words.last().unwrap().parse().unwrap()];
                    stream.read_exact(&mut answer).unwrap();
                    return serde_json::from_slice(&answer).unwrap();
                }
                Some("PING") => stream.get_mut().write_all(b"PONG\r\n").unwrap(),
                // Nobody answers there.
                Some("HMSG") => return Value::Null,
                _ => {}
            }
        }
    }

    /// How much is in the stream.
    fn count(&self) -> u64 {
        let info = self.ask("$JS.API.STREAM.INFO.MAIL", &json!({}));
        info["state"]["last_seq"].as_u64().unwrap_or_default()
    }

    /// All that is in the stream, in order: subject, envelope and payload.
    fn messages(&self) -> Vec<(String, Value, Vec<u8>)> {
        let message = |seq: u64| {
            let answer = self.ask("$JS.API.STREAM.MSG.GET.MAIL", &json!({ "seq": seq }));
            let text = |name: &str| answer["message"][name].as_str().unwrap_or_default().to_owned();
            let headers = String::from_utf8(decoded(&text("hdrs"))).unwrap();
            let envelope = headers.lines().find_map(|line| line.strip_prefix("Pillarbox-Envelope: ")).unwrap();
            (text("subject"), serde_json::from_str(envelope).unwrap(), decoded(&text("data")))
        };
        (1..=self.count()).map(message).collect()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(address: SocketAddr, directory: &Path, arguments: &[String]) -> Option<Child> {
    let unpacked = std::env::var_os("PILLARBOX_CLIENTS").map(PathBuf::from);
    let unpacked = unpacked.map(|clients| clients.join("nats-server/usr/sbin/nats-server")).filter(|it| it.exists());
    let mut command = Command::new(unpacked.unwrap_or_else(|| PathBuf::from("nats-server")));
    command.args(["-a", &address.ip().to_string(), "-p", &address.port().to_string(), "-js", "-sd"]).arg(directory);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn decoded(base64: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

/// A server that publishes for `n.test`, and has Maildirs for everybody else.
fn start(nats: SocketAddr) -> Server {
    Server::start(&format!(
        r#"
[server]
hostname = "mx.example.test"
state-dir = "state"
[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
[listener.lmtp]
address = ["127.0.0.1:0"]
protocol = "lmtp"
relay.domains = ["*"]
[[route]]
domains = ["n.test"]
to = "nats://{nats}/mail.{{listener}}.{{domain}}"
timeout = "2s"
[[route]]
to = "maildir:mail/{{domain}}/{{local}}"
create = true
"#
    ))
}

const TEXT: &str = "Subject: octets\r\n\r\n.\r\n..\r\nW\u{f6}rter\r\n";

fn place(name: &str) -> PathBuf {
    let place = pillarbox_tests::repository().join(format!("target/tmp/nats-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&place);
    place
}

#[test]
fn a_message_is_in_the_stream_when_250_is_said() {
    let place = place("250");
    let Some(nats) = Nats::start(&place) else { return };
    let server = start(nats.address);
    let mut client = server.client("edge");
    client.hello();
    let refused = client.submit("a@x.test", &["b@n.test"], TEXT);
    assert!(refused.last().starts_with("451 4.3.0 "), "there is no stream: {}", refused.last());
    nats.make_stream();
    let id = client.deliver("a@x.test", &["B.c@n.test", "d@n.test", "e@m.test"], TEXT);
    let messages = nats.messages();
    let [(subject, envelope, payload)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(subject, "mail.edge.n%2Etest");
    assert_eq!((envelope["id"].as_str(), envelope["sender"].as_str()), (Some(&*id), Some("a@x.test")));
    let names = envelope["recipients"].as_array().unwrap().iter().map(|it| it["address"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["B.c@n.test", "d@n.test"]);
    assert!(payload.starts_with(b"Received: from ") && payload.ends_with(TEXT.as_bytes()), "{payload:?}");
    server.log().event("delivered", &[("id", &id), ("recipient", "e@m.test")]);
    server.log().event("delivered", &[("id", &id), ("recipient", "d@n.test")]);
    until("an empty queue", || server.site().files("state/spool/queue").is_empty());
    assert_eq!(server.site().files("mail").len(), 1);
    let _ = std::fs::remove_dir_all(place);
}

#[test]
fn what_the_server_takes_none_of_is_refused_for_good() {
    let place = place("large");
    let Some(nats) = Nats::start(&place) else { return };
    nats.make_stream();
    let server = start(nats.address);
    let large = format!("{TEXT}{}", format!("{}\r\n", "x".repeat(98)).repeat(11_000));
    let mut client = server.client("edge");
    client.hello();
    let refused = client.submit("a@x.test", &["b@n.test", "c@m.test"], &large);
    assert!(refused.last().starts_with("552 5.3.4 "), "{}", refused.last());
    // LMTP has a reply for each.
    let mut client = server.client("lmtp");
    client.expect("LHLO client.test", "250*");
    let first = client.submit("a@x.test", &["b@n.test", "c@m.test"], &large);
    assert!(first.last().starts_with("552 5.3.4 "), "{}", first.last());
    client.expect_reply("250 *");
    server.log().event("delivered", &[("recipient", "c@m.test")]);
    assert!(nats.messages().is_empty());
    assert_eq!(server.site().files("mail").len(), 1);
    // Its stream may take less.
    nats.ask(
        "$JS.API.STREAM.UPDATE.MAIL",
        &json!({ "name": "MAIL", "subjects": ["mail.>"], "storage": "file", "max_msg_size": 100 }),
    );
    let mut client = server.client("lmtp");
    client.expect("LHLO client.test", "250*");
    let refused = client.submit("a@x.test", &["b@n.test"], TEXT);
    assert!(refused.last().starts_with("552 5.3.4 "), "{}", refused.last());
    let _ = std::fs::remove_dir_all(place);
}

/// Its server is stopped and killed in the middle of it all: whoever heard 250 is in the stream, whoever did not heard 4xx,
/// and it goes on by itself.
#[test]
fn nothing_that_was_acknowledged_is_lost_with_its_server() {
    let place = place("killed");
    let Some(mut nats) = Nats::start(&place) else { return };
    nats.make_stream();
    let server = start(nats.address);
    let over = AtomicBool::new(false);
    let (address, stop) = (server.address("edge"), &over);
    let mut accepted = BTreeSet::new();
    let mut refused = 0;
    std::thread::scope(|scope| {
        let work = move || {
            let (mut accepted, mut refused) = (Vec::new(), 0_u32);
            let mut client = Client::connect(address);
            client.hello();
            while !stop.load(Ordering::Relaxed) {
                let reply = client.submit("a@x.test", &["b@n.test"], TEXT);
                match reply.last().strip_prefix("250 2.0.0 OK ") {
                    Some(id) => accepted.push(id.to_owned()),
                    None => {
                        assert!(reply.last().starts_with("451 4.3.0 "), "{}", reply.last());
                        refused += 1;
                    }
                }
                // No faster than it can be looked at afterwards.
                std::thread::park_timeout(Duration::from_millis(5));
            }
            (accepted, refused)
        };
        let clients = [scope.spawn(work), scope.spawn(work), scope.spawn(work)];
        for kill in [true, false, true] {
            let before = nats.count();
            until("mail in the stream", || nats.count() > before + 20);
            let failed = server.log().events().iter().filter(|event| event.is("not handed over")).count();
            if kill {
                nats.kill()
            } else {
                nats.stop()
            }
            server.log().count(failed + 1, "not handed over");
            nats.start_again();
        }
        let before = nats.count();
        until("mail in the stream again", || nats.count() > before + 20);
        over.store(true, Ordering::Relaxed);
        for client in clients {
            let (theirs, refusals) = client.join().unwrap();
            accepted.extend(theirs);
            refused += refusals;
        }
    });
    let kept = nats.messages().iter().map(|(_, envelope, _)| envelope["id"].as_str().unwrap().to_owned()).collect();
    let lost: Vec<_> = BTreeSet::difference(&accepted, &kept).collect();
    assert!(lost.is_empty(), "{} of {}: {lost:?}", lost.len(), accepted.len());
    assert!(refused > 0 && accepted.len() > 60, "{refused} refused, {} accepted", accepted.len());
    assert!(server.site().files("state/spool/queue").is_empty());
    let _ = std::fs::remove_dir_all(place);
}

/// Tries until it is taken.
fn until_taken(client: &mut Client) {
    until("mail that is taken", || client.submit("a@x.test", &["b@n.test"], TEXT).last().starts_with("250 "));
}

/// Who the servers are and how to be let in: what is wrong with it is said once, mail is refused for now, and whoever mends
/// the file, or the server, restarts nothing.
#[test]
fn a_server_that_does_not_let_in_is_one_that_cannot_be_reached() {
    let place = place("secrets");
    let Some(mut nats) = Nats::start(&place) else { return };
    nats.make_stream();
    let ip = nats.address.ip().to_string();
    let site = Site::new(&format!(
        r#"
[server]
hostname = "mx.example.test"
state-dir = "state"
[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
[[route]]
to = "nats://{}/mail.x"
tls = true
authorities = "trusted.pem"
token-file = "token"
timeout = "5s"
"#,
        nats.address
    ));
    let (good, expired, other) = (Pair::new(&[&ip]), Pair::expired(&[&ip]), Pair::new(&[&ip]));
    let arguments = |name: &str, pair: &Pair| {
        pair.write(&site.path(name));
        let file = |file| site.path(name).join(file).to_str().unwrap().to_owned();
        let words = ["--auth", "secret", "--tls", "--tlscert", &file("cert.pem"), "--tlskey", &file("key.pem")];
        words.map(str::to_owned)
    };
    let (good_one, expired_one) = (arguments("good", &good), arguments("expired", &expired));
    nats.become_one_with(&good_one);
    site.write("trusted.pem", &other.chain);
    site.write("token", "guess\n");
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    let refused = |client: &mut Client, why: &str| {
        let said = || {
            let events = server.log().events();
            let said = events.iter().filter(|event| event.is("nats servers cannot be reached"));
            said.filter(|event| event.field("error").contains(why)).count()
        };
        until(why, || {
            let reply = client.submit("a@x.test", &["b@n.test"], TEXT);
            assert!(reply.last().starts_with("451 4.3.0 "), "{}", reply.last());
            said() > 0
        });
        assert_eq!(said(), 1, "{why}");
    };
    // Both bear one name: it is the signature that is another.
    refused(&mut client, "BadSignature");
    site.write("trusted.pem", format!("{}{}", good.chain, expired.chain));
    refused(&mut client, "authorization violation");
    site.write("token", "secret\n");
    until_taken(&mut client);
    nats.become_one_with(&expired_one);
    refused(&mut client, "expired");
    nats.become_one_with(&good_one);
    until_taken(&mut client);
    nats.become_one_with(&[]);
    assert_eq!(nats.count(), 2);
    let _ = std::fs::remove_dir_all(place);
}

/// A server without a route.
const HEAD: &str = r#"
[server]
hostname = "mx.example.test"
state-dir = "state"
[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
"#;

/// One of the servers takes connections and says nothing: the other one is as near as ever, for every route. And where
/// there is none but silent ones, several routes of one message are waited for together.
#[test]
fn a_silent_server_holds_up_nobody() {
    let place = place("silent");
    let Some(nats) = Nats::start(&place) else { return };
    nats.make_stream();
    let silent = TcpListener::bind((nats.address.ip(), 0)).unwrap();
    let silent = silent.local_addr().unwrap();
    let mut config = HEAD.to_owned();
    for number in 0..6 {
        let to = format!(r#"["nats://{silent}/mail.{number}", "nats://{}/mail.{number}"]"#, nats.address);
        config += &format!("[[route]]\ndomains = [\"{number}.test\"]\nto = {to}\n");
    }
    for number in 6..10 {
        let to = format!("nats://{silent}/mail.{number}");
        config += &format!("[[route]]\ndomains = [\"{number}.test\"]\nto = \"{to}\"\ntimeout = \"2s\"\n");
    }
    let server = Server::start(&config);
    let mut client = server.client("edge");
    client.hello();
    for number in 0..6 {
        client.deliver("a@x.test", &[&format!("b@{number}.test")], TEXT);
    }
    assert_eq!(nats.count(), 6);
    let began = Instant::now();
    let reply = client.submit("a@x.test", &["b@6.test", "b@7.test", "b@8.test", "b@9.test"], TEXT);
    assert!(reply.last().starts_with("451 4.3.0 "), "{}", reply.last());
    assert!(began.elapsed() < Duration::from_secs(6), "one after the other: {:?}", began.elapsed());
    let _ = std::fs::remove_dir_all(place);
}

/// One that stands still is left for the other after one wait, not when the library is sure that it is gone.
#[test]
fn a_server_that_stands_still_is_left_for_another() {
    let places = [place("still"), place("other")];
    let mut servers = Vec::new();
    for place in &places {
        let Some(nats) = Nats::start(place) else { return };
        nats.make_stream();
        servers.push(nats);
    }
    let to = servers.iter().map(|nats| format!("\"nats://{}/mail.x\"", nats.address)).collect::<Vec<_>>().join(", ");
    let route = format!("[[route]]\nto = [{to}]\ntimeout = \"2s\"\n");
    let server = Server::start(&format!("{HEAD}{route}"));
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@x.test", &["b@n.test"], TEXT);
    for nats in &servers {
        nats.signal(Signal::STOP);
        client.submit("a@x.test", &["b@n.test"], TEXT);
        client.deliver("a@x.test", &["b@n.test"], TEXT);
        nats.signal(Signal::CONT);
    }
    for place in places {
        let _ = std::fs::remove_dir_all(place);
    }
}

#[test]
fn a_reload_leaves_a_route_its_connection() {
    let place = place("reload");
    let Some(nats) = Nats::start(&place) else { return };
    nats.make_stream();
    let server = start(nats.address);
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@x.test", &["b@n.test"], TEXT);
    let before = nats.connections();
    server.reload().exits(0);
    client.deliver("a@x.test", &["b@n.test"], TEXT);
    assert_eq!(nats.connections(), before + 1, "who asks is the only one who came");
    let _ = std::fs::remove_dir_all(place);
}
