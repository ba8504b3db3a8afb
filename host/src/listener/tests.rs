#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::accept::Accept;
use super::*;
use crate::config::{Config, Listener, Source};
use pillarbox_smtp::reply;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, TcpListener as StdListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use tally::{Full, Reach};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt;

type Listeners = BTreeMap<String, Arc<Listener>>;

fn listeners(text: &str) -> Listeners {
    let text = format!("[server]\nhostname = \"mx.example.org\"\nstate-dir = \"state\"\n{text}");
    let source = Source { name: "test".to_owned(), directory: "/".into(), text };
    Config::parse(source).unwrap_or_else(|problems| panic!("{problems}")).listeners
}

fn one(name: &str, address: SocketAddr) -> Listeners {
    listeners(&format!("[listener.{name}]\naddress = [\"{address}\"]\n"))
}

/// A session as the test sees it, which lasts until `leave` is dropped or used.
struct Guest {
    accepted: Accepted,
    leave: oneshot::Sender<()>,
}

/// Hands each session to the test.
struct Hall(mpsc::UnboundedSender<Guest>);

impl Serve for Hall {
    fn serve(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (leave, left) = oneshot::channel();
        self.0.send(Guest { accepted, leave }).unwrap_or_else(|_| panic!("the test is over"));
        Box::pin(async {
            let _ = left.await;
        })
    }
}

fn doors() -> (Doors, mpsc::UnboundedReceiver<Guest>) {
    let (hall, guests) = mpsc::unbounded_channel();
    (Doors::new(Arc::new(Hall(hall)), Arc::default()), guests)
}

async fn opened(listeners: &Listeners) -> (Doors, mpsc::UnboundedReceiver<Guest>) {
    let (mut doors, guests) = doors();
    doors.apply(listeners).await.unwrap();
    (doors, guests)
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An address of its own for each caller, whose port nothing listens on at any address: not one of those that the
/// system gives away, which the other tests ask for all the time.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 200 * 100;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(start).unwrap() + next;
        if StdListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            let [high, low] = next.to_be_bytes();
            return (Ipv4Addr::new(127, 77, high, low), port).into();
        }
    }
}

