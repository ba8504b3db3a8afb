//! `declare` and `advertise`: what an extension adds to the protocol, and what of it one session sees.

use crate::extension::bindings::pillarbox::extension::declare::{Hook, Host, Rule};
use crate::extension::bindings::pillarbox::extension::{advertise, types::Error};
use crate::extension::load::Declared;
use crate::extension::state::{Moment, State};
use std::sync::Arc;

/// Letters in a word of the protocol.
const LONGEST_WORD: usize = 32;
/// Letters in the name of a SASL mechanism.
const LONGEST_MECHANISM: usize = 20;
/// Octets of a keyword's parameters: an EHLO line is 512 octets long.
const LONGEST_PARAMETERS: usize = 400;
/// Words of one kind an extension may declare.
const MOST: usize = 64;

impl Host for State {
    fn keyword(&mut self, name: String, parameters: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len() + parameters.as_ref().map_or(0, String::len))?;
        Ok(word(&name).and_then(|name| {
            let parameters = checked(parameters)?;
            self.keywords.insert(name.clone());
            self.note(|declared| add(declared.keywords.len(), || declared.keywords.insert(name, parameters)))
        }))
    }

    fn verb(&mut self, name: String, rule: Rule) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        let rule = pillarbox_smtp::Rule {
            before_hello: rule.before_hello,
            in_transaction: rule.in_transaction,
            only_tls: rule.only_tls,
            last_in_group: rule.last_in_group,
        };
        Ok(word(&name)
            .and_then(|name| self.note(|declared| add(declared.verbs.len(), || declared.verbs.insert(name, rule)))))
    }

    fn mail_parameter(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        Ok(word(&name).and_then(|name| {
            self.note(|declared| add(declared.mail_parameters.len(), || declared.mail_parameters.insert(name)))
        }))
    }

    fn recipient_parameter(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        Ok(word(&name).and_then(|name| {
            self.note(|declared| {
                add(declared.recipient_parameters.len(), || declared.recipient_parameters.insert(name))
            })
        }))
    }

    fn mechanism(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        Ok(mechanism(&name)
            .and_then(|name| self.note(|declared| add(declared.mechanisms.len(), || declared.mechanisms.insert(name)))))
    }

    fn without(&mut self, hook: Hook) -> wasmtime::Result<Result<(), Error>> {
        self.cross(1)?;
        Ok(self.note(|declared| {
            declared.without.insert(hook.into());
            Ok(())
        }))
    }
}

impl advertise::Host for State {
    fn show(&mut self, name: String, parameters: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len() + parameters.as_ref().map_or(0, String::len))?;
        Ok(checked(parameters).and_then(|parameters| self.advertise(&name, Some(parameters))))
    }

    fn hide(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(name.len())?;
        Ok(self.advertise(&name, None))
    }
}

impl State {
    /// Notes a declaration. In an instance made for a session everything is known already: it is taken and changes nothing.
    fn note(&mut self, declare: impl FnOnce(&mut Declared) -> Result<(), Error>) -> Result<(), Error> {
        match &mut self.moment {
            Moment::Init(Some(declared)) => declare(declared),
            Moment::Init(None) => Ok(()),
            Moment::Hook(_) => Err(Error::Unavailable("declarations are made in init".to_owned())),
        }
    }

    fn advertise(&mut self, name: &str, parameters: Option<Option<String>>) -> Result<(), Error> {
        self.session()?;
        self.stages("a keyword")?;
        let name = word(name)?;
        // Only its own: what it declared is what can be shown or hidden.
        if !self.keywords.contains(&name) {
            return Err(Error::Invalid(format!("the keyword {name} was not declared")));
        }
        Arc::make_mut(&mut self.remembered).keywords.insert(name, parameters);
        Ok(())
    }
}

fn word(name: &str) -> Result<String, Error> {
    let fits = (1..=LONGEST_WORD).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !name.starts_with('-');
    match fits {
        true => Ok(name.to_ascii_uppercase()),
        false => Err(Error::Invalid("a word of the protocol has 1 to 32 letters, digits and hyphens".to_owned())),
    }
}

/// The name of a SASL mechanism (RFC 4422 section 3.1).
fn mechanism(name: &str) -> Result<String, Error> {
    let fits = (1..=LONGEST_MECHANISM).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    match fits {
        true => Ok(name.to_ascii_uppercase()),
        false => {
            Err(Error::Invalid("a SASL mechanism has 1 to 20 letters, digits, hyphens and underscores".to_owned()))
        }
    }
}

fn checked(parameters: Option<String>) -> Result<Option<String>, Error> {
    let Some(text) = parameters.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.len() <= LONGEST_PARAMETERS && text.bytes().all(|octet| (0x20..=0x7e).contains(&octet)) {
        true => Ok(Some(text)),
        false => Err(Error::Invalid("a keyword's parameters are printable ASCII of at most 400 octets".to_owned())),
    }
}

fn add<T>(have: usize, insert: impl FnOnce() -> T) -> Result<(), Error> {
    if have >= MOST {
        return Err(Error::Limit("an extension declares at most 64 words of a kind".to_owned()));
    }
    insert();
    Ok(())
}
