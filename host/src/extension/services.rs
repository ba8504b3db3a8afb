//! What guests are served by beyond their session: stores, tables, names, hosts. The process keeps some of it, a
//! configuration brings the rest; a guest reaches each only through the host functions that ask its grant first.

use crate::dns::Resolver;
use crate::http::Client;
use crate::kv::Kv;
use crate::table::Tables;
use std::sync::Arc;

/// The services of one configuration. Clones share what is behind them.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// The store of the process; none where nothing is served.
    pub kv: Option<Kv>,
    /// The tables of the configuration.
    pub tables: Tables,
    /// Who is asked for names, where a grant of `dns` needs it.
    pub names: Option<Arc<Resolver>>,
    /// Who calls hosts, where a grant of `http` needs it.
    pub http: Option<Arc<Client>>,
}

impl Services {
    /// The same for a shadow: it reads what the extension in use reads, and what it writes goes to a copy that its
    /// sessions share as long as the generation.
    pub fn for_shadow(&self) -> Services {
        Services { kv: self.kv.as_ref().map(Kv::shadow), ..self.clone() }
    }

    /// Lets go of what would be lost with the process. Nobody is served any more.
    pub async fn close(&self) {
        if let Some(kv) = &self.kv {
            kv.close().await;
        }
    }
}
