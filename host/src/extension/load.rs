//! From octets to a linked extension: read once, digest, look at imports and exports, compile, link, run `init`.
//!
//! Everything that can be wrong with a component is found here, before a generation is published, and said with what to
//! do about it. What is wrong between extensions of one listener is found in `roster`.

use super::call::Failure;
use super::engine::Engine;
use super::grant::Grant;
use super::instance::{Indices, Instance};
use super::interface::{Hook, Import, PACKAGE};
use super::link;
use super::missing::Needs;
use super::rack::Rack;
use super::services::Services;
use super::state::State;
use super::tenant::Tenant;
use crate::config::{self, Capability, ExtensionLimits, OnFailure, Problem, Setting};
use crate::observe::ExtensionCounters;
use pillarbox_smtp::Rule;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

/// The largest component that is compiled, in octets.
const LARGEST: usize = 64 << 20;

/// The SHA-256 of a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A compiled component, with what can be seen of it without running it.
#[derive(Clone)]
pub struct Compiled {
    /// What it is known by.
    pub digest: Digest,
    /// Octets before compiling.
    pub size: usize,
    /// The hooks it exports.
    pub hooks: BTreeSet<Hook>,
    /// The capabilities it imports, each with the functions it uses.
    pub capabilities: BTreeMap<Capability, Vec<String>>,
    component: Component,
}

/// What `init` declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// EHLO keywords with their parameters.
    pub keywords: BTreeMap<String, Option<String>>,
    /// Verbs.
    pub verbs: BTreeMap<String, Rule>,
    /// MAIL parameters.
    pub mail_parameters: BTreeSet<String>,
    /// RCPT parameters.
    pub recipient_parameters: BTreeSet<String>,
    /// SASL mechanisms.
    pub mechanisms: BTreeSet<String>,
    /// Hooks that have no work with these settings.
    pub without: BTreeSet<Hook>,
}

/// A component linked with one grant, for one listener.
pub struct Linked {
    /// The extension's name.
    pub name: Arc<str>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The component's digest.
    pub digest: Digest,
    /// What it may do.
    pub grant: Grant,
    /// For whose mail it is there.
    pub tenant: Tenant,
    /// What it reads with `settings`.
    pub settings: BTreeMap<String, Setting>,
    /// What a call may take.
    pub limits: ExtensionLimits,
    /// What the peer gets when a call fails.
    pub on_failure: OnFailure,
    /// What is counted.
    pub counters: Arc<ExtensionCounters>,
    /// What its host functions reach.
    pub services: Services,
    /// The engine it was compiled with.
    pub engine: Engine,
    /// Everything but an instance.
    pub pre: InstancePre<State>,
    /// Its hooks.
    pub indices: Indices,
    /// Octets of memory an instance begins with.
    pub initial_memory: u64,
}

impl fmt::Debug for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linked").field("name", &self.name).field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Why a component cannot be used at all. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The octets are none of ours.
    #[error("{0}")]
    NotAComponent(&'static str),
    /// The octets do not compile.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// It exports or imports what this host does not know.
    #[error("{0}")]
    World(String),
}

/// Compiles components, each once as long as a generation uses it.
#[derive(Debug)]
pub struct Compiler {
    engine: Engine,
    cache: Mutex<BTreeMap<Digest, Compiled>>,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Compiler {
    /// A compiler for this engine.
    pub fn new(engine: Engine) -> Compiler {
        Compiler { engine, cache: Mutex::default() }
    }

    /// Compiles a component, away from the threads that serve.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn compile(&self, octets: Vec<u8>) -> Result<Compiled, LoadError> {
        let digest = digest(&octets);
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let engine = self.engine.clone();
        let task = tokio::task::spawn_blocking(move || compile(&engine, digest, &octets));
        let compiled = task.await.unwrap_or_else(|error| Err(LoadError::Compile(error.to_string())))?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, compiled.clone());
        Ok(compiled)
    }

    /// Forgets what no generation uses any more.
    pub fn retain(&self, used: &BTreeSet<Digest>) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).retain(|digest, _| used.contains(digest));
    }
}

/// The digest of a component.
pub fn digest(octets: &[u8]) -> Digest {
    Digest(Sha256::digest(octets).into())
}

fn compile(engine: &Engine, digest: Digest, octets: &[u8]) -> Result<Compiled, LoadError> {
    if wasmtime::Engine::detect_precompiled(octets).is_some() {
        // Loading it would run whatever is in it.
        return Err(LoadError::NotAComponent(
            "this is compiled code; the server takes components and compiles them itself",
        ));
    }
    match octets.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => {}
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            return Err(LoadError::NotAComponent(
                "this is a core WebAssembly module, not a component; it has to be encoded as a component first",
            ));
        }
        _ => return Err(LoadError::NotAComponent("this is not a WebAssembly component")),
    }
    if octets.len() > LARGEST {
        return Err(LoadError::NotAComponent("the component is larger than 64 MiB"));
    }
    let component = Component::new(engine.wasmtime(), octets)
        .map_err(|error| LoadError::Compile(error.root_cause().to_string()))?;
    let hooks = exported_hooks(engine, &component)?;
    let capabilities = imported_capabilities(engine, &component)?;
    Ok(Compiled { digest, size: octets.len(), hooks, capabilities, component })
}

