#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pillarbox_sasl::{PreparationError, Secret, Verifier, VerifierError};
use tempfile::TempDir;

use super::credential::Cost;
use super::*;
use crate::file::ReadError;

/// The password is `pencil`.
const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                     WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
/// The password is `password`; from the tests of the reference implementation (P-H-C/phc-winner-argon2, src/test.c).
const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn written(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    (directory, file)
}

fn load(text: &str) -> Result<Users, UsersError> {
    let (_directory, file) = written(text);
    Users::load(&file)
}

fn users(text: &str) -> Arc<Users> {
    Arc::new(load(text).unwrap())
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn fault(text: &str) -> String {
    load(text).unwrap_err().source.to_string()
}

#[test]
fn a_file_is_names_comments_and_empty_lines() {
    let text = format!("# who\n\n  # may\ntim:{SCRAM}\r\n \t\n\u{fc} b@example.test:{ARGON2ID}\n");
    let users = load(&text).unwrap();
    assert_eq!(users.len(), 2);
    assert!(users.knows("tim") && users.knows("\u{fc} b@example.test"));
    for unknown in ["", "Tim", "tim ", "# who", "tom"] {
        assert!(!users.knows(unknown), "{unknown}");
    }
    assert!(users.supports_scram());
    assert!(!load(&format!("tim:{ARGON2ID}")).unwrap().supports_scram());
    let empty = load("").unwrap();
    assert!(empty.is_empty() && !empty.supports_scram());
    assert!(!format!("{users:?}").contains("tim"));
}

#[test]
fn every_bad_line_is_named_and_none_is_quoted() {
    let long = "x".repeat(256);
    let text = format!(
        "tim:{SCRAM}\nhunter2\n# fine\ntim:{ARGON2ID}\n:{SCRAM}\nx:plain\nx:SCRAM-SHA-256$4095:x\n{long}:{SCRAM}\n \
         x:{SCRAM}\na\u{7}b:{SCRAM}\n\u{2163}:{SCRAM}\nx:$argon2id$v=19$m=64"
    );
    let error = load(&text).unwrap_err();
    let Fault::Lines(lines) = &error.source else { panic!("{error}") };
    let found: Vec<_> = lines.iter().map(|line| (line.number, line.why.clone())).collect();
    let unprepared = NameError::Unprepared { prepared: "IV".to_owned() };
    let name = LineError::Name;
    assert_eq!(
        found,
        [
            (2, LineError::NoColon),
            (4, LineError::Duplicate { first: 1 }),
            (5, name(NameError::Preparation(PreparationError::Empty))),
            (6, LineError::Credential(CredentialError::Unknown)),
            (7, LineError::Credential(CredentialError::Scram(VerifierError::Form))),
            (8, name(NameError::TooLong)),
            (9, name(NameError::Edge)),
            (10, name(NameError::Preparation(PreparationError::Control))),
            (11, name(unprepared)),
            (12, LineError::Credential(CredentialError::Argon2id)),
        ]
    );
    let said = error.source.to_string();
    assert!(
        said.starts_with("line 2: it is not NAME:VERIFIER; line 4: the same name is in line 1; line 5: "),
        "{said}"
    );
    assert!(said.contains("line 7: the SCRAM verifier cannot be used: it is not of the form"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_wholly_wrong_file_is_told_in_short() {
    let said = fault(&"x\n".repeat(1000));
    assert!(said.contains("line 20: ") && !said.contains("line 21: ") && said.ends_with("; and 980 more"), "{said}");
}

#[test]
fn argon2id_hashes_are_taken_within_bounds() {
    let cases = [
        ("", "", None),
        ("m=256", "m=65536", None),
        ("m=256", "m=65537", Some(CredentialError::Cost)),
        ("m=256", "m=4294967295", Some(CredentialError::Cost)),
        ("t=2", "t=10", None),
        ("t=2", "t=11", Some(CredentialError::Cost)),
        ("m=256", "m=4294967296", Some(CredentialError::Argon2id)),
        ("m=256", "m=7", Some(CredentialError::Argon2id)),
        ("m=256,", "", Some(CredentialError::Argon2id)),
        ("t=2", "t=0", Some(CredentialError::Argon2id)),
        ("p=1", "p=0", Some(CredentialError::Argon2id)),
        ("p=1", "p=1,x=1", Some(CredentialError::Argon2id)),
        ("v=19", "v=16", Some(CredentialError::Argon2id)),
        ("v=19$", "", Some(CredentialError::Argon2id)),
        ("$argon2id", "$argon2i", Some(CredentialError::Unknown)),
        ("$argon2id", "$argon2d", Some(CredentialError::Unknown)),
        ("$argon2id", "argon2id", Some(CredentialError::Unknown)),
        ("c29tZXNhbHQ", "c29tZQ", Some(CredentialError::Argon2id)),
        ("c29tZXNhbHQ", "!", Some(CredentialError::Argon2id)),
    ];
    for (part, with, expected) in cases {
        let text = ARGON2ID.replacen(part, with, 1);
        assert!(part == with || text != ARGON2ID, "{part} is not in it");
        assert_eq!(text.parse::<Credential>().err(), expected, "{text}");
    }
    let (without_hash, _) = ARGON2ID.rsplit_once('$').unwrap();
    assert_eq!(without_hash.parse::<Credential>().err(), Some(CredentialError::Argon2id));
    assert_eq!(ARGON2ID.parse::<Credential>().unwrap().to_string(), ARGON2ID);
}

#[test]
fn a_file_is_read_only_if_it_is_its_owners_alone() {
    let (directory, file) = written(&format!("tim:{SCRAM}\n"));
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o601, false)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        match Users::load(&file) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => {
                assert!(!good && matches!(error.source, Fault::Exposed { mode: said } if said == mode), "{error}");
                assert!(error.source.to_string().contains("chmod 600"), "{error}");
                assert!(error.to_string().contains("users"), "{error}");
            }
        }
    }
    assert!(matches!(Users::load(directory.path()).unwrap_err().source, Fault::File(ReadError::NotAFile)));
    assert!(matches!(
        Users::load(&directory.path().join("none")).unwrap_err().source,
        Fault::File(ReadError::Unreadable(_))
    ));
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(Users::load(&pipe).unwrap_err().source, Fault::File(ReadError::NotAFile)));
}

