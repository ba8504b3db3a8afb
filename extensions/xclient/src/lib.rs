//! XCLIENT: a trusted gateway says who the client is.
//!
//! The command is Postfix's, without its accidents: it is parsed whole, then staged whole, and nothing of a refused one
//! takes effect. Who may say it is not known here: the host asks only for peers the operator named. What follows from
//! a new client (the greeting, the relay decision, the context) is the host's as well.

mod parse;

use parse::{Attribute, Change};
use pillarbox_sdk::{Answer, Command, Error, Extension, Reply, declare, fail, identity, settings};

#[derive(Debug)]
struct Xclient {
    /// What the listener lets this extension change, in the order of the EHLO line.
    attributes: Vec<Attribute>,
    /// MAIL may follow without another EHLO, also when no HELO= was given.
    mail_after_xclient: bool,
}

impl Extension for Xclient {
    fn init() -> Result<Self, String> {
        settings::only(&["mail-after-xclient"])?;
        let settable = identity::settable()?;
        let attributes: Vec<Attribute> =
            Attribute::ALL.into_iter().filter(|attribute| settable.contains(&attribute.field())).collect();
        if attributes.is_empty() {
            return Err("nothing to change: grant at least one field of `identity`".to_owned());
        }
        let names: Vec<&str> = attributes.iter().map(|attribute| attribute.name()).collect();
        declare::keyword("XCLIENT", Some(&names.join(" ")))?;
        declare::verb(
            "XCLIENT",
            declare::Rule { before_hello: true, in_transaction: false, only_tls: false, last_in_group: false },
        )?;
        Ok(Self { attributes, mail_after_xclient: settings::boolean("mail-after-xclient")?.unwrap_or(false) })
    }
}

impl Command for Xclient {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        let mut changes = match parse::changes(argument, &self.attributes) {
            Ok(changes) => changes,
            Err(error) => return Answer::Done(Reply::new(501, "5.5.4", error.to_string())),
        };
        // The listener can refuse a login for the name in it, which nobody knows beforehand. Being first, it is
        // refused before anything else was staged.
        changes.sort_by_key(|change| !matches!(change, Change::Login(_)));
        for (staged, change) in changes.iter().enumerate() {
            match stage(change) {
                Ok(()) => {}
                Err(error) if staged == 0 => return Answer::Done(refusal(change, &error)),
                // Half of a command must not take effect.
                Err(error) => fail(&format!("{} cannot follow: {}", change.attribute().name(), error.describe())),
            }
        }
        let said_hello = changes.iter().any(|change| matches!(change, Change::Helo(Some(_))));
        Answer::Restart(said_hello || self.mail_after_xclient)
    }
}

pillarbox_sdk::export!(Xclient: command);

fn stage(change: &Change) -> Result<(), Error> {
    match change {
        Change::Name(name) => identity::set_name(name),
        Change::Addr(address) => identity::set_addr(address.map(|address| address.to_string()).as_deref()),
        Change::Port(port) => identity::set_port(*port),
        Change::Proto(protocol) => identity::set_proto(protocol),
        Change::Helo(domain) => identity::set_helo(domain.as_deref()),
        Change::Login(user) => identity::set_login(user.as_deref()),
        Change::Destaddr(address) => identity::set_destaddr(address.map(|address| address.to_string()).as_deref()),
        Change::Destport(port) => identity::set_destport(*port),
    }
}

fn refusal(change: &Change, error: &Error) -> Reply {
    let name = change.attribute().name();
    match error {
        Error::Denied(_) => Reply::new(550, "5.7.1", format!("insufficient authorization for {name}")),
        Error::Invalid(_) => Reply::new(501, "5.5.4", format!("bad {name} syntax")),
        Error::Limit(_) | Error::Unavailable(_) | Error::Failed(_) => {
            Reply::new(451, "4.3.0", format!("{name} cannot be changed now"))
        }
    }
}