async fn from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(source), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn said(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_handed_over_with_its_ends() {
    let (doors, mut guests) = opened(&one("edge", any())).await;
    let [(name, address)] = <[_; 1]>::try_from(doors.bound()).unwrap();
    assert_eq!(name, "edge");
    let stream = from([127, 0, 0, 9], address).await;
    let guest = guests.recv().await.unwrap();
    assert_eq!(guest.accepted.peer, stream.local_addr().unwrap());
    assert_eq!((guest.accepted.local, &*guest.accepted.listener), (address, "edge"));
    assert!(guest.accepted.stream.nodelay().unwrap());
    assert_eq!(doors.sessions(), BTreeMap::from([("edge".to_owned(), 1)]));
    drop(guest);
    until(|| doors.sessions()["edge"] == 0).await;
}

#[tokio::test]
async fn both_families_listen_on_one_port() {
    let port = free().port();
    let both = listeners(&format!("[listener.edge]\naddress = [\"0.0.0.0:{port}\", \"[::]:{port}\"]\n"));
    let (mut doors, mut guests) = doors();
    if let Err(error) = doors.apply(&both).await {
        // A machine without IPv6.
        assert!(error.address.is_ipv6() && error.source.kind() != ErrorKind::AddrInUse);
        return;
    }
    let _stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(guests.recv().await.unwrap().accepted.peer.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

#[tokio::test]
async fn a_socket_stays_when_its_listener_gets_another_name() {
    let address = free();
    let (mut doors, mut guests) = opened(&one("edge", address)).await;
    let _old_stream = TcpStream::connect(address).await.unwrap();
    let old = guests.recv().await.unwrap();
    // In the queue of the socket while it changes hands: it is not lost, as it would be if the socket was closed.
    let queued = std::net::TcpStream::connect(address).unwrap();
    doors.apply(&one("mx", address)).await.unwrap();
    assert_eq!(doors.bound(), [("mx".to_owned(), address)]);
    let new = guests.recv().await.unwrap();
    assert_eq!(new.accepted.listener, "mx");
    assert_eq!(doors.sessions(), BTreeMap::from([("edge".to_owned(), 1), ("mx".to_owned(), 1)]));
    drop((old, queued));
    until(|| doors.sessions()["edge"] == 0).await;
    doors.apply(&one("mx", address)).await.unwrap();
    assert_eq!(doors.sessions(), BTreeMap::from([("mx".to_owned(), 1)]));
    drop(new);
}

#[tokio::test]
async fn two_listeners_can_exchange_their_addresses() {
    let (a, b) = (free(), free());
    let text = |one, other| {
        listeners(&format!("[listener.one]\naddress = [\"{one}\"]\n[listener.other]\naddress = [\"{other}\"]\n"))
    };
    let (mut doors, mut guests) = opened(&text(a, b)).await;
    doors.apply(&text(b, a)).await.unwrap();
    let mut bound = doors.bound();
    bound.sort();
    assert_eq!(bound, [("one".to_owned(), b), ("other".to_owned(), a)]);
    let _stream = TcpStream::connect(a).await.unwrap();
    assert_eq!(guests.recv().await.unwrap().accepted.listener, "other");
}

#[tokio::test]
async fn a_port_of_the_systems_choice_is_kept_over_reloads() {
    let twice = listeners("[listener.a]\naddress = [\"127.0.0.1:0\"]\n[listener.b]\naddress = [\"127.0.0.2:0\"]\n");
    let (mut doors, _guests) = opened(&twice).await;
    let before = doors.bound();
    doors.apply(&twice).await.unwrap();
    assert_eq!(doors.bound(), before);
    assert!(before.iter().all(|(_, address)| address.port() != 0));
}

#[tokio::test]
async fn when_one_address_fails_nothing_has_changed() {
    let taken = StdListener::bind(any()).unwrap();
    let (kept, gone, fresh) = (free(), free(), free());
    let text = |lines: &[(&str, SocketAddr)]| {
        let line = |(name, address): &(&str, SocketAddr)| format!("[listener.{name}]\naddress = [\"{address}\"]\n");
        listeners(&lines.iter().map(line).collect::<String>())
    };
    let (mut doors, mut guests) = opened(&text(&[("a", kept), ("b", gone)])).await;
    let busy = taken.local_addr().unwrap();
    let error = doors.apply(&text(&[("a", fresh), ("c", kept), ("d", busy)])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("listener `d` cannot listen on {busy}"));
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.help(), Some("another process listens there"));
    assert_eq!(doors.bound(), [("a".to_owned(), kept), ("b".to_owned(), gone)]);
    for (address, name) in [(kept, "a"), (gone, "b")] {
        let _stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(guests.recv().await.unwrap().accepted.listener, name);
    }
    assert!(TcpStream::connect(fresh).await.is_err());

    drop(taken);
    doors.apply(&text(&[("a", fresh), ("c", kept), ("d", busy)])).await.unwrap();
    assert_eq!(doors.bound(), [("a".to_owned(), fresh), ("c".to_owned(), kept), ("d".to_owned(), busy)]);
    assert!(TcpStream::connect(gone).await.is_err());
}

#[tokio::test]
async fn a_socket_that_goes_makes_room_for_one_it_overlaps() {
    let narrow = free();
    let wide = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), narrow.port());
    let (mut doors, mut guests) = opened(&one("edge", wide)).await;
    doors.apply(&one("edge", narrow)).await.unwrap();
    assert_eq!(doors.bound(), [("edge".to_owned(), narrow)]);
    doors.apply(&one("edge", wide)).await.unwrap();
    assert_eq!(doors.bound(), [("edge".to_owned(), wide)]);

    let taken = StdListener::bind(any()).unwrap();
    let text = format!("[listener.edge]\naddress = [\"{narrow}\", \"{}\"]\n", taken.local_addr().unwrap());
    doors.apply(&listeners(&text)).await.unwrap_err();
    assert_eq!(doors.bound(), [("edge".to_owned(), wide)]);
    let _stream = TcpStream::connect(narrow).await.unwrap();
    assert_eq!(guests.recv().await.unwrap().accepted.local, narrow);
}

