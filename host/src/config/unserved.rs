//! What is right in a configuration and hardly meant: mail that a listener takes and no route does, a listener that takes
//! none. None of it is an error, for a route can be missing on purpose; who is refused so hears 550 5.4.4 all the same.

use ipnet::IpNet;

use super::{Config, DomainPattern, Listener, Place, Problem, RecipientPattern, Relay, Route};

impl Config {
    /// Warnings, in the order of the text.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if self.routes.is_empty() {
            let message = "there is no route: every recipient but <postmaster> is refused, 550 5.4.4";
            let help = "add\n[[route]]\nto = \"maildir:/var/mail/{domain}/{local}\"";
            warnings.push(Problem::whole(message).help(help));
        }
        for listener in self.listeners.values() {
            if takes_nothing(listener) {
                let message = format!("the listener `{}` takes no mail but for <postmaster>", listener.name);
                let help = "say what it takes, as in relay.domains = [\"example.org\"]";
                warnings.push(Problem::at(listener.place, message).help(help));
            }
            if !self.routes.is_empty() {
                warnings.extend(unserved(listener, &self.routes));
            }
        }
        warnings.sort_by_key(Problem::place);
        warnings.into_iter().map(Problem::as_warning).collect()
    }
}

/// A list that was written empty was meant to be.
fn takes_nothing(listener: &Listener) -> bool {
    listener.rules.relay == Relay::default()
        && rights(listener).is_empty()
        && KEYS.iter().all(|key| !written(listener, key))
}

const KEYS: [&str; 3] = ["relay.domains", "relay.hosts", "relay.authenticated"];

fn written(listener: &Listener, key: &str) -> bool {
    let blocks = listener.peers.iter().map(|block| Some(block.network));
    std::iter::once(None).chain(blocks).any(|network| listener.written.at(key, network).is_some())
}

/// Mail that is taken and goes nowhere, a warning for each key that lets it in.
fn unserved(listener: &Listener, routes: &[Route]) -> Vec<Problem> {
    let here: Vec<&Route> =
        routes.iter().filter(|route| route.listeners.is_empty() || route.listeners.contains(&listener.name)).collect();
    let unserved = rights(listener).into_iter().filter_map(|right| {
        let lost = |wanted: &&DomainPattern| !here.iter().any(|route| may_serve(route, wanted));
        let lost: Vec<&DomainPattern> = right.domains.iter().filter(lost).collect();
        let name = &listener.name;
        match lost.as_slice() {
            [] => None,
            lost if lost.contains(&&DomainPattern::Every) => {
                let message = format!(
                    "the listener `{name}` takes mail for every domain by `{}`, and no route does: where none takes a \
                     recipient it is refused, 550 5.4.4",
                    right.key
                );
                Some(Problem::at(right.place, message).help("add\n[[route]]\nto = \"smtp://{domain}\""))
            }
            lost => {
                let domains: Vec<String> = lost.iter().map(|pattern| format!("`{pattern}`")).collect();
                let message = format!(
                    "the listener `{name}` takes mail for {}, and no route does: its recipients are refused, 550 5.4.4",
                    domains.join(", ")
                );
                Some(Problem::at(right.place, message))
            }
        }
    });
    unserved.collect()
}

/// What lets mail in, and where it stands.
struct Right {
    key: &'static str,
    place: Place,
    domains: Vec<DomainPattern>,
}

/// What the listener and its peer blocks say.
fn rights(listener: &Listener) -> Vec<Right> {
    let own = &listener.rules.relay;
    let mut rights = Vec::new();
    let mut add = |network: Option<IpNet>, domains: &[DomainPattern], hosts: bool, authenticated: bool| {
        for (key, domains) in [
            ("relay.domains", domains),
            ("relay.hosts", if hosts { &[DomainPattern::Every][..] } else { &[] }),
            ("relay.authenticated", if authenticated { &[DomainPattern::Every][..] } else { &[] }),
        ] {
            if !domains.is_empty() {
                let place = listener.written.at(key, network).unwrap_or(listener.place);
                rights.push(Right { key, place, domains: domains.to_vec() });
            }
        }
    };
    add(None, &own.domains, !own.hosts.is_empty(), own.authenticated);
    for block in &listener.peers {
        let relay = &block.relay;
        let hosts = relay.hosts.as_ref().is_some_and(|hosts| !hosts.is_empty());
        add(
            Some(block.network),
            relay.domains.as_deref().unwrap_or_default(),
            hosts,
            relay.authenticated == Some(true),
        );
    }
    rights
}

/// Whether some of this mail may go by that route. Who lists addresses or looks at the context means to leave others out;
/// of every domain nothing less than every domain will do.
fn may_serve(route: &Route, wanted: &DomainPattern) -> bool {
    let address = |address: &RecipientPattern| match address {
        RecipientPattern::Domain(own) => meets(own, wanted),
        RecipientPattern::Address { domain, .. } => meets(&DomainPattern::Exact(domain.clone()), wanted),
    };
    (route.domains.is_empty() || route.domains.iter().any(|own| meets(own, wanted)))
        && (route.addresses.is_empty() || route.addresses.iter().any(address))
}

fn meets(own: &DomainPattern, wanted: &DomainPattern) -> bool {
    match (own, wanted) {
        (DomainPattern::Every, _) => true,
        (_, DomainPattern::Every) => false,
        (own, DomainPattern::Exact(name)) => own.matches(name),
        (DomainPattern::Exact(name), wanted) => wanted.matches(name),
        (DomainPattern::Below(one), DomainPattern::Below(other)) => {
            one == other || own.matches(other) || wanted.matches(one)
        }
    }
}
