//! What guests are served by beyond their session: stores, tables, names, hosts. The process keeps some of it, a
//! configuration brings the rest; a guest reaches each only through the host functions that ask its grant first.

use crate::dns::Resolver;
use crate::http::Client;
use std::sync::Arc;

/// The services of one configuration. Clones share what is behind them.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Who is asked for names, where a grant of `dns` needs it.
    pub names: Option<Arc<Resolver>>,
    /// Who calls hosts, where a grant of `http` needs it.
    pub http: Option<Arc<Client>>,
}
