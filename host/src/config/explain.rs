//! What holds for one client, and who said so: each rule with its value and the place it was written at.
//!
//! It explains what [`Listener::rules_for`] answers and decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::rules::RulesPart;
use super::{Listener, Place};

/// One rule as it holds for a client.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its key as in the file: "limits.recipients", "relay.domains", "context.NAME".
    pub key: String,
    /// Its value, for people: "50MiB", "5m", "no limit", "none".
    pub value: String,
    /// Who said so.
    pub source: Provenance,
    /// Where it stands in the text; none for a default.
    pub place: Option<Place>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Nobody wrote it.
    Default,
    /// The listener.
    Listener,
    /// The peer block of this network.
    Peer(IpNet),
}

impl Listener {
    /// What holds for `client`, rule by rule in the order of the documentation; an address that is unknown lies in no
    /// network.
    pub fn explain(&self, client: Option<IpAddr>) -> Vec<Explained> {
        let rules = self.rules_for(client);
        let relay = [
            ("relay.domains", listed(&rules.relay.domains)),
            ("relay.hosts", listed(&rules.relay.hosts)),
            ("relay.authenticated", rules.relay.authenticated.to_string()),
        ];
        let relay = relay.into_iter().map(|(key, value)| (key.to_owned(), value));
        let context = rules.context.into_iter().map(|(name, value)| (format!("context.{name}"), format!("{value:?}")));
        let limits = rules.limits.shown().map(|(key, value)| (format!("limits.{key}"), value));
        let explained = |(key, value): (String, String)| {
            let (source, place) = self.written.find(&key, client);
            Explained { key, value, source, place }
        };
        let explained = relay.chain(context).chain(limits).map(explained);
        explained.flat_map(|one| if one.key == CONNECTIONS { self.connections(client) } else { vec![one] }).collect()
    }

    /// The one limit that does not take the place of a wider one: what a network has is counted within what its listener
    /// has, so all of them hold.
    fn connections(&self, client: Option<IpAddr>) -> Vec<Explained> {
        let own = (None, self.rules.limits.connections);
        let blocks = self.peers.iter().rev().filter_map(|block| Some((Some(block.network), block.limits.connections?)));
        let bounds = std::iter::once(own).chain(blocks.filter(|(network, _)| holds(*network, client)));
        let explained = |(network, count): (Option<IpNet>, u32)| {
            let (source, place) = match (self.written.at(CONNECTIONS, network), network) {
                (None, _) => (Provenance::Default, None),
                (place, None) => (Provenance::Listener, place),
                (place, Some(network)) => (Provenance::Peer(network), place),
            };
            Explained { key: CONNECTIONS.to_owned(), value: count.to_string(), source, place }
        };
        bounds.map(explained).collect()
    }
}

const CONNECTIONS: &str = "limits.connections";

/// Whether what stands at `network` holds for `client`; what stands at none holds for everybody.
fn holds(network: Option<IpNet>, client: Option<IpAddr>) -> bool {
    let client = client.map(|address| address.to_canonical());
    network.is_none_or(|network| client.is_some_and(|client| network.contains(&client)))
}

fn listed(items: &[impl fmt::Display]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Where the rules of one listener were written: of a key the listener's own place, and each peer block's.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    places: BTreeMap<String, Vec<(Option<IpNet>, Place)>>,
}

impl Written {
    /// Notes what `part` holds, which stands in the peer block of `network` or is the listener's own.
    pub(super) fn note(&mut self, network: Option<IpNet>, part: &RulesPart) {
        for (key, place) in &part.places {
            self.places.entry(key.clone()).or_default().push((network, *place));
        }
    }

    /// Who among those that hold `client` said `key`: the narrowest network, and the listener when there is none.
    fn find(&self, key: &str, client: Option<IpAddr>) -> (Provenance, Option<Place>) {
        let places = self.places.get(key).into_iter().flatten().filter(|(network, _)| holds(*network, client));
        // None is less than every prefix.
        match places.max_by_key(|(network, _)| network.map(|network| network.prefix_len())) {
            None => (Provenance::Default, None),
            Some((None, place)) => (Provenance::Listener, Some(*place)),
            Some((Some(network), place)) => (Provenance::Peer(*network), Some(*place)),
        }
    }

