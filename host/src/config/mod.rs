//! The configuration: TOML text in, checked values out, or every mistake of the file with its line.
//!
//! A value that leaves this room is whole: defaults are filled in, paths are absolute, names refer to something that is
//! there. The room does not know what a component is: what can only be judged with one at hand (imports nobody
//! granted, a missing `peers`) is judged by `extension`, which finds the places to point at in the values. Nor does it
//! open, bind or read anything a configuration names.

mod auth;
mod candidate;
mod delivery;
mod domain;
mod explain;
mod extension;
mod extension_limits;
mod failing;
mod grant;
mod host;
mod http;
mod identity;
mod kv;
mod limits;
mod listener;
mod problem;
mod protocol;
mod reach;
mod reader;
mod route;
mod rules;
mod server;
mod spool;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod unserved;
mod uses;
mod value;
mod words;

pub use auth::{Auth, External};
pub use candidate::{Candidate, Trial, WHOLE};
pub use delivery::{Concurrency, Delivery, Retry};
pub use domain::{DomainPattern, RecipientPattern};
pub use explain::{Explained, Provenance};
pub use extension::{Component, Extension, STOCK, Setting};
pub use extension_limits::{
    ExtensionLimits, ExtensionLimitsPart, MOST_TABLE_ELEMENTS, SessionLimits, SessionLimitsPart, Spending,
};
pub use failing::{Breaker, OnFailure, OnFailures};
pub use grant::{Capability, Grant, Granted};
pub use host::Host;
pub use http::Http;
pub use identity::{ClientName, Dns, Proxy};
pub use kv::{Kv, KvNats, KvRedis, KvStore};
pub use limits::{Limits, LimitsPart, Manners};
pub use listener::{Listener, PeerBlock};
pub use problem::{Place, Problem, Problems, Source};
pub use reach::{DnsReach, HttpHost, HttpReach, METHODS, Reach, RecordKind, Scheme, StreamAddress};
pub use route::{
    Hop, HopHost, HopProtocol, HopTimeouts, HopTls, HopTlsMode, Login, MaildirPath, NatsServers, NatsTarget, PassOn,
    RelayTarget, Route, Target, WebhookTarget, like,
};
pub use rules::{Relay, RelayPart, Rules};
pub use server::{Compile, Instances, Level, Log, LogFormat, Server};
pub use spool::{Reserve, Spool};
pub use table::{TableFile, TableType};
pub use tls::{Certificate, Tls, TlsClients, TlsMode};
pub use uses::{Trust, Use, Verdicts};
pub use value::duration;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::DeTable;

use listener::Addresses;
use reader::{Reading, Table, Value};
use route::{Doors, read_routes};
use uses::Defined;
use value::show_size;

