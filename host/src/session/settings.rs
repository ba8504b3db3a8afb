//! What the machine is told of a session: the words of the configuration and of policy in the machine's own.
//!
//! Nothing is decided here; what holds for the client was resolved before.

use super::relay;
use super::session::Session;
use crate::config::{self, Manners, TlsMode};
use pillarbox_smtp::{Claim, Limits, Settings, Tls};
use std::sync::Arc;

impl Session {
    /// What the machine has to know.
    pub(super) fn settings(&self) -> Settings {
        let offers = self.policy.offers(&self.facts);
        let mut verbs = offers.verbs.clone();
        if self.gone.iter().any(|verb| !verbs.contains_key(verb)) {
            let mut with_gone = (*verbs).clone();
            for verb in &self.gone {
                with_gone.entry(verb.clone()).or_insert(Claim::Gone);
            }
            verbs = Arc::new(with_gone);
        }
        let (limits, listener) = (&self.rules.limits, &*self.post.listener);
        Settings {
            hostname: self.post.hostname.to_string(),
            protocol: listener.protocol,
            keywords: listener.esmtp,
            auth: self.auth(&offers),
            // RFC 6710 section 5.2: only those who are trusted with relaying get ahead of others.
            highest_priority: if relay::anywhere(&self.rules, &self.facts).is_some() { 9 } else { 0 },
            refuse_early_talk: limits.early_talk == Manners::Refuse,
            refuse_unauthorized_pipelining: limits.unauthorized_pipelining == Manners::Refuse,
            tls: match listener.tls.mode {
                _ if self.facts.tls.is_some() => Tls::Active,
                TlsMode::Starttls if self.post.tls.is_some() => Tls::Offered,
                TlsMode::Required => Tls::Required,
                TlsMode::Off | TlsMode::Starttls | TlsMode::Implicit => Tls::Off,
            },
            limits: machine_limits(limits),
            verbs,
            mail_parameters: offers.mail_parameters,
            recipient_parameters: offers.recipient_parameters,
            stray_newlines: listener.stray_newlines,
        }
    }

    /// The machine's settings, if they changed since they were last asked for.
    pub(super) fn changed_settings(&mut self) -> Option<Settings> {
        std::mem::take(&mut self.changed).then(|| self.settings())
    }
}

/// What the machine counts and measures. What does not fit in its integers is no limit worth having.
fn machine_limits(limits: &config::Limits) -> Limits {
    let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    Limits {
        command_line: count(limits.command_line),
        message_size: limits.message_size,
        recipients: count(limits.recipients),
        session_recipients: limits.session_recipients.into(),
        messages: limits.messages.into(),
        commands: limits.commands.into(),
        errors: limits.errors,
        tarpit_after: limits.tarpit_after,
        junk_commands: limits.junk_commands,
        header_size: limits.header_size,
        header_lines: limits.header_lines.into(),
        hops: limits.hops,
    }
}