#[tokio::test]
async fn over_its_limit_a_listener_says_so_and_closes() {
    let address = free();
    let limited = |all: u32, network: u32| {
        listeners(&format!(
            "[listener.edge]\naddress = [\"{address}\"]\nlimits.connections = {all}\n\
             [listener.edge.peer.\"127.0.0.2\"]\nlimits.connections = {network}\n"
        ))
    };
    let counters = Arc::new(Counters::default());
    let (hall, mut guests) = mpsc::unbounded_channel();
    let mut doors = Doors::new(Arc::new(Hall(hall)), Arc::clone(&counters));
    doors.apply(&limited(2, 1)).await.unwrap();
    let mut busy = Vec::new();
    reply::too_many_connections().reply().encode(&mut busy);
    assert!(busy.starts_with(b"421 4.4.5 "));
    let is_busy = |text: String| assert_eq!(text.as_bytes(), busy);

    let _near = from([127, 0, 0, 2], address).await;
    let first = guests.recv().await.unwrap();
    is_busy(said(from([127, 0, 0, 2], address).await).await);
    // The network is full, the listener is not.
    let _other = from([127, 0, 0, 3], address).await;
    let second = guests.recv().await.unwrap();
    is_busy(said(from([127, 0, 0, 4], address).await).await);
    // Also who talks first hears it, and no reset instead.
    let mut early = std::net::TcpStream::connect(address).unwrap();
    io::Write::write_all(&mut early, b"EHLO early.example.org\r\n").unwrap();
    early.set_nonblocking(true).unwrap();
    is_busy(said(TcpStream::from_std(early).unwrap()).await);

    // A reload counts those who are in.
    doors.apply(&limited(3, 2)).await.unwrap();
    let _again = from([127, 0, 0, 2], address).await;
    let third = guests.recv().await.unwrap();
    is_busy(said(from([127, 0, 0, 5], address).await).await);
    drop(first);
    until(|| doors.sessions()["edge"] == 2).await;
    let _last = from([127, 0, 0, 2], address).await;
    let fourth = guests.recv().await.unwrap();
    assert_eq!(counters.snapshot().connections_refused, 4);
    drop((second, third, fourth));
}

#[tokio::test]
async fn under_implicit_tls_a_full_listener_only_closes() {
    let address = free();
    let text = "tls.mode = \"implicit\"\ntls.certificates = [{ chain = \"c\", key = \"k\" }]\nlimits.connections = 1\n";
    let full = listeners(&format!("[listener.edge]\naddress = [\"{address}\"]\n{text}"));
    let (_doors, mut guests) = opened(&full).await;
    let _stream = TcpStream::connect(address).await.unwrap();
    let _guest = guests.recv().await.unwrap();
    assert_eq!(said(TcpStream::connect(address).await.unwrap()).await, "");
}

#[tokio::test]
async fn a_session_that_panics_leaves_no_trace() {
    struct Panics;
    impl Serve for Panics {
        fn serve(&self, _: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            panic!("on purpose")
        }
    }
    let mut doors = Doors::new(Arc::new(Panics), Arc::default());
    doors.apply(&one("edge", any())).await.unwrap();
    for _ in 0..2 {
        let stream = TcpStream::connect(doors.bound()[0].1).await.unwrap();
        let mut octets = [0; 1];
        assert!(!matches!({ stream }.read(&mut octets).await, Ok(1..)));
    }
    until(|| doors.sessions()["edge"] == 0).await;
    assert_eq!(doors.drain(Duration::ZERO).await, 0);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_those_who_leave_and_cuts_those_who_stay() {
    for (stay, cut) in [(false, 0), (true, 1)] {
        let (mut doors, mut guests) = opened(&one("edge", any())).await;
        let address = doors.bound()[0].1;
        let stream = TcpStream::connect(address).await.unwrap();
        let polite = guests.recv().await.unwrap();
        let _other = TcpStream::connect(address).await.unwrap();
        let rude = guests.recv().await.unwrap();
        let Guest { accepted: Accepted { mut stop, stream: held, .. }, leave } = polite;
        let guest = tokio::spawn(async move {
            stop.wait_for(|stop| *stop).await.unwrap();
            drop(held);
            leave.send(()).unwrap();
        });
        let rude = stay.then_some(rude);
        let began = Instant::now();
        assert_eq!(doors.drain(Duration::from_secs(30)).await, cut);
        assert_eq!(began.elapsed() >= Duration::from_secs(30), stay);
        guest.await.unwrap();
        assert_eq!(said(stream).await, "");
        assert!(doors.sessions().values().all(|open| *open == 0));
        assert!(doors.bound().is_empty() && TcpStream::connect(address).await.is_err());
        // Cut off means dropped, whatever it was waiting for.
        assert!(rude.is_none_or(|rude| rude.leave.is_closed()));
    }
}

/// What `accept` answers, one after the other.
struct Script(tokio::sync::Mutex<mpsc::UnboundedReceiver<io::Result<(TcpStream, SocketAddr)>>>);

impl Accept for Script {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.0.lock().await.recv().await {
            Some(answer) => answer,
            None => pending().await,
        }
    }
}

