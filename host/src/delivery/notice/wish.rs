//! What the sender asked for with MAIL and RCPT (RFC 3461 section 4), and what follows for each thing that can be told.
//!
//! The parameters were checked when they were said; here they are read all the same, for the file they lie in is older.

use pillarbox_smtp::decode_xtext;

use super::Report;
use crate::spool::{Duty, Envelope, Recipient};

/// What a notice says of a recipient, as its `Action` field does (RFC 3464 section 2.3.3). The gravest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Relayed,
    Delivered,
    Delayed,
    Failed,
}

impl Action {
    /// The word of the field.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Action::Relayed => "relayed",
            Action::Delivered => "delivered",
            Action::Delayed => "delayed",
            Action::Failed => "failed",
        }
    }
}

/// What the sender is told of this; none where it is not.
///
/// Without NOTIFY it is told of failures, and of delays, which RFC 3461 section 4.1 leaves to each server.
pub(super) fn action(recipient: &Recipient, report: &Report) -> Option<Action> {
    let notify = value(&recipient.parameters, "NOTIFY");
    let says = |word: &str| notify.is_some_and(|list| list.split(',').any(|said| said.eq_ignore_ascii_case(word)));
    let unsaid = notify.is_none();
    match report {
        Report::Failed(_) => (unsaid || says("FAILURE")).then_some(Action::Failed),
        Report::Delayed(..) => (unsaid || says("DELAY")).then_some(Action::Delayed),
        Report::Delivered(receipt) => match receipt.duty {
            Duty::Delivered => says("SUCCESS").then_some(Action::Delivered),
            Duty::Relayed => says("SUCCESS").then_some(Action::Relayed),
            Duty::NextHop => None,
        },
    }
}

/// Whether the message is to come back whole, if it failed. Without RET it is its header: whoever forged the sender has
/// nobody sent his text.
pub(super) fn whole(envelope: &Envelope) -> bool {
    let full = envelope.parameter("RET").flatten().is_some_and(|ret| ret.eq_ignore_ascii_case("FULL"));
    // RFC 8689 section 5: as if RET=HDRS had been said.
    full && !requires_tls(envelope)
}

/// REQUIRETLS (RFC 8689).
pub(super) fn requires_tls(envelope: &Envelope) -> bool {
    envelope.parameter("REQUIRETLS").is_some()
}

/// SMTPUTF8 (RFC 6531).
pub(super) fn smtputf8(envelope: &Envelope) -> bool {
    envelope.parameter("SMTPUTF8").is_some()
}

/// MT-PRIORITY (RFC 6710), which a notice has from what it tells of.
pub(super) fn priority(envelope: &Envelope) -> Option<&str> {
    envelope.parameter("MT-PRIORITY").flatten()
}

/// ENVID, decoded.
pub(super) fn envelope_id(envelope: &Envelope) -> Option<String> {
    value(&envelope.parameters, "ENVID").and_then(decode_xtext).filter(|id| !id.is_empty())
}

/// ORCPT: the type of the address, and the address, decoded. One of the type `utf-8` has an encoding of its own (RFC 6533
/// section 3), in which it stays.
pub(super) fn original_recipient(recipient: &Recipient) -> Option<(String, String)> {
    let (kind, address) = value(&recipient.parameters, "ORCPT")?.split_once(';')?;
    let is_type = !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true => address.to_owned(),
        false => decode_xtext(address)?,
    };
    (is_type && !address.is_empty()).then(|| (kind.to_ascii_lowercase(), address))
}

fn value<'a>(parameters: &'a [(String, Option<String>)], name: &str) -> Option<&'a str> {
    let parameter = parameters.iter().find(|(other, _)| other == name);
    parameter.and_then(|(_, value)| value.as_deref())
}
