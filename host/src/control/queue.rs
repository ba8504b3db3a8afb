//! What is said over the control socket about messages that wait for delivery, as data for programs and as text for people.
//!
//! All of it came from peers, so nothing of it reaches a terminal unescaped.

use super::status::span;
use crate::delivery::Action;
use crate::observe::{Told, escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A message of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queued {
    /// The message's id: the name of its file.
    pub id: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub received: String,
    /// How long ago that is.
    pub age_seconds: u64,
    /// The listener it came in at.
    pub listener: String,
    /// The sender without angle brackets; empty for the null sender.
    pub from: String,
    /// Octets of the message.
    pub size: u64,
    /// Attempts that ended.
    pub attempts: u32,
    /// When the next one is due, RFC 3339 in UTC; none while one is under way, or it is held.
    pub next: Option<String>,
    /// How far off that is; 0 when it is due.
    pub next_seconds: Option<u64>,
    /// Whether it is held.
    pub held: bool,
    /// Recipients: in a list those that are left, and of many only the first.
    pub to: Vec<QueuedRecipient>,
    /// How many recipients are left.
    pub left: usize,
}

/// A recipient of a message of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuedRecipient {
    /// The address.
    pub address: String,
    /// Where it goes.
    pub destination: String,
    /// `waiting`, `deferred`, `delivered` or `failed`.
    pub standing: String,
    /// The enhanced status code of what was last said.
    pub status: Option<String>,
    /// What happened the last time.
    pub reason: Option<String>,
    /// The host that said so.
    pub remote: Option<String>,
    /// Its reply, on one line.
    pub reply: Option<String>,
    /// Whether its sender was told that it takes longer.
    pub delayed: bool,
    /// RCPT's parameters, where the message is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
}

/// A file in the queue that cannot be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub fault: String,
}

/// A part of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuePage {
    /// Messages, in order of their ids.
    pub messages: Vec<Queued>,
    /// What lies there and cannot be delivered.
    pub faults: Vec<Fault>,
    /// The name to go on behind, if there is more.
    pub after: Option<String>,
}

/// A message of the queue with a part of its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Letter {
    /// The message, with all its recipients.
    pub message: Queued,
    /// The session it came in.
    pub session: String,
    /// The address at the other end of the connection.
    pub peer: String,
    /// Whom it was taken to come from.
    pub client: String,
    /// What was said at HELO or EHLO.
    pub helo: Option<String>,
    /// The protocol it came by, as RFC 3848 names it.
    pub protocol: String,
    /// MAIL's parameters.
    pub parameters: Vec<String>,
    /// The message it is a notice of.
    pub notice_of: Option<String>,
    /// The connection context.
    pub connection: BTreeMap<String, String>,
    /// The message context.
    pub context: BTreeMap<String, String>,
    /// What the server remembers of it.
    pub history: Vec<Told>,
    /// Where in the message the octets begin.
    pub offset: u64,
    /// The octets, in base64.
    pub data: String,
}

/// What became of an order for one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acted {
    /// The message.
    pub id: String,
    /// Why it was not carried out, if it was not.
    pub error: Option<String>,
    /// Whether it is no longer there.
    pub gone: bool,
}

impl Letter {
    /// The same with these octets.
    #[must_use]
    pub fn with(self, offset: u64, octets: &[u8]) -> Letter {
        Letter { offset, data: STANDARD.encode(octets), ..self }
    }

    /// The octets, if they are base64.
    pub fn octets(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.data).ok()
    }
}

/// What an order does, as in `S.1 held`.
pub fn done(action: Action) -> &'static str {
    match action {
        Action::Retry => "retried",
        Action::Hold => "held",
        Action::Release => "released",
        Action::Delete => "deleted",
        Action::Bounce => "bounced",
    }
}

