//! What the operator sees of the running server: the log, one event to a line, and the counters.
//!
//! Any room may say something here, and nothing a peer, an extension or a full pipe does can turn one event into two
//! lines, make a line endless, or hold up the mail. The room does not know what the events mean, who reads them, or how
//! the operator asked for them: `start` is handed its settings.

mod candidate;
mod counters;
mod event;
mod memory;
mod sink;
mod story;
mod text;
mod told;
mod trouble;

pub use candidate::CandidateCounters;
pub use counters::{Alive, Counters, ExtensionCounters, ExtensionSnapshot, Snapshot};
pub use memory::Memory;
pub use story::Story;
pub use text::{chain, clip, escape, timestamp};
pub use told::{Pairs, Told};
pub use trouble::Trouble;

use event::Lines;
use sink::Sink;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: `TIME LEVEL message name=value …`, times in UTC (RFC 3339).
    #[default]
    Text,
    /// For machines: one JSON object with `time`, `level`, `message` and the event's fields.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thread that writes the log could not be made.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// This process logs already.
    #[error("logging was started before")]
    Started,
}

/// The log of this process. Dropping it writes what is still queued.
#[derive(Debug)]
pub struct Logging {
    filter: reload::Handle<Targets, Registry>,
    shape: Shape,
    sink: Sink,
    memory: Memory,
}

/// Begins to log to standard error: this server's own events from `level` on, and of its dependencies only warnings.
///
/// Also turns a panic into an event, so that it takes one line like everything else.
///
/// # Errors
/// The writing thread could not be made, or logging began before.
pub fn start(level: Level, format: Format) -> Result<Logging, StartError> {
    let shape = Shape::new(format);
    let sink = Sink::new(Box::new(io::stderr()), shape.clone()).map_err(StartError::Thread)?;
    let memory = Memory::default();
    let (filter, handle) = reload::Layer::new(from(level));
    tracing_subscriber::registry()
        .with(filter)
        .with(Lines::new(shape.clone(), sink.clone(), memory.clone()))
        .try_init()
        .map_err(|_| StartError::Started)?;
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        match panic.location() {
            Some(place) => tracing::error!(file = place.file(), line = place.line(), reason = text, "panic"),
            None => tracing::error!(reason = text, "panic"),
        }
    }));
    Ok(Logging { filter: handle, shape, sink, memory })
}

impl Logging {
    /// Logs from `level` on, in `format`, from now on: for a reload.
    pub fn change(&self, level: Level, format: Format) {
        self.shape.set(format);
        // It fails only when the subscriber is gone, and then there is nothing to change.
        let _ = self.filter.reload(from(level));
    }

    /// The last events that name a session or a message, in the format of their time.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Waits until everything logged so far is written, at most a second. For the moment before the process ends.
    pub fn flush(&self) {
        self.sink.flush(Duration::from_secs(1));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The filter: Cranelift at `trace` alone would bury every event of ours. What happens to connections to NATS servers we
/// say ourselves.
fn from(level: Level) -> Targets {
    let level = LevelFilter::from_level(level);
    Targets::new()
        .with_target("pillarbox", level)
        .with_target("async_nats", LevelFilter::OFF)
        .with_default(level.min(LevelFilter::WARN))
}

/// The format in force, which a reload can change.
#[derive(Clone, Debug)]
struct Shape(Arc<AtomicBool>);

impl Shape {
    fn new(format: Format) -> Shape {
        Shape(Arc::new(AtomicBool::new(format == Format::Json)))
    }

    fn set(&self, format: Format) {
        self.0.store(format == Format::Json, Ordering::Relaxed);
    }

    fn format(&self) -> Format {
        if self.0.load(Ordering::Relaxed) { Format::Json } else { Format::Text }
    }
}
