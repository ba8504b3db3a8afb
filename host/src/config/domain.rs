//! Patterns of mail domains, as `relay.domains` and a route's `domains` hold them, and of recipients.

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

/// Recipients: those of some domains, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecipientPattern {
    /// All of these domains.
    Domain(DomainPattern),
    /// This address; domain in lower case.
    Address {
        /// The local part, unquoted.
        local: String,
        /// The domain.
        domain: String,
    },
}

impl RecipientPattern {
    /// Whether a recipient is covered. Local parts are compared without case here: they mostly name one mailbox however
    /// they are written, and a policy that another spelling passes by is none.
    pub fn matches(&self, local: &str, domain: &str) -> bool {
        match self {
            RecipientPattern::Domain(pattern) => pattern.matches(domain),
            RecipientPattern::Address { local: name, domain: at } => {
                name.eq_ignore_ascii_case(local) && at.eq_ignore_ascii_case(domain)
            }
        }
    }
}

impl fmt::Display for RecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecipientPattern::Domain(pattern) => pattern.fmt(f),
            RecipientPattern::Address { local, domain } => write!(f, "{local}@{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_covered_by_domain_or_address() {
        let below = RecipientPattern::Domain(DomainPattern::Below("x.example".to_owned()));
        let address = RecipientPattern::Address { local: "ann".to_owned(), domain: "y.example".to_owned() };
        for (pattern, local, domain, covered) in [
            (&below, "ann", "a.x.example", true),
            (&below, "ann", "x.example", false),
            (&address, "ann", "y.example", true),
            (&address, "ANN", "Y.example", true),
            (&address, "ann", "a.y.example", false),
            (&address, "anna", "y.example", false),
        ] {
            assert_eq!(pattern.matches(local, domain), covered, "{pattern}: {local}@{domain}");
        }
    }
}
