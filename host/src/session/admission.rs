//! Whether an address may be a recipient: the right to send there, and a route that leads there. Peers and policy are
//! judged alike, so an extension can name nobody whom the client could not have named.

use super::envelope::{Fate, Recipient};
use super::facts::Facts;
use super::generation::{Judgement, Post, RecipientName};
use super::relay::{self, Right};
use crate::config;
use pillarbox_smtp::{Address, Domain};
use std::io;
use std::sync::Arc;

/// The judge of one transaction: the listener in the generation that serves it.
#[derive(Clone, Debug, Default)]
pub struct Admission(Option<Arc<Post>>);

/// Why an address is no recipient.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// What it names as its domain can be none.
    #[error("its domain is no name")]
    NoDomain,
    /// Nothing lets this session send there.
    #[error("nothing lets this session send there")]
    Relay,
    /// There is no such mailbox.
    #[error("there is no such mailbox")]
    UnknownMailbox,
    /// No route leads there.
    #[error("no route leads there")]
    NoRoute,
    /// It cannot be told now.
    #[error("it cannot be told now whether there is such a mailbox")]
    Unavailable(#[source] io::Error),
}

impl Admission {
    /// The judge at this post.
    pub fn new(post: Arc<Post>) -> Admission {
        Admission(Some(post))
    }

    /// An address as routes have it.
    pub fn name(&self, address: &Address) -> RecipientName {
        RecipientName::of(address, self.0.as_ref().map_or("", |post| &post.hostname))
    }

    /// A recipient that the peer did not name, and what lets it be one.
    ///
    /// # Errors
    /// It may not be one.
    pub async fn admit(&self, facts: &Facts, address: &Address) -> Result<(Recipient, Right), NotAdmitted> {
        let Some(post) = &self.0 else { return Err(NotAdmitted::NoRoute) };
        let name = self.name(address);
        // `*` and `*.example.org` would cover it, and nothing could ever be delivered there.
        if !name.domain.is_ascii() {
            return Err(NotAdmitted::NoDomain);
        }
        let rules = post.listener.rules_for(facts.client.endpoint.address);
        let domain = (!name.bare_postmaster).then_some(&*name.domain);
        let right = relay::right(&rules, facts, domain).ok_or(NotAdmitted::Relay)?;
        let nowhere = match post.routing.judge(&name, facts).await {
            Judgement::Deliver => false,
            Judgement::Discard => true,
            Judgement::UnknownMailbox => return Err(NotAdmitted::UnknownMailbox),
            Judgement::NoRoute => return Err(NotAdmitted::NoRoute),
            Judgement::Unavailable(error) => return Err(NotAdmitted::Unavailable(error)),
        };
        let address = address.to_string();
        let recipient = Recipient { address, name, parameters: Vec::new(), nowhere, fate: Fate::Keep, said: None };
        Ok((recipient, right))
    }

    /// The limits that hold for this session.
    pub fn limits(&self, facts: &Facts) -> Option<config::Limits> {
        self.0.as_ref().map(|post| post.listener.limits_for(facts.client.endpoint.address))
    }
}

impl RecipientName {
    /// The address as routes have it; `hostname` is the server's own name.
    pub fn of(address: &Address, hostname: &str) -> RecipientName {
        let own = hostname.to_ascii_lowercase();
        match address {
            Address::Postmaster => {
                RecipientName { local: "postmaster".to_owned(), domain: own, postmaster: true, bare_postmaster: true }
            }
            Address::Mailbox(mailbox) => {
                let domain = routed(&mailbox.domain().to_string());
                let postmaster = mailbox.local().eq_ignore_ascii_case("postmaster");
                // Whoever reads the server's name in its greeting or in a notice writes to this one.
                let bare_postmaster = postmaster && domain == own;
                RecipientName { local: mailbox.local().to_owned(), domain, postmaster, bare_postmaster }
            }
        }
    }
}

/// The domain as routes and rules have it: in lower case, labels that are not ASCII as IDNA has them (RFC 5890), so that
/// one domain has one spelling. What has no such spelling, or one that is too long for a name, is left as it is.
fn routed(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    let ascii = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).ok();
    let name = ascii.filter(|ascii| matches!(ascii.parse(), Ok(Domain::Name(_))));
    name.map_or_else(|| domain.to_owned(), std::borrow::Cow::into_owned)
}
