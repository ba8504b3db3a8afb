//! `cidr`: networks, of which the narrowest that holds an address is its own. What is written IPv4-mapped is IPv4.

use super::lines::{BadLine, LineError, MOST, Text, Texts, entries, split};
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The networks, by family and length.
#[derive(Debug)]
pub(super) struct Networks {
    values: Texts,
    /// The narrowest first; each sorted by its addresses. The key is the family, and the length of the prefix.
    lengths: BTreeMap<(Family, Reverse<u8>), Vec<Entry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first address.
    bits: u128,
    value: Text,
}

impl Networks {
    pub(super) fn read(text: &str) -> Result<Networks, Vec<BadLine>> {
        let (mut values, mut rows, mut bad) = (Texts::default(), Vec::new(), Vec::new());
        for (number, entry) in entries(text) {
            let (key, value) = split(entry);
            match network(key) {
                Err(why) => bad.push(BadLine { number, why }),
                Ok(_) if rows.len() == MOST => {
                    bad.push(BadLine { number, why: LineError::TooMany(MOST) });
                    break;
                }
                Ok(network) => {
                    let (family, bits) = bits(network.network());
                    rows.push(((family, Reverse(network.prefix_len())), bits, number, values.put(value)));
                }
            }
        }
        rows.sort_unstable_by_key(|(length, bits, number, _)| (*length, *bits, *number));
        let mut lengths: BTreeMap<_, Vec<Entry>> = BTreeMap::new();
        let mut first = None;
        for (length, bits, number, value) in rows {
            match first.filter(|(before, _)| *before == (length, bits)) {
                Some((_, first)) => bad.push(BadLine { number, why: LineError::Duplicate { first } }),
                None => {
                    first = Some(((length, bits), number));
                    lengths.entry(length).or_default().push(Entry { bits, value });
                }
            }
        }
        if !bad.is_empty() {
            bad.sort_by_key(|line| line.number);
            return Err(bad);
        }
        values.shrink();
        Ok(Networks { values, lengths })
    }

    /// What is no address lies in no network.
    pub(super) fn lookup(&self, key: &str) -> Option<&str> {
        let address = key.parse::<IpAddr>().ok()?.to_canonical();
        let (family, address) = bits(address);
        let found =
            self.lengths.range((family, Reverse(u8::MAX))..=(family, Reverse(0))).find_map(|(length, nets)| {
                let bits = address & mask(length.0, length.1.0);
                let found = nets.binary_search_by_key(&bits, |entry| entry.bits).ok()?;
                nets.get(found)
            })?;
        Some(self.values.text(found.value))
    }

    pub(super) fn len(&self) -> usize {
        self.lengths.values().map(Vec::len).sum()
    }
}

/// The bits of an address that a prefix of this length leaves.
fn mask(family: Family, length: u8) -> u128 {
    let width = match family {
        Family::V4 => 32_u32,
        Family::V6 => 128,
    };
    let behind = width.saturating_sub(length.into());
    u128::MAX.checked_shl(behind).unwrap_or(0)
}

fn bits(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(v4) => (Family::V4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
    }
}

fn network(text: &str) -> Result<IpNet, LineError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network = text.parse::<IpNet>().map_err(|_| LineError::NotANetwork(clipped(text)))?;
    if network.trunc() != network {
        return Err(LineError::HostBits {
            written: clipped(text),
            network: network.trunc().to_string(),
            host: network.addr().to_string(),
        });
    }
    Ok(match network {
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96))
            .and_then(|(v4, length)| IpNet::new(v4.into(), length).ok())
            .unwrap_or(network),
        IpNet::V4(_) => network,
    })
}

fn clipped(text: &str) -> String {
    crate::observe::clip(text).into_owned()
}
