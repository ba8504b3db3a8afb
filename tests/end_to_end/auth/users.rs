//! The file of users under a server that runs.

use super::{CLEAR, NAME, PASSWORD, hello, login_of, offered, relays, site};
use pillarbox_tests::{Server, auth, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Writes the file of users as an editor would, readable for its owner alone.
fn write_users(server: &Server, text: &str) {
    let (draft, file) = (server.site().path("users.draft"), server.site().path("users"));
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(draft, file).unwrap();
}

fn logs_in(server: &Server, user: &str, password: &str) -> bool {
    let (mut client, _) = hello(server);
    let code = auth::plain(&mut client, user, password).code;
    client.quit();
    code == 235
}

/// Any number of failures, so that a test can try until it succeeds.
fn start() -> Server {
    site(&format!("{CLEAR}limits.auth-failures = 0\n")).start()
}

#[test]
fn who_is_added_can_log_in_without_a_reload() {
    let server = start();
    let (mut open, _) = hello(&server);
    assert_eq!(auth::plain(&mut open, "bob", "bobs-password").code, 535);
    server.site().user("bob", "bobs-password");
    until("the new user", || logs_in(&server, "bob", "bobs-password"));
    server.log().event("users read again", &[("users", "2")]);
    // In a session that was open, too.
    assert_eq!(auth::scram(&mut open, "bob", "bobs-password").code, 235);
    // Another password takes the place of the old one.
    server.site().user("bob", "another-password");
    until("the new password", || logs_in(&server, "bob", "another-password"));
    assert!(!logs_in(&server, "bob", "bobs-password") && logs_in(&server, NAME, PASSWORD));
}

#[test]
fn who_is_removed_is_logged_in_no_more_after_a_reload() {
    let server = start();
    server.site().user("bob", "bobs-password");
    until("the new user", || logs_in(&server, "bob", "bobs-password"));
    let [(mut alice, _), (mut bob, _)] = [hello(&server), hello(&server)];
    assert_eq!(auth::plain(&mut alice, NAME, PASSWORD).code, 235);
    assert_eq!(auth::plain(&mut bob, "bob", "bobs-password").code, 235);
    assert!(relays(&mut bob));
    server.site().edit_users(&["remove", "bob"], "").exits(0);
    server.reload().exits(0);
    assert!(!relays(&mut bob));
    assert!(login_of(&mut bob).is_empty());
    let greeted = bob.hello();
    assert!(offered(&greeted).contains(&"PLAIN"), "{greeted}");
    assert_eq!(auth::plain(&mut bob, "bob", "bobs-password").code, 535);
    assert!(relays(&mut alice), "who stays is not disturbed");
    assert!(offered(&alice.hello()).is_empty());
}

/// A login rests on the user and the password as they were, and ends with them: no reload is needed.
#[test]
fn who_is_removed_or_has_another_password_is_out_of_open_sessions() {
    let server = start();
    server.site().user("bob", "bobs-password");
    until("the new user", || logs_in(&server, "bob", "bobs-password"));
    let [(mut alice, _), (mut bob, _)] = [hello(&server), hello(&server)];
    assert_eq!(auth::plain(&mut alice, NAME, PASSWORD).code, 235);
    assert_eq!(auth::scram(&mut bob, "bob", "bobs-password").code, 235);
    server.site().edit_users(&["remove", "bob"], "").exits(0);
    server.log().event("users read again", &[("users", "1")]);
    assert!(!relays(&mut bob) && relays(&mut alice));
    server.log().event("login ended", &[("user", "bob")]);
    server.site().user(NAME, "another-password");
    until("the new password", || logs_in(&server, NAME, "another-password"));
    assert!(!relays(&mut alice));
    assert_eq!(auth::plain(&mut alice, NAME, "another-password").code, 235);
    assert!(relays(&mut alice));
}

/// SCRAM shows a salt and waits: what is proven in the end is the password of the beginning.
#[test]
fn a_password_that_changes_during_an_exchange_gives_no_login() {
    let server = start();
    let (mut client, _) = hello(&server);
    let begun = auth::UNBOUND.begin(&mut client, NAME).unwrap();
    server.site().user(NAME, "another-password");
    until("the new password", || logs_in(&server, NAME, "another-password"));
    begun.prove(&mut client, PASSWORD);
    assert!(!relays(&mut client) && login_of(&mut client).is_empty());
    assert_eq!(auth::scram(&mut client, NAME, "another-password").code, 235);
}

/// The mend that the message asks for is enough.
#[test]
fn a_file_whose_rights_are_mended_is_read() {
    let server = start();
    server.site().user("bob", "bobs-password");
    fs::set_permissions(server.site().path("users"), fs::Permissions::from_mode(0o644)).unwrap();
    server.log().event("users not read again, those before stay", &[]);
    let status = server.status();
    assert!(status["users_errors"].to_string().contains("chmod 600"), "{status:#}");
    fs::set_permissions(server.site().path("users"), fs::Permissions::from_mode(0o600)).unwrap();
    until("the mended file", || logs_in(&server, "bob", "bobs-password"));
    until("a status without errors", || {
        server.status()["users_errors"].as_object().is_some_and(serde_json::Map::is_empty)
    });
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_told_of() {
    let server = start();
    let good = fs::read_to_string(server.site().path("users")).unwrap();
    write_users(&server, &format!("{good}bob:no such form\n"));
    let told = server.log().event("users not read again, those before stay", &[]);
    assert_eq!(told.level, "error");
    assert!(told.field("error").contains("line 2") && !told.field("error").contains("no such form"), "{told:?}");
    assert!(logs_in(&server, NAME, PASSWORD));
    // Nor does a reload take it.
    server.reload().exits(65).says("line 2");
    assert!(logs_in(&server, NAME, PASSWORD));

    // One that others can read is as bad as one with a mistake; and one that is gone.
    fs::set_permissions(server.site().path("users"), fs::Permissions::from_mode(0o644)).unwrap();
    server.reload().exits(65).says("chmod 600");
    fs::remove_file(server.site().path("users")).unwrap();
    server.reload().exits(65);
    assert!(logs_in(&server, NAME, PASSWORD));

    // Once it is right again it counts, and so does what was written meanwhile.
    write_users(&server, &good);
    server.site().user("bob", "bobs-password");
    until("the mended file", || logs_in(&server, "bob", "bobs-password"));
}

#[test]
fn a_file_with_nobody_in_it() {
    let server = start();
    write_users(&server, "# nobody\n");
    server.log().event("users read again", &[("users", "0")]);
    let (mut client, greeted) = hello(&server);
    // There may be somebody in a moment; of SCRAM nobody has a verifier.
    assert_eq!(offered(&greeted), ["PLAIN", "LOGIN"]);
    assert_eq!(auth::plain(&mut client, NAME, PASSWORD).code, 535);
}

/// The salt of a known user stands in the file. One that changed would say that its user does not.
#[test]
fn what_an_unknown_user_is_shown_outlasts_a_restart() {
    let site = site(CLEAR);
    let shown = || {
        let server = site.start();
        let (mut client, _) = hello(&server);
        let first = client.ask(&format!("AUTH SCRAM-SHA-256 {}", auth::encode("n,,n=nobody,r=abc")));
        assert_eq!(server.stop(), Some(0));
        auth::challenge(&first).split_once(",s=").unwrap().1.to_owned()
    };
    let before = shown();
    assert_eq!(shown(), before);
    let mode = fs::metadata(site.path("state/users-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn hashes_that_scram_cannot_use() {
    let site = site(CLEAR);
    site.edit_users(&["remove", NAME], "").exits(0);
    site.edit_users(&["add", "--argon2id", NAME], &format!("{PASSWORD}\n")).exits(0);
    let server = site.start();
    let (_, greeted) = hello(&server);
    assert_eq!(offered(&greeted), ["PLAIN", "LOGIN"]);
    assert!(logs_in(&server, NAME, PASSWORD) && !logs_in(&server, NAME, "guess"));
}
