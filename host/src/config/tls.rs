//! `tls`: when sessions of a listener are encrypted, with which certificates, and what is asked of the client's.
//!
//! The room opens none of the files.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Table, Value};
use super::{Place, Problem};

/// Whether and how sessions are encrypted.
#[derive(Clone, Debug)]
pub struct Tls {
    /// When TLS begins.
    pub mode: TlsMode,
    /// The first is the default, the others are chosen by the server name the client asks for (SNI). Empty exactly when
    /// the mode is off.
    pub certificates: Vec<Certificate>,
    /// Whether clients are asked for a certificate of theirs.
    pub clients: TlsClients,
    /// Who must have signed it: files of PEM certificates. Absolute.
    pub client_authorities: Vec<PathBuf>,
    /// How long a handshake may take, the wait for a place included.
    pub handshake_timeout: Duration,
    /// Handshakes at a time.
    pub handshakes: u32,
    /// Where `tls` stands in the text, or the listener's name where there is none.
    pub place: Place,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            mode: TlsMode::Off,
            certificates: Vec::new(),
            clients: TlsClients::Off,
            client_authorities: Vec::new(),
            handshake_timeout: Duration::from_secs(30),
            handshakes: 512,
            place: Place::default(),
        }
    }
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsClients {
    /// They are not.
    #[default]
    Off,
    /// They are, and whatever they have is taken; whether it is verified is known afterwards.
    Optional,
    /// Without one that is verified the handshake fails.
    Required,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    #[default]
    Off,
    /// When the client says STARTTLS.
    Starttls,
    /// When the client says STARTTLS, without which it gets no further.
    Required,
    /// With the first octet.
    Implicit,
}

impl TlsMode {
    /// The word for it in `tls.mode`.
    pub fn name(self) -> &'static str {
        match self {
            TlsMode::Off => "off",
            TlsMode::Starttls => "starttls",
            TlsMode::Required => "required",
            TlsMode::Implicit => "implicit",
        }
    }
}

/// A certificate chain with its private key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own certificate first. Absolute.
    pub chain: PathBuf,
    /// The private key. Absolute.
    pub key: PathBuf,
    /// Where it stands in the text.
    pub place: Place,
}

impl Tls {
    /// `tls` of a listener; none where something was noted, so that nobody judges by what is wrong already.
    pub(super) fn read(listener: &mut Table<'_>) -> Option<Tls> {
        let off = Tls { place: listener.place, ..Tls::default() };
        let Some(value) = listener.take("tls") else {
            return Some(off);
        };
        let mut table = value.table()?;
        let mode = table.take("mode");
        let certificates = table.take("certificates");
        let clients = table.take("clients");
        let authorities = table.take("client-authorities");
        let timeout = table.take("handshake-timeout");
        let handshakes = table.take("handshakes");
        table.finish();
        let chosen = mode.map_or(Some(TlsMode::Off), |mode| mode.choice(&TLS_MODES));
        let pairs = certificates.map_or(Some(Vec::new()), |value| value.each(Certificate::read));
        let asked = clients.map_or(Some(TlsClients::Off), |clients| clients.choice(&TLS_CLIENTS));
        let signers = authorities.map_or(Some(Vec::new()), |value| value.each(Value::path));
        let second = Duration::from_secs(1);
        let handshake_timeout = timeout.map_or(Some(off.handshake_timeout), |it| it.duration(second..=second * 600));
        let most = handshakes.map_or(Some(off.handshakes), |it| it.count(1..=100_000));

        // Whether they fit each other can be said when both were read.
        if let (Some(chosen), Some(_)) = (chosen, &pairs) {
            let place = mode.map_or(value.key, |mode| mode.place);
            check_certificates(value, chosen, place, certificates.filter(|value| !is_empty_list(*value)));
        }
        if chosen == Some(TlsMode::Off) {
            for useless in [clients, authorities, timeout, handshakes].into_iter().flatten() {
                let message = format!("`tls.{}` without TLS", useless.name);
                let help = "add `tls.mode = \"starttls\"`, \"required\" or \"implicit\", or leave it out";
                useless.note(Problem::at(useless.key, message).help(help));
            }
        } else if let Some(asked) = asked {
            check_clients(value, asked, clients, authorities);
        }
        Some(Tls {
            mode: chosen?,
            certificates: pairs?,
            clients: asked?,
            client_authorities: signers?,
            handshake_timeout: handshake_timeout?,
            handshakes: most?,
            place: value.key,
        })
    }
}

/// Without a certificate there is no TLS, and without TLS no use for one. `place` is where the mode was chosen.
fn check_certificates(tls: Value<'_>, chosen: TlsMode, place: Place, certificates: Option<Value<'_>>) {
    match (chosen, certificates) {
        (TlsMode::Off, Some(certificates)) => certificates.note(
            Problem::at(certificates.key, "certificates without TLS")
                .help("add `tls.mode = \"starttls\"`, \"required\" or \"implicit\", or leave them out"),
        ),
        (TlsMode::Starttls | TlsMode::Required | TlsMode::Implicit, None) => tls.note(
            Problem::at(place, "TLS without a certificate")
                .help("add `tls.certificates = [{ chain = \"tls/cert.pem\", key = \"tls/key.pem\" }]`"),
        ),
        _ => {}
    }
}

/// A certificate can be demanded only where somebody can have signed it. Where it is optional it may be taken unverified:
/// whoever reads it later is told so.
fn check_clients(tls: Value<'_>, asked: TlsClients, clients: Option<Value<'_>>, authorities: Option<Value<'_>>) {
    match (asked, authorities.filter(|value| !is_empty_list(*value))) {
        (TlsClients::Required, None) => tls.note(
            Problem::at(
                clients.map_or(tls.key, |clients| clients.place),
                "no client certificate could ever be verified",
            )
            .help("add `tls.client-authorities = [\"tls/ca.pem\"]`: who signs them"),
        ),
        (TlsClients::Off, Some(authorities)) => authorities.note(
            Problem::at(authorities.key, "`tls.client-authorities` where no client is asked for a certificate")
                .help("add `tls.clients = \"optional\"` or \"required\", or leave them out"),
        ),
        _ => {}
    }
}

fn is_empty_list(value: Value<'_>) -> bool {
    matches!(value.raw, DeValue::Array(items) if items.is_empty())
}

const TLS_MODES: [(&str, TlsMode); 4] = [
    ("off", TlsMode::Off),
    ("starttls", TlsMode::Starttls),
    ("required", TlsMode::Required),
    ("implicit", TlsMode::Implicit),
];

const TLS_CLIENTS: [(&str, TlsClients); 3] =
    [("off", TlsClients::Off), ("optional", TlsClients::Optional), ("required", TlsClients::Required)];

impl Certificate {
    pub(super) fn read(value: Value<'_>) -> Option<Certificate> {
        let mut table = value.table()?;
        let chain = table.require("chain", "\"tls/cert.pem\"").and_then(Value::path);
        let key = table.require("key", "\"tls/key.pem\"").and_then(Value::path);
        table.finish();
        Some(Certificate { chain: chain?, key: key?, place: value.place })
    }
}
