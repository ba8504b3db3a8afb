//! XSETCONTEXT: a trusted client sets names in the connection context.
//!
//! Momentum's verb: `XSETCONTEXT name=value …`, values in xtext, overriding, and all of them or none. Who may say it,
//! and which names it may set, is not known here: the host asks only for peers the operator named, and judges each name
//! by the grant.

mod parse;

use pillarbox_sdk::{Answer, Command, Error, Extension, Reply, Scope, context_write, declare, settings};

#[derive(Debug)]
struct Xsetcontext;

impl Extension for Xsetcontext {
    fn init() -> Result<Self, String> {
        settings::only(&[])?;
        declare::keyword("XSETCONTEXT", None)?;
        declare::verb(
            "XSETCONTEXT",
            declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
        )?;
        Ok(Self)
    }
}

impl Command for Xsetcontext {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        let entries = match parse::entries(argument) {
            Ok(entries) => entries,
            Err(error) => return Answer::Done(Reply::new(501, "5.5.4", error.to_string())),
        };
        Answer::Done(match context_write::set_all(Scope::Connection, &entries) {
            Ok(()) => Reply::new(250, "2.0.0", "XSETCONTEXT accepted"),
            Err(error) => refusal(&error),
        })
    }
}

pillarbox_sdk::export!(Xsetcontext: command);

fn refusal(error: &Error) -> Reply {
    match error {
        Error::Denied(_) => Reply::new(550, "5.7.1", "a name is not granted, nothing set"),
        Error::Invalid(_) => Reply::new(501, "5.5.4", "bad name or value, nothing set"),
        // RFC 5321 section 4.2.3: 552 is an exceeded allocation. It is the session's own, not a shortage that passes:
        // trying again on this connection cannot help, so it is not 452.
        Error::Limit(_) => Reply::new(552, "5.3.4", "the context is full, nothing set"),
        Error::Unavailable(_) | Error::Failed(_) => Reply::new(451, "4.3.0", "the context cannot be changed now"),
    }
}
