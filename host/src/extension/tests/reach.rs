//! No sequence of host calls reaches a table, a key, a name server, a host or an address outside the grant, however it is
//! spelled: random grants, random sequences, and a model of what a grant means that shares no code with the host.
//!
//! The guest is `tests/components/reacher`. What it reaches is real: a store, tables, hosts and sockets on loopback, a name
//! server, and each notes what comes. Every spelling stands here with what it means, so that the model parses nothing.
//!
//! `PILLARBOX_GRANTS` is how many grants are tried, `PILLARBOX_SEED` the seed of the first.

use super::grants::{Much, listed, much, some};
use super::*;
use crate::config::{Dns, Http, TableType};
use crate::dns::Resolver;
use crate::http::Client;
use crate::kv::{Kv, Space};
use crate::session::policy::Answer;
use crate::table::Table;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use redb::{ReadableDatabase, ReadableTable};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Hosting, UdpSocket};
use tokio::task::JoinSet;

/// Tables, those of no grant among them.
const TABLES: [&str; 3] = ["open", "second", "secret"];
/// What is asked for as a table. All but the first three are none.
const TABLE_NAMES: [&str; 9] =
    ["open", "second", "secret", "Open", "open.txt", "./open", "secret/../open", "ｏpen", "openx"];

const NAMESPACES: [&str; 3] = ["greylist/", "rate/", "a/b/"];
/// Keys around the edges of the namespaces. There is a value under each.
const KEYS: [&str; 19] = [
    "greylist/x",
    "greylist/y",
    "greylist",
    "Greylist/x",
    "greylistx/y",
    "greylist/../rate/x",
    "/greylist/x",
    "./greylist/x",
    "greylist//x",
    "%67reylist/x",
    "greylist%2fx",
    "ｇreylist/x",
    "greylist∕x",
    "rate/x",
    "rate/../greylist/x",
    "other/x",
    "a/b/x",
    "a/x",
    "a/bx/x",
];

