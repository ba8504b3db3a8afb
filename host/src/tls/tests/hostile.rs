//! Handshakes that go wrong, stop, or come in pieces.

use super::*;
use rustls::ClientConnection;
use rustls::ProtocolVersion;
use tokio::time::Instant;

/// One record of the handshake protocol.
fn record(version: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[22], &version.to_be_bytes()[..], &length, content].concat()
}

/// A ClientHello as clients before TLS 1.3 send it (RFC 5246 section 7.4.1.2), with P-256 and ECDSA with SHA-256.
fn old_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let extensions = [&[0, 10, 0, 4, 0, 2, 0, 23][..], &[0, 13, 0, 4, 0, 2, 4, 3], &[0, 11, 0, 2, 1, 0]].concat();
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len()).unwrap().to_be_bytes());
    body.extend(suites);
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    record(version, &[&[1], &length[1..], &body].concat())
}

#[tokio::test]
async fn old_versions_and_foreign_ciphers_get_an_alert() {
    const SHARED: u16 = 0xc02b;
    let acceptor = acceptor(&[&pair("mx.example.org")]);
    // An SSLv2 CLIENT-HELLO: two octets of length with the high bit set, type 1, version, and three lengths.
    let ssl2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[1; 37]].concat();
    for (what, octets, alert) in [
        ("SSLv2", ssl2, None),
        ("SSL 3.0", old_hello(0x0300, &[SHARED]), Some(70)),
        ("TLS 1.0", old_hello(0x0301, &[SHARED]), Some(70)),
        ("TLS 1.1", old_hello(0x0302, &[SHARED]), Some(70)),
        ("RC4 and export ciphers", old_hello(0x0303, &[0x0005, 0x0003]), Some(40)),
        ("TLS_FALLBACK_SCSV alone", old_hello(0x0303, &[0x5600]), Some(40)),
    ] {
        let (near, mut far) = duplex(4096);
        far.write_all(&octets).await.unwrap();
        let error = acceptor.accept(near).await.unwrap_err().0;
        assert!(matches!(error, HandshakeError::Failed(_)), "{what}");
        let mut reply = Vec::new();
        far.read_to_end(&mut reply).await.unwrap();
        // A fatal alert (RFC 8446 section 6), and nothing else.
        assert_eq!((reply[0], reply[5], reply.len()), (21, 2, 7), "{what} {reply:?}");
        assert!(alert.is_none_or(|alert| reply[6] == alert), "{what} {reply:?}");
    }
    // The same hello with a cipher that is there is answered by a ServerHello.
    let (near, mut far) = duplex(4096);
    far.write_all(&old_hello(0x0303, &[SHARED])).await.unwrap();
    let answer = async {
        let mut head = [0; 6];
        far.read_exact(&mut head).await.unwrap();
        drop(far);
        head
    };
    let (server, head) = tokio::join!(acceptor.accept(near), answer);
    assert_eq!((head[0], head[5]), (22, 2));
    assert!(server.is_err());
}

