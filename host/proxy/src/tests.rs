#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 with the length it has.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

/// 192.0.2.1:56324 to 198.51.100.2:25.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0, 25];

fn inet(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&INET, tlvs].concat())
}

fn inet6(source: &str, destination: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(source)[..], &octets(destination), &[0xff, 0xff, 0, 25]].concat()
}

/// `header` with the checksum of its only CRC32C TLV put in, which is its last.
fn summed(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    let sum = tlv::crc32c(header.iter().copied());
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ssl(client: u8, verify: u32, subs: &[u8]) -> Vec<u8> {
    tlv(0x20, &[&[client], &verify.to_be_bytes()[..], subs].concat())
}

fn header(octets: &[u8]) -> Header {
    match parse(octets) {
        Parsed::Header { header, used } => {
            assert_eq!(used, octets.len());
            header
        }
        other => panic!("{other:?}: {}", octets.escape_ascii()),
    }
}

fn reason(octets: &[u8]) -> &'static str {
    match parse(octets) {
        Parsed::Malformed(reason) => reason,
        other => panic!("{other:?}: {}", octets.escape_ascii()),
    }
}

fn ends(octets: &[u8]) -> String {
    header(octets).addresses.map_or("none".to_owned(), |ends| format!("{} {}", ends.source, ends.destination))
}

