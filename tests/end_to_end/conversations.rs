//! The files of `tests/conversations`, played against the binary: the ones for the machine, and the ones for extensions.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Conversation, Failure, Pace, Server, Site, guest, repository};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn core_conversations_go_as_written() {
    play_core(Pace::AsWritten, |_| true);
}

#[test]
fn core_conversations_go_the_same_octet_by_octet() {
    // What these are about is one segment: octet by octet, the rest would come when it was its turn.
    play_core(Pace::Octets, |conversation| {
        !conversation.name().starts_with("starttls-injection-") && conversation.setting("refuse").is_none()
    });
}

#[test]
fn core_conversations_go_the_same_in_one_segment() {
    // Where nothing may wait behind some commands, it does now.
    play_core(Pace::AtOnce, |conversation| conversation.setting("refuse").is_none());
}

#[test]
fn extension_conversations_go_as_written() {
    play_extensions(Pace::AsWritten);
}

#[test]
fn extension_conversations_go_the_same_octet_by_octet() {
    play_extensions(Pace::Octets);
}

#[test]
fn extension_conversations_go_the_same_in_one_segment() {
    play_extensions(Pace::AtOnce);
}

fn play_extensions(pace: Pace) {
    // Named by the configurations; missing, they are better told of here.
    for name in ["example-policy", "example-policy-v2"] {
        guest(name);
    }
    let directory = repository().join("tests/conversations/extensions");
    let all = Conversation::all(&directory);
    let config = |conversation: &Conversation| {
        let named = conversation.setting("config").map(str::to_owned);
        named.unwrap_or_else(|| panic!("{} has no `@ config`", conversation.path.display()))
    };
    play(all, pace, config, |name| {
        let file = directory.join(format!("{name}.toml"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        site_with_certificate(&text)
    });
}

/// What was built for a released version of the interfaces goes on as it went then (docs/versioning.md).
#[test]
fn released_components_go_as_they_went() {
    let releases = fs::read_dir(repository().join("tests/released")).unwrap();
    let releases: Vec<_> = releases.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!releases.is_empty());
    for directory in releases {
        let version = directory.file_name().unwrap().to_string_lossy().into_owned();
        let config = |conversation: &Conversation| conversation.setting("config").unwrap().to_owned();
        play(Conversation::all(&directory), Pace::AsWritten, config, |name| {
            let text = fs::read_to_string(directory.join(format!("{name}.toml"))).unwrap();
            // With a component of today it would prove nothing.
            let components = text.lines().filter(|line| line.starts_with("component = "));
            let released = format!("component = \"../../../tests/released/{version}/");
            assert!(
                components.clone().count() > 0 && components.clone().all(|line| line.starts_with(&released)),
                "{name}"
            );
            site_with_certificate(&text)
        });
    }
}

fn play_core(pace: Pace, takes_part: impl Fn(&Conversation) -> bool) {
    let mut all = Conversation::all(&repository().join("tests/conversations/core"));
    all.retain(takes_part);
    play(
        all,
        pace,
        |conversation| core_listener(&conversation.setup),
        |listener| site_with_certificate(&configs::discard(listener)),
    );
}

/// The listener a core conversation asks for: it relays for loopback, so that all recipients are taken.
fn core_listener(setup: &[(String, String)]) -> String {
    let mut listener = "relay.hosts = [\"127.0.0.0/8\"]\n".to_owned();
    for (key, value) in setup {
        let words: Vec<&str> = value.split(' ').collect();
        let line = match (key.as_str(), words.as_slice()) {
            ("limit", [name, value]) => format!("limits.{name} = {value}\n"),
            ("keyword", [name, "off"]) => format!("esmtp.{name} = false\n"),
            ("keyword", [name, "on"]) => format!("esmtp.{name} = true\n"),
            ("keyword", ["deliverby", least]) => {
                format!("esmtp.deliverby = true\nesmtp.deliverby-minimum = \"{least}s\"\n")
            }
            ("keyword", ["futurerelease", most]) => {
                format!("esmtp.futurerelease = true\nesmtp.futurerelease-maximum = \"{most}s\"\n")
            }
            ("protocol", ["lmtp"]) => "protocol = \"lmtp\"\n".to_owned(),
            ("stray-newlines", ["normalize"]) => "stray-newlines = \"normalize\"\n".to_owned(),
            ("refuse", ["unauthorized-pipelining"]) => "limits.unauthorized-pipelining = \"refuse\"\n".to_owned(),
            ("tls", ["offered"]) => configs::tls("starttls"),
            ("tls", ["required"]) => configs::tls("required"),
            ("tls", ["off"]) => String::new(),
            (key, _) => panic!("nothing is known of `@ {key} {value}`"),
        };
        listener.push_str(&line);
    }
    listener
}

/// With the user that conversations log in as, where there are users.
fn site_with_certificate(config: &str) -> Site {
    let site = Site::new(config);
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    if config.contains("auth.users = \"users\"") {
        site.user("alice", "secret");
    }
    site
}

/// Plays all of them, with one server for all that ask for the same, and fails with everything that did not go as written.
fn play(
    conversations: Vec<Conversation>,
    pace: Pace,
    key: impl Fn(&Conversation) -> String,
    site: impl Fn(&str) -> Site + Sync,
) {
    let count = conversations.len();
    let mut groups: BTreeMap<String, Vec<Conversation>> = BTreeMap::new();
    for conversation in conversations {
        groups.entry(key(&conversation)).or_default().push(conversation);
    }
    let failures: Vec<Failure> = std::thread::scope(|scope| {
        let groups: Vec<_> = groups
            .iter()
            .map(|(key, conversations)| {
                let site = &site;
                scope.spawn(move || {
                    let server = site(key).start();
                    play_group(&server, conversations, pace)
                })
            })
            .collect();
        groups.into_iter().flat_map(|group| group.join().expect("a server starts")).collect()
    });
    let text: String = failures.iter().map(|failure| format!("\n{failure}")).collect();
    assert!(failures.is_empty(), "{} of {count} conversations went otherwise\n{text}", failures.len());
}

fn play_group(server: &Server, conversations: &[Conversation], pace: Pace) -> Vec<Failure> {
    // Every listener of these files stands alone in its file.
    let address = server.log().wait_for("a listener", |event| event.is("listening")).field("address").parse();
    let address = address.expect("an address");
    conversations.iter().filter_map(|conversation| conversation.play(address, pace).err()).collect()
}

/// A conversation that nobody plays proves nothing.
#[test]
fn every_conversation_lies_where_it_is_played() {
    let mut directories = vec![repository().join("tests/conversations")];
    let played = ["core", "extensions"].map(|name| repository().join("tests/conversations").join(name));
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "smtp") {
                assert!(played.iter().any(|played| path.parent() == Some(Path::new(played))), "{}", path.display());
            }
        }
    }
}