/// A list for a terminal.
impl fmt::Display for QueuePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in &self.messages {
            write!(f, "{message}")?;
        }
        for Fault { name, fault } in &self.faults {
            writeln!(f, "{}\n  {}", escape(name), escape(fault))?;
        }
        Ok(())
    }
}

impl fmt::Display for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, received) = (escape(&self.id), escape(&self.received));
        let held = if self.held { "  held" } else { "" };
        writeln!(f, "{id}  {received}  {} ago  {} octets{held}", span(self.age_seconds), self.size)?;
        writeln!(f, "  from <{}> at {}", escape(&self.from), escape(&self.listener))?;
        for recipient in &self.to {
            write!(f, "{recipient}")?;
        }
        let named = self.to.iter().filter(|to| to.is_left()).count();
        match self.left.saturating_sub(named) {
            0 => {}
            more => writeln!(f, "  and {more} more")?,
        }
        writeln!(f, "  {}", self.next_try())
    }
}

impl Queued {
    fn next_try(&self) -> String {
        let attempts = match self.attempts {
            0 => "never tried".to_owned(),
            1 => "tried once".to_owned(),
            times => format!("tried {times} times"),
        };
        let next = match (self.held, &self.next, self.next_seconds.unwrap_or_default()) {
            (true, _, _) => "held until it is released".to_owned(),
            (false, None, _) => "being tried now".to_owned(),
            (false, Some(_), 0) => "due now".to_owned(),
            (false, Some(next), seconds) => format!("next in {}, at {}", span(seconds), escape(next)),
        };
        format!("{attempts}, {next}")
    }
}

impl QueuedRecipient {
    fn is_left(&self) -> bool {
        !matches!(self.standing.as_str(), "delivered" | "failed")
    }
}

impl fmt::Display for QueuedRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  to <{}>", escape(&self.address))?;
        for parameter in &self.parameters {
            write!(f, " {}", escape(parameter))?;
        }
        write!(f, "  {}  {}", escape(&self.destination), escape(&self.standing))?;
        if self.delayed && self.is_left() {
            write!(f, ", its sender was told")?;
        }
        if self.status.is_some() || self.reason.is_some() {
            write!(f, ":")?;
        }
        for text in self.status.iter().chain(&self.reason) {
            write!(f, " {}", escape(text))?;
        }
        let said = |text: &String| self.reason.as_ref().is_none_or(|reason| !reason.contains(text.as_str()));
        match (&self.remote, self.reply.as_ref().filter(|reply| said(reply))) {
            (Some(remote), Some(reply)) => write!(f, " ({} said {})", escape(remote), escape(reply))?,
            (None, Some(reply)) => write!(f, " ({})", escape(reply))?,
            (Some(remote), None) if said(remote) => write!(f, " ({})", escape(remote))?,
            (_, None) => {}
        }
        writeln!(f)
    }
}

