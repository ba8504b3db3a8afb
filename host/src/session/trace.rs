//! Ids, dates, and the Received field that heads every message (RFC 5321 4.4).

use super::facts::{Facts, HostName};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The microsecond the session began, moved on where two begin in one, in Crockford's base 32. Ids sort by time, and no two
/// sessions have one unless the clock goes back over a restart; the spool refuses an id that is in use.
pub fn session_id() -> Arc<str> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX);
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last.saturating_add(1))));
    let mut rest = last.map_or(now, |last| now.max(last.saturating_add(1)));
    let mut digits = [b'0'; 11];
    for digit in digits.iter_mut().rev() {
        let value = usize::try_from(rest % 32).unwrap_or_default();
        *digit = BASE32.get(value).copied().unwrap_or(b'0');
        rest /= 32;
    }
    String::from_utf8_lossy(&digits).into()
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// The field, with its line end.
///
/// `sole_recipient` is named only when there is no other: a list would tell each about the rest (RFC 5321 7.2).
pub fn received(facts: &Facts, hostname: &str, id: &str, sole_recipient: Option<&str>) -> String {
    let mut field = String::with_capacity(256);
    let helo = facts.client.helo.as_deref().map_or_else(|| "unknown".to_owned(), harmless);
    let name = match &facts.client.name {
        HostName::Known(name) => harmless(name),
        HostName::Unavailable | HostName::TemporarilyUnavailable => "unknown".to_owned(),
    };
    let address = match facts.client.endpoint.address {
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        None => "[unknown]".to_owned(),
    };
    let _ = write!(field, "Received: from {helo} ({name} {address})\r\n");
    if let Some(tls) = &facts.tls {
        let _ = write!(field, "\t(using {} with cipher {})\r\n", tls.version, tls.cipher);
    }
    let _ = write!(field, "\tby {hostname} with {} id {id}", with_type(facts));
    if let Some(recipient) = sole_recipient {
        let _ = write!(field, "\r\n\tfor <{recipient}>");
    }
    let date = OffsetDateTime::now_utc().format(&Rfc2822).unwrap_or_default();
    let _ = write!(field, ";\r\n\t{date}\r\n");
    field
}

/// The protocol by its registered name (RFC 3848, RFC 6531 section 4.3).
pub fn with_type(facts: &Facts) -> String {
    let utf8 = facts.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8);
    let mut name = String::from(match (facts.lmtp, utf8, facts.client.esmtp) {
        (true, true, _) => "UTF8LMTP",
        (true, false, _) => "LMTP",
        (false, true, _) => "UTF8SMTP",
        (false, false, true) => "ESMTP",
        (false, false, false) => return "SMTP".to_owned(),
    });
    name.push_str(if facts.tls.is_some() { "S" } else { "" });
    name.push_str(if facts.authenticated() { "A" } else { "" });
    name
}

const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A peer's name as it may stand in a header field: nothing that could end a comment or begin another clause.
fn harmless(name: &str) -> String {
    let keeps = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    name.chars().map(|c| if keeps(c) { c } else { '?' }).collect()
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_sort() {
        let ids: Vec<_> = (0..1000).map(|_| session_id()).collect();
        assert!(ids.windows(2).all(|pair| pair.first() < pair.last()));
        assert!(ids.iter().all(|id| id.len() == 11));
    }

    #[test]
    fn nothing_a_peer_says_ends_the_comment() {
        assert_eq!(harmless("a) by evil (b\r\nX: 1"), "a??by?evil??b??X:?1");
    }
}
