//! TLS, logins, and passing the client on.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Login, PassOn};

type Builder = ConfigBuilder<ServerConfig, WantsServerCert>;

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(bed: &Bed, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let file = bed.at.path().join(name);
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file }
    }

    /// Shows a certificate for a name, that holds until the end of a year.
    fn server(&self, name: &str, until: i32) -> Option<TlsAcceptor> {
        self.accepting(name, until, ServerConfig::builder().with_no_client_auth())
    }

    /// The same, and asks for one that it signed itself.
    fn demanding(&self, name: &str) -> Option<TlsAcceptor> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_file_iter(&self.file).unwrap().map(Result::unwrap));
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        self.accepting(name, 2120, ServerConfig::builder().with_client_cert_verifier(verifier))
    }

    fn accepting(&self, name: &str, until: i32, config: Builder) -> Option<TlsAcceptor> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Some(TlsAcceptor::from(Arc::new(config)))
    }
}

const OFFER: &str = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 STARTTLS\n";
const SECURED: &str = "C: STARTTLS\nS: 220 go\nTLS\nC: EHLO *\nS: 250 mx\n";
const TAKEN: &str = "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\nEND";

#[tokio::test]
async fn tls_is_as_much_as_is_asked_for() {
    use HopTlsMode::{Off, Opportunistic, Required, Verified};
    let mut bed = Bed::new();
    let (good, bad) = (Authority::new(&bed, "good.pem"), Authority::new(&bed, "bad.pem"));
    let with = |rest: &str| format!("{OFFER}{rest}");
    let clear = format!("S: 220 mx\nC: EHLO *\nS: 250 mx\n{TAKEN}");
    let tls = with(&format!("{SECURED}{TAKEN}"));
    let taken = "delivered 250 taken";
    let mx = || good.server("mx.example.test", 2120);
    // What is asked for, what the server shows, what is said over each connection, what follows, and what its text says.
    type Case<'a> = (HopTlsMode, Option<TlsAcceptor>, Vec<String>, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (Off, mx(), vec![with(TAKEN)], taken, ""),
        (Opportunistic, mx(), vec![clear.clone()], taken, ""),
        (Opportunistic, mx(), vec![tls.clone()], taken, ""),
        (Opportunistic, bad.server("elsewhere.test", 2021), vec![tls.clone()], taken, ""),
        // It takes the word back: on in the clear.
        (Opportunistic, mx(), vec![with(&format!("C: STARTTLS\nS: 454 4.7.0 not now\n{TAKEN}"))], taken, ""),
        // It fails: anew in the clear.
        (Opportunistic, mx(), vec![with("C: STARTTLS\nS: 220 go\nGARBAGE"), with(TAKEN)], taken, ""),
        (Opportunistic, mx(), vec![with("C: STARTTLS\nS: 220 go"), with(TAKEN)], taken, ""),
        // It fails where only the server knows of it: a certificate is wanted that there is not.
        (Opportunistic, good.demanding("mx.example.test"), vec![tls.clone(), with(TAKEN)], taken, ""),
        (
            Required,
            good.demanding("mx.example.test"),
            vec![tls.clone()],
            "deferred 4.4.2 destination",
            "CertificateRequired",
        ),
        (Required, mx(), vec![clear.replace(TAKEN, "END")], "deferred 4.7.4 destination", "offers no TLS"),
        (Required, bad.server("elsewhere.test", 2021), vec![tls.clone()], taken, ""),
        (Required, mx(), vec![with("C: STARTTLS\nS: 454 4.7.0 not now\nEND")], "deferred 4.7.4 destination", "454"),
        (Required, mx(), vec![with("C: STARTTLS\nS: 220 go\nGARBAGE")], "deferred 4.7.5 destination", "no TLS with"),
        (Verified, mx(), vec![tls.clone()], taken, ""),
        (
            Verified,
            bad.server("mx.example.test", 2120),
            vec![tls.clone()],
            "deferred 4.7.5 destination",
            "UnknownIssuer",
        ),
        (
            Verified,
            good.server("elsewhere.test", 2120),
            vec![tls.clone()],
            "deferred 4.7.5 destination",
            "not valid for name",
        ),
        (Verified, good.server("mx.example.test", 2021), vec![tls.clone()], "deferred 4.7.5 destination", "expired"),
        (Verified, mx(), vec![clear.replace(TAKEN, "END")], "deferred 4.7.4 destination", "offers no TLS"),
    ];
    for (at, (mode, acceptor, scripts, expected, says)) in cases.into_iter().enumerate() {
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let sink = Sink::start_tls(&scripts, acceptor).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        target.tls.mode = mode;
        target.tls.authorities = Some(good.file.clone());
        target.tls.name = Some("mx.example.test".to_owned());
        let stored = bed.message(HELLO, TO_B, |_| {}).await;
        let outcome = deliver(&relay(target), &stored).await.remove(0);
        assert_eq!(words(&outcome), expected, "{at} {mode:?} {scripts:?} {outcome:?}");
        assert!(text(&outcome).contains(says), "{at} {mode:?}: {}", text(&outcome));
        assert_eq!(sink.connections(), scripts.len(), "{at}");
        sink.is_content();
    }
}

