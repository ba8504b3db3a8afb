//! The server as a whole: what a generation is made of, how one takes another's place, and how everything ends.
//!
//! It names every room, and no room names it. What is decided here is only the order of things: check everything, bind,
//! then publish; stop taking, finish what is under way, then go.

pub mod descriptors;
mod prepare;
mod quarantine;
mod queue;
mod rollback;
mod router;
mod status;
mod store;
mod story;
mod tables;
mod users;
mod warnings;

pub use prepare::{Prepared, Refused, control_socket, prepare, read};

use crate::auth::{Attempts, Hashing, Users};
use crate::cli::ConfigChoice;
use crate::config::{self, Config, LogFormat};
use crate::control::{
    BoxFuture, Control, ControlError, Operator, Order, QueueOrder, ReloadStatus, Response, SOCKET, Status,
};
use crate::delivery;
use crate::extension::{Helper, Row, Runtime, Services};
use crate::listener::{Accepted, Doors, Serve};
use crate::observe::{self, Counters, Logging};
use crate::session::generation::{Generation, Post};
use crate::session::{self, Arrival, Service};
use crate::spool::{self, Spool};
use crate::tls;
use rollback::{Served, take_over};
use router::Router;
use status::{changes, log_granted};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use warnings::log_warnings;

/// How long messages under way may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(60);

