//! `dns`: what name servers say of names that are granted.

use crate::config::{Capability, RecordKind, Spending};
use crate::dns::{Misnamed, Queried, Resolver, Unanswered};
use crate::extension::bindings::pillarbox::extension::dns::{Exchange, Host};
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use std::net::IpAddr;
use std::sync::Arc;

impl State {
    /// The name and who is asked for it, if it may be asked for.
    fn question(&mut self, kind: RecordKind, name: &str) -> Result<(Queried, Arc<Resolver>), Error> {
        // The grant is about names: what is none is no question.
        let name: Queried = name.parse()?;
        if !self.linked.grant.asks(kind, name.as_str()) {
            return self.deny(Capability::Dns, &format!("{} {}", kind.name(), name.as_str()));
        }
        Ok((name, self.resolver()?))
    }

    fn resolver(&self) -> Result<Arc<Resolver>, Error> {
        self.session()?;
        self.linked.services.names.clone().ok_or_else(|| Error::Failed("there is no resolver".to_owned()))
    }

    fn reverse_question(&mut self, address: &str) -> Result<(Queried, Arc<Resolver>), Error> {
        let address = address.parse::<IpAddr>();
        let address =
            address.map_err(|_| Error::Invalid("an IPv4 or IPv6 address is wanted".to_owned()))?.to_canonical();
        let reverse = Queried::reverse(address);
        if !self.linked.grant.asks_about(address, reverse.as_str()) {
            return self.deny(Capability::Dns, &format!("{} {}", RecordKind::Ptr.name(), reverse.as_str()));
        }
        Ok((reverse, self.resolver()?))
    }
}

impl Host for State {
    async fn addresses(&mut self, name: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.cross(name.len())?;
        self.spend(Spending::Dns)?;
        let found = match self.question(RecordKind::A, &name) {
            Ok((name, resolver)) => resolver.addresses(&name).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let found = found.map(|addresses| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>());
        self.answer(found.iter().flatten().map(String::len).sum(), found)
    }

    async fn mail_exchangers(&mut self, name: String) -> wasmtime::Result<Result<Vec<Exchange>, Error>> {
        self.cross(name.len())?;
        self.spend(Spending::Dns)?;
        let found = match self.question(RecordKind::Mx, &name) {
            Ok((name, resolver)) => resolver.mail_exchangers(&name).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let exchange = |found: crate::dns::Exchange| Exchange { preference: found.preference, host: found.host };
        let usable = |exchanges: Vec<crate::dns::Exchange>| {
            exchanges.into_iter().filter(crate::dns::Exchange::is_usable).map(exchange).collect::<Vec<_>>()
        };
        let found = found.map(usable);
        self.answer(found.iter().flatten().map(|exchange| exchange.host.len() + 2).sum(), found)
    }

    async fn texts(&mut self, name: String) -> wasmtime::Result<Result<Vec<Vec<u8>>, Error>> {
        self.cross(name.len())?;
        self.spend(Spending::Dns)?;
        let found = match self.question(RecordKind::Txt, &name) {
            Ok((name, resolver)) => resolver.texts(&name).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        self.answer(found.iter().flatten().map(Vec::len).sum(), found)
    }

    async fn pointers(&mut self, address: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.cross(address.len())?;
        self.spend(Spending::Dns)?;
        let found = match self.reverse_question(&address) {
            Ok((reverse, resolver)) => resolver.pointers(&reverse).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        self.answer(found.iter().flatten().map(String::len).sum(), found)
    }
}

impl From<Misnamed> for Error {
    fn from(error: Misnamed) -> Error {
        Error::Invalid(error.to_string())
    }
}

impl From<Unanswered> for Error {
    fn from(error: Unanswered) -> Error {
        Error::Failed(error.to_string())
    }
}
