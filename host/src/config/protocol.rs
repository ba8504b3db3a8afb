//! What a listener speaks: the protocol, and which keywords of its own the server announces and serves.
//!
//! The room does not know what any of them does.

use super::Problem;
use super::reader::{Table, Value};

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, and a reply for each recipient.
    Lmtp,
}

impl Protocol {
    /// The word for it in `protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Lmtp => "lmtp",
        }
    }

    /// `protocol` of a listener.
    pub(super) fn read(listener: &mut Table<'_>) -> Protocol {
        let chosen = listener.take("protocol").and_then(|value| value.choice(&PROTOCOLS));
        chosen.unwrap_or_default()
    }
}

const PROTOCOLS: [(&str, Protocol); 2] = [("smtp", Protocol::Smtp), ("lmtp", Protocol::Lmtp)];

/// `esmtp`: the keywords of the server's own that are announced and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[allow(missing_docs, reason = "each is the keyword of its name")]
pub struct Esmtp {
    pub pipelining: bool,
    pub size: bool,
    pub eight_bit_mime: bool,
    pub enhanced_status_codes: bool,
    /// Never without `eight_bit_mime` (RFC 6531 section 3.1, 3).
    pub smtputf8: bool,
    pub chunking: bool,
    /// Never without `chunking` (RFC 3030 section 3).
    pub binarymime: bool,
    pub dsn: bool,
    pub limits: bool,
    pub help: bool,
    pub vrfy: bool,
}

impl Default for Esmtp {
    fn default() -> Esmtp {
        Esmtp {
            pipelining: true,
            size: true,
            eight_bit_mime: true,
            enhanced_status_codes: true,
            smtputf8: true,
            chunking: true,
            binarymime: true,
            dsn: true,
            limits: true,
            help: true,
            vrfy: true,
        }
    }
}

impl Esmtp {
    /// `esmtp` of a listener.
    pub(super) fn read(listener: &mut Table<'_>) -> Esmtp {
        let Some(mut table) = listener.table("esmtp") else {
            return Esmtp::default();
        };
        let mut switch = |key| table.take(key).and_then(|value| Some((value.boolean()?, value)));
        let on = |switch: Option<(bool, Value<'_>)>| switch.is_none_or(|(on, _)| on);
        let pipelining = on(switch("pipelining"));
        let size = on(switch("size"));
        let eight_bit_mime = on(switch("8bitmime"));
        let enhanced_status_codes = on(switch("enhancedstatuscodes"));
        let smtputf8 = switch("smtputf8");
        let chunking = on(switch("chunking"));
        let binarymime = switch("binarymime");
        let esmtp = Esmtp {
            pipelining,
            size,
            eight_bit_mime,
            enhanced_status_codes,
            smtputf8: eight_bit_mime && on(smtputf8),
            chunking,
            binarymime: chunking && on(binarymime),
            dsn: on(switch("dsn")),
            limits: on(switch("limits")),
            help: on(switch("help")),
            vrfy: on(switch("vrfy")),
        };
        // Who switches the base off means what stands on it as well, unless he says the contrary.
        for (base, switched_on, dependent) in
            [("8bitmime", eight_bit_mime, smtputf8), ("chunking", chunking, binarymime)]
        {
            if let Some((true, value)) = dependent.filter(|_| !switched_on) {
                let message = format!("`esmtp.{}` without `esmtp.{base}`", value.name);
                let help = format!("whoever is told of the one relies on the other: leave out `esmtp.{base} = false`");
                value.note(Problem::at(value.place, message).help(help));
            }
        }
        table.finish();
        esmtp
    }
}
