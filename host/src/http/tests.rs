#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::config::{HttpHost, HttpReach, Scheme};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What a host does when it has read the head of a request.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Says this and closes.
    Says(&'static str),
    /// Says this, and then this again and again.
    Endless(&'static str, &'static str),
    /// Says this and no more.
    Silent(&'static str),
}

/// A host on loopback that answers every request in its manner.
struct Site {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Site {
    async fn start(manner: Manner, tls: Option<TlsAcceptor>) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let noted = heads.clone();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (noted, tls) = (noted.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, manner, &noted).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, manner, &noted).await;
                            }
                        }
                    }
                });
            }
        });
        Site { address, heads, _tasks: tasks }
    }

    async fn get(&self, client: &Client, path: &str) -> Result<Answer, NoAnswer> {
        let target = Target::parse(&format!("http://{}{path}", self.address)).unwrap();
        client.send(&target, Outgoing::new("GET", [], Vec::new()).unwrap()).await
    }
}

/// Errors do not matter: the client may leave whenever it likes.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let (Manner::Says(text) | Manner::Endless(text, _) | Manner::Silent(text)) = manner;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    match manner {
        Manner::Says(_) => drop(stream.shutdown().await),
        Manner::Endless(_, more) => while stream.write_all(more.as_bytes()).await.is_ok() {},
        Manner::Silent(_) => std::future::pending().await,
    }
}

fn client() -> Client {
    Client::new(&config::Http { response: 1000, timeout: Duration::from_secs(2), ..config::Http::default() }).unwrap()
}

#[tokio::test]
async fn an_answer_is_handed_on_and_cut_at_the_cap() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";
    let long = "0123456789".repeat(100);
    for (why, manner, status, body) in [
        ("a length", Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 200, "ok"),
        ("more than its length", Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"), 200, "ok"),
        ("to the end", Manner::Says("HTTP/1.1 404 No\r\n\r\nnothing here"), 404, "nothing here"),
        (
            "chunks",
            Manner::Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"),
            200,
            "abcde",
        ),
        ("endless", Manner::Endless(HEAD, "0123456789"), 200, long.as_str()),
        (
            "a great length",
            Manner::Endless("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "0123456789"),
            200,
            &long,
        ),
        (
            "endless chunks",
            Manner::Endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "a\r\n0123456789\r\n"),
            200,
            &long,
        ),
        ("nothing", Manner::Says("HTTP/1.1 204 No Content\r\n\r\n"), 204, ""),
        (
            "an interim answer first",
            Manner::Says("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            200,
            "",
        ),
    ] {
        let site = Site::start(manner, None).await;
        let answer = site.get(&client(), "/").await.unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (status, body), "{why}");
    }
}

