//! `authentication`: a login without AUTH, or none at all.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::authentication::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::interface::Hook;
use crate::extension::state::State;
use crate::session::change::Change;

const WHEN: [Hook; 3] = [Hook::Connect, Hook::Hello, Hook::Command];

impl Host for State {
    fn allow(&mut self, user: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(user.len())?;
        self.spend(Spending::Edit)?;
        if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
            return Ok(Err(Error::Invalid("a user has 1 to 255 octets and no control characters".to_owned())));
        }
        if !self.linked.grant.authenticates(&user) {
            return Ok(self.deny(Capability::Authentication, &user));
        }
        Ok(self.during(&WHEN, "authentication").map(|()| self.staged.push(Change::Allow(user))))
    }

    fn forbid(&mut self) -> wasmtime::Result<Result<(), Error>> {
        self.cross(1)?;
        self.spend(Spending::Edit)?;
        Ok(self.during(&WHEN, "authentication").map(|()| self.staged.push(Change::Forbid)))
    }
}
