//! A destination that is dead, or says nothing, holds up no other, however much waits for it.

use super::{config, greeted, route, same};
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Site, free_address, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CONTENT: &str = "Subject: x\r\n\r\ntext\r\n";
const SENDERS: usize = 8;

#[test]
fn what_waits_for_the_dead_does_not_hold_up_the_living() {
    let dead = free_address();
    let mute = Sink::start(Manner::Hang(Stage::Banner));
    let live = Sink::start(Manner::Take);
    let routes = [
        route("dead.test", &format!("smtp://{dead}"), ""),
        route("mute.test", &format!("smtp://{}", mute.address()), ""),
        route("live.test", &format!("smtp://{}", live.address()), ""),
    ];
    let server = Site::new(&config("", "", &routes.concat())).start();
    let address = server.address("edge");
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(move || {
                let mut client = pillarbox_tests::Client::connect(address);
                client.hello();
                for number in 0..2000 / SENDERS {
                    client.deliver("a@client.test", &["b@dead.test"], CONTENT);
                    if number % 10 == 0 {
                        client.deliver("a@client.test", &["b@mute.test"], CONTENT);
                    }
                }
            });
        }
    });
    let mut client = greeted(&server);
    let begun = Instant::now();
    for _ in 0..10 {
        client.deliver("a@client.test", &["b@live.test"], CONTENT);
    }
    let taken = live.wait_for(10);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(taken.len(), 10);
    taken.iter().for_each(|taken| same("live", taken, CONTENT.as_bytes()));
    // Nor does the dead one cost an attempt for each of its messages.
    let tried = server.log().events().iter().filter(|event| event.field("error").contains(&dead.to_string())).count();
    assert!(tried < 200, "{tried} attempts at the dead one");
    // The mute one has its connections, and no more.
    assert!(mute.connections() <= 20, "{}", mute.connections());
}

/// There are more of them than attempts at a time, all have served before, and each has more than one message.
#[test]
fn what_hangs_in_the_middle_holds_up_nobody_though_it_answered_before() {
    const SINKS: usize = 40;
    let hanging: Vec<_> = (0..SINKS).map(|_| Sink::start(Manner::Take)).collect();
    let webhook = Webhook::start();
    let live = Sink::start(Manner::Take);
    let mut routes: Vec<_> = hanging.iter().enumerate().map(|(at, sink)| (format!("h{at}"), sink.address())).collect();
    routes.push(("live".to_owned(), live.address()));
    let mut routes: Vec<_> =
        routes.iter().map(|(name, at)| route(&format!("{name}.test"), &format!("smtp://{at}"), "")).collect();
    routes.push(route("hook.test", &format!("http://{}/in", webhook.address), ""));
    let server = Site::new(&config("", "concurrency = 16", &routes.concat())).start();
    let mut client = greeted(&server);
    let mut domains: Vec<_> = (0..SINKS).map(|at| format!("b@h{at}.test")).collect();
    domains.push("b@hook.test".to_owned());
    for address in domains.iter().map(String::as_str).chain(["b@live.test"]) {
        client.deliver("a@client.test", &[address], CONTENT);
    }
    hanging.iter().chain([&live]).for_each(|sink| drop(sink.wait_for(1)));
    until("a message at the webhook", || webhook.answered() == 1);
    super::emptied(&server);

    hanging.iter().for_each(|sink| sink.behave(Manner::Hang(Stage::Content)));
    webhook.hang();
    for _ in 0..3 {
        domains.iter().for_each(|address| drop(client.deliver("a@client.test", &[address], CONTENT)));
    }
    let begun = Instant::now();
    client.deliver("a@client.test", &["b@live.test"], CONTENT);
    client.deliver("a@client.test", &["told@client.test"], CONTENT);
    live.wait_for(2);
    super::told(server.site(), "told", 1);
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
    assert!(hanging.iter().all(|sink| sink.taken().len() == 1), "one of them did not hang");
}

/// A webhook that answers until it hangs.
struct Webhook {
    address: SocketAddr,
    hangs: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Webhook {
    fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address for a webhook");
        let webhook = Webhook {
            address: listener.local_addr().expect("an address"),
            hangs: Arc::default(),
            answered: Arc::default(),
        };
        let (hangs, answered) = (webhook.hangs.clone(), webhook.answered.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (hangs, answered) = (hangs.clone(), answered.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    let (mut line, mut length) = (String::new(), 0);
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap_or(0);
                        }
                        line.clear();
                    }
                    let _ = reader.read_exact(&mut vec![0; length]);
                    while hangs.load(Ordering::SeqCst) {
                        thread::park();
                    }
                    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    if reader.get_mut().write_all(reply).is_ok() {
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        webhook
    }

    fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}
