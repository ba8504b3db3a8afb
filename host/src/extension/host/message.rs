//! `message-read` and `message-write`: the message that is in and not yet durable, own staged changes included. The body
//! never changes, nor do the trace fields the host adds, which are no part of it here.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::message_read::{self, Header};
use crate::extension::bindings::pillarbox::extension::message_write;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::interface::Hook;
use crate::extension::state::State;
use crate::session::change::Change;
use crate::session::header::{self, HeaderEdit};
use crate::session::message::{Message, ReadError};
use std::sync::Arc;

/// Octets of one `read`.
const LARGEST_READ: u32 = 64 << 10;
/// Octets of a field's value.
const LARGEST_VALUE: usize = 16 << 10;
/// Octets of what is looked for.
const LARGEST_NEEDLE: usize = 256;

impl State {
    fn message(&self) -> Result<Arc<Message>, Error> {
        let facts = self.session()?;
        let message = facts.message.clone();
        let message = message.ok_or_else(|| Error::Unavailable("there is a message only at message".to_owned()))?;
        let staged = self.staged.iter().rev().find_map(|change| match change {
            Change::Header(header) => Some(header.clone()),
            _ => None,
        });
        Ok(staged.map_or(message.clone(), |header| message.with(header)))
    }

    fn body(&mut self, what: &str) -> Result<Arc<Message>, Error> {
        match self.linked.grant.reads_body() {
            true => self.message(),
            false => self.deny(Capability::MessageRead, what),
        }
    }
}

impl message_read::Host for State {
    async fn size(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        self.cross(8)?;
        Ok(self.message().map(|message| message.size()))
    }

    async fn body_offset(&mut self) -> wasmtime::Result<Result<u64, Error>> {
        self.cross(8)?;
        Ok(match self.message() {
            Ok(message) => message.header().await.map(|header| header.size()).map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn headers(&mut self) -> wasmtime::Result<Result<Vec<Header>, Error>> {
        self.cross(0)?;
        let fields = match self.message() {
            Ok(message) => message.header().await.map_err(Error::from).map(|header| {
                let granted = header.fields().filter(|(name, _)| self.linked.grant.reads_header(name));
                granted.map(|(name, value)| Header { name: name.to_owned(), value: value.to_vec() }).collect::<Vec<_>>()
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
                let named = header.fields().filter(|(field, _)| field.eq_ignore_ascii_case(&name));
                named.map(|(_, value)| value.to_vec()).collect::<Vec<_>>()
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
        let message = match self.body("body") {
            Ok(message) => message,
            Err(error) => return Ok(Err(error)),
        };
        let found = message.find(&needle, offset).await.map_err(Error::from);
        // What was searched is read from the disk: each 64 KiB of it count as a call.
        let end = found.as_ref().map_or(offset, |found| found.unwrap_or_else(|| message.size()));
        let searched = end.saturating_sub(offset) / u64::from(LARGEST_READ);
        self.spend_many(Spending::HostCalls, usize::try_from(searched).unwrap_or(usize::MAX))?;
        Ok(found)
    }
}

impl State {
    async fn edit_header(&mut self, name: &str, nth: u32, edit: HeaderEdit<'_>) -> Result<(), Error> {
        if !self.linked.grant.writes_header(name) {
            return self.deny(Capability::MessageWrite, name);
        }
        if !header::is_field_name(name) {
            return Err(Error::Invalid(
                "a field's name has 1 to 76 printable ASCII characters, and no colon".to_owned(),
            ));
        }
        self.during(&[Hook::Message], "a change of the header")?;
        let facts = self.session()?;
        let Some(transaction) = &facts.transaction else {
            return Err(Error::Unavailable("there is no transaction".to_owned()));
        };
        // All recipients get the one message.
        if !self.linked.tenant.covers_all(transaction) {
            return Err(Error::Unavailable("the message is for others, too".to_owned()));
        }
        if let HeaderEdit::Insert(value) | HeaderEdit::Replace(value) = edit {
            check_value(value, transaction.smtputf8)?;
        }
        let edited = self.message()?.header().await.map_err(Error::from)?.edited(name, nth, edit);
        let edited = edited.map_err(|error| Error::Invalid(error.to_string()))?;
        if let Some(limits) = transaction.admission.limits(&facts) {
            let within = |count: u64, limit: u64| limit == 0 || count <= limit;
            if !within(edited.size(), limits.header_size) {
                return Err(Error::Limit(format!("header-size: {} octets", limits.header_size)));
            }
            if !within(edited.count(), limits.header_lines.into()) {
                return Err(Error::Limit(format!("header-lines: {}", limits.header_lines)));
            }
        }
        // Each is the whole header as it then is: the last one holds.
        self.staged.retain(|change| !matches!(change, Change::Header(_)));
        self.staged.push(Change::Header(Arc::new(edited)));
        Ok(())
    }
}

impl message_write::Host for State {
    async fn insert_header(&mut self, name: String, nth: u32, value: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len().saturating_add(value.len()))?;
        self.spend(Spending::Edit)?;
        Ok(self.edit_header(&name, nth, HeaderEdit::Insert(&value)).await)
    }

    async fn replace_header(&mut self, name: String, nth: u32, value: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len().saturating_add(value.len()))?;
        self.spend(Spending::Edit)?;
        Ok(self.edit_header(&name, nth, HeaderEdit::Replace(&value)).await)
    }

    async fn remove_header(&mut self, name: String, nth: u32) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        self.spend(Spending::Edit)?;
        Ok(self.edit_header(&name, nth, HeaderEdit::Remove).await)
    }
}

/// What may stand in a field: text and tabs, of ASCII where the message did not say otherwise (RFC 5322 section 2.2, RFC
/// 6532 section 3.2).
fn check_value(value: &str, smtputf8: bool) -> Result<(), Error> {
    let wrong = match () {
        () if value.len() > LARGEST_VALUE => "a field's value has at most 16 KiB",
        () if value.chars().any(|c| c.is_control() && c != '\t') => "a field's value holds no control characters",
        () if !smtputf8 && !value.is_ascii() => "a field's value is ASCII, for the message has no SMTPUTF8",
        () => return Ok(()),
    };
    Err(Error::Invalid(wrong.to_owned()))
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::HeaderTooLarge => Error::Limit(error.to_string()),
            ReadError::Spool(_) => Error::Failed("the message cannot be read back".to_owned()),
        }
    }
}
