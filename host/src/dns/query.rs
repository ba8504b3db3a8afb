//! Questions of extensions, one record type each, and what was found. Every name is whole: no search list, no default
//! domain. The file does not know who may ask what.

use super::memory::Weight;
use super::{Resolver, SILENCE, named};
use hickory_resolver::net::{DnsError as Answer, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{Instant as Moment, timeout_at};

/// A name that can be asked about: labels of letters, digits, hyphens and underscores, in lower case, without a final
/// dot. An address is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queried(String);

/// Why a text cannot be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has labels of 1 to 63 letters, digits, hyphens and underscores, at most 253 octets, and does not end in a number"
)]
pub struct Misnamed;

/// A name server failed, or the time was up: what was asked for may be there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(&'static str);

/// A mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exchange {
    /// The lowest is tried first.
    pub preference: u16,
    /// A host name in lower case without a final dot; `.` where the domain takes no mail (RFC 7505). Where the record holds
    /// none (RFC 5321 section 5.1 wants one), the address it holds instead, or nothing.
    pub host: String,
}

impl Exchange {
    /// Whether it says what it is to say.
    pub fn is_usable(&self) -> bool {
        self.host == "." || self.host.parse::<Queried>().is_ok()
    }
}

/// What is asked.
pub(super) type Question = (Queried, RecordType);

/// What was found, or that nothing was said.
pub(super) type Found = Result<Arc<[Record]>, Unanswered>;

/// What is kept of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Record {
    Address(IpAddr),
    Exchange(Exchange),
    Text(Vec<u8>),
    Pointer(String),
}

/// How long it is remembered that there is nothing, where its owner does not say.
const NOTHING: Duration = Duration::from_secs(60);

impl FromStr for Queried {
    type Err = Misnamed;

    fn from_str(text: &str) -> Result<Queried, Misnamed> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(octet);
        let last = name.rsplit('.').next().unwrap_or_default();
        // What ends in a number was meant as an address, and no name server knows it.
        let number = last.bytes().all(|octet| octet.is_ascii_digit());
        match name.len() <= 253 && name.split('.').all(label) && !number {
            true => Ok(Queried(name.to_ascii_lowercase())),
            false => Err(Misnamed),
        }
    }
}