#[test]
fn a_file_is_bounded_text() {
    assert_eq!(fault(&"#".repeat(16 * 1024 * 1024 + 1)), "it is larger than 16 MiB");
    assert!(load(&"#".repeat(16 * 1024 * 1024)).is_ok());
    let (_directory, file) = written("");
    fs::write(&file, b"# a\n# b\n# \xff\n").unwrap();
    let Err(UsersError { source: Fault::File(ReadError::NotText { line }), .. }) = Users::load(&file) else {
        panic!("it is none")
    };
    assert_eq!(line, 3);
}

#[tokio::test]
async fn a_password_is_right_or_wrong() {
    let users = users(&format!("tim:{SCRAM}\ntom:{ARGON2ID}\n"));
    let hashing = Hashing::new(2);
    let cases = [
        ("tim", "pencil", Checked::Right),
        ("tom", "password", Checked::Right),
        ("tom", "pass\u{ad}word", Checked::Right),
        ("tim", "Pencil", Checked::Wrong),
        ("tim", "password", Checked::Wrong),
        ("tom", "pencil", Checked::Wrong),
        ("tom", "", Checked::Wrong),
        ("tim", "", Checked::Wrong),
        ("tom", "\u{e000}", Checked::Wrong),
        // The one whose password is compared for the work's sake has it; who is unknown has not.
        ("nobody", "pencil", Checked::Wrong),
        ("nobody", "password", Checked::Wrong),
        ("", "pencil", Checked::Wrong),
    ];
    for (user, password, expected) in cases {
        assert_eq!(users.check(user, secret(password), &hashing).await, expected, "{user} {password}");
    }
    let nobody = self::users("");
    assert_eq!(nobody.check("tim", secret("pencil"), &hashing).await, Checked::Wrong);
}

