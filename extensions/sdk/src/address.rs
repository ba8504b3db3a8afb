//! Network addresses and ports as SMTP commands spell them.

use std::net::{IpAddr, Ipv6Addr};

/// Reads a strict address: `192.0.2.1`, `2001:db8::1` or `IPV6:2001:db8::1` (RFC 5321 section 4.1.3; the prefix in any
/// case). An IPv4-mapped IPv6 address is given as IPv4. Leading zeros, brackets, networks, zones and short forms are
/// none.
pub fn parse(text: &str) -> Option<IpAddr> {
    const PREFIX: &str = "IPV6:";
    let address = match text.split_at_checked(PREFIX.len()) {
        // Behind the prefix only IPv6 is right: `IPV6:192.0.2.1` is a mistake worth refusing.
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => IpAddr::V6(rest.parse::<Ipv6Addr>().ok()?),
        _ => text.parse::<IpAddr>().ok()?,
    };
    Some(address.to_canonical())
}

/// Reads a port: decimal, at most five digits, 0 to 65535.
pub fn port(text: &str) -> Option<u16> {
    // `parse` alone would take "+25".
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn addresses_are_strict() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("2001:DB8:0:0:0:0:0:1", Some("2001:db8::1")),
            ("IPV6:2001:db8::1", Some("2001:db8::1")),
            ("ipv6:2001:db8::1", Some("2001:db8::1")),
            ("IPV6:::1", Some("::1")),
            // Climbing back to loopback by another spelling is seen as what it is.
            ("IPV6:::ffff:127.0.0.1", Some("127.0.0.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("", None),
            ("1.2.3", None),
            ("192.0.2.01", None),
            ("0300.0.2.1", None),
            ("3221225985", None),
            ("192.0.2.256", None),
            ("192.0.2.1/32", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1:25", None),
            ("192.0.2.1 ", None),
            ("IPV6:192.0.2.1", None),
            ("IPV6:[::1]", None),
            ("IPV6:", None),
            ("IPV6: ::1", None),
            ("fe80::1%eth0", None),
            ("IPV4:192.0.2.1", None),
            ("1:2:3:4:5:6:7:8:9", None),
            ("mail.example.org", None),
        ] {
            assert_eq!(parse(text), address.map(|address| address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn ports_are_digits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("25", Some(25)),
            ("00025", Some(25)),
            ("65535", Some(65535)),
            ("65536", None),
            ("000025", None),
            ("+25", None),
            ("-1", None),
            ("", None),
            ("25 ", None),
            ("x", None),
        ] {
            assert_eq!(port(text), expected, "{text}");
        }
    }
}
