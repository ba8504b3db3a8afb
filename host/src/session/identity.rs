//! What follows when the session is taken to be somebody else's, or begins anew under TLS: what goes, what stays, and
//! what is asked again. The rules are in docs/architecture.md.

use super::change::Identity;
use super::context::{Origin, Scope, Stage};
use super::facts::{Facts, HostName};
use crate::tls;
use std::sync::Arc;

impl Facts {
    /// The client said XCLIENT or its like: everything starts over as for a new connection from the client now named
    /// (docs/architecture.md, rule 5). What is not named stays, but for HELO, protocol and login (Postfix).
    pub fn restart(&mut self, identities: Vec<Identity>, extension: &Arc<str>) {
        self.client.helo = None;
        self.client.esmtp = false;
        self.client_changed();
        self.context.retain(|_, origin| *origin == Origin::Tls);
        self.messages = 0;
        self.recipients = 0;
        self.name_client(identities, extension);
    }

    /// The client said XREMOTEIP or its like: the session goes on, as the client now named (docs/architecture.md, rule 3). What follows
    /// from the old client goes; what the peer said stays.
    pub fn rename(&mut self, identities: Vec<Identity>, extension: &Arc<str>) {
        if identities.iter().any(|identity| matches!(identity, Identity::Addr(_))) {
            self.client.endpoint.port = None;
            self.client.name = HostName::Unavailable;
        }
        self.client_changed();
        self.forget_connect();
        self.name_client(identities, extension);
    }

    /// TLS is up. What the peer said in the clear goes; what follows from the address stays (RFC 3207 4.2; docs/architecture.md, rule 6).
    pub fn secured(&mut self, tls: tls::Facts) {
        self.client.helo = None;
        self.client.esmtp = false;
        let stays =
            |origin: &Origin| !matches!(origin, Origin::Users | Origin::Extension(_, Stage::Dialogue | Stage::Hello));
        self.context.retain(|name, origin| stays(origin) && !name.starts_with("ehlo_"));
        if self.login.as_ref().is_some_and(|login| !stays(&login.origin)) {
            self.login = self.login_by_address.clone();
        }
        self.attempt = None;
        self.tls(tls);
        self.mirror_login();
    }

    /// What `hello` hooks said goes, because they are asked anew.
    pub fn forget_hello(&mut self) {
        let hello = |origin: &Origin| matches!(origin, Origin::Extension(_, Stage::Hello));
        self.context.retain(|_, origin| !hello(origin));
        if self.login.as_ref().is_some_and(|login| hello(&login.origin)) {
            self.login = None;
        }
        if self.forbidden == Some(Stage::Hello) {
            self.forbidden = None;
        }
        self.mirror_login();
    }

    /// What `connect` hooks and the configuration said goes, because they are asked and read anew.
    pub fn forget_connect(&mut self) {
        let connect = |origin: &Origin| matches!(origin, Origin::Extension(_, Stage::Connect) | Origin::Listener);
        self.context.retain(|_, origin| !connect(origin));
        self.login_by_address = None;
        if self.login.as_ref().is_some_and(|login| connect(&login.origin)) {
            self.login = None;
        }
        if self.forbidden == Some(Stage::Connect) {
            self.forbidden = None;
        }
        self.mirror_login();
    }

    fn client_changed(&mut self) {
        self.login = None;
        self.login_by_address = None;
        self.attempt = None;
        self.forbidden = None;
        self.mirror_login();
    }

    fn name_client(&mut self, identities: Vec<Identity>, extension: &Arc<str>) {
        for identity in identities {
            match identity {
                Identity::Addr(address) => self.client.endpoint.address = address.map(|ip| ip.to_canonical()),
                Identity::Port(port) => self.client.endpoint.port = port,
                Identity::Name(name) => self.client.name = name,
                Identity::Proto(esmtp) => self.client.esmtp = esmtp,
                Identity::DestAddr(address) => self.destination.address = address.map(|ip| ip.to_canonical()),
                Identity::DestPort(port) => self.destination.port = port,
                Identity::Helo(helo) => {
                    match &helo {
                        Some(domain) => {
                            self.context.set(Scope::Connection, "ehlo_domain", domain, Origin::Host);
                        }
                        None => self.context.unset(Scope::Connection, "ehlo_domain"),
                    }
                    self.context.unset(Scope::Connection, "ehlo_string");
                    self.client.helo = helo;
                }
                Identity::Login(user) => {
                    self.login = None;
                    if let Some(user) = user {
                        self.log_in(user, extension, Origin::Extension(extension.clone(), Stage::Dialogue));
                    }
                }
            }
        }
        self.mirror_login();
    }
}
