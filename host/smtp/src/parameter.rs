//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.1.11), and those of MAIL that the machine speaks itself: SIZE
//! (RFC 1870) and BODY (RFC 6152).
//!
//! It does not know what an extension's parameter means: those are kept as they were given.
//!
//! Parameters are taken after HELO as well as after EHLO: a client that greets with HELO and then says SIZE= means what it
//! says, and there is nothing to gain from refusing it.

use std::collections::BTreeSet;

use crate::{Body, Refusal, reply};

/// The MAIL parameters the machine speaks itself, in upper case.
pub const MAIL_PARAMETERS: &[&str] = &["BODY", "SIZE"];

/// The RCPT parameters the machine speaks itself, in upper case: none yet.
pub const RECIPIENT_PARAMETERS: &[&str] = &[];

/// Digits of a SIZE value (RFC 1870 section 3).
const SIZE_DIGITS: usize = 20;

/// A parameter of MAIL or RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The keyword, in upper case.
    pub name: String,
    /// What stood behind the `=`, raw.
    pub value: Option<String>,
}

/// What MAIL's parameters say to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) body: Body,
    pub(crate) size: Option<u64>,
}

/// The parameters in `text`, which follows the path. Names in `known` and in `declared` are taken, each once.
pub(crate) fn parse(text: &str, known: &[&str], declared: &BTreeSet<String>) -> Result<Vec<Parameter>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut parameters = Vec::new();
    for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let parameter = parse_one(word).ok_or_else(reply::bad_parameter)?;
        if !known.contains(&parameter.name.as_str()) && !declared.contains(&parameter.name) {
            return Err(reply::unknown_parameter());
        }
        if !seen.insert(parameter.name.clone()) {
            return Err(reply::repeated_parameter());
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

/// Reads SIZE and BODY. `limit` is the greatest message that is taken; 0 is no limit.
pub(crate) fn declared(parameters: &[Parameter], limit: u64) -> Result<Declared, Refusal> {
    let mut declared = Declared::default();
    for parameter in parameters {
        let value = parameter.value.as_deref();
        match parameter.name.as_str() {
            "SIZE" => {
                let size = value.and_then(parse_size).ok_or_else(reply::bad_parameter)?;
                // RFC 1870 section 6.1.
                if limit != 0 && size > limit {
                    return Err(reply::too_large());
                }
                declared.size = Some(size);
            }
            "BODY" => {
                declared.body = match value {
                    Some(value) if value.eq_ignore_ascii_case("7BIT") => Body::SevenBit,
                    Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Body::EightBitMime,
                    _ => return Err(reply::bad_parameter()),
                }
            }
            _ => {}
        }
    }
    Ok(declared)
}

/// RFC 5321 section 4.1.2: `esmtp-keyword ["=" esmtp-value]`; a value holds neither `=` nor blanks.
fn parse_one(word: &str) -> Option<Parameter> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let is_keyword = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let is_value =
        |value: &str| !value.is_empty() && value.bytes().all(|octet| matches!(octet, 0x21..=0x3c | 0x3e..=0x7e));
    if !is_keyword || !value.is_none_or(is_value) {
        return None;
    }
    Some(Parameter { name: name.to_ascii_uppercase(), value: value.map(str::to_owned) })
}

/// Twenty digits can say more than 64 bits hold; that is more than any limit.
fn parse_size(value: &str) -> Option<u64> {
    let is_number = (1..=SIZE_DIGITS).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}