/// One configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The text it was read from, for messages that point into it.
    pub source: Arc<Source>,
    /// `[server]`.
    pub server: Server,
    /// `[log]`.
    pub log: Log,
    /// `[dns]`.
    pub dns: Dns,
    /// `[http]`.
    pub http: Http,
    /// `[kv]`.
    pub kv: Kv,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[spool]`.
    pub spool: Spool,
    /// `[listener.NAME]`, by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// `[extension.NAME]`, by name.
    pub extensions: BTreeMap<String, Arc<Extension>>,
    /// `[table.NAME]`, by name.
    pub tables: BTreeMap<String, TableFile>,
    /// `[[route]]`, in order: the first that matches wins.
    pub routes: Arc<[Route]>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, found in one run; where the text is no TOML, the first lines that show it.
    pub fn parse(source: Source) -> Result<Config, Problems> {
        let source = Arc::new(source);
        let (tree, syntax) = DeTable::parse_recoverable(&source.text);
        if !syntax.is_empty() {
            return Err(Problems::new(Arc::clone(&source), syntax_problems(&source, &syntax)));
        }
        let reading = Reading::new(&source);
        let config = Config::read(Table::root(tree.get_ref(), &reading), &source);
        let problems = reading.into_problems();
        config.filter(|_| problems.is_empty()).ok_or_else(|| Problems::new(Arc::clone(&source), problems))
    }

    /// Where a configuration keeps its state, whatever else is wrong with it: a server that goes on with an older one can
    /// still be found.
    pub fn state_dir(source: &Source) -> Option<PathBuf> {
        let (tree, _) = DeTable::parse_recoverable(&source.text);
        let server = tree.get_ref().get("server").and_then(|server| server.get_ref().get("state-dir"));
        let whole = server.and_then(|value| value.get_ref().as_str()).map(str::to_owned);
        // Where the text is no TOML as a whole, the line by itself mostly still is.
        let alone = || {
            let line = source.text.lines().find(|line| line.trim_start().starts_with("state-dir"))?;
            let table: toml::Table = toml::from_str(line).ok()?;
            table.get("state-dir")?.as_str().map(str::to_owned)
        };
        Some(source.directory.join(whole.or_else(alone)?))
    }

    /// The configuration that holds where no file is given. Its relative paths start at the working directory.
    pub fn embedded() -> Source {
        Source {
            name: "the embedded default".to_owned(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            text: include_str!("../../../config/pillarbox.toml").to_owned(),
        }
    }

    /// None only where something was noted.
    fn read(mut root: Table<'_>, source: &Arc<Source>) -> Option<Config> {
        let server = Server::read(&mut root);
        let log = Log::read(&mut root);
        let dns = Dns::read(&mut root);
        let http = Http::read(&mut root);
        let kv = Kv::read(&mut root);
        let delivery = Delivery::read(&mut root);
        let spool = Spool::read(&mut root);
        let extensions = root.take("extension").map(|value| value.named_tables("[extension.NAME]")).unwrap_or_default();
        // One that is defined wrongly is defined all the same: who uses it makes no second mistake.
        let names = |values: &[Value<'_>]| values.iter().map(|value| value.name.to_owned()).collect::<Vec<_>>();
        let tables = root.take("table").map(|value| value.named_tables("[table.NAME]")).unwrap_or_default();
        let defined = Defined { extensions: names(&extensions), tables: names(&tables) };
        let tables = tables.into_iter().filter_map(TableFile::read);
        let tables = tables.map(|table| (table.name.clone(), table)).collect();
        let extensions = extensions.into_iter().filter_map(Extension::read);
        let extensions = extensions.map(|extension| (extension.name.clone(), Arc::new(extension))).collect();
        if let Some(server) = &server {
            check_memory(server, &extensions, &root);
        }

        let listeners = root.take("listener").map(|value| value.named_tables("[listener.NAME]"));
        if listeners.is_none() {
            let help = "add\n[listener.local]\naddress = [\"127.0.0.1:2525\"]";
            root.note(Problem::whole("no listener is defined").help(help));
        }
        let hostname = server.as_ref().map_or("", |server| server.hostname.as_str());
        let mut addresses = Addresses::new();
        let listeners = listeners.unwrap_or_default();
        let doors = names(&listeners);
        let listeners =
            listeners.into_iter().filter_map(|value| Listener::read(value, hostname, &defined, &mut addresses));
        let mut listeners: Vec<Listener> = listeners.collect();

        let doors = Doors { names: &doors, addresses: &addresses };
        let routes = root.take("route").map(|value| read_routes(value, doors)).unwrap_or_default();
        // RFC 8689 section 4.2.1: whoever takes such a message passes it on under verified TLS, or not at all.
        let verified = routes.iter().all(|route| route.to.verifies_tls());
        listeners.iter_mut().for_each(|listener| listener.esmtp.require_tls &= verified);
        let listeners = listeners.into_iter().map(|listener| (listener.name.clone(), Arc::new(listener))).collect();
        root.finish();
        Some(Config {
            source: Arc::clone(source),
            server: server?,
            log,
            dns,
            http,
            kv,
            delivery,
            spool,
            listeners,
            extensions,
            tables,
            routes: routes.into(),
        })
    }
}

/// No instance of an extension could ever be made that may take more than all of them together.
fn check_memory(server: &Server, extensions: &BTreeMap<String, Arc<Extension>>, root: &Table<'_>) {
    let all = server.instances.memory;
    let every = extensions.values().flat_map(|extension| extension.and_candidate());
    for extension in every.filter(|extension| extension.limits.memory > all) {
        let message = format!(
            "one instance of `{}` may take {}, all instances together {}",
            extension.name,
            show_size(extension.limits.memory),
            show_size(all)
        );
        let help = "raise `server.instances.memory` or lower `limits.memory`";
        root.note(Problem::at(extension.place, message).help(help));
    }
}

/// The first mistake of each line, for what a parser says after it is guesswork; and no more lines than one would read,
/// for a file that is no TOML at all is wrong in each of them.
fn syntax_problems(source: &Source, errors: &[toml::de::Error]) -> Vec<Problem> {
    const LINES: usize = 20;
    let mut errors = errors.iter().collect::<Vec<_>>();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut lines = BTreeMap::new();
    for error in errors.into_iter().take(LINES * 10) {
        let place = error.span().map(Place::from);
        let line = place.and_then(|place| source.text.get(..place.start)).map(|before| before.matches('\n').count());
        let problem = match place {
            Some(place) => Problem::at(place, error.message()),
            None => Problem::whole(error.message()),
        };
        lines.entry(line).or_insert(problem);
    }
    lines.into_values().take(LINES).collect()
}
