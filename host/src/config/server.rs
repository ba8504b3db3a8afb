//! `[server]` and `[log]`: what holds for the process as a whole.

use std::path::PathBuf;
use std::time::Duration;

use super::Problem;
use super::reader::{Table, Value};
use super::value::{parse_hostname, show_duration, show_size};

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name this server goes by in its banner, its replies and its Received lines.
    pub hostname: String,
    /// Where spool, control socket and caches are kept. Absolute.
    pub state_dir: PathBuf,
    /// Where compiled code is kept, if it was written. Absolute.
    pub cache_dir: Option<PathBuf>,
    /// What compiling one component may take.
    pub compile: Compile,
    /// What all extension instances together may take.
    pub instances: Instances,
}

/// The caps on all extension instances together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// How many may live at a time.
    pub count: u32,
    /// Octets of memory.
    pub memory: u64,
}

impl Default for Instances {
    fn default() -> Instances {
        Instances { count: 2000, memory: 1024 * 1024 * 1024 }
    }
}

/// What compiling one component may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compile {
    /// Processor time, of all processors together. Whole seconds.
    pub cpu: Duration,
    /// Time on the clock on the wall.
    pub wall: Duration,
    /// Octets of memory.
    pub memory: u64,
    /// Octets of the component.
    pub size: u64,
}

impl Default for Compile {
    // 13 MB made from JavaScript take 15 to 30 seconds of a processor and 350 MB: there is room for several times that.
    fn default() -> Compile {
        Compile { cpu: Duration::from_secs(120), wall: Duration::from_secs(300), memory: 4 << 30, size: 64 << 20 }
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe events that are written.
    pub level: Level,
    /// The shape of a line.
    pub format: LogFormat,
}

/// The severity of an event, the most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something was lost or does not work.
    Error,
    /// Somebody should look at it some day.
    Warn,
    /// What happened: sessions, messages, reloads.
    #[default]
    Info,
    /// Every command and every extension call.
    Debug,
    /// Everything.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: `name=value` pairs.
    #[default]
    Text,
    /// For machines: one JSON object.
    Json,
}

impl Server {
    /// `[server]`, which must be there.
    pub(super) fn read(root: &mut Table<'_>) -> Option<Server> {
        let Some(value) = root.take("server") else {
            let example = "[server]\nhostname = \"mx.example.org\"\nstate-dir = \"/var/lib/pillarbox\"";
            let help = format!("every configuration begins with\n{example}");
            root.note(Problem::whole("missing table `[server]`").help(help));
            return None;
        };
        let mut table = value.table()?;
        let hostname = table.require("hostname", "\"mx.example.org\"").and_then(|value| value.parsed(parse_hostname));
        let state_dir = table.require("state-dir", "\"/var/lib/pillarbox\"").and_then(Value::path);
        let cache_dir = table.take("cache-dir").map(Value::path);
        let instances = table.table("instances").map(Instances::read).unwrap_or_default();
        let compile = table.table("compile").map(Compile::read).unwrap_or_default();
        table.finish();
        Some(Server { hostname: hostname?, state_dir: state_dir?, cache_dir: cache_dir.flatten(), instances, compile })
    }
}

impl Instances {
    fn read(mut table: Table<'_>) -> Instances {
        let default = Instances::default();
        let count = table.take("count").and_then(|value| value.count(1..=100_000));
        let memory = table.take("memory").and_then(|value| value.size(1024 * 1024..=1024 * 1024 * 1024 * 1024));
        table.finish();
        Instances { count: count.unwrap_or(default.count), memory: memory.unwrap_or(default.memory) }
    }
}

impl Compile {
    fn read(mut table: Table<'_>) -> Compile {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let default = Compile::default();
        let cpu = table.take("cpu").and_then(|value| value.duration(SECOND..=HOUR));
        let wall = table.take("wall").and_then(|value| value.duration(SECOND..=HOUR));
        // With less than this the compiler does not come to its work.
        let memory = table.take("memory").and_then(|value| value.size(64 << 20..=1 << 40));
        let size = table.take("size").and_then(|value| value.size(1..=1 << 30));
        table.finish();
        Compile {
            cpu: cpu.unwrap_or(default.cpu),
            wall: wall.unwrap_or(default.wall),
            memory: memory.unwrap_or(default.memory),
            size: size.unwrap_or(default.size),
        }
    }

    /// [`cpu`](Compile::cpu) as one would write it.
    pub fn shown_cpu(&self) -> String {
        show_duration(self.cpu)
    }

    /// [`wall`](Compile::wall) as one would write it.
    pub fn shown_wall(&self) -> String {
        show_duration(self.wall)
    }

    /// [`memory`](Compile::memory) as one would write it.
    pub fn shown_memory(&self) -> String {
        show_size(self.memory)
    }

    /// [`size`](Compile::size) as one would write it.
    pub fn shown_size(&self) -> String {
        show_size(self.size)
    }
}

impl Log {
    /// `[log]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Log {
        let Some(mut table) = root.table("log") else {
            return Log::default();
        };
        let level = table.take("level").and_then(|value| value.choice(&LEVELS));
        let format = table.take("format").and_then(|value| value.choice(&FORMATS));
        table.finish();
        Log { level: level.unwrap_or_default(), format: format.unwrap_or_default() }
    }
}

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
