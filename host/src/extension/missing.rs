//! What a component needs and a listener does not grant, with the line that would grant it.

use super::grant::Grant;
use super::load::Compiled;
use crate::config::{self, Capability, Problem};
use std::collections::BTreeMap;

/// Every capability the component needs and the entry does not mention, each with the line that would grant it.
pub fn missing_grants(
    compiled: &Compiled,
    grant: &Grant,
    extension: &config::Extension,
    entry: &config::Use,
    listener: &str,
) -> Vec<Problem> {
    let hooks =
        compiled.hooks.iter().filter_map(|hook| Some((hook.needs()?, format!("exports the hook `{}`", hook.name()))));
    let imports = compiled.capabilities.keys().map(|capability| (*capability, "imports it".to_owned()));
    let mut missing: BTreeMap<Capability, String> = BTreeMap::new();
    for (capability, why) in imports.chain(hooks) {
        if !grant.has(capability) && !grant.denies(capability) {
            missing.entry(capability).or_insert(why);
        }
    }
    missing
        .into_iter()
        .map(|(capability, why)| {
            let message = format!(
                "extension `{}` needs `{capability}`, which listener `{listener}` does not grant: it {why}",
                extension.name
            );
            let help = match capability.served() {
                true => format!("add this line to the entry:\ngrant.{capability} = {}", suggestion(compiled, capability, grant)),
                false => format!(
                    "`{capability}` is not available in this version; to load the extension without it add this line to the entry:\n\
                     grant.{capability} = false"
                ),
            };
            Problem::at(entry.place, message).help(help)
        })
        .collect()
}

/// The narrowest value that grants what the component uses, as far as its imports tell.
fn suggestion(compiled: &Compiled, capability: Capability, grant: &Grant) -> String {
    let functions = compiled.capabilities.get(&capability).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<String> = match capability {
        // The functions are the fields; `id` needs none.
        Capability::Session => functions.iter().filter(|name| *name != "id").cloned().collect(),
        // `login` can be granted only where `authentication` is.
        Capability::Identity => {
            let given = |field: &&str| *field != "login" || grant.has(Capability::Authentication);
            functions.iter().filter_map(|name| name.strip_prefix("set-")).filter(given).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    match names.is_empty() {
        true => "true".to_owned(),
        false => format!("[{}]", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")),
    }
}
