//! The command line: what each command says, and its exit code.

mod peer;

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Output, Server, Site, binary, guest, repository, run};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// Compares with `golden/NAME.txt`; with `BLESS=1` in the environment it writes that.
#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = repository().join("tests/end_to_end/golden").join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{} has\n{expected}\nand this is\n{text}", path.display());
}

/// The text with what differs from build to build and from run to run taken out, and with it the width of columns.
fn steady(text: &str, site: &Path) -> String {
    let text = text.replace(&site.display().to_string(), "SITE");
    let is_digest = |word: &str| matches!(word.len(), 12 | 64) && word.bytes().all(|octet| octet.is_ascii_hexdigit());
    let mut steady = String::new();
    for line in text.lines() {
        // A line of a file that is quoted, or what points into it: its columns are what it says.
        if line.contains(" |") {
            steady.push_str(&format!("{line}\n"));
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let mut cells: Vec<&str> =
            line.trim_start().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        cells.iter_mut().filter(|cell| is_digest(cell)).for_each(|cell| *cell = "DIGEST");
        steady.push_str(&format!("{:indent$}{}\n", "", cells.join("  ")));
    }
    steady
}

/// Runs in a directory of its own, without a configuration.
fn run_alone(arguments: &[&str]) -> (Site, Output) {
    let site = Site::new("");
    fs::remove_file(site.config()).unwrap();
    let output = run(site.directory(), arguments);
    (site, output)
}

#[test]
fn help_and_version() {
    let (_, help) = run_alone(&["--help"]);
    let help = help.exits(0);
    for command in ["serve", "check", "extension", "reload", "rollback", "status", "queue", "story", "quarantine"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{help}");
        let (_, own) = run_alone(&[command, "--help"]);
        assert!(own.exits(0).stdout.starts_with(|c: char| c.is_uppercase()));
    }
    for text in
        ["$PILLARBOX_CONFIG", "/etc/pillarbox/pillarbox.toml", "embedded default", "Exit codes:", "65", "69", "78"]
    {
        assert!(help.stdout.contains(text), "no {text}\n{help}");
    }
    let (_, version) = run_alone(&["--version"]);
    let version = version.exits(0);
    assert!(version.stdout.starts_with("pillarbox 0.") && version.stdout.contains("wasmtime 48"), "{version}");
}

#[test]
fn mistakes_on_the_command_line() {
    for arguments in [&[][..], &["sevre"], &["serve", "--confg", "x"], &["check", "extra"], &["extension", "inspect"]] {
        let (site, output) = run_alone(arguments);
        let output = output.exits(2);
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output}");
        assert!(!site.path("pillarbox-data").exists());
    }
}

#[test]
fn check_shows_the_embedded_default() {
    if Path::new("/etc/pillarbox/pillarbox.toml").exists() {
        println!("not tried: this machine has a configuration of its own");
        return;
    }
    let (site, output) = run_alone(&["check"]);
    let output = output.exits(0);
    assert_golden("check-default", &steady(&output.stdout, site.directory()));
    assert_eq!(output.stderr, "");
    // It only looks.
    assert_eq!(fs::read_dir(site.directory()).unwrap().count(), 0);
}

