//! Every store under one model: random calls, of which each answer is foretold by a few lines that share nothing with any
//! of the stores. Servers are Debian's, on loopback; where they are not installed the test says so, and `PILLARBOX_CLIENTS`
//! in the environment, as `cargo xtask test --clients` puts it there, makes that a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::config::{Host, KvNats, KvRedis, NatsServers};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const BEGINNING: u64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server at an address of its own. Dropped, it is killed.
struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
    program: &'static str,
    arguments: Vec<String>,
}

impl Server {
    fn start(program: &'static str) -> Option<Server> {
        Server::start_with(program, tempfile::tempdir().unwrap(), Vec::new())
    }

    /// One with arguments of the test's own; for Redis they stand in place of its port, where they name another.
    fn start_with(program: &'static str, directory: TempDir, arguments: Vec<String>) -> Option<Server> {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let Some(child) = run(program, port, &directory, &arguments) else {
            assert!(std::env::var_os("PILLARBOX_CLIENTS").is_none(), "there is no {program}");
            println!("not tried: there is no {program}");
            return None;
        };
        let server = Server { child, port, directory, program, arguments };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        let began = std::time::Instant::now();
        while TcpStream::connect((address(), self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "{} does not listen", self.program);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Its first database, without anything to be let in by.
    fn redis(&self) -> KvRedis {
        KvRedis {
            host: Host::Address(IpAddr::V4(address())),
            port: self.port,
            database: 1,
            tls: false,
            authorities: None,
            user: None,
            password_file: None,
        }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = run(self.program, self.port, &self.directory, &self.arguments).unwrap();
        self.wait();
    }

    /// Its store by the clock of the stage.
    fn store(&self, now: &Arc<AtomicU64>) -> Kv {
        let host = Host::Address(IpAddr::V4(address()));
        let now = now.clone();
        let clock: Clock = Arc::new(move || now.load(Ordering::SeqCst));
        Kv(Backend::Own(match self.program {
            "nats-server" => {
                let servers = NatsServers { hosts: vec![(host, self.port)], ..NatsServers::default() };
                let config = KvNats { servers, bucket: "test".to_owned() };
                Keeper::Nats(Bucket::new(&config, PATIENCE, clock).unwrap())
            }
            _ => {
                let config = KvRedis { host, ..self.redis() };
                Keeper::Redis(Redis::new(&config, PATIENCE, clock).unwrap().by_own_clock())
            }
        }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This process's own on the loopback interface: a port found free on `127.0.0.1` can be given to a connection before the
/// server has it.
fn address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + high, middle, low)
}

fn run(program: &str, port: u16, directory: &TempDir, arguments: &[String]) -> Option<Child> {
    let unpacked = std::env::var_os("PILLARBOX_CLIENTS").map(|clients| Path::new(&clients).join("nats-server"));
    let unpacked = unpacked.map(|place| place.join("usr/sbin/nats-server")).filter(|file| file.exists());
    let mut command = match program {
        "nats-server" => Command::new(unpacked.unwrap_or_else(|| PathBuf::from("nats-server"))),
        _ => Command::new("redis-check-rdb"),
    };
    // Debian's Redis is one program that goes by the name it was called by.
    command.arg0(program);
    let (address, port) = (address().to_string(), port.to_string());
    let path = directory.path();
    match program {
        "nats-server" => command.args(["-a", &address, "-p", &port, "-js", "-sd"]).arg(path),
        _ => {
            command.args(["--bind", &address, "--appendonly", "yes", "--save", ""]);
            let encrypted = arguments.iter().any(|argument| argument.starts_with("--tls"));
            command.args(if encrypted { ["--port", "0", "--tls-port"] } else { ["--save", "", "--port"] }).arg(&port);
            command.arg("--dir").arg(path).args(["--appendfsync", "always"])
        }
    };
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// What is said of every store: it answers as this does.
#[derive(Default)]
struct Model(BTreeMap<String, (u64, Vec<u8>)>);

impl Model {
    fn alive(&mut self, now: u64) {
        self.0.retain(|_, (until, _)| *until == 0 || *until > now);
    }

    fn used(&self, space: &str) -> u64 {
        let inside = self.0.iter().filter(|(key, _)| key.starts_with(space));
        inside.map(|(key, (_, value))| (key.len() + value.len()) as u64).sum()
    }

    fn put(&mut self, space: &str, quota: u64, key: &str, until: u64, value: Vec<u8>) -> Result<(), KvError> {
        let before = self.0.get(key).map_or(0, |(_, old)| (key.len() + old.len()) as u64);
        let after = (key.len() + value.len()) as u64;
        if after > before && self.used(space) - before + after > quota {
            return Err(KvError::Full);
        }
        self.0.insert(key.to_owned(), (until, value));
        Ok(())
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_of<'a, T: ?Sized>(&mut self, things: &[&'a T]) -> &'a T {
        things[usize::try_from(self.roll(things.len() as u64)).unwrap()]
    }
}

async fn follows_the_model(kv: &Kv, now: &AtomicU64, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let spaces = [("a/", 300), ("a/b/", 120), ("c/", 200)];
    for step in 0..steps {
        let time = now.load(Ordering::SeqCst);
        model.alive(time);
        let (space, quota) = spaces[usize::try_from(dice.roll(3)).unwrap()];
        let name = dice.one_of(&["x", "y", "n", "\u{e9}*> .=", "long-enough-to-weigh-something", "b/z"]);
        let key = format!("{space}{name}");
        let ttl = [0, 1, 5, 1000][usize::try_from(dice.roll(4)).unwrap()];
        let until = if ttl == 0 { 0 } else { time + ttl * 1000 };
        let what = format!("seed {seed} step {step}: {key} ttl {ttl}");
        let place = Space { name: space, quota };
        match dice.roll(10) {
            0..=2 => {
                let value = model.0.get(&key).map(|(_, value)| value.clone());
                assert_eq!(kv.get(&key).await, Ok(value), "get {what}");
            }
            3..=5 => {
                let value = match dice.roll(3) {
                    0 => dice
                        .one_of(&["", "-7", "9223372036854775807", "+5", "007", "-0", "1.5", "-"])
                        .as_bytes()
                        .to_vec(),
                    _ => vec![b'v'; usize::try_from(dice.roll(60)).unwrap()],
                };
                let expected = model.put(space, quota, &key, until, value.clone());
                assert_eq!(kv.set(place, &key, value.clone(), ttl).await, expected, "set {} {what}", value.len());
            }
            6 => {
                model.0.remove(&key);
                assert_eq!(kv.unset(&key).await, Ok(()), "unset {what}");
            }
            7 | 8 => {
                let by = [1, -3, 9_007_199_254_740_993, i64::MIN][usize::try_from(dice.roll(4)).unwrap()];
                let old = model.0.get(&key).cloned();
                let number = old.as_ref().map(|(_, value)| std::str::from_utf8(value).unwrap().parse::<i64>());
                let expected = match number {
                    Some(Err(_)) => Err(KvError::NotACounter),
                    other => other.map_or(0, Result::unwrap).checked_add(by).ok_or(KvError::Overflow),
                };
                let expected = expected.and_then(|sum| {
                    let until = old.map_or(until, |(until, _)| until);
                    model.put(space, quota, &key, until, sum.to_string().into_bytes()).map(|()| sum)
                });
                assert_eq!(kv.increment(place, &key, by, ttl).await, expected, "increment {by} {what}");
            }
            _ => _ = now.fetch_add([1000, 2000, 10_000][usize::try_from(dice.roll(3)).unwrap()], Ordering::SeqCst),
        }
    }
}

#[tokio::test]
async fn the_file_follows_the_model() {
    for seed in 1..=4 {
        let (directory, now) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(BEGINNING)));
        let clock = now.clone();
        let kv = Kv::open(directory.path(), Arc::new(move || clock.load(Ordering::SeqCst))).unwrap();
        follows_the_model(&kv, &now, seed, 2000).await;
    }
}

