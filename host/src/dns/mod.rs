//! What the DNS says: the names of clients, and what extensions ask for (`query`). The name of an address counts only
//! where it leads back to the address, because whoever has an address can give it any name. The room does not know what a
//! session is, what follows from a name, or who may ask for what.

mod memory;
mod places;
mod query;
mod turn;

pub use query::{Exchange, Misnamed, Queried, Unanswered};

use crate::config;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Answer, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use memory::{Memory, Weight};
use places::Places;
use query::{Found, Question};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant as Moment, timeout_at};
use turn::Turns;

/// What is known of the name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientName {
    /// A name of the address that leads back to it: letters, digits, hyphens and underscores in labels, lower case,
    /// without a final dot.
    Verified(String),
    /// There is none.
    None,
    /// A name server failed, or the time was up: there may be one.
    Temporary,
}

/// Why names cannot be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the resolver could not be made")]
pub struct DnsError(#[source] NetError);

/// Asks name servers, and remembers for a while what they said.
pub struct Resolver {
    resolver: TokioResolver,
    /// How long a name may take, all questions together.
    wait: Duration,
    /// Look-ups under way.
    places: Semaphore,
    turns: Turns<IpAddr, OnceCell<ClientName>>,
    memory: Memory<IpAddr, ClientName>,
    /// Questions of extensions under way. They have places of their own: no guest keeps a session from its client's name.
    query_places: Places,
    questions: Turns<Question, OnceCell<Found>>,
    answers: Memory<Question, Found>,
}

/// Names of one address that are looked at. More than one is rare, and each costs a question.
const NAMES: usize = 5;
/// Look-ups at a time. Each holds a socket, and answers of up to 64 KiB that the owner of the address chooses.
const PLACES: usize = 64;
/// How often a question is asked in the time there is: datagrams are lost.
const TRIES: u32 = 3;
/// How long it is remembered that there was no answer: long enough that a host which comes again and again does not take
/// every place for a server that is silent, and short enough that a client who tries again soon is asked about anew.
const SILENCE: Duration = Duration::from_secs(5);

impl Resolver {
    /// A resolver that asks the servers of `dns`, or those of the system where it names none. Nothing is asked yet.
    ///
    /// # Errors
    /// The system does not give what a resolver needs.
    pub fn new(dns: &config::Dns) -> Result<Resolver, DnsError> {
        let (servers, hosts) = if dns.servers.is_empty() {
            (system(), ResolveHosts::Always)
        } else {
            // Whoever is asked by configuration is asked about everything.
            let servers = dns.servers.iter().map(|server| name_server(*server)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), ResolveHosts::Never)
        };
        let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = hosts;
        options.timeout = dns.timeout / TRIES;
        options.attempts = usize::try_from(TRIES - 1).unwrap_or_default();
        // It would keep whole answers, whose size the owner of an address chooses; what is remembered here is small.
        options.cache_size = 0;
        let resolver = builder.build().map_err(DnsError)?;
        Ok(Resolver {
            resolver,
            wait: dns.timeout,
            places: Semaphore::new(PLACES),
            turns: Turns::default(),
            memory: Memory::default(),
            query_places: Places::new(PLACES),
            questions: Turns::default(),
            answers: Memory::default(),
        })
    }

    /// The name of `address`. It takes no longer than the configuration allows, the wait for a place among the look-ups
    /// included, or for one who asks the same.
    pub async fn client_name(&self, address: IpAddr) -> ClientName {
        let address = address.to_canonical();
        if let Some(known) = self.memory.recall(&address) {
            return known;
        }
        let deadline = Moment::now() + self.wait;
        let turn = self.turns.join(address);
        let name = turn.answer(self.find(address, deadline));
        // Whoever waits for another does so within its own time.
        timeout_at(deadline, name).await.unwrap_or(ClientName::Temporary)
    }

    /// The name, which is remembered.
    async fn find(&self, address: IpAddr, deadline: Moment) -> ClientName {
        // Someone may have found it between the first look and this turn.
        if let Some(known) = self.memory.recall(&address) {
            return known;
        }
        // It is never closed. Of what was never asked nothing is known, and nothing remembered.
        let Ok(Ok(_place)) = timeout_at(deadline, self.places.acquire()).await else { return ClientName::Temporary };
        let began = Moment::now();
        let found = timeout_at(deadline, self.look_up(address)).await;
        let (name, keep) = found.unwrap_or_else(|_| (ClientName::Temporary, self.silence_since(began)));
        self.memory.keep(address, &name, keep);
        name
    }

    /// How long it is remembered that there was no answer to what is asked since then. Whoever had a place at the last
    /// moment, as others gave theirs back, has hardly asked.
    fn silence_since(&self, began: Moment) -> Duration {
        if began.elapsed() < self.wait / TRIES { Duration::ZERO } else { SILENCE }
    }

    /// The name, and how long that holds.
    async fn look_up(&self, address: IpAddr) -> (ClientName, Duration) {
        let mut reverse = Name::from(address);
        reverse.set_fqdn(true);
        let pointers = match self.ask(reverse, RecordType::PTR).await {
            Ok(pointers) => pointers,
            Err(missing) => return missing,
        };
        let mut names: Vec<(String, Name)> =
            pointers.answers().iter().filter_map(|record| pointed(&record.data)).collect();
        // Servers turn the order round from answer to answer, and the client has one name all the same.
        names.sort_unstable();
        names.dedup();
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let mut otherwise = nothing();
        for (name, mut forward) in names.into_iter().take(NAMES) {
            forward.set_fqdn(true);
            match self.ask(forward, kind).await {
                Ok(addresses) if addresses.answers().iter().any(|record| leads_to(&record.data, address)) => {
                    let until = pointers.valid_until().min(addresses.valid_until());
                    return (ClientName::Verified(name), until.saturating_duration_since(Instant::now()));
                }
                Ok(_) | Err((ClientName::None, _)) => {}
                Err(missing) => otherwise = missing,
            }
        }
        otherwise
    }

    /// The answer, or what follows from there being none.
    async fn ask(&self, name: Name, kind: RecordType) -> Result<Lookup, (ClientName, Duration)> {
        self.resolver.lookup(name, kind).await.map_err(|error| match error {
            NetError::Dns(Answer::NoRecordsFound(NoRecords {
                response_code: ResponseCode::NXDomain | ResponseCode::NoError,
                ..
            })) => nothing(),
            error => {
                tracing::debug!(%error, "a name server gave no answer");
                (ClientName::Temporary, SILENCE)
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// The system's name servers.
fn system() -> ResolverConfig {
    let servers = match system_conf::read_system_conf() {
        Ok((servers, _)) => servers.name_servers().to_vec(),
        Err(error) => {
            // resolv.conf(5): "If no nameserver entries are present, the default is to use the name server on the local
            // machine."
            tracing::debug!(%error, "no name servers of the system");
            vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())]
        }
    };
    // Without its domain and search list: every name asked about is whole.
    ResolverConfig::from_parts(None, Vec::new(), servers)
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// There is no name, for now: what is not there has no lifetime of its own.
fn nothing() -> (ClientName, Duration) {
    (ClientName::None, Duration::from_secs(60))
}

impl Weight for ClientName {
    fn octets(&self) -> usize {
        match self {
            ClientName::Verified(name) => name.len(),
            ClientName::None | ClientName::Temporary => 0,
        }
    }
}

/// The host name that a PTR record holds, as text too.
fn pointed(data: &RData) -> Option<(String, Name)> {
    match data {
        RData::PTR(pointer) => Some((named(&pointer.0)?, pointer.0.clone())),
        _ => None,
    }
}

/// A host name, as text in lower case.
///
/// RFC 1123 section 2.1, and the underscore, which hosts have all the same. A last label of digits would make it look
/// like an address. What is none could be anything: the owner of the address chose every octet.
fn named(name: &Name) -> Option<String> {
    let mut text = String::new();
    for label in name.iter() {
        let allowed = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let label = std::str::from_utf8(label).ok().filter(|label| label.bytes().all(|octet| allowed(&octet)))?;
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(label);
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_name = text.len() <= 255 && !last.bytes().all(|octet| octet.is_ascii_digit());
    text.make_ascii_lowercase();
    is_name.then_some(text)
}

fn leads_to(data: &RData, address: IpAddr) -> bool {
    match (data, address) {
        (RData::A(found), IpAddr::V4(address)) => found.0 == address,
        (RData::AAAA(found), IpAddr::V6(address)) => found.0 == address,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
