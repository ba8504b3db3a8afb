//! One line becomes one command, or a syntax error.
//!
//! It names the verb; what an argument means, and whether the verb may be said now, it does not know.

use std::fmt;

use crate::{Refusal, reply};

/// The verbs the machine answers itself, in upper case: no extension can have them. Some only to say that they are not
/// implemented.
pub const VERBS: &[&str] = &[
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "LHLO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET", "SAML",
    "SEND", "SOML", "STARTTLS", "TURN", "VRFY",
];

/// What a browser says first when it was pointed here. Its request body could hold commands.
const HTTP_METHODS: &[&str] = &["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE"];

/// A command line that holds nothing a command may not hold.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The line, without CRLF.
    pub(crate) line: String,
    /// What comes before the first blank, in upper case.
    pub(crate) name: String,
    pub(crate) verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Auth,
    Bdat,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    /// A verb of the standards that is not implemented here.
    NotImplemented,
    /// An extension's, or nobody's.
    Other,
}

/// The verb only: AUTH brings secrets with it.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("verb", &self.verb).finish_non_exhaustive()
    }
}

impl Verb {
    /// Whether nothing may be sent behind it before it is answered (RFC 2920 section 3.1, RFC 4954 section 4, RFC 3207
    /// section 4).
    pub(crate) fn ends_group(self) -> bool {
        matches!(
            self,
            Verb::Auth
                | Verb::Data
                | Verb::Ehlo
                | Verb::Expn
                | Verb::Helo
                | Verb::Lhlo
                | Verb::Noop
                | Verb::Quit
                | Verb::StartTls
                | Verb::Vrfy
        )
    }
}

impl Command {
    /// Fails when the line holds a control character (TAB aside) or is not UTF-8.
    pub(crate) fn parse(line: Vec<u8>) -> Result<Self, Refusal> {
        // RFC 5321 section 4.1.2 allows none of them anywhere; a lone CR or LF here is a line that somebody else would split.
        if has_control(&line) {
            return Err(reply::bad_character());
        }
        let line = String::from_utf8(line).map_err(|_| reply::bad_character())?;
        let name = first_word(&line).to_ascii_uppercase();
        let verb = match name.as_str() {
            "AUTH" => Verb::Auth,
            "BDAT" => Verb::Bdat,
            "DATA" => Verb::Data,
            "EHLO" => Verb::Ehlo,
            "EXPN" => Verb::Expn,
            "HELO" => Verb::Helo,
            "HELP" => Verb::Help,
            "LHLO" => Verb::Lhlo,
            "MAIL" => Verb::Mail,
            "NOOP" => Verb::Noop,
            "QUIT" => Verb::Quit,
            "RCPT" => Verb::Rcpt,
            "RSET" => Verb::Rset,
            "STARTTLS" => Verb::StartTls,
            "VRFY" => Verb::Vrfy,
            name if VERBS.contains(&name) => Verb::NotImplemented,
            _ => Verb::Other,
        };
        Ok(Command { line, name, verb })
    }

    /// What follows the verb and one blank, as it was sent.
    pub(crate) fn raw_argument(&self) -> &str {
        self.line.split_once(BLANK).map_or("", |(_, argument)| argument)
    }

    /// The argument without blanks around it.
    pub(crate) fn argument(&self) -> &str {
        self.raw_argument().trim_matches(BLANK)
    }

    /// For verbs that take no argument (RFC 5321 section 4.1.1.4 and so on).
    pub(crate) fn without_argument(&self) -> Result<(), Refusal> {
        if self.argument().is_empty() { Ok(()) } else { Err(reply::no_argument_allowed()) }
    }

    /// What follows `keyword` (such as "FROM:", in any case) at the front of the argument. Blanks behind the colon are
    /// against RFC 5321 section 3.3 and in wide use.
    pub(crate) fn argument_after(&self, keyword: &str) -> Option<&str> {
        let (word, rest) = self.argument().split_at_checked(keyword.len())?;
        word.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(BLANK))
    }
}

/// Whether this line begins like a request of HTTP.
pub(crate) fn is_http(line: &[u8]) -> bool {
    let word = line.split(|octet| matches!(octet, b' ' | b'\t')).next().unwrap_or_default();
    HTTP_METHODS.iter().any(|method| word.eq_ignore_ascii_case(method.as_bytes()))
}

/// Whether this line, or this beginning of one, is BDAT, however malformed: octets that are no commands may follow it.
pub(crate) fn is_bdat(line: &[u8]) -> bool {
    line.split_at_checked(4).is_some_and(|(word, rest)| {
        word.eq_ignore_ascii_case(b"BDAT") && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
    })
}

/// Whether this line, or this beginning of one, is AUTH with an argument.
pub(crate) fn is_auth(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH"))
        && line.get(4).is_some_and(|octet| matches!(octet, b' ' | b'\t'))
}

/// Whether it holds a control character other than TAB.
pub(crate) fn has_control(line: &[u8]) -> bool {
    line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t')
}

const BLANK: [char; 2] = [' ', '\t'];

fn first_word(line: &str) -> &str {
    line.split(BLANK).next().unwrap_or_default()
}
