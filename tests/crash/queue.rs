//! A queue that is large, and a message that is poison.

use super::fault::Fault;
use super::ledger::waiting;
use super::sender::{Answer, Sender};
use super::site;
use pillarbox_tests::{PATIENCE, Server, Site, until};
use sha2::{Digest, Sha256};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Messages of the large queue.
const LARGE: usize = 100_000;

/// What a server may take for that queue: octets of resident memory.
const MEMORY: u64 = 200 << 20;

#[test]
#[ignore = "cargo xtask crash"]
fn a_hundred_thousand_messages_hold_up_no_start() {
    // Nobody listens at the next hop, so everything waits.
    let config = super::config("state", "mail");
    let (head, _) = config.split_once("[[route]]").unwrap();
    let site = Site::new(&format!("{head}[[route]]\nto = \"smtp://127.0.0.1:1\"\n"));
    let server = site.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let Answer::Acknowledged(id) = sender.send(1) else { panic!("not taken") };
    server.kill();
    let queue = site.path("state/spool/queue");
    let first = fs::read(queue.join(&id)).unwrap();
    for number in 1..LARGE {
        let name = format!("{number:0>11}.1");
        fs::write(queue.join(&name), renamed(&first, &id, &name)).unwrap();
    }

    let begun = Instant::now();
    let server = site.start();
    let address = server.address("edge");
    drop(TcpStream::connect(address).unwrap());
    let mut sender = Sender::connect(address).unwrap();
    let took = begun.elapsed();
    println!("served after {took:?}");
    assert!(took < Duration::from_secs(2), "served after {took:?}");
    assert!(matches!(sender.send(2), Answer::Acknowledged(_)), "mail is taken meanwhile");
    let deadline = Instant::now() + PATIENCE * 4;
    loop {
        let messages = server.status()["destinations"][0]["messages"].as_u64();
        if messages == Some(LARGE as u64 + 1) {
            break;
        }
        assert!(Instant::now() < deadline, "{messages:?} messages are known");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let memory = memory(&server);
    println!("all known after {:?}, {} MiB resident", begun.elapsed(), memory >> 20);
    assert!(memory < MEMORY, "{memory} octets");
}

/// The file of a message under another id.
fn renamed(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    const FOOTER: usize = 95;
    let (text, footer) = file.split_at(file.len() - FOOTER);
    let text = String::from_utf8(text.to_vec()).unwrap();
    let envelope_len = usize::from_str_radix(std::str::from_utf8(&footer[21..29]).unwrap(), 16).unwrap();
    let (content, envelope) = text.split_at(text.len() - envelope_len);
    let (content, envelope) = (content.replace(from, to), envelope.replace(from, to));
    let header = "PILLARBOX-SPOOL 1\n".len();
    let digest: String =
        Sha256::digest(format!("{content}{envelope}")).iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{content}{envelope}END {:016x} {:08x} {digest}\n", content.len() - header, envelope.len()).into_bytes()
}

/// Resident octets of the server.
fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_message_that_kills_is_set_aside_and_the_others_are_delivered() {
    let site = site("mail");
    let fault = Fault::below(&site, "mail");
    // Whoever delivers the third message is killed, at whichever of its steps.
    fault.order("after", 1, "");
    let mut server = fault.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let mut ids = Vec::new();
    for number in 1..=6 {
        match sender.send(number) {
            Answer::Acknowledged(id) => ids.push(id),
            _ => break,
        }
    }
    server.wait();
    assert!(!ids.is_empty());
    let poison = format!("{}R0", ids[0]);
    fault.order("open", 0, &poison);
    let mut crashes = 0;
    let server = loop {
        let mut child = fault.command().stderr(std::process::Stdio::null()).spawn().unwrap();
        let socket = site.path("state/control.sock");
        let deadline = Instant::now() + PATIENCE;
        let settled = loop {
            if child.try_wait().unwrap().is_some() {
                break false;
            }
            if aside(&site, &ids[0]) && waiting(&site.path("state")).is_empty() {
                break true;
            }
            assert!(Instant::now() < deadline, "after {crashes} crashes: {:?}", waiting(&site.path("state")));
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_file(socket);
        if settled {
            fault.none();
            break fault.start();
        }
        crashes += 1;
        assert!(crashes <= 6, "it goes on crashing");
    };
    assert!((2..=4).contains(&crashes), "{crashes} crashes");
    let listed = server.order(&["quarantine", "list"]).exits(0).stdout;
    assert!(listed.contains(&ids[0]), "{listed}");
    let delivered = fs::read_dir(site.path("mail/example.test/b/new")).map_or(0, Iterator::count);
    assert!(delivered >= ids.len() - 1, "{delivered} of {ids:?}");
    // The operator may think otherwise.
    server.order(&["quarantine", "release", &ids[0]]).exits(0);
    until("the delivery of what was released", || {
        fs::read_dir(site.path("mail/example.test/b/new")).map_or(0, Iterator::count) > delivered
    });
}

fn aside(site: &Site, id: &str) -> bool {
    Path::new(&site.path("state/spool/quarantine")).join(id).exists()
}
