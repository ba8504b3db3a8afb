//! `[http]`: how the server calls hosts for its extensions. Which hosts those are, the grants say.

use std::path::PathBuf;
use std::time::Duration;

use super::Place;
use super::reader::Table;

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// A PEM file of authorities that may have signed a host's certificate, beside those of the system.
    pub authorities: Option<PathBuf>,
    /// Where it was named.
    pub authorities_place: Place,
    /// How long one request may take, from looking the host up to the end of the answer.
    pub timeout: Duration,
    /// Octets of an answer's body that are kept.
    pub response: u32,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            authorities: None,
            authorities_place: Place::default(),
            timeout: Duration::from_secs(10),
            response: 256 * 1024,
        }
    }
}

impl Http {
    /// `[http]`, every key of which may be left out.
    pub(super) fn read(root: &mut Table<'_>) -> Http {
        let Some(mut table) = root.table("http") else {
            return Http::default();
        };
        let authorities = table.take("authorities");
        let timeout = table.take("timeout");
        let timeout = timeout.and_then(|value| value.duration(Duration::from_millis(1)..=Duration::from_secs(60)));
        let response = table.take("response").and_then(|value| value.octets(0..=64 * 1024 * 1024));
        table.finish();
        let default = Http::default();
        Http {
            authorities: authorities.and_then(|value| value.path()),
            authorities_place: authorities.map_or(default.authorities_place, |value| value.place),
            timeout: timeout.unwrap_or(default.timeout),
            response: response.unwrap_or(default.response),
        }
    }
}
