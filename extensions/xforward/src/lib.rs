//! XFORWARD: a trusted relay says, for the log, where the message that follows came from.
//!
//! The command is Postfix's. What it says is kept with one message and decides nothing: not who the client is, not what it
//! may. Who may say it is not known here: the host asks only for peers the operator named.

mod parse;

use parse::{Attribute, Forwarded};
use pillarbox_sdk::{
    Answer, Command, Decision, Entry, Error, Extension, Mail, Parameter, Reply, Scope, context_write, declare, error,
    fail, info, settings, state,
};

#[derive(Debug)]
struct Xforward;

impl Extension for Xforward {
    fn init() -> Result<Self, String> {
        settings::only(&[])?;
        let names: Vec<&str> = Attribute::ALL.iter().map(|attribute| attribute.name()).collect();
        declare::keyword("XFORWARD", Some(&names.join(" ")))?;
        declare::verb(
            "XFORWARD",
            declare::Rule { before_hello: false, in_transaction: false, only_tls: false, last_in_group: false },
        )?;
        Ok(Self)
    }
}

impl Command for Xforward {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        let forwarded = match parse::forwarded(argument) {
            Ok(forwarded) => forwarded,
            Err(error) => return Answer::Done(Reply::new(501, "5.5.4", error.to_string())),
        };
        for attribute in &forwarded {
            if let Err(why) = remember(attribute) {
                // Half of a command must not take effect.
                fail(&format!("{} cannot be kept: {}", attribute.attribute.name(), why.describe()));
            }
        }
        Answer::Done(Reply::new(250, "2.0.0", "Ok"))
    }
}

impl Mail for Xforward {
    /// The message begins: what was said goes with it.
    fn mail(&mut self, _sender: &str, _parameters: &[Parameter]) -> Decision {
        let entries: Vec<Entry> = Attribute::ALL.into_iter().filter_map(recall).collect();
        if !entries.is_empty() {
            let said: Vec<String> = entries.iter().map(|entry| format!("{}={}", entry.name, entry.value)).collect();
            info!("{}", said.join(" "));
            if let Err(why) = context_write::set_all(Scope::Message, &entries) {
                // Nothing but a record is lost.
                error!("not kept with the message: {}", why.describe());
            }
        }
        Decision::next()
    }
}

pillarbox_sdk::export!(Xforward: command, mail);

/// Remembered of the message: it goes with its end, so it is said of no other, and RSET and EHLO take it back, as in
/// Postfix.
fn remember(forwarded: &Forwarded) -> Result<(), Error> {
    let name = forwarded.attribute.context_name();
    match &forwarded.value {
        Some(value) => state::set(Scope::Message, name, value.as_bytes()),
        None => state::unset(Scope::Message, name),
    }
}

/// What was remembered.
fn recall(attribute: Attribute) -> Option<Entry> {
    let name = attribute.context_name();
    let value = state::get(Scope::Message, name).ok()??;
    Some(Entry { name: name.to_owned(), value: String::from_utf8(value).ok()? })
}
