//! The mechanisms of AUTH that a client is offered now: those that can work, by what the listener has to judge them with.
//!
//! What is said in an exchange stands in `login`.

use super::policy::Offers;
use super::session::Session;
use crate::config;
use pillarbox_sasl::Mechanism;
use pillarbox_smtp::Auth;

impl Session {
    /// What AUTH is to this client now.
    pub(super) fn auth(&self, offers: &Offers) -> Auth {
        let mechanisms = self.mechanisms(offers);
        let listener = &self.post.listener;
        if mechanisms.is_empty() {
            Auth::Off
        } else if self.facts.proven_login() {
            // RFC 4954 section 4: once in a session.
            Auth::Done
        } else if self.facts.tls.is_some() || listener.auth.without_tls {
            Auth::Offered(mechanisms.into())
        } else {
            Auth::NeedsTls
        }
    }

    /// Those that can work: the server's own by what the listener has to judge them with, and those of extensions.
    pub(super) fn mechanisms(&self, offers: &Offers) -> Vec<String> {
        let listener = &self.post.listener;
        let users = self.post.users.as_ref().map(|users| users.load());
        let tls = self.facts.tls.as_ref();
        let possible = |mechanism: Mechanism| {
            let judged = offers.judged.contains(mechanism.name());
            match mechanism {
                Mechanism::Plain | Mechanism::Login => judged || users.is_some(),
                Mechanism::ScramSha256 => judged || users.as_ref().is_some_and(|users| users.supports_scram()),
                Mechanism::ScramSha256Plus => {
                    let bound = tls.is_some_and(|tls| tls.channel_binding.is_some());
                    bound && (judged || users.as_ref().is_some_and(|users| users.supports_scram()))
                }
                Mechanism::External => self.certificate_user().is_some(),
            }
        };
        let wanted =
            |mechanism: Mechanism| listener.auth.mechanisms.as_ref().is_none_or(|wanted| wanted.contains(&mechanism));
        let mut mechanisms: Vec<String> = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| wanted(*mechanism) && possible(*mechanism))
            .map(|mechanism| mechanism.name().to_owned())
            .collect();
        mechanisms.extend(offers.mechanisms.iter().cloned());
        mechanisms
    }

    /// Who a verified certificate says the client is (RFC 4422 appendix A), as names are compared.
    pub(super) fn certificate_user(&self) -> Option<String> {
        let certificate = self.facts.tls.as_ref()?.client.as_ref().filter(|certificate| certificate.verified)?;
        let name = match self.post.listener.auth.external {
            config::External::CommonName => certificate.subject_cn.as_deref(),
            config::External::Email => certificate.email.as_deref(),
        };
        pillarbox_sasl::prepare_user(name?).ok()
    }
}
