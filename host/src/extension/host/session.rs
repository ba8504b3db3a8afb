//! `session`: facts about the session, field by field.

use crate::config::Capability;
use crate::extension::bindings::pillarbox::extension::session as wit;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use crate::session::facts::{Endpoint, Facts, HostName, Phase};

impl State {
    fn field<T>(&mut self, field: &str, read: impl FnOnce(&Facts) -> T) -> wasmtime::Result<Result<T, Error>> {
        self.cross(64)?;
        if !self.linked.grant.field(Capability::Session, field) {
            return Ok(self.deny(Capability::Session, field));
        }
        Ok(self.session().map(|facts| read(&facts)))
    }
}

impl wit::Host for State {
    fn id(&mut self) -> wasmtime::Result<Result<String, Error>> {
        self.cross(16)?;
        Ok(self.session().map(|facts| facts.id.to_string()))
    }

    fn listener(&mut self) -> wasmtime::Result<Result<String, Error>> {
        self.field("listener", |facts| facts.listener.to_string())
    }

    fn peer(&mut self) -> wasmtime::Result<Result<wit::Endpoint, Error>> {
        self.field("peer", |facts| facts.peer.into())
    }

    fn client(&mut self) -> wasmtime::Result<Result<wit::ClientFacts, Error>> {
        self.field("client", |facts| wit::ClientFacts {
            endpoint: facts.client.endpoint.into(),
            name: (&facts.client.name).into(),
            helo: facts.client.helo.clone(),
            protocol: if facts.client.esmtp { "ESMTP" } else { "SMTP" }.to_owned(),
        })
    }

    fn destination(&mut self) -> wasmtime::Result<Result<wit::Endpoint, Error>> {
        self.field("destination", |facts| facts.destination.into())
    }

    fn tls(&mut self) -> wasmtime::Result<Result<Option<wit::TlsFacts>, Error>> {
        self.field("tls", |facts| {
            facts.tls.as_ref().map(|tls| wit::TlsFacts {
                version: tls.version.clone(),
                cipher: tls.cipher.clone(),
                server_name: tls.server_name.clone(),
            })
        })
    }

    fn authentication(&mut self) -> wasmtime::Result<Result<Option<wit::Login>, Error>> {
        self.field("authentication", |facts| {
            facts
                .login
                .as_ref()
                .map(|login| wit::Login { user: login.user.clone(), mechanism: login.mechanism.clone() })
        })
    }

    fn phase(&mut self) -> wasmtime::Result<Result<wit::Stage, Error>> {
        self.field("phase", |facts| match facts.phase {
            Phase::Connect => wit::Stage::Connect,
            Phase::Hello => wit::Stage::Hello,
            Phase::Idle => wit::Stage::Idle,
            Phase::Mail => wit::Stage::Mail,
            Phase::Recipient => wit::Stage::Recipient,
            Phase::Data => wit::Stage::Data,
            Phase::Message => wit::Stage::Message,
            Phase::Closing => wit::Stage::Closing,
        })
    }
}

impl From<Endpoint> for wit::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        wit::Endpoint { address: endpoint.address.map(|address| address.to_string()), port: endpoint.port }
    }
}

impl From<&HostName> for wit::HostName {
    fn from(name: &HostName) -> Self {
        match name {
            HostName::Known(name) => wit::HostName::Known(name.clone()),
            HostName::Unavailable => wit::HostName::Unavailable,
            HostName::TemporarilyUnavailable => wit::HostName::TemporarilyUnavailable,
        }
    }
}