#[tokio::test]
async fn what_was_said_before_tls_is_not_heard_in_it() {
    // CVE-2021-38371: the second line would be the answer to EHLO.
    let script = format!("{OFFER}C: STARTTLS\nS+ 220 go\\r\\n250-mx\\r\\n250 AUTH PLAIN\\r\\n\nHANG");
    for mode in [HopTlsMode::Opportunistic, HopTlsMode::Required] {
        let sink = Sink::start(&[&script]).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        target.tls.mode = mode;
        let mut bed = Bed::new();
        let stored = bed.message(HELLO, TO_B, |_| {}).await;
        let outcome = deliver(&relay(target), &stored).await.remove(0);
        assert_eq!(words(&outcome), "deferred 4.7.5 destination");
        assert!(text(&outcome).contains("spoke on"), "{}", text(&outcome));
    }
}

#[tokio::test]
async fn a_message_that_requires_tls_goes_only_where_it_goes_on() {
    let mut bed = Bed::new();
    let good = Authority::new(&bed, "good.pem");
    let offered = SECURED.replace("S: 250 mx", "S: 250-mx\nS: 250 REQUIRETLS");
    let taken = TAKEN.replace("MAIL *", "MAIL FROM:<a@example.test> REQUIRETLS");
    let cases = [
        ("mx.example.test", format!("{OFFER}{offered}{taken}"), "delivered 250 taken"),
        ("mx.example.test", format!("{OFFER}{SECURED}END"), "failed 5.7.30 message"),
        ("mx.example.test", "S: 220 mx\nC: EHLO *\nS: 250 mx\nEND".to_owned(), "failed 5.7.30 message"),
        // Mail that does not ask for it goes there as before: the destination is not at fault.
        ("elsewhere.test", format!("{OFFER}{offered}{taken}"), "deferred 4.7.5 message"),
        (
            "mx.example.test",
            "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nEND".to_owned(),
            "deferred 4.7.4 message",
        ),
    ];
    let shown = |name| good.server(name, 2120);
    let cases = cases.map(|(name, script, expected)| (shown(name), false, script, expected));
    // What is wrong with the handshake, the server says behind it: for want of a certificate, it is not at fault either.
    // In the clear, and once it was heard in TLS, it is.
    let wanting = || good.demanding("mx.example.test");
    let behind = [
        (wanting(), false, format!("{OFFER}{SECURED}END"), "deferred 4.4.2 message"),
        (wanting(), true, "TLS\nS: 220 mx\nEND".to_owned(), "deferred 4.4.2 message"),
        (shown("mx.example.test"), false, format!("{OFFER}C: STARTTLS\nS: 220 go\nTLS\n"), "deferred 4.4.2 message"),
        (
            shown("mx.example.test"),
            false,
            format!("{OFFER}C: STARTTLS\nS: 220 go\nTLS\nC: EHLO *\nS: 421 4.3.2 later\n"),
            "deferred 4.3.2 destination",
        ),
        (shown("mx.example.test"), true, "TLS\nS: 421 4.3.2 later\n".to_owned(), "deferred 4.3.2 destination"),
        (None, false, "S+ 220\n".to_owned(), "deferred 4.4.2 destination"),
    ];
    for (acceptor, implicit, script, expected) in cases.into_iter().chain(behind) {
        let sink = Sink::start_tls(&[&script], acceptor).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        target.tls.implicit = implicit;
        target.tls.authorities = Some(good.file.clone());
        target.tls.name = Some("mx.example.test".to_owned());
        let stored =
            bed.message(HELLO, TO_B, |envelope| envelope.parameters.push(("REQUIRETLS".to_owned(), None))).await;
        assert_eq!(deliver_words(&relay(target), &stored).await, [expected], "{script}");
        sink.is_content();
    }
}

