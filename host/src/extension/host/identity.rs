//! `identity`: changing who the client is. Only staged here; `session` applies it with the answer.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::identity::{Field, Host, HostName};
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::interface::Hook;
use crate::extension::state::State;
use crate::session::change::{Change, Identity};
use crate::session::facts;
use std::net::IpAddr;

/// Octets of a name that identifies a client.
const LONGEST_NAME: usize = 255;

impl State {
    fn identify(
        &mut self,
        field: &str,
        octets: usize,
        identity: impl FnOnce() -> Result<Identity, Error>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.cross(octets)?;
        self.spend(Spending::Edit)?;
        if !self.settable_field(field) {
            return Ok(self.deny(Capability::Identity, field));
        }
        Ok(self.during(&[Hook::Command], "a change of client").and_then(|()| identity()).map(|identity| {
            self.staged.push(Change::Identity(identity));
        }))
    }

    /// A login is a matter of `authentication` as well.
    fn settable_field(&self, field: &str) -> bool {
        let grant = &self.linked.grant;
        grant.field(Capability::Identity, field) && (field != "login" || grant.has(Capability::Authentication))
    }
}

impl Host for State {
    fn settable(&mut self) -> wasmtime::Result<Result<Vec<Field>, Error>> {
        self.cross(8)?;
        let fields = [
            ("addr", Field::Addr),
            ("port", Field::Port),
            ("name", Field::Name),
            ("helo", Field::Helo),
            ("proto", Field::Proto),
            ("login", Field::Login),
            ("destaddr", Field::Destaddr),
            ("destport", Field::Destport),
        ];
        Ok(Ok(fields.into_iter().filter(|(name, _)| self.settable_field(name)).map(|(_, field)| field).collect()))
    }

    fn set_addr(&mut self, given: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        self.identify("addr", octets(&given), || Ok(Identity::Addr(address(given)?)))
    }

    fn set_port(&mut self, port: Option<u16>) -> wasmtime::Result<Result<(), Error>> {
        self.identify("port", 2, || Ok(Identity::Port(port)))
    }

    fn set_name(&mut self, name: HostName) -> wasmtime::Result<Result<(), Error>> {
        let octets = if let HostName::Known(name) = &name { name.len() } else { 0 };
        self.identify("name", octets, || {
            Ok(Identity::Name(match name {
                HostName::Known(name) => facts::HostName::Known(checked(name)?),
                HostName::Unavailable => facts::HostName::Unavailable,
                HostName::TemporarilyUnavailable => facts::HostName::TemporarilyUnavailable,
            }))
        })
    }

    fn set_helo(&mut self, domain: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        self.identify("helo", octets(&domain), || Ok(Identity::Helo(domain.map(checked).transpose()?)))
    }

    fn set_proto(&mut self, protocol: String) -> wasmtime::Result<Result<(), Error>> {
        self.identify("proto", protocol.len(), || match protocol.as_str() {
            "SMTP" => Ok(Identity::Proto(false)),
            "ESMTP" => Ok(Identity::Proto(true)),
            _ => Err(Error::Invalid("the protocol is SMTP or ESMTP".to_owned())),
        })
    }

    fn set_login(&mut self, user: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        if let Some(user) = user.as_deref().filter(|user| !self.linked.grant.authenticates(user)) {
            self.cross(user.len())?;
            return Ok(self.deny(Capability::Authentication, user));
        }
        self.identify("login", octets(&user), || Ok(Identity::Login(user.map(checked).transpose()?)))
    }

    fn set_destaddr(&mut self, given: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        self.identify("destaddr", octets(&given), || Ok(Identity::DestAddr(address(given)?)))
    }

    fn set_destport(&mut self, port: Option<u16>) -> wasmtime::Result<Result<(), Error>> {
        self.identify("destport", 2, || Ok(Identity::DestPort(port)))
    }
}

fn address(given: Option<String>) -> Result<Option<IpAddr>, Error> {
    let parse =
        |text: String| text.parse::<IpAddr>().map_err(|_| Error::Invalid("this is not an IP address".to_owned()));
    given.map(parse).transpose()
}

/// Names end up in the log, the context and the Received field.
fn checked(name: String) -> Result<String, Error> {
    match (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        true => Ok(name),
        false => Err(Error::Invalid("a name has 1 to 255 octets and no control characters".to_owned())),
    }
}

fn octets(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}
