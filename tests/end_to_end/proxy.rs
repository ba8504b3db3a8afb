//! A proxy in front: what its header says of the client, and that nobody is anybody by a header who may not send one.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Server, Site};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What 12 octets every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 1.
fn text(source: &str) -> Vec<u8> {
    let family = if source.contains(':') { "TCP6" } else { "TCP4" };
    let destination = if source.contains(':') { "2001:db8::25" } else { "198.51.100.25" };
    format!("PROXY {family} {source} {destination} 4321 25\r\n").into_bytes()
}

/// A header of version 2 with this command, family, addresses and whatever else.
fn binary(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family][..], &length, &rest].concat()
}

/// The same for a client at this address, and TLVs.
fn binary_for(source: &str, tlvs: &[u8]) -> Vec<u8> {
    let ports = [4321_u16.to_be_bytes(), 25_u16.to_be_bytes()].concat();
    match source.parse().unwrap() {
        IpAddr::V4(ip) => binary(1, 0x11, &[&ip.octets(), &[198, 51, 100, 25], &ports, tlvs]),
        IpAddr::V6(ip) => binary(1, 0x21, &[&ip.octets(), &ip.octets(), &ports, tlvs]),
    }
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// The header of somebody who is named nowhere: UNKNOWN, LOCAL, and a family that is no internet's.
fn nameless() -> [Vec<u8>; 4] {
    [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n".to_vec(),
        binary(0, 0, &[]),
        binary(1, 0x31, &[&[b'/'; 216]]),
    ]
}

const PROXY: &str = "proxy.from = [\"127.0.0.1\"]\n";

/// Connects as this host does, which is the proxy, and says this first.
fn through(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::dial(address, None);
    client.send(header);
    client
}

fn outside() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))
}

#[test]
fn the_client_is_who_the_header_names() {
    let server = Server::start(&configs::maildirs(&format!(
        "{PROXY}relay.hosts = [\"192.0.2.0/24\", \"127.0.0.0/8\"]\ncontext.tier = \"none\"\n\
         [listener.edge.peer.\"192.0.2.0/24\"]\ncontext.tier = \"net\"\n\
         [listener.edge.peer.\"127.0.0.0/8\"]\ncontext.tier = \"loopback\"\n{}",
        configs::extensions(&["xdumpcontext"])
            .replace("[\"127.0.0.1\"]", "[\"192.0.2.0/24\", \"2001:db8::/32\", \"203.0.113.9\"]")
    )));
    let address = server.address("edge");
    for (number, (source, shown, tier, relays)) in [
        ("192.0.2.9", "192.0.2.9", "net", true),
        ("203.0.113.9", "203.0.113.9", "none", false),
        ("2001:db8::9", "IPv6:2001:db8::9", "none", false),
        ("::ffff:192.0.2.9", "192.0.2.9", "net", true),
    ]
    .into_iter()
    .enumerate()
    {
        for (version, header) in [text(source), binary_for(source, b"")].into_iter().enumerate() {
            let mut client = through(address, &header);
            client.expect_reply("220 *");
            client.hello();
            assert!(client.ask("XDUMPCONTEXT").says(&format!("[connection] tier {tier}")), "{source}");
            client.expect("MAIL FROM:<a@client.test>", "250 *");
            client.expect("RCPT TO:<b@elsewhere.test>", if relays { "250 2.1.5 *" } else { "550 5.7.1 *" });
            client.expect("RSET", "250 *");
            let to = format!("{number}.{version}");
            client.deliver("a@client.test", &[&format!("{to}@example.test")], "Subject: x\r\n\r\n");
            let proxy = client.socket().local_addr().unwrap().to_string();
            client.quit();
            server.log().event("delivered", &[("recipient", &format!("{to}@example.test"))]);
            let message = String::from_utf8(server.maildir(&format!("mail/example.test/{to}")).only()).unwrap();
            assert!(message.contains(&format!("from client.example.test (unknown [{shown}])\n")), "{message}");
            let opened = server.log().event("session opened", &[("proxy", &proxy)]);
            let ip = shown.trim_start_matches("IPv6:");
            assert!([format!("{ip}:4321"), format!("[{ip}]:4321")].contains(&opened.field("peer").to_owned()));
        }
    }
}

