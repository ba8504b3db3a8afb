//! What a guest may call, one file per interface. Each function counts its crossing first, asks the grant second, and
//! does its work third; what it changes is only staged. An error is a value; only a used-up budget traps.

mod authentication;
mod clock;
mod context;
mod declare;
mod denied;
mod dns;
mod envelope;
mod http;
mod identity;
mod kv;
mod log;
mod message;
mod metrics;
mod random;
mod session;
mod settings;
mod state;
mod stream;
mod table;

pub use denied::Denied;

use super::bindings::pillarbox::extension::types::{self, Error};
use super::budget::LogLine;
use super::interface::Hook;
use super::state::{Moment, State};
use crate::config::Capability;
use crate::session::context::Scope;
use crate::session::facts::Facts;
use std::sync::Arc;

impl types::Host for State {}

impl State {
    /// The session, or why there is none.
    fn session(&self) -> Result<Arc<Facts>, Error> {
        self.facts.clone().ok_or_else(|| Error::Unavailable("there is no session in init".to_owned()))
    }

    /// The hook the guest is in, if it is one of these.
    fn during(&self, hooks: &[Hook], what: &str) -> Result<(), Error> {
        match &self.moment {
            Moment::Hook(hook) if hooks.contains(hook) => Ok(()),
            Moment::Hook(hook) => Err(Error::Unavailable(format!("{what} is not to be had at {}", hook.name()))),
            Moment::Init(_) => Err(Error::Unavailable(format!("{what} is not to be had in init"))),
        }
    }

    /// Whether something may still be staged.
    fn stages(&self, what: &str) -> Result<(), Error> {
        match &self.moment {
            Moment::Hook(Hook::Accepted | Hook::Disconnect) | Moment::Init(_) => {
                Err(Error::Unavailable(format!("{what} can be changed by hooks that decide")))
            }
            Moment::Hook(_) => Ok(()),
        }
    }

    /// Notes a denial, and is one, which names the missing grant. Each is counted; of one call only the first few are logged.
    fn deny<T>(&mut self, capability: Capability, what: &str) -> Result<T, Error> {
        let missing = match self.linked.grant.denies(capability) {
            true => format!("`grant.{capability}` is `false`"),
            false => format!("`grant.{capability}` does not cover `{}`", crate::observe::clip(what)),
        };
        let capability = capability.name();
        self.linked.counters.denied(capability);
        let mut line = self.denial_line();
        // The host itself withholds these from every shadow: that is no news.
        let withheld = self.linked.candidate == Some("shadow") && matches!(capability, "http" | "stream");
        if line != LogLine::Dropped && (withheld || !self.linked.admits_line()) {
            line = LogLine::Dropped;
        }
        let (extension, listener) = (&*self.linked.name, &*self.linked.listener);
        let session = self.facts.as_ref().map_or("-", |facts| &*facts.id);
        match line {
            LogLine::Kept => {
                let what = crate::observe::clip(what);
                tracing::warn!(session, extension, listener, capability, what = &*what, "denied");
            }
            LogLine::FirstDropped(_) => {
                tracing::warn!(session, extension, listener, "more denials, those of this call are counted only");
            }
            LogLine::Dropped => {}
        }
        Err(Error::Denied(missing))
    }
}

impl From<types::Scope> for Scope {
    fn from(scope: types::Scope) -> Scope {
        match scope {
            types::Scope::Connection => Scope::Connection,
            types::Scope::Message => Scope::Message,
        }
    }
}