#[tokio::test]
async fn what_is_no_answer_fails() {
    for (why, manner) in [
        ("it closes", Manner::Says("")),
        ("it closes in the head", Manner::Says("HTTP/1.1 200 OK\r\nContent-")),
        ("it closes before its length", Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")),
        ("it closes in a chunk", Manner::Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nab")),
        ("no HTTP", Manner::Says("220 mx.example.test ESMTP\r\n")),
        ("two lengths", Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok")),
        ("endless headers", Manner::Endless("HTTP/1.1 200 OK\r\n", "X-Header: again and again\r\n")),
        ("an endless header", Manner::Endless("HTTP/1.1 200 OK\r\nX-Header: ", "again and again")),
        ("endless interim answers", Manner::Endless("", "HTTP/1.1 103 Early Hints\r\n\r\n")),
        ("silence", Manner::Silent("")),
        ("silence in the head", Manner::Silent("HTTP/1.1 200 OK\r\n")),
        ("silence in the body", Manner::Silent("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")),
    ] {
        let site = Site::start(manner, None).await;
        let began = tokio::time::Instant::now();
        let answer = site.get(&client(), "/").await;
        assert!(answer.is_err(), "{why}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{why}");
    }
    // Bound, so that it is nobody else's, and not listening.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = bound.local_addr().unwrap();
    let target = Target::parse(&format!("http://{nobody}/")).unwrap();
    let refused = client().send(&target, Outgoing::new("GET", [], Vec::new()).unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("refused"));
}

#[tokio::test]
async fn a_host_that_hangs_keeps_nobody_from_another() {
    let silent = Site::start(Manner::Silent(""), None).await;
    let site = Site::start(Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let client = Arc::new(client());
    let silent_target = Target::parse(&format!("http://{}/", silent.address)).unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..2 * PLACES {
        let (client, target) = (Arc::clone(&client), silent_target.clone());
        waiting.spawn(async move { client.send(&target, Outgoing::new("GET", [], Vec::new()).unwrap()).await });
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.places(&silent_target).available_permits(), 0);
    assert_eq!(site.get(&client, "/").await.unwrap().status, 200);
    assert!(waiting.join_all().await.iter().all(Result::is_err));
    assert_eq!(client.places(&silent_target).available_permits(), PLACES);
}

/// Names are looked up by threads of their own, be they all taken.
#[tokio::test]
async fn look_ups_that_hang_keep_nobody_from_an_address() {
    let site = Site::start(Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let http = config::Http { timeout: Duration::from_millis(300), ..config::Http::default() };
    let client = Client::new(&http).unwrap();
    let target = Target::parse(&format!("http://localhost:{}/", site.address.port())).unwrap();
    let get = || client.send(&target, Outgoing::new("GET", [], Vec::new()).unwrap());
    let hanging = lookup::tests::Hanging::start().await;
    assert!(get().await.unwrap_err().to_string().contains("in time"));
    assert_eq!(site.get(&client, "/").await.unwrap().status, 200);
    drop(hanging);
    assert_eq!(get().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let other = Site::start(Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    // What it says stands in the text of a program, so that it lives as long.
    let text = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", other.address);
    let site = Site::start(Manner::Says(text.leak()), None).await;
    let answer = site.get(&client(), "/").await.unwrap();
    assert_eq!(answer.status, 302);
    assert!(answer.headers.contains(&("location".to_owned(), format!("http://{}/", other.address))));
    assert!(other.heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_host_frames_what_is_sent() {
    let site = Site::start(Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let target = Target::parse(&format!("HTTP://{}/a?b=%20", site.address)).unwrap();
    let headers = [("X-Two", "1"), ("x-two", "2"), ("Content-Type", "text/plain")];
    let outgoing = Outgoing::new("POST", headers, b"abc".to_vec()).unwrap();
    client().send(&target, outgoing).await.unwrap();
    let head = site.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("POST /a?b=%20 HTTP/1.1\r\n"), "{head}");
    let host = format!("host: {}", site.address);
    for line in [host.as_str(), "content-length: 3", "user-agent: pillarbox", "x-two: 1", "x-two: 2"] {
        assert_eq!(head.lines().filter(|written| *written == line).count(), 1, "{line} in {head}");
    }
}

#[tokio::test]
async fn a_host_shows_a_certificate_of_a_known_authority() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let trusting = config::Http { authorities: Some(file), ..config::Http::default() };
    for (name, known, unknown) in [("127.0.0.1", true, false), ("elsewhere.example", false, false)] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let manner = Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let site = Site::start(manner, Some(TlsAcceptor::from(Arc::new(tls)))).await;
        let target = Target::parse(&format!("https://{}/", site.address)).unwrap();
        for (config, answers) in [(&trusting, known), (&config::Http::default(), unknown)] {
            let client = Client::new(config).unwrap();
            let answer = client.send(&target, Outgoing::new("GET", [], Vec::new()).unwrap()).await;
            assert_eq!(answer.is_ok(), answers, "{name}: {answer:?}");
        }
    }
    // What is no file of authorities is said before anybody is called.
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, directory.path().join("missing.pem")] {
        let config = config::Http { authorities: Some(file.clone()), ..config::Http::default() };
        assert!(Client::new(&config).unwrap_err().to_string().contains(&*file.to_string_lossy()));
    }
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_not_made() {
    let make =
        |method: &str, headers: &[(&str, &str)]| Outgoing::new(method, headers.iter().copied(), Vec::new()).err();
    let many = vec![("x", "y"); 65];
    let large = "y".repeat(17 << 10);
    for (method, headers, expected) in [
        ("GET", &[("accept", "text/plain"), ("x-ü", "a")][..1], None),
        ("DELETE", &[("x", "tab\tis one"), ("y", "ü")], None),
        ("get", &[], Some(BadRequest::Method)),
        ("CONNECT", &[], Some(BadRequest::Method)),
        ("TRACE", &[], Some(BadRequest::Method)),
        ("", &[], Some(BadRequest::Method)),
        ("GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET", &[], Some(BadRequest::Method)),
        ("GET", &[("Host", "evil")], Some(BadRequest::Reserved)),
        ("GET", &[("hOsT", "evil")], Some(BadRequest::Reserved)),
        ("GET", &[("Content-Length", "0")], Some(BadRequest::Reserved)),
        ("GET", &[("Transfer-Encoding", "chunked")], Some(BadRequest::Reserved)),
        ("GET", &[("Connection", "close")], Some(BadRequest::Reserved)),
        ("GET", &[("Upgrade", "h2c")], Some(BadRequest::Reserved)),
        ("GET", &[("Expect", "100-continue")], Some(BadRequest::Reserved)),
        ("GET", &[("TE", "trailers")], Some(BadRequest::Reserved)),
        ("GET", &[("", "a")], Some(BadRequest::Name)),
        ("GET", &[("x y", "a")], Some(BadRequest::Name)),
        ("GET", &[("x:", "a")], Some(BadRequest::Name)),
        ("GET", &[("x\r\nHost", "a")], Some(BadRequest::Name)),
        ("GET", &[("x", "a\r\nHost: evil")], Some(BadRequest::Value)),
        ("GET", &[("x", "a\nb")], Some(BadRequest::Value)),
        ("GET", &[("x", "a\0b")], Some(BadRequest::Value)),
        ("GET", &many, Some(BadRequest::TooManyHeaders)),
        ("GET", &[("x", &large)], Some(BadRequest::TooManyHeaders)),
    ] {
        assert_eq!(make(method, headers), expected, "{method} {headers:?}");
    }
}

#[test]
fn a_url_is_read_in_one_way() {
    for (url, expected) in [
        ("https://api.example.org", Ok("https://api.example.org/")),
        ("HTTPS://API.Example.ORG:443/x?y", Ok("https://api.example.org/x?y")),
        ("http://api.example.org:80", Ok("http://api.example.org/")),
        ("http://api.example.org:443/", Ok("http://api.example.org:443/")),
        ("https://api.example.org?a=/@evil", Ok("https://api.example.org/?a=/@evil")),
        ("http://127.0.0.1:8080/a//b/../c", Ok("http://127.0.0.1:8080/a//b/../c")),
        ("http://[::1]:8080/", Ok("http://[::1]:8080/")),
        ("http://[0:0:0:0:0:0:0:1]/", Ok("http://[::1]/")),
        ("//api.example.org/", Err(BadUrl::Scheme)),
        ("/x", Err(BadUrl::Scheme)),
        ("", Err(BadUrl::Scheme)),
        ("ftp://api.example.org/", Err(BadUrl::Scheme)),
        ("unix://api.example.org/", Err(BadUrl::Scheme)),
        ("https:/api.example.org/", Err(BadUrl::Scheme)),
        ("https:///api.example.org/", Err(BadUrl::Host)),
        ("https://", Err(BadUrl::Host)),
        ("https://api.example.org/#x", Err(BadUrl::Fragment)),
        ("https://api.example.org#@evil.example/", Err(BadUrl::Fragment)),
        ("https://api.example.org/a b", Err(BadUrl::Octets)),
        ("https://api.example.org\\@evil.example/", Err(BadUrl::Octets)),
        ("https://api.example.org/\r\nHost: evil", Err(BadUrl::Octets)),
        ("https://bücher.example/", Err(BadUrl::Octets)),
        ("https://api.example.org\t/", Err(BadUrl::Octets)),
    ] {
        let read = Target::parse(url).map(|target| target.uri().to_string());
        assert_eq!(read.as_deref(), expected.as_ref().map(|uri| *uri), "{url}");
    }
    assert_eq!(Target::parse(&format!("https://a.example/{}", "x".repeat(9000))), Err(BadUrl::Octets));
}

/// Whatever is put around a granted host, and however it is spelled, what is called is what was granted.
#[test]
fn no_spelling_leads_past_a_grant() {
    let granted = [
        (Some(Scheme::Https), Host::Name("api.example.org".to_owned()), 443),
        (None, Host::Address("127.0.0.1".parse().unwrap()), 8080),
    ];
    let hosts = granted.map(|(scheme, host, port)| HttpHost { scheme, host, port });
    let reach = HttpReach { hosts: hosts.to_vec(), methods: None };
    let schemes =
        ["https://", "http://", "HtTpS://", "https:/", "https:///", "https:\\\\", "//", "ftp://", "https:// "];
    let befores = [
        "",
        "user@",
        "user:pw@",
        "evil.example@",
        "@",
        "evil.example:80@",
        "evil.example/",
        "evil.example\\",
        "%",
        ".",
    ];
    let names = [
        "api.example.org",
        "API.EXAMPLE.ORG",
        "api.example.org.",
        "api.example.org.evil.example",
        "xapi.example.org",
        "x.api.example.org",
        "example.org",
        "api%2eexample.org",
        "%61pi.example.org",
        "api.example.org%00.evil.example",
        "api.example.org%20",
        "api\u{3002}example.org",
        "ａpi.example.org",
        "api.example.org\0",
        "api..example.org",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[::1%25lo]",
        "[127.0.0.1]",
        "[::1",
        "::1",
        "localhost",
        "127.0.0.1,evil.example",
    ];
    let ports = [
        "",
        ":",
        ":443",
        ":8080",
        ":0443",
        ":+443",
        ":443@evil.example",
        ":80",
        ":0",
        ":65979",
        ":443:80",
        ":４４３",
        ":-1",
    ];
    let afters =
        ["", "/", "?", "#", "/@evil.example", "\\@evil.example", "@evil.example/", ";evil.example", " ", "\r\n"];
    let mut taken = 0;
    for scheme in schemes {
        for before in befores {
            for name in names {
                for port in ports {
                    for after in afters {
                        let url = format!("{scheme}{before}{name}{port}{after}");
                        let Ok(target) = Target::parse(&url) else { continue };
                        if !reach.covers(target.scheme, &target.host, target.port) {
                            continue;
                        }
                        taken += 1;
                        let uri = target.uri();
                        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
                        let called = (uri.host().unwrap(), port);
                        assert!([("api.example.org", 443), ("127.0.0.1", 8080)].contains(&called), "{url}: {uri}");
                        // Nor is it a matter of what stands behind: the spelling was the host's own.
                        assert!(before.is_empty() && !url.contains('@') || after == "/@evil.example", "{url}");
                        assert!(["api.example.org", "127.0.0.1"].contains(&&*name.to_ascii_lowercase()), "{url}");
                    }
                }
            }
        }
    }
    assert!(taken > 20, "{taken}");
}
