//! `log`: one line in the server's log, tagged and escaped.

use crate::extension::bindings::pillarbox::extension::log::{Host, Level};
use crate::extension::budget::{LogLine, Share};
use crate::extension::panic::Panic;
use crate::extension::state::State;
use tracing::Level as Severity;
use tracing::level_filters::LevelFilter;

/// Octets kept of a line.
const LONGEST: usize = 1024;

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.cross(message.len())?;
        let (extension, listener) = (&*self.linked.name.clone(), &*self.linked.listener.clone());
        let facts = self.facts.clone();
        let session = facts.as_ref().map_or("-", |facts| &*facts.id);
        if level == Level::Error
            && let Some(panic) = Panic::told(&message)
        {
            // Kept for the report of the failure, even where the line itself is one too many.
            self.panic = Some(panic);
        }
        match self.log_line() {
            LogLine::Kept => {}
            LogLine::FirstDropped(share) => {
                match share {
                    Share::Call => tracing::warn!(
                        session,
                        extension,
                        listener,
                        "extension logs too much, further lines of this call are dropped"
                    ),
                    Share::Session => tracing::warn!(
                        session,
                        extension,
                        listener,
                        "extension logs too much, further lines of this session are dropped"
                    ),
                }
                return Ok(());
            }
            LogLine::Dropped => return Ok(()),
        }
        // What would not be written anyway takes nobody's place.
        if severity(level) > LevelFilter::current() {
            return Ok(());
        }
        if !self.linked.admits_line() {
            return Ok(());
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
        Ok(severity(level) <= LevelFilter::current())
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Trace => Severity::TRACE,
        Level::Debug => Severity::DEBUG,
        Level::Info => Severity::INFO,
        Level::Warn => Severity::WARN,
        Level::Error => Severity::ERROR,
    }
}
