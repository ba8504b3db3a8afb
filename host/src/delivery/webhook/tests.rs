//! Against servers in this process, good and bad.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Mutex;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Host, Scheme};
use crate::spool::{MessageId, Spool, sample};

/// What a server does with a request.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Reads all of it, says this and goes on.
    Says(&'static str),
    /// Reads all of it, says this and then this again and again.
    Endless(&'static str, &'static str),
    /// Reads all of it, says this and no more.
    Silent(&'static str),
    /// Reads the head, says this and closes.
    Early(&'static str),
    /// Reads all of it and closes.
    Drops,
    /// Closes at once.
    Slams,
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

struct Site {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Site {
    async fn start(manner: Manner, tls: Option<TlsAcceptor>) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        let mut tasks = JoinSet::new();
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
        Site { address, requests, _tasks: tasks }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Errors do not matter: the client may leave whenever it likes.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, noted: &Mutex<Vec<Request>>) {
    loop {
        if matches!(manner, Manner::Slams) {
            return;
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(octet) => head.push(octet),
                Err(_) => return,
            }
        }
        let mut request = Request { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        if let Manner::Early(text) = manner {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
        request.body = vec![0; request.all("content-length")[0].parse().unwrap()];
        if stream.read_exact(&mut request.body).await.is_err() {
            return;
        }
        noted.lock().unwrap().push(request);
        match manner {
            Manner::Says(text) => drop(stream.write_all(text.as_bytes()).await),
            Manner::Endless(text, more) => {
                let _ = stream.write_all(text.as_bytes()).await;
                while stream.write_all(more.as_bytes()).await.is_ok() {}
            }
            Manner::Silent(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.flush().await;
                std::future::pending::<()>().await;
            }
            Manner::Early(_) | Manner::Drops | Manner::Slams => return,
        }
    }
}

/// A message in a spool.
struct Bed {
    at: TempDir,
    stored: Arc<Stored>,
}

impl Bed {
    async fn new(content: &[u8], recipients: &[&str]) -> Bed {
        let at = tempdir().unwrap();
        let spool = Spool::open(&at.path().join("state")).unwrap();
        let id: MessageId = "01ABC.1".parse().unwrap();
        let envelope = Envelope {
            helo: Some("client\r\nX-Injected: 1".to_owned()),
            sender: "ä,100%@example.test".to_owned(),
            parameters: sample::parameters(&[("SMTPUTF8", None), ("BODY", Some("8BITMIME"))]),
            ..sample::envelope(id.as_str(), recipients)
        };
        let mut draft = spool.begin(id.clone());
        draft.write(content).await.unwrap();
        draft.commit(envelope).await.unwrap();
        Bed { at, stored: Arc::new(spool.load(&id).await.unwrap()) }
    }

    fn webhook(&self, address: SocketAddr, change: impl FnOnce(&mut WebhookTarget)) -> Result<Webhook, WebhookError> {
        let mut target = WebhookTarget {
            scheme: Scheme::Http,
            host: Host::Address(address.ip()),
            port: address.port(),
            path: "/mail?kind=new".to_owned(),
            token_file: None,
            concurrency: 1,
            timeout: Duration::from_secs(2),
        };
        change(&mut target);
        Webhook::load(&Arc::new(target), &Http::default())
    }

    async fn post(&self, site: &Site, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        self.webhook(site.address, |_| ()).unwrap().deliver(&self.stored, recipients).await
    }
}

/// An outcome in a few words.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(_) => "delivered".to_owned(),
        Outcome::Deferred(failure) => format!("deferred {} {:?}", failure.status, failure.reach),
        Outcome::Failed(failure) => format!("failed {} {:?}", failure.status, failure.reach),
    }
}

const NO_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_message_is_posted_octet_for_octet_with_its_envelope() {
    // Longer than one reading, with octets that are no text and with no line end.
    let content: Vec<u8> =
        (0..300_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let bed = Bed::new(&content, &["bob@example.test", "x@else.test", "a,b@example.test"]).await;
    let site = Site::start(Manner::Says(NO_BODY), None).await;
    let token = bed.at.path().join("token");
    std::fs::write(&token, "secret1\nmore").unwrap();
    let webhook = bed.webhook(site.address, |target| target.token_file = Some(token.clone())).unwrap();
    let receipt = Receipt {
        to: format!("http://{}/mail?kind=new", site.address),
        remote: Some("127.0.0.1".to_owned()),
        reply: None,
        duty: Duty::Delivered,
    };
    let served = Outcome::Delivered(receipt);
    assert_eq!(webhook.deliver(&bed.stored, &[0, 2]).await, [(0, served.clone()), (2, served.clone())]);
    // A token that changed needs no reload.
    std::fs::write(&token, " secret2 ").unwrap();
    assert_eq!(webhook.deliver(&bed.stored, &[0, 1, 2]).await.len(), 3);

    let requests = site.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body == content), "as it was");
    let first = &requests[0];
    assert!(first.head.starts_with("POST /mail?kind=new HTTP/1.1\r\n"), "{}", first.head);
    for (name, expected) in [
        ("host", &[&*site.address.to_string()][..]),
        ("content-type", &["message/rfc822"]),
        ("content-length", &["300000"]),
        ("transfer-encoding", &[]),
        ("x-injected", &[]),
        ("authorization", &["Bearer secret1"]),
        ("pillarbox-id", &["01ABC.1"]),
        ("pillarbox-session", &["01SESSION"]),
        ("pillarbox-received", &["2023-11-14T22:13:20.123Z"]),
        ("pillarbox-listener", &["edge"]),
        ("pillarbox-client", &["192.0.2.7"]),
        ("pillarbox-protocol", &["ESMTP"]),
        ("pillarbox-sender", &["%C3%A4%2C100%25@example.test"]),
        ("pillarbox-helo", &["client%0D%0AX-Injected:%201"]),
        ("pillarbox-parameter", &["SMTPUTF8", "BODY=8BITMIME"]),
        ("pillarbox-recipient", &["bob@example.test", "a%2Cb@example.test"]),
    ] {
        assert_eq!(first.all(name), expected, "{name}");
    }
    assert_eq!(requests[1].all("authorization"), ["Bearer secret2"]);
    assert_eq!(requests[1].all("idempotency-key"), ["\"01ABC.1\""]);
    assert!(first.all("idempotency-key")[0].starts_with("\"01ABC.1-"), "{}", first.head);

    std::fs::remove_file(&token).unwrap();
    let outcomes = webhook.deliver(&bed.stored, &[0]).await;
    assert_eq!(word(&outcomes[0].1), "deferred 4.3.5 Destination");
    assert!(bed.webhook(site.address, |target| target.token_file = Some(token)).is_err());
}

#[tokio::test]
async fn a_status_says_whether_mail_waits_or_ends() {
    let bed = Bed::new(b"a\r\n", &["bob@example.test"]).await;
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "delivered"),
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "delivered"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "delivered"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "delivered"),
        ("HTTP/1.1 301 Moved\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.5 Destination"),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "failed 5.0.0 Message"),
        ("HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", "deferred 4.7.8 Destination"),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "failed 5.7.1 Message"),
        ("HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n", "failed 5.1.1 Message"),
        ("HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.0 Message"),
        ("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.0 Message"),
        ("HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n", "failed 5.3.4 Message"),
        ("HTTP/1.1 422 Unprocessable\r\nContent-Length: 0\r\n\r\n", "failed 5.6.0 Message"),
        ("HTTP/1.1 429 Slowly\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.2 Destination"),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.0 Message"),
        ("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.2 Destination"),
        ("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "deferred 4.3.0 Message"),
    ] {
        let site = Site::start(Manner::Says(answer), None).await;
        let outcomes = bed.post(&site, &[0]).await;
        assert_eq!(
            outcomes.iter().map(|(index, outcome)| (*index, word(outcome))).collect::<Vec<_>>(),
            [(0, expected.to_owned())]
        );
        assert_eq!(site.requests().len(), 1, "nothing is followed: {answer}");
    }
    let site = Site::start(Manner::Says("HTTP/1.1 422 No\r\nContent-Length: 14\r\n\r\nno such\r\nthing"), None).await;
    let (_, Outcome::Failed(failure)) = bed.post(&site, &[0]).await.remove(0) else { panic!("it fails") };
    assert_eq!(failure.text, format!("http://{}/mail?kind=new answered 422: no such  thing", site.address));
    assert_eq!(failure.remote.as_deref(), Some("127.0.0.1"));
}