#[tokio::test]
async fn tls_can_begin_with_the_connection() {
    let mut bed = Bed::new();
    let good = Authority::new(&bed, "good.pem");
    let sink =
        Sink::start_tls(&[&format!("TLS\nS: 220 mx\nC: EHLO *\nS: 250 mx\n{TAKEN}")], good.server("127.0.0.1", 2120))
            .await;
    let mut target = to(HopProtocol::Smtp, sink.address);
    target.tls.implicit = true;
    target.tls.mode = HopTlsMode::Verified;
    target.tls.authorities = Some(good.file.clone());
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let outcome = deliver(&relay(target), &stored).await.remove(0);
    let Outcome::Delivered(receipt) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(receipt.to, format!("smtps://127.0.0.1:{}", sink.address.port()));
    sink.is_content();
}

#[tokio::test]
async fn logins() {
    let offer = |mechanisms: &str| format!("S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 AUTH {mechanisms}\n");
    let taken = "delivered 250 taken";
    let cases = [
        // RFC 4616: "\0tim\0tanstaaf".
        (offer("LOGIN PLAIN") + "C: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 235 ok\n" + TAKEN, taken),
        (
            offer("LOGIN")
                + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\nC: dGFuc3RhYWY=\nS: 235 ok\n"
                + TAKEN,
            taken,
        ),
        (offer("PLAIN") + "C: AUTH *\nS: 535 5.7.8 no\nEND", "deferred 4.7.8 destination"),
        (offer("PLAIN") + "C: AUTH *\nS: 454 4.7.0 later\nEND", "deferred 4.7.0 destination"),
        (offer("LOGIN") + "C: AUTH LOGIN\nS: 504 no\nEND", "deferred 4.5.4 destination"),
        (offer("CRAM-MD5") + "END", "deferred 4.7.0 destination"),
        // It keeps nothing that SCRAM could use.
        (
            offer("PLAIN SCRAM-SHA-256")
                + "C: AUTH SCRAM-SHA-256 *\nS: 535 5.7.8 no\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 235 ok\n"
                + TAKEN,
            taken,
        ),
        (
            offer("PLAIN SCRAM-SHA-256") + "C: AUTH SCRAM-SHA-256 *\nS: 454 4.7.0 later\nEND",
            "deferred 4.7.0 destination",
        ),
        (offer("SCRAM-SHA-256") + "C: AUTH SCRAM-SHA-256 *\nS: 535 5.7.8 no\nEND", "deferred 4.7.8 destination"),
        // It is bound to TLS, and there is none.
        (offer("SCRAM-SHA-256-PLUS LOGIN") + "C: AUTH LOGIN\nS: 504 no\nEND", "deferred 4.5.4 destination"),
        // Whoever this is, it does not hear the password: no proof, no base64, no nonce of the client's ("r=x,s=eA==,i=4096").
        (offer("SCRAM-SHA-256 PLAIN") + "C: AUTH SCRAM-SHA-256 *\nS: 235 ok\nEND", "deferred 4.7.0 destination"),
        (
            offer("SCRAM-SHA-256 PLAIN") + "C: AUTH SCRAM-SHA-256 *\nS: 334 !\nC: **\nS: 501 5.0.0 left\nEND",
            "deferred 4.7.0 destination",
        ),
        (
            offer("SCRAM-SHA-256 PLAIN")
                + "C: AUTH SCRAM-SHA-256 *\nS: 334 cj14LHM9ZUE9PSxpPTQwOTY=\nC: **\nS: 501 5.0.0 left\nEND",
            "deferred 4.7.0 destination",
        ),
        // It refuses in a challenge ("e=unsupported-channel-binding-type", "e=invalid-proof"), for good or for now.
        (
            offer("SCRAM-SHA-256 PLAIN")
                + "C: AUTH SCRAM-SHA-256 *\nS: 334 ZT11bnN1cHBvcnRlZC1jaGFubmVsLWJpbmRpbmctdHlwZQ==\nC: **\n"
                + "S: 501 5.0.0 left\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 235 ok\n"
                + TAKEN,
            taken,
        ),
        // It does bind, it says, and somebody in between took that from its offer ("e=server-does-support-channel-binding").
        (
            offer("SCRAM-SHA-256 PLAIN")
                + "C: AUTH SCRAM-SHA-256 *\nS: 334 ZT1zZXJ2ZXItZG9lcy1zdXBwb3J0LWNoYW5uZWwtYmluZGluZw==\nC: **\nS: 501 left\nEND",
            "deferred 4.7.0 destination",
        ),
        (
            offer("SCRAM-SHA-256") + "C: AUTH SCRAM-SHA-256 *\nS: 334 ZT1pbnZhbGlkLXByb29m\nC: **\nS: 501 left\nEND",
            "deferred 4.7.0 destination",
        ),
        (
            offer("SCRAM-SHA-256 PLAIN")
                + "C: AUTH SCRAM-SHA-256 *\nS: 334 ZT1pbnZhbGlkLXByb29m\nC: **\nS: 454 later\nEND",
            "deferred 4.7.0 destination",
        ),
        (
            offer("SCRAM-SHA-256 PLAIN")
                + "C: AUTH SCRAM-SHA-256 *\nS: 334 ZT1pbnZhbGlkLXByb29m\nC: **\nS: 235 welcome\nEND",
            "deferred 4.7.0 destination",
        ),
    ];
    let mut bed = Bed::new();
    let password_file = bed.at.path().join("password");
    for (script, expected) in cases {
        fs::write(&password_file, "tanstaaf\nand a second line\n").unwrap();
        let sink = Sink::start(&[&script]).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        target.login = Some(Login { user: "tim".to_owned(), password_file: password_file.clone() });
        let stored = bed.message(HELLO, TO_B, |_| {}).await;
        let outcome = deliver(&relay(target), &stored).await.remove(0);
        assert_eq!(words(&outcome), expected, "{script} {outcome:?}");
        assert!(!format!("{outcome:?}").contains("tanstaaf"));
        sink.is_content();
    }
    // Without a password there is no route.
    fs::write(&password_file, "\n").unwrap();
    let mut target = to(HopProtocol::Smtp, "127.0.0.1:25".parse().unwrap());
    target.login = Some(Login { user: "tim".to_owned(), password_file });
    let names = Resolver::new(&Dns { servers: Vec::new(), timeout: std::time::Duration::from_secs(1) }).unwrap();
    let error = Relay::load(&Arc::new(target), &"here".into(), &Arc::new(names)).unwrap_err();
    assert!(crate::observe::chain(&error).ends_with("its first line is empty"), "{error}");
}