#[test]
fn check_shows_who_is_granted_what() {
    let policy = "
[[listener.edge.extension]]
use = \"policy\"
verdict = [\"tempfail\"]
grant.session = [\"client\"]
grant.context-read = { connection = [\"policy_bypass\"] }
grant.context-write = { message = [\"policy_*\"] }
grant.envelope-read = true
grant.message-read = [\"Subject\"]

[extension.policy]
component = \"../../../target/guests/example-policy.wasm\"
settings.senders = [\"spam@example.net\"]
";
    let verbs = configs::extensions(&["xclient", "xremoteip", "xsetcontext", "xdumpcontext", "always-allow"]);
    let site = Site::new(&configs::maildirs(&format!("{}{policy}{verbs}", configs::tls("starttls"))));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    let output = site.run(&["check"]).exits(0);
    assert_golden("check-grants", &steady(&output.stdout, site.directory()));
}

#[test]
fn check_points_at_every_mistake() {
    let site = Site::new(
        "[server]\nhostname = \"mx.example.test\"\nstate-dir = \"state\"\n\n\
         [listener.edge]\nadress = [\"127.0.0.1:0\"]\naddress = [\"127.0.0.1:0\"]\nlimits.recipients = \"many\"\n\n\
         [[listener.edge.extension]]\nuse = \"xcleint\"\n\n[extension.xclient]\ncomponent = \"builtin:xclient\"\n\n\
         [[route]]\nto = \"discard:\"\n",
    );
    let output = site.run(&["check"]).exits(65);
    assert_eq!(output.stdout, "");
    assert_golden("check-mistakes", &steady(&output.stderr, site.directory()));
    // What check refuses, serve refuses, in the same words.
    assert!(site.run(&["serve"]).exits(78).stderr.contains(&output.stderr));
}

/// What is served all the same and hardly meant: `check` and `reload` show it, the log keeps it.
#[test]
fn warnings_are_shown_and_logged() {
    let listener = "relay.domains = [\"example.test\", \"lost.example\"]\n\
        [listener.idle]\naddress = [\"127.0.0.1:0\"]\n\
        [listener.old]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = []\n";
    let route = "domains = [\"example.test\"]\nto = \"discard:\"";
    let configuration = configs::with_route("", route).replace("relay.domains = [\"example.test\"]\n", listener);
    let site = Site::new(&format!("{configuration}{}", configs::tls("starttls")));
    Pair::expired(&["mx.example.test"]).write(&site.path("tls"));
    let output = site.run(&["check"]).exits(0);
    assert_golden("check-warnings", &steady(&output.stdout, site.directory()));
    assert_eq!(output.stderr, "");

    let server = site.start();
    let warned = |line: usize| {
        let at = format!("{}:{line}", server.site().config().display());
        server.log().event("configuration", &[("at", &at)])
    };
    assert!(warned(14).fields["warning"].contains("`lost.example`"));
    assert!(warned(15).fields["warning"].contains("`idle` takes no mail"));
    // Whoever hears 550 was announced.
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@lost.example>", "550 5.4.4 *");
    let reload = server.site().run(&["reload"]).exits(0);
    for line in [14, 15, 22] {
        assert!(
            reload.stdout.contains(&format!("\nwarning: {}:{line}: ", server.site().config().display())),
            "{reload}"
        );
    }
}

#[test]
fn check_points_at_what_an_extension_lacks() {
    let site = Site::new(&configs::discard(
        "[[listener.edge.extension]]\nuse = \"xsetcontext\"\npeers = [\"127.0.0.1\"]\n\
         [[listener.edge.extension]]\nuse = \"nothing\"\n\
         [extension.xsetcontext]\ncomponent = \"builtin:xsetcontext\"\n\
         [extension.nothing]\ncomponent = \"nothing.wasm\"\n",
    ));
    site.write("nothing.wasm", "no component");
    let output = site.run(&["check"]).exits(65);
    assert_golden("check-extensions", &steady(&output.stderr, site.directory()));
    site.run(&["serve"]).exits(78).says("grant.context-write");
}

#[test]
fn a_configuration_that_is_not_there() {
    for (command, code) in [("check", 65), ("serve", 78), ("reload", 65), ("status", 65)] {
        let (site, output) = run_alone(&[command, "--config", "nowhere.toml"]);
        output.exits(code).says("nowhere.toml").says("No such file");
        assert_eq!(fs::read_dir(site.directory()).unwrap().count(), 0);
    }
}

#[test]
fn an_address_that_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let config = configs::discard("").replace("127.0.0.1:0", &address);
    let output = Site::new(&config).run(&["serve"]).exits(78);
    assert!(output.stderr.contains(&address) && output.stderr.contains("edge"), "{output}");

    // At a reload it is no reason to stop.
    let server = Server::start(&configs::discard(""));
    server.site().configure(&configs::discard("").replace("127.0.0.1:0\"", &format!("127.0.0.1:0\", \"{address}\"")));
    server.reload().exits(65).says(&address);
    server.client("edge").quit();
}

#[test]
fn the_variable_names_the_configuration() {
    let site = Site::new(&configs::discard("banner = \"by variable\""));
    let mut command = Command::new(binary());
    command.arg("serve").env("PILLARBOX_CONFIG", site.config()).current_dir("/").stdin(Stdio::null());
    let server = Server::spawn(&site, &mut command);
    let first = server.log().event("pillarbox starts", &[]);
    assert_eq!(first.field("config"), site.config().display().to_string());
    assert_eq!(server.log().events()[0], first, "something was logged before");
    Client::dial(server.address("edge"), None).expect_reply("220 by variable");
}

#[test]
fn inspect_shows_what_a_component_is() {
    for (name, file) in [("xclient", guest("xclient")), ("example-policy", guest("example-policy"))] {
        let (_, output) = run_alone(&["extension", "inspect", file.to_str().unwrap()]);
        let output = output.exits(0);
        let size = fs::metadata(&file).unwrap().len().to_string();
        let text = steady(&output.stdout, file.parent().unwrap()).replace(&format!("{size} octets"), "N octets");
        assert_golden(&format!("inspect-{name}"), &text);
    }
    let site = Site::new("");
    site.write("text.wasm", "no component");
    site.write("module.wasm", b"\0asm\x01\0\0\0");
    for name in ["text.wasm", "module.wasm", "missing.wasm"] {
        let output = run(site.directory(), ["extension", "inspect", name]).exits(65);
        assert!(output.stdout.is_empty() && output.stderr.contains(name), "{output}");
    }
}

#[test]
fn status_is_for_people_and_for_programs() {
    let verbs = configs::extensions(&["xclient", "xdumpcontext"]);
    let server = Server::start(&configs::maildirs(&verbs));
    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.expect("RSET", "250 *");
    client.expect("XDUMPCONTEXT", "250 *");
    server.log().event("delivered", &[("id", &id)]);
    server.reload().exits(0).says("generation 2");

    let status = server.status();
    assert_eq!(status["generation"], 2, "{status:#}");
    assert_eq!(status["messages_accepted"], 1, "{status:#}");
    assert_eq!(status["recipients_refused"], 1, "{status:#}");
    assert_eq!(status["config"], server.site().config().display().to_string(), "{status:#}");
    assert_eq!(status["last_reload"]["ok"], true, "{status:#}");
    let listener = &status["listeners"][0];
    assert_eq!((&listener["name"], &listener["sessions"]), (&"edge".into(), &1.into()), "{status:#}");
    assert_eq!(listener["addresses"][0], server.address("edge").to_string(), "{status:#}");
    let extensions = status["extensions"].as_array().unwrap();
    assert_eq!(extensions.len(), 2, "{status:#}");
    let dump = extensions.iter().find(|extension| extension["name"] == "xdumpcontext").unwrap();
    assert_eq!((&dump["listener"], &dump["calls"]), (&"edge".into(), &1.into()), "{status:#}");
    assert_eq!(dump["digest"].as_str().map(str::len), Some(64), "{status:#}");

    let text = server.site().run(&["status"]).exits(0).stdout;
    for words in ["generation 2", "1 accepted", "edge", &server.address("edge").to_string(), "xclient", "xdumpcontext"]
    {
        assert!(text.contains(words), "no {words}\n{text}");
    }
}

#[test]
fn without_a_server_nobody_answers() {
    let site = Site::new(&configs::discard(""));
    for command in ["status", "reload", "rollback"] {
        let output = site.run(&[command]).exits(69);
        assert!(output.stderr.contains("control.sock"), "{output}");
    }
    // One that was killed leaves its socket behind, and it is replaced.
    site.start().kill();
    site.run(&["status"]).exits(69);
    let server = site.start();
    site.run(&["status"]).exits(0);
    assert_eq!(server.stop(), Some(0));
    site.run(&["status"]).exits(69);
}

#[test]
fn a_reload_says_what_happened() {
    let server = Server::start(&configs::discard("banner = \"one\""));
    server.reload().exits(0).says("nothing changed");

    let verbs = configs::extensions(&["xdumpcontext"]);
    server.reconfigure(&configs::discard(&verbs)).says("extension xdumpcontext on edge: new");
    let more = "[listener.inside]\naddress = [\"127.0.0.1:0\"]\n";
    server.reconfigure(&configs::discard(&format!("{verbs}{more}"))).says("listener inside: new");
    server.client("inside").quit();
    server.reconfigure(&configs::discard(&verbs)).says("listener inside: gone");

    for (broken, words) in [
        (configs::discard("baner = \"x\""), "did you mean `banner`?"),
        (
            configs::discard(&configs::extensions(&["xdumpcontext"]).replace("grant.context-read = true", "")),
            "grant.context-read",
        ),
        (configs::discard("").replace("\"state\"", "\"elsewhere\""), "state-dir"),
        ("[server".to_owned(), "pillarbox.toml"),
    ] {
        server.site().configure(&broken);
        server.reload().exits(65).says(words);
        let status = server.status();
        assert_eq!(status["last_reload"]["ok"], false, "{status:#}");
        assert!(status["last_reload"]["text"].as_str().is_some_and(|text| text.contains(words)), "{status:#}");
        assert_eq!(status["generation"], 5, "{status:#}");
    }
    // Found by its configuration, the server is asked all the same.
    server.site().configure(&configs::discard("baner = \"x\""));
    server.site().run(&["reload"]).exits(65).says("did you mean `banner`?");
    server.client("edge").quit();
}

#[test]
fn the_control_socket_is_for_its_owner() {
    let server = Server::start(&configs::discard(""));
    let mode = |name: &str| fs::metadata(server.site().path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("state/control.sock"), 0o600);
    assert_eq!(mode("state"), 0o700);
}

#[test]
fn garbage_on_the_control_socket_changes_nothing() {
    let server = Server::start(&configs::discard(""));
    let say = |octets: &[u8]| {
        let mut socket = UnixStream::connect(server.site().path("state/control.sock")).unwrap();
        // A request that is too long is answered before its end, and then nobody reads on.
        let _ = socket.write_all(octets);
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    };
    for request in
        [&b"\n"[..], b"reload\n", b"{\"command\":\"rm\"}\n", b"{\"command\":\"status\"\n", b"\xff\0\n", b"[[[[[[[[\n"]
    {
        let answer = say(request);
        assert!(answer.starts_with("{\"ok\":false,\"error\":"), "{answer}");
    }
    say(&[b'x'; 10 << 20]);
    // Callers that say nothing hold up nobody but themselves.
    let silent: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(server.site().path("state/control.sock")).unwrap()).collect();
    assert_eq!(server.status()["generation"], 1);
    drop(silent);
    server.client("edge").quit();
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    // A pipe whose other end is gone.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(binary()).arg("check").current_dir("/").stdout(writer).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
