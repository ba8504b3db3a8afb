//! What a guest reaches beyond its session is what was granted, whatever it asks for; and a host that hangs costs a call
//! and nothing else.
//!
//! The component is `tests/components/reacher`: it tries what stands behind its verb, and answers how that went.

use crate::configs;
use crate::names::{A, Answer, NameServer, PTR, SERVFAIL, address, pointer};
use pillarbox_tests::pattern::matches;
use pillarbox_tests::{Client, PATIENCE, Server, Site};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const MX: u16 = 15;
const TXT: u16 = 16;

/// A listener with the component, these grants, and more lines of its extension.
fn listener(name: &str, grants: &[&str], extension: &str) -> String {
    let mut lines = String::new();
    for capability in ["table", "kv", "dns", "http", "stream", "clock", "random", "metrics"] {
        let written = grants.iter().find(|grant| grant.starts_with(capability));
        lines.push_str(
            &written.map_or_else(|| format!("grant.{capability} = false\n"), |grant| format!("grant.{grant}\n")),
        );
    }
    format!(
        r#"
[listener.{name}]
address = ["127.0.0.1:0"]

[[listener.{name}.extension]]
use = "{name}"
{lines}
[extension.{name}]
component = "../../../target/guests/reacher.wasm"
{extension}
"#
    )
}

/// Serves each connection to a listening socket in a thread of its own, as long as the test lives.
fn host(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A host that answers each request with its first line, `/far` with a redirect to another host, and `/never` never.
fn web() -> SocketAddr {
    host(|mut stream| {
        let mut head = BufReader::new(stream.try_clone().unwrap());
        let mut first = String::new();
        if head.read_line(&mut first).is_err() {
            return;
        }
        let mut line = String::new();
        while head.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        if first.contains("/never") {
            thread::park();
        }
        let body = first.trim_end();
        let status = if first.contains("/far") { "302 Found\r\nLocation: http://127.0.0.2:1/" } else { "200 OK" };
        let length = body.len();
        _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    })
}

/// A host that says each line again. What is sent by the channel says that a connection ended.
fn echo() -> (SocketAddr, Receiver<()>) {
    let (ended, ends) = channel();
    let address = host(move |mut stream| {
        let mut octets = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut octets) {
            _ = stream.write_all(&octets[..count]);
        }
        _ = ended.send(());
    });
    (address, ends)
}

