//! From an address to the path of its mailbox, without a way out.
//!
//! A peer chooses the local part, and often the domain. What it wrote becomes part of one component of the path and can be
//! nothing else: it is lower-cased, and every octet outside `a-z 0-9 . _ + = @ -` becomes `%` and two hexadecimal digits,
//! as does a dot at the front; nothing at all becomes `%`. So there is no separator, no NUL, no `.` and no `..`, no hidden
//! name and no Maildir++ folder, and two addresses that differ in more than case have two names.
//!
//! A component that an address made longer than 200 octets is cut, and ends in `%.` and its SHA-256: no other name has a
//! `%` before a dot.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// The mailbox of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The Maildir.
    pub(super) path: PathBuf,
    /// The directory above what an address chose, or above the mailbox if an address chose nothing.
    pub(super) root: PathBuf,
    /// The template it was made from.
    pub(super) template: String,
}

impl Mailbox {
    /// The mailbox an absolute template with `{local}` and `{domain}` names for this address.
    pub(super) fn new(template: &str, local: &str, domain: &str) -> Mailbox {
        let (local, domain) = (encode(local), encode(domain));
        let mut path = PathBuf::from("/");
        let mut root = None;
        for component in template.split('/').filter(|component| !component.is_empty()) {
            // Braces are encoded, so an address brings no placeholder along.
            let filled = component.replace("{local}", &local).replace("{domain}", &domain);
            if filled == component {
                path.push(component);
            } else {
                root.get_or_insert_with(|| path.clone());
                path.push(shorten(filled));
            }
        }
        let root = root.unwrap_or_else(|| path.parent().unwrap_or(&path).to_owned());
        Mailbox { path, root, template: template.to_owned() }
    }
}

fn encode(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut name = String::with_capacity(text.len());
    for (at, octet) in text.bytes().enumerate() {
        match octet.to_ascii_lowercase() {
            b'.' if at == 0 => name.push_str("%2e"),
            octet @ (b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'+' | b'=' | b'@' | b'-') => {
                name.push(char::from(octet))
            }
            octet => name.push_str(&format!("%{octet:02x}")),
        }
    }
    name
}

fn shorten(component: String) -> String {
    if component.len() <= COMPONENT_MAX {
        return component;
    }
    let digest: String = Sha256::digest(&component).iter().map(|octet| format!("{octet:02x}")).collect();
    let kept = component.floor_char_boundary(COMPONENT_MAX - 2 - digest.len());
    let kept = component.get(..kept).unwrap_or_default();
    format!("{kept}%.{digest}")
}

/// Below the 255 octets of a file name, so that nothing that is done with it needs more.
const COMPONENT_MAX: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use std::collections::HashMap;
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn addresses_become_names() {
        let long = "x".repeat(300);
        for (address, name) in [
            ("bob", "bob"),
            ("Bob", "bob"),
            ("bob+list@x=y_z-1", "bob+list@x=y_z-1"),
            ("", "%"),
            (".", "%2e"),
            ("..", "%2e."),
            ("...", "%2e.."),
            (".hidden", "%2ehidden"),
            ("a..b", "a..b"),
            ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"),
            ("/etc/passwd", "%2fetc%2fpasswd"),
            ("a\0b", "a%00b"),
            ("100%", "100%25"),
            ("%2e", "%252e"),
            ("{domain}", "%7bdomain%7d"),
            ("a b\\\"c", "a%20b%5c%22c"),
            ("jörg", "j%c3%b6rg"),
            ("[ipv6:::1]", "%5bipv6%3a%3a%3a1%5d"),
            ("$(rm -rf)`x`;|&", "%24%28rm%20-rf%29%60x%60%3b%7c%26"),
            ("line\r\nfeed", "line%0d%0afeed"),
        ] {
            assert_eq!(encode(address), name, "{address:?}");
        }
        let name = shorten(encode(&long));
        assert_eq!(name.len(), COMPONENT_MAX);
        assert!(name.starts_with("xxx") && name.contains("x%."), "{name}");
        assert_ne!(name, shorten(encode(&format!("{long}x"))));
        assert_eq!(shorten("x".repeat(200)), "x".repeat(200));
        assert!(shorten("ö".repeat(150)).len() <= COMPONENT_MAX);
    }

    /// Every text of up to three of the awkward characters, and longer ones of each.
    fn awkward() -> Vec<String> {
        let alphabet = ['a', 'B', '.', '/', '%', '\0', '2', 'e', '{', '}', 'é', '~', '\n'];
        let mut texts = vec![String::new()];
        let mut last = 0;
        for _ in 0..3 {
            let from = std::mem::replace(&mut last, texts.len());
            for at in from..last {
                texts.extend(alphabet.map(|c| format!("{}{c}", texts[at])));
            }
        }
        texts.extend(alphabet.iter().flat_map(|c| [70, 150, 250].map(|count| c.to_string().repeat(count))));
        texts
    }

    #[test]
    fn no_two_addresses_share_a_name_and_no_name_is_more_than_one_component() {
        let mut names = HashMap::new();
        for text in awkward() {
            let name = shorten(encode(&text));
            let components: Vec<_> = Path::new(&name).components().collect();
            assert!(
                matches!(components.as_slice(), [Component::Normal(only)] if only.to_str() == Some(&name)),
                "{text:?}: {name:?}"
            );
            assert!(!name.starts_with('.') && !name.contains(['/', '\0']) && name.len() <= COMPONENT_MAX, "{name:?}");
            let lower = text.to_ascii_lowercase();
            let other = names.insert(name.clone(), lower.clone());
            assert!(other.as_ref().is_none_or(|other| *other == lower), "{other:?} and {lower:?} are both {name:?}");
        }
    }

    #[test]
    fn no_address_leads_out_of_its_template() {
        let texts = awkward();
        for (local, domain) in texts.iter().zip(texts.iter().rev()) {
            for template in
                ["/var/mail/{domain}/{local}", "/var/mail/{local}@{domain}", "/var/mail/x.{local}/{domain}/Maildir"]
            {
                let mailbox = Mailbox::new(template, local, domain);
                assert_eq!(mailbox.root, Path::new("/var/mail"));
                let below = mailbox.path.strip_prefix(&mailbox.root).unwrap();
                assert!(below.components().all(|component| matches!(component, Component::Normal(_))), "{mailbox:?}");
                assert_eq!(mailbox.path.components().count(), Path::new(template).components().count(), "{mailbox:?}");
                assert!(below.iter().all(|component| component.len() <= COMPONENT_MAX));
            }
        }
    }

    #[test]
    fn templates_are_filled_in() {
        let mailbox = Mailbox::new("/srv//mail/./{domain}/users/{local}", "Bob", "Example.ORG");
        assert_eq!(mailbox.path, Path::new("/srv/mail/./example.org/users/bob"));
        assert_eq!(mailbox.root, Path::new("/srv/mail"));
        let fixed = Mailbox::new("/srv/mail/all", "bob", "example.org");
        assert_eq!((fixed.path.as_path(), fixed.root.as_path()), (Path::new("/srv/mail/all"), Path::new("/srv/mail")));
        let taken = Mailbox::new("/m/{local}", "{domain}", "example.org");
        assert_eq!(taken.path, Path::new("/m/%7bdomain%7d"));
    }
}
