//! What a component needs and a listener does not grant, with the line that would grant it.
//!
//! What it imports is known from the component alone. Which of its hooks have work is known when `init` has declared the
//! others away, and a hook without work needs nothing: so an extension can have a mode that sees passwords, and be used
//! in another without the right to see them.

use super::grant::Grant;
use super::interface::Hook;
use super::load::{Compiled, Declared};
use super::tenant::Tenant;
use crate::config::{self, Capability, Problem};
use std::collections::BTreeMap;

/// One component, and what it is to be used for.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// The component.
    pub compiled: &'a Compiled,
    /// What it is granted.
    pub grant: &'a Grant,
    /// The extension.
    pub extension: &'a config::Extension,
    /// Its entry on the listener.
    pub entry: &'a config::Use,
    /// The listener's name.
    pub listener: &'a str,
}

impl Needs<'_> {
    /// What must be granted before the component can be linked, and with it what its hooks will need, so that the
    /// operator reads it at once. Without a right to `credentials`, which is not to be given on a guess.
    pub fn before_init(&self) -> Vec<Problem> {
        let imports = self.compiled.capabilities.keys().map(|capability| (*capability, "imports it".to_owned()));
        let missing = self.missing(imports.clone());
        if missing.is_empty() {
            return Vec::new();
        }
        let guess = |(capability, _): &(Capability, String)| *capability != Capability::Credentials;
        let hooks = needed_by(self.compiled.hooks.iter().filter(|hook| self.is_asked(hook))).filter(guess);
        self.problems(self.missing(imports.chain(hooks)), &Declared::default())
    }

    /// What its hooks need, now that `init` has said which have work.
    pub fn after_init(&self, declared: &Declared) -> Vec<Problem> {
        let asked = self.compiled.hooks.difference(&declared.without).filter(|hook| self.is_asked(hook));
        let asked = needed_by(asked);
        self.problems(self.missing(asked), declared)
    }

    fn is_asked(&self, hook: &Hook) -> bool {
        Tenant::new(self.entry.recipients.clone()).has(*hook)
    }

    fn missing(&self, needed: impl Iterator<Item = (Capability, String)>) -> BTreeMap<Capability, String> {
        let mut missing = BTreeMap::new();
        for (capability, why) in needed.filter(|(capability, _)| !self.grant.mentions(*capability)) {
            missing.entry(capability).or_insert(why);
        }
        missing
    }

    fn problems(&self, missing: BTreeMap<Capability, String>, declared: &Declared) -> Vec<Problem> {
        let Needs { extension, entry, listener, .. } = *self;
        let problem = |(capability, why): (Capability, String)| {
            let message = format!(
                "extension `{}` needs `{capability}`, which listener `{listener}` does not grant: it {why}",
                extension.name
            );
            let value = suggestion(self, declared, capability);
            // What these reach no component tells.
            let example = match capability {
                Capability::Http => ", with the hosts it is to call",
                Capability::Stream => ", with the addresses it is to connect to",
                _ => "",
            };
            let help = format!("add this line to the entry{example}:\ngrant.{capability} = {value}");
            Problem::at(entry.place, message).help(help)
        };
        missing.into_iter().map(problem).collect()
    }
}

/// What these hooks need, each with the reason.
fn needed_by<'a>(hooks: impl Iterator<Item = &'a Hook>) -> impl Iterator<Item = (Capability, String)> {
    hooks.filter_map(|hook| Some((hook.needs()?, format!("exports the hook `{}`", hook.name()))))
}

/// The narrowest value that grants what the component uses, as far as its imports and declarations tell.
fn suggestion(needs: &Needs<'_>, declared: &Declared, capability: Capability) -> String {
    let Needs { compiled, grant, extension, .. } = *needs;
    let functions = compiled.capabilities.get(&capability).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<String> = match capability {
        // The functions are the fields; `id` needs none.
        Capability::Session => functions.iter().filter(|name| *name != "id").cloned().collect(),
        // `login` can be granted only where `authentication` is.
        Capability::Identity => {
            let given = |field: &&str| *field != "login" || grant.has(Capability::Authentication);
            functions.iter().filter_map(|name| name.strip_prefix("set-")).filter(given).map(str::to_owned).collect()
        }
        // Whoever judges passwords need not know anything for SCRAM, and where it does not, offering it keeps clients
        // from what would do.
        Capability::Credentials => {
            let judges = compiled.hooks.contains(&Hook::Verify) && !declared.without.contains(&Hook::Verify);
            let passwords = judges.then_some(["PLAIN", "LOGIN"]).into_iter().flatten().map(str::to_owned);
            passwords.chain(declared.mechanisms.iter().cloned()).collect()
        }
        // What its keys begin with it alone knows; mostly it is called like the extension.
        Capability::Kv => vec![format!("{}/", extension.name)],
        Capability::Dns if !functions.is_empty() => {
            let mut types: Vec<String> = functions.iter().filter_map(|function| record_type(function)).collect();
            types.sort_unstable();
            return format!("{{ types = {} }}", list(types));
        }
        Capability::Http => vec!["api.example.org".to_owned()],
        Capability::Stream => vec!["127.0.0.1:6379".to_owned()],
        _ => Vec::new(),
    };
    match names.is_empty() {
        true => "true".to_owned(),
        false => list(names),
    }
}

/// The type of record that a function of `dns` asks for, as a grant has it.
fn record_type(function: &str) -> Option<String> {
    let types = [("addresses", "a"), ("mail-exchangers", "mx"), ("texts", "txt"), ("pointers", "ptr")];
    types.iter().find(|(name, _)| *name == function).map(|(_, record)| (*record).to_owned())
}

/// Names as the file has them.
pub fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", names.join(", "))
}
