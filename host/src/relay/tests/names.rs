//! Which server gets a message.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::sink::nowhere;
use super::*;

/// A name server that knows some names; one that begins with `broken` fails.
struct Zone {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Zone {
    /// `NAME MX 10 HOST`, `NAME A ADDRESS`, `NAME CNAME HOST`, in lines.
    async fn start(text: &str) -> Zone {
        let name = |text: &str| Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap();
        let mut records: HashMap<(Name, RecordType), Vec<RData>> = HashMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let data = match &words[1..] {
                ["MX", preference, host] => RData::MX(MX::new(preference.parse().unwrap(), name(host))),
                ["A", address] => RData::A(A(address.parse().unwrap())),
                ["CNAME", host] => RData::CNAME(CNAME(name(host))),
                other => panic!("{other:?}"),
            };
            records.entry((name(words[0]), data.record_type())).or_default().push(data);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut octets = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut octets).await.unwrap();
                let question = Message::from_vec(&octets[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
                let mut asked = query.name().clone();
                let mut found = Vec::new();
                for _ in 0..8 {
                    if let Some(data) = records.get(&(asked.clone(), query.query_type())) {
                        found.extend(data.iter().map(|data| Record::from_rdata(asked.clone(), 60, data.clone())));
                    }
                    let Some(RData::CNAME(alias)) =
                        records.get(&(asked.clone(), RecordType::CNAME)).map(|data| data[0].clone())
                    else {
                        break;
                    };
                    found.push(Record::from_rdata(asked.clone(), 60, RData::CNAME(alias.clone())));
                    asked = alias.0;
                }
                let known = records.keys().any(|(name, _)| *name == asked);
                answer.metadata.response_code = match known {
                    _ if query.name().to_ascii().starts_with("broken") => ResponseCode::ServFail,
                    true => ResponseCode::NoError,
                    false => ResponseCode::NXDomain,
                };
                answer.metadata.recursion_available = true;
                answer.queries.push(query);
                answer.answers = found;
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Zone { address, _tasks: tasks }
    }
}

const TAKEN: &str = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\nEND";

/// The servers that are tried for a domain, in order, and the fault at the end if there is one.
async fn found(zone: &Zone, target: &RelayTarget, domain: &str) -> Vec<String> {
    let dns = Dns { servers: vec![zone.address], timeout: std::time::Duration::from_secs(20) };
    let names = Resolver::new(&dns).unwrap();
    let mut servers = Servers::new(target, domain, "here.example.test", &names);
    let mut found = Vec::new();
    while let Some(next) = servers.next().await {
        found.push(match next {
            Ok(server) => match server.at {
                At::Tcp(address) => format!("{} {}", server.name, address.ip()),
                At::Unix(path) => path.display().to_string(),
            },
            Err(fault) => words(&fault.outcome()),
        });
    }
    found
}

#[tokio::test]
async fn exchangers_come_by_preference() {
    let many: String = (0..30).map(|n| format!("many.test MX 10 h{n}.test\nh{n}.test A 192.0.2.{n}\n")).collect();
    let zone = Zone::start(&format!(
        "two.test MX 20 b.test
         two.test MX 10 a.test
         a.test A 192.0.2.1
         a.test A 192.0.2.2
         b.test A 192.0.2.3
         plain.test A 192.0.2.4
         null.test MX 0 .
         lost.test MX 10 nowhere.test
         half.test MX 10 nowhere.test
         half.test MX 20 b.test
         bad.test MX 10 broken.test
         self.test MX 10 here.example.test
         backup.test MX 10 a.test
         backup.test MX 20 HERE.example.test
         backup.test MX 20 b.test
         backup.test MX 30 b.test
         loop.test MX 10 localhost
         alias.test CNAME two.test
         around.test CNAME around.test
         literal.test MX 10 192.0.2.9
         literal.test A 192.0.2.4
         wild.test MX 10 *.test
         wild.test A 192.0.2.4
         partly.test MX 10 192.0.2.9
         partly.test MX 20 b.test
         xn--bcher-kva.test MX 10 b.test
         {many}"
    ))
    .await;
    let mut target = RelayTarget::new(HopProtocol::Smtp, Hop::Tcp { host: HopHost::RecipientDomain, port: 25 });
    target.mx = true;
    let cases: [(&str, &[&str]); 18] = [
        ("two.test", &["a.test 192.0.2.1", "a.test 192.0.2.2", "b.test 192.0.2.3"]),
        ("TWO.test", &["a.test 192.0.2.1", "a.test 192.0.2.2", "b.test 192.0.2.3"]),
        ("plain.test", &["plain.test 192.0.2.4"]),
        ("alias.test", &["a.test 192.0.2.1", "a.test 192.0.2.2", "b.test 192.0.2.3"]),
        ("null.test", &["failed 5.1.10 message"]),
        ("nobody.test", &["failed 5.1.2 message"]),
        ("lost.test", &["failed 5.1.2 message"]),
        ("half.test", &["failed 5.1.2 message", "b.test 192.0.2.3"]),
        ("broken.test", &["deferred 4.4.3 destination"]),
        ("bad.test", &["deferred 4.4.3 destination"]),
        ("self.test", &["failed 5.4.6 message"]),
        ("here.example.test", &["failed 5.4.6 message"]),
        ("backup.test", &["a.test 192.0.2.1", "a.test 192.0.2.2"]),
        ("loop.test", &["failed 5.4.6 message"]),
        ("bücher.test", &["b.test 192.0.2.3"]),
        ("literal.test", &["failed 5.1.2 message"]),
        ("wild.test", &["failed 5.1.2 message"]),
        ("partly.test", &["failed 5.1.2 message", "b.test 192.0.2.3"]),
    ];
    for (domain, expected) in cases {
        assert_eq!(found(&zone, &target, domain).await, expected, "{domain}");
    }
    for (domain, address) in [("[192.0.2.9]", "192.0.2.9"), ("[IPv6:2001:db8::9]", "2001:db8::9")] {
        assert_eq!(found(&zone, &target, domain).await, [format!("{address} {address}")]);
    }
    for domain in ["", "[192.0.2]", "a b.test", "x..test"] {
        assert_eq!(found(&zone, &target, domain).await, ["failed 5.1.2 message"], "{domain}");
    }
    // It goes round, and comes to an end.
    assert_eq!(found(&zone, &target, "around.test").await.len(), 1);
    // Each of thirty is as likely, and only so many are tried.
    let (once, twice) = (found(&zone, &target, "many.test").await, found(&zone, &target, "many.test").await);
    assert_eq!((once.len(), twice.len()), (20, 20));
    assert_ne!(once, twice);

    // Without `mx` the domain itself.
    target.mx = false;
    assert_eq!(found(&zone, &target, "plain.test").await, ["plain.test 192.0.2.4"]);
    assert_eq!(found(&zone, &target, "two.test").await, ["failed 5.1.2 message"]);
    // What the operator wrote waits until it is right.
    for (name, expected) in [
        ("a.test", "a.test 192.0.2.1"),
        ("nobody.test", "deferred 4.4.4 destination"),
        ("broken.test", "deferred 4.4.3 destination"),
    ] {
        let host = HopHost::Host(Host::Name(name.to_owned()));
        let target = RelayTarget::new(HopProtocol::Smtp, Hop::Tcp { host, port: 25 });
        assert_eq!(found(&zone, &target, "two.test").await[0], expected);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_gives_way_to_the_next() {
    let good = || Sink::start(&[TAKEN]);
    for first in [
        "",
        "S: 421 busy",
        "S: 554 no",
        "S: 220 mx\nC: EHLO *\nS: 450 later",
        "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *",
        "S+ 2\\r\\n",
    ] {
        let (first, second) = (Sink::start(&[first]).await, good().await);
        let mut target = to(HopProtocol::Smtp, first.address);
        target.hops.push(hop(second.address));
        let mut bed = Bed::new();
        let stored = bed.message(HELLO, TO_B, |_| {}).await;
        assert_eq!(deliver_words(&relay(target), &stored).await, ["delivered 250 taken"]);
        second.is_content();
    }
    // What one says of the message stands.
    let refused = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 451 4.7.1 later\nEND";
    let (first, second) = (Sink::start(&[refused]).await, good().await);
    let mut target = to(HopProtocol::Smtp, first.address);
    target.hops.push(hop(second.address));
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    assert_eq!(deliver_words(&relay(target), &stored).await, ["deferred 4.7.1 message"]);
    assert_eq!(second.connections(), 0);
    // Nobody is there.
    let mut target = to(HopProtocol::Smtp, nowhere().await);
    assert_eq!(deliver_words(&relay(target.clone()), &stored).await, ["deferred 4.4.1 destination"]);
    target.hops = vec![Hop::Unix(bed.at.path().join("nothing"))];
    assert_eq!(deliver_words(&relay(target), &stored).await, ["deferred 4.4.1 destination"]);
}

#[tokio::test]
async fn connections_come_from_the_address_that_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = to(HopProtocol::Smtp, listener.local_addr().unwrap());
    target.source = vec!["2001:db8::1".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let relay = relay(target);
    let (_, from) = tokio::join!(deliver(&relay, &stored), async {
        let (_, from) = listener.accept().await.unwrap();
        from
    });
    assert_eq!(from.ip(), "127.0.0.9".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn a_server_that_knows_no_ehlo_is_asked_by_helo() {
    let rest = TAKEN.strip_prefix("S: 220 mx\nC: EHLO *\nS: 250 mx\n").unwrap();
    let sink = Sink::start(&[&format!(
        "S: 220 mx\nC: EHLO say.example.test\nS: 502 what?\nC: HELO say.example.test\nS: 250 mx\n{rest}"
    )])
    .await;
    let mut target = to(HopProtocol::Smtp, sink.address);
    target.hello = Some("say.example.test".to_owned());
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    assert_eq!(deliver_words(&relay(target), &stored).await, ["delivered 250 taken"]);
    sink.is_content();
}