#[test]
fn who_is_not_listed_says_a_command_nobody_knows() {
    let server = Server::start(&configs::discard(&format!("{PROXY}relay.hosts = [\"192.0.2.0/24\"]")));
    let address = server.address("edge");
    let mut client = Client::connect_from(outside(), address);
    client.send(text("192.0.2.9"));
    client.expect_reply("500 5.5.2 *");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.quit();
    // Nor does it do anything in the middle of a session of who is listed.
    let mut client = through(address, &text("203.0.113.9"));
    client.expect_reply("220 *");
    client.send(text("192.0.2.9"));
    client.expect_reply("500 5.5.2 *");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
}

#[test]
fn who_is_not_named_has_no_right() {
    let server = Server::start(&configs::maildirs(&format!(
        "{PROXY}relay.hosts = [\"127.0.0.0/8\"]\nlimits.recipients = 3\n\
         [listener.edge.peer.\"127.0.0.0/8\"]\nlimits.recipients = 9\n{}",
        configs::extensions(&["xclient", "xdumpcontext"]),
    )));
    for (number, header) in nameless().iter().enumerate() {
        let mut client = through(server.address("edge"), header);
        client.expect_reply("220 *");
        let hello = client.hello();
        assert!(hello.says("LIMITS MAILMAX=10000 RCPTMAX=3") && !hello.to_string().contains("XCLIENT"), "{hello}");
        for command in ["XDUMPCONTEXT", "XCLIENT ADDR=127.0.0.1"] {
            client.expect(command, "550 5.7.0 *");
        }
        client.expect("MAIL FROM:<a@client.test>", "250 *");
        client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
        client.expect("RSET", "250 *");
        client.deliver("a@client.test", &[&format!("{number}@example.test")], "Subject: x\r\n\r\n");
        let socket = client.socket().local_addr().unwrap().to_string();
        client.quit();
        server.log().event("delivered", &[("recipient", &format!("{number}@example.test"))]);
        let message = String::from_utf8(server.maildir(&format!("mail/example.test/{number}")).only()).unwrap();
        assert!(message.contains("from client.example.test (unknown [unknown])\n"), "{message}");
        // The log keeps whose socket it was.
        let opened = server.log().event("session opened", &[("proxy", &socket)]);
        assert_eq!(opened.field("peer"), socket);
        let session = opened.field("session");
        let refused = server.log().event("refused", &[("session", session)]);
        assert_eq!(refused.field("client"), "unknown");
    }
}

#[test]
fn what_else_the_header_says_is_in_the_context() {
    let server = Server::start(&configs::discard(&format!(
        "{PROXY}{}",
        configs::extensions(&["xdumpcontext"]).replace("127.0.0.1", "192.0.2.9")
    )));
    let ssl = [&[0x03][..], &0_u32.to_be_bytes(), &tlv(0x21, b"TLSv1.3"), &tlv(0x22, b"anne"), &tlv(0x23, b"ECDHE-X")];
    let unverified = [&[0x03][..], &1_u32.to_be_bytes(), &tlv(0x21, b"TLSv1.2")];
    let tlvs = [
        tlv(0x01, b"smtp"),
        tlv(0x02, b"mx.example.test"),
        tlv(0x05, &[0xde, 0xad]),
        tlv(0x20, &ssl.concat()),
        tlv(0x30, b"netns"),
        tlv(0xe0, b"whatever"),
    ];
    let mut client = through(server.address("edge"), &binary_for("192.0.2.9", &tlvs.concat()));
    client.expect_reply("220 *");
    let dump = client.ask("XDUMPCONTEXT");
    for entry in [
        "alpn smtp",
        "authority mx.example.test",
        "unique_id dead",
        "tls_version TLSv1.3",
        "tls_common_name anne",
        "tls_cipher ECDHE-X",
        "tls_verified yes",
    ] {
        assert!(dump.says(&format!("[connection] proxy_{entry}")), "{entry} in {dump}");
    }
    // It is the proxy's TLS, and not this server's.
    assert!(!dump.says("[connection] tls on"), "{dump}");
    // Nothing a client chose ends a line, and no certificate is verified by being there.
    let tlvs = [tlv(0x02, b"a\r\n250 [connection] can_relay true"), tlv(0x20, &unverified.concat())].concat();
    let mut client = through(server.address("edge"), &binary_for("192.0.2.9", &tlvs));
    client.expect_reply("220 *");
    let dump = client.ask("XDUMPCONTEXT");
    assert!(!dump.says("[connection] can_relay true") && !dump.to_string().contains("tls_verified"), "{dump}");
}

