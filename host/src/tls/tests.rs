#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::config::{Certificate, Place, Tls, TlsMode};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

mod clients;
mod hostile;
mod renewal;

/// A certificate of its own authority, with its key.
struct Pair {
    der: CertificateDer<'static>,
    chain: String,
    key: String,
}

fn pair(name: &str) -> Pair {
    signed_by(name, KeyPair::generate().unwrap())
}

fn signed_by(name: &str, key: KeyPair) -> Pair {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    Pair { der: certificate.der().clone(), chain: certificate.pem(), key: key.serialize_pem() }
}

/// What `tls.certificates` says about files with these texts.
fn written(directory: &Path, texts: &[(&str, &str)]) -> Tls {
    let certificates = texts.iter().enumerate().map(|(index, (chain, key))| {
        let file = |name: &str, text: &str| {
            let path = directory.join(format!("{name}{index}.pem"));
            fs::write(&path, text).unwrap();
            path
        };
        Certificate { chain: file("chain", chain), key: file("key", key), place: Place::default() }
    });
    Tls { mode: TlsMode::Starttls, certificates: certificates.collect(), ..Tls::default() }
}

fn acceptor(pairs: &[&Pair]) -> Acceptor {
    let directory = TempDir::new().unwrap();
    let texts: Vec<_> = pairs.iter().map(|pair| (&*pair.chain, &*pair.key)).collect();
    Acceptor::load(&written(directory.path(), &texts)).unwrap()
}

/// A client that trusts these certificates and nothing else.
fn client(trusted: &[&Pair], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_with(ring::default_provider(), trusted, versions)
}

fn client_with(
    provider: CryptoProvider,
    trusted: &[&Pair],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Holds a whole connection; what the server knows of it, the certificate it presented, and whether it was resumed.
async fn connect(
    acceptor: &Acceptor,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> (Facts, CertificateDer<'static>, HandshakeKind) {
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::clone(client));
    let server = async {
        let (mut stream, facts) = acceptor.accept(near).await.unwrap();
        stream.write_all(b"220 ready\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        facts
    };
    let peer = async {
        let mut stream = connector.connect(ServerName::try_from(name).unwrap(), far).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "220 ready\r\n");
        let (_, connection) = stream.get_ref();
        (connection.peer_certificates().unwrap()[0].clone(), connection.handshake_kind().unwrap())
    };
    let (facts, (certificate, kind)) = tokio::join!(server, peer);
    (facts, certificate, kind)
}

#[tokio::test]
async fn both_versions_are_spoken_and_told_apart() {
    let mx = pair("mx.example.org");
    let acceptor = acceptor(&[&mx]);
    for (version, facts) in [
        (&TLS13, ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)),
        (&TLS12, ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 256)),
    ] {
        let client = Arc::new(client(&[&mx], &[version]));
        let (found, _, _) = connect(&acceptor, &client, "mx.example.org").await;
        assert_eq!((&*found.version, &*found.cipher, found.cipher_bits), facts);
        assert_eq!(found.server_name.as_deref(), Some("mx.example.org"));
    }
}

#[tokio::test]
async fn the_certificate_follows_the_name_and_else_is_the_first() {
    let [mx, wild, address] = ["mx.example.org", "*.example.net", "127.0.0.1"].map(pair);
    let acceptor = acceptor(&[&mx, &wild, &address]);
    let client = |trusted| Arc::new(client(&[trusted], &[&TLS13]));
    for (name, expected) in [("MX.example.org", &mx), ("a.example.net", &wild)] {
        assert_eq!(connect(&acceptor, &client(expected), name).await.1, expected.der, "{name}");
    }
    // No SNI is sent for an address (RFC 6066 section 3), so the default it is, which this client refuses.
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(client(&mx));
    let (server, peer) =
        tokio::join!(acceptor.accept(near), connector.connect(ServerName::try_from("127.0.0.1").unwrap(), far));
    assert!(server.is_err() || server.unwrap().1.server_name.is_none());
    assert!(peer.unwrap_err().to_string().contains("mx.example.org"));
}

