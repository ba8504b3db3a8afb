//! Authenticates every session of the peers it is there for, lets every AUTH of theirs succeed, or forbids all
//! authentication.
//!
//! Momentum's ALWAYS-ALLOW, in both readings its documentation has, and Always_Deny. It knows neither who the peer is
//! nor what a login is good for: for whom it is there stands in the operator's `peers`, and what an authenticated session
//! may do is the host's.

use pillarbox_sdk::verify::Outcome;
use pillarbox_sdk::{Connect, Decision, Extension, Reply, Verify, authentication, declare, error, settings};

#[derive(Debug)]
enum AlwaysAllow {
    /// Every session is authenticated as this user.
    Allow { user: String },
    /// Every password is right.
    AllowAuth,
    /// No session can authenticate.
    Deny,
}

impl Extension for AlwaysAllow {
    fn init() -> Result<Self, String> {
        settings::only(&["user", "deny", "mode"])?;
        let deny = settings::boolean("deny")?.unwrap_or(false);
        let mode = settings::text("mode")?.unwrap_or_else(|| "connect".to_owned());
        let chosen = choose(settings::text("user")?, deny, &mode)?;
        // What has no work is declared away, and so needs no grant: where no password is judged, none is seen.
        declare::without(match chosen {
            Self::AllowAuth => declare::Hook::Connect,
            Self::Allow { .. } | Self::Deny => declare::Hook::Verify,
        })?;
        Ok(chosen)
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
            // Not asked.
            Self::AllowAuth => Decision::next(),
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

impl Verify for AlwaysAllow {
    fn password(&mut self, user: &str, _password: &str, authorization: Option<&str>) -> Outcome {
        match self {
            Self::AllowAuth => judge(user, authorization),
            Self::Allow { .. } | Self::Deny => Outcome::No,
        }
    }

    /// Nothing is kept of any password, so nothing can be proven by SCRAM.
    fn lookup(&mut self, _user: &str) -> Outcome {
        Outcome::No
    }
}

pillarbox_sdk::export!(AlwaysAllow: connect, verify);

/// Denying wins, as in Momentum.
fn choose(user: Option<String>, deny: bool, mode: &str) -> Result<AlwaysAllow, String> {
    let auth = match mode {
        "connect" => false,
        "auth" => true,
        other => return Err(format!("`mode` must be \"connect\" or \"auth\", not \"{other}\"")),
    };
    if auth && user.is_some() {
        return Err("`user` has no meaning with `mode = \"auth\"`: the user is whom the client names".to_owned());
    }
    let user = user.unwrap_or_else(|| "anonymous".to_owned());
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err("`user` must be a name without control characters".to_owned());
    }
    Ok(match (deny, auth) {
        (true, _) => AlwaysAllow::Deny,
        (false, true) => AlwaysAllow::AllowAuth,
        (false, false) => AlwaysAllow::Allow { user },
    })
}

/// Whoever it is, but nobody in another's name: that is a right of its own (RFC 4616 section 2), and no password gives it.
fn judge(user: &str, authorization: Option<&str>) -> Outcome {
    match authorization.is_none_or(|other| other.is_empty() || other == user) {
        true => Outcome::Yes(user.to_owned()),
        false => Outcome::No,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn denying_wins() {
        assert!(matches!(choose(None, false, "connect"), Ok(AlwaysAllow::Allow { user }) if user == "anonymous"));
        let named = choose(Some("someone".into()), false, "connect");
        assert!(matches!(named, Ok(AlwaysAllow::Allow { user }) if user == "someone"));
        assert!(matches!(choose(None, false, "auth"), Ok(AlwaysAllow::AllowAuth)));
        for mode in ["connect", "auth"] {
            assert!(matches!(choose(None, true, mode), Ok(AlwaysAllow::Deny)), "{mode}");
        }
    }

    #[test]
    fn senseless_settings_are_refused() {
        for (user, mode, message) in [
            ("a", "auth", "`user` has no meaning with `mode = \"auth\"`: the user is whom the client names"),
            ("anonymous", "Connect", "`mode` must be \"connect\" or \"auth\", not \"Connect\""),
            ("", "connect", "`user` must be a name without control characters"),
            ("a\nb", "connect", "`user` must be a name without control characters"),
        ] {
            assert_eq!(choose(Some(user.into()), false, mode).unwrap_err(), message);
        }
    }

    #[test]
    fn nobody_is_authenticated_in_anothers_name() {
        for (authorization, outcome) in [
            (None, Outcome::Yes("alice".into())),
            (Some(""), Outcome::Yes("alice".into())),
            (Some("alice"), Outcome::Yes("alice".into())),
            (Some("bob"), Outcome::No),
            (Some("Alice"), Outcome::No),
        ] {
            assert_eq!(judge("alice", authorization), outcome, "{authorization:?}");
        }
    }

    #[test]
    fn only_one_mode_judges_passwords() {
        for (mut extension, right) in [
            (AlwaysAllow::AllowAuth, true),
            (AlwaysAllow::Allow { user: "anonymous".into() }, false),
            (AlwaysAllow::Deny, false),
        ] {
            let said = extension.password("alice", "whatever", None);
            assert_eq!(matches!(said, Outcome::Yes(_)), right, "{extension:?}");
            assert_eq!(extension.lookup("alice"), Outcome::No);
        }
    }
}