#[tokio::test]
async fn a_hello_in_pieces_is_a_hello() {
    let mx = pair("mx.example.org");
    let acceptor = acceptor(&[&mx]);
    // Octets a record, and octets a segment.
    for (version, piece, segment) in [(&TLS13, 1, 100_000), (&TLS12, 1, 100_000), (&TLS13, 1, 1), (&TLS13, 7, 3)] {
        let config = Arc::new(client(&[&mx], &[version]));
        let mut client = ClientConnection::new(config, ServerName::try_from("mx.example.org").unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let pieces: Vec<u8> = hello[5..].chunks(piece).flat_map(|chunk| record(0x0301, chunk)).collect();
        let (near, mut far) = duplex(64 * 1024);
        let peer = async {
            for segment in pieces.chunks(segment) {
                far.write_all(segment).await.unwrap();
                tokio::task::yield_now().await;
            }
            while client.is_handshaking() {
                let mut octets = [0; 4096];
                let count = far.read(&mut octets).await.unwrap();
                client.read_tls(&mut &octets[..count]).unwrap();
                client.process_new_packets().unwrap();
                let mut reply = Vec::new();
                client.write_tls(&mut reply).unwrap();
                far.write_all(&reply).await.unwrap();
            }
            client.protocol_version()
        };
        let (server, spoken) = tokio::join!(acceptor.accept(near), peer);
        assert_eq!(server.unwrap().1.server_name.as_deref(), Some("mx.example.org"));
        assert_eq!(
            spoken,
            Some(if std::ptr::eq(version, &TLS13) { ProtocolVersion::TLSv1_3 } else { ProtocolVersion::TLSv1_2 })
        );
    }
}

#[tokio::test]
async fn goodbye_within_the_handshake_ends_it() {
    let mx = pair("mx.example.org");
    let acceptor = acceptor(&[&mx]);
    let config = Arc::new(client(&[&mx], &[&TLS13, &TLS12]));
    let mut client = ClientConnection::new(config, ServerName::try_from("mx.example.org").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let goodbye = [21, 3, 3, 0, 2, 1, 0];
    let half = hello.len() / 2;
    for (what, octets) in [
        ("at once", goodbye.to_vec()),
        ("after the hello", [&hello[..], &goodbye].concat()),
        ("within the hello", [&record(0x0301, &hello[5..half])[..], &goodbye].concat()),
        ("again and again", goodbye.repeat(100)),
        ("garbage after the hello", [&hello[..], b"RSET\r\nQUIT\r\n"].concat()),
        ("empty records", [22, 3, 3, 0, 0].repeat(1000)),
        ("a record that is too long", vec![22, 3, 1, 255, 255]),
    ] {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(&octets).await.unwrap();
        far.shutdown().await.unwrap();
        let error = acceptor.accept(near).await.unwrap_err().0;
        assert!(matches!(error, HandshakeError::Failed(_)), "{what}");
    }
}

#[tokio::test]
async fn an_end_without_goodbye_is_an_error_to_whoever_reads() {
    let mx = pair("mx.example.org");
    let acceptor = acceptor(&[&mx]);
    for goodbye in [true, false] {
        let (near, far) = duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::new(client(&[&mx], &[&TLS13])));
        let peer = async {
            let mut stream = connector.connect(ServerName::try_from("mx.example.org").unwrap(), far).await.unwrap();
            stream.write_all(b"DATA").await.unwrap();
            stream.flush().await.unwrap();
            if goodbye {
                stream.shutdown().await.unwrap();
            } else {
                stream.get_mut().0.shutdown().await.unwrap();
            }
            stream
        };
        let (server, _peer) = tokio::join!(acceptor.accept(near), peer);
        let mut text = String::new();
        let end = server.unwrap().0.read_to_string(&mut text).await;
        assert_eq!(end.map_err(|error| error.kind()), if goodbye { Ok(4) } else { Err(io::ErrorKind::UnexpectedEof) });
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_handshake_begins_with_the_wait_for_a_place() {
    let directory = TempDir::new().unwrap();
    let mx = pair("mx.example.org");
    let mut tls = written(directory.path(), &[(&mx.chain, &mx.key)]);
    (tls.handshakes, tls.handshake_timeout) = (1, Duration::from_secs(30));
    let acceptor = Acceptor::load(&tls).unwrap();
    let began = Instant::now();
    let stalled = |delay: u64| {
        let acceptor = acceptor.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(delay)).await;
            let (near, _far) = duplex(1024);
            (acceptor.accept(near).await.unwrap_err().0, began.elapsed().as_secs())
        }
    };
    let (first, second, third) = tokio::join!(stalled(0), stalled(0), stalled(10));
    // Each has its time, and not more while another waits.
    assert!(matches!(first, (HandshakeError::Displaced(_), 5)), "{first:?}");
    assert!(matches!(second, (HandshakeError::Displaced(_), 10)), "{second:?}");
    assert!(matches!(third, (HandshakeError::TooSlow(_), 40)), "{third:?}");
    let (one, two, three) = tokio::join!(stalled(0), stalled(5), stalled(6));
    assert!(matches!(one, (HandshakeError::Displaced(_), 45)), "{one:?}");
    assert!(matches!(two, (HandshakeError::Displaced(_), 50)), "{two:?}");
    // Of its time, four seconds went by before it had a place.
    assert!(matches!(three, (HandshakeError::TooSlow(_), 76)), "{three:?}");
    // Whoever gave up left the place.
    let config = Arc::new(client(&[&mx], &[&TLS13]));
    assert_eq!(connect(&acceptor, &config, "mx.example.org").await.0.version, "TLSv1.3");
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_told_so() {
    let directory = TempDir::new().unwrap();
    let mx = pair("mx.example.org");
    let mut tls = written(directory.path(), &[(&mx.chain, &mx.key)]);
    tls.handshakes = 0;
    let (near, _far) = duplex(1024);
    let error = Acceptor::load(&tls).unwrap().accept(near).await.unwrap_err().0;
    assert_eq!(error.to_string(), "no place for a handshake came free within 30s");
}

#[tokio::test]
async fn both_ends_have_the_same_channel_binding_and_no_two_connections() {
    let mx = pair("mx.example.org");
    let acceptor = acceptor(&[&mx]);
    let mut seen = Vec::new();
    for (version, binds) in [(&TLS12, false), (&TLS13, true), (&TLS13, true)] {
        let config = Arc::new(client(&[&mx], &[version]));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (near, far) = duplex(64 * 1024);
            let connector = TlsConnector::from(config.clone());
            let name = ServerName::try_from("mx.example.org").unwrap();
            let peer = async {
                let mut stream = connector.connect(name, far).await.unwrap();
                // A ticket comes with the first octets.
                stream.read_exact(&mut [0]).await.unwrap();
                stream
            };
            let server = async {
                let (mut stream, facts) = acceptor.accept(near).await.unwrap();
                stream.write_all(b"2").await.unwrap();
                stream.flush().await.unwrap();
                (stream, facts)
            };
            let ((_stream, facts), peer) = tokio::join!(server, peer);
            assert_eq!(peer.get_ref().1.handshake_kind(), Some(kind));
            // The label and the length of RFC 9266 section 4.2, and no context.
            let exported = peer.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
            assert_eq!(facts.channel_binding, binds.then(|| ChannelBinding(exported.unwrap())));
            seen.extend(facts.channel_binding.map(|binding| binding.0));
        }
    }
    assert_eq!(seen.len(), 4);
    for (i, one) in seen.iter().enumerate() {
        assert!(seen.iter().skip(i + 1).all(|other| other != one));
    }
}
