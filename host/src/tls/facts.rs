//! What is known of a connection once the handshake is done.

use super::name;
use super::served::Served;
use rustls::pki_types::UnixTime;
use rustls::{CipherSuite, ConnectionCommon, ProtocolVersion, ServerConnection};

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its IANA name, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The strength of the symmetric cipher in bits.
    pub cipher_bits: u16,
    /// The server name the client asked for (SNI), in lower case.
    pub server_name: Option<String>,
    /// The certificate the client showed.
    pub client: Option<ClientCertificate>,
    /// What SCRAM binds a login to (tls-exporter, RFC 9266); none before TLS 1.3.
    pub channel_binding: Option<ChannelBinding>,
}

/// What is known of a client by its certificate, whose key it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// Its common name.
    pub subject_cn: Option<String>,
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// Its common name.
    pub issuer_cn: Option<String>,
    /// The first e-mail address among the subject's other names.
    pub email: Option<String>,
    /// Whether one of the listener's authorities stands behind it, and it holds now.
    pub verified: bool,
}

/// Octets that two ends of one TLS connection have in common and nobody else. It is no secret of the user's, and still
/// nobody's to see.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding(pub [u8; 32]);

impl ChannelBinding {
    /// Of either end of a connection whose handshake is done, RFC 9266's tls-exporter. Before TLS 1.3 it would need the
    /// extended master secret, which is not everywhere.
    pub fn of<Side>(connection: &ConnectionCommon<Side>) -> Option<ChannelBinding> {
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok().map(ChannelBinding)
    }
}

impl std::fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelBinding")
    }
}

impl Facts {
    /// Reads them off a connection whose handshake is done. `now` is none when there is no clock, and nothing is
    /// verified by it.
    pub(super) fn of(connection: &ServerConnection, served: &Served, now: Option<UnixTime>) -> Facts {
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        Facts {
            version: connection.protocol_version().map_or_else(|| "unknown".to_owned(), version_name),
            cipher: suite.map_or_else(|| "unknown".to_owned(), cipher_name),
            cipher_bits: suite.map_or(0, cipher_bits),
            server_name: connection.server_name().map(str::to_ascii_lowercase),
            client: client(connection, served, now),
            channel_binding: ChannelBinding::of(connection),
        }
    }
}

/// The certificate, which a resumed session has from its ticket. It is verified now and not when the ticket was made, for
/// it may have expired since.
fn client(connection: &ServerConnection, served: &Served, now: Option<UnixTime>) -> Option<ClientCertificate> {
    let chain = connection.peer_certificates()?;
    let clients = served.clients.as_ref()?;
    // One whose names cannot be read is nobody's.
    let Some(names) = name::read(chain.first()?) else { return Some(ClientCertificate::default()) };
    Some(ClientCertificate { verified: now.is_some_and(|now| clients.verified(chain, now)), ..names })
}

/// As OpenSSL writes it, and with it every log and header field of the trade.
fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// rustls spells the suites of TLS 1.3 with the version, the registry (RFC 8446 appendix B.4) without.
fn cipher_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

fn cipher_bits(suite: CipherSuite) -> u16 {
    use CipherSuite::*;
    match suite {
        TLS13_AES_128_GCM_SHA256 | TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 | TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            128
        }
        TLS13_AES_256_GCM_SHA384
        | TLS13_CHACHA20_POLY1305_SHA256
        | TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        | TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => 256,
        // The provider offers no other; its list is compared with this one by a test.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_on_offer_has_its_registered_name_and_strength() {
        let mut known: Vec<_> = rustls::crypto::ring::ALL_CIPHER_SUITES
            .iter()
            .map(|suite| (cipher_name(suite.suite()), cipher_bits(suite.suite())))
            .collect();
        known.sort();
        let expected = [
            ("TLS_AES_128_GCM_SHA256", 128),
            ("TLS_AES_256_GCM_SHA384", 256),
            ("TLS_CHACHA20_POLY1305_SHA256", 256),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 128),
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 256),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 256),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 128),
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 256),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 256),
        ];
        assert_eq!(known, expected.map(|(name, bits)| (name.to_owned(), bits)));
    }
}
