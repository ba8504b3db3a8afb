//! Commands as octets: what stands in an envelope, so that it ends no line and begins no other.

use std::borrow::Cow;

use pillarbox_smtp::terms::DeliverBy;

use super::convert;
use super::fault::Fault;
use super::keywords::Keywords;
use crate::spool::{Envelope, Recipient};

/// MAIL, with what the message's sender asked for as far as the server knows it, and `more`. `size` is the message's in
/// octets, where that is known.
pub(super) fn mail(
    envelope: &Envelope,
    size: Option<u64>,
    now: u64,
    hop: &Keywords,
    more: &[String],
) -> Result<String, Fault> {
    let mut line = format!("MAIL FROM:<{}>", address(&envelope.sender, hop, "5.1.7")?);
    if let (Some(_), Some(size)) = (hop.size, size) {
        push(&mut line, "SIZE", Some(&size.to_string()));
    }
    for word in more {
        let (name, value) = word.split_once('=').map_or((&**word, None), |(name, value)| (name, Some(value)));
        push(&mut line, name, value);
    }
    for (name, value) in &envelope.parameters {
        let name = name.to_ascii_uppercase();
        let passed = match &*name {
            "RET" | "ENVID" => hop.dsn,
            "MT-PRIORITY" => hop.mt_priority,
            "REQUIRETLS" => hop.require_tls,
            _ => false,
        };
        if passed {
            push(&mut line, &name, value.as_deref());
        }
    }
    if let Some(least) = hop.deliver_by
        && let Some(by) = deliver_by(envelope)
    {
        let left = seconds_left(by, envelope.received, now);
        // RFC 2852 section 4: a time in which the message is returned is above nought, and above what the server takes.
        if by.returns && left < i64::try_from(least).unwrap_or(i64::MAX).max(1) {
            return Err(Fault::lasting("5.4.7", "the time to deliver it by is nearer than the next hop takes"));
        }
        push(&mut line, "BY", Some(&by_value(by, left)));
    }
    line.push_str("\r\n");
    Ok(line)
}

/// RCPT, with what the sender asked to be told if the server knows how.
pub(super) fn rcpt(recipient: &Recipient, hop: &Keywords) -> Result<String, Fault> {
    let mut line = format!("RCPT TO:<{}>", address(&recipient.address, hop, "5.1.3")?);
    for (name, value) in &recipient.parameters {
        match (&*name.to_ascii_uppercase(), value) {
            _ if !hop.dsn => {}
            ("NOTIFY", value) => push(&mut line, "NOTIFY", value.as_deref()),
            ("ORCPT", Some(value)) => push(&mut line, "ORCPT", Some(&convert::original(value, hop))),
            _ => {}
        }
    }
    line.push_str("\r\n");
    Ok(line)
}

/// Text as it may stand in a parameter's value (RFC 3461 section 4).
pub(super) fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if !matches!(octet, b'+' | b'=') => encoded.push(char::from(octet)),
            octet => encoded.push_str(&format!("+{octet:02X}")),
        }
    }
    encoded
}

/// An address as the server takes it, that ends no line. What has control characters was never one: nothing of it is sent.
fn address<'a>(text: &'a str, hop: &Keywords, bad: &str) -> Result<Cow<'a, str>, Fault> {
    if text.chars().any(char::is_control) {
        return Err(Fault::lasting(bad, "an address has control characters in it"));
    }
    convert::address(text, hop).map_err(Fault::refused)
}

/// A word with a blank or a control character in it would be two: it is left out.
fn push(line: &mut String, name: &str, value: Option<&str>) {
    let sound = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if !sound(name) || !value.is_none_or(sound) {
        return;
    }
    line.push(' ');
    line.push_str(name);
    if let Some(value) = value {
        line.push('=');
        line.push_str(value);
    }
}

/// The time its sender set (RFC 2852).
pub(super) fn deliver_by(envelope: &Envelope) -> Option<DeliverBy> {
    envelope.parameter("BY").flatten().and_then(DeliverBy::parse)
}

/// Seconds left at `now`; both times in milliseconds since 1970.
fn seconds_left(by: DeliverBy, received: u64, now: u64) -> i64 {
    let gone = i64::try_from(now.saturating_sub(received) / 1000).unwrap_or(i64::MAX);
    // RFC 2852: at most nine digits.
    by.seconds.saturating_sub(gone).clamp(-999_999_999, 999_999_999)
}

fn by_value(by: DeliverBy, left: i64) -> String {
    format!("{left};{}{}", if by.returns { "R" } else { "N" }, if by.traced { "T" } else { "" })
}
