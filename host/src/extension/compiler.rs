//! From octets to a component: read once, recognised, digested, and found in the cache or compiled elsewhere, each once as
//! long as a generation uses it. What is in the component, others look at.

use super::compile::{Access, Cache, Fault, Key, Workshop, largest_code};
use super::engine::Engine;
use super::load::{Compiled, Digest, LoadError, digest};
use super::stock;
use crate::config::{self, Component as Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;
use wasmtime::component::Component;

/// Compiles components, each once as long as a generation uses it.
#[derive(Debug)]
pub struct Compiler {
    engine: Engine,
    workshop: Arc<Workshop>,
    known: Mutex<BTreeMap<Digest, Compiled>>,
    /// Whether anything was published yet. A start has nobody to step back behind.
    serving: AtomicBool,
}

/// How components are compiled and what of it is kept: part of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What compiling may take.
    pub limits: config::Compile,
    /// The directory of the cache, if there is one, and whether it may be changed.
    pub cache: Option<(PathBuf, Access)>,
}

impl Compiler {
    /// A compiler for this engine.
    pub fn new(engine: Engine, workshop: Workshop) -> Compiler {
        Compiler { engine, workshop: Arc::new(workshop), known: Mutex::default(), serving: AtomicBool::new(false) }
    }

    /// Compiles a component, away from the threads that serve. `name` is what the log calls it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn compile(
        &self,
        name: &str,
        octets: Vec<u8>,
        digest: Digest,
        terms: Terms,
    ) -> Result<Compiled, LoadError> {
        if let Some(known) = self.known().get(&digest).cloned() {
            return Ok(known);
        }
        let started = Instant::now();
        let (engine, workshop) = (self.engine.clone(), self.workshop.clone());
        let meanwhile = self.serving.load(Ordering::Relaxed);
        let (done, compiled) = oneshot::channel();
        // A thread of its own, because a runtime that ends waits for those it lends.
        std::thread::Builder::new()
            .name("compile".to_owned())
            .spawn(move || done.send(compile(&engine, &workshop, digest, octets, &terms, meanwhile)))
            .map_err(|error| LoadError::Compile(error.to_string()))?;
        let ended = |_| Err(LoadError::Compile("the thread that compiles has ended".to_owned()));
        let (compiled, cached) = compiled.await.unwrap_or_else(ended)?;
        tracing::info!(
            extension = name,
            digest = digest.to_string().get(..16).unwrap_or_default(),
            cached,
            seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            "compiled"
        );
        self.known().insert(digest, compiled.clone());
        Ok(compiled)
    }

    /// Forgets what no generation uses any more; some is served from now on.
    pub fn retain(&self, used: &BTreeSet<Digest>) {
        self.serving.store(true, Ordering::Relaxed);
        self.known().retain(|digest, _| used.contains(digest));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, Compiled>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The component, and whether it came from the cache.
fn compile(
    engine: &Engine,
    workshop: &Workshop,
    digest: Digest,
    octets: Vec<u8>,
    terms: &Terms,
    meanwhile: bool,
) -> Result<(Compiled, bool), LoadError> {
    recognise(&octets, &terms.limits)?;
    let (size, key) = (octets.len(), Key::new(engine.wasmtime(), digest));
    let cache = terms.cache.as_ref().and_then(|(path, access)| open(path, *access));
    let (component, cached) = match cache.as_ref().and_then(|cache| find(cache, key, engine, size)) {
        Some(component) => (component, true),
        None => {
            let wrong = |fault: Fault| LoadError::Compile(fault.words(&terms.limits));
            let code = workshop.compile(octets, terms.limits, meanwhile).map_err(wrong)?;
            // What no instance could ever have is seen only here: the compiler knows no pool.
            let unfit = |error: wasmtime::Error| LoadError::Compile(format!("the component does not fit: {error:#}"));
            let component = code.load(engine).map_err(unfit)?;
            if let (Some(cache), Some((_, Access::Write))) = (&cache, &terms.cache)
                && let Err(error) = cache.keep(key, &code)
            {
                // The next start compiles again, and that is all.
                tracing::warn!(%error, "compiled code is not kept");
            }
            (component, false)
        }
    };
    Ok((Compiled::new(engine, digest, size, component)?, cached))
}

/// Whether it can be a component at all, by its first octets and its size: no more of it is looked at in this process.
fn recognise(octets: &[u8], limits: &config::Compile) -> Result<(), LoadError> {
    match octets.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => {}
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => {
            return Err(LoadError::NotAComponent(
                "this is a core WebAssembly module, not a component; it has to be encoded as a component first",
            ));
        }
        // Loading it would run whatever is in it.
        Some([0x7f, b'E', b'L', b'F', ..]) => {
            return Err(LoadError::NotAComponent(
                "this is compiled code; the server takes components and compiles them itself",
            ));
        }
        _ => return Err(LoadError::NotAComponent("this is not a WebAssembly component")),
    }
    match octets.len() as u64 > limits.size {
        true => Err(LoadError::Size(limits.shown_size())),
        false => Ok(()),
    }
}

fn open(path: &Path, access: Access) -> Option<Cache> {
    Cache::open(path, access).unwrap_or_else(|error| {
        tracing::warn!(directory = %path.display(), %error, "the cache of compiled code is not used");
        None
    })
}

fn find(cache: &Cache, key: Key, engine: &Engine, size: usize) -> Option<Component> {
    let unfit = |error: String| tracing::warn!(entry = ?key, error, "an entry of the cache cannot be used, it is compiled anew");
    let code = cache.find(key, largest_code(size)).map_err(|error| unfit(error.to_string())).ok()??;
    code.load(engine).map_err(|error| unfit(error.to_string())).ok()
}

/// Why a component cannot be read.
#[derive(Debug)]
pub enum Unread {
    /// The binary holds no stock extensions.
    NotBuilt,
    /// The file system says no.
    File(PathBuf, io::Error),
}

/// Reads a component, once: what is digested is what is compiled. Of one that is too large, no more than shows it.
///
/// # Errors
/// There is nothing to read.
pub fn read(component: &Source, most: u64) -> Result<(Vec<u8>, Digest), Unread> {
    let octets = match component {
        Source::Builtin(name) => stock::component(name).map(<[u8]>::to_vec).ok_or(Unread::NotBuilt)?,
        Source::File(path) => {
            let mut octets = Vec::new();
            File::open(path)
                .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut octets))
                .map_err(|error| Unread::File(path.clone(), error))?;
            octets
        }
    };
    let digest = digest(&octets);
    Ok((octets, digest))
}

/// Where compiled code is kept: where the configuration says, else where the service manager says, else with the state.
pub fn cache_dir(server: &config::Server) -> PathBuf {
    // systemd.exec(5), CacheDirectory=. With several, the first.
    let given = std::env::var_os("CACHE_DIRECTORY").and_then(|paths| std::env::split_paths(&paths).next());
    let given = given.filter(|path| path.is_absolute()).map(|path| path.join("components"));
    server.cache_dir.clone().or(given).unwrap_or_else(|| server.state_dir.join("cache"))
}
