//! What is said over the control socket.

use super::{Acted, Letter, QueuePage, Shelf, Shown, Status, Tale};
use crate::delivery::{Action, Selection};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a caller wants: `{"command":"reload"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Load the configuration anew, and say what happened.
    Reload,
    /// Go back to the generation before, and say what happened.
    Rollback,
    /// Say how the server is.
    Status,
    /// Do something with messages that are kept aside: `{"command":"quarantine","order":"list"}`.
    Quarantine(Order),
    /// Do something with messages that wait for delivery: `{"command":"queue","order":"list"}`.
    Queue(QueueOrder),
    /// Tell what became of a message or a session: `{"command":"story","id":"…"}`.
    Story {
        /// The id of the message or the session.
        id: String,
        /// The number of the first event that is not known yet.
        #[serde(default)]
        from: u64,
    },
}

/// What is to be done with messages that wait for delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum QueueOrder {
    /// Say what there is, from behind this name on.
    List {
        /// Which messages.
        #[serde(default)]
        selection: Selection,
        /// The last name that was looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Say what a message is, with octets of it.
    Show {
        /// The message's id.
        id: String,
        /// Where the octets begin.
        #[serde(default)]
        offset: u64,
    },
    /// Do something with messages.
    Act {
        /// Their ids, at most [`QueueOrder::IDS`].
        ids: Vec<String>,
        /// What.
        action: Action,
    },
}

impl QueueOrder {
    /// Ids that one order names at most: so many of the longest fit into a request.
    pub const IDS: usize = 32;
}

/// What is to be done with messages that are kept aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Say what there is, from behind this name on.
    List {
        /// The last that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Say what a message is, with octets of it.
    Show {
        /// The message's id.
        id: String,
        /// Where the octets begin.
        #[serde(default)]
        offset: u64,
    },
    /// Deliver a message.
    Release {
        /// Its id.
        id: String,
    },
    /// Remove a message.
    Delete {
        /// Its id.
        id: String,
    },
}

impl Request {
    /// How long a caller waits for the answer. A reload compiles components, and a rollback waits for one that
    /// is under way.
    pub fn patience(&self) -> Duration {
        match self {
            Request::Reload | Request::Rollback => Duration::from_secs(10 * 60),
            Request::Status => Duration::from_secs(10),
            // They wait for the disk.
            Request::Quarantine(_) | Request::Queue(_) | Request::Story { .. } => Duration::from_secs(60),
        }
    }

    pub(super) fn from_line(line: &[u8]) -> Result<Request, String> {
        serde_json::from_slice(line).map_err(|error| format!("the request cannot be understood: {error}"))
    }

    pub(super) fn to_line(&self) -> String {
        line(self)
    }
}

/// What the server answers: `{"ok":true,…}`, or `{"ok":false,"error":"…"}` when nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// It was done; what that means, in lines.
    Done(String),
    /// How the server is.
    Status(Box<Status>),
    /// What is kept aside.
    Shelf(Shelf),
    /// A message that is kept aside.
    Shown(Box<Shown>),
    /// What waits for delivery.
    Queue(QueuePage),
    /// A message that waits for delivery.
    Letter(Box<Letter>),
    /// What became of an order for each message, in their order.
    Acted(Vec<Acted>),
    /// What became of a message or a session.
    Story(Box<Tale>),
    /// The order was not carried out, for this reason.
    Refused(String),
}

impl Response {
    pub(super) fn to_line(&self) -> String {
        let nothing = Wire { ok: true, ..Wire::default() };
        line(&match self {
            Response::Done(text) => Wire { text: Some(text.clone()), ..nothing },
            Response::Status(status) => Wire { status: Some(status.clone()), ..nothing },
            Response::Shelf(shelf) => Wire { shelf: Some(shelf.clone()), ..nothing },
            Response::Shown(shown) => Wire { shown: Some(shown.clone()), ..nothing },
            Response::Queue(queue) => Wire { queue: Some(queue.clone()), ..nothing },
            Response::Letter(letter) => Wire { letter: Some(letter.clone()), ..nothing },
            Response::Acted(acted) => Wire { acted: Some(acted.clone()), ..nothing },
            Response::Story(story) => Wire { story: Some(story.clone()), ..nothing },
            Response::Refused(error) => Wire { ok: false, error: Some(error.clone()), ..nothing },
        })
    }

    /// None when it is no answer that this version knows.
    pub(super) fn from_line(line: &[u8]) -> Option<Response> {
        match serde_json::from_slice(line).ok()? {
            Wire { ok: false, error: Some(error), .. } => Some(Response::Refused(error)),
            Wire { ok: true, status: Some(status), .. } => Some(Response::Status(status)),
            Wire { ok: true, shelf: Some(shelf), .. } => Some(Response::Shelf(shelf)),
            Wire { ok: true, shown: Some(shown), .. } => Some(Response::Shown(shown)),
            Wire { ok: true, queue: Some(queue), .. } => Some(Response::Queue(queue)),
            Wire { ok: true, letter: Some(letter), .. } => Some(Response::Letter(letter)),
            Wire { ok: true, acted: Some(acted), .. } => Some(Response::Acted(acted)),
            Wire { ok: true, story: Some(story), .. } => Some(Response::Story(story)),
            Wire { ok: true, text: Some(text), .. } => Some(Response::Done(text)),
            _ => None,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Wire {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Box<Status>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shelf: Option<Shelf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<Box<Shown>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    letter: Option<Box<Letter>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acted: Option<Vec<Acted>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    story: Option<Box<Tale>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn line(value: &impl Serialize) -> String {
    // These types hold no map with keys that are no strings, which is all that could fail.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
