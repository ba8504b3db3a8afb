//! Block lists of the DNS (RFC 5782): an address is a name below the list, and what stands there says that it is listed.

use pillarbox_sdk::{Error, dns};
use std::net::{IpAddr, Ipv4Addr};

/// Whether `list` has this address.
///
/// # Errors
/// The list cannot be asked, or answers what no list answers.
pub fn lists(address: IpAddr, list: &str) -> Result<bool, Error> {
    Ok(dns::addresses(&question(address, list))?.iter().any(|answer| listed(answer)))
}

/// The name of an address in a list: sections 2.1 and 2.4.
fn question(address: IpAddr, list: &str) -> String {
    let labels: Vec<String> = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().iter().rev().map(ToString::to_string).collect(),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    format!("{}.{list}", labels.join("."))
}

/// Section 2.3: a list answers below 127.0.0.0/8. 127.255.255.0/24 is what lists say to those whom they do not answer, and
/// anything else is a domain that somebody has parked.
fn listed(answer: &str) -> bool {
    answer.parse::<Ipv4Addr>().is_ok_and(|answer| {
        let [first, second, third, _] = answer.octets();
        first == 127 && (second, third) != (255, 255)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_name_below_the_list() {
        for (address, name) in [
            ("192.0.2.99", "99.2.0.192.list.example"),
            ("::ffff:192.0.2.99", "99.2.0.192.list.example"),
            (
                "2001:db8:1:2:3:4:567:89ab",
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list.example",
            ),
        ] {
            assert_eq!(question(address.parse().unwrap(), "list.example"), name);
        }
    }

    #[test]
    fn only_what_lists_answer_lists_anybody() {
        for (answer, expected) in [
            ("127.0.0.2", true),
            ("127.0.0.11", true),
            ("127.255.255.254", false),
            ("192.0.2.1", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(listed(answer), expected, "{answer}");
        }
    }
}