/// Counts events by their message.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_accept_neither_end_the_loop_nor_make_it_spin() {
    let heard = Heard::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(heard.clone()));
    let door = StdListener::bind(any()).unwrap();
    let connection = || {
        let near = std::net::TcpStream::connect(door.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let peer: SocketAddr = "[::ffff:192.0.2.1]:4000".parse().unwrap();
        Ok((TcpStream::from_std(near).unwrap(), peer))
    };
    const EMFILE: i32 = 24;
    let no_files = || Err(io::Error::from_raw_os_error(EMFILE));
    let (script, answers) = mpsc::unbounded_channel();
    let says = |answer| script.send(answer).unwrap();
    [connection(), Err(ErrorKind::ConnectionAborted.into()), connection()].into_iter().for_each(says);
    (0..7).for_each(|_| says(no_files()));
    // One that succeeds at the brink, after the longest pause, ends no spell and makes no new one.
    [connection(), no_files(), connection()].into_iter().for_each(says);
    let socket = Arc::new(Script(tokio::sync::Mutex::new(answers)));

    let listener = one("edge", any()).remove("edge").unwrap();
    let tally = Arc::new(Tally::default());
    tally.set_limits(&listener);
    let (hall, mut guests) = mpsc::unbounded_channel();
    let (open, stop, cut) = (watch::Sender::new(0), watch::Sender::new(false), watch::Sender::new(false));
    let entrance = Entrance {
        post: Arc::new(ArcSwap::from_pointee(Post { listener, tally })),
        serve: Arc::new(Hall(hall)),
        counters: Arc::default(),
        open,
        stop: stop.subscribe(),
        cut: cut.subscribe(),
    };
    let began = Instant::now();
    let task = tokio::spawn(entrance.keep(socket));
    let mut times = Vec::new();
    let mut held = Vec::new();
    for _ in 0..4 {
        let guest = guests.recv().await.unwrap();
        times.push(began.elapsed().as_millis());
        assert_eq!(guest.accepted.peer, "192.0.2.1:4000".parse().unwrap());
        held.push(guest);
    }
    // 50, 100, 200, 400, 800, and from there 1000 each time; timers of the runtime have a millisecond.
    let expected = [0, 0, 3550, 4550];
    assert!(times.iter().zip(expected).all(|(time, expected)| time.abs_diff(expected) < 20), "{times:?}");
    assert_eq!(*heard.0.lock().unwrap(), ["cannot accept connections, trying again"]);

    tokio::time::advance(Duration::from_secs(3)).await;
    says(connection());
    held.push(guests.recv().await.unwrap());
    assert_eq!(heard.0.lock().unwrap().last().unwrap(), "accepting connections again");
    // A new spell begins with the shortest pause.
    let began = Instant::now();
    [no_files(), connection()].into_iter().for_each(says);
    held.push(guests.recv().await.unwrap());
    assert!(began.elapsed() < Duration::from_millis(70));
    assert_eq!(heard.0.lock().unwrap().len(), 3);
    task.abort();
}

