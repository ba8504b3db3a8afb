//! `log`: one line in the server's log, tagged and escaped.

use crate::extension::bindings::pillarbox::extension::log::{Host, Level};
use crate::extension::state::{LogLine, State};
use tracing::Level as Severity;

/// Octets kept of a line.
const LONGEST: usize = 1024;

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.cross(message.len())?;
        let (extension, listener) = (&*self.linked.name.clone(), &*self.linked.listener.clone());
        let facts = self.facts.clone();
        let session = facts.as_ref().map_or("-", |facts| &*facts.id);
        match self.log_line() {
            LogLine::Kept => {}
            LogLine::FirstDropped => {
                tracing::warn!(
                    session,
                    extension,
                    listener,
                    "extension logs too much, further lines of this call are dropped"
                );
                return Ok(());
            }
            LogLine::Dropped => return Ok(()),
        }
        let text = message.get(..message.floor_char_boundary(LONGEST)).unwrap_or_default();
        match level {
            Level::Trace => tracing::trace!(session, extension, listener, text, "extension"),
            Level::Debug => tracing::debug!(session, extension, listener, text, "extension"),
            Level::Info => tracing::info!(session, extension, listener, text, "extension"),
            Level::Warn => tracing::warn!(session, extension, listener, text, "extension"),
            Level::Error => tracing::error!(session, extension, listener, text, "extension"),
        }
        Ok(())
    }

    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        self.cross(0)?;
        let severity = match level {
            Level::Trace => Severity::TRACE,
            Level::Debug => Severity::DEBUG,
            Level::Info => Severity::INFO,
            Level::Warn => Severity::WARN,
            Level::Error => Severity::ERROR,
        };
        Ok(severity <= tracing::level_filters::LevelFilter::current())
    }
}
