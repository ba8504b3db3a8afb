//! What is measured: the server in four configurations, and the responder.

use std::net::SocketAddr;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The server.
    Pillarbox {
        /// With the five stock extensions there for the client.
        extensions: bool,
        /// Messages are made durable and delivered to Maildirs; otherwise they are discarded.
        durable: bool,
    },
    /// Canned replies: what is possible at most.
    Responder,
}

impl Variant {
    /// All, in the table's order.
    pub const ALL: [Variant; 5] = [
        Variant::Pillarbox { extensions: false, durable: false },
        Variant::Pillarbox { extensions: true, durable: false },
        Variant::Pillarbox { extensions: false, durable: true },
        Variant::Pillarbox { extensions: true, durable: true },
        Variant::Responder,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Pillarbox { extensions: false, durable: false } => "no extensions, discarded",
            Variant::Pillarbox { extensions: true, durable: false } => "five extensions, discarded",
            Variant::Pillarbox { extensions: false, durable: true } => "no extensions, durable, into Maildirs",
            Variant::Pillarbox { extensions: true, durable: true } => "five extensions, durable, into Maildirs",
            Variant::Responder => "responder: canned replies, nothing stored",
        }
    }

    /// Its name as a directory.
    pub fn slug(self) -> &'static str {
        match self {
            Variant::Pillarbox { extensions: false, durable: false } => "plain",
            Variant::Pillarbox { extensions: true, durable: false } => "extended",
            Variant::Pillarbox { extensions: false, durable: true } => "plain-durable",
            Variant::Pillarbox { extensions: true, durable: true } => "extended-durable",
            Variant::Responder => "responder",
        }
    }

    /// Whether it writes to the disk.
    pub fn is_durable(self) -> bool {
        matches!(self, Variant::Pillarbox { durable: true, .. })
    }

    /// The server's configuration; the responder has none.
    pub fn configuration(self, address: SocketAddr) -> Option<String> {
        let Variant::Pillarbox { extensions, durable } = self else { return None };
        let route = if durable { "to = \"maildir:mail/{domain}/{local}\"\ncreate = true" } else { "to = \"discard:\"" };
        let extensions = if extensions { EXTENSIONS } else { "" };
        Some(format!(
            "[server]\nhostname = \"mx.example.test\"\nstate-dir = \"state\"\n\n\
             [log]\nlevel = \"warn\"\n\n\
             [listener.bench]\naddress = [\"{address}\"]\nrelay.domains = [\"example.test\"]\n\
             limits.connections = 4000\n\n{extensions}\
             [[route]]\n{route}\n"
        ))
    }
}

/// Momentum's five, for clients on this machine, with all they ask for.
const EXTENSIONS: &str = r#"[[listener.bench.extension]]
use = "always-allow"
peers = ["127.0.0.0/8"]
grant.session = true
grant.authentication = ["anonymous"]

[[listener.bench.extension]]
use = "xclient"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = true
grant.authentication = true

[[listener.bench.extension]]
use = "xremoteip"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = ["addr"]

[[listener.bench.extension]]
use = "xsetcontext"
peers = ["127.0.0.0/8"]
grant.context-write = { connection = ["*"] }

[[listener.bench.extension]]
use = "xdumpcontext"
peers = ["127.0.0.0/8"]
grant.context-read = true

[extension.always-allow]
component = "builtin:always-allow"

[extension.xclient]
component = "builtin:xclient"

[extension.xremoteip]
component = "builtin:xremoteip"

[extension.xsetcontext]
component = "builtin:xsetcontext"

[extension.xdumpcontext]
component = "builtin:xdumpcontext"

"#;
