//! How many may come in at a time, by address and by prefix.

use crate::configs;
use pillarbox_tests::{Client, Event, Server, until};
use std::net::{IpAddr, SocketAddr};

fn dial(address: SocketAddr, from: [u8; 4]) -> Client {
    Client::dial(address, Some(IpAddr::from(from)))
}

fn enters(address: SocketAddr, from: [u8; 4]) -> Client {
    Client::connect_from(IpAddr::from(from), address)
}

/// Insists that who comes from there is turned away at once, and returns what was logged of it.
#[track_caller]
fn turned_away(server: &Server, from: [u8; 4]) -> Event {
    let mut client = dial(server.address("edge"), from);
    client.expect_reply("421 4.4.5 Service unavailable, concurrency limit reached");
    client.expect_close();
    let peer = client.socket().local_addr().unwrap().to_string();
    server.log().event("connection refused", &[("listener", "edge"), ("peer", &peer)])
}

/// The limit an event names, whose it is, and its numbers.
fn named<'a>(event: &'a Event, whose: &str) -> [&'a str; 4] {
    ["limit", whose, "open", "allowed"].map(|name| match name {
        "limit" => event.fields["limit"].as_str(),
        name => event.fields.get(name).map_or("", String::as_str),
    })
}

#[test]
fn connections_of_an_address() {
    let server = Server::start(&configs::discard(
        "limits.connections-per-address = 2\n[listener.edge.peer.\"127.0.0.9\"]\nlimits.connections-per-address = 1\n",
    ));
    let address = server.address("edge");
    let (first, mut second) = (enters(address, [127, 0, 0, 2]), enters(address, [127, 0, 0, 2]));
    let refused = turned_away(&server, [127, 0, 0, 2]);
    assert_eq!(named(&refused, "address"), ["connections-per-address", "127.0.0.2", "2", "2"]);
    // Its neighbours are not concerned, nor is who is in.
    let _neighbour = enters(address, [127, 0, 0, 3]);
    second.hello();
    second.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    // Of one network an address may have fewer.
    let _one = enters(address, [127, 0, 0, 9]);
    let refused = turned_away(&server, [127, 0, 0, 9]);
    assert_eq!(named(&refused, "address"), ["connections-per-address", "127.0.0.9", "1", "1"]);

    // A place that is left is free, however it was left.
    first.quit();
    until("a place after QUIT", || dial(address, [127, 0, 0, 2]).reply().code == 220);
    drop(second);
    let mut taken = Vec::new();
    until("both places again", || {
        let mut client = dial(address, [127, 0, 0, 2]);
        if client.reply().code == 220 {
            taken.push(client);
        }
        taken.len() == 2
    });
    turned_away(&server, [127, 0, 0, 2]);
    assert!(server.status()["connections_refused"].as_u64().is_some_and(|count| count >= 3));
}

#[test]
fn connections_of_a_prefix() {
    let server =
        Server::start(&configs::discard("limits.connections-per-prefix = 3\nlimits.connections-per-address = 2\n"));
    let address = server.address("edge");
    let _two = [2, 3].map(|last| enters(address, [127, 0, 0, last]));
    let third = enters(address, [127, 0, 0, 3]);
    let refused = turned_away(&server, [127, 0, 0, 200]);
    assert_eq!(named(&refused, "prefix"), ["connections-per-prefix", "127.0.0.0/24", "3", "3"]);
    // Where both are reached the narrower is named.
    let refused = turned_away(&server, [127, 0, 0, 3]);
    assert_eq!(refused.field("limit"), "connections-per-address");
    // The next /24 has places of its own.
    let _elsewhere = [1, 2, 3].map(|last| enters(address, [127, 0, 1, last]));
    turned_away(&server, [127, 0, 1, 4]);
    third.quit();
    until("a free place", || dial(address, [127, 0, 0, 200]).reply().code == 220);
}

#[test]
fn a_client_that_xclient_names_takes_no_place_at_the_door() {
    let server = Server::start(&configs::discard(&format!(
        "limits.connections-per-address = 2\n{}",
        configs::extensions(&["xclient"])
    )));
    let address = server.address("edge");
    let mut one = server.client("edge");
    one.hello();
    one.expect("XCLIENT ADDR=127.0.0.2", "220 *");
    // Its peer is who it was, and there is one more place for that; of the client's own none is taken.
    let _two = server.client("edge");
    turned_away(&server, [127, 0, 0, 1]);
    let _three = [2, 2].map(|last| enters(address, [127, 0, 0, last]));
    turned_away(&server, [127, 0, 0, 2]);
}