#[tokio::test]
async fn servers_follow_the_model() {
    for program in ["redis-server", "nats-server"] {
        for seed in 1..=2 {
            let Some(server) = Server::start(program) else { continue };
            let now = Arc::new(AtomicU64::new(BEGINNING));
            follows_the_model(&server.store(&now), &now, seed, 1000).await;
        }
    }
}

/// Two hosts of a fleet: what one writes the other reads, and no two calls answer the same sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_counts_together() {
    for program in ["redis-server", "nats-server"] {
        let Some(server) = Server::start(program) else { continue };
        let now = Arc::new(AtomicU64::new(BEGINNING));
        let hosts = [server.store(&now), server.store(&now)];
        let wide = Space { name: "a/", quota: 1 << 20 };
        // The bucket is there: two that have it made in the same moment can end a NATS server of version 2.9.
        assert_eq!(hosts[0].get("a/n").await, Ok(None), "{program}");
        let calls = (0..200).map(|number: usize| {
            let kv = hosts[number % 2].clone();
            tokio::spawn(async move { kv.increment(wide, "a/n", 1, 0).await.unwrap() })
        });
        let mut sums = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            sums.push(call.await.unwrap());
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=200).collect::<Vec<_>>(), "{program}");
        hosts[0].set(wide, "a/x", b"one".to_vec(), 10).await.unwrap();
        assert_eq!(hosts[1].get("a/x").await, Ok(Some(b"one".to_vec())), "{program}");
        // A view of a shared store writes nothing there.
        let view = hosts[1].shadow();
        assert_eq!(view.increment(wide, "a/n", 1, 0).await, Ok(201), "{program}");
        assert_eq!(hosts[0].get("a/n").await, Ok(Some(b"200".to_vec())), "{program}");
    }
}

