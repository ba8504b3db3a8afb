//! XREMOTEIP: a trusted gateway says which address the client has.
//!
//! Momentum's verb: one address, at any time, also in a transaction, which goes on. Who may say it is not known here:
//! the host asks only for peers the operator named. What follows from a new address (name and port, the login, the
//! relay decision for recipients already taken, the connect hooks) is the host's as well.

use pillarbox_sdk::{Answer, Command, Error, Extension, Reply, address, declare, identity, settings};

#[derive(Debug)]
struct Xremoteip;

impl Extension for Xremoteip {
    fn init() -> Result<Self, String> {
        settings::only(&[])?;
        declare::keyword("XREMOTEIP", None)?;
        declare::verb(
            "XREMOTEIP",
            declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
        )?;
        Ok(Self)
    }
}

impl Command for Xremoteip {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        Answer::Done(match address::parse(argument.trim_matches([' ', '\t'])) {
            None => Reply::new(501, "5.5.4", "syntax: XREMOTEIP address"),
            Some(address) => match identity::set_addr(Some(&address.to_string())) {
                Ok(()) => Reply::new(250, "2.0.0", "XREMOTEIP accepted"),
                Err(error) => refusal(&error),
            },
        })
    }
}

pillarbox_sdk::export!(Xremoteip: command);

fn refusal(error: &Error) -> Reply {
    match error {
        Error::Denied(_) => Reply::new(550, "5.7.1", "insufficient authorization"),
        Error::Invalid(_) => Reply::new(501, "5.5.4", "syntax: XREMOTEIP address"),
        Error::Limit(_) | Error::Unavailable(_) | Error::Failed(_) => {
            Reply::new(451, "4.3.0", "the address cannot be changed now")
        }
    }
}