/// How often files are looked at that may change without a reload: certificates and users.
const LOOK: Duration = Duration::from_secs(2);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The state directory.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Something the system did not give.
    #[error("the system gives no {0}")]
    System(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The running server.
pub struct Server {
    choice: ConfigChoice,
    logging: Option<Logging>,
    runtime: Runtime,
    counters: Arc<Counters>,
    spool: Spool,
    generations: watch::Sender<Arc<Generation>>,
    /// The queue, and the operator's hand in it.
    queue: delivery::Handle,
    doors: tokio::sync::Mutex<Doors>,
    serving: Mutex<Serving>,
    users_faults: users::Faults,
    /// What guests reach as long as the process lives.
    services: Services,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    started: Instant,
}

/// What is served now, for people.
struct Serving {
    now: Served,
    /// What was served before, for a rollback; none before the first reload and after a rollback.
    previous: Option<Served>,
    /// The generation that a rollback took the place of, until the next reload.
    rolled_back_from: Option<u64>,
    /// The generation each extension on each listener has been what it is since.
    since: BTreeMap<(String, String), u64>,
    last_reload: Option<ReloadStatus>,
}

/// Serves until SIGTERM or SIGINT, and ends in order.
///
/// # Errors
/// The server could not be started; afterwards nothing ends it but a signal.
pub async fn serve(choice: ConfigChoice, logging: Option<Logging>) -> Result<(), StartError> {
    let system = |what| move |error: std::io::Error| StartError::System(what, error.into());
    let mut terminate = signal(SignalKind::terminate()).map_err(system("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("signals"))?;
    let (stop, stopped) = watch::channel(false);
    let server = Server::start(choice, logging).await?;
    let control = Control::bind(&server.state_dir().join(SOCKET))?;
    let control = tokio::spawn(control.serve(server.clone(), stopped.clone()));
    let delivery = tokio::spawn(server.queue.clone().run(stopped.clone()));
    let watched = tokio::spawn(server.clone().watch(stopped));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // By itself, so that a long compile does not keep a SIGTERM waiting. What happened is in the log.
                let server = server.clone();
                tokio::spawn(async move { Operator::reload(&*server).await });
            }
        }
    }
    tracing::info!("stopping");
    let end = async {
        let cut = server.doors.lock().await.drain(GRACE).await;
        stop.send_replace(true);
        let _ = control.await;
        let _ = delivery.await;
        let _ = watched.await;
        server.services.close().await;
        cut
    };
    tokio::select! {
        cut = end => tracing::info!(cut, "stopped"),
        // Asked twice: at once. What was not acknowledged is not kept, and what was is on disk.
        _ = terminate.recv() => tracing::warn!("stopped at once"),
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl Server {
    async fn start(choice: ConfigChoice, logging: Option<Logging>) -> Result<Arc<Server>, StartError> {
        // First of all, so that it inherits nothing.
        let helper = Helper::start().map_err(|error| StartError::System("process that compiles", error.into()))?;
        let counters = Arc::new(Counters::default());
        let config = read(&choice)?;
        tracing::info!(
            config = &*config.source.name,
            hostname = &*config.server.hostname,
            state_dir = &*config.server.state_dir.to_string_lossy(),
            version = env!("CARGO_PKG_VERSION"),
            "pillarbox starts"
        );
        let runtime = Runtime::helped(config.server.instances, counters.clone(), helper)
            .map_err(|error| StartError::System("room for extensions", error.into_boxed_dyn_error()))?;
        let kv = store::start(&config)?;
        let services = Services { kv: Some(kv.clone()), ..Services::default() };
        let prepared = Arc::new(prepare(&choice, &runtime, &services).await?);
        let spool = Spool::open(&prepared.config.server.state_dir)?;
        users::keep_key(&prepared.config.server.state_dir);
        kv.begin();
        let Prepared { config: Config { delivery, server: named, .. }, routes, .. } = &*prepared;
        let routes = Arc::new(routes.clone());
        let queue =
            delivery::Handle::new(spool.clone(), routes, delivery.clone(), &named.hostname, crate::kv::system_clock());
        let generations = watch::Sender::new(Arc::new(Generation::default()));
        let service = Service {
            generations: generations.subscribe(),
            spool: spool.clone(),
            counters: counters.clone(),
            attempts: Attempts::new(),
            nobody: Arc::new(Users::none().map_err(|error| StartError::System("random octets", error.into()))?),
            hashing: Hashing::new(std::thread::available_parallelism().map_or(1, NonZero::get)),
        };
        let server = Arc::new(Server {
            choice,
            logging,
            runtime,
            doors: tokio::sync::Mutex::new(Doors::new(Arc::new(Sessions(Arc::new(service))), counters.clone())),
            counters,
            spool,
            generations,
            queue,
            serving: Mutex::new(Serving {
                now: Served { number: 0, prepared: prepared.clone() },
                previous: None,
                rolled_back_from: None,
                since: BTreeMap::new(),
                last_reload: None,
            }),
            users_faults: users::Faults::default(),
            services,
            reloading: tokio::sync::Mutex::new(()),
            started: Instant::now(),
        });
        server.publish(prepared).await?;
        server.retain();
        Ok(server)
    }

    /// Puts a checked configuration in the place of the one that is served: binds what is new, and publishes all of it
    /// at once.
    async fn publish(&self, prepared: Arc<Prepared>) -> Result<u64, Refused> {
        let Prepared { config, loaded, tls, users, names, routes, .. } = &*prepared;
        routes.inherit(&self.queue.routes());
        let routes = Arc::new(routes.clone());
        let hostname: Arc<str> = config.server.hostname.as_str().into();
        let post = |(name, listener): (&String, &Arc<config::Listener>)| {
            let extensions = loaded.rosters.get(name)?.clone();
            let post = Post {
                listener: listener.clone(),
                hostname: hostname.clone(),
                tls: tls.get(name).cloned(),
                users: listener.auth.users.as_ref().and_then(|path| users.get(path)).cloned(),
                names: names.clone().filter(|_| listener.client_name != config::ClientName::Off),
                extensions: Arc::new(extensions),
                routing: Arc::new(Router(routes.clone())),
            };
            Some((name.clone(), Arc::new(post)))
        };
        let posts = config.listeners.iter().filter_map(post).collect();
        let mut doors = self.doors.lock().await;
        doors.apply(&config.listeners).await?;
        let number = self.generations.borrow().number + 1;
        self.queue.follow(routes, config.delivery.clone(), &config.server.hostname);
        self.spool.configure(config.spool.clone());
        self.generations.send_replace(Arc::new(Generation { number, posts }));
        drop(doors);
        log_granted(&loaded.rows, number);
        if let Some(logging) = &self.logging {
            logging.change(level(config), format(config));
        }
        log_warnings(&prepared);
        let mut serving = self.serving();
        let since = |row: &Row| {
            let key = (row.extension.clone(), row.listener.clone());
            let same = serving.now.prepared.loaded.rows.iter().any(|old| {
                (old.listener == row.listener) && old.extension == row.extension && old.digest == row.digest
            });
            let since = serving.since.get(&key).copied().filter(|_| same).unwrap_or(number);
            (key, since)
        };
        serving.since = loaded.rows.iter().map(since).collect();
        serving.now = Served { number, prepared };
        Ok(number)
    }

    async fn reload_now(&self) -> Result<String, Refused> {
        let prepared = prepare(&self.choice, &self.runtime, &self.services).await?;
        let before = self.serving().now.clone();
        let old = &before.prepared;
        if prepared.config.server.state_dir != old.config.server.state_dir {
            return Err(Refused::Restart("server.state-dir"));
        }
        if prepared.config.server.instances != old.config.server.instances {
            return Err(Refused::Restart("server.instances"));
        }
        if store::is_other(&prepared.config, &old.config) {
            return Err(Refused::Restart("kv"));
        }
        take_over(&old.tls, &prepared.tls)?;
        let mut changes = changes(old, &prepared);
        if changes.is_empty() {
            changes.push("nothing changed".to_owned());
        }
        let warnings = prepared.warnings(SystemTime::now());
        let source = &prepared.config.source;
        changes.extend(warnings.iter().map(|it| format!("warning: {}: {}", it.line(source), it.message())));
        let number = self.publish(Arc::new(prepared)).await?;
        let mut serving = self.serving();
        serving.previous = Some(before);
        serving.rolled_back_from = None;
        drop(serving);
        Ok(format!("generation {number} is served\n{}", changes.join("\n")))
    }

    /// Follows the files that may change without a reload, until the server ends.
    async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let certificates = tls::watch(
            || {
                self.serving()
                    .now
                    .prepared
                    .tls
                    .iter()
                    .map(|(name, acceptor)| (name.clone(), acceptor.clone()))
                    .collect()
            },
            LOOK,
            stop.clone(),
        );
        let users = users::watch(|| self.serving().now.prepared.users.clone(), &self.users_faults, LOOK);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            _ = async { tokio::join!(certificates, users) } => {}
        }
    }

    fn state_dir(&self) -> PathBuf {
        self.serving().now.prepared.config.server.state_dir.clone()
    }

    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operator for Server {
    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move {
            let _one_at_a_time = self.reloading.lock().await;
            let result = self.reload_now().await.map_err(|error| observe::chain(&error));
            let (ok, text) = match &result {
                Ok(text) => (true, text),
                Err(text) => (false, text),
            };
            match ok {
                true => tracing::info!(result = &**text, "reloaded"),
                false => tracing::error!(error = &**text, "reload refused, the previous generation goes on"),
            }
            self.retain();
            self.serving().last_reload =
                Some(ReloadStatus { at: observe::timestamp(SystemTime::now()), ok, text: text.clone() });
            result
        })
    }

    fn rollback(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move {
            let _one_at_a_time = self.reloading.lock().await;
            let result = self.rollback_now().await.map_err(|error| observe::chain(&error));
            match &result {
                Ok(text) => tracing::warn!(result = &**text, "rolled back"),
                Err(text) => tracing::error!(error = &**text, "rollback refused, everything stays"),
            }
            self.retain();
            result
        })
    }

    fn status(&self) -> Status {
        self.describe()
    }

    fn quarantine(&self, order: Order) -> BoxFuture<'_, Response> {
        Box::pin(self.keeper(order))
    }

    fn queue(&self, order: QueueOrder) -> BoxFuture<'_, Response> {
        Box::pin(self.postmaster(order))
    }

    fn story(&self, id: String, from: u64) -> BoxFuture<'_, Response> {
        Box::pin(self.narrate(id, from))
    }
}

/// The level the log is kept at.
pub fn level(config: &Config) -> tracing::Level {
    match config.log.level {
        config::Level::Error => tracing::Level::ERROR,
        config::Level::Warn => tracing::Level::WARN,
        config::Level::Info => tracing::Level::INFO,
        config::Level::Debug => tracing::Level::DEBUG,
        config::Level::Trace => tracing::Level::TRACE,
    }
}

/// The shape the log is kept in.
pub fn format(config: &Config) -> observe::Format {
    match config.log.format {
        LogFormat::Text => observe::Format::Text,
        LogFormat::Json => observe::Format::Json,
    }
}

/// Hands accepted connections to sessions.
struct Sessions(Arc<Service>);

impl Serve for Sessions {
    fn serve(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Accepted { stream, peer, local, via, listener, stop } = accepted;
        Box::pin(session::serve(Arrival { stream, peer, local, via, listener, stop }, self.0.clone()))
    }
}
