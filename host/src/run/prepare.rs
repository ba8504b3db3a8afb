//! A configuration with all it names, checked as a whole before any of it is served.

use super::store;
use super::tables;
use super::users::{self, Shared};
use crate::cli::ConfigChoice;
use crate::config::{Capability, ClientName, Config, Granted, Problem, Problems, Source, TlsMode};
use crate::control::SOCKET;
use crate::delivery::Routes;
use crate::dns::Resolver;
use crate::extension::{Loaded, Runtime, Services};
use crate::http::{Client, HttpError};
use crate::listener::BindError;
use crate::table::Tables;
use crate::{observe, tls};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Reads and checks a configuration, extensions and certificates excepted.
///
/// # Errors
/// The file cannot be read, or everything that is wrong with it.
pub fn read(choice: &ConfigChoice) -> Result<Config, Refused> {
    Ok(Config::parse(source(choice)?)?)
}

/// The control socket of the server that runs on this configuration. It need not be right as it now is: what is wrong
/// with it is for that server to say.
///
/// # Errors
/// The file cannot be read, or names no state directory.
pub fn control_socket(choice: &ConfigChoice) -> Result<PathBuf, Refused> {
    let source = source(choice)?;
    match Config::state_dir(&source) {
        Some(state_dir) => Ok(state_dir.join(SOCKET)),
        None => Ok(Config::parse(source)?.server.state_dir.join(SOCKET)),
    }
}

fn source(choice: &ConfigChoice) -> Result<Source, Refused> {
    match choice {
        ConfigChoice::Embedded => Ok(Config::embedded()),
        ConfigChoice::File(path) => {
            Source::read(path).map_err(|source| Refused::Unreadable { path: path.clone(), source })
        }
    }
}

/// Why a configuration is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is wrong with it, with every line.
    #[error(transparent)]
    Wrong(#[from] Problems),
    /// It is right, and an address cannot be had.
    #[error("cannot listen")]
    Bind(#[from] BindError),
    /// It would change to a certificate that holds no more.
    #[error("the certificate in {} has expired", .0.display())]
    Expired(PathBuf),
    /// A rollback with nothing to go back to.
    #[error("there is no generation to go back to: one is kept, and none before the first reload or after a rollback")]
    NoPrevious,
    /// It asks for what only a restart can change.
    #[error("`{0}` changed, which needs a restart")]
    Restart(&'static str),
}

/// A configuration with its extensions and certificates, checked as a whole and not yet served.
#[derive(Debug)]
pub struct Prepared {
    /// What was written.
    pub config: Config,
    /// The extensions.
    pub loaded: Loaded,
    /// Certificates, by listener.
    pub tls: BTreeMap<String, tls::Acceptor>,
    /// Files of users, by path.
    pub users: BTreeMap<PathBuf, Shared>,
    /// Tables, by name.
    pub tables: Tables,
    /// Who is asked for names, where a listener or an extension wants them.
    pub names: Option<Arc<Resolver>>,
    /// Where mail goes.
    pub routes: Routes,
}

/// Checks everything `serve` would refuse, without serving. `lasting` is what outlives the configuration.
///
/// # Errors
/// What is wrong.
pub async fn prepare(choice: &ConfigChoice, runtime: &Runtime, lasting: &Services) -> Result<Prepared, Refused> {
    let config = read(choice)?;
    let (tls, mut problems) = load_certificates(&config);
    let (users, users_problems) = users::load(&config);
    problems.extend(users_problems);
    let (tables, tables_problems) = tables::load(&config).await;
    problems.extend(tables_problems);
    let names = match names(&config) {
        Ok(names) => names,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let http = match http(&config) {
        Ok(http) => http,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let (routes, routes_problems) = match routes(&config, &names) {
        Ok(loaded) => loaded,
        Err(problem) => (Routes::default(), vec![problem]),
    };
    problems.extend(routes_problems);
    problems.extend(store::check(&config));
    let services = Services { tables: tables.clone(), names: names.clone(), http, ..lasting.clone() };
    let extensions = runtime.load(&config, &services).await;
    // What is wrong with files and with extensions is said together.
    match extensions {
        Ok(loaded) if problems.is_empty() => Ok(Prepared { config, loaded, tls, users, tables, names, routes }),
        Ok(_) => Err(Problems::new(config.source.clone(), problems).into()),
        Err(found) => {
            let all = found.iter().cloned().chain(problems).collect();
            Err(Problems::new(config.source.clone(), all).into())
        }
    }
}

fn names(config: &Config) -> Result<Option<Arc<Resolver>>, Problem> {
    let off = config.listeners.values().all(|listener| listener.client_name == ClientName::Off);
    if off && !grants(config, Capability::Dns) {
        return Ok(None);
    }
    let resolver = Resolver::new(&config.dns).map_err(|error| Problem::whole(observe::chain(&error)))?;
    Ok(Some(Arc::new(resolver)))
}

fn routes(config: &Config, names: &Option<Arc<Resolver>>) -> Result<(Routes, Vec<Problem>), Problem> {
    let names = match names {
        Some(names) => names.clone(),
        None => Arc::new(Resolver::new(&config.dns).map_err(|error| Problem::whole(observe::chain(&error)))?),
    };
    Ok(Routes::load(config, &names))
}

fn http(config: &Config) -> Result<Option<Arc<Client>>, Problem> {
    if !grants(config, Capability::Http) {
        return Ok(None);
    }
    let problem = |error: HttpError| match &error {
        HttpError::Authorities { .. } => Problem::at(config.http.authorities_place, observe::chain(&error)),
        HttpError::Tls(_) => Problem::whole(observe::chain(&error)),
    };
    Client::new(&config.http).map(|client| Some(Arc::new(client))).map_err(problem)
}

/// Whether any extension has this capability on any listener.
fn grants(config: &Config, capability: Capability) -> bool {
    let mut entries = config.listeners.values().flat_map(|listener| &listener.extensions);
    entries.any(|entry| entry.grant.entry(capability).is_some_and(|granted| *granted != Granted::Denied))
}

fn load_certificates(config: &Config) -> (BTreeMap<String, tls::Acceptor>, Vec<Problem>) {
    let (mut acceptors, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, listener) in &config.listeners {
        if listener.tls.mode == TlsMode::Off {
            continue;
        }
        match tls::Acceptor::load(&listener.tls) {
            Ok(acceptor) => {
                acceptors.insert(name.clone(), acceptor);
            }
            Err(error) => {
                let certificate = error.index().and_then(|index| listener.tls.certificates.get(index));
                let place = certificate.map_or(listener.tls.place, |certificate| certificate.place);
                problems.push(Problem::at(place, observe::chain(&error)));
            }
        }
    }
    (acceptors, problems)
}

/// Changing to a certificate that holds no more is a mistake.
///
/// # Errors
/// One of them has expired that is not served by `before` already.
pub(super) fn refuse_expired(acceptor: &tls::Acceptor, before: Option<&tls::Acceptor>) -> Result<(), Refused> {
    let (now, served) = (SystemTime::now(), before.map(tls::Acceptor::validity).unwrap_or_default());
    let expired = |validity: &tls::Validity| validity.standing(now) == tls::Standing::Expired;
    match acceptor.validity().into_iter().find(|validity| expired(validity) && !served.contains(validity)) {
        Some(expired) => Err(Refused::Expired(expired.chain)),
        None => Ok(()),
    }
}