/// The envelope alone; the octets are for whoever asks for them.
impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        let helo = self.helo.as_deref().unwrap_or("nothing");
        let (client, peer, helo) = (escape(&self.client), escape(&self.peer), escape(helo));
        let (session, protocol) = (escape(&self.session), escape(&self.protocol));
        writeln!(f, "  session {session}, client {client}, peer {peer}, said {helo}, by {protocol}")?;
        if let Some(original) = &self.notice_of {
            writeln!(f, "  notice of {}", escape(original))?;
        }
        if !self.parameters.is_empty() {
            let parameters: Vec<_> = self.parameters.iter().map(|parameter| escape(parameter)).collect();
            writeln!(f, "  parameters {}", parameters.join(" "))?;
        }
        for (scope, context) in [("connection", &self.connection), ("message", &self.context)] {
            if !context.is_empty() {
                writeln!(f, "  {scope} context")?;
            }
            for (name, value) in context {
                writeln!(f, "    {}={}", escape(name), escape(value))?;
            }
        }
        if !self.history.is_empty() {
            writeln!(f, "  history")?;
        }
        for event in &self.history {
            let details = event.details(&["session", "id"]);
            writeln!(f, "    {}  {}  {details}", escape(&event.time), escape(&event.message))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn recipient(address: &str, standing: &str) -> QueuedRecipient {
        QueuedRecipient {
            address: address.to_owned(),
            destination: "smtp://mx.example.net:25".to_owned(),
            standing: standing.to_owned(),
            ..QueuedRecipient::default()
        }
    }

    fn message() -> Queued {
        Queued {
            id: "01ABCDEFGHJ.1".to_owned(),
            received: "2026-11-22T16:00:00.123Z".to_owned(),
            age_seconds: 3 * 3600 + 240,
            listener: "edge".to_owned(),
            from: "ann@example.org".to_owned(),
            size: 1234,
            attempts: 2,
            next: Some("2026-11-22T19:10:00.000Z".to_owned()),
            next_seconds: Some(303),
            held: false,
            to: vec![
                recipient("a@example.net", "waiting"),
                QueuedRecipient {
                    status: Some("4.4.1".to_owned()),
                    reason: Some("connection refused".to_owned()),
                    delayed: true,
                    ..recipient("b@example.net", "deferred")
                },
                QueuedRecipient {
                    status: Some("4.2.2".to_owned()),
                    reason: Some("refused after RCPT".to_owned()),
                    remote: Some("mx1.example.net".to_owned()),
                    reply: Some("452 4.2.2 full".to_owned()),
                    ..recipient("c@example.net", "deferred")
                },
            ],
            left: 12,
        }
    }

    #[test]
    fn a_list_for_a_terminal() {
        let held = Queued {
            id: "01ABCDEFGHJ.2".to_owned(),
            from: String::new(),
            held: true,
            attempts: 1,
            next: None,
            next_seconds: None,
            to: vec![recipient("a@example.net", "waiting")],
            left: 1,
            ..message()
        };
        let tried =
            Queued { id: "01ABCDEFGHJ.3".to_owned(), attempts: 0, next: None, next_seconds: None, ..held.clone() };
        let tried = Queued { held: false, ..tried };
        let due =
            Queued { id: "01ABCDEFGHJ.4".to_owned(), next: message().next, next_seconds: Some(0), ..tried.clone() };
        let page = QueuePage {
            messages: vec![message(), held, tried, due],
            faults: vec![Fault { name: "core".to_owned(), fault: "not a regular file".to_owned() }],
            after: None,
        };
        let expected = "\
01ABCDEFGHJ.1  2026-11-22T16:00:00.123Z  3h 4m ago  1234 octets
  from <ann@example.org> at edge
  to <a@example.net>  smtp://mx.example.net:25  waiting
  to <b@example.net>  smtp://mx.example.net:25  deferred, its sender was told: 4.4.1 connection refused
  to <c@example.net>  smtp://mx.example.net:25  deferred: 4.2.2 refused after RCPT (mx1.example.net said 452 4.2.2 full)
  and 9 more
  tried 2 times, next in 5m 3s, at 2026-11-22T19:10:00.000Z
01ABCDEFGHJ.2  2026-11-22T16:00:00.123Z  3h 4m ago  1234 octets  held
  from <> at edge
  to <a@example.net>  smtp://mx.example.net:25  waiting
  tried once, held until it is released
01ABCDEFGHJ.3  2026-11-22T16:00:00.123Z  3h 4m ago  1234 octets
  from <> at edge
  to <a@example.net>  smtp://mx.example.net:25  waiting
  never tried, being tried now
01ABCDEFGHJ.4  2026-11-22T16:00:00.123Z  3h 4m ago  1234 octets
  from <> at edge
  to <a@example.net>  smtp://mx.example.net:25  waiting
  never tried, due now
core
  not a regular file
";
        assert_eq!(page.to_string(), expected);
    }

    #[test]
    fn a_message_is_shown_with_all_that_is_known() {
        let told = "2026-11-22T16:00:01.000Z  WARN delivery deferred session=S id=S.1 status=4.4.1 text=\"a b\"";
        let letter = Letter {
            message: Queued {
                to: vec![
                    QueuedRecipient {
                        parameters: vec!["NOTIFY=NEVER".to_owned()],
                        ..recipient("a@x.test", "delivered")
                    },
                    QueuedRecipient { reply: Some("550 no".to_owned()), ..recipient("b@x.test", "failed") },
                    recipient("c@x.test", "waiting"),
                ],
                left: 1,
                ..message()
            },
            session: "01ABCDEFGHJ".to_owned(),
            peer: "192.0.2.1".to_owned(),
            client: "192.0.2.2".to_owned(),
            helo: Some("client.example.org".to_owned()),
            protocol: "ESMTPS".to_owned(),
            parameters: vec!["SIZE=7".to_owned(), "RET=HDRS".to_owned()],
            notice_of: Some("01ABCDEFGHJ.0".to_owned()),
            connection: BTreeMap::from([("tenant".to_owned(), "blue".to_owned())]),
            context: BTreeMap::from([("queue".to_owned(), "slow".to_owned())]),
            history: vec![Told::read(told).unwrap()],
            ..Letter::default()
        };
        let expected = "\
01ABCDEFGHJ.1  2026-11-22T16:00:00.123Z  3h 4m ago  1234 octets
  from <ann@example.org> at edge
  to <a@x.test> NOTIFY=NEVER  smtp://mx.example.net:25  delivered
  to <b@x.test>  smtp://mx.example.net:25  failed (550 no)
  to <c@x.test>  smtp://mx.example.net:25  waiting
  tried 2 times, next in 5m 3s, at 2026-11-22T19:10:00.000Z
  session 01ABCDEFGHJ, client 192.0.2.2, peer 192.0.2.1, said client.example.org, by ESMTPS
  notice of 01ABCDEFGHJ.0
  parameters SIZE=7 RET=HDRS
  connection context
    tenant=blue
  message context
    queue=slow
  history
    2026-11-22T16:00:01.000Z  delivery deferred  status=4.4.1 text=\"a b\"
";
        assert_eq!(letter.to_string(), expected);
    }

    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let evil = "a\u{1b}[2J\u{7}\n".to_owned();
        let some = || Some(evil.clone());
        let recipient = QueuedRecipient {
            address: evil.clone(),
            destination: evil.clone(),
            standing: evil.clone(),
            status: some(),
            reason: some(),
            remote: some(),
            reply: Some(format!("{evil}{evil}")),
            delayed: true,
            parameters: vec![evil.clone()],
        };
        let quiet = QueuedRecipient { reply: None, reason: None, ..recipient.clone() };
        let message = Queued {
            id: evil.clone(),
            received: evil.clone(),
            listener: evil.clone(),
            from: evil.clone(),
            next: some(),
            next_seconds: Some(1),
            to: vec![recipient, quiet],
            ..Queued::default()
        };
        let hostile = Told { time: evil.clone(), message: evil.clone(), ..Told::default() };
        let map = BTreeMap::from([(evil.clone(), evil.clone())]);
        let letter = Letter {
            message: message.clone(),
            session: evil.clone(),
            peer: evil.clone(),
            client: evil.clone(),
            helo: some(),
            protocol: evil.clone(),
            parameters: vec![evil.clone()],
            notice_of: some(),
            connection: map.clone(),
            context: map,
            history: vec![hostile],
            ..Letter::default()
        };
        let faults = vec![Fault { name: evil.clone(), fault: evil.clone() }];
        let page = QueuePage { messages: vec![message], faults, after: None };
        for text in [letter.to_string(), page.to_string()] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert!(text.lines().all(|line| !line.starts_with('a') || line.starts_with("a\\u001b")), "{text}");
        }
    }
}
