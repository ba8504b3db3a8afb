//! `envelope-read`: the envelope of the transaction.

use crate::extension::bindings::pillarbox::extension::envelope_read::Host;
use crate::extension::bindings::pillarbox::extension::types::{Error, Parameter};
use crate::extension::state::State;
use crate::session::facts::Transaction;

impl State {
    fn transaction<T: Default>(&self, read: impl FnOnce(&Transaction) -> T) -> Result<T, Error> {
        self.session().map(|facts| facts.transaction.as_ref().map(read).unwrap_or_default())
    }
}

impl Host for State {
    fn sender(&mut self) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.cross(0)?;
        let sender = self.transaction(|transaction| Some(transaction.sender.clone()));
        self.answer(320, sender)
    }

    fn recipients(&mut self) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.cross(0)?;
        let recipients = self.transaction(|transaction| transaction.recipients.clone());
        self.answer(recipients.iter().flatten().map(String::len).sum(), recipients)
    }

    fn parameters(&mut self) -> wasmtime::Result<Result<Vec<Parameter>, Error>> {
        self.cross(0)?;
        let parameters = self.transaction(|transaction| {
            let given = transaction.parameters.iter().cloned();
            given.map(|(name, value)| Parameter { name, value }).collect::<Vec<_>>()
        });
        let length = |given: &Parameter| given.name.len() + given.value.as_ref().map_or(0, String::len);
        self.answer(parameters.iter().flatten().map(length).sum(), parameters)
    }
}
