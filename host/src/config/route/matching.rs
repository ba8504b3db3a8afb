//! Which messages a route takes, and which routes are never reached.

use super::super::domain::{DomainPattern, RecipientPattern};
use super::super::reader::Value;
use super::super::{Place, Problem};
use super::Route;

impl Route {
    /// Whether it takes mail for this recipient that came in at this listener. `context` gives the value of a name, the
    /// message's before the connection's.
    pub fn takes<'c>(
        &self,
        recipient: (&str, &str),
        listener: &str,
        context: impl Fn(&str) -> Option<&'c str>,
    ) -> bool {
        self.may_take(recipient, listener)
            && self.context.iter().all(|(name, pattern)| context(name).is_some_and(|value| like(pattern, value)))
    }

    /// Whether it takes such mail with some context or other.
    pub fn may_take(&self, (local, domain): (&str, &str), listener: &str) -> bool {
        (self.domains.is_empty() || self.domains.iter().any(|pattern| pattern.matches(domain)))
            && (self.addresses.is_empty() || self.addresses.iter().any(|pattern| pattern.matches(local, domain)))
            && (self.listeners.is_empty() || self.listeners.iter().any(|name| name == listener))
    }

    fn takes_all(&self) -> bool {
        self.addresses.is_empty() && self.listeners.is_empty() && self.context.is_empty() && self.takes_every_domain()
    }

    fn takes_every_domain(&self) -> bool {
        self.domains.is_empty() || self.domains.contains(&DomainPattern::Every)
    }

    /// Whether whatever `other` would take is taken by this one.
    fn covers(&self, other: &Route) -> bool {
        let domain = |wanted: &DomainPattern| self.domains.iter().any(|own| holds(own, wanted));
        let address_in_domains = |wanted: &RecipientPattern| match wanted {
            RecipientPattern::Domain(pattern) => domain(pattern),
            RecipientPattern::Address { domain, .. } => self.domains.iter().any(|own| own.matches(domain)),
        };
        let domains = self.takes_every_domain()
            || (!other.domains.is_empty() && other.domains.iter().all(domain))
            || (!other.addresses.is_empty() && other.addresses.iter().all(address_in_domains));
        let address = |wanted: &RecipientPattern| {
            self.addresses.iter().any(|own| match (own, wanted) {
                (RecipientPattern::Domain(own), RecipientPattern::Domain(wanted)) => holds(own, wanted),
                (own, RecipientPattern::Address { local, domain }) => own.matches(local, domain),
                (RecipientPattern::Address { .. }, RecipientPattern::Domain(_)) => false,
            })
        };
        let addresses =
            self.addresses.is_empty() || (!other.addresses.is_empty() && other.addresses.iter().all(address));
        let listeners = self.listeners.is_empty()
            || (!other.listeners.is_empty() && other.listeners.iter().all(|name| self.listeners.contains(name)));
        let context = self.context.iter().all(|(name, own)| {
            other
                .context
                .get(name)
                .is_some_and(|wanted| own == wanted || own == "*" || !wanted.contains('*') && like(own, wanted))
        });
        domains && addresses && listeners && context
    }
}

fn holds(own: &DomainPattern, wanted: &DomainPattern) -> bool {
    match (own, wanted) {
        (DomainPattern::Every, _) => true,
        (_, DomainPattern::Every) => false,
        (own, DomainPattern::Exact(name)) => own.matches(name),
        (DomainPattern::Below(own), DomainPattern::Below(name)) => {
            own == name || DomainPattern::Below(own.clone()).matches(name)
        }
        (DomainPattern::Exact(_), DomainPattern::Below(_)) => false,
    }
}

/// What stands behind a route that takes all it would take, is a mistake. One is shown for each route that does so.
pub(super) fn check_order(value: Value<'_>, routes: &[Route]) {
    let mut shown: Vec<Place> = Vec::new();
    for (index, idle) in routes.iter().enumerate() {
        let Some(before) = routes.iter().take(index).find(|before| before.covers(idle)) else { continue };
        if shown.contains(&before.place) {
            continue;
        }
        shown.push(before.place);
        let message = match before.takes_all() {
            true => "this route is never reached: one before it takes every domain".to_owned(),
            false => format!("this route is never reached: `{}` before it takes all that it would", before.to),
        };
        value.note(Problem::at(idle.place, message).help("the first route that matches wins"));
    }
}

/// Whether a pattern with any number of `*`, each of which stands for any run of characters, matches a text.
pub fn like(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = tail.split('*').collect();
    // The part behind the last star is matched at the end; those between, each at its first place.
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}
