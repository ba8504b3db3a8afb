//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.1.11), and those that the machine speaks itself: SIZE (RFC 1870),
//! BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), AUTH (RFC 4954), RET, ENVID, NOTIFY and ORCPT (RFC 3461), BY (RFC 2852),
//! HOLDFOR and HOLDUNTIL (RFC 4865), MT-PRIORITY (RFC 6710), REQUIRETLS (RFC 8689).
//!
//! It does not know what an extension's parameter means: those are kept as they were given.
//!
//! Parameters are taken after HELO as well as after EHLO: a client that greets with HELO and then says SIZE= means what it
//! says, and there is nothing to gain from refusing it.

use std::collections::BTreeSet;

use crate::terms::{self, DeliverBy};
use crate::{Auth, Body, Mailbox, Refusal, Settings, decode_xtext, reply};

/// The MAIL parameters the machine speaks itself, in upper case.
pub const MAIL_PARAMETERS: &[&str] =
    &["AUTH", "BODY", "BY", "ENVID", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY", "REQUIRETLS", "RET", "SIZE", "SMTPUTF8"];

/// The RCPT parameters the machine speaks itself, in upper case.
pub const RECIPIENT_PARAMETERS: &[&str] = &["NOTIFY", "ORCPT"];

/// Digits of a SIZE value (RFC 1870 section 3).
const SIZE_DIGITS: usize = 20;

/// Characters of an ENVID and of an ORCPT, as sent (RFC 3461 sections 4.4 and 4.2).
const ENVID: usize = 100;
const ORCPT: usize = 500;

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
    pub(crate) smtputf8: bool,
    /// The priority the message has instead of the one that was asked for.
    pub(crate) lowered_to: Option<i8>,
}

/// Whether SMTPUTF8, well-formed or not, is among the parameters in `text`. It decides how the path in front of them is read.
pub(crate) fn says_smtputf8(text: &str) -> bool {
    words(text).any(|word| word.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("SMTPUTF8")))
}

/// MAIL's parameters in `text`, which follows the path, and what they say.
pub(crate) fn of_mail(text: &str, settings: &Settings) -> Result<(Vec<Parameter>, Declared), Refusal> {
    let keywords = settings.keywords;
    let takes = |name: &str| match name {
        "AUTH" => settings.auth != Auth::Off,
        "BODY" => keywords.eight_bit_mime || keywords.offers_binarymime(),
        "BY" => keywords.deliver_by.is_some(),
        "ENVID" | "RET" => keywords.dsn,
        "HOLDFOR" | "HOLDUNTIL" => keywords.future_release.is_some(),
        "MT-PRIORITY" => keywords.mt_priority,
        "REQUIRETLS" => keywords.offers_require_tls(settings.tls),
        "SIZE" => keywords.size,
        "SMTPUTF8" => keywords.offers_smtputf8(),
        name => settings.mail_parameters.contains(name),
    };
    let mut parameters = parse(text, takes)?;
    let mut declared = Declared::default();
    for parameter in &mut parameters {
        let value = parameter.value.as_deref();
        let is_right = match parameter.name.as_str() {
            "AUTH" => value.is_some_and(is_auth),
            "BODY" => {
                let body = value.and_then(body);
                declared.body = body.unwrap_or_default();
                match declared.body {
                    Body::EightBitMime if !keywords.eight_bit_mime => return Err(reply::unknown_parameter()),
                    Body::BinaryMime if !keywords.offers_binarymime() => return Err(reply::unknown_parameter()),
                    _ => body.is_some(),
                }
            }
            "BY" => value.and_then(DeliverBy::parse).is_some(),
            "HOLDFOR" => value.and_then(terms::hold_for).is_some(),
            "HOLDUNTIL" => value.and_then(terms::hold_until).is_some(),
            "MT-PRIORITY" => {
                let asked = value.and_then(terms::priority);
                let highest = settings.highest_priority;
                declared.lowered_to = asked.and_then(|asked| (asked > highest).then_some(highest));
                if let Some(priority) = declared.lowered_to {
                    parameter.value = Some(priority.to_string());
                }
                asked.is_some()
            }
            "ENVID" => value.is_some_and(is_envid),
            "RET" => value.is_some_and(|value| is_one_of(value, &["FULL", "HDRS"])),
            "SIZE" => {
                declared.size = value.and_then(parse_size);
                declared.size.is_some()
            }
            // RFC 8689 section 2: it has no value.
            "REQUIRETLS" => value.is_none(),
            // RFC 6531 section 3.4: it has no value.
            "SMTPUTF8" => {
                declared.smtputf8 = true;
                value.is_none()
            }
            _ => true,
        };
        if !is_right {
            return Err(reply::bad_parameter());
        }
    }
    // RFC 1870 section 6.1.
    let limit = settings.limits.message_size;
    if limit != 0 && declared.size.is_some_and(|size| size > limit) {
        return Err(reply::too_large());
    }
    check_times(&parameters, settings)?;
    Ok((parameters, declared))
}

