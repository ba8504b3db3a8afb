//! `pillarbox user`: the file of those who may log in, edited by scripts.

use pillarbox_tests::{Site, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn users_are_added_changed_listed_and_removed() {
    let site = Site::new("");
    let file = site.directory().join("users");
    assert_eq!(site.edit_users(&["add", "tim"], "pencil\n").exits(0).stdout, "added tim to users\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&file).unwrap();
    assert!(before.starts_with("tim:SCRAM-SHA-256$") && !before.contains("pencil"), "{before}");
    fs::write(&file, format!("# staff\n{before}")).unwrap();
    site.edit_users(&["add", "--argon2id", "tom"], "pencil\n").exits(0);
    let changed = site.edit_users(&["add", "tim"], "crayon\n").exits(0);
    assert_eq!(changed.stdout, "changed the password of tim in users\n");
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with("# staff\ntim:SCRAM-SHA-256$") && !after.contains(&before), "{after}");
    let listed = site.edit_users(&["list"], "").exits(0);
    assert_eq!(listed.stdout, "tim  scram-sha-256\ntom  argon2id\n");
    site.edit_users(&["remove", "tim"], "").exits(0);
    assert_eq!(site.edit_users(&["list"], "").exits(0).stdout, "tom  argon2id\n");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = Site::new("");
    site.edit_users(&["add", "tim"], "pencil\n").exits(0);
    let before = fs::read_to_string(site.directory().join("users")).unwrap();
    for (arguments, input, why) in [
        (&["add", "tom"][..], "", "it is empty"),
        (&["add", "tom"], "\n", "it is empty"),
        (&["add", "a:b"], "pencil\n", "it holds a colon"),
        (&["remove", "tom"], "", "there is no user tom in users"),
    ] {
        let refused = site.edit_users(arguments, input).exits(65);
        assert!(refused.stderr.contains(why) && refused.stdout.is_empty(), "{refused}");
    }
    assert_eq!(fs::read_to_string(site.directory().join("users")).unwrap(), before);
    fs::set_permissions(site.directory().join("users"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.edit_users(&["list"], "").exits(65).stderr.contains("chmod 600"));
    // No configuration names a file.
    let nameless = run(site.directory(), ["user", "list"]).exits(65);
    assert!(nameless.stderr.contains("--file"), "{nameless}");
}
