//! What a message is turned into for a next hop that does not take it as it is.
//!
//! The file knows what a hop announced, and nothing of connections.

use std::io::{self, Read};
use std::sync::Arc;

use super::Keywords;
use crate::spool::{Failure, Stored};

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
pub struct Body(Arc<Stored>);

impl Body {
    /// The content from its beginning; as often as it is asked for. Reading blocks. Lines end with CRLF, unless it is
    /// [`binary`](Body::binary).
    pub fn read(&self) -> Box<dyn Read + Send> {
        Box::new(self.0.content())
    }

    /// Whether it is sent by BDAT, because it is no lines of text.
    pub fn binary(&self) -> bool {
        false
    }
}

/// Decides how a message is sent to a hop that announced this. Reading blocks.
///
/// # Errors
/// The message cannot be read.
pub fn plan(stored: &Arc<Stored>, hop: &Keywords) -> io::Result<Plan> {
    let mut mail_parameters = Vec::new();
    if hop.eight_bit_mime {
        let declared = stored.envelope.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("BODY"));
        if let Some((_, Some(value))) = declared {
            mail_parameters.push(format!("BODY={value}"));
        }
    }
    Ok(Plan { mail_parameters, body: Body(Arc::clone(stored)), refuse: None })
}