#[tokio::test]
async fn a_tally_holds_every_limit_around_an_address() {
    let listener = |all, wide, narrow| {
        let text = format!(
            "[listener.edge]\naddress = [\"127.0.0.1:0\"]\nlimits.connections = {all}\n\
             peer.\"10.0.0.0/8\".limits.connections = {wide}\npeer.\"10.1.0.0/16\".limits.connections = {narrow}\n\
             peer.\"10.2.0.0/16\".limits.recipients = 1\n"
        );
        listeners(&text).remove("edge").unwrap()
    };
    let tally = Arc::new(Tally::default());
    let edge = listener(5, 3, 2);
    tally.set_limits(&edge);
    let mut slots = BTreeMap::new();
    let enter = |address: &str, edge: &Listener| {
        let address = address.parse().unwrap();
        let mut slot = Tally::enter(&tally)?;
        slot.count(address, &edge.rules_for(Some(address)).limits).map(|()| slot)
    };
    let mut admit = |address: &str| match enter(address, &edge) {
        Ok(slot) => {
            slots.entry(address.to_owned()).or_insert_with(Vec::new).push(slot);
            "in".to_owned()
        }
        Err(Full { reach, open, allowed }) => format!("{reach:?}: {open} of {allowed}"),
    };
    for (address, expected) in [
        ("10.1.0.1", "in"),
        ("10.1.0.1", "in"),
        ("10.1.0.2", "Network(10.1.0.0/16): 2 of 2"),
        ("10.2.0.1", "in"),
        ("10.3.0.1", "Network(10.0.0.0/8): 3 of 3"),
        ("192.0.2.1", "in"),
        ("2001:db8::1", "in"),
        ("2001:db8::2", "Listener: 5 of 5"),
    ] {
        assert_eq!(admit(address), expected, "{address}");
    }
    slots.get_mut("10.1.0.1").unwrap().pop();
    assert_eq!(tally.open(), 4);
    // Fewer than are in: nobody is thrown out, and nobody comes in until enough have left.
    let edge = listener(5, 1, 9);
    tally.set_limits(&edge);
    let tried = enter("10.1.0.9", &edge);
    assert_eq!(tried.unwrap_err(), Full { reach: Reach::Network("10.0.0.0/8".parse().unwrap()), open: 2, allowed: 1 });
    slots.clear();
    assert_eq!(tally.open(), 0);
    assert!(enter("10.1.0.9", &edge).is_ok());
}

#[test]
fn addresses_and_prefixes_have_limits_of_their_own() {
    let blocks = "peer.\"10.0.0.0/8\".limits.recipients = 1\npeer.\"10.1.0.0/16\".limits.recipients = 1\n";
    let edge = listeners(&format!("[listener.edge]\naddress = [\"127.0.0.1:0\"]\n{blocks}"));
    let mut edge = Listener::clone(&edge["edge"]);
    edge.rules.limits = config::Limits {
        connections: 0,
        connections_per_address: 2,
        connections_per_prefix: 3,
        ..config::Limits::default()
    };
    let narrow = edge.peers.iter_mut().find(|block| block.network.prefix_len() == 16).unwrap();
    narrow.limits.connections_per_address = Some(1);
    let wide = edge.peers.iter_mut().find(|block| block.network.prefix_len() == 8).unwrap();
    (wide.limits.connections_per_address, wide.limits.connections_per_prefix) = (Some(9), Some(0));
    wide.limits.connections = Some(0);

    let tally = Arc::new(Tally::default());
    tally.set_limits(&edge);
    let mut slots = Vec::new();
    let mut enter = |address: &str| {
        let address = address.parse().unwrap();
        let mut slot = Tally::enter(&tally).unwrap();
        match slot.count(address, &edge.rules_for(Some(address)).limits) {
            Ok(()) => {
                slots.push(slot);
                "in".to_owned()
            }
            Err(Full { reach, open, allowed }) => format!("{reach:?}: {open} of {allowed}"),
        }
    };
    for (address, expected) in [
        ("192.0.2.1", "in"),
        ("192.0.2.1", "in"),
        ("192.0.2.1", "Address(192.0.2.1): 2 of 2"),
        ("192.0.2.255", "in"),
        ("192.0.2.3", "Prefix(192.0.2.0/24): 3 of 3"),
        ("192.0.3.1", "in"),
        ("2001:db8:0:1::1", "in"),
        ("2001:db8:0:1:ffff::", "in"),
        ("2001:db8:0:1::3", "in"),
        ("2001:db8:0:1::4", "Prefix(2001:db8:0:1::/64): 3 of 3"),
        ("2001:db8:0:2::", "in"),
        // The narrowest block wins key by key, and 0 is none.
        ("10.1.0.1", "in"),
        ("10.1.0.1", "Address(10.1.0.1): 1 of 1"),
        ("10.1.0.2", "in"),
        ("10.1.0.3", "in"),
        ("10.1.0.4", "in"),
        ("10.2.0.1", "in"),
        ("10.2.0.1", "in"),
        ("10.2.0.1", "in"),
    ] {
        assert_eq!(enter(address), expected, "{address}");
    }
    slots.clear();
    assert_eq!(tally.kept(), 0);
}

