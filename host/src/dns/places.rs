//! Places for the questions of extensions: so many in all, and so many for the names of one domain, so that a domain whose
//! servers are silent holds up those who ask about it and few others. It knows names, and nobody who asks.

use super::turn::{Turn, Turns};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions at a time.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) all: Semaphore,
    pub(super) domains: Turns<String, Domain>,
}

/// Those for one domain.
#[derive(Debug)]
pub(super) struct Domain(Semaphore);

/// Places for one domain: whoever owns it can hold so many, with questions that get no answer.
pub(super) const IN_DOMAIN: usize = 16;

impl Default for Domain {
    fn default() -> Self {
        Domain(Semaphore::new(IN_DOMAIN))
    }
}

impl Places {
    /// So many in all.
    pub(super) fn new(all: usize) -> Places {
        Places { all: Semaphore::new(all), domains: Turns::default() }
    }

    /// Those who ask about the domain of `name`.
    pub(super) fn about(&self, name: &str) -> Turn<'_, String, Domain> {
        self.domains.join(domain(name).to_owned())
    }

    /// A place, when there is one; first one of the domain, so that nobody waits for that with one of all in hand. None
    /// would mean that there will never be one.
    pub(super) async fn take<'a>(
        &'a self,
        domain: &'a Turn<'_, String, Domain>,
    ) -> Option<(SemaphorePermit<'a>, SemaphorePermit<'a>)> {
        let of_domain = domain.shared.0.acquire().await.ok()?;
        Some((of_domain, self.all.acquire().await.ok()?))
    }
}

/// The last two labels. No list says where a registry ends: below some the domains of many share their places, and no
/// domain has more for that.
fn domain(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).and_then(|(dot, _)| name.get(dot + 1..)).unwrap_or(name)
}