#[tokio::test]
async fn a_client_gets_a_key_it_can_verify() {
    let edwards = signed_by("mx.example.org", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let curve = pair("other.example.org");
    let acceptor = acceptor(&[&edwards, &curve]);
    let mut provider = ring::default_provider();
    // Leave out what would verify the first.
    let all = provider.signature_verification_algorithms;
    let mapping: Vec<_> =
        all.mapping.iter().copied().filter(|(scheme, _)| *scheme != rustls::SignatureScheme::ED25519).collect();
    provider.signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: all.all, mapping: Vec::leak(mapping) };
    let few = Arc::new(client_with(provider, &[&curve], &[&TLS13]));
    assert_eq!(connect(&acceptor, &few, "other.example.org").await.1, curve.der);
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(few);
    let (_, peer) =
        tokio::join!(acceptor.accept(near), connector.connect(ServerName::try_from("mx.example.org").unwrap(), far));
    // Not by the name, but by the key it can verify.
    assert!(peer.unwrap_err().to_string().contains("other.example.org"));
}

#[tokio::test]
async fn a_session_is_resumed_where_it_was_made_and_nowhere_else() {
    let mx = pair("mx.example.org");
    let (first, second) = (acceptor(&[&mx]), acceptor(&[&mx]));
    for version in [&TLS13, &TLS12] {
        let client = Arc::new(client(&[&mx], &[version]));
        let mut kinds = Vec::new();
        for acceptor in [&first, &first.clone(), &second] {
            kinds.push(connect(acceptor, &client, "mx.example.org").await.2);
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full], "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_handshake_ends() {
    let acceptor = acceptor(&[&pair("mx.example.org")]);
    let (near, mut far) = duplex(1024);
    // The start of a ClientHello, and no more of it.
    far.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let error = acceptor.accept(near).await.unwrap_err().0;
    assert_eq!(error.to_string(), "the handshake took longer than 30s");
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert_or_an_end() {
    let acceptor = acceptor(&[&pair("mx.example.org")]);
    for (octets, answered) in [(&b"RSET\r\nNOOP\r\n"[..], true), (b"\x16\x03\x01\x00\x00", true), (b"", false)] {
        let (near, mut far) = duplex(1024);
        far.write_all(octets).await.unwrap();
        far.shutdown().await.unwrap();
        let error = acceptor.accept(near).await.unwrap_err().0;
        assert!(matches!(error, HandshakeError::Failed(_)) && !error.to_string().is_empty());
        let mut reply = Vec::new();
        far.read_to_end(&mut reply).await.unwrap();
        // 21 is an alert (RFC 8446 section 5.1).
        assert_eq!(reply.first() == Some(&21), answered, "{octets:?} {reply:?}");
    }
}

#[test]
fn unusable_files_are_named_with_their_fault() {
    let (good, other) = (pair("mx.example.org"), pair("other.example.org"));
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let no_base64 = good.chain.replacen("MII", "M!!", 1);
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let wrong_order = format!("{}{}", other.chain, good.chain);
    let broken_later = format!("{}{not_x509}", good.chain);
    let large = "#".repeat(1024 * 1024 + 1);

    let no_pem = "chain: it holds no certificate in PEM";
    for (chain, key, expected) in [
        ("", &*good.key, no_pem),
        (&good.key, &good.key, no_pem),
        ("\0\u{1b}garbage", &good.key, no_pem),
        (&half(&good.chain), &good.key, "chain: a PEM section in it has no end; is it written only in part?"),
        (&no_base64, &good.key, "chain: it is not well-formed PEM"),
        (not_x509, &good.key, "chain: certificate 1 in it cannot be used: invalid peer certificate: BadEncoding"),
        (&broken_later, &good.key, "chain: certificate 2 in it cannot be used: invalid peer certificate: BadEncoding"),
        (&large, &good.key, "chain: it is larger than 1 MiB"),
        (&wrong_order, &good.key, "chain: the key belongs to certificate 2 in it, which must be the first"),
        (&good.chain, "", "key: it holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)"),
        (&good.chain, &good.chain, "key: it holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)"),
        (&good.chain, &half(&good.key), "key: a PEM section in it has no end; is it written only in part?"),
        (
            &good.chain,
            not_a_key,
            "key: the key in it is of no kind that can be used: unexpected error: failed to parse private key as RSA, \
             ECDSA, or EdDSA",
        ),
        (&good.chain, encrypted, "key: the key in it is encrypted, and there is nobody to ask for the passphrase"),
        (&good.chain, old_encrypted, "key: the key in it is encrypted, and there is nobody to ask for the passphrase"),
        (&good.chain, &other.key, "key: the key in it does not belong to the first certificate of the chain"),
    ] {
        let directory = TempDir::new().unwrap();
        let tls = written(directory.path(), &[(&good.chain, &good.key), (chain, key)]);
        let error = Acceptor::load(&tls).unwrap_err();
        assert_eq!(error.index(), Some(1));
        let text = chained(&error).replace(&format!("{}/", directory.path().display()), "");
        let text = text
            .replace("cannot use the certificate chain chain1.pem", "chain")
            .replace("cannot use the private key key1.pem", "key");
        assert_eq!(text, expected);
    }
}

#[test]
fn missing_files_are_named() {
    let directory = TempDir::new().unwrap();
    let mut tls = written(directory.path(), &[("", "")]);
    tls.certificates[0].chain = directory.path().join("absent.pem");
    let error = Acceptor::load(&tls).unwrap_err();
    assert_eq!(
        chained(&error),
        format!(
            "cannot use the certificate chain {}/absent.pem: it cannot be read: No such file or directory (os error 2)",
            directory.path().display()
        )
    );
    tls.certificates.clear();
    assert!(matches!(Acceptor::load(&tls), Err(TlsError::NoCertificate)));
}

#[test]
fn a_key_may_stand_in_the_file_of_its_chain() {
    let directory = TempDir::new().unwrap();
    let mx = pair("mx.example.org");
    let both = format!("{}{}", mx.key, mx.chain);
    assert!(Acceptor::load(&written(directory.path(), &[(&both, &both)])).is_ok());
}

#[test]
fn the_fingerprint_tells_whether_something_changed() {
    let (a, b) = (pair("mx.example.org"), pair("mx.example.org"));
    let prints = [&[&a][..], &[&a], &[&b], &[&a, &b], &[&b, &a]].map(|pairs| acceptor(pairs).fingerprint());
    assert_eq!(prints[0], prints[1]);
    for (i, one) in prints.iter().enumerate().skip(1) {
        assert!(prints.iter().skip(i + 1).all(|other| other != one));
    }
}

#[test]
fn a_certificate_stands_by_its_dates() {
    let directory = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 4, 1);
    // What `openssl req -x509` makes: its own authority.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let chain = params.self_signed(&key).unwrap().pem();
    let acceptor = Acceptor::load(&written(directory.path(), &[(&chain, &key.serialize_pem())])).unwrap();
    let [validity] = &*acceptor.validity() else { panic!("one certificate") };

    let at = |year, month, day| SystemTime::from(date_time_ymd(year, month, day));
    assert_eq!((validity.not_before, validity.not_after), (at(2026, 1, 1), at(2026, 4, 1)));
    assert_eq!(validity.chain, directory.path().join("chain0.pem"));
    for (now, standing) in [
        (at(2025, 12, 31), Standing::Early),
        (UNIX_EPOCH, Standing::Early),
        (at(2026, 1, 1), Standing::Good),
        (at(2026, 3, 1), Standing::Good),
        (at(2026, 3, 3), Standing::Ageing),
        (at(2026, 4, 1), Standing::Ageing),
        (at(2026, 4, 2), Standing::Expired),
        (at(2106, 1, 1), Standing::Expired),
    ] {
        assert_eq!(validity.standing(now), standing, "{now:?}");
    }
}

fn chained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