#[test]
fn a_bad_header_closes_without_a_word() {
    let server = Server::start(&configs::discard(&format!("{PROXY}proxy.timeout = \"400ms\"")));
    let address = server.address("edge");
    let whole = binary_for("192.0.2.9", b"");
    let too_long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[b'x'; 70_000]].concat();
    let short = [&SIGNATURE[..], &[0x21, 0x11, 0, 4], &[0; 60]].concat();
    let version_3 = [&SIGNATURE[..], &[0x31, 0x11, 0, 12], &[0; 12]].concat();
    let bad: [&[u8]; 15] = [
        b"EHLO client.example.test\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXY\r\n",
        b"PROXY TCP4 192.0.2.9\r\n",
        b"PROXY TCP4 192.0.2.999 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\n",
        b"proxy TCP4 192.0.2.9 192.0.2.1 1 2\r\n",
        &too_long,
        &short,
        &version_3,
    ];
    for octets in bad {
        let mut client = through(address, octets);
        client.expect_gone();
    }
    server.log().count(bad.len(), "proxy header refused");
    // Half of one, and then nothing more; half of one, and then the end.
    for half in [&b"PROXY TCP4 192.0."[..], b"P", b"", &whole[..5], &whole[..20]] {
        through(address, half).expect_gone();
        let mut client = through(address, half);
        client.finish();
        client.expect_gone();
    }
    server.log().count(bad.len() + 10, "proxy header refused");
    let refused: Vec<_> = server.log().events().into_iter().filter(|event| event.is("proxy header refused")).collect();
    assert!(
        refused.iter().all(|event| event.field("proxy").starts_with("127.0.0.1:") && !event.field("reason").is_empty())
    );
    assert_eq!(server.status()["proxy_headers_refused"], 25);
    assert!(server.log().events().iter().all(|event| !event.is("session opened")));
    // Ten megabytes of it take no longer, and hold up nobody.
    let mut client = Client::dial(address, None);
    client.send(vec![b'P'; 10 << 20]);
    client.expect_gone();
    let mut client = through(address, &whole);
    client.expect_reply("220 *");
    client.quit();
}

#[test]
fn a_header_is_found_however_it_is_cut() {
    let server = Server::start(&configs::discard(PROXY));
    let address = server.address("edge");
    for header in [text("192.0.2.9"), binary_for("192.0.2.9", &tlv(0x04, &[0; 300]))] {
        // With what follows in one segment.
        let mut client = through(address, &[&header[..], b"EHLO client.example.test\r\nQUIT\r\n"].concat());
        client.expect_reply("220 *");
        client.expect_reply("250 *");
        client.expect_reply("221 *");
        client.expect_close();
        // And octet by octet.
        let mut client = Client::dial(address, None);
        for octet in header {
            client.send([octet]);
        }
        client.expect_reply("220 *");
        client.quit();
    }
}

