//! The context under short names. [`context_read`] and [`context_write`] hold the same functions with the scope as an
//! argument, and those for many names at once.

use crate::{Error, Scope, context_read, context_write};

/// A value of the connection context; none when the name is not set.
pub fn connection(name: &str) -> Result<Option<String>, Error> {
    context_read::get(Scope::Connection, name)
}

/// A value of the message context; none when the name is not set.
pub fn message(name: &str) -> Result<Option<String>, Error> {
    context_read::get(Scope::Message, name)
}

/// Sets a name of the connection context.
pub fn set_connection(name: &str, value: &str) -> Result<(), Error> {
    context_write::set(Scope::Connection, name, value)
}

/// Sets a name of the message context.
pub fn set_message(name: &str, value: &str) -> Result<(), Error> {
    context_write::set(Scope::Message, name, value)
}
