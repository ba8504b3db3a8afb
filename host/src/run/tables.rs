//! The tables of a configuration, read with it.

use crate::config::{Config, Problem};
use crate::observe;
use crate::table::{Table, Tables};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads every table, away from the threads that serve: a million entries take a while.
pub(super) async fn load(config: &Config) -> (Tables, Vec<Problem>) {
    let (mut tables, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, written) in &config.tables {
        let (file, kind) = (written.file.clone(), written.kind);
        let read = tokio::task::spawn_blocking(move || Table::load(&file, kind)).await;
        match read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|error| observe::chain(&error))) {
            Ok(table) => {
                tables.insert(name.clone(), table);
            }
            Err(why) => problems.push(Problem::at(written.place, why)),
        }
    }
    (Arc::new(tables), problems)
}

/// What changed in tables that were there before, a line each.
pub(super) fn changes<'a>(old: &'a Tables, new: &'a Tables) -> impl Iterator<Item = String> + 'a {
    new.iter().filter_map(|(name, table)| {
        let before = old.get(name)?;
        let changed = before.digest() != table.digest();
        changed.then(|| format!("table {name}: changed, {} entries", table.len()))
    })
}
