//! `context-read` and `context-write`: the names the grant covers, own staged changes included.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::types::{Entry, Error, Scope};
use crate::extension::bindings::pillarbox::extension::{context_read, context_write};
use crate::extension::state::State;
use crate::session::change::Change;
use crate::session::context::{self, ContextError};
use std::collections::BTreeMap;

impl context_read::Host for State {
    fn get(&mut self, scope: Scope, name: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.cross(name.len())?;
        let scope = scope.into();
        if !self.linked.grant.reads(scope, &name) {
            return Ok(self.deny(Capability::ContextRead, &name));
        }
        let value = self.session().map(|facts| match self.staged(scope, &name) {
            Some(staged) => staged,
            None if self.is_anothers(&name) => None,
            None => facts.context.value(scope, &name).map(str::to_owned),
        });
        let octets = value.as_ref().map_or(0, |value| value.as_ref().map_or(0, String::len));
        self.answer(octets, value)
    }

    fn entries(&mut self, scope: Scope) -> wasmtime::Result<Result<Vec<Entry>, Error>> {
        self.cross(0)?;
        let scope = scope.into();
        let entries = self.session().map(|facts| self.seen(&facts.context, scope));
        let octets = entries.iter().flatten().map(|entry| entry.name.len() + entry.value.len()).sum();
        self.answer(octets, entries)
    }
}

impl context_write::Host for State {
    fn set(&mut self, scope: Scope, name: String, value: String) -> wasmtime::Result<Result<(), Error>> {
        self.set_all(scope, vec![Entry { name, value }])
    }

    fn set_all(&mut self, scope: Scope, entries: Vec<Entry>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(entries.iter().map(|entry| entry.name.len() + entry.value.len()).sum())?;
        self.spend_many(Spending::Edit, entries.len())?;
        let scope = scope.into();
        if let Some(entry) = entries.iter().find(|entry| !context::is_name(&entry.name)) {
            return Ok(Err(Error::Invalid(format!("`{}`: {}", crate::observe::clip(&entry.name), ContextError::Name))));
        }
        if let Some(entry) = entries.iter().find(|entry| !self.linked.grant.writes(scope, &entry.name)) {
            return Ok(self.deny(Capability::ContextWrite, &entry.name));
        }
        if let Err(error) = self.stages("the context") {
            return Ok(Err(error));
        }
        Ok(self.session().and_then(|facts| {
            // What this call staged before counts as well.
            let mut together = BTreeMap::new();
            for change in &self.staged {
                match change {
                    Change::Set(to, name, value) if *to == scope => together.insert(name.as_str(), value.as_str()),
                    Change::Unset(to, name) if *to == scope => together.remove(name.as_str()),
                    _ => None,
                };
            }
            together.extend(entries.iter().map(|entry| (entry.name.as_str(), entry.value.as_str())));
            facts.context.admits(scope, together).map_err(|error| match error {
                ContextError::Full => Error::Limit(error.to_string()),
                ContextError::Name | ContextError::Value => Error::Invalid(error.to_string()),
            })?;
            self.staged.extend(entries.into_iter().map(|entry| Change::Set(scope, entry.name, entry.value)));
            Ok(())
        }))
    }

    fn unset(&mut self, scope: Scope, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        self.spend(Spending::Edit)?;
        let scope = scope.into();
        if !self.linked.grant.writes(scope, &name) {
            return Ok(self.deny(Capability::ContextWrite, &name));
        }
        Ok(self.stages("the context").and_then(|()| self.session()).map(|_| {
            self.staged.push(Change::Unset(scope, name));
        }))
    }
}

impl State {
    /// What this call staged for a name: a value, or that it goes.
    fn staged(&self, scope: context::Scope, name: &str) -> Option<Option<String>> {
        self.staged.iter().rev().find_map(|change| match change {
            Change::Set(to, set, value) if *to == scope && set == name => Some(Some(value.clone())),
            Change::Unset(to, unset) if *to == scope && unset == name => Some(None),
            _ => None,
        })
    }

    /// The names of the last recipient are for those who may see every recipient.
    fn is_anothers(&self, name: &str) -> bool {
        name.starts_with("rcptto_") && !self.linked.tenant.is_everybody()
    }

    fn seen(&self, context: &context::Context, scope: context::Scope) -> Vec<Entry> {
        let mut seen: BTreeMap<&str, &str> = context.entries(scope).collect();
        for change in &self.staged {
            match change {
                Change::Set(to, name, value) if *to == scope => seen.insert(name, value),
                Change::Unset(to, name) if *to == scope => seen.remove(name.as_str()),
                _ => None,
            };
        }
        seen.retain(|name, _| self.linked.grant.reads(scope, name) && !self.is_anothers(name));
        seen.into_iter().map(|(name, value)| Entry { name: name.to_owned(), value: value.to_owned() }).collect()
    }
}
