//! What a session takes from one generation of the configuration: for each listener a [`Post`]. Generations are published
//! as a whole; a session holds the one it serves a message by until that message ends, and no longer.

use super::facts::Facts;
use super::policy::{Asking, Extensions};
use crate::auth::Users;
use crate::dns::Resolver;
use crate::spool::{Draft, Envelope, Outcome};
use crate::{config, tls};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// One loaded configuration, as far as sessions are concerned.
#[derive(Debug, Default)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// By listener name.
    pub posts: BTreeMap<String, Arc<Post>>,
}

/// One listener in one generation.
pub struct Post {
    /// What the operator wrote for it.
    pub listener: Arc<config::Listener>,
    /// The server's name.
    pub hostname: Arc<str>,
    /// Certificates, where the listener speaks TLS.
    pub tls: Option<tls::Acceptor>,
    /// Who may log in, where a file says so. What it holds changes with the file.
    pub users: Option<Arc<ArcSwap<Users>>>,
    /// Who is asked for the names of clients, where they are wanted.
    pub names: Option<Arc<Resolver>>,
    /// Its extensions.
    pub extensions: Arc<dyn Extensions>,
    /// Where mail goes.
    pub routing: Arc<dyn Routing>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}

/// A recipient, as routes look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientName {
    /// The local part, unquoted.
    pub local: String,
    /// The domain in lower case, or an address literal; the server's own name for the bare `<postmaster>`. Not ASCII
    /// where it cannot be written as the DNS has names.
    pub domain: String,
    /// Whether it is postmaster, whose mail is always taken.
    pub postmaster: bool,
    /// Whether it is the server's own: `<postmaster>` without a domain, or at the server's name.
    pub bare_postmaster: bool,
}

/// What routes say of a recipient.
#[derive(Debug)]
pub enum Judgement {
    /// It can be delivered.
    Deliver,
    /// It goes to `discard:`.
    Discard,
    /// There is no such mailbox.
    UnknownMailbox,
    /// No route leads there.
    NoRoute,
    /// It cannot be told now.
    Unavailable(io::Error),
}

/// Where mail goes; `delivery` knows, and the top hands it in.
pub trait Routing: Send + Sync {
    /// Whether this recipient of this session can be delivered.
    fn judge<'a>(&'a self, recipient: &'a RecipientName, facts: &'a Facts) -> Asking<'a, Judgement>;

    /// Whether there are recipients whose message goes to where it is kept before it is accepted, and is not spooled.
    fn hands_over(&self) -> bool {
        false
    }

    /// Hands a message over for such recipients, by their places in the envelope, and says what became of each of them. Of
    /// those that are to be spooled nothing is said.
    fn hand_over<'a>(&'a self, envelope: &'a Envelope, draft: &'a Draft) -> Asking<'a, Vec<(usize, Outcome)>> {
        let _ = (envelope, draft);
        Box::pin(async { Vec::new() })
    }
}
