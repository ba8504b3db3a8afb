//! Replies: what can be one, and how it goes over the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use pillarbox_smtp::reply::{self, Refusal, Reply, ReplyError};

#[test]
fn what_is_no_reply_is_refused() {
    let cases: [(u16, Option<&str>, &[&str], ReplyError); 16] = [
        (0, None, &["x"], ReplyError::Code),
        (199, None, &["x"], ReplyError::Code),
        (600, None, &["x"], ReplyError::Code),
        (65535, None, &["x"], ReplyError::Code),
        (250, Some("5.0.0"), &["x"], ReplyError::EnhancedClass),
        (354, Some("3.0.0"), &["x"], ReplyError::EnhancedClass),
        (250, Some("2.0"), &["x"], ReplyError::Enhanced),
        (250, Some("2.0.0.0"), &["x"], ReplyError::Enhanced),
        (250, Some("2..0"), &["x"], ReplyError::Enhanced),
        (250, Some("2.0.1000"), &["x"], ReplyError::Enhanced),
        (250, Some("2.07.1"), &["x"], ReplyError::Enhanced),
        (250, Some("2.0.0 "), &["x"], ReplyError::Enhanced),
        (250, None, &[], ReplyError::NoLine),
        (250, None, &["ok", "a\r\nb"], ReplyError::NotPrintable),
        (250, None, &["tab\t"], ReplyError::NotPrintable),
        (250, None, &["ä"], ReplyError::NotPrintable),
    ];
    for (code, enhanced, lines, error) in cases {
        assert_eq!(Reply::new(code, enhanced, lines.iter().copied()), Err(error), "{code} {enhanced:?} {lines:?}");
    }
}

#[test]
fn a_line_fits_in_512_octets() {
    for (enhanced, room) in [(None, 506), (Some("2.0.0"), 500), (Some("2.123.123"), 496)] {
        assert_eq!(Reply::new(250, enhanced, ["x".repeat(room + 1)]), Err(ReplyError::LineTooLong));
        let mut wire = Vec::new();
        Reply::new(250, enhanced, ["x".repeat(room)]).unwrap().encode(&mut wire);
        assert_eq!(wire.len(), 512);
    }
}

#[test]
fn every_line_carries_both_codes() {
    let reply = Reply::new(550, Some("5.7.1"), ["no", "", "never"]).unwrap();
    let mut wire = Vec::new();
    reply.encode(&mut wire);
    assert_eq!(wire, b"550-5.7.1 no\r\n550-5.7.1 \r\n550 5.7.1 never\r\n");
    assert_eq!(reply.to_string(), "550 5.7.1 no /  / never");
    let mut wire = Vec::new();
    Reply::new(250, None, ["one", "two"]).unwrap().encode(&mut wire);
    assert_eq!(wire, b"250-one\r\n250 two\r\n");
}

#[test]
fn a_refusal_is_never_a_success() {
    for code in [200, 220, 250, 354, 399] {
        assert_eq!(Refusal::new(code, None, ["x"]), Err(ReplyError::NotARefusal), "{code}");
    }
    for code in [400, 421, 450, 550, 599] {
        assert!(Refusal::new(code, None, ["x"]).is_ok(), "{code}");
    }
}

#[test]
fn only_421_closes_by_itself() {
    assert!(Refusal::new(421, None, ["x"]).unwrap().closes());
    assert!(!Refusal::new(554, None, ["x"]).unwrap().closes());
    assert!(Refusal::new(554, None, ["x"]).unwrap().closing().closes());
}

#[test]
fn the_sessions_sentences_have_the_codes_they_are_known_by() {
    let cases = [
        (reply::relaying_denied(), "550 5.7.1 relaying denied"),
        (reply::unknown_mailbox(), "550 5.1.1 "),
        (reply::no_domain(), "553 5.1.2 "),
        (reply::no_route(), "550 5.4.4 "),
        (reply::extension_failed(), "451 4.3.0 "),
        (reply::extension_failed_at_connect(), "421 4.3.0 "),
        (reply::reconfigured(), "421 4.3.2 "),
        (reply::shutting_down(), "421 4.3.2 "),
        (reply::too_many_connections(), "421 4.4.5 Service unavailable, concurrency limit reached"),
        (reply::spool_failed(), "451 4.3.0 "),
        (reply::spool_full(), "452 4.3.1 "),
        (reply::not_handed_over(), "451 4.3.0 "),
        (reply::too_large_to_hand_over(), "552 5.3.4 "),
        (reply::policy_tempfail(), "451 4.7.1 "),
        (reply::policy_tempfail_at_connect(), "421 4.7.0 "),
        (reply::policy_reject(), "550 5.7.1 "),
        (reply::policy_reject_at_connect(), "554 5.7.1 "),
        (reply::policy_disconnect(), "421 4.7.0 "),
        (reply::locked(), "503 5.7.0 "),
        (reply::tls_unavailable(), "454 4.7.0 "),
        (reply::authentication_failed(), "535 5.7.8 "),
        (reply::authentication_unavailable(), "454 4.7.0 "),
        (reply::too_many_failures(), "454 4.7.0 too many failed logins, try again later"),
        (reply::authentication_malformed(), "501 5.5.2 "),
        (reply::encryption_needed(), "538 5.7.11 "),
    ];
    for (refusal, expected) in cases {
        assert!(refusal.to_string().starts_with(expected), "{refusal}");
        let lines: Vec<&str> = refusal.reply().lines().collect();
        assert_eq!(Reply::new(refusal.reply().code(), refusal.reply().enhanced(), lines).as_ref(), Ok(refusal.reply()));
    }
}
