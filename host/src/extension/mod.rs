//! The WebAssembly room: nobody else says wasmtime. It turns a configuration's extensions into policy that
//! [`crate::session`] asks through the trait it owns.
//!
//! ```text
//! compiler  octets -> component, each once; found in the cache or made by compile/
//! load      component -> linked with a grant -> `init` has declared
//! roster    a listener's extensions in order, and what can be wrong between them
//! guests    the policy of one session: asks, folds, applies
//! instance  one call into one guest, within its budgets
//! host/     what a guest may call
//! ```
//!
//! No guest memory is ever shared by two sessions. What is not granted is not linked. A failed call ends its instance
//! and nothing else. The room does not know SMTP's rules, where mail goes, or how a generation is published.

mod bindings;
mod breaker;
mod budget;
mod call;
mod candidate;
mod caught;
mod compile;
mod compiler;
mod engine;
mod grant;
mod guests;
mod host;
mod instance;
mod interface;
mod link;
mod load;
mod log_rate;
mod meter;
mod missing;
mod panic;
mod precompiled;
mod rack;
mod roster;
mod services;
mod state;
mod stock;
mod streams;
mod tenant;
#[cfg(test)]
mod tests;
mod verdict;

pub use breaker::{Position, Standing};
pub use compile::{Helper, run as compile_components};
pub use load::{Digest, digest};
pub use roster::Roster;
pub use services::Services;

use crate::config::{self, Capability, Component, Config, Granted, Instances, Place, Problem, Problems, Use};
use crate::observe::{CandidateCounters, Counters};
use breaker::Breaker;
use compile::{Access, Workshop};
use compiler::{Compiler, Terms, Unread, cache_dir, read};
use engine::Engine;
use interface::Hook;
use load::{Compiled, Declared, Linked, Purpose};
use rack::Rack;
use roster::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The WebAssembly runtime, for `--version`.
pub const RUNTIME: &str = "wasmtime 48";

/// What runs guests: one for the process, over all generations.
#[derive(Debug)]
pub struct Runtime {
    engine: Engine,
    rack: Arc<Rack>,
    compiler: Compiler,
    access: Access,
    counters: Arc<Counters>,
    breakers: Breakers,
}

/// The breakers there are, by all that an extension is on a listener: one that stays what it was keeps its breaker over a
/// reload, and with anything changed it begins anew.
#[derive(Debug, Default)]
struct Breakers(Mutex<BTreeMap<String, Weak<Breaker>>>);

/// The extensions of one configuration, ready to be asked.
#[derive(Debug)]
pub struct Loaded {
    /// By listener.
    pub rosters: BTreeMap<String, Arc<Roster>>,
    /// One row for each listener and extension.
    pub rows: Vec<Row>,
}

/// What one extension is on one listener, in words.
#[derive(Clone, Debug)]
pub struct Row {
    /// The listener.
    pub listener: String,
    /// The extension.
    pub extension: String,
    /// The component.
    pub digest: Digest,
    /// The hooks that are asked.
    pub hooks: Vec<&'static str>,
    /// The verbs it declared.
    pub verbs: Vec<String>,
    /// What it was granted.
    pub grants: String,
    /// What it may answer.
    pub verdicts: Vec<&'static str>,
    /// For whom it is there.
    pub peers: String,
    breaker: Arc<Breaker>,
    /// What is tried beside it, or in some of its sessions.
    pub candidate: Option<CandidateRow>,
}

