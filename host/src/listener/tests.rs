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
use tally::Full;
use tokio::io::AsyncReadExt;
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

    // A reload counts those who are in.
    doors.apply(&limited(3, 2)).await.unwrap();
    let _again = from([127, 0, 0, 2], address).await;
    let third = guests.recv().await.unwrap();
    is_busy(said(from([127, 0, 0, 5], address).await).await);
    drop(first);
    until(|| doors.sessions()["edge"] == 2).await;
    let _last = from([127, 0, 0, 2], address).await;
    let fourth = guests.recv().await.unwrap();
    assert_eq!(counters.snapshot().connections_refused, 3);
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
    tally.set_limits(&listener(5, 3, 2));
    let mut slots = BTreeMap::new();
    let mut admit = |address: &str| match Tally::admit(&tally, address.parse().unwrap()) {
        Ok(slot) => {
            slots.entry(address.to_owned()).or_insert_with(Vec::new).push(slot);
            "in".to_owned()
        }
        Err(Full { network: Some(network), open, limit }) => format!("{network}: {open} of {limit}"),
        Err(Full { network: None, open, limit }) => format!("all: {open} of {limit}"),
    };
    for (address, expected) in [
        ("10.1.0.1", "in"),
        ("10.1.0.1", "in"),
        ("10.1.0.2", "10.1.0.0/16: 2 of 2"),
        ("10.2.0.1", "in"),
        ("10.3.0.1", "10.0.0.0/8: 3 of 3"),
        ("192.0.2.1", "in"),
        ("2001:db8::1", "in"),
        ("2001:db8::2", "all: 5 of 5"),
    ] {
        assert_eq!(admit(address), expected, "{address}");
    }
    slots.get_mut("10.1.0.1").unwrap().pop();
    assert_eq!(tally.open(), 4);
    // Fewer than are in: nobody is thrown out, and nobody comes in until enough have left.
    tally.set_limits(&listener(5, 1, 9));
    let tried = Tally::admit(&tally, "10.1.0.9".parse().unwrap());
    assert_eq!(tried.unwrap_err(), Full { network: Some("10.0.0.0/8".parse().unwrap()), open: 2, limit: 1 });
    slots.clear();
    assert_eq!(tally.open(), 0);
    assert!(Tally::admit(&tally, "10.1.0.9".parse().unwrap()).is_ok());
}
