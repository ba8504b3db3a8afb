//! Addresses for a hop that takes ASCII only.

use std::borrow::Cow;

use crate::relay::Keywords;
use crate::spool::{Failure, Reach};

/// An address as a hop takes it, which is the address where it can be.
///
/// A domain has a form of A-labels for those who know no other (RFC 5890 section 2.3.2.1); a local part is what its owner
/// says it is, and has none.
///
/// # Errors
/// There is no such form: 5.6.7 (RFC 6531 section 3.5).
pub fn address<'a>(address: &'a str, hop: &Keywords) -> Result<Cow<'a, str>, Failure> {
    if address.is_ascii() || hop.smtputf8 {
        return Ok(Cow::Borrowed(address));
    }
    let ascii = address.rsplit_once('@').filter(|(local, _)| local.is_ascii());
    let ascii = ascii.and_then(|(local, domain)| Some(format!("{local}@{}", idna::domain_to_ascii(domain).ok()?)));
    ascii.map(Cow::Owned).ok_or_else(|| {
        Failure::local("5.6.7", "the next hop does not offer SMTPUTF8, and an address needs it", Reach::Recipient)
    })
}

/// An original recipient (ORCPT) as a hop takes it. One of UTF-8 is written in ASCII for who knows no other (RFC 6533
/// section 3: `utf-8-addr-xtext`).
pub fn original<'a>(value: &'a str, hop: &Keywords) -> Cow<'a, str> {
    if value.is_ascii() || hop.smtputf8 {
        return Cow::Borrowed(value);
    }
    let mut ascii = String::with_capacity(value.len());
    for c in value.chars() {
        match c.is_ascii() {
            true => ascii.push(c),
            false => ascii.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    Cow::Owned(ascii)
}
