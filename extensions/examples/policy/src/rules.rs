//! What the settings say, ready to be asked. Nothing here calls the host.

use std::net::IpAddr;

use pillarbox_sdk::address;

#[derive(Debug)]
pub struct Rules {
    pub clients: Vec<IpAddr>,
    pub names: Vec<String>,
    pub senders: Addresses,
    pub recipients: Addresses,
    /// Octets of a message.
    pub largest: Option<u64>,
    /// No message with this text in its body is taken.
    pub marker: Option<String>,
}

impl Rules {
    /// The error is for the operator.
    pub fn new(
        clients: &[String],
        names: Vec<String>,
        senders: Vec<String>,
        recipients: Vec<String>,
        largest: Option<u64>,
        marker: Option<String>,
    ) -> Result<Self, String> {
        let clients = clients
            .iter()
            .map(|text| address::parse(text).ok_or_else(|| format!("`clients`: \"{text}\" is not an address")))
            .collect::<Result<_, _>>()?;
        // The host looks for 1 to 256 octets.
        if marker.as_ref().is_some_and(|marker| !(1..=256).contains(&marker.len())) {
            return Err("`marker` must have 1 to 256 octets".to_owned());
        }
        Ok(Self {
            clients,
            names,
            senders: Addresses::new("senders", senders)?,
            recipients: Addresses::new("recipients", recipients)?,
            largest,
            marker,
        })
    }

    pub fn refuses_client(&self, address: &str) -> bool {
        address::parse(address).is_some_and(|address| self.clients.contains(&address))
    }

    pub fn refuses_name(&self, name: &str) -> bool {
        self.names.iter().any(|refused| refused.eq_ignore_ascii_case(name))
    }

    pub fn is_too_large(&self, size: u64) -> bool {
        self.largest.is_some_and(|largest| size > largest)
    }
}

/// A list of addresses, of whole domains ("@example.org"), and of the null sender ("<>").
#[derive(Debug)]
pub struct Addresses(Vec<String>);

impl Addresses {
    fn new(setting: &str, entries: Vec<String>) -> Result<Self, String> {
        let is_entry =
            |entry: &str| entry == "<>" || entry.rsplit_once('@').is_some_and(|(_, domain)| !domain.is_empty());
        match entries.iter().find(|entry| !is_entry(entry)) {
            Some(wrong) => Err(format!("`{setting}`: \"{wrong}\" is neither an address nor @domain")),
            None => Ok(Self(entries)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without case in both parts: one who is refused must not be let in for shouting.
    pub fn contain(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        self.0.iter().any(|entry| match entry.strip_prefix('@') {
            Some(refused) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(refused)),
            None if entry == "<>" => address.is_empty(),
            None => entry.eq_ignore_ascii_case(address),
        })
    }
}

/// A header value as a context value: unfolded, without control characters, not long.
pub fn one_line(value: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(value);
    let words: Vec<&str> =
        text.split(|letter: char| letter.is_control() || letter == ' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn addresses(entries: &[&str]) -> Result<Addresses, String> {
        Addresses::new("senders", entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    #[test]
    fn addresses_match_without_case() {
        let list = addresses(&["spam@example.net", "@bad.example", "<>"]).unwrap();
        for (address, contained) in [
            ("spam@example.net", true),
            ("SPAM@Example.NET", true),
            ("anyone@BAD.example", true),
            ("\"a@b\"@bad.example", true),
            ("", true),
            ("ham@example.net", false),
            ("anyone@sub.bad.example", false),
            ("anyone@notbad.example", false),
            ("postmaster", false),
        ] {
            assert_eq!(list.contain(address), contained, "{address}");
        }
        assert!(!addresses(&["spam@example.net"]).unwrap().contain(""));
    }

    #[test]
    fn senseless_settings_are_refused() {
        for entry in ["", "spam", "@", "spam@"] {
            assert_eq!(
                addresses(&["ok@example.org", entry]).unwrap_err(),
                format!("`senders`: \"{entry}\" is neither an address nor @domain")
            );
        }
        let rules =
            |clients: &[String], marker: &str| Rules::new(clients, vec![], vec![], vec![], None, Some(marker.into()));
        assert!(rules(&["192.0.2.1".into()], "X").is_ok());
        assert_eq!(rules(&["192.0.2.0/24".into()], "X").unwrap_err(), "`clients`: \"192.0.2.0/24\" is not an address");
        assert_eq!(rules(&[], "").unwrap_err(), "`marker` must have 1 to 256 octets");
        assert_eq!(rules(&[], &"x".repeat(257)).unwrap_err(), "`marker` must have 1 to 256 octets");
    }

    #[test]
    fn a_subject_becomes_one_line() {
        assert_eq!(one_line(b" Hello,\r\n\tworld \x07!"), "Hello, world !");
        assert_eq!(one_line(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(one_line(&[b'x'; 300]).len(), 200);
        assert_eq!(one_line(b" "), "");
    }
}
