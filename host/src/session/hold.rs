//! FUTURERELEASE where it takes a clock (RFC 4865): the latest date that is announced, and what HOLDUNTIL asks for.

use std::time::Duration;

use pillarbox_smtp::terms::{self, DeliverBy};
use pillarbox_smtp::{Parameter, Refusal, reply};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::session::Session;
use super::trace::now_ms;

impl Session {
    /// What EHLO announces, if a message can be held here.
    pub(super) fn future_release(&self) -> Option<String> {
        self.post.listener.esmtp.future_release.and_then(|most| keyword(most, OffsetDateTime::now_utc()))
    }

    /// Whether a moment until which the message is to be held is too late.
    pub(super) fn judge_hold(&self, parameters: &[Parameter]) -> Result<(), Refusal> {
        judge(parameters, self.post.listener.esmtp.future_release.unwrap_or(0), now_ms())
    }
}

/// RFC 4865 section 4: seconds, and a date. The fraction of a second that a session took is not held against it.
fn keyword(most: u32, now: OffsetDateTime) -> Option<String> {
    let latest = now.checked_add(time::Duration::seconds(most.into()))?.replace_nanosecond(0).ok()?;
    Some(format!("FUTURERELEASE {most} {}", latest.format(&Rfc3339).ok()?))
}

/// A moment that is past holds nothing, which is what was asked for.
fn judge(parameters: &[Parameter], most: u32, now: u64) -> Result<(), Refusal> {
    let value = |name| parameters.iter().find(|parameter| parameter.name == name).and_then(|it| it.value.as_deref());
    let Some(until) = value("HOLDUNTIL").and_then(terms::hold_until) else { return Ok(()) };
    let hold = Duration::from_millis(until.saturating_sub(now));
    if hold > Duration::from_secs(most.into()) {
        return Err(reply::hold_too_long());
    }
    let deadline = value("BY").and_then(DeliverBy::parse).map(|by| u64::try_from(by.seconds).unwrap_or(0));
    match deadline {
        Some(seconds) if !hold.is_zero() && Duration::from_secs(seconds) <= hold => Err(reply::hold_past_deadline()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// 2026-11-23T02:00:00Z
    const NOW: u64 = 1_795_399_200_000;

    #[test]
    fn the_latest_date_is_announced() {
        let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(NOW + 999) * 1_000_000).unwrap();
        assert_eq!(keyword(3600, now).as_deref(), Some("FUTURERELEASE 3600 2026-11-23T03:00:00Z"));
        assert_eq!(keyword(u32::MAX, now).as_deref(), Some("FUTURERELEASE 4294967295 2162-12-30T08:28:15Z"));
    }

    #[test]
    fn a_moment_may_be_as_late_as_was_announced_and_not_later() {
        for (until, by, code) in [
            ("2026-11-23T03:00:00Z", None, None),
            ("2026-11-23T03:00:00.001Z", None, Some(554)),
            ("2026-11-23T04:00:00+01:00", None, None),
            ("1999-01-01T00:00:00Z", None, None),
            ("1999-01-01T00:00:00Z", Some("1;R"), None),
            ("9999-12-31T23:59:59Z", None, Some(554)),
            ("2026-11-23T02:30:00Z", Some("1801;R"), None),
            ("2026-11-23T02:30:00Z", Some("1800;R"), Some(501)),
            ("2026-11-23T02:30:00Z", Some("-5;N"), Some(501)),
        ] {
            let parameter =
                |name: &str, value: &str| Parameter { name: name.to_owned(), value: Some(value.to_owned()) };
            let mut parameters = vec![parameter("HOLDUNTIL", until)];
            parameters.extend(by.map(|by| parameter("BY", by)));
            let judged = judge(&parameters, 3600, NOW);
            assert_eq!(judged.err().map(|refusal| refusal.reply().code()), code, "{until} {by:?}");
        }
    }
}
