//! What can be said of a component by itself, without a configuration and without a session: for `extension inspect`.

use super::breaker::Breaker;
use super::load::{self, Declared, Digest, Purpose, digest};
use super::{Runtime, Services, Terms};
use crate::config::{self, Capability, Component, Granted, Place, Problem, Use};
use std::collections::BTreeMap;

/// What can be said of a component by itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its digest.
    pub digest: Digest,
    /// Octets.
    pub size: usize,
    /// The hooks it exports.
    pub hooks: Vec<&'static str>,
    /// The capabilities it asks for, by import or by hook, with the functions it uses.
    pub capabilities: Vec<(Capability, Vec<String>)>,
    /// What `init` declared without settings, or what it said instead.
    pub declared: Result<Words, String>,
}

/// What an extension adds to the protocol, in words.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// EHLO keywords, with parameters.
    pub keywords: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// MAIL parameters.
    pub mail_parameters: Vec<String>,
    /// RCPT parameters.
    pub recipient_parameters: Vec<String>,
    /// SASL mechanisms.
    pub mechanisms: Vec<String>,
}

impl Runtime {
    /// Looks at a component without a configuration.
    ///
    /// # Errors
    /// It is no extension; the text says why.
    pub async fn inspect(&self, octets: Vec<u8>) -> Result<Inspection, String> {
        let digest = digest(&octets);
        let compiled = self.compiler.compile("component", octets, digest, Terms::default()).await;
        let compiled = compiled.map_err(|error| error.to_string())?;
        let mut capabilities = compiled.capabilities.clone();
        for hook in &compiled.hooks {
            if let Some(capability) = hook.needs() {
                capabilities.entry(capability).or_default();
            }
        }
        // Everything there is to grant, because without a session nothing can be done with it.
        let grant = config::Grant { entries: Capability::ALL.into_iter().map(|c| (c, Granted::All)).collect() };
        let (extension, entry) = bare(grant);
        let counters = self.counters.extension("inspect", "inspect");
        let services = Services::default();
        let (extension, entry, breaker) = (&extension, &entry, Breaker::new(None));
        let purpose = Purpose { extension, entry, candidate: None, listener: "inspect", counters, breaker, services };
        let declared = match load::link(&self.engine, &self.rack, &compiled, purpose).await {
            Ok((_, declared)) => Ok(Words::of(&declared)),
            Err(problems) => {
                // The messages are made for a configuration, in which the extension has a name.
                let words = |problem: &Problem| problem.message().replacen("extension `component` says: ", "", 1);
                Err(problems.iter().map(words).collect::<Vec<_>>().join("; "))
            }
        };
        Ok(Inspection {
            digest: compiled.digest,
            size: compiled.size,
            hooks: compiled.hooks.iter().map(|hook| hook.name()).collect(),
            capabilities: capabilities.into_iter().collect(),
            declared,
        })
    }
}

/// An extension without a configuration.
fn bare(grant: config::Grant) -> (config::Extension, Use) {
    let extension = config::Extension {
        name: "component".to_owned(),
        place: Place::default(),
        component: Component::Builtin(String::new()),
        component_place: Place::default(),
        sha256: None,
        settings: BTreeMap::new(),
        settings_place: Place::default(),
        limits: config::ExtensionLimits::default(),
        on_failure: config::OnFailures::default(),
        breaker: None,
        candidate: None,
    };
    let entry = Use {
        extension: extension.name.clone(),
        place: Place::default(),
        peers: None,
        peers_place: None,
        recipients: None,
        trust: config::Trust::default(),
        grant,
        verdicts: config::Verdicts::default(),
        limits: config::ExtensionLimitsPart::default(),
    };
    (extension, entry)
}

impl Words {
    fn of(declared: &Declared) -> Words {
        let keyword = |(name, parameters): (&String, &Option<String>)| match parameters {
            Some(parameters) => format!("{name} {parameters}"),
            None => name.clone(),
        };
        Words {
            keywords: declared.keywords.iter().map(keyword).collect(),
            verbs: declared.verbs.keys().cloned().collect(),
            mail_parameters: declared.mail_parameters.iter().cloned().collect(),
            recipient_parameters: declared.recipient_parameters.iter().cloned().collect(),
            mechanisms: declared.mechanisms.iter().cloned().collect(),
        }
    }
}