const KINDS: [&str; 4] = ["a", "mx", "txt", "ptr"];
const ZONES: [&str; 5] = ["granted.example", "example.net", "192.0.2.0/24", "2001:db8::/32", "2.0.192.in-addr.arpa"];
/// What is asked about as a name, and the name it is.
const NAMES: [(&str, Option<&str>); 21] = [
    ("granted.example", Some("granted.example")),
    ("GRANTED.example.", Some("granted.example")),
    ("x.granted.example", Some("x.granted.example")),
    ("xgranted.example", Some("xgranted.example")),
    ("example", Some("example")),
    ("granted.example.evil.example", Some("granted.example.evil.example")),
    ("a.b.Example.NET", Some("a.b.example.net")),
    ("my-example.net", Some("my-example.net")),
    ("evil.example", Some("evil.example")),
    ("7.2.0.192.in-addr.arpa", Some("7.2.0.192.in-addr.arpa")),
    ("granted.example..", None),
    (".granted.example", None),
    ("*.granted.example", None),
    ("gr%61nted.example", None),
    (r"evil.example\.granted.example", None),
    ("evil.example/.granted.example", None),
    ("evil.example@granted.example", None),
    ("granted。example", None),
    ("ｇranted.example", None),
    ("192.0.2.7", None),
    ("granted.example\0.evil.example", None),
];
/// The name that an address's names stand at, and the zones that is in.
type Reverse = (&'static str, &'static [&'static str]);
/// What is asked about as an address, and what it is.
const ADDRESSES: [(&str, Option<Reverse>); 12] = [
    ("192.0.2.7", Some(("7.2.0.192.in-addr.arpa", &["192.0.2.0/24", "2.0.192.in-addr.arpa"]))),
    ("::ffff:192.0.2.7", Some(("7.2.0.192.in-addr.arpa", &["192.0.2.0/24", "2.0.192.in-addr.arpa"]))),
    ("::FFFF:c000:0207", Some(("7.2.0.192.in-addr.arpa", &["192.0.2.0/24", "2.0.192.in-addr.arpa"]))),
    ("192.0.3.7", Some(("7.3.0.192.in-addr.arpa", &[]))),
    ("::192.0.2.7", Some(("7.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", &[]))),
    (
        "2001:DB8:0::7",
        Some(("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", &["2001:db8::/32"])),
    ),
    ("2001:db9::7", Some(("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.b.d.0.1.0.0.2.ip6.arpa", &[]))),
    ("192.0.2.07", None),
    ("3221225991", None),
    ("192.0.2.7/24", None),
    ("[2001:db8::7]", None),
    ("7.2.0.192.in-addr.arpa", None),
];

/// Where something listens. In the texts below `{N}` is the port, or for the last two the path.
const HOSTS: [usize; 3] = [0, 1, 2];
const SOCKETS: [usize; 5] = [3, 4, 5, 6, 7];

/// Hosts that may be granted: the schemes, the host in its one spelling, and where that leads.
const HTTP: [(&str, &[&str], &str, usize); 6] = [
    ("127.0.0.1:{0}", &["http", "https"], "127.0.0.1", 0),
    ("http://127.0.0.1:{0}", &["http"], "127.0.0.1", 0),
    ("https://127.0.0.1:{1}", &["https"], "127.0.0.1", 1),
    ("http://127.0.0.1:{1}", &["http"], "127.0.0.1", 1),
    ("LOCALHOST:{0}", &["http", "https"], "localhost", 0),
    ("http://[::ffff:127.0.0.1]:{1}", &["http"], "mapped", 1),
];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
/// What is asked for as a method. The last four are in no grant, not even in that of all.
const METHOD_NAMES: [&str; 7] = ["GET", "POST", "DELETE", "get", "TRACE", "CONNECT", "G\u{200b}ET"];
/// A scheme, a host and where that leads.
type Meant = (&'static str, &'static str, usize);
/// URLs, and what they name.
const URLS: [(&str, Option<Meant>); 39] = [
    ("http://127.0.0.1:{0}/x", Some(("http", "127.0.0.1", 0))),
    ("HTTP://127.0.0.1:{0}", Some(("http", "127.0.0.1", 0))),
    ("https://127.0.0.1:{0}/", Some(("https", "127.0.0.1", 0))),
    ("http://127.0.0.1:{1}/?a=b", Some(("http", "127.0.0.1", 1))),
    ("https://127.0.0.1:{1}/", Some(("https", "127.0.0.1", 1))),
    ("http://127.0.0.1:{2}/", Some(("http", "127.0.0.1", 2))),
    ("http://127.0.0.1:{3}/", Some(("http", "127.0.0.1", 3))),
    ("http://localhost:{0}/", Some(("http", "localhost", 0))),
    ("http://LocalHost:{0}/", Some(("http", "localhost", 0))),
    ("http://localhost:{2}/", Some(("http", "localhost", 2))),
    ("http://[::ffff:127.0.0.1]:{0}/", Some(("http", "mapped", 0))),
    ("http://[::ffff:127.0.0.1]:{1}/", Some(("http", "mapped", 1))),
    ("http://[::FFFF:7f00:0001]:{1}/", Some(("http", "mapped", 1))),
    ("http://127.0.0.1:{0}/@127.0.0.1:{2}/", Some(("http", "127.0.0.1", 0))),
    ("http://127.0.0.1:{0}?@127.0.0.1:{2}", Some(("http", "127.0.0.1", 0))),
    ("http://127.0.0.1:{2}/127.0.0.1:{0}/", Some(("http", "127.0.0.1", 2))),
    ("http://127.0.0.1:{0}/../../x", Some(("http", "127.0.0.1", 0))),
    ("http://127.0.0.1:{0}@127.0.0.1:{2}/", None),
    ("http://user:pw@127.0.0.1:{0}/", None),
    ("http://@127.0.0.1:{0}/", None),
    (r"http://127.0.0.1:{0}\@127.0.0.1:{2}/", None),
    (r"http://127.0.0.1:{2}\.127.0.0.1:{0}/", None),
    ("http://127.0.0.1:{0}#@127.0.0.1:{2}/", None),
    ("http://127%2e0.0.1:{0}/", None),
    ("http://%6cocalhost:{0}/", None),
    ("http://localhost.:{0}/", None),
    ("http://localhost%00.evil.example:{0}/", None),
    ("http://127.0.0.1.:{0}/", None),
    ("http://127.1:{0}/", None),
    ("http://2130706433:{0}/", None),
    ("http://0x7f000001:{0}/", None),
    ("http://0177.0.0.1:{0}/", None),
    ("http://127.0.0.1:0{0}/", None),
    ("http://１27.0.0.1:{0}/", None),
    ("http://127。0。0。1:{0}/", None),
    ("http://[127.0.0.1]:{0}/", None),
    ("//127.0.0.1:{0}/", None),
    ("ftp://127.0.0.1:{0}/", None),
    ("http:127.0.0.1:{0}", None),
];

/// Addresses of streams that may be granted.
const STREAMS: [&str; 5] =
    ["127.0.0.1:{3}", "localhost:{4}", "[::ffff:127.0.0.1]:{3}", "unix:{6}", "unix:{directory}/./granted.sock"];
/// What is asked for as an address, that in the one spelling a grant has, and where it leads.
const STREAM_NAMES: [(&str, Option<(&str, usize)>); 29] = [
    ("127.0.0.1:{3}", Some(("127.0.0.1:{3}", 3))),
    ("127.0.0.1:{4}", Some(("127.0.0.1:{4}", 4))),
    ("127.0.0.1:{5}", Some(("127.0.0.1:{5}", 5))),
    ("127.0.0.1:{0}", Some(("127.0.0.1:{0}", 0))),
    ("localhost:{3}", Some(("localhost:{3}", 3))),
    ("localhost:{4}", Some(("localhost:{4}", 4))),
    ("LOCALHOST:{4}", Some(("localhost:{4}", 4))),
    ("[::ffff:127.0.0.1]:{3}", Some(("[::ffff:127.0.0.1]:{3}", 3))),
    ("[::FFFF:7f00:1]:{3}", Some(("[::ffff:127.0.0.1]:{3}", 3))),
    ("[::ffff:127.0.0.1]:{4}", Some(("[::ffff:127.0.0.1]:{4}", 4))),
    ("unix:{6}", Some(("unix:{6}", 6))),
    ("unix:{7}", Some(("unix:{7}", 7))),
    ("unix:{directory}/./granted.sock", Some(("unix:{directory}/./granted.sock", 6))),
    ("unix:{directory}//granted.sock", Some(("unix:{directory}//granted.sock", 6))),
    ("unix:{directory}/../{directory}/granted.sock", Some(("unix:{directory}/../{directory}/granted.sock", 6))),
    ("unix:{6}/../other.sock", Some(("unix:{6}/../other.sock", 7))),
    ("UNIX:{6}", None),
    ("unix:granted.sock", None),
    ("unix:", None),
    ("localhost.:{4}", None),
    ("localhost:0{4}", None),
    ("localhost:+{4}", None),
    ("user@localhost:{4}", None),
    ("localhost%00:{4}", None),
    ("127.1:{3}", None),
    ("2130706433:{3}", None),
    ("0x7f.0.0.1:{3}", None),
    ("127.0.0.1", None),
    ("tcp://127.0.0.1:{3}", None),
];

/// How much of `dns` is granted.
#[derive(Clone, Debug)]
enum Asking {
    None,
    All,
    Narrow(Option<Vec<&'static str>>, Option<Vec<&'static str>>),
}

/// A grant, as the model has it.
#[derive(Clone, Debug)]
struct Rights {
    table: Much,
    /// None where it is `false`.
    kv: Vec<&'static str>,
    dns: Asking,
    /// Places in `HTTP`, none where it is `false`, and methods, if it is narrowed to some.
    http: Option<(Vec<usize>, Option<Vec<&'static str>>)>,
    stream: Option<Vec<&'static str>>,
    clock: bool,
    random: bool,
    metrics: bool,
}

impl Rights {
    fn random(numbers: &mut Numbers) -> Rights {
        let perhaps = |numbers: &mut Numbers, names: &[&'static str]| match numbers.once_in(3) {
            true => None,
            false => Some(some(numbers, names)),
        };
        Rights {
            table: much(numbers, &TABLES[..2]),
            kv: some(numbers, &NAMESPACES),
            dns: match numbers.below(5) {
                0 => Asking::None,
                1 => Asking::All,
                _ => Asking::Narrow(perhaps(numbers, &KINDS), perhaps(numbers, &ZONES)),
            },
            http: match numbers.once_in(4) {
                true => None,
                false => {
                    let hosts = (0..HTTP.len()).filter(|_| numbers.once_in(2)).collect();
                    Some((hosts, perhaps(numbers, &METHODS)))
                }
            },
            stream: (!numbers.once_in(4)).then(|| STREAMS.into_iter().filter(|_| numbers.once_in(2)).collect()),
            clock: numbers.once_in(2),
            random: numbers.once_in(2),
            metrics: numbers.once_in(2),
        }
    }

    fn lines(&self, world: &World) -> String {
        let written = |names: &[&str]| listed(&names.iter().map(|name| name.trim()).collect::<Vec<_>>());
        let kv = if self.kv.is_empty() { "false".to_owned() } else { written(&self.kv) };
        let narrowed =
            |key: &str, names: &Option<Vec<&str>>| names.as_ref().map(|names| format!("{key} = {}", written(names)));
        let dns = match &self.dns {
            Asking::None => "false".to_owned(),
            Asking::All => "true".to_owned(),
            Asking::Narrow(kinds, zones) => {
                let parts: Vec<String> =
                    [narrowed("types", kinds), narrowed("zones", zones)].into_iter().flatten().collect();
                format!("{{ {} }}", parts.join(", "))
            }
        };
        let http = self.http.as_ref().map_or("false".to_owned(), |(hosts, methods)| {
            let hosts = hosts.iter().map(|at| HTTP[*at].0).collect();
            let parts: Vec<String> =
                [narrowed("hosts", &Some(hosts)), narrowed("methods", methods)].into_iter().flatten().collect();
            format!("{{ {} }}", parts.join(", "))
        });
        let stream = self.stream.as_ref().map_or("false".to_owned(), |addresses| written(addresses));
        let lines = [
            self.table.line("table"),
            format!("grant.kv = {kv}\ngrant.dns = {dns}\ngrant.http = {http}\ngrant.stream = {stream}\n"),
            format!("grant.clock = {}\ngrant.random = {}\n", self.clock, self.random),
            format!("grant.metrics = {}\n", self.metrics),
        ];
        world.spelled(&lines.concat())
    }

    fn may_keep(&self, key: &str) -> bool {
        self.kv.iter().any(|space| key.get(..space.len()) == Some(space))
    }

    fn may_ask(&self, kind: &str, within: impl Fn(&str) -> bool) -> bool {
        match &self.dns {
            Asking::None => false,
            Asking::All => true,
            Asking::Narrow(kinds, zones) => {
                kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
                    && zones.as_ref().is_none_or(|zones| zones.iter().any(|zone| within(zone)))
            }
        }
    }

    fn may_call(&self, method: &str, (scheme, host, place): Meant) -> bool {
        let Some((hosts, methods)) = &self.http else { return false };
        let granted = |at: &usize| {
            let (_, schemes, name, leads) = HTTP[*at];
            schemes.contains(&scheme) && (name, leads) == (host, place)
        };
        let methods = methods.as_deref().unwrap_or(&METHODS);
        hosts.iter().any(granted) && methods.contains(&method)
    }
}

/// Whether a name is a zone or lies below it, label by label.
fn lies_in(name: &str, zone: &str) -> bool {
    let (name, zone): (Vec<&str>, Vec<&str>) = (name.rsplit('.').collect(), zone.rsplit('.').collect());
    name.get(..zone.len()) == Some(&zone)
}

/// What comes of a call by the model.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Denied,
    Invalid,
    /// Exactly this.
    Is(String),
    /// It goes through, and where it says `ok` this has arrived; where it fails it may have.
    Reaches(Vec<String>),
}

/// What there is to be reached, and what it noted.
struct World {
    ports: Vec<u16>,
    paths: [String; 2],
    directory: TempDir,
    streams: Vec<TcpListener>,
    sockets: Vec<UnixListener>,
    noted: Arc<Mutex<Vec<String>>>,
    names: std::net::SocketAddr,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let (noted, mut tasks) = (Arc::<Mutex<Vec<String>>>::default(), JoinSet::new());
        let mut hosts = Vec::new();
        for _ in HOSTS {
            hosts.push(Hosting::bind("127.0.0.1:0").await.unwrap());
        }
        let streams: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let paths = ["granted", "other"].map(|name| directory.path().join(format!("{name}.sock")));
        let sockets: Vec<UnixListener> = paths.iter().map(|path| UnixListener::bind(path).unwrap()).collect();
        streams.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        sockets.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
        let ports: Vec<u16> = hosts
            .iter()
            .map(|host| port(host.local_addr()))
            .chain(streams.iter().map(|at| port(at.local_addr())))
            .collect();
        let elsewhere = format!("http://127.0.0.1:{}/", ports[2]);
        for (place, host) in hosts.into_iter().enumerate() {
            tasks.spawn(serve(host, place, elsewhere.clone(), noted.clone()));
        }
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = server.local_addr().unwrap();
        tasks.spawn(answer(server, noted.clone()));
        let paths = paths.map(|path| path.to_str().unwrap().to_owned());
        World { ports, paths, directory, streams, sockets, noted, names, _tasks: tasks }
    }

    /// A text with its places filled in.
    fn spelled(&self, text: &str) -> String {
        let mut text = text.replace("{directory}", self.directory.path().to_str().unwrap());
        for (place, port) in self.ports.iter().enumerate() {
            text = text.replace(&format!("{{{place}}}"), &port.to_string());
        }
        text.replace("{6}", &self.paths[0]).replace("{7}", &self.paths[1])
    }

    /// What has arrived since it was last asked.
    fn arrived(&self) -> BTreeSet<String> {
        let mut arrived = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        // Whoever connected is in the queue of the listener, even where it has left again.
        for (listener, place) in self.streams.iter().zip(SOCKETS) {
            arrived.extend(std::iter::from_fn(|| listener.accept().ok()).map(|_| format!("stream {place}")));
        }
        for (listener, place) in self.sockets.iter().zip(&SOCKETS[3..]) {
            arrived.extend(std::iter::from_fn(|| listener.accept().ok()).map(|_| format!("stream {place}")));
        }
        arrived.into_iter().collect()
    }
}

/// A host that notes each request and sends everybody elsewhere.
async fn serve(listener: Hosting, place: usize, elsewhere: String, noted: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (noted, elsewhere) = (noted.clone(), elsewhere.clone());
        tokio::spawn(async move {
            let mut head = Vec::new();
            let note = |text: &str| noted.lock().unwrap().push(format!("{text} {place}"));
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    // A handshake of TLS, which ends here.
                    Ok(0x16) if head.is_empty() => return note("tls"),
                    Ok(octet) => head.push(octet),
                    Err(_) => return note("connection"),
                }
            }
            note(String::from_utf8(head).unwrap().split(' ').next().unwrap());
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// A name server that notes each question and knows no name.
async fn answer(server: UdpSocket, noted: Arc<Mutex<Vec<String>>>) {
    let mut octets = [0; 1500];
    loop {
        let (length, from) = server.recv_from(&mut octets).await.unwrap();
        let asked = Message::from_vec(&octets[..length]).unwrap();
        let question = asked.queries[0].clone();
        noted.lock().unwrap().push(format!("{} {}", question.name.to_lowercase().to_ascii(), question.query_type));
        let mut answer = Message::response(asked.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.metadata.response_code = ResponseCode::NXDomain;
        answer.add_query(question);
        server.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

/// What the model knows of: rights, and what there is in the store and in the counters.
struct Model<'a> {
    rights: &'a Rights,
    world: &'a World,
    kept: BTreeMap<String, String>,
    series: BTreeMap<String, u64>,
}

/// One call: its words, and what comes of it.
type Draw = fn(&mut Numbers, &mut Model<'_>) -> (String, Expected);

impl Model<'_> {
    /// Through or not, by the grant of all or nothing.
    fn simply(granted: bool, said: &str) -> Expected {
        if granted { Expected::Is(said.to_owned()) } else { Expected::Denied }
    }

    /// A call on the store at a random key; `with` says what comes of it where it is granted.
    fn store(
        &mut self,
        numbers: &mut Numbers,
        with: impl FnOnce(&mut BTreeMap<String, String>, &str) -> Expected,
    ) -> (String, Expected) {
        let key = *numbers.pick(&KEYS);
        match self.rights.may_keep(key) {
            true => (key.to_owned(), with(&mut self.kept, key)),
            false => (key.to_owned(), Expected::Denied),
        }
    }

    fn names(&self, numbers: &mut Numbers, kind: &str, asked: &[&str]) -> (String, Expected) {
        let (text, name) = *numbers.pick(&NAMES);
        let expected = match name {
            _ if matches!(self.rights.dns, Asking::None) => Expected::Denied,
            None => Expected::Invalid,
            Some(name) if self.rights.may_ask(kind, |zone| lies_in(name, zone)) => {
                Expected::Reaches(asked.iter().map(|kind| format!("{name}. {kind}")).collect())
            }
            Some(_) => Expected::Denied,
        };
        (text.to_owned(), expected)
    }

    fn handle(&self, numbers: &mut Numbers) -> (String, Expected) {
        let expected = if self.rights.stream.is_some() { Expected::Invalid } else { Expected::Denied };
        // The handles of calls before are small numbers, and lead nowhere in this one.
        let handle = if numbers.once_in(2) { "4000000000" } else { "4294967295" };
        (handle.to_owned(), expected)
    }
}

fn request(numbers: &mut Numbers, model: &mut Model<'_>) -> (String, Expected) {
    let (url, meant) = if numbers.once_in(2) { *numbers.pick(&URLS[..8]) } else { *numbers.pick(&URLS) };
    let method = if numbers.once_in(2) { *numbers.pick(&METHOD_NAMES) } else { "GET" };
    let framing = ["Host=127.0.0.1", "Content-Length=3", "Transfer-Encoding=chunked"];
    let header = if numbers.once_in(6) { *numbers.pick(&framing) } else { "X-A=b" };
    let expected = match meant {
        _ if model.rights.http.is_none() => Expected::Denied,
        None => Expected::Invalid,
        Some(meant) if !model.rights.may_call(method, meant) => Expected::Denied,
        Some(_) if header != "X-A=b" => Expected::Invalid,
        Some(("https", _, place)) => Expected::Reaches(vec![format!("tls {place}")]),
        Some((_, _, place)) => Expected::Reaches(vec![format!("{method} {place}")]),
    };
    (model.world.spelled(&format!("{method} {url} {header}")), expected)
}

fn stream(numbers: &mut Numbers, model: &mut Model<'_>) -> (String, Expected) {
    let (text, meant) = *numbers.pick(&STREAM_NAMES);
    let expected = match (meant, &model.rights.stream) {
        (_, None) => Expected::Denied,
        (None, Some(_)) => Expected::Invalid,
        (Some((one, place)), Some(granted)) if granted.contains(&one) => {
            Expected::Reaches(vec![format!("stream {place}")])
        }
        (Some(_), Some(_)) => Expected::Denied,
    };
    (model.world.spelled(text), expected)
}

const CALLS: &[(&str, Draw)] = &[
    ("table.lookup", |numbers, model| {
        let name = *numbers.pick(&TABLE_NAMES);
        let granted = TABLES.contains(&name) && model.rights.table.named(name);
        (format!("{name} key"), Model::simply(granted, &format!(r#"ok Some("canary-{name}")"#)))
    }),
    ("kv.get", |numbers, model| model.store(numbers, |kept, key| Expected::Is(format!("ok {:?}", kept.get(key))))),
    ("kv.set", |numbers, model| {
        let value = format!("{}", 500 + numbers.below(400));
        let (key, expected) = model.store(numbers, |kept, key| {
            kept.insert(key.to_owned(), value.clone());
            Expected::Is("ok ()".to_owned())
        });
        (format!("{key} {value}"), expected)
    }),
    ("kv.unset", |numbers, model| {
        model.store(numbers, |kept, key| {
            kept.remove(key);
            Expected::Is("ok ()".to_owned())
        })
    }),
    ("kv.increment", |numbers, model| {
        let (key, expected) = model.store(numbers, |kept, key| {
            let sum = kept.get(key).map_or(0, |value| value.parse::<i64>().unwrap()) + 1;
            kept.insert(key.to_owned(), sum.to_string());
            Expected::Is(format!("ok {sum}"))
        });
        (format!("{key} 1"), expected)
    }),
    ("dns.addresses", |numbers, model| model.names(numbers, "a", &["A", "AAAA"])),
    ("dns.mail-exchangers", |numbers, model| model.names(numbers, "mx", &["MX"])),
    ("dns.texts", |numbers, model| model.names(numbers, "txt", &["TXT"])),
    ("dns.pointers", |numbers, model| {
        let (text, address) = *numbers.pick(&ADDRESSES);
        let expected = match address {
            _ if matches!(model.rights.dns, Asking::None) => Expected::Denied,
            None => Expected::Invalid,
            Some((name, zones)) if model.rights.may_ask("ptr", |zone| zones.contains(&zone)) => {
                Expected::Reaches(vec![format!("{name}. PTR")])
            }
            Some(_) => Expected::Denied,
        };
        (text.to_owned(), expected)
    }),
    // More often than the others: there is much to spell.
    ("http.send", request),
    ("http.send", request),
    ("http.send", request),
    ("stream.open", stream),
    ("stream.open", stream),
    ("stream.read", |numbers, model| model.handle(numbers)),
    ("stream.close", |numbers, model| model.handle(numbers)),
    ("clock.now", |_, model| (String::new(), Model::simply(model.rights.clock, "ok true"))),
    ("clock.monotonic", |_, model| (String::new(), Model::simply(model.rights.clock, "ok true"))),
    ("random.bytes", |_, model| ("16".to_owned(), Model::simply(model.rights.random, "ok 16"))),
    ("metrics.count", |numbers, model| {
        let (name, label) = (*numbers.pick(&["seen", "kept"]), *numbers.pick(&["a", "b"]));
        if model.rights.metrics {
            *model.series.entry(format!("{name}{{zone=\"{label}\"}}")).or_default() += 3;
        }
        (format!("{name} 3 zone={label}"), Model::simply(model.rights.metrics, "ok ()"))
    }),
];

/// A value that nobody else has, and that can be counted up for long without becoming another's.
fn canary(place: usize) -> String {
    (71_000_000 + place * 1000).to_string()
}

/// Everything that is in the file of a store.
fn everything(directory: &Path) -> BTreeMap<String, String> {
    const ENTRIES: redb::TableDefinition<'static, &'static str, (u64, &'static [u8])> =
        redb::TableDefinition::new("entries");
    let database = redb::Database::open(directory.join(crate::kv::FILE)).unwrap();
    let reading = database.begin_read().unwrap();
    let entries = reading.open_table(ENTRIES).unwrap();
    let mut all = BTreeMap::new();
    for row in entries.iter().unwrap() {
        let (key, value) = row.unwrap();
        all.insert(key.value().to_owned(), String::from_utf8(value.value().1.to_vec()).unwrap());
    }
    all
}

impl Bench {
    /// The counters that `guest` keeps itself.
    fn series(&self) -> BTreeMap<String, u64> {
        self.counters.snapshot().extensions.into_iter().flat_map(|extension| extension.series).collect()
    }
}

#[tokio::test]
async fn nothing_beyond_the_session_is_reached_outside_the_grant() {
    let (seed, count) = (number("PILLARBOX_SEED", 1), number("PILLARBOX_GRANTS", 200));
    let (bench, world) = (Bench::new(), World::new().await);
    bench.keep_guest("reacher");
    let mut extension =
        "limits.wall = \"60s\"\nlimits.cpu = \"10s\"\nlimits.http = 100\nlimits.handles = 100\n".to_owned();
    let mut tables = BTreeMap::new();
    for name in TABLES {
        let file = bench.directory.path().join(format!("{name}.txt"));
        fs::write(&file, format!("key canary-{name}\n")).unwrap();
        tables.insert(name.to_owned(), Table::load(&file, TableType::Hash).unwrap());
        extension.push_str(&format!("[table.{name}]\nfile = \"{name}.txt\"\n"));
    }
    let tables = Arc::new(tables);
    let http = Arc::new(Client::new(&Http { timeout: Duration::from_secs(10), ..Http::default() }).unwrap());
    // One store for all, for to begin one takes the disk its time: what is outside of every grant stays until the end.
    let directory = tempfile::tempdir().unwrap();
    let kv = Kv::open(directory.path(), Arc::new(|| 1_700_000_000_000)).unwrap();
    let mut left = BTreeMap::new();
    let (mut denied, mut done) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    let mut everywhere = BTreeSet::new();
    for seed in seed..seed + count {
        let mut numbers = Numbers(seed);
        let rights = Rights::random(&mut numbers);
        let lines = rights.lines(&world);
        let mut kept = BTreeMap::new();
        for (place, key) in KEYS.into_iter().enumerate() {
            kv.set(Space { name: "", quota: 1 << 20 }, key, canary(place).into_bytes(), 0).await.unwrap();
            kept.insert(key.to_owned(), canary(place));
        }
        // What one has asked is remembered: each asks anew.
        let names = Resolver::new(&Dns { servers: vec![world.names], timeout: Duration::from_secs(20) }).unwrap();
        let services = Services {
            kv: Some(kv.clone()),
            tables: tables.clone(),
            names: Some(Arc::new(names)),
            http: Some(http.clone()),
        };
        let config = bench.config("reacher", &lines, &extension);
        let config = config.unwrap_or_else(|problems| panic!("seed {seed}: {problems}\n{lines}"));
        let loaded = bench.runtime.load(&config, &services).await;
        let roster = roster(loaded.unwrap_or_else(|problems| panic!("seed {seed}: {problems}\n{lines}")));
        let (mut policy, mut facts) = (policy(&roster), facts());
        let mut model = Model { rights: &rights, world: &world, kept, series: bench.series() };
        let mut asked = BTreeSet::new();
        for _ in 0..8 {
            let calls: Vec<(&str, String, Expected)> = (0..=numbers.below(6))
                .map(|_| {
                    let (name, draw) = numbers.pick(CALLS);
                    let (words, expected) = draw(&mut numbers, &mut model);
                    (*name, format!("{name} {words}").trim().to_owned(), expected)
                })
                .collect();
            // What there is to be said of a denial stands behind it.
            let texts: Vec<&str> = calls.iter().flat_map(|(_, text, _)| [text.as_str(), "why"]).collect();
            let what = format!("seed {seed}, {texts:?} with\n{lines}");
            let mut counted = bench.denials();
            let answer = policy.command("XREACH", &texts.join(";"), &mut facts).await;
            let Answer::Done(reply, _) = answer else { panic!("{what}: {answer:?}") };
            let said: Vec<&str> = reply.lines().collect();
            assert_eq!(said.len(), texts.len(), "{what}: {reply}");
            let arrived = world.arrived();
            let mut may_arrive = BTreeSet::new();
            for (said, (name, text, expected)) in said.chunks(2).zip(&calls) {
                let [said, why] = *said else { panic!("{what}: {said:?}") };
                let what = format!("{text} said {said}, {why}: {what}");
                assert_eq!(said == "denied", *expected == Expected::Denied, "{what}");
                assert_eq!(said.starts_with("invalid: "), *expected == Expected::Invalid, "{what}");
                match expected {
                    Expected::Denied => names_the_grant(why, name.split('.').next().unwrap(), &lines, &what),
                    Expected::Is(exactly) => assert_eq!(said, exactly, "{what}"),
                    Expected::Invalid => {}
                    Expected::Reaches(places) => {
                        // A name server is asked once.
                        let once = |place: &String| name.starts_with("dns.") && asked.contains(place);
                        let known = |place: &String| arrived.contains(place) || once(place);
                        assert!(!said.starts_with("ok") || places.iter().all(known), "{what}: {arrived:?}");
                        may_arrive.extend(places.iter().cloned());
                    }
                }
                let tried = if *expected == Expected::Denied { &mut denied } else { &mut done };
                *tried.entry(*name).or_default() += 1;
            }
            assert!(arrived.is_subset(&may_arrive), "{what}: {arrived:?} and not {may_arrive:?}");
            asked.extend(may_arrive);
            let secrets = TABLES.into_iter().map(|name| (format!("canary-{name}"), rights.table.named(name)));
            let keys = KEYS.into_iter().enumerate().map(|(place, key)| (canary(place), rights.may_keep(key)));
            for (secret, may) in secrets.chain(keys) {
                assert!(may || !reply.to_string().contains(&secret), "{what}: {secret} is told\n{reply}");
            }
            everywhere.extend(arrived);
            let lacking = calls.iter().filter(|(_, _, expected)| *expected == Expected::Denied);
            tally(&mut counted, lacking.map(|(name, ..)| name.split('.').next().unwrap()));
            assert_eq!(bench.denials(), counted, "{what}");
            assert_eq!(bench.series(), model.series, "{what}");
        }
        for key in KEYS {
            let value = kv.get(key).await.unwrap().map(|value| String::from_utf8(value).unwrap());
            assert_eq!(value.as_ref(), model.kept.get(key), "{key}, seed {seed} with\n{lines}");
        }
        left = model.kept;
    }
    kv.close().await;
    assert_eq!(everything(directory.path()), left);
    for (name, _) in CALLS.iter().filter(|_| count >= 100) {
        assert!(done.contains_key(name), "{name} was never covered");
        assert!(denied.contains_key(name), "{name} was never refused");
    }
    for place in ["GET 0", "POST 0", "DELETE 0", "GET 1", "tls 0", "tls 1", "stream 3", "stream 4", "stream 6"] {
        assert!(everywhere.contains(place) || count < 100, "{place} was never reached: {everywhere:?}");
    }
    assert!(bench.failures().is_empty(), "{:?}", bench.failures());
}
