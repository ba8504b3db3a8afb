//! What to do with a host function's error.

use crate::{Error, log};

impl Error {
    /// The error as a sentence for a log line or for the operator.
    pub fn describe(&self) -> String {
        let (what, why) = match self {
            Self::Denied(why) => ("not granted", why),
            Self::Invalid(why) => ("invalid", why),
            Self::Limit(why) => ("limit reached", why),
            Self::Unavailable(why) => ("not available now", why),
            Self::Failed(why) => ("failed", why),
        };
        format!("{what}: {why}")
    }
}

/// So that `?` works in [`Extension::init`](crate::Extension::init).
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.describe()
    }
}

/// Fails the call that is under way, on purpose: the host drops everything staged in it, ends this instance, and
/// answers as the operator's `on-failure` says (by default 451 4.3.0).
///
/// For the rare case that something was staged and the rest cannot follow. What can be known before staging is refused
/// by an answer instead.
pub fn fail(reason: &str) -> ! {
    log::log(log::Level::Error, reason);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence() {
        let missing = "`grant.kv` is `false`".to_owned();
        assert_eq!(Error::Denied(missing).describe(), "not granted: `grant.kv` is `false`");
        assert_eq!(String::from(Error::Limit("128 names".into())), "limit reached: 128 names");
    }
}
