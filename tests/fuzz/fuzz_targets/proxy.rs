//! The PROXY header: what is decided stays decided, whatever comes behind it; while more is asked for, more can help; and a
//! header of version 1 written from what was read says the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_proxy::{Header, LONGEST, Parsed, parse};

fuzz_target!(|octets: &[u8]| {
    let whole = parse(octets);
    match &whole {
        Parsed::Incomplete => assert!(octets.len() < LONGEST, "who waits for more waits for ever"),
        Parsed::Malformed(reason) => assert!(!reason.is_empty()),
        Parsed::Header { header, used } => {
            assert!(*used <= octets.len() && *used <= LONGEST);
            check(header);
        }
    }
    // A reader that gets the octets one by one decides the same, and not one octet later than it could.
    let decided = (0..octets.len().min(LONGEST)).map(|end| (end, parse(&octets[..end])));
    for (end, parsed) in decided {
        match parsed {
            Parsed::Incomplete => {}
            Parsed::Malformed(_) => {
                assert!(matches!(whole, Parsed::Malformed(_)), "{end} octets are malformed, {whole:?} is not");
                return;
            }
            header @ Parsed::Header { used, .. } => {
                assert_eq!(used, end, "a header is seen late");
                assert_eq!(header, whole);
                return;
            }
        }
    }
    if let Parsed::Header { used, .. } = whole {
        assert_eq!(used, octets.len(), "a header is seen early");
    }
});

fn check(header: &Header) {
    assert!(matches!(header.version, 1 | 2));
    assert!(header.version == 2 || header.tlvs.is_empty());
    let Some(addresses) = header.addresses else { return };
    let (source, destination) = (addresses.source, addresses.destination);
    for end in [source, destination] {
        assert_eq!(end.ip(), end.ip().to_canonical(), "an IPv4 address is written as one");
    }
    if source.is_ipv4() == destination.is_ipv4() {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let text = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        let again = Header { version: 1, addresses: Some(addresses), tlvs: Vec::new() };
        assert_eq!(parse(text.as_bytes()), Parsed::Header { header: again, used: text.len() }, "{text:?}");
    }
}
