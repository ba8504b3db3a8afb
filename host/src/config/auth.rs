//! `auth`: who may log in on a listener, and by which mechanisms.
//!
//! The mechanisms are those of `pillarbox_sasl`; the room only names them, and does not know what is in the file of users.

use std::path::PathBuf;

use pillarbox_sasl::Mechanism;

use super::reader::{Table, Value};
use super::{Place, Problem, Tls, TlsMode};

/// `auth`: who may log in, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The file of users. Absolute.
    pub users: Option<PathBuf>,
    /// Where it stands in the text.
    pub users_place: Place,
    /// The mechanisms that may be offered; none: all that can work.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// AUTH is offered in the clear, too.
    pub without_tls: bool,
    /// What of a client certificate is the user's name at EXTERNAL.
    pub external: External,
}

/// What of a client certificate is the user's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum External {
    /// The common name of its subject.
    #[default]
    CommonName,
    /// Its first e-mail address (subjectAltName).
    Email,
}

impl Auth {
    /// `auth` of a listener. `tls` is none where something is wrong with it, and nothing can be held against it.
    pub(super) fn read(listener: &mut Table<'_>, tls: Option<&Tls>) -> Auth {
        let Some(mut table) = listener.table("auth") else {
            return Auth::default();
        };
        let users = table.take("users");
        let mechanisms = table.take("mechanisms");
        let without_tls = table.take("without-tls");
        let external = table.take("external").and_then(|value| value.choice(&EXTERNAL));
        table.finish();
        let clear = without_tls.map_or(Some(false), Value::boolean);
        if let (Some(users), Some(TlsMode::Off), Some(false)) = (users, tls.map(|tls| tls.mode), clear) {
            let message = "nobody can ever log in here: that takes TLS, and `tls.mode` is `off`";
            let help = "add `tls.mode` with `tls.certificates`, or `auth.without-tls = true`, which lets passwords \
                        cross the network in the clear";
            users.note(Problem::at(users.place, message).help(help));
        }
        Auth {
            users: users.and_then(Value::path),
            users_place: users.map(|users| users.place).unwrap_or_default(),
            mechanisms: mechanisms.and_then(|value| read_mechanisms(value, tls)),
            without_tls: clear.unwrap_or_default(),
            external: external.unwrap_or_default(),
        }
    }
}

fn read_mechanisms(value: Value<'_>, tls: Option<&Tls>) -> Option<Vec<Mechanism>> {
    let mut chosen: Vec<Mechanism> = Vec::new();
    let mut any = false;
    for item in value.list()? {
        any = true;
        let Some(mechanism) = item.choice(&MECHANISMS) else {
            continue;
        };
        if let Some(why) = tls.and_then(|tls| impossible(mechanism, tls)) {
            item.note(Problem::at(item.place, format!("`{}` can never be offered here", mechanism.name())).help(why));
        }
        if chosen.contains(&mechanism) {
            item.note(Problem::at(item.place, format!("`{}` is named twice", mechanism.name())));
        }
        chosen.push(mechanism);
    }
    if !any {
        let help = "name mechanisms, or leave the key out for all that can work";
        value.note(Problem::at(value.place, "with no mechanism in `mechanisms` nobody can log in").help(help));
    }
    Some(chosen)
}

/// What a mechanism needs that a listener with this TLS can never give it.
fn impossible(mechanism: Mechanism, tls: &Tls) -> Option<&'static str> {
    match mechanism {
        // RFC 4422 appendix A: the name comes from outside, here from a certificate that is verified.
        Mechanism::External if tls.client_authorities.is_empty() => {
            Some("it needs a client certificate that is verified: `tls.clients` and `tls.client-authorities`")
        }
        // RFC 5802 section 6: it is bound to the TLS connection.
        Mechanism::ScramSha256Plus if tls.mode == TlsMode::Off => {
            Some("it is bound to TLS: add `tls.mode`, or name `SCRAM-SHA-256`")
        }
        _ => None,
    }
}

const MECHANISMS: [(&str, Mechanism); 5] = [
    ("PLAIN", Mechanism::Plain),
    ("LOGIN", Mechanism::Login),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256Plus),
    ("EXTERNAL", Mechanism::External),
];

const EXTERNAL: [(&str, External); 2] = [("common-name", External::CommonName), ("email", External::Email)];
