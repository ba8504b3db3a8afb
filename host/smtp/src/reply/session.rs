//! What the session refuses: the sentences for what the machine leaves to whoever runs it.
//!
//! When each is to be said, the session knows.

use super::Refusal;

/// The recipient is neither ours nor may this client relay.
pub fn relaying_denied() -> Refusal {
    Refusal::sentence(550, "5.7.1", "relaying denied")
}

/// The recipient's domain is ours; there is no such mailbox.
pub fn unknown_mailbox() -> Refusal {
    Refusal::sentence(550, "5.1.1", "no such mailbox")
}

/// What this recipient names as its domain can be none.
pub fn no_domain() -> Refusal {
    Refusal::sentence(553, "5.1.2", "the domain cannot be written as a name of the DNS")
}

/// No route takes this recipient.
pub fn no_route() -> Refusal {
    Refusal::sentence(550, "5.4.4", "no route to this recipient")
}

/// HOLDFOR or HOLDUNTIL asks for more than is granted (RFC 4865 section 4).
pub fn hold_too_long() -> Refusal {
    Refusal::sentence(554, "5.5.4", "a message is not held for so long")
}

/// A message is to be delivered before it is released.
pub fn hold_past_deadline() -> Refusal {
    Refusal::sentence(501, "5.5.4", "BY would be over before the message is released")
}

/// A call into an extension failed, and its `on-failure` is `tempfail`.
pub fn extension_failed() -> Refusal {
    Refusal::sentence(451, "4.3.0", "local error in processing, try again later")
}

/// The same before the banner, or in its place.
pub fn extension_failed_at_connect() -> Refusal {
    Refusal::sentence(421, "4.3.0", "local error in processing, closing connection")
}

/// The session's listener is gone with a new configuration.
pub fn reconfigured() -> Refusal {
    Refusal::sentence(421, "4.3.2", "reconfiguration in progress, closing connection")
}

/// The server ends.
pub fn shutting_down() -> Refusal {
    Refusal::sentence(421, "4.3.2", "server shutting down, closing connection")
}

/// A limit on connections is reached.
pub fn too_many_connections() -> Refusal {
    Refusal::sentence(421, "4.4.5", "Service unavailable, concurrency limit reached")
}

/// The message could not be made durable.
pub fn spool_failed() -> Refusal {
    Refusal::sentence(451, "4.3.0", "message could not be stored, try again later")
}

/// There is no room for the message.
pub fn spool_full() -> Refusal {
    Refusal::sentence(452, "4.3.1", "insufficient system storage")
}

/// Whoever is to take the message over before it is accepted, did not.
pub fn not_handed_over() -> Refusal {
    Refusal::sentence(451, "4.3.0", "message could not be handed over, try again later")
}

/// Whoever is to take the message over takes none that is so large.
pub fn too_large_to_hand_over() -> Refusal {
    Refusal::sentence(552, "5.3.4", "message too large for where it goes")
}

/// An extension's `tempfail` without words of its own.
pub fn policy_tempfail() -> Refusal {
    Refusal::sentence(451, "4.7.1", "refused for now by policy, try again later")
}

/// The same before the banner, or in its place.
pub fn policy_tempfail_at_connect() -> Refusal {
    Refusal::sentence(421, "4.7.0", "refused for now by policy, closing connection")
}

/// An extension's `reject` without words of its own.
pub fn policy_reject() -> Refusal {
    Refusal::sentence(550, "5.7.1", "refused by policy")
}

/// The same before the banner, or in its place.
pub fn policy_reject_at_connect() -> Refusal {
    Refusal::sentence(554, "5.7.1", "refused by policy")
}

/// An extension's `disconnect` without words of its own.
pub fn policy_disconnect() -> Refusal {
    Refusal::sentence(421, "4.7.0", "refused by policy, closing connection")
}

/// Every command but QUIT, after connect policy refused the client.
pub fn locked() -> Refusal {
    Refusal::sentence(503, "5.7.0", "access denied")
}

/// TLS cannot be had now (RFC 3207 section 4).
pub fn tls_unavailable() -> Refusal {
    Refusal::sentence(454, "4.7.0", "TLS not available due to temporary reason")
}

/// The credentials are wrong, or nobody says they are right (RFC 4954 section 6).
pub fn authentication_failed() -> Refusal {
    Refusal::sentence(535, "5.7.8", "authentication credentials invalid")
}

/// Whether the credentials are right cannot be told now (RFC 4954 section 6).
pub fn authentication_unavailable() -> Refusal {
    Refusal::sentence(454, "4.7.0", "temporary authentication failure")
}

/// The client or the user has failed too often of late.
pub fn too_many_failures() -> Refusal {
    Refusal::sentence(454, "4.7.0", "too many failed logins, try again later")
}

/// What the client sent is no base64, or not of the mechanism's form (RFC 4954 section 4).
pub fn authentication_malformed() -> Refusal {
    Refusal::sentence(501, "5.5.2", "malformed authentication exchange")
}

/// The mechanism, or AUTH as such, takes TLS (RFC 4954 section 6).
pub fn encryption_needed() -> Refusal {
    Refusal::sentence(538, "5.7.11", "encryption required for requested authentication mechanism")
}
