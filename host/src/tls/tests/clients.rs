//! Certificates of clients: asked for, taken, verified, restored from a ticket.

use super::*;
use crate::config::TlsClients;
use rcgen::{BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, SignatureScheme};
use std::path::PathBuf;
use std::sync::Mutex;
use x509_parser::prelude::{FromDer, X509Name};

/// Who signs the certificates of clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut params = valid(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// What a certificate by this common name says, valid for a century.
fn valid(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
    params
}

/// What a client shows, whatever it is asked for; it notes the hints it was given.
#[derive(Debug)]
struct Shown {
    certified: Option<Arc<CertifiedKey>>,
    hints: Mutex<Vec<DistinguishedName>>,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.hints.lock().unwrap() = hints.iter().map(|hint| DistinguishedName::from(hint.to_vec())).collect();
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn shown(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Option<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
    Some(Arc::new(CertifiedKey::new(chain, key)))
}

/// What `authority` signed.
fn issued(authority: &Authority, params: &CertificateParams) -> Option<Arc<CertifiedKey>> {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    shown(vec![certificate.der().clone()], &key)
}

fn showing(
    server: &Pair,
    certified: Option<Arc<CertifiedKey>>,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ClientConfig>, Arc<Shown>) {
    let mut config = client(&[server], &[version]);
    let shown = Arc::new(Shown { certified, hints: Mutex::default() });
    config.client_auth_cert_resolver = shown.clone();
    (Arc::new(config), shown)
}

struct Listener {
    mx: Pair,
    tls: Tls,
    directory: TempDir,
}

fn listener(clients: TlsClients, authorities: &[&str]) -> Listener {
    let (mx, directory) = (pair("mx.example.org"), TempDir::new().unwrap());
    let mut tls = written(directory.path(), &[(&mx.chain, &mx.key)]);
    tls.clients = clients;
    let file = |(index, text): (usize, &&str)| {
        let path = directory.path().join(format!("authorities{index}.pem"));
        fs::write(&path, text).unwrap();
        path
    };
    tls.client_authorities = authorities.iter().enumerate().map(file).collect::<Vec<PathBuf>>();
    Listener { mx, tls, directory }
}

/// What both ends have of a connection: the facts, or how it ended for the client.
async fn meet(acceptor: &Acceptor, config: &Arc<ClientConfig>) -> Result<Facts, (HandshakeError, String)> {
    let (near, far) = duplex(256 * 1024);
    let connector = TlsConnector::from(Arc::clone(config));
    let server = async {
        let (mut stream, facts) = acceptor.accept(near).await.map_err(|(error, _)| error)?;
        stream.write_all(b"220 ready\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(facts)
    };
    let peer = async {
        let mut stream = connector.connect(ServerName::try_from("mx.example.org").unwrap(), far).await?;
        // In TLS 1.3 a client hears only now that its certificate was refused.
        stream.read_to_string(&mut String::new()).await
    };
    let (server, peer) = tokio::join!(server, peer);
    server.map_err(|error| (error, peer.map_or_else(|error| error.to_string(), |_| "served".to_owned())))
}

const OPTIONAL: TlsClients = TlsClients::Optional;
const REQUIRED: TlsClients = TlsClients::Required;

#[tokio::test]
async fn who_is_verified_and_who_is_let_in() {
    let (known, unknown) = (authority("known"), authority("known"));
    let params = |edit: &dyn Fn(&mut CertificateParams)| {
        let mut params = valid("mail");
        edit(&mut params);
        params
    };
    let own_key = KeyPair::generate().unwrap();
    let self_signed = valid("mail").self_signed(&own_key).unwrap().der().clone();
    let padded = |octets| {
        params(&|params| {
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![4; octets])];
        })
    };
    let good = issued(&known, &valid("mail"));
    let with = |more: Vec<CertificateDer<'static>>| {
        let good = good.as_ref().unwrap();
        let chain = good.cert.iter().cloned().chain(more).collect();
        Some(Arc::new(CertifiedKey::new(chain, good.key.clone())))
    };
    let garbage = CertificateDer::from(b"\x30\x03\x02\x01".to_vec());
    for (what, certified, optional, alert) in [
        ("good", good.clone(), Some(true), None),
        ("signed by nobody known", issued(&unknown, &valid("mail")), Some(false), Some("DecryptError")),
        ("by an unknown name", issued(&authority("unknown"), &valid("mail")), Some(false), Some("UnknownCA")),
        ("its own authority", shown(vec![self_signed], &own_key), Some(false), Some("UnknownCA")),
        (
            "expired",
            issued(&known, &params(&|params| params.not_after = date_time_ymd(2021, 1, 1))),
            Some(false),
            Some("CertificateExpired"),
        ),
        (
            "for later",
            issued(&known, &params(&|params| params.not_before = date_time_ymd(2110, 1, 1))),
            Some(false),
            Some("CertificateExpired"),
        ),
        (
            "for servers only",
            issued(&known, &params(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
            Some(false),
            Some("UnsupportedCertificate"),
        ),
        ("16 KiB in one", issued(&known, &padded(16 * 1024)), Some(true), None),
        ("as long as may be", issued(&known, &padded(31 * 1024)), Some(true), None),
        ("16 KiB of others behind it", with(vec![good.as_ref().unwrap().cert[0].clone(); 40]), Some(true), None),
        ("garbage behind it", with(vec![garbage.clone()]), Some(true), None),
        ("too long", issued(&known, &padded(33 * 1024)), None, Some("CertificateUnknown")),
        ("garbage", shown(vec![garbage.clone()], &own_key), None, Some("BadCertificate")),
        ("the key of another", shown(good.as_ref().unwrap().cert.clone(), &own_key), None, Some("DecryptError")),
    ] {
        for (clients, version) in [(OPTIONAL, &TLS13), (OPTIONAL, &TLS12), (REQUIRED, &TLS13), (REQUIRED, &TLS12)] {
            let Listener { mx, tls, directory: _directory } = listener(clients, &[&known.pem]);
            let acceptor = Acceptor::load(&tls).unwrap();
            let found = meet(&acceptor, &showing(&mx, certified.clone(), version).0).await;
            let expected = if clients == REQUIRED { optional.filter(|_| alert.is_none()) } else { optional };
            match (found, expected) {
                (Ok(facts), Some(verified)) => {
                    let client = facts.client.unwrap();
                    assert_eq!(client.verified, verified, "{what} {clients:?} {version:?}");
                    assert_eq!(client.subject, "CN=mail,O=Example");
                    assert_eq!(client.subject_cn.as_deref(), Some("mail"));
                }
                (Err((_, seen)), None) => {
                    assert_eq!(
                        Some(&*seen),
                        alert.map(|alert| format!("received fatal alert: {alert}")).as_deref(),
                        "{what} {clients:?} {version:?}"
                    );
                }
                (found, _) => panic!("{what} {clients:?} {version:?}: {found:?}"),
            }
        }
    }
}

#[tokio::test]
async fn no_certificate_is_an_alert_where_one_is_required() {
    let known = authority("known");
    for (clients, version, alert) in [
        (TlsClients::Off, &TLS13, None),
        (OPTIONAL, &TLS13, None),
        (OPTIONAL, &TLS12, None),
        (REQUIRED, &TLS13, Some("received fatal alert: CertificateRequired")),
        (REQUIRED, &TLS12, Some("received fatal alert: CertificateRequired")),
    ] {
        let listener = listener(clients, &[&known.pem]);
        let acceptor = Acceptor::load(&listener.tls).unwrap();
        match meet(&acceptor, &showing(&listener.mx, None, version).0).await {
            Ok(facts) => assert_eq!((facts.client, alert), (None, None), "{clients:?} {version:?}"),
            Err((_, seen)) => assert_eq!(Some(&*seen), alert, "{clients:?} {version:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_is_not_asked_shows_nothing() {
    let known = authority("known");
    let listener = listener(TlsClients::Off, &[&known.pem]);
    let acceptor = Acceptor::load(&listener.tls).unwrap();
    let (config, _) = showing(&listener.mx, issued(&known, &valid("mail")), &TLS13);
    assert_eq!(meet(&acceptor, &config).await.unwrap().client, None);
}

#[tokio::test]
async fn without_authorities_any_certificate_is_taken_and_none_is_verified() {
    let listener = listener(OPTIONAL, &[]);
    let acceptor = Acceptor::load(&listener.tls).unwrap();
    let (config, shown) = showing(&listener.mx, issued(&authority("any"), &valid("mail")), &TLS13);
    let client = meet(&acceptor, &config).await.unwrap().client.unwrap();
    assert_eq!((&*client.issuer, client.issuer_cn.as_deref()), ("CN=any,O=Example", Some("any")));
    assert!(!client.verified && shown.hints.lock().unwrap().is_empty());
}

#[tokio::test]
async fn clients_are_told_who_may_have_signed() {
    let (one, two) = (authority("one"), authority("two"));
    // Two files, and two in one file.
    for files in [&[&*one.pem, &two.pem][..], &[&format!("{}{}", one.pem, two.pem)]] {
        let listener = listener(OPTIONAL, files);
        let acceptor = Acceptor::load(&listener.tls).unwrap();
        for version in [&TLS13, &TLS12] {
            let (config, shown) = showing(&listener.mx, issued(&two, &valid("mail")), version);
            assert!(meet(&acceptor, &config).await.unwrap().client.unwrap().verified);
            let hints = shown.hints.lock().unwrap();
            let names = hints.iter().map(|hint| {
                let (_, name) = X509Name::from_der(hint.as_ref()).unwrap();
                name.iter_common_name().next().unwrap().as_str().unwrap().to_owned()
            });
            assert_eq!(names.collect::<Vec<_>>(), ["one", "two"]);
        }
    }
    // So many that clients might choke on them.
    let many: String = (0..4).map(|index| authority(&format!("{index}{}", "x".repeat(5000))).pem).collect();
    let listener = listener(OPTIONAL, &[&many]);
    let (config, shown) = showing(&listener.mx, issued(&one, &valid("mail")), &TLS12);
    meet(&Acceptor::load(&listener.tls).unwrap(), &config).await.unwrap();
    assert!(shown.hints.lock().unwrap().is_empty());
}

#[test]
fn unusable_authorities_are_named_with_their_fault() {
    let good = authority("good").pem;
    let broken = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (text, fault) in [
        ("", "it holds no certificate in PEM"),
        (&good[..good.len() / 2], "a PEM section in it has no end; is it written only in part?"),
        (&broken, "certificate 2 in it cannot be used: invalid peer certificate: BadEncoding"),
    ] {
        let listener = listener(OPTIONAL, &[&good, text]);
        let error = Acceptor::load(&listener.tls).unwrap_err();
        assert_eq!(error.index(), None);
        let file = listener.directory.path().join("authorities1.pem");
        assert_eq!(chained(&error), format!("cannot use the client authorities {}: {fault}", file.display()));
    }
    let error = Acceptor::load(&listener(REQUIRED, &[]).tls).unwrap_err();
    assert_eq!(chained(&error), "a client certificate is required and no authority is named");
}

#[tokio::test]
async fn a_resumed_session_shows_the_same_client_and_verifies_it_anew() {
    let known = authority("known");
    let mut params = valid("mail");
    params.not_after = date_time_ymd(2026, 6, 1);
    let certified = issued(&known, &params);
    for version in [&TLS13, &TLS12] {
        let listener = listener(OPTIONAL, &[&known.pem]);
        let clock = Clock::at(date_time_ymd(2026, 5, 1));
        let acceptor = Acceptor::load_by(&listener.tls, clock.clone()).unwrap();
        let (config, _) = showing(&listener.mx, certified.clone(), version);
        let mut seen = Vec::new();
        for day in [date_time_ymd(2026, 5, 1), date_time_ymd(2026, 5, 31), date_time_ymd(2026, 6, 2)] {
            clock.set(day);
            let (facts, _, kind) = connect(&acceptor, &config, "mx.example.org").await;
            let client = facts.client.unwrap();
            assert_eq!((&*client.subject, &*client.issuer), ("CN=mail,O=Example", "CN=known,O=Example"));
            seen.push((kind, client.verified));
        }
        let resumed = HandshakeKind::Resumed;
        assert_eq!(seen, [(HandshakeKind::Full, true), (resumed, true), (resumed, false)], "{version:?}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_it_is_shown_each_time() {
    let known = authority("known");
    for version in [&TLS13, &TLS12] {
        let listener = listener(REQUIRED, &[&known.pem]);
        let acceptor = Acceptor::load(&listener.tls).unwrap();
        let (config, _) = showing(&listener.mx, issued(&known, &valid("mail")), version);
        for _ in 0..2 {
            let (facts, _, kind) = connect(&acceptor, &config, "mx.example.org").await;
            assert!(facts.client.unwrap().verified);
            assert_eq!(kind, HandshakeKind::Full);
        }
    }
}

#[test]
fn who_is_asked_for_what_is_part_of_the_fingerprint() {
    let (one, two) = (authority("one").pem, authority("two").pem);
    let listener = listener(OPTIONAL, &[&one, &two]);
    let print = |clients, files: &[usize]| {
        let tls = Tls {
            clients,
            client_authorities: files.iter().map(|file| listener.tls.client_authorities[*file].clone()).collect(),
            ..listener.tls.clone()
        };
        Acceptor::load(&tls).unwrap().fingerprint()
    };
    let prints = [
        print(OPTIONAL, &[0]),
        print(OPTIONAL, &[1]),
        print(OPTIONAL, &[0, 1]),
        print(OPTIONAL, &[]),
        print(REQUIRED, &[0]),
        print(TlsClients::Off, &[]),
    ];
    for (i, one) in prints.iter().enumerate() {
        assert!(prints.iter().skip(i + 1).all(|other| other != one));
    }
    assert_eq!(print(OPTIONAL, &[0]), prints[0]);
}

/// A clock that is set by hand.
#[derive(Debug)]
pub(super) struct Clock(Mutex<UnixTime>);

impl Clock {
    pub(super) fn at(time: impl Into<SystemTime>) -> Arc<Clock> {
        let clock = Arc::new(Clock(Mutex::new(UnixTime::since_unix_epoch(Duration::ZERO))));
        clock.set(time);
        clock
    }

    pub(super) fn set(&self, time: impl Into<SystemTime>) {
        *self.0.lock().unwrap() = UnixTime::since_unix_epoch(time.into().duration_since(UNIX_EPOCH).unwrap());
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(*self.0.lock().unwrap())
    }
}