/// Whoever gives no answer, has not taken it; and nobody holds the queue up, or makes it read for ever.
#[tokio::test]
async fn a_bad_server_costs_a_time_and_nothing_else() {
    let content = vec![b'x'; 8 << 20];
    let bed = Bed::new(&content, &["bob@example.test"]).await;
    let good = "HTTP/1.1 200 OK\r\n\r\n";
    for (manner, expected) in [
        (Manner::Silent(""), "deferred 4.4.2 Destination"),
        (Manner::Silent("HTTP/1.1 200 OK\r\n"), "deferred 4.4.2 Destination"),
        (Manner::Drops, "deferred 4.4.2 Message"),
        (Manner::Slams, "deferred 4.4.2 Message"),
        (Manner::Says("220 mx.example.test ESMTP\r\n"), "deferred 4.4.2 Message"),
        (Manner::Endless("HTTP/1.1 200 OK\r\n", "X-Header: again and again\r\n"), "deferred 4.4.2 Message"),
        (Manner::Endless("HTTP/1.1 503 Away\r\n\r\n", "0123456789"), "deferred 4.3.2 Destination"),
        // It has it, and said so.
        (Manner::Endless(good, "0123456789"), "delivered"),
        (Manner::Silent(good), "delivered"),
        (Manner::Silent("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "delivered"),
    ] {
        let site = Site::start(manner, None).await;
        let began = std::time::Instant::now();
        let webhook = bed.webhook(site.address, |target| target.timeout = Duration::from_secs(4)).unwrap();
        let outcomes = webhook.deliver(&bed.stored, &[0]).await;
        assert_eq!(word(&outcomes[0].1), expected, "{manner:?}: {:?}", outcomes[0].1);
        assert!(began.elapsed() < Duration::from_secs(8), "{manner:?}");
    }
    // Before it has it, 200 says nothing.
    let site = Site::start(Manner::Early("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let outcomes = bed.post(&site, &[0]).await;
    assert!(word(&outcomes[0].1).starts_with("deferred 4.4.2"), "{:?}", outcomes[0].1);
    // Bound, so that it is nobody else's, and not listening.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = bound.local_addr().unwrap();
    let outcomes = bed.webhook(nobody, |_| ()).unwrap().deliver(&bed.stored, &[0]).await;
    assert_eq!(word(&outcomes[0].1), "deferred 4.4.1 Destination");
}

#[tokio::test]
async fn nobody_is_told_anything_whose_certificate_is_wrong() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let site = Site::start(Manner::Says(NO_BODY), Some(TlsAcceptor::from(Arc::new(server)))).await;
    let bed = Bed::new(b"a\r\n", &["bob@example.test"]).await;
    let pem = bed.at.path().join("ca.pem");
    std::fs::write(&pem, certificate.pem()).unwrap();
    for (host, authorities, expected) in [
        ("localhost", None, "deferred 4.7.5 Destination"),
        ("127.0.0.1", Some(pem.clone()), "deferred 4.7.5 Destination"),
        ("localhost", Some(pem), "delivered"),
    ] {
        let target = WebhookTarget {
            scheme: Scheme::Https,
            host: Host::parse(host).unwrap(),
            port: site.address.port(),
            path: "/".to_owned(),
            token_file: None,
            concurrency: 1,
            timeout: Duration::from_secs(5),
        };
        let before = site.requests().len();
        let http = Http { authorities, ..Http::default() };
        let outcomes = Webhook::load(&Arc::new(target), &http).unwrap().deliver(&bed.stored, &[0]).await;
        assert_eq!(word(&outcomes[0].1), expected, "{host}: {:?}", outcomes[0].1);
        assert_eq!(site.requests().len() - before, usize::from(expected == "delivered"));
    }
}

/// A header has as many recipients as servers take, and each is in one.
#[tokio::test]
async fn many_recipients_are_more_requests_than_one() {
    let names: Vec<String> = (0..120).map(|n| format!("user{n}@example.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bed = Bed::new(b"a\r\n", &names).await;
    let site = Site::start(Manner::Says(NO_BODY), None).await;
    let wanted: Vec<usize> = (1..120).collect();
    let outcomes = bed.post(&site, &wanted).await;
    assert_eq!(outcomes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), wanted);
    let requests = site.requests();
    assert_eq!(requests.len(), 3);
    let told: Vec<&str> = requests.iter().flat_map(|request| request.all("pillarbox-recipient")).collect();
    assert_eq!(told, names[1..]);

    let site = Site::start(Manner::Says("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"), None).await;
    let outcomes = bed.post(&site, &wanted).await;
    assert_eq!((outcomes.len(), site.requests().len()), (119, 1), "who is away is asked once");
}