impl Queried {
    /// The name below `in-addr.arpa` or `ip6.arpa` that the names of `address` stand at.
    pub fn reverse(address: IpAddr) -> Queried {
        let name = Name::from(address.to_canonical()).to_ascii();
        Queried(name.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Resolver {
    /// The addresses of a name, IPv4 before IPv6; none where there are none. Where one kind is known and of the other
    /// nothing is said, those that are known.
    ///
    /// # Errors
    /// No answer.
    pub async fn addresses(&self, name: &Queried) -> Result<Vec<IpAddr>, Unanswered> {
        let (four, six) =
            tokio::join!(self.query(name.clone(), RecordType::A), self.query(name.clone(), RecordType::AAAA));
        let addresses: Vec<IpAddr> = [&four, &six]
            .into_iter()
            .flatten()
            .flat_map(|records| records.iter())
            .filter_map(|record| match record {
                Record::Address(address) => Some(*address),
                _ => None,
            })
            .collect();
        match (addresses.is_empty(), four.and(six)) {
            (true, Err(unanswered)) => Err(unanswered),
            _ => Ok(addresses),
        }
    }

    /// The mail exchangers of a domain, by preference; those that cannot be used among them.
    ///
    /// # Errors
    /// No answer.
    pub async fn mail_exchangers(&self, name: &Queried) -> Result<Vec<Exchange>, Unanswered> {
        let exchange = |record: &Record| match record {
            Record::Exchange(exchange) => Some(exchange.clone()),
            _ => None,
        };
        Ok(self.query(name.clone(), RecordType::MX).await?.iter().filter_map(exchange).collect())
    }

    /// The texts of a name, the strings of each joined.
    ///
    /// # Errors
    /// No answer.
    pub async fn texts(&self, name: &Queried) -> Result<Vec<Vec<u8>>, Unanswered> {
        let text = |record: &Record| match record {
            Record::Text(octets) => Some(octets.clone()),
            _ => None,
        };
        Ok(self.query(name.clone(), RecordType::TXT).await?.iter().filter_map(text).collect())
    }

    /// The names that `reverse` points to, whether or not they lead back. What is no host name is left out.
    ///
    /// # Errors
    /// No answer.
    pub async fn pointers(&self, reverse: &Queried) -> Result<Vec<String>, Unanswered> {
        let pointer = |record: &Record| match record {
            Record::Pointer(name) => Some(name.clone()),
            _ => None,
        };
        Ok(self.query(reverse.clone(), RecordType::PTR).await?.iter().filter_map(pointer).collect())
    }

    /// The answer to one question, remembered or asked for. It takes no longer than the configuration allows, the wait
    /// for a place included, or for one who asks the same.
    async fn query(&self, name: Queried, kind: RecordType) -> Found {
        let question = (name, kind);
        if let Some(known) = self.answers.recall(&question) {
            return known;
        }
        let deadline = Moment::now() + self.wait;
        let turn = self.questions.join(question.clone());
        let found = turn.answer(self.ask_within(question, deadline));
        timeout_at(deadline, found).await.unwrap_or(Err(LATE))
    }

    async fn ask_within(&self, question: Question, deadline: Moment) -> Found {
        if let Some(known) = self.answers.recall(&question) {
            return known;
        }
        let domain = self.query_places.about(question.0.as_str());
        // Of what was never asked nothing is known, and nothing remembered.
        let Ok(Some(_place)) = timeout_at(deadline, self.query_places.take(&domain)).await else { return Err(LATE) };
        let began = Moment::now();
        let found = timeout_at(deadline, self.ask_for(&question)).await;
        let (found, keep) = found.unwrap_or_else(|_| (Err(LATE), self.silence_since(began)));
        self.answers.keep(question, &found, keep);
        found
    }

    /// What a name server says, and how long that holds.
    async fn ask_for(&self, (name, kind): &Question) -> (Found, Duration) {
        let Ok(mut whole) = Name::from_ascii(name.as_str()) else { return (Err(Unanswered("no such name")), NOTHING) };
        whole.set_fqdn(true);
        match self.resolver.lookup(whole, *kind).await {
            Ok(lookup) => {
                let mut records: Vec<Record> =
                    lookup.answers().iter().filter_map(|record| kept(&record.data, *kind)).collect();
                // Servers turn the order round from answer to answer.
                records.sort_unstable();
                records.dedup();
                (Ok(records.into()), lookup.valid_until().saturating_duration_since(Instant::now()))
            }
            Err(NetError::Dns(Answer::NoRecordsFound(NoRecords {
                response_code: ResponseCode::NXDomain | ResponseCode::NoError,
                negative_ttl,
                ..
            }))) => (Ok([].into()), negative_ttl.map_or(NOTHING, |seconds| Duration::from_secs(seconds.into()))),
            Err(error) => {
                tracing::debug!(%error, "a name server gave no answer");
                (Err(Unanswered("the name server failed")), SILENCE)
            }
        }
    }
}

const LATE: Unanswered = Unanswered("no name server answered in time");

impl Weight for Found {
    fn octets(&self) -> usize {
        let octets = |record: &Record| match record {
            Record::Address(_) => 0,
            Record::Exchange(exchange) => exchange.host.len(),
            Record::Text(octets) => octets.len(),
            Record::Pointer(name) => name.len(),
        };
        self.iter().flat_map(|records| records.iter()).map(|record| size_of::<Record>() + octets(record)).sum()
    }
}

/// What is kept of a record, if it is of the kind that was asked for. Aliases on the way are not.
fn kept(data: &RData, kind: RecordType) -> Option<Record> {
    match (data, kind) {
        (RData::A(address), RecordType::A) => Some(Record::Address(address.0.into())),
        (RData::AAAA(address), RecordType::AAAA) => Some(Record::Address(address.0.into())),
        (RData::MX(exchange), RecordType::MX) => {
            let host = match exchange.exchange.is_root() {
                true => ".".to_owned(),
                false => named(&exchange.exchange).or_else(|| address(&exchange.exchange)).unwrap_or_default(),
            };
            Some(Record::Exchange(Exchange { preference: exchange.preference, host }))
        }
        (RData::TXT(text), RecordType::TXT) => {
            Some(Record::Text(text.txt_data.iter().flat_map(|string| string.iter().copied()).collect()))
        }
        (RData::PTR(pointer), RecordType::PTR) => named(&pointer.0).map(Record::Pointer),
        _ => None,
    }
}

/// The address that stands where a name should.
fn address(name: &Name) -> Option<String> {
    name.to_ascii().trim_end_matches('.').parse::<Ipv4Addr>().ok().map(|address| address.to_string())
}