/// Killed and started again: calls fail meanwhile and work afterwards, and what was acknowledged is there.
#[tokio::test]
async fn a_server_that_was_killed_has_what_it_acknowledged() {
    for program in ["redis-server", "nats-server"] {
        let Some(mut server) = Server::start(program) else { continue };
        let now = Arc::new(AtomicU64::new(BEGINNING));
        let kv = server.store(&now);
        let wide = Space { name: "a/", quota: 1 << 20 };
        let mut sum = 0;
        for round in 0..3 {
            for _ in 0..20 {
                sum = kv.increment(wide, "a/n", 1, 0).await.unwrap();
            }
            server.kill();
            assert_eq!(kv.get("a/n").await, Err(KvError::Unavailable), "{program} {round}");
            server.start_again();
            let began = std::time::Instant::now();
            let found = loop {
                match kv.get("a/n").await {
                    Ok(found) => break found,
                    Err(error) => assert!(began.elapsed() < PATIENCE, "{program} {round}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            assert_eq!(found, Some(sum.to_string().into_bytes()), "{program} {round}");
        }
    }
}

/// Waits until the store is let in, which it is to be without anybody's word.
async fn works(kv: &Kv) {
    let began = std::time::Instant::now();
    while let Err(error) = kv.get("a/n").await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A database with a number, behind TLS, a user and a password: whatever of it is wrong makes calls fail, and whoever mends
/// the file restarts nothing.
#[tokio::test]
async fn an_encrypted_database_lets_in_who_knows_the_password() {
    let names = || vec![address().to_string()];
    let [ours, others] = [0, 1].map(|_| rcgen::generate_simple_self_signed(names()).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    put("cert.pem", &ours.cert.pem());
    put("key.pem", &ours.signing_key.serialize_pem());
    put("users", "user default off\nuser pillarbox on >secret ~pillarbox:* +@all\n");
    let path = |name: &str| directory.path().join(name);
    let named = |key: &str, name: &str| [key.to_owned(), path(name).to_str().unwrap().to_owned()];
    let mut arguments = vec!["--tls-auth-clients".to_owned(), "no".to_owned()];
    arguments.extend(named("--tls-cert-file", "cert.pem"));
    arguments.extend(named("--tls-key-file", "key.pem"));
    arguments.extend(named("--tls-ca-cert-file", "cert.pem"));
    arguments.extend(named("--aclfile", "users"));
    let Some(server) = Server::start_with("redis-server", tempfile::tempdir().unwrap(), arguments) else { return };
    let config = |database| KvRedis {
        database,
        tls: true,
        authorities: Some(path("trusted.pem")),
        user: Some("pillarbox".to_owned()),
        password_file: Some(path("password")),
        ..server.redis()
    };
    put("trusted.pem", &others.cert.pem());
    put("password", "guess\n");
    let store = |config| Kv(Backend::Own(Keeper::Redis(Redis::new(&config, PATIENCE, system_clock()).unwrap())));
    let (kv, other) = (store(config(3)), store(config(4)));
    assert_eq!(kv.get("a/n").await, Err(KvError::Unavailable), "who is that?");
    put("trusted.pem", &ours.cert.pem());
    assert_eq!(kv.get("a/n").await, Err(KvError::Unavailable), "who are you?");
    put("password", "secret\n");
    works(&kv).await;
    assert_eq!(kv.increment(Space { name: "a/", quota: 1 << 20 }, "a/n", 5, 0).await, Ok(5));
    assert_eq!(kv.get("a/n").await, Ok(Some(b"5".to_vec())));
    assert_eq!(other.get("a/n").await, Ok(None), "a database of another number is another");
}

#[tokio::test]
async fn a_token_that_was_mended_lets_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "guess\n").unwrap();
    let arguments = ["--auth", "secret"].map(str::to_owned).to_vec();
    let Some(server) = Server::start_with("nats-server", tempfile::tempdir().unwrap(), arguments) else { return };
    let hosts = vec![(Host::Address(IpAddr::V4(address())), server.port)];
    let servers = NatsServers { hosts, token_file: Some(path.clone()), ..NatsServers::default() };
    let config = KvNats { servers, bucket: "test".to_owned() };
    let kv = Kv(Backend::Own(Keeper::Nats(Bucket::new(&config, PATIENCE, system_clock()).unwrap())));
    assert_eq!(kv.get("a/n").await, Err(KvError::Unavailable));
    std::fs::write(&path, "secret\n").unwrap();
    works(&kv).await;
}
