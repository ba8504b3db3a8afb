//! An address that is taken is inside the limits of RFC 5321 section 4.5.3.1, and its canonical form says the same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use pillarbox_smtp::{Address, Domain, Mailbox, Sender};

fuzz_target!(|text: &str| {
    if let Some(mailbox) = read::<Mailbox>(text) {
        assert!(mailbox.local().len() <= 64 && mailbox.domain().to_string().len() <= 255, "{mailbox:?}");
        assert!(mailbox.to_string().len() <= 254, "{mailbox:?}");
        assert!(!mailbox.to_string().bytes().any(|octet| octet.is_ascii_control()), "{mailbox:?}");
        // It stands between angle brackets and before parameters: nothing outside quotes may end it.
        assert_eq!(read::<Address>(text).map(|address| address.to_string()), Some(mailbox.to_string()));
        assert_eq!(read::<Sender>(text).map(|sender| sender.to_string()), Some(mailbox.to_string()));
    }
    read::<Address>(text);
    read::<Sender>(text);
    read::<Domain>(text);
});

fn read<T: FromStr + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let canonical = value.to_string();
    assert!(canonical.len() <= text.len().max(255), "{text:?} has become {canonical:?}");
    let again = canonical.parse::<T>();
    assert_eq!(again.as_ref().ok(), Some(&value), "{text:?} is shown as {canonical:?}");
    Some(value)
}