#[tokio::test]
async fn the_client_is_passed_on() {
    use PassOn::{IfAvailable, No, Required};
    let greeting = "S: 220 mx\nC: EHLO *\nS: 250 mx\n";
    let offers = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250-XFORWARD NAME ADDR HELO SOURCE IDENT\nS: 250 XCLIENT NAME ADDR PROTO HELO LOGIN PORT\n";
    let xclient = "C: XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=[UNAVAILABLE] PROTO=ESMTP HELO=client+2Bx.example LOGIN=[UNAVAILABLE]\n";
    let xforward = "C: XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.7 HELO=client+2Bx.example IDENT=MESSAGE*\nS: 250 ok\n";
    let again = "C: EHLO *\nS: 250-mx\nS: 250-XFORWARD NAME ADDR HELO SOURCE IDENT\nS: 250 XCLIENT NAME ADDR PROTO HELO LOGIN PORT\n";
    let taken = "delivered 250 taken";
    let more = TAKEN.strip_suffix("END").unwrap();
    let cases = [
        (No, No, format!("{offers}{more}{TAKEN}"), taken),
        (IfAvailable, IfAvailable, format!("{greeting}{more}{TAKEN}"), taken),
        // Each message has a client of its own.
        (
            IfAvailable,
            No,
            format!("{offers}{xclient}S: 220 mx\n{again}{more}{xclient}S: 220 mx\n{again}{TAKEN}"),
            taken,
        ),
        // As Momentum once answered.
        (Required, No, format!("{offers}{xclient}S: 250 ok\n{again}{more}{xclient}S: 250 ok\n{again}{TAKEN}"), taken),
        (No, Required, format!("{offers}{xforward}{more}{xforward}{TAKEN}"), taken),
        (IfAvailable, No, format!("{offers}{xclient}S: 550 5.7.0 not you\n{more}{xclient}S: 550 no\n{TAKEN}"), taken),
    ];
    let mut bed = Bed::new();
    for (xclient, xforward, script, expected) in cases {
        let sink = Sink::start(&[&script]).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        (target.xclient, target.xforward) = (xclient, xforward);
        let relay = relay(target);
        for _ in 0..2 {
            let stored = bed.message(HELLO, TO_B, |it| it.helo = Some("client+x.example".to_owned())).await;
            assert_eq!(deliver_words(&relay, &stored).await, [expected], "{script}");
        }
        sink.is_content();
    }
    let cases = [
        (Required, No, format!("{greeting}END"), "deferred 4.7.0 destination"),
        (No, Required, format!("{greeting}END"), "deferred 4.7.0 destination"),
        (Required, No, format!("{offers}{xclient}S: 550 5.7.0 not you\nEND"), "deferred 4.7.0 destination"),
    ];
    for (xclient, xforward, script, expected) in cases {
        let sink = Sink::start(&[&script]).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        (target.xclient, target.xforward) = (xclient, xforward);
        let stored = bed.message(HELLO, TO_B, |it| it.helo = Some("client+x.example".to_owned())).await;
        assert_eq!(deliver_words(&relay(target), &stored).await, [expected], "{script}");
        sink.is_content();
    }
    // Who is not known, and who is known by more.
    let script = format!(
        "{offers}C: XCLIENT NAME=client.example ADDR=IPV6:2001:db8::1 PORT=4321 PROTO=SMTP HELO=[UNAVAILABLE] LOGIN=tim\nS: 220 mx\n{again}{TAKEN}"
    );
    let sink = Sink::start(&[&script]).await;
    let mut target = to(HopProtocol::Smtp, sink.address);
    target.xclient = Required;
    let stored = bed
        .message(HELLO, TO_B, |it| {
            it.client = "2001:db8::1".to_owned();
            (it.client_name, it.client_port) = (Some("client.example".to_owned()), Some(4321));
            it.helo = None;
            it.protocol = "SMTP".to_owned();
            it.connection.insert("auth_user".to_owned(), "tim".to_owned());
        })
        .await;
    assert_eq!(deliver_words(&relay(target), &stored).await, [taken]);
    sink.is_content();
}

