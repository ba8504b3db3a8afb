//! XDUMPCONTEXT: shows both contexts to a trusted client.
//!
//! Momentum's verb, to the letter of the one published conversation. Who may say it, and which names are shown, is not
//! known here: the host asks only for peers the operator named, and hands out the names the grant covers.

mod dump;

use pillarbox_sdk::{Answer, Command, Entry, Error, Extension, Reply, Scope, context_read, declare, settings};

#[derive(Debug)]
struct Xdumpcontext;

impl Extension for Xdumpcontext {
    fn init() -> Result<Self, String> {
        settings::only(&[])?;
        declare::keyword("XDUMPCONTEXT", None)?;
        declare::verb(
            "XDUMPCONTEXT",
            declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
        )?;
        Ok(Self)
    }
}

impl Command for Xdumpcontext {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        Answer::Done(if argument.trim_matches([' ', '\t']).is_empty() {
            match (entries(Scope::Connection), entries(Scope::Message)) {
                // No enhanced code: clients match this reply as Momentum gives it.
                (Ok(connection), Ok(message)) => Reply::lines(250, None, dump::lines(connection, message)),
                (Err(_), _) | (_, Err(_)) => Reply::new(451, "4.3.0", "the context cannot be read now"),
            }
        } else {
            Reply::new(501, "5.5.4", "XDUMPCONTEXT takes no argument")
        })
    }
}

pillarbox_sdk::export!(Xdumpcontext: command);

/// A scope that is not granted has nothing to show.
fn entries(scope: Scope) -> Result<Vec<Entry>, Error> {
    match context_read::entries(scope) {
        Err(Error::Denied(_)) => Ok(Vec::new()),
        entries => entries,
    }
}
