//! An address that is taken is inside the limits of RFC 5321 section 4.5.3.1, its canonical form says the same, and whether
//! UTF-8 may be in it makes no difference to what is ASCII. In a path nothing in front of the mailbox changes which it is.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::support::{Session, accept};
use pillarbox_smtp::{Address, Domain, Mailbox, Sender, Settings};

fuzz_target!(|text: &str| {
    if let Some(mailbox) = read::<Mailbox>(text) {
        check(&mailbox);
        // It stands between angle brackets and before parameters: nothing outside quotes may end it.
        assert_eq!(read::<Address>(text).map(|address| address.to_string()), Some(mailbox.to_string()));
        assert_eq!(read::<Sender>(text).map(|sender| sender.to_string()), Some(mailbox.to_string()));
    }
    read::<Address>(text);
    read::<Sender>(text);
    read::<Domain>(text);
    if let Ok(mailbox) = Mailbox::parse_utf8(text) {
        check(&mailbox);
        assert_eq!(Mailbox::parse_utf8(&mailbox.to_string()), Ok(mailbox), "{text:?}");
    }
    if let Ok(domain) = Domain::parse_utf8(text) {
        assert_eq!(Domain::parse_utf8(&domain.to_string()), Ok(domain), "{text:?}");
    }
    if text.is_ascii() {
        assert_eq!(Mailbox::parse_utf8(text), text.parse());
        assert_eq!(Domain::parse_utf8(text), text.parse());
    }
    // What ends a path or a line is for the targets that play sessions.
    if !text.contains(['>', '\r', '\n']) {
        path(text);
    }
});

fn check(mailbox: &Mailbox) {
    assert!(mailbox.local().len() <= 64 && mailbox.domain().to_string().len() <= 255, "{mailbox:?}");
    assert!(mailbox.to_string().len() <= 254, "{mailbox:?}");
    assert!(!mailbox.to_string().contains(char::is_control), "{mailbox:?}");
    assert!(mailbox.to_string().ends_with(&format!("@{}", mailbox.domain())), "{mailbox:?}");
}

/// Says it as RCPT's path: who is taken is who stands at its end.
fn path(text: &str) {
    let mut session = Session::new(Settings::new("mx.example.test"), &mut accept);
    let said = format!("HELO there\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<{text}>\r\n");
    session.send(said.as_bytes(), &mut accept);
    let recipients = session.server.envelope().map(|envelope| envelope.recipients.clone()).unwrap_or_default();
    let Some(recipient) = recipients.first() else { return };
    assert!(text.len() <= 254, "{text:?}");
    let behind_route =
        if text.starts_with('@') { text.split_once(':').map_or("", |(_, mailbox)| mailbox) } else { text };
    match &recipient.address {
        Address::Mailbox(mailbox) => assert_eq!(Mailbox::parse_utf8(behind_route).as_ref(), Ok(mailbox), "{text:?}"),
        Address::Postmaster => assert!(text.eq_ignore_ascii_case("postmaster"), "{text:?}"),
    }
}

fn read<T: FromStr + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let canonical = value.to_string();
    assert!(canonical.len() <= text.len().max(255), "{text:?} has become {canonical:?}");
    let again = canonical.parse::<T>();
    assert_eq!(again.as_ref().ok(), Some(&value), "{text:?} is shown as {canonical:?}");
    Some(value)
}
