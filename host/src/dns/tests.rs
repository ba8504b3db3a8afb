#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::config::Dns;
use hickory_resolver::proto::op::{Message, OpCode, Query};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, TXT};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What a server says to a question.
enum Reply {
    Records(Vec<RData>),
    Code(ResponseCode),
    Silence,
}

/// A name server that knows a few names, and of every other that it is not there.
struct Zone {
    replies: HashMap<(String, RecordType), Reply>,
    asked: Mutex<Vec<String>>,
}

struct Server {
    address: SocketAddr,
    zone: Arc<Zone>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(replies: Vec<(&str, RecordType, Reply)>) -> Server {
        let replies = replies.into_iter().map(|(name, kind, reply)| ((name.to_owned(), kind), reply)).collect();
        let zone = Arc::new(Zone { replies, asked: Mutex::default() });
        // One port for both transports.
        let (datagrams, streams) = loop {
            let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(streams) = TcpListener::bind(datagrams.local_addr().unwrap()).await {
                break (datagrams, streams);
            }
        };
        let address = datagrams.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let here = Arc::clone(&zone);
        tasks.spawn(async move {
            let mut octets = [0; 1500];
            loop {
                let (length, from) = datagrams.recv_from(&mut octets).await.unwrap();
                if let Some(answer) = here.answer(&octets[..length], 512) {
                    datagrams.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let here = Arc::clone(&zone);
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = streams.accept().await.unwrap();
                while let Ok(length) = stream.read_u16().await {
                    let mut octets = vec![0; length.into()];
                    stream.read_exact(&mut octets).await.unwrap();
                    let Some(answer) = here.answer(&octets, u16::MAX.into()) else { continue };
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Server { address, zone, _tasks: tasks }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(&Dns { servers: vec![self.address], timeout: Duration::from_secs(20) }).unwrap()
    }

    /// What is found for 192.0.2.1.
    async fn name(&self) -> ClientName {
        self.resolver().client_name("192.0.2.1".parse().unwrap()).await
    }

    fn asked(&self) -> Vec<String> {
        self.zone.asked.lock().unwrap().clone()
    }
}

impl Zone {
    fn answer(&self, octets: &[u8], room: usize) -> Option<Vec<u8>> {
        let question = Message::from_vec(octets).unwrap();
        let [Query { name, query_type: kind, .. }] = &question.queries[..] else { panic!("one question") };
        let text = name.to_lowercase().to_ascii();
        self.asked.lock().unwrap().push(format!("{text} {kind}"));
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(question.queries[0].clone());
        match self.replies.get(&(text, *kind)) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Reply::Silence) => return None,
            Some(Reply::Code(code)) => answer.metadata.response_code = *code,
            Some(Reply::Records(records)) => {
                let mut owner = name.clone();
                for data in records {
                    answer.add_answer(Record::from_rdata(owner.clone(), 300, data.clone()));
                    if let RData::CNAME(next) = data {
                        owner = next.0.clone();
                    }
                }
            }
        }
        let whole = answer.to_vec().unwrap();
        if whole.len() <= room { Some(whole) } else { Some(answer.truncate().to_vec().unwrap()) }
    }
}

const REVERSE: &str = "1.2.0.192.in-addr.arpa.";

fn pointer(name: &str) -> RData {
    RData::PTR(PTR(Name::from_ascii(name).unwrap()))
}

fn address(text: &str) -> RData {
    match text.parse().unwrap() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// The PTR records of 192.0.2.1.
fn pointers(names: &[&str]) -> (&'static str, RecordType, Reply) {
    (REVERSE, RecordType::PTR, Reply::Records(names.iter().map(|name| pointer(name)).collect()))
}

fn host<'a>(name: &'a str, addresses: &[&str]) -> (&'a str, RecordType, Reply) {
    (name, RecordType::A, Reply::Records(addresses.iter().map(|text| address(text)).collect()))
}

fn fails(name: &str, kind: RecordType, code: ResponseCode) -> (&str, RecordType, Reply) {
    (name, kind, Reply::Code(code))
}

fn verified(name: &str) -> ClientName {
    ClientName::Verified(name.to_owned())
}

#[tokio::test]
async fn a_name_counts_where_it_leads_back() {
    use ResponseCode::{NoError, Refused, ServFail};
    const OTHER: &str = "198.51.100.7";
    let broken = || fails("b.example.", RecordType::A, ServFail);
    for (why, replies, expected) in [
        ("one", vec![pointers(&["MX.example."]), host("mx.example.", &[OTHER, "192.0.2.1"])], verified("mx.example")),
        ("mismatch", vec![pointers(&["a.example."]), host("a.example.", &[OTHER])], ClientName::None),
        ("no address", vec![pointers(&["a.example."])], ClientName::None),
        ("no data", vec![pointers(&["a.example."]), fails("a.example.", RecordType::A, NoError)], ClientName::None),
        ("no name", vec![], ClientName::None),
        ("no data backwards", vec![fails(REVERSE, RecordType::PTR, NoError)], ClientName::None),
        ("failure backwards", vec![fails(REVERSE, RecordType::PTR, ServFail)], ClientName::Temporary),
        ("refused", vec![fails(REVERSE, RecordType::PTR, Refused)], ClientName::Temporary),
        ("failure forwards", vec![pointers(&["b.example."]), broken()], ClientName::Temporary),
        (
            "the second",
            vec![pointers(&["a.example.", "c.example."]), host("c.example.", &["192.0.2.1"])],
            verified("c.example"),
        ),
        (
            "one behind a failure",
            vec![pointers(&["b.example.", "c.example."]), broken(), host("c.example.", &["192.0.2.1"])],
            verified("c.example"),
        ),
        (
            "none behind a failure",
            vec![pointers(&["b.example.", "c.example."]), broken(), host("c.example.", &[OTHER])],
            ClientName::Temporary,
        ),
        (
            "an alias, as where a network is divided below an octet (RFC 2317)",
            vec![
                (
                    REVERSE,
                    RecordType::PTR,
                    Reply::Records(vec![
                        RData::CNAME(CNAME(Name::from_ascii("1.0-25.2.0.192.in-addr.arpa.").unwrap())),
                        pointer("mx.example."),
                    ]),
                ),
                host("mx.example.", &["192.0.2.1"]),
            ],
            verified("mx.example"),
        ),
    ] {
        assert_eq!(Server::start(replies).await.name().await, expected, "{why}");
    }
}

#[tokio::test]
async fn five_names_are_looked_at_whatever_their_order() {
    let names: Vec<String> = (0..100).map(|number| format!("host-{number:03}.example.")).collect();
    let backwards: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    for (right, expected) in
        [("host-004.example.", verified("host-004.example")), ("host-005.example.", ClientName::None)]
    {
        let server = Server::start(vec![pointers(&backwards), host(right, &["192.0.2.1"])]).await;
        assert_eq!(server.name().await, expected);
        let asked = server.asked();
        assert!(asked.iter().filter(|question| question.ends_with(" A")).count() <= 5, "{asked:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_about() {
    let raw = |labels: &[&[u8]]| RData::PTR(PTR(Name::from_labels(labels.iter().copied()).unwrap()));
    let bad = vec![
        raw(&[b"mx\r\nX-Evil: 1", b"example"]),
        raw(&[b"a b", b"example"]),
        raw(&[b"a.b", b"example"]),
        raw(&[b"\x1b[2J", b"example"]),
        raw(&["bücher".as_bytes(), b"example"]),
        raw(&[b"\0", b"example"]),
        raw(&[b"-a", b"example"]),
        raw(&[b"a-", b"example"]),
        raw(&[b"*", b"example"]),
        raw(&[b"192", b"0", b"2", b"1"]),
        RData::PTR(PTR(Name::root())),
    ];
    for data in bad {
        let server = Server::start(vec![(REVERSE, RecordType::PTR, Reply::Records(vec![data.clone()]))]).await;
        assert_eq!(server.name().await, ClientName::None, "{data}");
        assert_eq!(server.asked(), [format!("{REVERSE} PTR")], "{data}");
    }
    let good = vec![raw(&[b"a_b", b"X-1", b"3com", b"example"])];
    let server = Server::start(vec![
        (REVERSE, RecordType::PTR, Reply::Records(good)),
        host("a_b.x-1.3com.example.", &["192.0.2.1"]),
    ])
    .await;
    assert_eq!(server.name().await, verified("a_b.x-1.3com.example"));
}

#[tokio::test]
async fn an_address_of_version_6_has_a_name_too() {
    let reverse = Name::from(Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0001)).to_ascii();
    let reverse = format!("{}.", reverse.trim_end_matches('.'));
    let server = Server::start(vec![
        (&reverse, RecordType::PTR, Reply::Records(vec![pointer("six.example.")])),
        ("six.example.", RecordType::AAAA, Reply::Records(vec![address("2001:db8::2"), address("2001:db8::1")])),
    ])
    .await;
    assert_eq!(server.resolver().client_name("2001:db8::1".parse().unwrap()).await, verified("six.example"));
    // An IPv4 address is one however it is written.
    let server = Server::start(vec![pointers(&["mx.example."]), host("mx.example.", &["192.0.2.1"])]).await;
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(server.resolver().client_name(mapped).await, verified("mx.example"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_takes_its_time_once() {
    let forward = ("mx.example.", RecordType::A, Reply::Silence);
    for replies in [vec![(REVERSE, RecordType::PTR, Reply::Silence)], vec![pointers(&["mx.example."]), forward]] {
        let server = Server::start(replies).await;
        let began = tokio::time::Instant::now();
        assert_eq!(server.name().await, ClientName::Temporary);
        assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    }
    // Nobody listens there.
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let resolver = Resolver::new(&Dns { servers: vec![nobody], timeout: Duration::from_secs(1) }).unwrap();
    assert_eq!(resolver.client_name("192.0.2.1".parse().unwrap()).await, ClientName::Temporary);
}

#[tokio::test]
async fn what_was_found_is_remembered() {
    let server = Server::start(vec![pointers(&["mx.example."]), host("mx.example.", &["192.0.2.1"])]).await;
    let resolver = server.resolver();
    for _ in 0..3 {
        assert_eq!(resolver.client_name("192.0.2.1".parse().unwrap()).await, verified("mx.example"));
        assert_eq!(resolver.client_name("192.0.2.9".parse().unwrap()).await, ClientName::None);
    }
    assert_eq!(server.asked().len(), 3);
    // A failure is for a moment: the next one may do better.
    let server = Server::start(vec![fails(REVERSE, RecordType::PTR, ResponseCode::ServFail)]).await;
    let resolver = server.resolver();
    let client = "192.0.2.1".parse().unwrap();
    assert_eq!(resolver.client_name(client).await, ClientName::Temporary);
    let asked = server.asked().len();
    assert_eq!(resolver.client_name(client).await, ClientName::Temporary);
    assert_eq!(server.asked().len(), asked);
    tokio::time::pause();
    tokio::time::advance(SILENCE).await;
    tokio::time::resume();
    assert_eq!(resolver.client_name(client).await, ClientName::Temporary);
    assert!(server.asked().len() > asked);
}

#[tokio::test]
async fn one_silent_server_does_not_hold_up_the_others() {
    let server = Server::start(vec![
        (REVERSE, RecordType::PTR, Reply::Silence),
        ("2.2.0.192.in-addr.arpa.", RecordType::PTR, Reply::Records(vec![pointer("mx.example.")])),
        host("mx.example.", &["192.0.2.2"]),
    ])
    .await;
    let resolver = Arc::new(server.resolver());
    let mut waiting = JoinSet::new();
    for _ in 0..2 * PLACES {
        let resolver = Arc::clone(&resolver);
        waiting.spawn(async move { resolver.client_name("192.0.2.1".parse().unwrap()).await });
    }
    // All of them have begun before this goes on.
    tokio::task::yield_now().await;
    assert_eq!(resolver.places.available_permits(), PLACES - 1);
    assert_eq!(resolver.client_name("192.0.2.2".parse().unwrap()).await, verified("mx.example"));
    assert_eq!(server.asked().iter().filter(|question| question.starts_with(REVERSE)).count(), 1);
    waiting.shutdown().await;
    assert_eq!((resolver.turns.len(), resolver.places.available_permits()), (0, PLACES));
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_silent_server_are_told_in_their_time() {
    let server = Server::start(vec![(REVERSE, RecordType::PTR, Reply::Silence)]).await;
    let resolver = Arc::new(server.resolver());
    let began = tokio::time::Instant::now();
    let mut waiting = JoinSet::new();
    for _ in 0..2 * PLACES {
        let resolver = Arc::clone(&resolver);
        waiting.spawn(async move { resolver.client_name("192.0.2.1".parse().unwrap()).await });
    }
    assert!(waiting.join_all().await.into_iter().all(|name| name == ClientName::Temporary));
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    assert_eq!(resolver.turns.len(), 0);
}

#[tokio::test]
async fn who_waits_for_one_that_goes_away_asks_itself() {
    let server = Server::start(vec![pointers(&["mx.example."]), host("mx.example.", &["192.0.2.1"])]).await;
    let resolver = server.resolver();
    let client = "192.0.2.1".parse().unwrap();
    let mut first = Box::pin(resolver.client_name(client));
    let mut second = Box::pin(resolver.client_name(client));
    assert!(poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await);
    assert!(poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await);
    assert_eq!(resolver.turns.len(), 1);
    drop(first);
    assert_eq!(second.await, verified("mx.example"));
    assert_eq!(resolver.turns.len(), 0);
}

#[test]
fn of_two_who_leave_at_once_one_is_the_last() {
    let turns = Turns::<u32, OnceCell<()>>::default();
    let (one, two) = (turns.join(1), turns.join(1));
    // As of one who has left and does not yet let go.
    let late = Arc::clone(&one.shared);
    drop(one);
    assert_eq!(turns.len(), 1);
    drop(two);
    assert_eq!(turns.len(), 0);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn memory_forgets_and_is_bounded() {
    let memory = Memory::<IpAddr, ClientName>::default();
    let nth = |number: u32| IpAddr::from(Ipv4Addr::from(number));
    let minute = Duration::from_secs(60);
    memory.keep(nth(1), &verified("a"), minute);
    memory.keep(nth(2), &verified("b"), minute * 60 * 24);
    memory.keep(nth(3), &ClientName::None, Duration::ZERO);
    memory.keep(nth(4), &ClientName::Temporary, minute);
    assert_eq!(memory.recall(&nth(1)), Some(verified("a")));
    assert_eq!((memory.recall(&nth(3)), memory.recall(&nth(4))), (None, Some(ClientName::Temporary)));
    tokio::time::advance(minute).await;
    assert_eq!((memory.recall(&nth(1)), memory.recall(&nth(2))), (None, Some(verified("b"))));
    tokio::time::advance(minute * 59).await;
    assert_eq!(memory.recall(&nth(2)), None);
    for number in 0..10_000 {
        memory.keep(nth(number), &ClientName::None, minute);
        assert!(memory.len() <= 4096);
    }
    assert_eq!(memory.recall(&nth(9_999)), Some(ClientName::None));
}

#[tokio::test]
async fn a_system_without_servers_asks_its_own() {
    Resolver::new(&Dns::default()).unwrap();
}

/// Asks for the texts of all these names, each for itself. All have begun when this returns.
async fn asked(resolver: &Arc<Resolver>, names: &[String]) -> JoinSet<Result<Vec<Vec<u8>>, Unanswered>> {
    let mut waiting = JoinSet::new();
    for name in names {
        let (resolver, name) = (Arc::clone(resolver), queried(name));
        waiting.spawn(async move { resolver.texts(&name).await });
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    waiting
}

fn queried(name: &str) -> Queried {
    name.parse().unwrap()
}

fn exchange(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()))
}

#[tokio::test]
async fn extensions_are_told_what_there_is() {
    use ResponseCode::{NoError, ServFail};
    let alias = || RData::CNAME(CNAME(Name::from_ascii("b.example.").unwrap()));
    let text = |strings: &[&[u8]]| RData::TXT(TXT::from_bytes(strings.to_vec()));
    let bad = RData::MX(MX::new(5, Name::from_labels([b"a b".as_slice(), b"example"]).unwrap()));
    let server = Server::start(vec![
        ("a.example.", RecordType::A, Reply::Records(vec![alias(), address("192.0.2.2"), address("192.0.2.1")])),
        ("a.example.", RecordType::AAAA, Reply::Records(vec![address("2001:db8::1")])),
        host("four.example.", &["192.0.2.4"]),
        fails("four.example.", RecordType::AAAA, ServFail),
        fails("none.example.", RecordType::A, NoError),
        fails("none.example.", RecordType::AAAA, ServFail),
        (
            "a.example.",
            RecordType::MX,
            Reply::Records(vec![exchange(20, "Two.example."), bad, exchange(10, "one.example.")]),
        ),
        ("null.example.", RecordType::MX, Reply::Records(vec![exchange(0, ".")])),
        fails("broken.example.", RecordType::MX, ServFail),
        ("a.example.", RecordType::TXT, Reply::Records(vec![text(&[b"v=spf1 ", b"\xff -all"])])),
        (
            REVERSE,
            RecordType::PTR,
            Reply::Records(vec![
                pointer("MX.example."),
                RData::PTR(PTR(Name::from_labels([b"a b".as_slice(), b"example"]).unwrap())),
            ]),
        ),
    ])
    .await;
    let resolver = server.resolver();
    for (name, expected) in [
        ("A.Example.", Ok(vec!["192.0.2.1", "192.0.2.2", "2001:db8::1"])),
        // What is known of one kind is not lost with the other.
        ("four.example", Ok(vec!["192.0.2.4"])),
        ("none.example", Err(())),
        ("gone.example", Ok(vec![])),
    ] {
        let found = resolver.addresses(&queried(name)).await;
        let found = found.map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(|_| ());
        assert_eq!(found, expected.map(|texts| texts.into_iter().map(str::to_owned).collect()), "{name}");
    }
    let exchange = |preference, host: &str| Exchange { preference, host: host.to_owned() };
    for (name, expected) in [
        ("a.example", Ok(vec![exchange(5, ""), exchange(10, "one.example"), exchange(20, "two.example")])),
        ("null.example", Ok(vec![exchange(0, ".")])),
        ("gone.example", Ok(vec![])),
        ("broken.example", Err(())),
    ] {
        assert_eq!(resolver.mail_exchangers(&queried(name)).await.map_err(|_| ()), expected, "{name}");
    }
    assert_eq!(resolver.texts(&queried("a.example")).await, Ok(vec![b"v=spf1 \xff -all".to_vec()]));
    let reverse = Queried::reverse("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(reverse.as_str(), "1.2.0.192.in-addr.arpa");
    assert_eq!(resolver.pointers(&reverse).await, Ok(vec!["mx.example".to_owned()]));
    // What was said is remembered, failures for a moment too.
    let asked = server.asked().len();
    for _ in 0..3 {
        assert!(resolver.addresses(&queried("a.example")).await.is_ok());
        assert!(resolver.addresses(&queried("gone.example")).await.is_ok());
        assert!(resolver.mail_exchangers(&queried("broken.example")).await.is_err());
    }
    assert_eq!(server.asked().len(), asked);
}

#[test]
fn what_is_no_name_is_not_asked() {
    let long = format!("{}.example", "x".repeat(64));
    let longest = ["x".repeat(63), "x".repeat(63), "x".repeat(63), "x".repeat(61)].join(".");
    let longer = format!("{longest}.x");
    for (text, expected) in [
        ("Example.ORG", Some("example.org")),
        ("example.org.", Some("example.org")),
        ("_dmarc.example.org", Some("_dmarc.example.org")),
        ("2.0.0.127.zen.spamhaus.example", Some("2.0.0.127.zen.spamhaus.example")),
        ("localhost", Some("localhost")),
        (&longest, Some(&*longest)),
        (&longer, None),
        (&long, None),
        ("", None),
        (".", None),
        ("..", None),
        ("a..b", None),
        (".a", None),
        ("a..", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("a b", None),
        ("a\\.b", None),
        ("*.example", None),
        ("a\0b", None),
        ("a\r\nb", None),
        ("bücher.example", None),
        ("a/b.example", None),
    ] {
        assert_eq!(text.parse::<Queried>().as_ref().map(Queried::as_str).ok(), expected, "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guests_who_ask_a_silent_server_are_told_in_time_and_hold_up_no_session() {
    let silent = (0..2 * PLACES).map(|number| format!("n{number}.example.")).collect::<Vec<_>>();
    let replies: Vec<_> = silent.iter().map(|name| (name.as_str(), RecordType::TXT, Reply::Silence)).collect();
    let server = Server::start(replies).await;
    let resolver = Arc::new(server.resolver());
    let began = tokio::time::Instant::now();
    let waiting = asked(&resolver, &silent).await;
    // They hold every place there is for guests, and none of those for the names of clients.
    assert_eq!((resolver.query_places.all.available_permits(), resolver.places.available_permits()), (0, PLACES));
    assert!(waiting.join_all().await.iter().all(Result::is_err));
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    assert_eq!((resolver.questions.len(), resolver.query_places.all.available_permits()), (0, PLACES));
}

#[tokio::test]
async fn a_domain_that_is_silent_holds_up_no_other() {
    let silent = (0..2 * PLACES).map(|number| format!("n{number}.silent.example.")).collect::<Vec<_>>();
    let mut replies: Vec<_> = silent.iter().map(|name| (name.as_str(), RecordType::TXT, Reply::Silence)).collect();
    let listed = Reply::Records(vec![RData::TXT(TXT::new(vec!["listed".to_owned()]))]);
    replies.push(("2.0.0.127.list.test.", RecordType::TXT, listed));
    let server = Server::start(replies).await;
    let dns = Dns { servers: vec![server.address], timeout: Duration::from_millis(1500) };
    let resolver = Arc::new(Resolver::new(&dns).unwrap());
    let waiting = asked(&resolver, &silent).await;
    assert_eq!(resolver.query_places.all.available_permits(), PLACES - places::IN_DOMAIN);
    assert_eq!(resolver.texts(&queried("2.0.0.127.list.test")).await, Ok(vec![b"listed".to_vec()]));
    assert!(waiting.join_all().await.iter().all(Result::is_err));
    assert_eq!((resolver.query_places.domains.len(), resolver.query_places.all.available_permits()), (0, PLACES));
    // Those that never had a place were never asked, and nothing is remembered of them.
    let known = |name: &&String| resolver.answers.recall(&(queried(name), RecordType::TXT)).is_some();
    assert_eq!(silent.iter().filter(known).count(), places::IN_DOMAIN);
}

#[tokio::test]
async fn answers_are_remembered_up_to_a_size() {
    let memory = Memory::<Question, Found>::default();
    let large = || -> Found { Ok((0..4).map(|_| query::Record::Text(vec![0; 60_000])).collect()) };
    for number in 0..100 {
        memory.keep((queried(&format!("n{number}.example")), RecordType::TXT), &large(), Duration::from_secs(60));
        assert!(memory.octets() <= 4 << 20);
    }
    assert!(memory.recall(&(queried("n99.example"), RecordType::TXT)).is_some());
    assert!(memory.len() < 100);
    // The same question again takes no more room.
    let before = memory.octets();
    memory.keep((queried("n99.example"), RecordType::TXT), &large(), Duration::from_secs(60));
    assert_eq!(memory.octets(), before);
}
