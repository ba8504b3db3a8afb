//! What a message is turned into for a next hop that does not take it as it is.
//!
//! A first reading decides what has to be done ([`mod@survey`]), a second one, while it is sent, does it ([`mod@rewrite`]). Nobody
//! holds more of the message than some lines and a word for each of its parts. The room knows what a hop announced, and
//! nothing of connections.

mod address;
mod encode;
mod entities;
mod lines;
mod media;
mod rewrite;
mod survey;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::Arc;

use self::rewrite::Rewritten;
use self::survey::{Change, Target, survey};
use super::Keywords;
use crate::spool::{Failure, Reach, Stored};

pub use self::address::{address, original};

/// How a message is sent to one hop.
#[derive(Debug)]
pub struct Plan {
    /// Parameters of MAIL that say what the content is: `BODY=8BITMIME`, `SMTPUTF8`.
    pub mail_parameters: Vec<String>,
    /// What is sent.
    pub body: Body,
    /// Why it cannot be sent there at all, if it cannot.
    pub refuse: Option<Failure>,
}

/// What is sent.
#[derive(Debug)]
pub struct Body {
    stored: Arc<Stored>,
    /// What is done to its entities, if anything is.
    changes: Option<(Arc<[Change]>, Target)>,
    binary: bool,
}

impl Body {
    /// The content from its beginning; as often as it is asked for. Reading blocks. Lines end with CRLF, unless it is
    /// [`binary`](Body::binary).
    pub fn read(&self) -> Box<dyn Read + Send> {
        match &self.changes {
            None => Box::new(self.stored.content()),
            Some((changes, target)) => Box::new(Rewritten::new(self.stored.content(), Arc::clone(changes), *target)),
        }
    }

    /// Whether it is sent by BDAT, because it is no lines of text.
    pub fn binary(&self) -> bool {
        self.binary
    }

    /// Its octets; none where they are not known before it is read.
    pub fn len(&self) -> Option<u64> {
        self.changes.is_none().then_some(self.stored.content_len)
    }
}

/// Decides how a message is sent to a hop that announced this. Reading blocks.
///
/// Recipients are no matter of the plan: [`address()`] tells of each whether the hop takes it.
///
/// # Errors
/// The message cannot be read.
pub fn plan(stored: &Arc<Stored>, hop: &Keywords) -> io::Result<Plan> {
    let asked = Asked::of(stored);
    // RFC 3030 section 3: BINARYMIME goes with BDAT.
    let takes_binary = hop.binarymime && hop.chunking;
    // RFC 6531 section 3.1: whoever offers SMTPUTF8 takes 8-bit content.
    let target = if hop.eight_bit_mime || hop.smtputf8 { Target::Eight } else { Target::Seven };
    let eight = has_eight(stored.content())?;
    let binary = asked.binary && takes_binary;
    let converts = !binary && (asked.binary || (eight && target == Target::Seven));
    // A header that may be UTF-8 is to be known of, whatever becomes of the bodies.
    let seen = if converts || (asked.utf8 && eight) { Some(survey(stored.content(), target)?) } else { None };
    let header = asked.utf8 && seen.as_ref().is_some_and(|seen| seen.header);

    let mut mail_parameters = Vec::new();
    match () {
        () if binary => mail_parameters.push("BODY=BINARYMIME".to_owned()),
        () if hop.eight_bit_mime && (eight || asked.eight) => mail_parameters.push("BODY=8BITMIME".to_owned()),
        () => {}
    }
    // RFC 6531 section 3.4: what was said to need it and does not, goes everywhere.
    if hop.smtputf8 && (header || asked.addresses) {
        mail_parameters.push("SMTPUTF8".to_owned());
    }
    let sender =
        address(&stored.envelope.sender, hop).err().map(|refused| Failure { reach: Reach::Message, ..refused });
    let refuse = match &seen {
        _ if sender.is_some() => sender,
        // RFC 6531 section 3.5 and RFC 5248's registry: 5.6.9 is of a header.
        Some(_) if header && !hop.smtputf8 => {
            let text = "the next hop does not offer SMTPUTF8, and the header needs it";
            Some(Failure::local("5.6.9", text, Reach::Message))
        }
        // RFC 6152 section 3, RFC 3030 section 3: what cannot be converted is returned.
        Some(seen) if converts => seen.obstacle.map(|obstacle| {
            let lacks = if target == Target::Seven { "8BITMIME" } else { "BINARYMIME" };
            let text = format!("the next hop does not offer {lacks}, and the message cannot be converted: {obstacle}");
            Failure::local("5.6.3", text, Reach::Message)
        }),
        _ => None,
    };
    let changes = seen.filter(|seen| converts && seen.changes_anything()).map(|seen| (seen.changes.into(), target));
    Ok(Plan { mail_parameters, body: Body { stored: Arc::clone(stored), changes, binary }, refuse })
}

/// What the sender said of the message.
struct Asked {
    eight: bool,
    binary: bool,
    utf8: bool,
    /// An address of the envelope is not ASCII.
    addresses: bool,
}

impl Asked {
    fn of(stored: &Stored) -> Asked {
        let envelope = &stored.envelope;
        let body = envelope.parameter("BODY").flatten().unwrap_or_default();
        let ascii = envelope.sender.is_ascii() && envelope.recipients.iter().all(|it| it.address.is_ascii());
        Asked {
            eight: body.eq_ignore_ascii_case("8BITMIME"),
            binary: body.eq_ignore_ascii_case("BINARYMIME"),
            utf8: envelope.parameter("SMTPUTF8").is_some(),
            addresses: !ascii,
        }
    }
}

/// Whether the content holds octets that are no ASCII.
fn has_eight(mut content: impl Read) -> io::Result<bool> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match content.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(read) if !chunk.get(..read).unwrap_or_default().is_ascii() => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
