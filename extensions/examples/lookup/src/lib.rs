//! An example of asking others: DNS block lists (RFC 5782) at `connect`, and a web service at `mail`.
//!
//! ```toml
//! [[listener.edge.extension]]
//! use = "lookup"
//! grant.session       = ["client"]
//! grant.envelope-read = true
//! grant.dns           = { types = ["a"], zones = ["zen.spamhaus.org"] }
//! grant.http          = { hosts = ["http://127.0.0.1:8080"], methods = ["POST"] }
//! grant.metrics       = true
//!
//! [extension.lookup]
//! component = "target/guests/example-lookup.wasm"
//! settings  = { lists = ["zen.spamhaus.org"], url = "http://127.0.0.1:8080/sender" }
//! ```
//!
//! What it shows: who is not there must not stop the mail, so whatever fails is counted and means "no opinion"; the answer
//! of a list counts only where it is an address that lists give; and labels of a counter come from the settings, never from
//! a peer.

mod list;

use pillarbox_sdk::{
    Connect, Decision, Entry, Error, Extension, Mail, Parameter, Reply, http, metrics, session, settings, warn,
};
use std::net::IpAddr;

#[derive(Debug)]
struct Lookup {
    lists: Vec<String>,
    url: Option<String>,
}

impl Extension for Lookup {
    fn init() -> Result<Self, String> {
        settings::only(&["lists", "url"])?;
        Ok(Self { lists: settings::texts("lists")?.unwrap_or_default(), url: settings::text("url")? })
    }
}

impl Connect for Lookup {
    fn connect(&mut self) -> Decision {
        let Some(client) = client() else { return Decision::next() };
        for list in &self.lists {
            match list::lists(client, list) {
                Ok(true) => {
                    count("listed", list);
                    return Decision::reject(Reply::new(554, "5.7.1", format!("{client} is listed by {list}")));
                }
                Ok(false) => {}
                Err(error) => unanswered(list, &error),
            }
        }
        Decision::next()
    }
}

impl Mail for Lookup {
    /// The service is told `sender` and `client`, a line each. With 403 it refuses; every other answer lets the mail pass.
    fn mail(&mut self, sender: &str, _parameters: &[Parameter]) -> Decision {
        let Some(url) = &self.url else { return Decision::next() };
        let client = client().map(|client| client.to_string()).unwrap_or_default();
        let request = http::Request {
            method: "POST".to_owned(),
            url: url.clone(),
            headers: vec![Entry { name: "Content-Type".to_owned(), value: "text/plain; charset=utf-8".to_owned() }],
            body: format!("sender {sender}\nclient {client}\n").into_bytes(),
        };
        match http::send(&request) {
            Ok(answer) if answer.status == 403 => {
                count("refused", "service");
                Decision::reject(Reply::new(550, "5.7.1", "this sender is not wanted here"))
            }
            Ok(answer) if answer.status < 300 => Decision::next(),
            Ok(answer) => {
                unanswered("service", &Error::Failed(format!("status {}", answer.status)));
                Decision::next()
            }
            Err(error) => {
                unanswered("service", &error);
                Decision::next()
            }
        }
    }
}

fn client() -> Option<IpAddr> {
    session::client().ok()?.endpoint.address?.parse().ok()
}

fn unanswered(who: &str, error: &Error) {
    warn!("no answer from {who}: {error:?}");
    count("unanswered", who);
}

/// Counting is never a reason to fail.
fn count(what: &str, who: &str) {
    _ = metrics::count(what, 1, &[Entry { name: "who".to_owned(), value: who.to_owned() }]);
}

pillarbox_sdk::export!(Lookup: connect, mail);