/// What can be said of BY, HOLDFOR and HOLDUNTIL without a clock. All of them are well-formed.
fn check_times(parameters: &[Parameter], settings: &Settings) -> Result<(), Refusal> {
    let value = |name| parameters.iter().find(|parameter| parameter.name == name).and_then(|it| it.value.as_deref());
    let by = value("BY").and_then(DeliverBy::parse);
    if let Some(by) = by.filter(|by| by.returns) {
        let least = settings.keywords.deliver_by.unwrap_or(0);
        match by.seconds {
            ..=0 => return Err(reply::deadline_passed()),
            seconds if seconds < least.into() => return Err(reply::deadline_too_near(least)),
            _ => {}
        }
    }
    let hold = value("HOLDFOR").and_then(terms::hold_for);
    if hold.is_some() && value("HOLDUNTIL").is_some() {
        return Err(reply::two_holds());
    }
    if hold > settings.keywords.future_release {
        return Err(reply::hold_too_long());
    }
    match (hold, by) {
        (Some(hold), Some(by)) if by.seconds <= hold.into() => Err(reply::hold_past_deadline()),
        _ => Ok(()),
    }
}

/// RCPT's parameters in `text`, which follows the path.
pub(crate) fn of_recipient(text: &str, settings: &Settings, smtputf8: bool) -> Result<Vec<Parameter>, Refusal> {
    let takes = |name: &str| match name {
        "NOTIFY" | "ORCPT" => settings.keywords.dsn,
        name => settings.recipient_parameters.contains(name),
    };
    let parameters = parse(text, takes)?;
    for parameter in &parameters {
        let value = parameter.value.as_deref();
        let is_right = match parameter.name.as_str() {
            "NOTIFY" => value.is_some_and(is_notify),
            "ORCPT" => value.is_some_and(|value| is_original_recipient(value, smtputf8)),
            _ => true,
        };
        if !is_right {
            return Err(reply::bad_parameter());
        }
    }
    Ok(parameters)
}

/// The parameters in `text`. Those whose name is one that `takes` knows are taken, each once.
fn parse(text: &str, takes: impl Fn(&str) -> bool) -> Result<Vec<Parameter>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut parameters = Vec::new();
    for word in words(text) {
        let parameter = parse_one(word).ok_or_else(reply::bad_parameter)?;
        if !takes(&parameter.name) {
            return Err(reply::unknown_parameter());
        }
        if !seen.insert(parameter.name.clone()) {
            return Err(reply::repeated_parameter());
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

/// RFC 5321 section 4.1.2: `esmtp-keyword ["=" esmtp-value]`; a value holds neither `=` nor blanks. What is not ASCII only an
/// original recipient may hold.
fn parse_one(word: &str) -> Option<Parameter> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let is_keyword = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let is_orcpt = name.eq_ignore_ascii_case("ORCPT");
    let is_character = |octet: u8| matches!(octet, 0x21..=0x3c | 0x3e..=0x7e) || (is_orcpt && !octet.is_ascii());
    let is_value = |value: &str| !value.is_empty() && value.bytes().all(is_character);
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

fn body(value: &str) -> Option<Body> {
    let bodies = [("7BIT", Body::SevenBit), ("8BITMIME", Body::EightBitMime), ("BINARYMIME", Body::BinaryMime)];
    bodies.into_iter().find(|(name, _)| value.eq_ignore_ascii_case(name)).map(|(_, body)| body)
}

/// RFC 4954 section 5: a mailbox, or `<>` for nobody that is known.
fn is_auth(value: &str) -> bool {
    decode_xtext(value).is_some_and(|value| value == "<>" || value.parse::<Mailbox>().is_ok())
}

fn is_envid(value: &str) -> bool {
    value.len() <= ENVID && decode_xtext(value).is_some_and(|value| is_printable(&value))
}

/// RFC 3461 section 4.1: NEVER alone, or some of the others.
fn is_notify(value: &str) -> bool {
    let mut seen = BTreeSet::new();
    let is_new =
        |word: &str| is_one_of(word, &["SUCCESS", "FAILURE", "DELAY"]) && seen.insert(word.to_ascii_uppercase());
    value.eq_ignore_ascii_case("NEVER") || value.split(',').all(is_new)
}

/// RFC 3461 section 4.2: a type, `;`, and xtext. RFC 6533 section 3 has UTF-8 as it is, where SMTPUTF8 was said.
fn is_original_recipient(value: &str, smtputf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let is_type = !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let ascii: String = address.chars().map(|c| if c.is_ascii() { c } else { 'x' }).collect();
    let may_be_utf8 = smtputf8 && kind.eq_ignore_ascii_case("utf-8") && !address.chars().any(char::is_control);
    value.len() <= ORCPT
        && is_type
        && !address.is_empty()
        && (address.is_ascii() || may_be_utf8)
        && decode_xtext(&ascii).is_some_and(|address| is_printable(&address))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
}

fn is_one_of(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}
