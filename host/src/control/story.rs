//! The story of a message or a session, as data for programs and as text for people.
//!
//! All of it came from peers, so nothing of it reaches a terminal unescaped.

use super::{Kept, Queued};
use crate::observe::{Told, escape};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known of a message or a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tale {
    /// The id of the message or the session.
    pub id: String,
    /// What happened, in order.
    pub events: Vec<Told>,
    /// How the message stands in the queue, if it is there.
    pub queued: Option<Queued>,
    /// How it lies in quarantine, if it is there.
    pub kept: Option<Kept>,
    /// The time of the oldest event that is remembered, where the story was remembered and not read from a log.
    pub since: Option<String>,
    /// Whether it is longer than what is kept of one.
    pub cut: bool,
    /// The number to go on from, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Tale {
    /// Whether nothing is known: of a message, that no event speaks of it, whatever its session did.
    pub fn is_empty(&self) -> bool {
        let mut events = self.events.iter();
        let spoken_of = if self.id.contains('.') { events.any(|it| it.is_about(&self.id)) } else { events.len() > 0 };
        !spoken_of && self.queued.is_none() && self.kept.is_none()
    }

    /// Whether it lacks its beginning, which every session has.
    pub fn lacks_its_beginning(&self) -> bool {
        self.events.first().is_none_or(|event| event.message != OPENED)
    }

    /// Who and when, in one line.
    fn head(&self) -> String {
        let is_message = self.id.contains('.');
        let find = |message: &str| {
            self.events
                .iter()
                .find(|event| event.message == message && (!is_message || event.field("id") == Some(&*self.id)))
        };
        let said = |event: &Told, name: &str| escape(event.field(name).unwrap_or("?")).into_owned();
        let id = escape(&self.id);
        if !is_message {
            return match find(OPENED) {
                Some(event) => format!(
                    "session {id} from {} at {}, {}",
                    said(event, "peer"),
                    said(event, "listener"),
                    escape(&event.time)
                ),
                None => format!("session {id}"),
            };
        }
        let recipients = |count: &str| match count {
            "1" => "1 recipient".to_owned(),
            count => format!("{count} recipients"),
        };
        match (find(ACCEPTED), &self.queued) {
            (Some(event), _) => format!(
                "message {id} from <{}> for {}, client {}, accepted {}",
                said(event, "sender"),
                recipients(&said(event, "recipients")),
                said(event, "client"),
                escape(&event.time)
            ),
            (None, Some(queued)) => {
                format!("message {id} from <{}>, accepted {}", escape(&queued.from), escape(&queued.received))
            }
            (None, None) => format!("message {id}"),
        }
    }
}

impl fmt::Display for Tale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head())?;
        let what: Vec<String> = self.events.iter().map(|event| escape(&event.message).into_owned()).collect();
        // One that is long has its details further right than the others.
        let width = what.iter().map(|what| what.chars().count()).filter(|width| *width <= 32).max().unwrap_or_default();
        for (event, what) in self.events.iter().zip(&what) {
            let mut without = vec!["session"];
            if event.field("id") == Some(&self.id) {
                without.push("id");
            }
            let line = format!("{}  {what:width$}  {}", escape(&event.time), event.details(&without));
            writeln!(f, "{}", line.trim_end())?;
        }
        if self.cut {
            writeln!(f, "(there is more, which is left out)")?;
        }
        if let Some(queued) = &self.queued {
            write!(f, "\nnow in the queue:\n{queued}")?;
        }
        if let Some(kept) = &self.kept {
            write!(f, "\nnow in quarantine:\n{kept}")?;
        }
        Ok(())
    }
}

/// What the first event of a session says.
const OPENED: &str = "session opened";
/// What is said of a message when it got its 250.
const ACCEPTED: &str = "message accepted";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOG: &str = r#"2026-11-22T16:00:00.000Z  INFO session opened session=S listener=edge peer=192.0.2.1:4711
2026-11-22T16:00:00.010Z  INFO tls started session=S version=TLSv1.3
2026-11-22T16:00:00.100Z  INFO message accepted session=S id=S.1 sender=ann@example.org recipients=2 client=192.0.2.1
2026-11-22T16:00:00.200Z  WARN delivery deferred session=S id=S.1 recipient=b@example.net text="connection refused"
2026-11-22T16:00:00.300Z  INFO session ended session=S
2026-11-22T16:05:00.300Z  INFO notice sent session=S id=S.1 notice=S.1.f
2026-11-22T16:05:00.400Z  INFO delivered session=S id=S.1.f recipient=ann@example.org
"#;

    fn tale(id: &str) -> Tale {
        Tale { id: id.to_owned(), events: LOG.lines().filter_map(Told::read).collect(), ..Tale::default() }
    }

    #[test]
    fn a_story_for_a_terminal() {
        let expected = r#"message S.1 from <ann@example.org> for 2 recipients, client 192.0.2.1, accepted 2026-11-22T16:00:00.100Z
2026-11-22T16:00:00.000Z  session opened     listener=edge peer=192.0.2.1:4711
2026-11-22T16:00:00.010Z  tls started        version=TLSv1.3
2026-11-22T16:00:00.100Z  message accepted   sender=ann@example.org recipients=2 client=192.0.2.1
2026-11-22T16:00:00.200Z  delivery deferred  recipient=b@example.net text="connection refused"
2026-11-22T16:00:00.300Z  session ended
2026-11-22T16:05:00.300Z  notice sent        notice=S.1.f
2026-11-22T16:05:00.400Z  delivered          id=S.1.f recipient=ann@example.org
"#;
        assert_eq!(tale("S.1").to_string(), expected);
        let session = tale("S").to_string();
        assert!(session.starts_with("session S from 192.0.2.1:4711 at edge, 2026-11-22T16:00:00.000Z\n"), "{session}");
        assert!(session.contains("  delivery deferred  id=S.1 recipient=b@example.net"), "{session}");
        assert!(!tale("S").lacks_its_beginning() && Tale::default().lacks_its_beginning());
        // What the session did is nothing of a message that it never had.
        assert!(tale("S.9").is_empty() && !tale("S.1").is_empty());
    }

    #[test]
    fn how_it_stands_comes_last() {
        let queued = Queued { id: "S.1".to_owned(), from: "ann@example.org".to_owned(), ..Queued::default() };
        let kept = Kept { id: "S.1".to_owned(), ..Kept::default() };
        let tale = Tale { id: "S.1".to_owned(), queued: Some(queued), kept: Some(kept), cut: true, ..Tale::default() };
        let text = tale.to_string();
        let parts =
            ["message S.1 from <ann@example.org>", "left out", "now in the queue:\nS.1 ", "now in quarantine:\nS.1 "];
        let places = parts.map(|part| text.find(part).unwrap());
        assert!(places.is_sorted(), "{text}");
        assert!(!tale.is_empty());
    }

    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let evil = "a\u{1b}[2J\u{7}\n";
        let json =
            serde_json::json!({"time": evil, "level": evil, "message": evil, "fields": {evil: evil, "id": evil}});
        let event: Told = serde_json::from_value(json).unwrap();
        let tale = Tale { id: evil.to_owned(), events: vec![event], ..Tale::default() };
        let opened = Tale { events: vec![Told { message: OPENED.to_owned(), ..Told::default() }], ..tale.clone() };
        for text in [tale.to_string(), opened.to_string()] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
    }
}