/// What a candidate is on one listener, in words.
#[derive(Clone, Debug)]
pub struct CandidateRow {
    /// The component.
    pub digest: Digest,
    /// How it is tried: `shadow`, or `canary` with what narrows it.
    pub trial: String,
    /// The hooks that are asked.
    pub hooks: Vec<&'static str>,
    /// What it was granted.
    pub grants: String,
    /// What is counted.
    pub counters: Arc<CandidateCounters>,
}

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
    /// Starts the engine. Each component is compiled in a process of its own, and nothing of it is kept on disk.
    ///
    /// # Errors
    /// The system cannot run compiled code.
    pub fn new(instances: Instances, counters: Arc<Counters>) -> Result<Runtime, wasmtime::Error> {
        #[cfg(not(test))]
        let workshop = Workshop::Direct;
        #[cfg(test)]
        let workshop = Workshop::Here;
        Runtime::with(instances, counters, workshop, Access::Read)
    }

    /// Starts the engine of a server, whose components this helper compiles. What it compiled is kept on disk.
    ///
    /// # Errors
    /// The system cannot run compiled code.
    pub fn helped(instances: Instances, counters: Arc<Counters>, helper: Helper) -> Result<Runtime, wasmtime::Error> {
        Runtime::with(instances, counters, Workshop::Helper(helper), Access::Write)
    }

    fn with(
        instances: Instances,
        counters: Arc<Counters>,
        workshop: Workshop,
        access: Access,
    ) -> Result<Runtime, wasmtime::Error> {
        let engine = Engine::new(instances)?;
        let compiler = Compiler::new(engine.clone(), workshop);
        let breakers = Breakers::default();
        Ok(Runtime { compiler, engine, rack: Rack::new(instances), access, counters, breakers })
    }

    /// Loads every extension that a listener uses: reads and compiles each component once, links it for each listener,
    /// runs `init`, and checks the extensions of a listener against each other.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    pub async fn load(&self, config: &Config, services: &Services) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let used: BTreeSet<&str> = config
            .listeners
            .values()
            .flat_map(|listener| &listener.extensions)
            .map(|used| used.extension.as_str())
            .collect();
        let terms = Terms { limits: config.server.compile, cache: Some((cache_dir(&config.server), self.access)) };
        let mut compiled = BTreeMap::new();
        let active = config.extensions.values().filter(|extension| used.contains(extension.name.as_str()));
        for extension in active.flat_map(|extension| extension.and_candidate()) {
            match self.compile(extension, &terms).await {
                Ok(component) => {
                    compiled.insert(extension.name.as_str(), component);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut loaded = Loaded { rosters: BTreeMap::new(), rows: Vec::new() };
        for (name, listener) in &config.listeners {
            let mut entries = Vec::new();
            for entry in &listener.extensions {
                let (Some(extension), Some(component)) =
                    (config.extensions.get(&entry.extension), compiled.get(entry.extension.as_str()))
                else {
                    continue;
                };
                let counters = self.counters.extension(&extension.name, name);
                let breaker = self.breakers.find(component.digest, extension, entry, name);
                let own = services.clone();
                let purpose =
                    Purpose { extension, entry, candidate: None, listener: name, counters, breaker, services: own };
                let (linked, declared) = match load::link(&self.engine, &self.rack, component, purpose).await {
                    Ok(linked) => linked,
                    Err(found) => {
                        problems.extend(found);
                        continue;
                    }
                };
                let active = Entry::new(linked, declared, &component.hooks, entry);
                let candidate = extension
                    .candidate
                    .as_ref()
                    .and_then(|candidate| Some((candidate, compiled.get(candidate.extension.name.as_str())?)));
                let candidate = match candidate {
                    None => None,
                    Some((tried, component)) => {
                        let tried = self.link_candidate(tried, component, entry, &active, name, services);
                        tried.await.map_err(|found| problems.extend(found)).ok()
                    }
                };
                entries.push((entry, Arc::new(active.with(candidate))));
            }
            problems.extend(roster::check(listener, &entries));
            loaded.rows.extend(entries.iter().map(|(used, entry)| Row::new(name, used, entry)));
            let entries = entries.into_iter().map(|(_, entry)| entry).collect();
            loaded.rosters.insert(name.clone(), Arc::new(Roster::new(entries, self.rack.clone())));
        }
        match problems.is_empty() {
            true => Ok(loaded),
            false => Err(Problems::new(config.source.clone(), problems)),
        }
    }

    /// Forgets the compiled code that is not in these rows. Sessions that still run it keep it alive.
    pub fn retain(&self, rows: &[Row]) {
        let candidate = |row: &Row| row.candidate.as_ref().map(|candidate| candidate.digest);
        self.compiler.retain(&rows.iter().flat_map(|row| [Some(row.digest), candidate(row)]).flatten().collect());
    }

    /// How many instances there are now.
    pub fn instances(&self) -> u32 {
        self.rack.instances()
    }

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

    async fn compile(&self, extension: &config::Extension, terms: &Terms) -> Result<Compiled, Problem> {
        let wrong =
            |text: String| Problem::at(extension.component_place, format!("extension `{}`: {text}", extension.name));
        let (component, most) = (extension.component.clone(), terms.limits.size);
        let read = tokio::task::spawn_blocking(move || read(&component, most)).await;
        let (octets, digest) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(Unread::NotBuilt)) => {
                return Err(wrong("this binary was built without the stock extensions".to_owned())
                    .help("build it with `cargo xtask build`"));
            }
            Ok(Err(Unread::File(path, error))) => {
                return Err(wrong(format!("cannot read {}: {error}", path.display())));
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        if let Some(pinned) = extension.sha256.filter(|pinned| *pinned != digest.0) {
            return Err(wrong(format!(
                "the component is not the pinned one: its digest is {digest}, not {}",
                Digest(pinned)
            )));
        }
        let compiled = self.compiler.compile(&extension.name, octets, digest, terms.clone()).await;
        compiled.map_err(|error| wrong(error.to_string()))
    }
}

impl Breakers {
    fn find(&self, digest: Digest, extension: &config::Extension, entry: &Use, listener: &str) -> Arc<Breaker> {
        // Debug text of plain data: equal exactly when the values are.
        let set = (&extension.settings, extension.limits, extension.breaker);
        let granted = (&entry.grant, entry.verdicts, entry.limits);
        let key = format!("{:?}", (&extension.name, listener, digest, set, granted));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What no generation has any more goes.
        known.retain(|_, breaker| breaker.strong_count() > 0);
        let kept = known.get(&key).and_then(Weak::upgrade);
        kept.unwrap_or_else(|| {
            let breaker = Breaker::new(extension.breaker);
            known.insert(key, Arc::downgrade(&breaker));
            breaker
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

impl Row {
    fn new(listener: &str, used: &Use, entry: &Entry) -> Row {
        let Linked { grant, digest, .. } = &*entry.linked;
        let v = &grant.verdicts;
        let verdicts = [
            ("accept", v.accept),
            ("tempfail", v.tempfail),
            ("reject", v.reject),
            ("disconnect", v.disconnect),
            ("discard", v.discard),
            ("quarantine", v.quarantine),
        ];
        let networks = |nets: &Vec<ipnet::IpNet>| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Row {
            listener: listener.to_owned(),
            extension: used.extension.clone(),
            digest: *digest,
            hooks: entry.hooks.iter().map(|hook: &Hook| hook.name()).collect(),
            verbs: entry.declared.verbs.keys().cloned().collect(),
            grants: grant.to_string(),
            verdicts: verdicts.into_iter().filter(|(_, granted)| *granted).map(|(name, _)| name).collect(),
            peers: used.peers.as_ref().map_or_else(|| "everybody".to_owned(), networks),
            breaker: entry.linked.breaker.clone(),
            candidate: entry.candidate.as_ref().map(|candidate| CandidateRow {
                digest: candidate.entry.linked.digest,
                trial: candidate.trial.to_string(),
                hooks: candidate.entry.hooks.iter().map(|hook: &Hook| hook.name()).collect(),
                grants: candidate.entry.linked.grant.to_string(),
                counters: candidate.counters.clone(),
            }),
        }
    }

    /// Whether the extension is called at the moment.
    pub fn breaker(&self) -> Standing {
        self.breaker.standing(tokio::time::Instant::now())
    }
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
