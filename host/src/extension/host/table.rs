//! `table`: looking keys up in the tables that were read with the configuration.

use crate::config::Capability;
use crate::extension::bindings::pillarbox::extension::table::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use crate::table::LONGEST_KEY;

impl Host for State {
    fn lookup(&mut self, table: String, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.cross(table.len().saturating_add(key.len()))?;
        let found = self.linked.services.tables.get(&table).filter(|_| self.linked.grant.looks_up(&table));
        let Some(found) = found else {
            return Ok(self.deny(Capability::Table, &table));
        };
        if key.len() > LONGEST_KEY {
            return Ok(Err(Error::Invalid(format!("a key has at most {LONGEST_KEY} octets"))));
        }
        let value = found.lookup(&key).map(str::to_owned);
        self.answer(value.as_ref().map_or(0, String::len), Ok(value))
    }
}
