//! A message's id, which is also its file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 1 to 64 of `0-9 A-Z a-z . -`, not beginning with a dot and not ending as one of the spool's other names do: safe as
/// one component of a path, and in a header field, a reply or a log line as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

impl MessageId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was given is no message id.
#[derive(Debug, thiserror::Error)]
#[error("not a message id")]
pub struct InvalidId;

impl FromStr for MessageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<MessageId, InvalidId> {
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
        let taken = [super::INCOMING_SUFFIX, super::LOG_SUFFIX].iter().any(|suffix| text.ends_with(suffix));
        match (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.') && !taken {
            true => Ok(MessageId(text.to_owned())),
            false => Err(InvalidId),
        }
    }
}

impl TryFrom<String> for MessageId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<MessageId, InvalidId> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> String {
        id.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
