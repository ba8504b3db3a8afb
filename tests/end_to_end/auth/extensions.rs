//! Logins that extensions have a say in: by address, by whatever password, by tokens, and never.

use super::{CLEAR, FORMS, NAME, PASSWORD, hello, login_of, offered, relays};
use crate::configs;
use pillarbox_tests::{Server, Site, auth, guest};

/// A server with the user of a file and `always-allow` with these settings; the verbs that change the client are there.
fn start(listener: &str, settings: &str, grants: &str) -> Server {
    let verbs = configs::extensions(&["xclient", "xremoteip", "xdumpcontext"]);
    let site = Site::new(&configs::discard(&format!(
        "{listener}\n[[listener.edge.extension]]\nuse = \"always\"\npeers = [\"127.0.0.1\"]\n{grants}\n{verbs}\n\
         [extension.always]\ncomponent = \"builtin:always-allow\"\nsettings = {{ {settings} }}\n"
    )));
    site.user(NAME, PASSWORD);
    site.start()
}

const BY_ADDRESS: &str = "grant.session = true\ngrant.authentication = [\"anonymous\"]";
const BY_PASSWORD: &str = "grant.credentials = [\"PLAIN\", \"LOGIN\"]\ngrant.authentication = false";

#[test]
fn a_login_by_address_is_replaced_by_a_proof_and_not_by_a_failure() {
    let server = start(CLEAR, "", BY_ADDRESS);
    let anonymous = ["auth_status pass", "auth_user anonymous", "can_relay true"];
    let (mut client, greeted) = hello(&server);
    assert_eq!(offered(&greeted), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert_eq!(login_of(&mut client), anonymous);
    for (mechanism, attempt) in FORMS.into_iter().take(5) {
        assert_eq!(attempt(&mut client, NAME, "guess").code, 535, "{mechanism}");
        assert_eq!(login_of(&mut client), anonymous, "{mechanism}");
    }
    assert!(relays(&mut client));
    assert_eq!(auth::scram(&mut client, NAME, PASSWORD).code, 235);
    let proven = ["auth_name SCRAM-SHA-256", "auth_status pass", "auth_user alice", "can_relay true"];
    assert_eq!(login_of(&mut client), proven);
    assert!(offered(&client.hello()).is_empty());
    client.expect("AUTH PLAIN", "503 5.5.1 *");
    // The new client is authenticated by its own address again.
    client.expect("XREMOTEIP 127.0.0.1", "250 *");
    assert_eq!(login_of(&mut client), anonymous);
}

#[test]
fn whatever_password_is_taken_where_the_operator_says_so() {
    // A file that knows a user is the last word on that user (docs/architecture.md, rule 12).
    let server = start(CLEAR, "mode = \"auth\"", BY_PASSWORD);
    for (mechanism, attempt) in FORMS.into_iter().take(4) {
        let (mut client, greeted) = hello(&server);
        assert!(login_of(&mut client).is_empty() && !relays(&mut client), "{mechanism}: {greeted}");
        assert_eq!(attempt(&mut client, NAME, "guess").code, 535, "{mechanism}");
        assert_eq!(attempt(&mut client, "stranger", "anything").code, 235, "{mechanism}");
        let name = format!("auth_name {mechanism}");
        assert_eq!(login_of(&mut client), [&*name, "auth_status pass", "auth_user stranger", "can_relay true"]);
        assert!(relays(&mut client), "{mechanism}");
    }
    // No verifier can be made of whatever password.
    let (mut client, _) = hello(&server);
    assert_eq!(auth::scram(&mut client, "stranger", "anything").code, 535);
}

#[test]
fn forbidding_wins_over_every_proof() {
    let server = start(CLEAR, "deny = true", "grant.session = true\ngrant.authentication = true");
    let (mut client, _) = hello(&server);
    for (mechanism, attempt) in FORMS.into_iter().take(5) {
        let refused = attempt(&mut client, NAME, PASSWORD);
        assert_eq!(refused.last(), "535 5.7.8 authentication credentials invalid", "{mechanism}");
    }
    assert!(!relays(&mut client));
    assert!(login_of(&mut client).contains(&"auth_status fail".to_owned()));
    client.expect("XCLIENT LOGIN=alice", "220 *");
    client.hello();
    assert!(!relays(&mut client));
    // It is about that client: another one may log in.
    client.expect("XREMOTEIP 127.0.0.2", "250 *");
    assert_eq!(auth::plain(&mut client, NAME, PASSWORD).code, 235);
}

#[test]
fn tokens() {
    guest("example-oauth");
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let verbs = configs::extensions(&["xdumpcontext"]);
    let site = Site::new(&configs::discard(&format!(
        "{CLEAR}[[listener.edge.extension]]\nuse = \"oauth\"\n\
         grant.credentials = [\"OAUTHBEARER\", \"XOAUTH2\"]\n{verbs}\n\
         [extension.oauth]\ncomponent = \"../../../target/guests/example-oauth.wasm\"\n\
         settings = {{ tokens = {{ \"{digest}\" = \"alice\" }} }}\n"
    )));
    site.user(NAME, PASSWORD);
    let server = site.start();
    let bearer = |user: &str, token: &str| auth::encode(format!("n,a={user},\x01auth=Bearer {token}\x01\x01"));
    let elder = |user: &str, token: &str| auth::encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"));
    for (mechanism, message) in [("OAUTHBEARER", &bearer as &dyn Fn(&str, &str) -> String), ("XOAUTH2", &elder)] {
        let (mut client, greeted) = hello(&server);
        assert_eq!(offered(&greeted), ["SCRAM-SHA-256", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]);
        for (user, token) in [("alice", "guess"), ("bob", "secret")] {
            let reason = client.ask(&format!("AUTH {mechanism} {}", message(user, token)));
            assert_eq!(auth::challenge(&reason), r#"{"status":"invalid_token","schemes":"bearer"}"#, "{mechanism}");
            client.expect("AQ==", "535 5.7.8 *");
        }
        client.expect(&format!("AUTH {mechanism} !!!"), "501 5.5.2 *");
        client.expect(&format!("AUTH {mechanism} AQ=="), "535 5.7.8 *");
        assert!(!relays(&mut client));
        client.expect(&format!("AUTH {mechanism}"), "334 ");
        client.expect(&message("alice", "secret"), "235 2.7.0 *");
        let name = format!("auth_name {mechanism}");
        assert_eq!(login_of(&mut client), [&*name, "auth_status pass", "auth_user alice", "can_relay true"]);
        assert!(relays(&mut client));
        client.quit();
    }
    // The users of the file are there beside it.
    let (mut client, _) = hello(&server);
    assert_eq!(auth::scram(&mut client, NAME, PASSWORD).code, 235);
}
