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
mod inspection;
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
mod row;
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
pub use inspection::{Inspection, Words};
pub use load::{Digest, digest};
pub use roster::Roster;
pub use row::{CandidateRow, Row};
pub use services::Services;

use crate::config::{self, Config, Instances, Problem, Problems};
use crate::observe::Counters;
use breaker::Breakers;
use compile::{Access, Workshop};
use compiler::{Compiler, Terms, Unread, cache_dir, read};
use engine::Engine;
use load::{Compiled, Purpose};
use rack::Rack;
use roster::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// The extensions of one configuration, ready to be asked.
#[derive(Debug)]
pub struct Loaded {
    /// By listener.
    pub rosters: BTreeMap<String, Arc<Roster>>,
    /// One row for each listener and extension.
    pub rows: Vec<Row>,
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