/// A listener on loopback that takes headers from 127.0.0.2 and .3.
async fn proxied() -> (Doors, mpsc::UnboundedReceiver<Guest>, SocketAddr, Arc<Counters>) {
    proxied_with("").await
}

async fn proxied_with(keys: &str) -> (Doors, mpsc::UnboundedReceiver<Guest>, SocketAddr, Arc<Counters>) {
    let edge = format!("[listener.edge]\naddress = [\"{}\"]\nproxy.from = [\"127.0.0.2/31\"]\n{keys}", any());
    let (hall, guests) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters::default());
    let mut doors = Doors::new(Arc::new(Hall(hall)), Arc::clone(&counters));
    doors.apply(&listeners(&edge)).await.unwrap();
    let address = doors.bound()[0].1;
    (doors, guests, address, counters)
}

const PROXY: [u8; 4] = [127, 0, 0, 2];

/// A header of version 2 from 192.0.2.1:4000 to 198.51.100.2:25, or of LOCAL.
fn binary(command: u8, tlvs: &[u8]) -> Vec<u8> {
    let length = u8::try_from(12 + tlvs.len()).unwrap();
    let ends = [192, 0, 2, 1, 198, 51, 100, 2, 0x0f, 0xa0, 0, 25];
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11, 0, length][..], &ends, tlvs].concat()
}

#[tokio::test]
async fn a_header_names_the_client_and_leaves_what_the_client_sent() {
    let (_doors, mut guests, address, counters) = proxied().await;
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n".to_vec();
    let six = b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4000 25\r\n".to_vec();
    let tls = [&[0x20, 0, 16, 3, 0, 0, 0, 0, 0x22, 0, 8][..], b"a\x1b[2Jb=c"].concat();
    let tlvs = [&b"\x05\0\x02\xab\x01"[..], b"\x02\0\x02mx", b"\x01\0\x02h2", b"\x30\0\x01x", &tls].concat();
    let told = [
        ("proxy_unique_id", "ab01"),
        ("proxy_authority", "mx"),
        ("proxy_alpn", "h2"),
        ("proxy_tls_common_name", "a\\u001b[2Jb=c"),
        ("proxy_tls_verified", "yes"),
    ];
    let (client, here) = ("192.0.2.1:4000", "198.51.100.2:25");
    for (header, named, said) in [
        (line, Some((client, here)), &[][..]),
        (six, Some((client, "[2001:db8::2]:25")), &[]),
        (binary(0x21, &[]), Some((client, here)), &[]),
        (binary(0x21, &tlvs), Some((client, here)), &told),
        (b"PROXY UNKNOWN 1 2\r\n".to_vec(), None, &[]),
        (binary(0x20, &tlvs), None, &[]),
    ] {
        for cut in [0, 1, 14, 15, header.len() - 1, header.len()] {
            let mut stream = from(PROXY, address).await;
            stream.set_nodelay(true).unwrap();
            let (first, rest) = header.split_at(cut);
            stream.write_all(first).await.unwrap();
            // So that it is read by itself.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            stream.write_all(&[rest, b"EHLO client\r\n"].concat()).await.unwrap();
            let Guest { mut accepted, leave: _leave } = guests.recv().await.unwrap();
            let proxy = stream.local_addr().unwrap();
            let (peer, local) =
                named.map_or((proxy, address), |(client, here)| (client.parse().unwrap(), here.parse().unwrap()));
            assert_eq!((accepted.peer, accepted.local), (peer, local));
            let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(accepted.via, Some(Via { proxy, named: named.is_some(), said }));
            let mut octets = [0; 13];
            accepted.stream.read_exact(&mut octets).await.unwrap();
            assert_eq!(&octets, b"EHLO client\r\n");
        }
    }
    assert_eq!(counters.snapshot().proxy_headers_refused, 0);
}