    /// Where `key` stands in the block of `network`, or among the listener's own.
    fn at(&self, key: &str, network: Option<IpNet>) -> Option<Place> {
        let mut places = self.places.get(key).into_iter().flatten();
        places.find(|(written, _)| *written == network).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::{Config, Explained, Limits, Provenance, Source};

    const TEXT: &str = r#"
[server]
hostname = "mx.example.org"
state-dir = "/var/lib/pillarbox"
[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["example.org", "*.example.net"]
limits = { recipients = 50, errors = 0, data-rate = "1KiB", tarpit = "0s", early-talk = "refuse" }
context = { pathway = "internet", region = "eu" }
[listener.edge.peer."10.0.0.0/8"]
limits.recipients = 500
context.pathway = "internal"
[listener.edge.peer."10.1.0.0/16"]
relay.domains = []
limits.recipients = 50
limits.connections = 5
"#;

    fn explained(client: Option<&str>) -> (Vec<Explained>, Source) {
        let source = Source { name: "x.toml".to_owned(), directory: "/".into(), text: TEXT.to_owned() };
        let config = Config::parse(source.clone()).unwrap();
        (config.listeners.get("edge").unwrap().explain(client.map(|client| client.parse().unwrap())), source)
    }

    #[test]
    fn each_value_names_who_said_it_and_where() {
        use Provenance::*;
        let wide = || Peer("10.0.0.0/8".parse().unwrap());
        let narrow = || Peer("10.1.0.0/16".parse().unwrap());
        for (client, key, value, from, line) in [
            (None, "relay.domains", "example.org *.example.net", Listener, Some(7)),
            (None, "relay.hosts", "none", Default, None),
            (None, "relay.authenticated", "false", Default, None),
            (None, "context.pathway", "\"internet\"", Listener, Some(9)),
            (None, "limits.connections", "1000", Default, None),
            (None, "limits.recipients", "50", Listener, Some(8)),
            (None, "limits.errors", "no limit", Listener, Some(8)),
            (None, "limits.message-size", "50MiB", Default, None),
            (None, "limits.data-rate", "1KiB", Listener, Some(8)),
            (None, "limits.tarpit", "none", Listener, Some(8)),
            (None, "limits.early-talk", "refuse", Listener, Some(8)),
            (None, "limits.unauthorized-pipelining", "allow", Default, None),
            (Some("192.0.2.1"), "limits.recipients", "50", Listener, Some(8)),
            (Some("10.9.9.9"), "limits.recipients", "500", wide(), Some(11)),
            (Some("10.9.9.9"), "context.pathway", "\"internal\"", wide(), Some(12)),
            (Some("10.9.9.9"), "context.region", "\"eu\"", Listener, Some(9)),
            // What a block repeats it says all the same.
            (Some("10.1.2.3"), "limits.recipients", "50", narrow(), Some(15)),
            (Some("10.1.2.3"), "relay.domains", "none", narrow(), Some(14)),
            (Some("::ffff:10.1.2.3"), "context.pathway", "\"internal\"", wide(), Some(12)),
            (Some("::1"), "relay.domains", "example.org *.example.net", Listener, Some(7)),
        ] {
            let (all, source) = explained(client);
            let found = all.iter().find(|explained| explained.key == key).unwrap();
            let place = found.place.map(|place| source.line(place));
            assert_eq!((&*found.value, found.source, place), (value, from, line), "{client:?} {key}");
        }
    }

    #[test]
    fn connections_of_a_network_count_within_those_of_the_listener() {
        let bounds = |client| {
            let (all, _) = explained(client);
            let bounds = all.into_iter().filter(|explained| explained.key == "limits.connections");
            bounds.map(|explained| (explained.value, explained.source)).collect::<Vec<_>>()
        };
        let own = ("1000".to_owned(), Provenance::Default);
        assert_eq!(bounds(Some("10.9.9.9")), std::slice::from_ref(&own));
        let narrow = ("5".to_owned(), Provenance::Peer("10.1.0.0/16".parse().unwrap()));
        assert_eq!(bounds(Some("10.1.2.3")), [own, narrow]);
    }

    #[test]
    fn nothing_is_left_out() {
        let (all, _) = explained(None);
        assert_eq!(all.len(), 3 + 2 + Limits::KEYS.len());
    }
}