/// How many of the first thousand unknown names are like each kind.
fn shares<K: Ord>(kind: impl Fn(&str) -> K) -> BTreeMap<K, usize> {
    let mut shares = BTreeMap::new();
    for number in 0..1000 {
        *shares.entry(kind(&format!("nobody-{number}"))).or_default() += 1;
    }
    shares
}

#[test]
fn unknown_users_take_as_long_as_known_ones_in_the_same_mix() {
    let slow = SCRAM.replace("$4096:", "$400000:");
    let scram = |iterations| Cost::Scram { iterations };
    let argon2id = Cost::Argon2id { memory: 256, passes: 2, lanes: 1 };
    let mixed = format!("a:{ARGON2ID}\nb:{slow}\nc:{SCRAM}\nd:{SCRAM}\n");
    let cases = [
        (String::new(), vec![(scram(15_000), 1000..=1000)]),
        (format!("a:{ARGON2ID}\n"), vec![(argon2id, 1000..=1000)]),
        // Eight times the standard deviation to each side, and none at all of what no user has.
        (mixed.clone(), vec![(scram(4096), 374..=626), (scram(400_000), 140..=360), (argon2id, 140..=360)]),
    ];
    for (text, expected) in cases {
        let users = load(&text).unwrap();
        let shares = shares(|name| users.compared(name).unwrap().cost());
        assert_eq!(shares.len(), expected.len(), "{shares:?}");
        for (cost, share) in expected {
            assert!(shares.get(&cost).is_some_and(|count| share.contains(count)), "{cost:?} {shares:?}");
        }
    }
    // One more user makes one in four another, not all.
    let (before, after) = (load(&mixed).unwrap(), load(&format!("{mixed}e:{ARGON2ID}\n")).unwrap());
    let cost = |users: &Users, name: &str| users.compared(name).unwrap().cost();
    let moved = shares(|name| cost(&before, name) != cost(&after, name));
    assert!(moved.get(&true).is_none_or(|count| *count < 400), "{moved:?}");
    // A known one is compared with its own.
    assert_eq!(cost(&before, "b"), scram(400_000));
}

#[test]
fn made_up_verifiers_are_like_the_others_and_stay() {
    let (known, other): (Verifier, Verifier) = (SCRAM.parse().unwrap(), Verifier::derive("x", &[7; 24], 5000).unwrap());
    let likeness = |verifier: &Verifier| (verifier.iterations, verifier.salt.len());
    let text = format!("tim:{SCRAM}\nhash:{ARGON2ID}\na:{other}\nb:{other}\n");
    let (users, reloaded) = (load(&text).unwrap(), load(&format!("# again\n{text}")).unwrap());
    assert_eq!(users.verifier("tim"), known);
    let shares = shares(|name| likeness(&users.verifier(name)));
    assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [(4096, 16), (5000, 24)]);
    assert!((210..=460).contains(&shares[&(4096, 16)]), "{shares:?}");
    let mut salts = HashSet::new();
    for unknown in ["hash", "nobody", "", "Tim"] {
        let made_up = users.verifier(unknown);
        assert_eq!(made_up, reloaded.verifier(unknown), "{unknown}");
        assert!(salts.insert(made_up.salt.clone()), "{unknown}");
        assert_ne!(made_up.stored_key, made_up.server_key);
    }
    // What PLAIN takes and what SCRAM says are of one user.
    for number in 0..100 {
        let name = format!("nobody-{number}");
        if let Cost::Scram { iterations } = users.compared(&name).unwrap().cost() {
            assert_eq!(users.verifier(&name).iterations, iterations, "{name}");
        }
    }
    let alone = load(&format!("hash:{ARGON2ID}\n")).unwrap().verifier("nobody");
    assert_eq!(likeness(&alone), (15_000, 16));
}

