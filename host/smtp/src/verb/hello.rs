//! HELO and EHLO (RFC 5321 section 4.1.1.1).

use std::borrow::Cow;

use crate::command::{Command, Verb};
use crate::server::Server;
use crate::{Refusal, Tls, address, reply};

/// The keywords the machine announces itself, in upper case: no extension can have them.
pub const KEYWORDS: &[&str] = &["8BITMIME", "ENHANCEDSTATUSCODES", "HELP", "PIPELINING", "SIZE", "STARTTLS"];

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) line: String,
    pub(crate) verb: &'static str,
    pub(crate) domain: String,
}

pub(crate) fn check(command: Command) -> Result<Question, Refusal> {
    let domain = command.argument().to_owned();
    if !address::is_hello_name(&domain) {
        return Err(reply::bad_hello());
    }
    let verb = if command.verb == Verb::Helo { "HELO" } else { "EHLO" };
    Ok(Question { line: command.line, verb, domain })
}

/// RFC 5321 section 4.1.4: once it is accepted, it does what RSET does. A refused one changes nothing.
pub(crate) fn proceed(server: &mut Server, question: Question, client: &str, keywords: &[String]) {
    server.hello = true;
    server.reset();
    let settings = server.settings();
    let mut lines: Vec<Cow<'static, str>> =
        vec![format!("{} says {} to {client}", settings.hostname, question.verb).into()];
    if question.verb == "EHLO" {
        lines.push("PIPELINING".into());
        lines.push(match settings.limits.message_size {
            // Bare, so that no client takes 0 for the greatest size; RFC 1870 section 4 gives both the same meaning.
            0 => "SIZE".into(),
            limit => format!("SIZE {limit}").into(),
        });
        lines.push("8BITMIME".into());
        lines.push("ENHANCEDSTATUSCODES".into());
        if matches!(settings.tls, Tls::Offered | Tls::Required) {
            lines.push("STARTTLS".into());
        }
        lines.push("HELP".into());
        lines.extend(keywords.iter().map(|keyword| keyword.trim_end().to_owned().into()));
    }
    server.say(&reply::hello(lines));
}