#[test]
fn a_header_comes_before_tls() {
    let site = Site::new(&configs::maildirs(&format!(
        "{PROXY}{}[listener.implicit]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n{PROXY}{}",
        configs::tls("starttls"),
        configs::tls("implicit")
    )));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    let server = site.start();
    for (to, header) in [("text", text("192.0.2.9")), ("binary", binary_for("192.0.2.9", b""))] {
        let mut implicit = through(server.address("implicit"), &header);
        implicit.handshake();
        implicit.expect_reply("220 *");
        implicit.hello();
        let mut starttls = through(server.address("edge"), &header);
        starttls.expect_reply("220 *");
        starttls.hello();
        starttls.starttls();
        starttls.hello();
        for (client, way) in [(&mut implicit, "implicit"), (&mut starttls, "starttls")] {
            let to = format!("{to}.{way}");
            client.deliver("a@client.test", &[&format!("{to}@example.test")], "Subject: x\r\n\r\n");
            server.log().event("delivered", &[("recipient", &format!("{to}@example.test"))]);
            let message = String::from_utf8(server.maildir(&format!("mail/example.test/{to}")).only()).unwrap();
            assert!(message.contains("(unknown [192.0.2.9])\n\t(using TLSv1.3"), "{message}");
        }
    }
    // What comes under TLS is no header any more.
    let mut client = through(server.address("implicit"), &text("192.0.2.9"));
    client.handshake();
    client.send(text("127.0.0.1"));
    client.expect_reply("220 *");
    client.expect_reply("500 5.5.2 *");
}

#[test]
fn places_at_the_door_are_those_of_the_client() {
    let server = Server::start(&configs::discard(&format!("{PROXY}limits.connections-per-address = 1")));
    let address = server.address("edge");
    let mut first = through(address, &text("192.0.2.9"));
    first.expect_reply("220 *");
    let mut again = through(address, &binary_for("192.0.2.9", b""));
    again.expect_reply("421 4.4.5 *");
    again.expect_close();
    let socket = again.socket().local_addr().unwrap().to_string();
    let refused = server.log().event("connection refused", &[("limit", "connections-per-address")]);
    assert_eq!(
        (refused.field("address"), refused.field("peer"), refused.field("proxy")),
        ("192.0.2.9", "192.0.2.9:4321", socket.as_str())
    );
    let mut other = through(address, &text("192.0.2.10"));
    other.expect_reply("220 *");
    // Of the proxy itself, whose sessions name nobody, the socket counts.
    let mut nobody = through(address, b"PROXY UNKNOWN\r\n");
    nobody.expect_reply("220 *");
    let mut nobody_again = through(address, b"PROXY UNKNOWN\r\n");
    nobody_again.expect_reply("421 4.4.5 *");
}

#[test]
fn the_right_to_xclient_is_that_of_the_named_peer() {
    let server = Server::start(&configs::discard(&format!(
        "{PROXY}{}",
        configs::extensions(&["xclient"]).replace("[\"127.0.0.1\"]", "[\"192.0.2.9\"]")
    )));
    let mut gateway = through(server.address("edge"), &text("192.0.2.9"));
    gateway.expect_reply("220 *");
    assert!(gateway.hello().to_string().contains("XCLIENT"));
    gateway.expect("XCLIENT ADDR=192.0.2.77", "220 *");
    assert!(gateway.hello().lines[0].contains("192.0.2.77"));
    // Not the proxy's own, and not that of one next to it.
    for header in [text("127.0.0.1"), text("192.0.2.10"), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = through(server.address("edge"), &header);
        client.expect_reply("220 *");
        assert!(!client.hello().to_string().contains("XCLIENT"));
        client.expect("XCLIENT ADDR=192.0.2.9", "550 5.7.0 *");
    }
    let mut direct = Client::connect_from(outside(), server.address("edge"));
    direct.expect("XCLIENT ADDR=192.0.2.9", "550 5.7.0 *");
}