/// The hooks among the exports. Other packages' exports are none of our business: componentize-py adds one of its own.
fn exported_hooks(engine: &Engine, component: &Component) -> Result<BTreeSet<Hook>, LoadError> {
    let mut hooks = BTreeSet::new();
    let mut lifecycle = false;
    for (name, _) in component.component_type().exports(engine.wasmtime()) {
        let Some((interface, track)) = interface(name) else { continue };
        if !track {
            return Err(LoadError::World(format!(
                "the component exports `{name}`, which is of a version this server does not speak; it speaks 0.1"
            )));
        }
        match (interface, Hook::named(interface)) {
            ("lifecycle", _) => lifecycle = true,
            (_, Some(hook)) => {
                hooks.insert(hook);
            }
            (_, None) => {
                return Err(LoadError::World(format!(
                    "the component exports `{name}`, which is no hook of this server"
                )));
            }
        }
    }
    if !lifecycle {
        return Err(LoadError::World(format!(
            "the component exports no `{PACKAGE}lifecycle`: it is not a Pillarbox extension"
        )));
    }
    Ok(hooks)
}

fn imported_capabilities(
    engine: &Engine,
    component: &Component,
) -> Result<BTreeMap<Capability, Vec<String>>, LoadError> {
    let mut capabilities = BTreeMap::new();
    for (name, import) in component.component_type().imports(engine.wasmtime()) {
        let Some((interface, track)) = interface(name) else {
            let help = match name.starts_with("wasi:") {
                true => "; extensions get no WASI: build for wasm32-unknown-unknown, or with WASI stubbed",
                false => "",
            };
            return Err(LoadError::World(format!(
                "the component imports `{name}`, which this server does not have{help}"
            )));
        };
        let functions = match import.ty {
            ComponentItem::ComponentInstance(instance) => instance
                .exports(engine.wasmtime())
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                .map(|(function, _)| function.to_owned())
                .collect(),
            _ => Vec::new(),
        };
        // An interface of which only types are used asks for nothing.
        if functions.is_empty() {
            continue;
        }
        match (track, Import::named(interface)) {
            (true, Import::Free) => {}
            (true, Import::Needs(capability)) => {
                capabilities.insert(capability, functions);
            }
            (false, _) | (_, Import::Unknown) => {
                return Err(LoadError::World(format!(
                    "the component imports `{name}`, which this server does not have"
                )));
            }
        }
    }
    Ok(capabilities)
}

/// The interface's name if it is of our package, and whether it is of our track.
fn interface(name: &str) -> Option<(&str, bool)> {
    let name = name.strip_prefix(PACKAGE)?;
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    Some((interface, version.starts_with("0.1.")))
}

/// What a component is linked for.
pub struct Purpose<'a> {
    /// The extension.
    pub extension: &'a config::Extension,
    /// Its entry on the listener.
    pub entry: &'a config::Use,
    /// The listener's name.
    pub listener: &'a str,
    /// What is counted.
    pub counters: Arc<ExtensionCounters>,
    /// What its host functions reach.
    pub services: Services,
}

/// Links a component for one listener and runs its `init`.
///
/// # Errors
/// What it asks for and was not granted, or what `init` said.
pub async fn link(
    engine: &Engine,
    rack: &Arc<Rack>,
    compiled: &Compiled,
    purpose: Purpose<'_>,
) -> Result<(Arc<Linked>, Declared), Vec<Problem>> {
    let Purpose { extension, entry, listener, counters, services } = purpose;
    let grant = Grant::new(entry.grant.clone(), entry.verdicts);
    let missing = Needs { compiled, grant: &grant, extension, entry, listener }.before_init();
    if !missing.is_empty() {
        return Err(missing);
    }
    let failed =
        |text: String| vec![Problem::at(extension.component_place, format!("extension `{}`: {text}", extension.name))];
    let pre = link::linker(engine, &grant)
        .and_then(|linker| linker.instantiate_pre(&compiled.component))
        .map_err(|error| failed(format!("the component does not fit: {error:#}")))?;
    let indices = Indices::new(&pre).map_err(|error| failed(format!("the component does not fit: {error:#}")))?;
    let linked = Arc::new(Linked {
        name: extension.name.as_str().into(),
        listener: listener.into(),
        digest: compiled.digest,
        grant,
        tenant: Tenant::new(entry.recipients.clone()),
        settings: extension.settings.clone(),
        limits: extension.limits.narrowed(&entry.limits),
        on_failure: extension.on_failure,
        counters,
        services,
        engine: engine.clone(),
        pre,
        indices,
        initial_memory: initial_memory(&compiled.component),
    });
    let deadline = tokio::time::Instant::now() + linked.limits.wall;
    let mut instance =
        Instance::start(&linked, rack, Some(Declared::default()), deadline).await.map_err(|failure| match failure {
            Failure::Init(words) => {
                vec![Problem::at(extension.settings_place, format!("extension `{}` says: {words}", extension.name))]
            }
            Failure::Start(why) => failed(why),
            other => failed(format!("init {other}")),
        })?;
    let declared = instance.declared().unwrap_or_default();
    let missing = Needs { compiled, grant: &linked.grant, extension, entry, listener }.after_init(&declared);
    match missing.is_empty() {
        true => Ok((linked, declared)),
        false => Err(missing),
    }
}

fn initial_memory(component: &Component) -> u64 {
    let pages = component.resources_required().map_or(0, |resources| {
        u64::from(resources.num_memories).saturating_mul(resources.max_initial_memory_size.unwrap_or(0))
    });
    pages.saturating_mul(64 << 10)
}