/// Tries one thing by the verb, and says how it went.
#[track_caller]
fn attempt(client: &mut Client, attempt: &str) -> String {
    let reply = client.expect(&format!("XREACH {attempt}"), "250 2.0.0 *");
    reply.lines.iter().map(|line| &line["250 2.0.0 ".len()..]).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn goes(client: &mut Client, tried: &str, expected: &str) {
    let went = attempt(client, tried);
    assert!(matches(expected.as_bytes(), went.as_bytes()), "{tried}: {went}");
}

#[test]
fn what_is_reached_is_what_was_granted() {
    let names = NameServer::start(&[
        ("mail.example.net", A, address([192, 0, 2, 7])),
        ("7.2.0.192.zen.example.org", A, address([127, 0, 0, 2])),
        ("7.2.0.192.zen.example.org", TXT, Answer::Data(b"\x06listed".to_vec())),
        ("broken.example.org", A, SERVFAIL),
        ("example.org", MX, Answer::Data(b"\x00\x0a\x02mx\x07example\x03org\x00".to_vec())),
        ("1.2.0.10.in-addr.arpa", PTR, pointer("inside.example.org")),
    ]);
    let (web, (echo, _ends)) = (web(), echo());
    let site = Site::new("");
    let socket = site.path("echo.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for stream in unix.incoming() {
            let mut stream = stream.unwrap();
            let mut octets = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut octets) {
                _ = stream.write_all(&octets[..count]);
            }
        }
    });
    let socket = socket.display();
    let listeners = listener(
        "narrow",
        &[
            r#"dns = { types = ["a", "mx", "ptr"], zones = ["example.org", "10.0.0.0/8"] }"#,
            &format!(r#"http = {{ hosts = ["http://{web}"], methods = ["GET"] }}"#),
            &format!(r#"stream = ["{echo}", "unix:{socket}"]"#),
        ],
        "",
    ) + &listener("wide", &["dns = true", "clock = true", "random = true", "metrics = true"], "")
        + &listener("nothing", &[], "");
    site.configure(&(configs::listeners(&listeners) + &format!("[dns]\nservers = [\"{}\"]\n", names.address)));
    let server = site.start();

    let mut narrow = server.client("narrow");
    narrow.hello();
    for (tried, expected) in [
        ("dns.addresses 7.2.0.192.zen.example.org", r#"ok ["127.0.0.2"]"#),
        ("dns.addresses GONE.Example.Org.", "ok []"),
        ("dns.addresses broken.example.org", "failed: *"),
        ("dns.addresses 127.0.0.1", "invalid: *"),
        ("dns.addresses a..example.org", "invalid: *"),
        ("dns.mail-exchangers example.org", r#"ok ["10 mx.example.org"]"#),
        ("dns.pointers 10.0.2.1", r#"ok ["inside.example.org"]"#),
        ("dns.pointers example.org", "invalid: *"),
    ] {
        goes(&mut narrow, tried, expected);
    }
    goes(&mut narrow, &format!("http.send GET http://{web}/a?b"), "ok \"200 * octets: GET /a?b HTTP/1.1\"");
    goes(&mut narrow, &format!("http.send GET http://{web}/far"), "ok \"302 *");
    goes(&mut narrow, &format!("http.send GET http://{web}/ Host=evil.example"), "invalid: *");
    goes(&mut narrow, "http.send GET no-url", "invalid: *");
    goes(&mut narrow, &format!("stream.open {echo};stream.write hi;stream.read"), r#"ok "open"; ok (); ok "hi""#);
    goes(
        &mut narrow,
        &format!("stream.open unix:{socket};stream.write hi;stream.read"),
        r#"ok "open"; ok (); ok "hi""#,
    );
    goes(&mut narrow, "stream.open nowhere", "invalid: *");

    // Each denial names what was asked for, in the log, and is counted.
    let (port, other) = (web.port(), echo.port());
    for (tried, capability, what) in [
        ("dns.addresses mail.example.net", "dns", "a mail.example.net"),
        ("dns.addresses badexample.org", "dns", "a badexample.org"),
        ("dns.texts 7.2.0.192.zen.example.org", "dns", "txt 7.2.0.192.zen.example.org"),
        ("dns.pointers 192.0.2.7", "dns", "ptr 7.2.0.192.in-addr.arpa"),
        (&*format!("http.send POST http://{web}/ body=x"), "http", &*format!("POST http://{web}")),
        (&format!("http.send GET https://{web}/"), "http", &format!("GET https://{web}")),
        (&format!("http.send GET http://localhost:{port}/"), "http", &format!("GET http://localhost:{port}")),
        (&format!("http.send GET http://{echo}/"), "http", &format!("GET http://{echo}")),
        ("http.send GET http://127.0.0.1/", "http", "GET http://127.0.0.1:80"),
        (
            &format!("http.send GET http://[::ffff:127.0.0.1]:{port}/"),
            "http",
            &format!("GET http://[::ffff:127.0.0.1]:{port}"),
        ),
        (&format!("stream.open localhost:{other}"), "stream", &format!("localhost:{other}")),
        (&format!("stream.open {web}"), "stream", &web.to_string()),
        (&format!("stream.open unix:{socket}/"), "stream", &format!("unix:{socket}/")),
    ] {
        let before = denials(&server, "narrow", capability);
        goes(&mut narrow, tried, "denied");
        assert_eq!(denials(&server, "narrow", capability), before + 1, "{tried}");
        server.log().event("denied", &[("listener", "narrow"), ("capability", capability), ("what", what)]);
    }
    assert!(!names.asked().contains(&"mail.example.net".to_owned()));

    let mut wide = server.client("wide");
    wide.hello();
    for (tried, expected) in [
        ("dns.addresses mail.example.net", r#"ok ["192.0.2.7"]"#),
        ("dns.texts 7.2.0.192.zen.example.org", r#"ok ["listed"]"#),
        ("clock.now", "ok true"),
        ("clock.monotonic", "ok true"),
        ("random.bytes 4096", "ok 4096"),
        ("random.bytes 4097", "limit: *"),
        ("random.differs", "ok true"),
        ("metrics.count Seen 1", "invalid: *"),
    ] {
        goes(&mut wide, tried, expected);
    }

    // Without a grant there is nothing to be had, whatever the argument.
    let mut nothing = server.client("nothing");
    nothing.hello();
    for tried in [
        "dns.addresses example.org".to_owned(),
        "dns.pointers x".to_owned(),
        format!("http.send GET http://{web}/"),
        format!("stream.open {echo}"),
        "stream.read 0".to_owned(),
        "clock.now".to_owned(),
        "random.bytes 1".to_owned(),
        "metrics.count seen 1".to_owned(),
    ] {
        goes(&mut nothing, &tried, "denied");
    }
}

fn denials(server: &Server, name: &str, of: &str) -> u64 {
    extension(server, name)["denials"][of].as_u64().unwrap_or(0)
}

fn extension(server: &Server, name: &str) -> serde_json::Value {
    let status = server.status();
    status["extensions"].as_array().unwrap().iter().find(|extension| extension["name"] == name).unwrap().clone()
}

#[test]
fn a_stream_lives_for_one_call() {
    let (echo, ends) = echo();
    let server = Server::start(&configs::listeners(&listener("stream", &[&format!("stream = [\"{echo}\"]")], "")));
    let mut client = server.client("stream");
    client.hello();
    goes(&mut client, &format!("stream.open {echo};stream.write hi"), r#"ok "open"; ok ()"#);
    // The other end sees it close, and its handle leads nowhere, not even when another is opened.
    ends.recv_timeout(PATIENCE).unwrap();
    goes(&mut client, &format!("stream.open {echo};stream.read 0"), r#"ok "open"; invalid: *"#);
    ends.recv_timeout(PATIENCE).unwrap();
    goes(&mut client, &format!("stream.open {echo};stream.close;stream.close"), r#"ok "open"; ok (); invalid: *"#);
    ends.recv_timeout(PATIENCE).unwrap();
    // One more than `limits.handles` ends the call, and with it those it holds.
    client.expect(&format!("XREACH stream.many {echo}"), "451 4.3.0 *");
    (0..8).for_each(|_| ends.recv_timeout(PATIENCE).unwrap());
    server.log().event("extension failed", &[("kind", "handles")]);
}

#[test]
fn a_host_that_hangs_costs_the_call_and_nothing_else() {
    let names = NameServer::start(&[("silent.example", A, Answer::Silence)]);
    let (web, (echo, ends)) = (web(), echo());
    let grants = ["dns = true", &format!("http = [\"{web}\"]"), &format!("stream = [\"{echo}\"]")];
    let listeners =
        listener("hangs", &grants, "limits.wall = \"1s\"") + "[listener.quiet]\naddress = [\"127.0.0.1:0\"]\n";
    let server =
        Server::start(&(configs::listeners(&listeners) + &format!("[dns]\nservers = [\"{}\"]\n", names.address)));
    let mut quiet = server.client("quiet");
    quiet.hello();
    for (count, tried) in (1..).zip([
        format!("http.send GET http://{web}/never"),
        format!("stream.open {echo};stream.read"),
        "dns.addresses silent.example".to_owned(),
    ]) {
        let mut client = server.client("hangs");
        client.hello();
        let began = Instant::now();
        client.send(format!("XREACH {tried}\r\n"));
        quiet.expect("NOOP", "250 *");
        assert!(began.elapsed() < Duration::from_millis(900), "{tried}");
        client.expect_reply("451 4.3.0 *");
        assert!(began.elapsed() < Duration::from_secs(4), "{tried}: {:?}", began.elapsed());
        assert_eq!(extension(&server, "hangs")["failures"]["wall"], count, "{tried}");
        // The session goes on, and the next call is as good as the first.
        goes(&mut client, &format!("stream.open {echo}"), r#"ok "open""#);
    }
    // What a call that failed held open is closed too.
    (0..4).for_each(|_| ends.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn nobody_is_reached_from_init() {
    let (echo, _ends) = echo();
    let grants = ["dns = true", "http = [\"http://127.0.0.1\"]", &format!("stream = [\"{echo}\"]"), "clock = true"];
    let tried = format!("dns.addresses a.example;http.send GET http://127.0.0.1/;stream.open {echo};clock.now");
    let config = configs::listeners(&listener("early", &grants, &format!("settings.init = \"{tried}\"")));
    let check = Site::new(&config).run(&["check"]);
    assert_eq!(check.stderr.matches("unavailable: ").count(), 3, "{check}");
    assert!(check.stderr.contains("ok true"), "{check}");
}

#[test]
fn counters_of_its_own_are_in_the_status_and_survive_a_reload() {
    let server = Server::start(&configs::listeners(&listener("counts", &["metrics = true"], "")));
    let mut client = server.client("counts");
    client.hello();
    goes(&mut client, "metrics.count seen 2 kind=spam zone=a;metrics.count seen 3 zone=a kind=spam", "ok (); ok ()");
    assert_eq!(server.reload().code, Some(0));
    goes(&mut client, "metrics.count seen 1 kind=spam zone=a;metrics.count plain 7", "ok (); ok ()");
    assert_eq!(
        extension(&server, "counts")["series"],
        serde_json::json!({ "seen{kind=\"spam\",zone=\"a\"}": 6, "plain": 7 })
    );
    let text = server.order(&["status"]).stdout;
    let row = |line: &str| line.split_whitespace().eq(["plain", "counts", "counts", "7"]);
    assert!(text.contains("seen{kind=\"spam\",zone=\"a\"}") && text.lines().any(row), "{text}");
    goes(&mut client, "metrics.many", "limit: *");
    assert_eq!(extension(&server, "counts")["series"].as_object().unwrap().len(), 200);
}

#[test]
fn what_reaches_out_must_name_where() {
    let config =
        listener("reach", &[], "").lines().filter(|line| !line.starts_with("grant.")).collect::<Vec<_>>().join("\n");
    let site = Site::new(&configs::listeners(&config));
    let check = site.run(&["check"]);
    for line in [
        r#"grant.dns = { types = ["a", "mx", "ptr", "txt"] }"#,
        r#"grant.http = ["api.example.org"]"#,
        r#"grant.stream = ["127.0.0.1:6379"]"#,
        "grant.metrics = true",
    ] {
        assert!(check.stderr.contains(line), "{line}: {check}");
    }
}

#[test]
fn the_example_asks_a_list_and_a_service() {
    let names = NameServer::start(&[("1.0.0.127.list.example", A, address([127, 0, 0, 2]))]);
    // It refuses whom it is told to in the request itself.
    let service = host(|mut stream| {
        let mut head = BufReader::new(stream.try_clone().unwrap());
        let (mut line, mut length) = (String::new(), 0);
        while head.read_line(&mut line).is_ok_and(|count| count > 2) {
            if let Some((name, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().unwrap_or_else(|_| panic!("{name}: {value}"));
            }
            line.clear();
        }
        let mut body = vec![0; length];
        head.read_exact(&mut body).unwrap();
        let status = match String::from_utf8(body).unwrap().as_str() {
            "sender bad@example.test\nclient 127.0.0.1\n" => "403 Forbidden",
            "sender odd@example.test\nclient 127.0.0.1\n" => "500 Broken",
            _ => "204 No Content",
        };
        _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let asks = |name: &str, list: &str| {
        format!(
            r#"
[listener.{name}]
address = ["127.0.0.1:0"]

[[listener.{name}.extension]]
use = "{name}"
grant.session = ["client"]
grant.envelope-read = true
grant.dns = {{ types = ["a"], zones = ["list.example", "none.example"] }}
grant.http = {{ hosts = ["http://{service}"], methods = ["POST"] }}
grant.metrics = true

[extension.{name}]
component = "../../../target/guests/example-lookup.wasm"
settings = {{ lists = ["{list}"], url = "http://{service}/sender" }}
"#
        )
    };
    let listeners = asks("listed", "list.example") + &asks("free", "none.example") + &asks("beyond", "other.example");
    let server =
        Server::start(&(configs::listeners(&listeners) + &format!("[dns]\nservers = [\"{}\"]\n", names.address)));
    Client::dial(server.address("listed"), None).expect_reply("554 5.7.1 127.0.0.1 is listed by list.example");
    for listener in ["free", "beyond"] {
        let mut client = server.client(listener);
        client.hello();
        client.expect("MAIL FROM:<bad@example.test>", "550 5.7.1 *");
        client.expect("MAIL FROM:<odd@example.test>", "250 2.1.0 *");
        client.expect("RSET", "250 *");
        client.expect("MAIL FROM:<good@example.test>", "250 2.1.0 *");
        client.quit();
    }
    for (name, series) in [
        ("listed", serde_json::json!({ "listed{who=\"list.example\"}": 1 })),
        ("free", serde_json::json!({ "refused{who=\"service\"}": 1, "unanswered{who=\"service\"}": 1 })),
        (
            "beyond",
            serde_json::json!({
                "refused{who=\"service\"}": 1, "unanswered{who=\"service\"}": 1, "unanswered{who=\"other.example\"}": 1
            }),
        ),
    ] {
        assert_eq!(extension(&server, name)["series"], series, "{name}");
    }
}
