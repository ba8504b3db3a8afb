//! `message-read`: the message that is in and not yet durable.

use crate::config::Capability;
use crate::extension::bindings::pillarbox::extension::message_read::{Header, Host};
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use crate::session::message::{Message, ReadError};
use std::sync::Arc;

/// Octets of one `read`.
const LARGEST_READ: u32 = 64 << 10;
/// Octets of what is looked for.
const LARGEST_NEEDLE: usize = 256;

impl State {
    fn message(&self) -> Result<Arc<Message>, Error> {
        let facts = self.session()?;
        facts.message.clone().ok_or_else(|| Error::Unavailable("there is a message only at message".to_owned()))
    }

    fn body(&mut self, what: &str) -> Result<Arc<Message>, Error> {
        match self.linked.grant.reads_body() {
            true => self.message(),
            false => self.deny(Capability::MessageRead, what),
        }
    }
}

impl Host for State {
    async fn size(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        self.cross(8)?;
        Ok(self.message().map(|message| message.size()))
    }

    async fn body_offset(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        self.cross(8)?;
        Ok(match self.message() {
            Ok(message) => message.header().await.map(|header| header.body_offset).map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn headers(&mut self) -> wasmtime::Result<Result<Vec<Header>, Error>> {
        self.cross(0)?;
        let fields = match self.message() {
            Ok(message) => message.header().await.map_err(Error::from).map(|header| {
                let granted = header.fields.iter().filter(|(name, _)| self.linked.grant.reads_header(name));
                granted.map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect::<Vec<_>>()
            }),
            Err(error) => Err(error),
        };
        self.answer(fields.iter().flatten().map(|field| field.name.len() + field.value.len()).sum(), fields)
    }

    async fn header_values(&mut self, name: String) -> wasmtime::Result<Result<Vec<Vec<u8>>, Error>> {
        self.cross(name.len())?;
        if !self.linked.grant.reads_header(&name) {
            return Ok(self.deny(Capability::MessageRead, &name));
        }
        let values = match self.message() {
            Ok(message) => message.header().await.map_err(Error::from).map(|header| {
                let named = header.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(&name));
                named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
            }),
            Err(error) => Err(error),
        };
        self.answer(values.iter().flatten().map(Vec::len).sum(), values)
    }

    async fn read(&mut self, offset: u64, length: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.cross(12)?;
        let octets = match self.body("body") {
            Ok(message) => message.read(offset, length.min(LARGEST_READ)).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        self.answer(octets.as_ref().map_or(0, Vec::len), octets)
    }

    async fn find(&mut self, needle: Vec<u8>, offset: u64) -> wasmtime::Result<Result<Option<u64>, Error>> {
        self.cross(needle.len())?;
        if !(1..=LARGEST_NEEDLE).contains(&needle.len()) {
            return Ok(Err(Error::Invalid("what is looked for has 1 to 256 octets".to_owned())));
        }
        Ok(match self.body("body") {
            Ok(message) => message.find(&needle, offset).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::HeaderTooLarge => Error::Limit(error.to_string()),
            ReadError::Spool(_) => Error::Failed("the message cannot be read back".to_owned()),
        }
    }
}
