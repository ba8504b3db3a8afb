//! Patterns of mail domains, as `relay.domains` and a route's `domains` hold them.

use std::fmt;

/// One domain, all the sub-domains of one, or every domain there is. Compared without case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DomainPattern {
    /// `example.org`: this domain and nothing below it. In lower case.
    Exact(String),
    /// `*.example.org`: whatever lies below this domain, at any depth, but not the domain itself. In lower case.
    Below(String),
    /// `*`: every domain, address literals too.
    Every,
}

impl DomainPattern {
    /// Whether `domain` is covered.
    pub fn matches(&self, domain: &str) -> bool {
        match self {
            DomainPattern::Every => true,
            DomainPattern::Exact(name) => domain.eq_ignore_ascii_case(name),
            DomainPattern::Below(name) => {
                let label = domain.len().checked_sub(name.len()).and_then(|at| domain.split_at_checked(at));
                label.is_some_and(|(front, back)| {
                    back.eq_ignore_ascii_case(name) && front.len() > 1 && front.ends_with('.')
                })
            }
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::Every => f.write_str("*"),
            DomainPattern::Exact(name) => f.write_str(name),
            DomainPattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}
