//! The verified names of clients, by a name server of the test's own.

use crate::configs;
use pillarbox_tests::{Client, Server, until};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is answered to a question, given by name and type.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A record that holds this.
    Data(Vec<u8>),
    /// An empty answer with this response code (RFC 1035 section 4.1.1).
    Code(u8),
    /// None.
    Silence,
}

pub const A: u16 = 1;
pub const PTR: u16 = 12;
pub const SERVFAIL: Answer = Answer::Code(2);
const NXDOMAIN: Answer = Answer::Code(3);

/// A name server that knows these answers, and none to everything else; it notes what it was asked. It lives as long as
/// the test.
#[derive(Debug)]
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub fn start(answers: &[(&str, u16, Answer)]) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: BTreeMap<(String, u16), Answer> =
            answers.iter().map(|(name, kind, answer)| (((*name).to_owned(), *kind), answer.clone())).collect();
        let noted = asked.clone();
        std::thread::spawn(move || {
            let mut octets = [0; 512];
            while let Ok((count, client)) = socket.recv_from(&mut octets) {
                let Some((name, kind, end)) = question(&octets[..count]) else { continue };
                noted.lock().unwrap().push(name.clone());
                let answer = answers.get(&(name, kind)).unwrap_or(&NXDOMAIN);
                if let Some(reply) = reply(&octets[..end], kind, answer) {
                    let _ = socket.send_to(&reply, client);
                }
            }
        });
        NameServer { address, asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The name and type that are asked for, and where the question ends.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// RFC 1035 section 4: the head, the question as it was asked, and at most one record, of a minute.
fn reply(asked: &[u8], kind: u16, answer: &Answer) -> Option<Vec<u8>> {
    let (code, data) = match answer {
        Answer::Data(data) => (0, Some(data)),
        Answer::Code(code) => (*code, None),
        Answer::Silence => return None,
    };
    let mut message = asked[..2].to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    message.extend(&asked[12..]);
    if let Some(data) = data {
        // The name is that of the question.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

pub fn address(address: [u8; 4]) -> Answer {
    Answer::Data(address.to_vec())
}

pub fn pointer(name: &str) -> Answer {
    let labels = name
        .split('.')
        .flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes()).collect::<Vec<_>>());
    Answer::Data(labels.chain([0]).collect())
}

fn start(names: &NameServer, listener: &str) -> Server {
    let config = configs::maildirs(&format!("client-name = \"verified\"\nproxy.from = [\"127.0.0.1\"]\n{listener}"));
    Server::start(&format!("{config}\n[dns]\nservers = [\"{}\"]\ntimeout = \"600ms\"\n", names.address))
}

/// Somebody at this address: a proxy says so, for what the resolver knows of loopback it asks nobody.
#[track_caller]
fn from(server: &Server, source: &str) -> Client {
    let mut client = Client::dial(server.address("edge"), None);
    client.send(format!("PROXY TCP4 {source} 198.51.100.25 4321 25\r\n"));
    client
}

/// What a message of this client to a recipient of its own has in its Received field behind the HELO name.
#[track_caller]
fn received(server: &Server, client: &mut Client, to: &str) -> String {
    client.deliver("a@client.test", &[&format!("{to}@example.test")], "Subject: x\r\n\r\n");
    server.log().event("delivered", &[("recipient", &format!("{to}@example.test"))]);
    let message = String::from_utf8(server.maildir(&format!("mail/example.test/{to}")).only()).unwrap();
    let (_, behind) = message.split_once("from client.example.test (").expect("a Received field");
    behind.split(')').next().unwrap().to_owned()
}

#[test]
fn a_name_that_leads_back_is_known() {
    let names = NameServer::start(&[
        ("1.2.0.192.in-addr.arpa", PTR, pointer("One.Example.NET")),
        ("one.example.net", A, address([192, 0, 2, 1])),
        // Another's address, no address, a name that cannot be a host's, and nobody's.
        ("2.2.0.192.in-addr.arpa", PTR, pointer("one.example.net")),
        ("3.2.0.192.in-addr.arpa", PTR, pointer("nowhere.example.net")),
        ("4.2.0.192.in-addr.arpa", PTR, pointer("a b) by evil.example.net")),
        ("a b) by evil.example.net", A, address([192, 0, 2, 4])),
        ("5.2.0.192.in-addr.arpa", PTR, NXDOMAIN),
        // A private address is asked about like any other.
        ("9.0.0.10.in-addr.arpa", PTR, pointer("ten.example.net")),
        ("ten.example.net", A, address([10, 0, 0, 9])),
        // Whose servers do not work just now.
        ("6.2.0.192.in-addr.arpa", PTR, SERVFAIL),
        ("7.2.0.192.in-addr.arpa", PTR, pointer("seven.example.net")),
        ("seven.example.net", A, SERVFAIL),
        ("8.2.0.192.in-addr.arpa", PTR, Answer::Silence),
    ]);
    let server = start(&names, "");
    for last in 1..=8 {
        let mut client = from(&server, &format!("192.0.2.{last}"));
        client.expect_reply("220 *");
        client.hello();
        let name = if last == 1 { "one.example.net" } else { "unknown" };
        assert_eq!(received(&server, &mut client, &last.to_string()), format!("{name} [192.0.2.{last}]"));
        client.quit();
    }
    let mut private = from(&server, "10.0.0.9");
    private.expect_reply("220 *");
    private.hello();
    assert_eq!(received(&server, &mut private, "private"), "ten.example.net [10.0.0.9]");
    // What was found holds for a while, and so does that there is none; what failed holds for a moment.
    let before = names.asked().len();
    for last in [1, 5, 6] {
        let before = names.asked().len();
        let mut client = from(&server, &format!("192.0.2.{last}"));
        client.expect_reply("220 *");
        client.quit();
        assert_eq!(names.asked().len(), before, "192.0.2.{last}");
    }
    assert!(before >= 11, "{:?}", names.asked());
}

#[test]
fn nobody_is_asked_where_names_are_not_wanted() {
    let names = NameServer::start(&[]);
    let config = configs::maildirs(&configs::extensions(&["xclient"]));
    let server = Server::start(&format!("{config}\n[dns]\nservers = [\"{}\"]\n", names.address));
    let mut client = server.client("edge");
    client.hello();
    assert_eq!(received(&server, &mut client, "b"), "unknown [127.0.0.1]");
    assert_eq!(names.asked(), Vec::<String>::new());
}

#[test]
fn the_name_follows_the_client() {
    let names = NameServer::start(&[
        ("1.2.0.192.in-addr.arpa", PTR, pointer("gateway.example.net")),
        ("gateway.example.net", A, address([192, 0, 2, 1])),
        ("9.2.0.192.in-addr.arpa", PTR, pointer("nine.example.net")),
        ("nine.example.net", A, address([192, 0, 2, 9])),
    ]);
    let verbs = configs::extensions(&["xclient", "xremoteip"])
        .replace("peers = [\"127.0.0.1\"]", "trust = \"peer\"\npeers = [\"192.0.2.1\"]");
    let server = start(&names, &verbs);
    let mut client = from(&server, "192.0.2.1");
    client.expect_reply("220 *");
    client.hello();
    assert_eq!(received(&server, &mut client, "peer"), "gateway.example.net [192.0.2.1]");
    // The name of the old one is not the new one's.
    for (verb, number) in [("XREMOTEIP 192.0.2.9", 0), ("XREMOTEIP 192.0.2.10", 1), ("XREMOTEIP 192.0.2.1", 2)] {
        client.expect(verb, "250 *");
        let expected =
            ["nine.example.net [192.0.2.9]", "unknown [192.0.2.10]", "gateway.example.net [192.0.2.1]"][number];
        assert_eq!(received(&server, &mut client, &format!("remote{number}")), expected);
    }
    // What somebody in front says of the name stands, and is not asked about.
    for (number, (said, expected)) in [
        ("ADDR=192.0.2.9 NAME=said.example.net", "said.example.net [192.0.2.9]"),
        ("ADDR=192.0.2.11 NAME=other.example.net", "other.example.net [192.0.2.11]"),
    ]
    .into_iter()
    .enumerate()
    {
        client.expect(&format!("XCLIENT {said}"), "220 *");
        client.hello();
        assert_eq!(received(&server, &mut client, &format!("said{number}")), expected);
    }
    assert!(!names.asked().iter().any(|name| name.starts_with("11.2.0.192")));
    client.quit();
}

#[test]
fn a_look_up_that_takes_long_holds_up_nobody_else() {
    let names = NameServer::start(&[
        ("8.2.0.192.in-addr.arpa", PTR, Answer::Silence),
        ("1.2.0.192.in-addr.arpa", PTR, NXDOMAIN),
    ]);
    let server = start(&names, "");
    let slow = from(&server, "192.0.2.8");
    until("the question", || !names.asked().is_empty());
    let mut quick = from(&server, "192.0.2.1");
    quick.expect_reply("220 *");
    slow.socket().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(slow.socket().peek(&mut [0]).is_err(), "the one whose name is looked up waits for it");
}
