//! `[kv]`: what keeps the values that outlive sessions. Who may use which of them, the grants say.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Table, Value};
use super::value::Mistake;
use super::{Host, NatsServers, Place, Problem};

/// `[kv]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// What keeps the values.
    pub store: KvStore,
    /// Where that was written.
    pub place: Place,
    /// How long a server may take to answer one call.
    pub timeout: Duration,
}

/// What keeps the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvStore {
    /// A file in the state directory.
    Embedded,
    /// A bucket of NATS servers.
    Nats(KvNats),
    /// A database of a Redis server.
    Redis(KvRedis),
}

/// `nats://HOST:PORT/BUCKET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvNats {
    /// The servers, and how to be let in.
    pub servers: NatsServers,
    /// The bucket.
    pub bucket: String,
}

/// `redis://HOST:PORT/DATABASE` and `rediss://`, which is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvRedis {
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub database: u32,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// PEM authorities of its certificate; the system's where nothing is written.
    pub authorities: Option<PathBuf>,
    /// The name the server knows; none for its default user.
    pub user: Option<String>,
    /// A file whose first line is the password. Absolute.
    pub password_file: Option<PathBuf>,
}

impl Default for Kv {
    fn default() -> Kv {
        Kv { store: KvStore::Embedded, place: Place::default(), timeout: Duration::from_secs(2) }
    }
}

/// What `store` says.
enum Store {
    Embedded,
    Nats(Vec<(Host, u16)>, String),
    Redis { host: Host, port: u16, database: u32, tls: bool },
}

impl Kv {
    /// `[kv]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Kv {
        let default = Kv::default();
        let Some(mut table) = root.table("kv") else { return default };
        let value = table.take("store");
        let timeout = table.take("timeout");
        let timeout = timeout.and_then(|value| value.duration(Duration::from_millis(1)..=Duration::from_secs(60)));
        let store = match value.map_or(Some(Store::Embedded), |value| value.parsed(parse_store)) {
            Some(Store::Embedded) => KvStore::Embedded,
            Some(Store::Nats(hosts, bucket)) => {
                KvStore::Nats(KvNats { servers: NatsServers::read(hosts, |key| table.take(key)), bucket })
            }
            Some(Store::Redis { host, port, database, tls }) => {
                let authorities = table.take("authorities");
                if let Some(authorities) = authorities.filter(|_| !tls) {
                    let problem = Problem::at(authorities.key, "`authorities` without TLS");
                    authorities.note(problem.help("write `rediss://`, or leave them out"));
                }
                let (user, password) = (table.take("user"), table.take("password-file"));
                if let (Some(user), None) = (user, password) {
                    user.note(Problem::at(user.key, "`user` without `password-file`").help("add it, or leave it out"));
                }
                KvStore::Redis(KvRedis {
                    host,
                    port,
                    database,
                    tls,
                    authorities: authorities.and_then(Value::path),
                    user: user.and_then(Value::text).map(str::to_owned),
                    password_file: password.and_then(Value::path),
                })
            }
            None => {
                // What the other keys mean cannot be told.
                ALL.iter().for_each(|key| _ = table.take(key));
                KvStore::Embedded
            }
        };
        table.finish();
        Kv {
            store,
            place: value.map_or(default.place, |value| value.place),
            timeout: timeout.unwrap_or(default.timeout),
        }
    }
}

const ALL: [&str; 6] = ["tls", "authorities", "credentials", "token-file", "user", "password-file"];

fn parse_store(text: &str) -> Result<Store, Mistake> {
    let mistake = || {
        let help = "write \"embedded\", \"nats://HOST:PORT/BUCKET\", \"redis://HOST:PORT/DATABASE\" or \"rediss://…\"";
        Mistake::new(format!("`{text}` is no store")).help(help)
    };
    if text == "embedded" {
        return Ok(Store::Embedded);
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(mistake)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        let help = "there are `user` and `password-file`, `token-file` and `credentials`";
        return Err(Mistake::new("`store` holds no names and no passwords").help(help));
    }
    let hosts = |standard: u16| {
        let each = authority.split(',').map(Host::parse_with_port);
        each.map(|found| found.map(|(host, port)| (host, port.unwrap_or(standard)))).collect::<Option<Vec<_>>>()
    };
    match scheme {
        "nats" => {
            let named = path.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
            if path.is_empty() || path.len() > 64 || !named {
                let help =
                    "a bucket has a name of letters, digits, `-` and `_`, as in \"nats://127.0.0.1:4222/pillarbox\"";
                return Err(Mistake::new(format!("`{text}` names no bucket")).help(help));
            }
            Ok(Store::Nats(hosts(4222).ok_or_else(mistake)?, path.to_owned()))
        }
        "redis" | "rediss" => {
            let database = if path.is_empty() { Some(0) } else { path.parse().ok().filter(|number| *number < 1 << 16) };
            let database = database.ok_or_else(|| {
                let help = "a database has a number, as in \"redis://127.0.0.1:6379/0\"";
                Mistake::new(format!("`{text}` names no database")).help(help)
            })?;
            match <[(Host, u16); 1]>::try_from(hosts(6379).ok_or_else(mistake)?) {
                Ok([(host, port)]) => Ok(Store::Redis { host, port, database, tls: scheme == "rediss" }),
                Err(_) => Err(mistake()),
            }
        }
        _ => Err(mistake()),
    }
}
