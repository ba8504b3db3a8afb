//! What a sender asked of the queue with MAIL: not before, not after, with what priority, and only where TLS is verified.
//!
//! The room does not know which of it was offered; what is in the envelope was taken.

use pillarbox_smtp::terms::{self, DeliverBy};

use crate::spool::Envelope;

/// What is asked of the queue for one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// FUTURERELEASE (RFC 4865): nothing is tried before, in milliseconds since 1970.
    pub(super) not_before: Option<u64>,
    /// DELIVERBY (RFC 2852): what happens if it is not delivered by a time.
    pub(super) deadline: Option<Deadline>,
    /// MT-PRIORITY (RFC 6710): -9 to 9.
    pub(super) priority: i8,
    /// REQUIRETLS (RFC 8689).
    pub(super) require_tls: bool,
}

/// A time by which a message is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
    /// Whether it is returned then (`R`); else its sender is told of the delay (`N`), and it goes on.
    pub(super) returns: bool,
}

impl Terms {
    /// What the envelope says. A value that nobody could have been granted asks for nothing.
    pub(super) fn of(envelope: &Envelope) -> Terms {
        let mut terms = Terms::default();
        for (name, value) in &envelope.parameters {
            let value = value.as_deref();
            match name.as_str() {
                // RFC 4865 section 4 and RFC 2852 section 4 count from when the message came.
                "HOLDFOR" => {
                    terms.not_before = value.and_then(terms::hold_for).map(|s| after(envelope.received, s.into()))
                }
                "HOLDUNTIL" => terms.not_before = value.and_then(terms::hold_until),
                "BY" => {
                    terms.deadline = value
                        .and_then(DeliverBy::parse)
                        .map(|by| Deadline { at: after(envelope.received, by.seconds), returns: by.returns });
                }
                "MT-PRIORITY" => terms.priority = value.and_then(terms::priority).unwrap_or(0),
                "REQUIRETLS" => terms.require_tls = true,
                _ => {}
            }
        }
        terms
    }
}

/// So many seconds after a time in milliseconds; before it, if they are negative.
fn after(time: u64, seconds: i64) -> u64 {
    time.saturating_add_signed(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::spool::sample;

    const RECEIVED: u64 = 1_795_399_200_000;

    fn of(parameters: &[(&str, Option<&str>)]) -> Terms {
        let parameters = sample::parameters(parameters);
        Terms::of(&Envelope { received: RECEIVED, parameters, ..sample::envelope("0A1B2C3D4E5-1", &[]) })
    }

    #[test]
    fn what_was_asked_is_read() {
        let none = Terms::default();
        let hold = |at| Terms { not_before: Some(at), ..none };
        let by = |at, returns| Terms { deadline: Some(Deadline { at, returns }), ..none };
        for (name, value, expected) in [
            ("SIZE", Some("1000"), none),
            ("HOLDFOR", Some("60"), hold(RECEIVED + 60_000)),
            ("HOLDFOR", Some("999999999"), hold(RECEIVED + 999_999_999_000)),
            ("HOLDUNTIL", Some("2026-11-23T02:01:00Z"), hold(RECEIVED + 60_000)),
            ("BY", Some("60;R"), by(RECEIVED + 60_000, true)),
            ("BY", Some("+60;NT"), by(RECEIVED + 60_000, false)),
            ("BY", Some("-60;n"), by(RECEIVED - 60_000, false)),
            ("MT-PRIORITY", Some("9"), Terms { priority: 9, ..none }),
            ("MT-PRIORITY", Some("-9"), Terms { priority: -9, ..none }),
            ("REQUIRETLS", None, Terms { require_tls: true, ..none }),
        ] {
            assert_eq!(of(&[(name, value)]), expected, "{name}={value:?}");
        }
    }

    #[test]
    fn what_nobody_was_granted_asks_for_nothing() {
        for (name, value) in [
            ("HOLDFOR", None),
            ("HOLDFOR", Some("99999999999999999999")),
            ("HOLDFOR", Some("-1")),
            ("HOLDUNTIL", Some("9999999999-01-01T00:00:00Z")),
            ("HOLDUNTIL", Some("T")),
            ("BY", Some(";")),
            ("BY", Some("-9223372036854775808;R")),
            ("BY", Some("\u{fc};R")),
            ("MT-PRIORITY", Some("127")),
            ("MT-PRIORITY", Some("-128")),
            ("MT-PRIORITY", None),
        ] {
            assert_eq!(of(&[(name, value)]), Terms::default(), "{name}={value:?}");
        }
    }

    #[test]
    fn several_are_read_together() {
        let asked =
            of(&[("HOLDFOR", Some("1")), ("BY", Some("2;N")), ("MT-PRIORITY", Some("3")), ("REQUIRETLS", None)]);
        let deadline = Some(Deadline { at: RECEIVED + 2000, returns: false });
        let expected = Terms { not_before: Some(RECEIVED + 1000), deadline, priority: 3, require_tls: true };
        assert_eq!(asked, expected);
    }
}
