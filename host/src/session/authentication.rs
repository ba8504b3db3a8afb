//! Who is authenticated, and by what: how a login comes, goes, and shows in the context (Momentum's `auth_*` names).
//!
//! Forbidding wins over everything; what the client proved wins over what follows from its address. How a client proves
//! anything is not known here.

use super::context::{Origin, Scope, Stage};
use super::facts::{Attempt, Facts, Login};
use std::sync::Arc;

impl Facts {
    /// The extension that gave the login, and the login.
    pub fn given_login(&self) -> Option<(&str, &Login)> {
        match self.login.as_ref()? {
            login @ Login { origin: Origin::Extension(name, _), .. } => Some((name, login)),
            _ => None,
        }
    }

    /// Whether the client proved who it is, or somebody in front of it did: AUTH, or XCLIENT's LOGIN. What follows from an
    /// address is no proof, and is replaced by one.
    pub fn proven_login(&self) -> bool {
        self.login.as_ref().is_some_and(|login| said(&login.origin))
    }

    /// AUTH ended well.
    pub fn log_in_by_auth(&mut self, user: String, mechanism: &str, origin: Origin) {
        self.attempt = None;
        self.login = Some(Login { user, mechanism: mechanism.to_owned(), origin });
        self.mirror_login();
    }

    /// AUTH did not. A login there is stays as it is.
    pub fn attempted(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
        self.mirror_login();
    }

    /// The login goes; what follows from the address, if anything does, takes its place.
    pub fn log_out(&mut self) {
        self.login = self.login_by_address.clone();
        self.mirror_login();
    }

    /// Who stood behind the client's certificate does so no more.
    pub fn doubt_certificate(&mut self) {
        if let Some(client) = self.tls.as_mut().and_then(|tls| tls.client.as_mut()) {
            client.verified = false;
            self.context.unset(Scope::Connection, "tls_client_verified");
        }
    }

    /// The login goes.
    pub fn forget_login(&mut self) {
        self.login = None;
        self.mirror_login();
    }

    pub(super) fn log_in(&mut self, user: String, extension: &Arc<str>, origin: Origin) {
        // What the client itself said (XCLIENT's LOGIN, later AUTH) is not replaced by what follows from its address.
        let login = Login { user, mechanism: extension.to_string(), origin };
        let by_address = matches!(login.origin, Origin::Extension(_, Stage::Connect));
        if by_address && self.forbidden.is_none() {
            self.login_by_address = Some(login.clone());
        }
        let keeps = by_address && self.proven_login();
        if self.forbidden.is_none() && !keeps {
            self.login = Some(login);
            self.mirror_login();
        }
    }

    pub(super) fn mirror_login(&mut self) {
        let login = self.login.as_ref();
        let proven = login.filter(|login| match &login.origin {
            Origin::Users => true,
            Origin::Extension(name, _) => **name != *login.mechanism,
            Origin::Host | Origin::Tls | Origin::Listener => false,
        });
        let failed = self.attempt.as_ref().filter(|_| login.is_none());
        let name = proven.map(|login| &login.mechanism).or(failed.map(|attempt| &attempt.mechanism)).cloned();
        let user = login.map(|login| login.user.clone()).or_else(|| failed?.user.clone());
        let status = match (login, self.forbidden.is_some()) {
            (_, true) => Some("fail"),
            (Some(_), false) => Some("pass"),
            (None, false) => failed.map(|attempt| attempt.status),
        };
        for (name, value) in [("auth_name", name.as_deref()), ("auth_user", user.as_deref()), ("auth_status", status)] {
            match value {
                Some(value) => self.context.set(Scope::Connection, name, value, Origin::Host),
                None => self.context.unset(Scope::Connection, name),
            }
        }
    }
}

/// Whether the client said so in the dialogue, and it does not follow from its address.
fn said(origin: &Origin) -> bool {
    matches!(origin, Origin::Users | Origin::Extension(_, Stage::Dialogue))
}