#[test]
fn a_digest_is_of_the_entries() {
    let digest = |text: String| load(&text).unwrap().digest();
    let one = digest(format!("tim:{SCRAM}\ntom:{ARGON2ID}\n"));
    assert_eq!(one, digest(format!("# x\ntom:{ARGON2ID}\n\ntim:{SCRAM}")));
    assert_ne!(one, digest(format!("tim:{SCRAM}\n")));
    assert_ne!(one, digest(format!("tim:{ARGON2ID}\ntom:{SCRAM}\n")));
}

#[test]
fn a_print_is_of_what_proves_one_user_now() {
    let print = |text: String, user: &str| load(&text).unwrap().print(user);
    let before = print(format!("tim:{SCRAM}\ntom:{ARGON2ID}\n"), "tim");
    assert!(before.is_some());
    // Others come and go.
    assert_eq!(print(format!("# x\ntim:{SCRAM}"), "tim"), before);
    assert_ne!(print(format!("tim:{SCRAM}\ntom:{ARGON2ID}\n"), "tom"), before);
    // Another password, another salt alone, another kind.
    let derived = |password, salt| Verifier::derive(password, &[salt; 16], 4096).unwrap();
    let prints: HashSet<_> = [
        format!("tim:{}", derived("a", 1)),
        format!("tim:{}", derived("b", 1)),
        format!("tim:{}", derived("a", 2)),
        format!("tim:{SCRAM}"),
        format!("tim:{ARGON2ID}"),
    ]
    .into_iter()
    .map(|text| print(text, "tim").unwrap())
    .collect();
    assert_eq!(prints.len(), 5);
    assert_eq!(print(format!("tim:{SCRAM}"), "Tim"), None);
    assert_eq!(print(String::new(), ""), None);
}

#[tokio::test]
async fn what_is_made_is_right() {
    for (kind, name) in [(Kind::ScramSha256, "scram-sha-256"), (Kind::Argon2id, "argon2id")] {
        let made = Credential::make(&secret("pen\u{ad}cil"), kind).unwrap();
        assert_eq!((made.kind(), made.kind().name()), (kind, name));
        let again = Credential::make(&secret("pencil"), kind).unwrap();
        assert_ne!(made.to_string(), again.to_string(), "the salt is the same");
        let users = users(&format!("tim:{made}\n"));
        assert_eq!(users.check("tim", secret("pencil"), &Hashing::new(1)).await, Checked::Right);
        let refused = Credential::make(&secret(""), kind).unwrap_err();
        assert!(matches!(refused, MakeError::Password(PreparationError::Empty)), "{refused}");
    }
}

fn edit(text: &str, change: impl Fn(&mut Book)) -> String {
    let (_directory, file) = written(text);
    let mut book = Book::open(&file).unwrap();
    change(&mut book);
    book.save().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    fs::read_to_string(&file).unwrap()
}

#[test]
fn an_edit_leaves_the_rest_as_it_is() {
    let (scram, hash): (Credential, Credential) = (SCRAM.parse().unwrap(), ARGON2ID.parse().unwrap());
    let put = |name: &'static str, credential: &Credential, known: bool| {
        let credential = credential.clone();
        move |book: &mut Book| assert_eq!(book.put(name, &credential).unwrap(), known)
    };
    let remove =
        |name: &'static str, known: bool| move |book: &mut Book| assert_eq!(book.remove(name), known, "{name}");
    let text = format!("# first\n\na:{SCRAM}\n# of b\nb:{SCRAM}\r\n#c:old");
    assert_eq!(edit(&text, |_| ()), text);
    assert_eq!(edit(&text, put("a", &hash, true)), format!("# first\n\na:{ARGON2ID}\n# of b\nb:{SCRAM}\r\n#c:old"));
    assert_eq!(edit(&text, put("c", &hash, false)), format!("{text}\nc:{ARGON2ID}\n"));
    assert_eq!(edit(&text, remove("b", true)), format!("# first\n\na:{SCRAM}\n# of b\n#c:old"));
    assert_eq!(edit(&text, remove("c", false)), text);
    assert_eq!(edit("", put("a", &scram, false)), format!("a:{SCRAM}\n"));
    // One edit after the other: lines move.
    let moved = edit(&text, |book| {
        remove("a", true)(book);
        put("b", &hash, true)(book);
        put("a", &scram, false)(book);
        let users: Vec<_> = book.users().collect();
        assert_eq!(users, [("b", Kind::Argon2id), ("a", Kind::ScramSha256)]);
    });
    assert_eq!(moved, format!("# first\n\n# of b\nb:{ARGON2ID}\n#c:old\na:{SCRAM}\n"));
}

