//! Each kind of table by what it answers, and what is said of files that are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn parse(text: &str, kind: TableType) -> Table {
    Table::parse(text, kind).unwrap_or_else(|lines| panic!("{lines:?}"))
}

/// What is wrong with a text, a line each.
fn wrong(text: &str, kind: TableType) -> Vec<String> {
    Table::parse(text, kind).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn hash_tables_know_whole_keys_in_any_case() {
    let table = parse(
        "\u{feff}# a comment\n\nA@Example.org  first value \n  b\tsecond\r\nc\n#d x\nd#e f#g\n\u{c9} big\n\u{e9} small\n",
        TableType::Hash,
    );
    for (key, value) in [
        ("a@example.org", Some("first value")),
        ("A@EXAMPLE.ORG", Some("first value")),
        ("b", Some("second")),
        ("c", Some("")),
        ("d", None),
        ("#d", None),
        ("d#e", Some("f#g")),
        // Case is that of ASCII: an address beyond it is compared as it is.
        ("\u{c9}", Some("big")),
        ("\u{e9}", Some("small")),
        ("a@example.or", None),
        ("", None),
    ] {
        assert_eq!(table.lookup(key), value, "{key:?}");
    }
    assert_eq!(table.len(), 6);
    assert!(parse("# nothing\n", TableType::Hash).is_empty());
}

#[test]
fn networks_are_found_by_the_narrowest() {
    let table = parse(
        "10.0.0.0/8 wide\n10.1.0.0/16 narrow\n10.1.2.3 host\n::ffff:192.0.2.0/120 mapped\n2001:db8::/32 six\n\
         2001:db8::1 one\n::/0 any six\n198.51.100.0/24\n",
        TableType::Cidr,
    );
    for (key, value) in [
        ("10.2.0.1", Some("wide")),
        ("10.1.0.0", Some("narrow")),
        ("10.1.2.3", Some("host")),
        ("10.1.2.4", Some("narrow")),
        ("::ffff:10.1.2.3", Some("host")),
        ("192.0.2.255", Some("mapped")),
        ("::ffff:192.0.2.1", Some("mapped")),
        ("192.0.3.0", None),
        ("198.51.100.7", Some("")),
        ("2001:db8::1", Some("one")),
        ("2001:DB8:0::2", Some("six")),
        ("2001:db9::", Some("any six")),
        ("11.0.0.0", None),
        ("unknown", None),
        ("10.0.0.0/8", None),
        ("", None),
    ] {
        assert_eq!(table.lookup(key), value, "{key:?}");
    }
    assert_eq!(table.len(), 8);
    let all = parse("0.0.0.0/0 v4\n", TableType::Cidr);
    assert_eq!((all.lookup("255.255.255.255"), all.lookup("::1")), (Some("v4"), None));
}

#[test]
fn the_first_pattern_that_matches_holds() {
    let table = parse(
        "/^postmaster@/i host\n/@Example\\.org$/ exact\n/a\\/b/ slash\n/x\\\\/ backslash\n/^(10|20)\\./ two words \n/./i\n",
        TableType::Pattern,
    );
    for (key, value) in [
        ("PostMaster@example.org", Some("host")),
        ("b@Example.org", Some("exact")),
        ("b@example.org", Some("")),
        ("a/b", Some("slash")),
        ("x\\", Some("backslash")),
        ("20.1", Some("two words")),
        ("", None),
    ] {
        assert_eq!(table.lookup(key), value, "{key:?}");
    }
}

#[test]
fn every_mistake_is_said_with_its_line() {
    let long = "k".repeat(LONGEST_KEY + 1);
    let cases = [
        (
            TableType::Hash,
            format!("a 1\nb 2\nA 3\n\n{long} 4\na 5\n"),
            "line 3: the same key is in line 1
line 5: the key is longer than 1024 octets
line 6: the same key is in line 1",
        ),
        (
            TableType::Cidr,
            "10.0.0.0/8 a\n10.0.0.1/8 b\nexample.org c\n::ffff:10.0.0.0/104 d\n10.0.0.0/33\n10.1 e\n".to_owned(),
            "line 2: `10.0.0.1/8` has bits set behind its prefix: the network is 10.0.0.0/8, the host alone 10.0.0.1
line 3: `example.org` is no address and no network
line 4: the same key is in line 1
line 5: `10.0.0.0/33` is no address and no network
line 6: `10.1` is no address and no network",
        ),
        (
            TableType::Pattern,
            "/a(/ x\na b\n/a\n/a/ix y\n// z\n/\\p{NoSuch}/\n/(a{500}){500}/\n/a\\\\\\/b c".to_owned(),
            "line 1: the pattern is wrong: unclosed group
line 2: it is not /PATTERN/ with a value behind it
line 3: it is not /PATTERN/ with a value behind it
line 4: there is no flag `x`; there is `i`, which ignores case
line 5: it is not /PATTERN/ with a value behind it
line 6: the pattern is wrong: Unicode property not found
line 7: the pattern is wrong: it is too large when it is compiled
line 8: it is not /PATTERN/ with a value behind it",
        ),
    ];
    for (kind, text, expected) in cases {
        assert_eq!(wrong(&text, kind).join("\n"), expected);
    }
}

#[test]
fn tables_have_bounds() {
    let patterns = "/a/ x\n".repeat(lines::MOST_PATTERNS);
    assert_eq!(parse(&patterns, TableType::Pattern).len(), lines::MOST_PATTERNS);
    assert_eq!(wrong(&(patterns + "/b/"), TableType::Pattern), ["line 1001: there are more than 1000 entries"]);
    let keys = (0..=lines::MOST).map(|number| format!("{number}\n")).collect::<String>();
    assert_eq!(wrong(&keys, TableType::Hash), ["line 1000001: there are more than 1000000 entries"]);
    let (fit, _) = keys.trim_end().rsplit_once('\n').unwrap();
    let table = parse(fit, TableType::Hash);
    assert_eq!((table.len(), table.lookup("999999"), table.lookup("1000000")), (lines::MOST, Some(""), None));
}

#[test]
fn files_that_are_no_tables_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table");
    let said = |kind| {
        let error = Table::load(&path, kind).unwrap_err();
        crate::observe::chain(&error).replace(&*path.to_string_lossy(), "FILE")
    };
    assert_eq!(
        said(TableType::Hash),
        "cannot use the table FILE: it cannot be read: No such file or directory (os error 2)"
    );
    std::fs::write(&path, b"a b\nc \xff\n").unwrap();
    assert_eq!(said(TableType::Hash), "cannot use the table FILE: it is not UTF-8, from line 2 on");
    std::fs::write(&path, "a b\na c\na d\n").unwrap();
    assert_eq!(
        said(TableType::Hash),
        "cannot use the table FILE: line 2: the same key is in line 1; line 3: the same key is in line 1"
    );
    std::fs::write(&path, "x\n".repeat(25)).unwrap();
    assert!(said(TableType::Cidr).ends_with("; and 5 more"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(said(TableType::Hash), "cannot use the table FILE: it is not a file");
}

/// What `reload` compares.
#[test]
fn another_content_has_another_digest() {
    let digests = ["a b\n", "a b\n", "a c\n"].map(|text| parse(text, TableType::Hash).digest());
    assert!(digests[0] == digests[1] && digests[1] != digests[2]);
}