/// Every header of both versions that is right, with the ends it names.
fn valid() -> Vec<(Vec<u8>, &'static str)> {
    let text = |line: &str| line.as_bytes().to_vec();
    let unix = [&[b'/'; 216][..], &tlv(0x02, b"mx")].concat();
    let every_tlv = [
        tlv(0x01, b"smtp"),
        tlv(0x02, "mx.bücher.example".as_bytes()),
        tlv(0x04, b""),
        tlv(0x05, &[0xff; 128]),
        ssl(3, 0, &[tlv(0x21, b"TLSv1.3"), tlv(0x22, b"client"), tlv(0x25, b"RSA2048")].concat()),
        tlv(0x30, b"blue"),
        tlv(0x04, b"padding"),
        tlv(0xe1, b""),
        tlv(0x03, &[0; 4]),
    ];
    vec![
        (text("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), "192.168.0.1:56324 192.168.0.11:443"),
        (
            text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            "255.255.255.255:65535 255.255.255.255:65535",
        ),
        (text("PROXY TCP4 0.0.0.0 10.0.0.10 0 1\r\n"), "0.0.0.0:0 10.0.0.10:1"),
        (
            text(
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            ),
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
        (text("PROXY TCP6 2001:0DB8::0001 :: 1 25\r\n"), "[2001:db8::1]:1 [::]:25"),
        (text("PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2\r\n"), "[1:2:3:4:5:6:7:0]:1 [0:2:3:4:5:6:7:8]:2"),
        (text("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 1 25\r\n"), "192.0.2.1:1 198.51.100.2:25"),
        (text("PROXY UNKNOWN\r\n"), "none"),
        (text("PROXY UNKNOWN \r\n"), "none"),
        (
            text(
                "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            ),
            "none",
        ),
        (b"PROXY UNKNOWN  \xff\0 whatever\r\n".to_vec(), "none"),
        (inet(&[]), "192.0.2.1:56324 198.51.100.2:25"),
        (summed(inet(&every_tlv.concat())), "192.0.2.1:56324 198.51.100.2:25"),
        (v2(0x21, 0x21, &inet6("2001:db8::1", "fe80::2")), "[2001:db8::1]:65535 [fe80::2]:25"),
        (v2(0x21, 0x21, &inet6("::ffff:192.0.2.1", "2001:db8::2")), "192.0.2.1:65535 [2001:db8::2]:25"),
        (v2(0x21, 0x31, &unix), "none"),
        (v2(0x21, 0x00, &[]), "none"),
        (v2(0x21, 0x01, b"whatever"), "none"),
        (v2(0x21, 0x10, &INET), "none"),
        (v2(0x20, 0x00, &[]), "none"),
        (v2(0x20, 0x11, &INET), "none"),
        (v2(0x20, 0xff, b"\xff\xff\xff"), "none"),
        // A certificate of 4 KiB, in base64.
        (inet(&tlv(0xe1, &[b'M'; 5464])), "192.0.2.1:56324 198.51.100.2:25"),
        (inet(&tlv(0xe0, &vec![0; LONGEST - 16 - 12 - 3])), "192.0.2.1:56324 198.51.100.2:25"),
    ]
}

#[test]
fn headers_name_both_ends() {
    for (octets, expected) in valid() {
        assert_eq!(ends(&octets), expected, "{}", octets.escape_ascii());
        let version = header(&octets).version;
        assert_eq!(version, if octets[0] == b'P' { 1 } else { 2 });
    }
}

#[test]
fn every_prefix_of_a_header_may_become_one_and_nothing_behind_it_is_looked_at() {
    for (octets, _) in valid() {
        for end in 0..octets.len() {
            assert_eq!(parse(&octets[..end]), Parsed::Incomplete, "{}", octets[..end].escape_ascii());
        }
        let alone = parse(&octets);
        for behind in [&b"E"[..], b"EHLO a\r\n", b"\r\n", b"\n", b"\0", &octets, &[0xff; 9000]] {
            assert_eq!(parse(&[&octets, behind].concat()), alone);
        }
    }
}

#[test]
fn whoever_is_no_proxy_is_told_at_the_first_wrong_octet() {
    // The last octet of each is the wrong one.
    for text in [
        "E",
        "\n",
        "p",
        "Px",
        "PROXy",
        "PROXY\t",
        "PROXY  ",
        "PROXY t",
        "PROXY TCp",
        "PROXY TCP5",
        "PROXY TCP4\t",
        "PROXY TCP44",
        "PROXY UNKNOWN\t",
        "PROXY UNKNOWNS",
        "PROXY UNKNOWN a\n",
        "PROXY UNKNOWN a\rb",
        "PROXY TCP4  ",
        "PROXY TCP4 256",
        "PROXY TCP4 01",
        "PROXY TCP4 1.2.3.4.",
        "PROXY TCP4 1.2.3 ",
        "PROXY TCP4 1..",
        "PROXY TCP4 :",
        "PROXY TCP4 1.2.3.4  ",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +",
        "PROXY TCP4 1.2.3.4 5.6.7.8 65536",
        "PROXY TCP4 1.2.3.4 5.6.7.8 00",
        "PROXY TCP4 1.2.3.4 5.6.7.8 -",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r",
        "PROXY TCP4 1.2.3.4\r",
        "PROXY\r",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r",
        "PROXY TCP4\r",
        "PROXY \r",
        "PROXY\n",
        "PROXY TCP6 1.",
        "PROXY TCP6 g",
        "PROXY TCP6 12345",
        "PROXY TCP6 :1",
        "PROXY TCP6 :::",
        "PROXY TCP6 1::2::",
        "PROXY TCP6 1:2:3:4:5:6:7:8:",
        "PROXY TCP6 1:2:3:4:5:6:7 ",
        "PROXY TCP6 fe80::1%",
        "PROXY TCP6 [",
        "PROXY UNKNOWN\n",
        "PROXY TCP6 ::ffff:256.",
        "PROXY TCP6 1:2:3:4:5:6:7:8.",
        "PROXY TCP6 1::2:3:4:5:6:7:",
        "\r\r",
        "\r\n\r\n\0\r\nQUIT\r",
    ] {
        let (before, _) = text.split_at(text.len() - 1);
        assert_eq!(parse(before.as_bytes()), Parsed::Incomplete, "{before:?}");
        reason(text.as_bytes());
    }
    for (fixed, expected) in [
        (&[0x11][..], "the version behind the signature is not 2"),
        (&[0x31], "the version behind the signature is not 2"),
        (&[0x22], "the command is neither LOCAL nor PROXY"),
        (&[0x21, 0x12], "the connection was one of datagrams"),
        (&[0x21, 0x32], "the connection was one of datagrams"),
        (&[0x21, 0x13], "the transport is unknown"),
        (&[0x21, 0x41], "the address family is unknown"),
        (&[0x21, 0x11, 0x40], "the header is too long"),
        (&[0x21, 0x11, 0x3f, 0xf1], "the header is too long"),
        (&[0x20, 0x00, 0xff], "the header is too long"),
        (&[0x21, 0x11, 0, 11], "the header is too short for its addresses"),
        (&[0x21, 0x21, 0, 35], "the header is too short for its addresses"),
        (&[0x21, 0x31, 0, 215], "the header is too short for its addresses"),
    ] {
        let octets = [SIGNATURE, fixed].concat();
        assert_eq!(parse(&octets[..octets.len() - 1]), Parsed::Incomplete, "{fixed:?}");
        assert_eq!(reason(&octets), expected, "{fixed:?}");
    }
}

#[test]
fn a_line_has_107_octets() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(header(line(107).as_bytes()).addresses, None);
    assert_eq!(parse(&line(107).as_bytes()[..106]), Parsed::Incomplete);
    let long = line(108);
    assert_eq!(parse(&long.as_bytes()[..105]), Parsed::Incomplete);
    for end in 106..=108 {
        assert_eq!(reason(&long.as_bytes()[..end]), "the line is too long");
    }
}

#[test]
fn tlvs_are_read() {
    let utf8 = "bücher.example";
    for (octets, expected) in [
        (tlv(0x01, b"h2"), vec![Tlv::Alpn(b"h2".to_vec())]),
        (tlv(0x02, utf8.as_bytes()), vec![Tlv::Authority(utf8.to_owned())]),
        (tlv(0x02, b"\xff"), vec![Tlv::Other(2, b"\xff".to_vec())]),
        ([tlv(0x04, b"x"), tlv(0x04, b"")].concat(), vec![]),
        (tlv(0x05, &[7; 128]), vec![Tlv::UniqueId(vec![7; 128])]),
        (tlv(0x30, b"blue"), vec![Tlv::Netns("blue".to_owned())]),
        ([tlv(0xea, b"a"), tlv(0xea, b"")].concat(), vec![Tlv::Other(0xea, b"a".to_vec()), Tlv::Other(0xea, vec![])]),
    ] {
        assert_eq!(header(&inet(&octets)).tlvs, expected, "{octets:?}");
    }
    // After the addresses that are skipped, and not where their end is unknown.
    assert_eq!(header(&v2(0x21, 0x31, &[&[0; 216][..], &tlv(1, b"")].concat())).tlvs, [Tlv::Alpn(vec![])]);
    assert_eq!(header(&v2(0x21, 0x00, &tlv(1, b""))).tlvs, []);
    assert_eq!(header(&v2(0x20, 0x11, &[&INET[..], &tlv(1, b"")].concat())).tlvs, []);
}

#[test]
fn a_client_is_verified_where_it_showed_a_certificate_and_the_proxy_says_so() {
    for (client, verify, expected) in
        [(7, 0, true), (3, 0, true), (5, 0, true), (1, 0, false), (0, 0, false), (3, 1, false), (3, 1 << 24, false)]
    {
        let subs = [
            tlv(0x21, b"TLSv1.2"),
            tlv(0x24, b"RSA-SHA256"),
            tlv(0x22, b"\xe9"),
            tlv(0x23, b"ECDHE-RSA-AES128-GCM-SHA256"),
        ];
        let read = header(&inet(&ssl(client, verify, &subs.concat()))).tlvs;
        let expected = Tlv::Ssl {
            verified: expected,
            version: Some("TLSv1.2".to_owned()),
            // Not UTF-8, and so no name.
            common_name: None,
            cipher: Some("ECDHE-RSA-AES128-GCM-SHA256".to_owned()),
            client,
        };
        assert_eq!(read, [expected], "{client} {verify}");
    }
}

#[test]
fn tlvs_that_lie_make_the_header_malformed() {
    const LIE: &str = "a TLV is longer than what holds it";
    const TWICE: &str = "a TLV is there twice";
    for (tlvs, expected) in [
        (vec![1], LIE),
        (vec![1, 0], LIE),
        (vec![1, 0, 1], LIE),
        (vec![4, 0xff, 0xff, 0], LIE),
        ([tlv(1, b"a"), vec![2, 0, 2, 0]].concat(), LIE),
        (tlv(0x05, &[0; 129]), "the unique id is too long"),
        (tlv(0x20, &[1, 0, 0, 0]), "the TLV of TLS is too short"),
        (ssl(1, 0, &[0x21, 0, 2, 0]), LIE),
        (ssl(1, 0, &[0x21]), LIE),
        (ssl(1, 0, &[tlv(0x22, b"a"), tlv(0x22, b"a")].concat()), TWICE),
        (ssl(1, 0, &[tlv(0x22, b"\xff"), tlv(0x22, b"a")].concat()), TWICE),
        ([tlv(2, b"a"), tlv(2, b"b")].concat(), TWICE),
        ([tlv(0x30, b"a"), tlv(0x30, b"b")].concat(), TWICE),
        (tlv(0x03, &[0; 3]), "the checksum has not four octets"),
        (tlv(0x03, &[0; 5]), "the checksum has not four octets"),
        (tlv(0x03, &[0; 4]), "the checksum is wrong"),
    ] {
        assert_eq!(reason(&inet(&tlvs)), expected, "{tlvs:?}");
    }
}

#[test]
fn the_checksum_covers_the_header() {
    // The check value of CRC-32C (RFC 3720 appendix B.4 gives the zeros).
    assert_eq!(tlv::crc32c(b"123456789".iter().copied()), 0xe306_9283);
    assert_eq!(tlv::crc32c([0; 32].into_iter()), 0x8a91_36aa);
    let right = summed(inet(&[tlv(1, b"smtp"), tlv(3, &[0; 4])].concat()));
    assert_eq!(header(&right).tlvs, [Tlv::Alpn(b"smtp".to_vec())]);
    // Addresses, the value of ALPN, and the sum itself.
    for at in (16..28).chain(31..35).chain(38..42) {
        let mut wrong = right.clone();
        wrong[at] ^= 0x10;
        assert_eq!(reason(&wrong), "the checksum is wrong", "{at}");
    }
    // Where it stands does not matter, and what follows the header is not in it.
    let mut first = inet(&[tlv(3, &[0; 4]), tlv(1, b"smtp")].concat());
    let sum = tlv::crc32c(first.iter().copied());
    first[31..35].copy_from_slice(&sum.to_be_bytes());
    let Parsed::Header { used, .. } = parse(&[&first[..], b"EHLO"].concat()) else { panic!("refused") };
    assert_eq!(used, first.len());
}

#[test]
fn no_octet_anywhere_breaks_it() {
    for (octets, _) in valid() {
        let mut octets = octets;
        octets.truncate(400);
        for at in 0..octets.len() {
            let right = octets[at];
            for wrong in 0..=255 {
                octets[at] = wrong;
                if let Parsed::Header { header, used } = parse(&octets) {
                    assert!(used <= octets.len() && matches!(header.version, 1 | 2));
                }
            }
            octets[at] = right;
            let mut shorter = octets.clone();
            shorter.remove(at);
            parse(&shorter);
            let mut longer = octets.clone();
            longer.insert(at, 0xff);
            parse(&longer);
        }
    }
}
