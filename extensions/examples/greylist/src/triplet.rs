//! What is remembered: who sends from where to whom, as one text. Nothing here calls the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pillarbox_sdk::{address, printable};

/// The longest triplet, in octets: a key has at most 512 behind its namespace, and the words before it are part of them.
const LONGEST: usize = 480;

/// The network of the client, the sender and the recipient, both without case.
///
/// The network, because many senders try again from another of their machines: the /24 of IPv4, the /64 of IPv6. Blanks
/// part the three; no address and no domain has any, and what a quoted local part has is written otherwise.
pub fn triplet(client: &str, sender: &str, recipient: &str) -> String {
    let part = |text: &str| printable(&text.to_ascii_lowercase()).replace(' ', "%20");
    let mut triplet = format!("{} {} {}", network(client), part(sender), part(recipient));
    // What is longer than any address in use shares its key with what differs only behind that.
    triplet.truncate(triplet.floor_char_boundary(LONGEST));
    triplet
}

fn network(client: &str) -> String {
    match address::parse(client) {
        Some(IpAddr::V4(v4)) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).to_string(),
        Some(IpAddr::V6(v6)) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).to_string(),
        None => client.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_belongs_together_has_one_triplet() {
        for (client, sender, recipient, expected) in [
            ("192.0.2.77", "A@Example.net", "b@example.ORG", "192.0.2.0 a@example.net b@example.org"),
            ("2001:db8:1:2:3::4", "", "b@example.org", "2001:db8:1:2::  b@example.org"),
            ("::ffff:192.0.2.1", "a@example.net", "\"b c\"@d", "192.0.2.0 a@example.net \"b%20c\"@d"),
        ] {
            assert_eq!(triplet(client, sender, recipient), expected);
        }
        assert_eq!(triplet("192.0.2.1", &"a".repeat(400), &"b".repeat(400)).len(), LONGEST);
    }
}
