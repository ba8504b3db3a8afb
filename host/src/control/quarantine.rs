//! What is said over the control socket about messages that are kept aside, as data for programs and as text for people.
//!
//! All of it came from peers, so nothing of it reaches a terminal unescaped.

use crate::observe::escape;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Octets of a message that one answer holds at most.
pub const PART: usize = 1 << 20;

/// A message in quarantine, or what lies there and is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The message's id: the name of its file.
    pub id: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub received: String,
    /// The sender without angle brackets; empty for the null sender.
    pub from: String,
    /// Recipients, in order; of many only the first.
    pub to: Vec<String>,
    /// How many recipients there are.
    pub recipients: usize,
    /// The extension that had it kept aside.
    pub extension: String,
    /// The hook it said so at.
    pub hook: String,
    /// The reason it gave.
    pub reason: String,
    /// Octets of the message.
    pub size: u64,
    /// What is wrong with it, if it cannot be used.
    pub fault: Option<String>,
}

/// A part of the quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// What lies there, in order of the ids.
    pub messages: Vec<Kept>,
    /// Whether there is more behind the last.
    pub more: bool,
}

/// A message with a part of its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// The message.
    pub message: Kept,
    /// The address at the other end of the connection.
    pub peer: String,
    /// Whom it was taken to come from.
    pub client: String,
    /// What was said at HELO or EHLO.
    pub helo: Option<String>,
    /// Where in the message the octets begin.
    pub offset: u64,
    /// The octets, in base64.
    pub data: String,
}

impl Shown {
    /// The same with these octets.
    #[must_use]
    pub fn with(self, offset: u64, octets: &[u8]) -> Shown {
        Shown { offset, data: STANDARD.encode(octets), ..self }
    }

    /// The octets, if they are base64.
    pub fn octets(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.data).ok()
    }
}

/// A table for a terminal.
impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kept in &self.messages {
            write!(f, "{kept}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fault) = &self.fault {
            return writeln!(f, "{}\n  {}", escape(&self.id), escape(fault));
        }
        writeln!(f, "{}  {}  {} octets", escape(&self.id), escape(&self.received), self.size)?;
        writeln!(f, "  from <{}>", escape(&self.from))?;
        let more = self.recipients.saturating_sub(self.to.len());
        let to = self.to.iter().map(|to| format!("<{}>", escape(to))).collect::<Vec<_>>().join(" ");
        match more {
            0 => writeln!(f, "  to {to}")?,
            _ => writeln!(f, "  to {to} and {more} more")?,
        }
        // The server itself kept it aside where no extension is named.
        match self.extension.is_empty() {
            true => writeln!(f, "  {}: {}", escape(&self.hook), escape(&self.reason)),
            false => writeln!(f, "  {} at {}: {}", escape(&self.extension), escape(&self.hook), escape(&self.reason)),
        }
    }
}

/// The envelope alone; the octets are for whoever asks for them.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        let helo = self.helo.as_deref().unwrap_or("nothing");
        writeln!(f, "  client {}, peer {}, said {}", escape(&self.client), escape(&self.peer), escape(helo))
    }
}

/// Octets of a message for a terminal, line by line.
pub fn page(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.lines().map(|line| format!("{}\n", escape(line.strip_suffix('\r').unwrap_or(line)))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let evil = "a\u{1b}[2J\u{7}".to_owned();
        let kept = Kept {
            id: evil.clone(),
            received: evil.clone(),
            from: evil.clone(),
            to: vec![evil.clone()],
            recipients: 3,
            extension: evil.clone(),
            hook: evil.clone(),
            reason: evil.clone(),
            size: 7,
            fault: None,
        };
        let broken = Kept { fault: Some(evil.clone()), ..kept.clone() };
        let shown = Shown {
            message: kept.clone(),
            peer: evil.clone(),
            client: evil.clone(),
            helo: Some(evil.clone()),
            ..Shown::default()
        };
        let shelf = Shelf { messages: vec![kept, broken], more: false };
        for text in [shelf.to_string(), shown.to_string(), page(format!("{evil}\r\n\0{evil}\r{evil}").as_bytes())] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
        assert!(shelf.to_string().contains("> and 2 more\n"));
    }

    #[test]
    fn octets_are_kept_as_they_are() {
        let octets: Vec<u8> = (0..=255).collect();
        assert_eq!(Shown::default().with(3, &octets).octets().unwrap(), octets);
    }
}
