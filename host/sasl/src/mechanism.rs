//! The mechanisms by name. What each of them says is in a module of its own.

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never a standard; draft-murchison-sasl-login tells how it is spoken.
    Login,
    /// RFC 5802 with RFC 7677.
    ScramSha256,
    /// The same, bound to the TLS connection by its exporter (RFC 9266).
    ScramSha256Plus,
    /// RFC 4422 appendix A: who the client is was proven outside, by its certificate.
    External,
}

impl Mechanism {
    /// All of them, the strongest first: the order to offer them in, because many clients take the first they know.
    pub const ALL: [Mechanism; 5] =
        [Mechanism::External, Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::External => "EXTERNAL",
        }
    }

    /// The mechanism of that name, in whichever case.
    pub fn named(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether the client sends the password itself, which is for TLS alone.
    pub fn sends_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }
}