#[tokio::test]
async fn who_is_no_proxy_is_a_client_like_any_other() {
    let (_doors, mut guests, address, _) = proxied().await;
    let mut stream = from([127, 0, 0, 4], address).await;
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let Guest { mut accepted, leave: _leave } = guests.recv().await.unwrap();
    assert_eq!((accepted.peer, accepted.local, accepted.via), (stream.local_addr().unwrap(), address, None));
    let mut octets = [0; 15];
    accepted.stream.read_exact(&mut octets).await.unwrap();
    assert_eq!(&octets, b"PROXY UNKNOWN\r\n");
}

#[tokio::test]
async fn a_bad_header_closes_without_a_word() {
    let heard = Heard::default();
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(heard.clone()));
    let (doors, mut guests, address, counters) = proxied().await;
    heard.0.lock().unwrap().clear();
    let whole = binary(0x21, &[]);
    for (sent, ends) in [
        (&b"EHLO client\r\n"[..], false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\n", false),
        (b"\x16\x03\x01", false),
        (&[b'P'; 100_000], false),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", false),
        (b"", true),
        (b"PROXY TCP4 192.0", true),
        (&whole[..27], true),
    ] {
        let mut stream = from(PROXY, address).await;
        // The last may find the connection closed.
        let _ = stream.write_all(sent).await;
        if ends {
            stream.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"", "{}", sent.escape_ascii());
    }
    until(|| doors.sessions()["edge"] == 0).await;
    assert!(guests.try_recv().is_err());
    assert_eq!(counters.snapshot().proxy_headers_refused, 8);
    assert_eq!(*heard.0.lock().unwrap(), ["proxy header refused"; 8]);
}

#[tokio::test(start_paused = true)]
async fn a_late_header_closes_without_a_word_however_it_trickles() {
    let (doors, _guests, address, counters) = proxied().await;
    let began = Instant::now();
    assert_eq!(said(from(PROXY, address).await).await, "");
    assert!(began.elapsed() >= Duration::from_secs(5) && began.elapsed() < Duration::from_secs(6));
    // Octets do not renew the time.
    let mut stream = from(PROXY, address).await;
    stream.set_nodelay(true).unwrap();
    let began = Instant::now();
    for octet in b"PROXY TCP4" {
        let _ = stream.write_all(&[*octet]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(began.elapsed() < Duration::from_secs(11));
    assert_eq!(counters.snapshot().proxy_headers_refused, 2);
    until(|| doors.sessions()["edge"] == 0).await;
}

#[tokio::test]
async fn limits_count_the_client_of_the_header() {
    let (doors, mut guests, address, counters) =
        proxied_with("limits = { connections = 4, connections-per-address = 1 }").await;
    let proxied = async |client: &str| {
        let mut stream = from(PROXY, address).await;
        stream.write_all(format!("PROXY TCP4 {client} 198.51.100.2 4000 25\r\n").as_bytes()).await.unwrap();
        stream
    };
    let _one = proxied("192.0.2.1").await;
    let one = guests.recv().await.unwrap();
    let _other = proxied("192.0.2.2").await;
    let other = guests.recv().await.unwrap();
    assert!(said(proxied("192.0.2.1").await).await.starts_with("421 4.4.5 "));
    drop(one);
    until(|| doors.sessions()["edge"] == 1).await;
    let _again = proxied("192.0.2.1").await;
    let again = guests.recv().await.unwrap();
    // The proxy as itself, once; those who have not said who they are count against the listener alone.
    let mut own = from(PROXY, address).await;
    own.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let own_guest = guests.recv().await.unwrap();
    let silent = from(PROXY, address).await;
    until(|| doors.sessions()["edge"] == 4).await;
    assert!(said(from(PROXY, address).await).await.starts_with("421 4.4.5 "));
    drop(silent);
    until(|| doors.sessions()["edge"] == 3).await;
    let mut second = from(PROXY, address).await;
    second.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    assert!(said(second).await.starts_with("421 4.4.5 "));
    assert_eq!(counters.snapshot().connections_refused, 3);
    drop((other, again, own_guest));
    until(|| doors.sessions()["edge"] == 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_not_said_who_it_is_holds_no_end_up() {
    let (mut doors, _guests, address, counters) = proxied().await;
    let stream = from(PROXY, address).await;
    until(|| doors.sessions()["edge"] == 1).await;
    let began = Instant::now();
    assert_eq!(doors.drain(Duration::from_secs(60)).await, 0);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(said(stream).await, "");
    assert_eq!(counters.snapshot().proxy_headers_refused, 0);
}
