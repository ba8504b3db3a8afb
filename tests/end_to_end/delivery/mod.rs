//! What becomes of a message behind its 250, with servers to relay to in good manners and bad, and senders that have a
//! mailbox to be told in.

mod changes;
mod fairness;
mod login;
mod manners;
mod notices;
mod orders;
mod terms;

use pillarbox_tests::sink::Taken;
use pillarbox_tests::{Client, Server, Site, until};

/// A server that tries again after a second, takes mail for everywhere on the listener `edge`, and delivers what is for
/// `client.test` into Maildirs below `told`. `listener` is more of the listener's keys, `delivery` of `[delivery]`, and
/// `routes` the tables that go first.
pub fn config(listener: &str, delivery: &str, routes: &str) -> String {
    format!(
        r#"[server]
hostname = "mx.example.test"
state-dir = "state"

[log]
format = "json"

[delivery]
retry.first = "1s"
{delivery}

[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
{listener}

{routes}

[[route]]
domains = ["client.test"]
to = "maildir:told/{{local}}"
create = true
"#
    )
}

/// A route of this domain to a target, with more of its keys.
pub fn route(domain: &str, to: &str, keys: &str) -> String {
    format!("[[route]]\ndomains = [\"{domain}\"]\nto = \"{to}\"\n{keys}\n")
}

/// A client of the listener `edge` that said EHLO.
pub fn greeted(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client
}

/// Sends a message with parameters of MAIL and RCPT, `<a@b.test> NOTIFY=NEVER`; the id is returned.
#[track_caller]
pub fn send(client: &mut Client, mail: &str, recipients: &[&str], content: &str) -> String {
    client.expect(&format!("MAIL FROM:{mail}"), "250 *");
    for recipient in recipients {
        client.expect(&format!("RCPT TO:{recipient}"), "250 *");
    }
    client.expect("DATA", "354 *");
    client.content(content);
    let reply = client.expect_reply("250 2.0.0 OK *");
    reply.last().rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Waits for so many notices in the mailbox of this user of `client.test`.
#[track_caller]
pub fn told(site: &Site, user: &str, count: usize) -> Vec<String> {
    let maildir = pillarbox_tests::Maildir::new(site.path(&format!("told/{user}")));
    until(&format!("{count} notices for {user}"), || maildir.messages().len() >= count);
    let notices = maildir.messages();
    assert_eq!(notices.len(), count, "notices for {user}");
    notices.into_iter().map(|notice| String::from_utf8(notice).expect("a notice is text")).collect()
}

/// Waits until nothing waits.
#[track_caller]
pub fn emptied(server: &Server) {
    let queue = server.site().path("state/spool/queue");
    until("an empty queue", || std::fs::read_dir(&queue).is_ok_and(|mut entries| entries.next().is_none()));
}

/// Insists that what was taken is what was sent, behind the server's own field.
#[track_caller]
pub fn same(what: &str, taken: &Taken, sent: &[u8]) {
    let at = taken.content.len().checked_sub(sent.len()).unwrap_or_else(|| panic!("{what}: less came than was sent"));
    let (field, rest) = taken.content.split_at(at);
    assert!(rest == sent, "{what}: it is not as it was sent");
    let field = String::from_utf8_lossy(field);
    let is_one = field.starts_with("Received: ") && field.ends_with("\r\n");
    let folded = field.trim_end().split("\r\n").skip(1).all(|line| line.starts_with(['\t', ' ']));
    assert!(is_one && folded, "{what}: {field}");
}
