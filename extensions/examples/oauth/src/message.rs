//! What a client says: the message of OAUTHBEARER (RFC 7628 section 3.1) and that of XOAUTH2. Nothing here calls the
//! host.

/// The two mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Oauthbearer,
    Xoauth2,
}

impl Mechanism {
    pub const ALL: [Self; 2] = [Self::Oauthbearer, Self::Xoauth2];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Oauthbearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// A message that can be understood.
#[derive(PartialEq, Eq)]
pub struct Message<'a> {
    /// Who the client says it is; empty where it leaves that to the token.
    pub user: String,
    /// The bearer token.
    pub token: &'a str,
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Message").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Between the parts.
const SEPARATOR: char = '\x01';

/// Reads a message; none when it is malformed.
pub fn read(mechanism: Mechanism, response: &[u8]) -> Option<Message<'_>> {
    let text = std::str::from_utf8(response).ok()?;
    // Each pair ends with a separator, and so does the whole.
    let (first, rest) = text.strip_suffix(SEPARATOR)?.split_once(SEPARATOR)?;
    let user = match mechanism {
        Mechanism::Oauthbearer => gs2_user(first)?,
        Mechanism::Xoauth2 => first.strip_prefix("user=")?.to_owned(),
    };
    let pairs = rest.strip_suffix(SEPARATOR)?.split(SEPARATOR).map(|pair| pair.split_once('='));
    let pairs: Vec<(&str, &str)> = pairs.collect::<Option<_>>()?;
    // Others (host, port) are for the asking of other servers, and say nothing here.
    let mut tokens = pairs.into_iter().filter(|(name, _)| *name == "auth").map(|(_, value)| value);
    let (Some(said), None) = (tokens.next(), tokens.next()) else { return None };
    let (scheme, token) = said.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(Message { user, token })
}

/// The user in a GS2 header (RFC 5801 section 4), without channel binding, which there is none for bearer tokens.
fn gs2_user(header: &str) -> Option<String> {
    let named = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?.strip_suffix(',')?;
    if named.is_empty() {
        return Some(String::new());
    }
    // Of what would be taken for a separator, `,` and `=` are written otherwise, and nothing else is.
    let mut parts = named.strip_prefix("a=")?.split('=');
    let mut user = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        user.push(letter);
        user.push_str(rest);
    }
    (!user.is_empty() && !named.contains(',')).then_some(user)
}

/// RFC 6750 section 2.1.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn messages_of_oauthbearer() {
        for (response, expected) in [
            // RFC 7628 section 4.1, with another token.
            (
                "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
                Some(("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")),
            ),
            ("n,,\x01auth=Bearer t\x01\x01", Some(("", "t"))),
            ("y,,\x01auth=bearer t\x01\x01", Some(("", "t"))),
            ("n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01", Some(("a,b=c", "t"))),
            ("n,a=,\x01auth=Bearer t\x01\x01", None),
            ("n,a=a,b,\x01auth=Bearer t\x01\x01", None),
            ("n,a=a=2c,\x01auth=Bearer t\x01\x01", None),
            ("n,a=a=,\x01auth=Bearer t\x01\x01", None),
            ("p=tls-exporter,,\x01auth=Bearer t\x01\x01", None),
            ("n,\x01auth=Bearer t\x01\x01", None),
            ("n,,\x01auth=Bearer t\x01", None),
            ("n,,\x01auth=Bearer t", None),
            ("n,,auth=Bearer t\x01\x01", None),
            ("n,,\x01auth=Bearer \x01\x01", None),
            ("n,,\x01auth=Bearer =\x01\x01", None),
            ("n,,\x01auth=Bearer a b\x01\x01", None),
            ("n,,\x01auth=Bearer a=b\x01\x01", None),
            ("n,,\x01auth=Bearer  t\x01\x01", None),
            ("n,,\x01auth=t\x01\x01", None),
            ("n,,\x01auth=\x01\x01", None),
            ("n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01", None),
            ("n,,\x01nothing\x01auth=Bearer t\x01\x01", None),
            ("n,,\x01host=a\x01\x01", None),
            ("n,,\x01\x01", None),
            ("\x01", None),
            ("", None),
        ] {
            check(Mechanism::Oauthbearer, response, expected);
        }
        assert_eq!(read(Mechanism::Oauthbearer, b"n,,\x01auth=Bearer \xff\x01\x01"), None);
    }

    #[test]
    fn messages_of_xoauth2() {
        for (response, expected) in [
            ("user=someuser@example.com\x01auth=Bearer ya29.t\x01\x01", Some(("someuser@example.com", "ya29.t"))),
            ("user=\x01auth=Bearer t\x01\x01", Some(("", "t"))),
            ("auth=Bearer t\x01\x01", None),
            ("auth=Bearer t\x01user=a\x01\x01", None),
            ("n,a=a,\x01auth=Bearer t\x01\x01", None),
        ] {
            check(Mechanism::Xoauth2, response, expected);
        }
    }

    #[track_caller]
    fn check(mechanism: Mechanism, response: &str, expected: Option<(&str, &str)>) {
        let read = read(mechanism, response.as_bytes());
        let found = read.as_ref().map(|message| (&*message.user, message.token));
        assert_eq!(found, expected, "{response:?}");
    }
}
