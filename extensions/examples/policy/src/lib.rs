//! An example: a small policy that refuses clients, HELO names, senders, recipients and messages by its settings, and
//! stamps what it saw into the message context.
//!
//! It is written to be read, and uses most of what a policy can use. It knows nothing of domains it receives for, of
//! mailboxes or of relaying: the host has judged those before it asks.

mod rules;

use pillarbox_sdk::{
    Connect, Decision, Disconnect, Error, Extension, Hello, Mail, Message, Parameter, Parameters, Recipient, Reply,
    Scope, advertise, context, declare, envelope_read, error, info, message_read, printable, session, settings, state,
    warn,
};
use rules::Rules;

/// Shown in replies, in the EHLO line and in the stamp, so that one sees which version judged.
const VERSION: &str = env!("CARGO_PKG_VERSION_MAJOR");

const KEYWORD: &str = "XPOLICY";

/// The counter of refused addresses in `state`. A field of `Policy` would forget: instances come and go in a session.
const REFUSED: &str = "refused";

#[derive(Debug)]
struct Policy {
    rules: Rules,
    /// So many refused addresses in one session are borne; then all its mail waits.
    patience: u64,
}

impl Extension for Policy {
    fn init() -> Result<Self, String> {
        settings::only(&["clients", "names", "senders", "recipients", "refusals", "largest", "marker"])?;
        let rules = Rules::new(
            &settings::texts("clients")?.unwrap_or_default(),
            settings::texts("names")?.unwrap_or_default(),
            settings::texts("senders")?.unwrap_or_default(),
            settings::texts("recipients")?.unwrap_or_default(),
            settings::count("largest")?,
            settings::text("marker")?,
        )?;
        declare::keyword(KEYWORD, Some(VERSION))?;
        // A hook without work is not asked, which spares each session a call.
        if rules.clients.is_empty() {
            declare::without(declare::Hook::Connect)?;
        }
        if rules.recipients.is_empty() {
            declare::without(declare::Hook::Recipient)?;
        }
        Ok(Self { rules, patience: settings::count("refusals")?.unwrap_or(3) })
    }
}

impl Connect for Policy {
    fn connect(&mut self) -> Decision {
        decide(self.judge_client())
    }
}

impl Hello for Policy {
    fn hello(&mut self, _verb: &str, domain: &str) -> Decision {
        decide(self.judge_hello(domain))
    }
}

impl Mail for Policy {
    fn mail(&mut self, sender: &str, parameters: &[Parameter]) -> Decision {
        decide(self.judge_sender(sender, parameters))
    }
}

impl Recipient for Policy {
    fn recipient(&mut self, address: &str, _parameters: &[Parameter]) -> Decision {
        decide(self.judge_recipient(address))
    }
}

impl Message for Policy {
    fn message(&mut self) -> Decision {
        // The stamp says what was seen, also of a message that is then refused. It is no reason to refuse one.
        if let Err(why) = stamp() {
            warn!("not stamped: {}", why.describe());
        }
        decide(self.judge_message())
    }
}

impl Disconnect for Policy {
    fn disconnect(&mut self) {
        match state::counter(Scope::Connection, REFUSED) {
            Ok(refused) => info!("policy {VERSION} refused {refused} addresses in this session"),
            Err(why) => warn!("no summary: {}", why.describe()),
        }
    }
}

pillarbox_sdk::export!(Policy: connect, hello, mail, recipient, message, disconnect);

impl Policy {
    fn judge_client(&self) -> Result<Decision, Error> {
        let address = session::client()?.endpoint.address;
        Ok(match address {
            Some(address) if self.rules.refuses_client(&address) => reject(554, "5.7.1", "no mail from this address"),
            _ => Decision::next(),
        })
    }

    fn judge_hello(&self, domain: &str) -> Result<Decision, Error> {
        if self.rules.refuses_name(domain) {
            return Ok(reject(550, "5.7.1", "no mail from this name"));
        }
        let left = self.patience.saturating_sub(state::counter(Scope::Connection, REFUSED)?);
        if left == 0 || bypassed()? {
            advertise::hide(KEYWORD)?;
        } else {
            advertise::show(KEYWORD, Some(&format!("{VERSION} LEFT={left}")))?;
        }
        Ok(Decision::next())
    }

    fn judge_sender(&self, sender: &str, parameters: &[Parameter]) -> Result<Decision, Error> {
        if bypassed()? {
            return Ok(Decision::next());
        }
        if state::counter(Scope::Connection, REFUSED)? >= self.patience {
            let reply =
                Reply::new(451, "4.7.1", format!("too many refused addresses, try again later (policy {VERSION})"));
            return Ok(Decision::tempfail(reply));
        }
        if self.rules.senders.contain(sender) {
            return refuse_address("sender refused");
        }
        // Refused before the message is sent, when the client says its size.
        let announced = parameters.value("SIZE").and_then(|size| size.parse().ok());
        if announced.is_some_and(|size| self.rules.is_too_large(size)) {
            return Ok(reject(552, "5.3.4", "message too large"));
        }
        Ok(Decision::next())
    }

    fn judge_recipient(&self, address: &str) -> Result<Decision, Error> {
        if bypassed()? || !self.rules.recipients.contain(address) {
            return Ok(Decision::next());
        }
        let sender = envelope_read::sender()?.unwrap_or_default();
        info!("{} may not be written to, <{}> tried", printable(address), printable(&sender));
        refuse_address("recipient refused")
    }

    fn judge_message(&self) -> Result<Decision, Error> {
        if bypassed()? {
            return Ok(Decision::next());
        }
        if self.rules.is_too_large(message_read::size()?) {
            return Ok(reject(552, "5.3.4", "message too large"));
        }
        if let Some(marker) = &self.rules.marker
            && message_read::find(marker.as_bytes(), message_read::body_offset()?)?.is_some()
        {
            return Ok(reject(550, "5.7.1", "message refused"));
        }
        Ok(Decision::next())
    }
}

/// What could not be judged is not let through: the client tries again.
fn decide(judgement: Result<Decision, Error>) -> Decision {
    judgement.unwrap_or_else(|why| {
        error!("cannot judge: {}", why.describe());
        Decision::tempfail(None)
    })
}

fn reject(code: u16, enhanced: &str, text: &str) -> Decision {
    Decision::reject(Reply::new(code, enhanced, format!("{text} (policy {VERSION})")))
}

/// Refuses, and remembers it for the session.
fn refuse_address(text: &str) -> Result<Decision, Error> {
    state::count(Scope::Connection, REFUSED, 1)?;
    Ok(reject(550, "5.7.1", text))
}

/// The operator can switch the policy off for a network: `context = { policy_bypass = "true" }` in a peer block. Where
/// the listener does not let us look, nobody is let by.
fn bypassed() -> Result<bool, Error> {
    match context::connection("policy_bypass") {
        Ok(value) => Ok(value.as_deref() == Some("true")),
        Err(Error::Denied(_)) => Ok(false),
        Err(why) => Err(why),
    }
}

fn stamp() -> Result<(), Error> {
    context::set_message("policy_version", VERSION)?;
    context::set_message("policy_recipients", &envelope_read::recipients()?.len().to_string())?;
    if let Some(subject) = message_read::header_values("Subject")?.first() {
        context::set_message("policy_subject", &rules::one_line(subject))?;
    }
    Ok(())
}