#[tokio::test]
async fn no_message_goes_on_as_the_client_of_another() {
    let offers = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 XCLIENT NAME ADDR PROTO HELO LOGIN PORT\n";
    let again = "C: EHLO *\nS: 250-mx\nS: 250 XCLIENT NAME ADDR PROTO HELO LOGIN PORT\n";
    let silent = "C: EHLO *\nS: 250 mx\n";
    let more = TAKEN.strip_suffix("END").unwrap();
    let fresh = format!("{offers}C: XCLIENT *\nS: 550 no\n{TAKEN}");
    for first in [
        format!("{offers}C: XCLIENT *\nS: 220 mx\n{again}{more}C: XCLIENT *\nS: 550 no\nEND"),
        format!("{offers}C: XCLIENT *\nS: 220 mx\n{silent}{more}END"),
    ] {
        let sink = Sink::start(&[&first, &fresh]).await;
        let mut target = to(HopProtocol::Smtp, sink.address);
        target.xclient = PassOn::IfAvailable;
        let (relay, mut bed) = (relay(target), Bed::new());
        for _ in 0..2 {
            let stored = bed.message(HELLO, TO_B, |_| {}).await;
            assert_eq!(deliver_words(&relay, &stored).await, ["delivered 250 taken"], "{first}");
        }
        assert_eq!(sink.connections(), 2);
        sink.is_content();
    }
}
