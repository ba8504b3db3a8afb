//! `pillarbox user`: the file of those who may log in, edited by scripts.

use pillarbox_tests::{Output, Site, binary, run};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `pillarbox user ARGUMENTS --file users` with something on standard input.
fn user(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(directory).arg("user").args(arguments).args(["--file", "users"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may be refused before anything is read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn users_are_added_changed_listed_and_removed() {
    let site = Site::new("");
    let file = site.directory().join("users");
    assert_eq!(user(site.directory(), &["add", "tim"], "pencil\n").exits(0).stdout, "added tim to users\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&file).unwrap();
    assert!(before.starts_with("tim:SCRAM-SHA-256$") && !before.contains("pencil"), "{before}");
    fs::write(&file, format!("# staff\n{before}")).unwrap();
    user(site.directory(), &["add", "--argon2id", "tom"], "pencil\n").exits(0);
    let changed = user(site.directory(), &["add", "tim"], "crayon\n").exits(0);
    assert_eq!(changed.stdout, "changed the password of tim in users\n");
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with("# staff\ntim:SCRAM-SHA-256$") && !after.contains(&before), "{after}");
    let listed = user(site.directory(), &["list"], "").exits(0);
    assert_eq!(listed.stdout, "tim  scram-sha-256\ntom  argon2id\n");
    user(site.directory(), &["remove", "tim"], "").exits(0);
    assert_eq!(user(site.directory(), &["list"], "").exits(0).stdout, "tom  argon2id\n");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = Site::new("");
    user(site.directory(), &["add", "tim"], "pencil\n").exits(0);
    let before = fs::read_to_string(site.directory().join("users")).unwrap();
    for (arguments, input, why) in [
        (&["add", "tom"][..], "", "it is empty"),
        (&["add", "tom"], "\n", "it is empty"),
        (&["add", "a:b"], "pencil\n", "it holds a colon"),
        (&["remove", "tom"], "", "there is no user tom in users"),
    ] {
        let refused = user(site.directory(), arguments, input).exits(65);
        assert!(refused.stderr.contains(why) && refused.stdout.is_empty(), "{refused}");
    }
    assert_eq!(fs::read_to_string(site.directory().join("users")).unwrap(), before);
    fs::set_permissions(site.directory().join("users"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(user(site.directory(), &["list"], "").exits(65).stderr.contains("chmod 600"));
    // No configuration names a file.
    let nameless = run(site.directory(), ["user", "list"]).exits(65);
    assert!(nameless.stderr.contains("--file"), "{nameless}");
}