#[test]
fn an_edit_refuses_what_could_not_be_read_again() {
    let (_directory, file) = written("# x\n");
    let mut book = Book::open(&file).unwrap();
    let credential = SCRAM.parse().unwrap();
    let long = "x".repeat(256);
    for name in ["", "a:b", "#a", " a", "a ", "a\nb", "a\rb", "\u{2163}", "\u{e000}", &long] {
        assert!(book.put(name, &credential).is_err(), "{name:?}");
    }
    book.save().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "# x\n");
    let (_directory, broken) = written("x\n");
    assert!(matches!(Book::open(&broken), Err(BookError::Users(UsersError { source: Fault::Lines(_), .. }))));
}

#[test]
fn a_file_is_made_where_there_is_none_and_found_behind_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("users"), directory.path().join("link"));
    let credential = SCRAM.parse().unwrap();
    assert!(matches!(
        Book::open(&file),
        Err(BookError::Users(UsersError { source: Fault::File(ReadError::Unreadable(_)), .. }))
    ));
    let mut book = Book::open_or_begin(&file).unwrap();
    book.put("a", &credential).unwrap();
    assert!(!file.exists());
    // What a killed edit left.
    fs::write(directory.path().join("users.new"), "half").unwrap();
    book.save().unwrap();
    drop(book);
    symlink(&file, &link).unwrap();
    let mut book = Book::open(&link).unwrap();
    book.put("b", &credential).unwrap();
    book.save().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(Users::load(&file).unwrap().len(), 2);
    assert!(Book::open_or_begin(Path::new("/nowhere/users")).is_err());
}

#[test]
fn an_edit_that_cannot_be_written_changes_nothing() {
    let (directory, file) = written("# x\n");
    let mut book = Book::open(&file).unwrap();
    book.put("a", &SCRAM.parse().unwrap()).unwrap();
    // Nothing can be made under a name that a directory has.
    fs::create_dir(directory.path().join("users.new")).unwrap();
    assert!(matches!(book.save(), Err(BookError::Write { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# x\n");
}

#[test]
fn a_new_file_is_its_directorys_owners() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let make = |file: &Path| {
        let mut book = Book::open_or_begin(file).unwrap();
        book.put("a", &SCRAM.parse().unwrap()).unwrap();
        book.save().unwrap();
        fs::metadata(file).unwrap().uid()
    };
    let me = rustix::process::geteuid();
    if me.is_root() {
        chown(directory.path(), Some(1234), None).unwrap();
        assert_eq!(make(&file), 1234);
        // One that is there stays whose it is.
        chown(&file, Some(4321), None).unwrap();
        assert_eq!(make(&file), 4321);
    } else {
        assert_eq!(make(&file), me.as_raw());
    }
}

#[test]
fn an_edit_waits_for_another_and_not_for_ever() {
    let (_directory, file) = written("# x\n");
    let first = Book::open(&file).unwrap();
    let busy = Book::open_within(&file, Duration::ZERO).unwrap_err();
    assert!(matches!(&busy, BookError::Busy { file: said } if *said == file), "{busy}");
    assert!(busy.to_string().starts_with("another `pillarbox user` is at work on "), "{busy}");
    let second = thread::spawn({
        let file = file.clone();
        move || Book::open_within(&file, Duration::from_secs(60)).map(drop)
    });
    drop(first);
    second.join().unwrap().unwrap();
}
