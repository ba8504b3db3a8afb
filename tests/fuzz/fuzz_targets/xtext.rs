//! xtext (RFC 3461 section 4): what was encoded comes back, and its two readers, the machine's for ESMTP parameters and the
//! SDK's for the verbs of extensions, take a text for the same or not at all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::xtext::{decode, decode_text, encode};
use pillarbox_smtp::decode_xtext;

fuzz_target!(|octets: &[u8]| {
    let encoded = encode(octets);
    assert!(encoded.bytes().all(|octet| (0x21..=0x7e).contains(&octet) && octet != b'='), "{encoded:?}");
    assert_eq!(decode(&encoded).as_deref(), Ok(octets));
    assert_eq!(decode_xtext(&encoded), String::from_utf8(octets.to_vec()).ok());

    let Ok(text) = str::from_utf8(octets) else { return };
    let strictly = decode_xtext(text);
    let loosely = decode(text);
    if let Ok(decoded) = &loosely {
        assert!(decoded.len() <= text.len());
        // Only the machine holds to upper case.
        let escapes = || text.split('+').skip(1).flat_map(|escape| escape.bytes().take(2));
        if !escapes().any(|digit| digit.is_ascii_lowercase()) {
            assert_eq!(strictly, String::from_utf8(decoded.clone()).ok(), "{text:?}");
        }
    }
    if let Some(decoded) = strictly {
        assert_eq!(loosely.as_deref(), Ok(decoded.as_bytes()), "{text:?}");
        let printable = !decoded.chars().any(char::is_control);
        assert_eq!(decode_text(text).ok(), printable.then_some(decoded), "{text:?}");
    }
});
