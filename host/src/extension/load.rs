//! From a compiled component to a linked extension: look at imports and exports, link, run `init`.
//!
//! Everything that can be wrong with a component is found here, before a generation is published, and said with what to
//! do about it. What is wrong between extensions of one listener is found in `roster`.

use super::breaker::Breaker;
use super::call::Failure;
use super::engine::Engine;
use super::grant::Grant;
use super::instance::{Indices, Instance};
use super::interface::{Hook, Import, PACKAGE};
use super::link;
use super::log_rate::LogRate;
use super::missing::Needs;
use super::rack::Rack;
use super::services::Services;
use super::state::State;
use super::tenant::Tenant;
use crate::config::{self, Capability, ExtensionLimits, OnFailures, Problem, Setting};
use crate::observe::ExtensionCounters;
use crate::session::policy::Spent;
use pillarbox_smtp::Rule;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use tracing::Instrument as _;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

/// What is said to a component that imports WASI. Who meets it has left out the flag that keeps the tool from adding it.
const NO_WASI: &str = "; extensions get no WASI: build Rust for wasm32-unknown-unknown, JavaScript by componentize-js with \
    `--disable stdio random clocks http fetch-event`, Python by componentize-py with `--stub-wasi`";

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
    /// `shadow` or `canary` where it is a candidate for the extension of its name.
    pub candidate: Option<&'static str>,
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
    pub on_failure: OnFailures,
    /// Whether it is called at all.
    pub breaker: Arc<Breaker>,
    /// How fast it may log.
    pub log_rate: Arc<LogRate>,
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

impl Linked {
    /// What tags everything that is logged while it is asked, if it is a candidate.
    pub fn span(&self) -> tracing::Span {
        match self.candidate {
            Some(candidate) => tracing::error_span!("candidate", candidate),
            None => tracing::Span::none(),
        }
    }
}

impl Linked {
    /// Whether one more line that it brings about may be logged. Where lines are dropped, that is said once a second.
    pub fn admits_line(&self) -> bool {
        let (span, extension, listener) = (self.span(), self.name.clone(), self.listener.clone());
        self.log_rate.admits(move |lines| {
            let _tagged = span.entered();
            let (extension, listener) = (&*extension, &*listener);
            tracing::warn!(extension, listener, lines, "extension logs too fast, lines were dropped");
        })
    }
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
    /// There are too many of them.
    #[error("the component is larger than {0} (`server.compile.size`)")]
    Size(String),
    /// The octets do not compile, or not with what that may take.
    #[error("{0}")]
    Compile(String),
    /// It exports or imports what this host does not know.
    #[error("{0}")]
    World(String),
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// The digest of a component.
pub fn digest(octets: &[u8]) -> Digest {
    Digest(Sha256::digest(octets).into())
}

impl Compiled {
    /// Looks at what a component exports and imports.
    ///
    /// # Errors
    /// It is no extension, or one for another server.
    pub(super) fn new(
        engine: &Engine,
        digest: Digest,
        size: usize,
        component: Component,
    ) -> Result<Compiled, LoadError> {
        let hooks = exported_hooks(engine, &component)?;
        let capabilities = imported_capabilities(engine, &component)?;
        Ok(Compiled { digest, size, hooks, capabilities, component })
    }
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
                true => NO_WASI,
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
    /// `shadow` or `canary` where it is a candidate.
    pub candidate: Option<&'static str>,
    /// The listener's name.
    pub listener: &'a str,
    /// What is counted.
    pub counters: Arc<ExtensionCounters>,
    /// Whether it is called at all.
    pub breaker: Arc<Breaker>,
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
    let Purpose { extension, entry, candidate, listener, counters, breaker, services } = purpose;
    let limits = extension.limits.narrowed(&entry.limits);
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
        // A candidate goes by the name of what it may take the place of; its own is for what is wrong with it.
        name: entry.extension.as_str().into(),
        candidate,
        listener: listener.into(),
        digest: compiled.digest,
        grant,
        tenant: Tenant::new(entry.recipients.clone()),
        settings: extension.settings.clone(),
        limits,
        on_failure: extension.on_failure.clone(),
        breaker,
        log_rate: LogRate::new(limits.log_rate),
        counters,
        services,
        engine: engine.clone(),
        pre,
        indices,
        initial_memory: initial_memory(&compiled.component),
    });
    let deadline = tokio::time::Instant::now() + linked.limits.wall;
    let mut spent = Spent::default();
    let started = Instance::start(&linked, rack, Some(Declared::default()), deadline, &mut spent);
    let mut instance = started.instrument(linked.span()).await.map_err(|failure| match failure {
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
