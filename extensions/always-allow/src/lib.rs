//! Authenticates every session of the peers it is there for, or forbids all authentication.
//!
//! Momentum's ALWAYS-ALLOW and Always_Deny. It knows neither who the peer is nor what a login is good for: for whom it
//! is there stands in the operator's `peers`, and what an authenticated session may do is the host's.

use pillarbox_sdk::{Connect, Decision, Extension, Reply, authentication, error, settings};

#[derive(Debug)]
enum AlwaysAllow {
    /// Every session is authenticated as this user.
    Allow { user: String },
    /// No session can authenticate.
    Deny,
}

impl Extension for AlwaysAllow {
    fn init() -> Result<Self, String> {
        settings::only(&["user", "deny", "mode"])?;
        let user = settings::text("user")?.unwrap_or_else(|| "anonymous".to_owned());
        let deny = settings::boolean("deny")?.unwrap_or(false);
        let mode = settings::text("mode")?.unwrap_or_else(|| "connect".to_owned());
        choose(user, deny, &mode)
    }
}

impl Connect for AlwaysAllow {
    fn connect(&mut self) -> Decision {
        match self {
            Self::Allow { user } => {
                if let Err(why) = authentication::allow(user) {
                    // The session goes on as what it is: not authenticated.
                    error!("cannot authenticate as {user}: {}", why.describe());
                }
                Decision::next()
            }
            Self::Deny => match authentication::forbid() {
                Ok(()) => Decision::next(),
                // A session that could still authenticate is not what the operator asked for.
                Err(why) => {
                    error!("cannot forbid authentication: {}", why.describe());
                    Decision::tempfail(Reply::new(421, "4.3.0", "try again later"))
                }
            },
        }
    }
}

pillarbox_sdk::export!(AlwaysAllow: connect);

/// Denying wins, as in Momentum.
fn choose(user: String, deny: bool, mode: &str) -> Result<AlwaysAllow, String> {
    match mode {
        "connect" => {}
        "auth" => return Err("`mode = \"auth\"` is not available in this version: it comes with AUTH".to_owned()),
        other => return Err(format!("`mode` must be \"connect\", not \"{other}\"")),
    }
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err("`user` must be a name without control characters".to_owned());
    }
    Ok(if deny { AlwaysAllow::Deny } else { AlwaysAllow::Allow { user } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn denying_wins() {
        let allowed = choose("anonymous".into(), false, "connect");
        assert!(matches!(allowed, Ok(AlwaysAllow::Allow { user }) if user == "anonymous"));
        assert!(matches!(choose("anonymous".into(), true, "connect"), Ok(AlwaysAllow::Deny)));
    }

    #[test]
    fn senseless_settings_are_refused() {
        for (user, mode, message) in [
            ("anonymous", "auth", "`mode = \"auth\"` is not available in this version: it comes with AUTH"),
            ("anonymous", "Connect", "`mode` must be \"connect\", not \"Connect\""),
            ("", "connect", "`user` must be a name without control characters"),
            ("a\nb", "connect", "`user` must be a name without control characters"),
        ] {
            assert_eq!(choose(user.into(), false, mode).unwrap_err(), message);
        }
    }
}
