//! Handshakes that are slow, cut, broken off or none at all.

use super::{client_hello, start};
use crate::configs;
use pillarbox_tests::handshake::{Handshake, Version};
use pillarbox_tests::{Client, PATIENCE, Server};
use rustls::ClientConnection;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Everything the server says, to the end.
fn heard(client: &Client) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = client.socket().read_to_end(&mut heard);
    heard
}

/// Whether it is nothing, or an alert and nothing behind it.
fn is_alert(heard: &[u8]) -> bool {
    heard.is_empty() || (heard.len() == 7 && heard[..2] == [21, 3])
}

#[track_caller]
fn failed(server: &Server, times: usize) {
    server.log().count(times, "tls handshake failed");
    let events = server.log().events();
    let failures: Vec<_> = events.iter().filter(|event| event.is("tls handshake failed")).collect();
    assert!(failures.iter().all(|event| !event.field("error").is_empty()), "{failures:?}");
    assert_eq!(server.status()["handshakes_failed"], failures.len());
    assert_eq!(failures.len(), times);
}

#[test]
fn what_is_no_client_hello() {
    let (server, _) = start(&configs::discard(&configs::tls("implicit")));
    let sslv2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[0; 37]].concat();
    let no_common_suite = {
        let mut hello = client_hello(3);
        let at = hello.windows(4).position(|octets| octets == [0, 2, 0, 0x2f]).unwrap();
        hello[at + 3] = 0x01;
        hello
    };
    let close_notify = [21, 3, 3, 0, 2, 1, 0];
    let kinds: [&[u8]; 9] = [
        b"EHLO client.example.test\r\n",
        b"GET / HTTP/1.1\r\nHost: mx.example.test\r\n\r\n",
        &sslv2,
        &no_common_suite,
        &close_notify,
        &[22, 3, 1, 0xff, 0xff, 1],
        &[22, 3, 1, 0, 0],
        &[23, 3, 3, 0, 1, 0],
        &[0; 64],
    ];
    for octets in kinds {
        let client = Client::dial(server.address("edge"), None);
        client.socket().write_all(octets).unwrap();
        client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let heard = heard(&client);
        assert!(is_alert(&heard), "{octets:?}: {heard:?}");
    }
    // And one who says nothing at all and goes.
    let mut silent = Client::dial(server.address("edge"), None);
    silent.finish();
    silent.expect_gone();
    failed(&server, kinds.len() + 1);
    Client::connect_tls(server.address("edge")).quit();
}

#[test]
fn a_client_hello_in_records_of_one_octet() {
    let (server, pair) = start(&configs::discard(&configs::tls("implicit")));
    for version in [Version::Tls12, Version::Tls13] {
        let name = "mx.example.test".try_into().unwrap();
        let mut tls = ClientConnection::new(Handshake::new(version, None).config(), name).unwrap();
        let mut whole = Vec::new();
        tls.write_tls(&mut whole).unwrap();
        // A record of five octets and one, for each octet behind the head of the client's own (RFC 8446 section 5.1).
        let client = Client::dial(server.address("edge"), None);
        let mut socket = client.socket();
        for octet in &whole[5..] {
            socket.write_all(&[22, 3, 1, 0, 1, *octet]).unwrap();
        }
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap_or_else(|error| panic!("{version:?}: {error}"));
        }
        assert_eq!(tls.peer_certificates().unwrap()[0].to_vec(), pair.der);
    }
    Client::connect_tls(server.address("edge")).quit();
}

#[test]
fn a_handshake_that_stalls() {
    let timeout = "tls.handshake-timeout = \"1s\"\n";
    for mode in ["implicit", "starttls"] {
        let (server, _) = start(&configs::discard(&(configs::tls(mode) + timeout)));
        let hello = client_hello(3);
        for said in [0, 3, hello.len() - 1] {
            let mut client = Client::dial(server.address("edge"), None);
            if mode == "starttls" {
                client.expect_reply("220 *");
                client.hello();
                client.expect("STARTTLS", "220 *");
            }
            let began = Instant::now();
            client.socket().write_all(&hello[..said]).unwrap();
            let heard = heard(&client);
            assert!(heard.is_empty(), "{mode}: {heard:?}");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(900) && took < PATIENCE / 2, "{mode}: {took:?}");
        }
        failed(&server, 3);
        server.log().event("session ended", &[("end", "tls handshake failed")]);
    }
}

#[test]
fn handshakes_at_a_time() {
    let caps = "tls.handshake-timeout = \"2s\"\ntls.handshakes = 2\n";
    let (server, _) = start(&configs::discard(&(configs::tls("starttls") + caps)));
    let mut stalled: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = server.client("edge");
            client.hello();
            client.expect("STARTTLS", "220 *");
            client
        })
        .collect();
    // Those in the clear do not wait; the next handshake does, and has its place when one of the two is over.
    let mut clear = server.client("edge");
    clear.hello();
    clear.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    let mut next = server.client("edge");
    next.hello();
    next.expect("STARTTLS", "220 *");
    let hello = client_hello(3);
    next.socket().write_all(&hello).unwrap();
    next.socket().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(next.socket().peek(&mut [0]).is_err(), "it was answered before there was a place");
    next.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    drop(stalled.pop());
    let began = Instant::now();
    assert!(next.socket().peek(&mut [0]).is_ok());
    assert!(began.elapsed() < Duration::from_secs(2), "it got no place by the end of another");
}

#[test]
fn those_that_stop_do_not_keep_out_who_goes_on() {
    let (server, _) = start(&configs::discard(&(configs::tls("implicit") + "tls.handshakes = 20\n")));
    let hello = client_hello(3);
    let stopped: Vec<Client> = (0..25)
        .map(|at| {
            let client = Client::dial(server.address("edge"), None);
            client.socket().write_all(&hello[..[0, 3, hello.len() - 1][at % 3]]).unwrap();
            client
        })
        .collect();
    // Long before the thirty seconds of a handshake are over.
    let began = Instant::now();
    Client::connect_tls(server.address("edge")).quit();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let event = server.log().event("tls handshake failed", &[]);
    assert!(event.field("error").contains("another waited for its place"), "{event:?}");
    drop(stopped);
}

#[test]
fn a_rush_of_handshakes_does_not_keep_who_speaks_in_the_clear_waiting() {
    let (server, _) =
        start(&configs::discard(&(configs::tls("implicit") + "[listener.clear]\naddress = [\"127.0.0.1:0\"]\n")));
    let address = server.address("edge");
    let rush = std::thread::spawn(move || {
        for _ in 0..100 {
            drop(Client::connect_tls(address));
        }
    });
    let mut slowest = Duration::ZERO;
    while !rush.is_finished() {
        let began = Instant::now();
        server.client("clear").quit();
        slowest = slowest.max(began.elapsed());
    }
    rush.join().unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
