//! What a proxy said of a connection it passed on. Who may be a proxy, and how it says it, the file does not know.

use std::net::SocketAddr;

/// The proxy a connection came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The proxy's end of the connection to this server.
    pub proxy: SocketAddr,
    /// Whether its header named the client. Else the proxy speaks for itself, or does not know whose connection it is.
    pub named: bool,
    /// What else it said, as context names and values: `proxy_authority`, `proxy_alpn`, `proxy_unique_id` (hexadecimal),
    /// `proxy_tls_version`, `proxy_tls_cipher`, `proxy_tls_common_name`, and `proxy_tls_verified` (`yes`, or it is not
    /// there). What stands in them the client may have chosen; they are bounded and hold no control characters.
    pub said: Vec<(String, String)>,
}
