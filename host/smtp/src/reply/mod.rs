//! Every sentence the server can say. The texts are here and nowhere else.
//!
//! The module does not know when a sentence fits: that is the verbs' business and the session's.

mod form;
mod session;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Address, Expiry, Protocol};

pub use form::{Refusal, Reply, ReplyError};
pub use session::*;

// What the server says when all is well.

/// `220`, the banner: without enhanced code (RFC 2034 section 4).
pub(crate) fn banner(text: &str) -> Reply {
    Reply::own(220, None, vec![text.to_owned().into()])
}

/// The answer to HELO and EHLO: without enhanced code (RFC 2034 section 4).
pub(crate) fn hello(lines: Vec<Cow<'static, str>>) -> Reply {
    Reply::own(250, None, lines)
}

pub(crate) fn mail_accepted() -> Reply {
    Reply::sentence(250, "2.1.0", "MAIL FROM accepted")
}

/// RFC 6710 section 4.1: the sender is told what priority the message has, if it is not the one that was asked for.
pub(crate) fn mail_accepted_with_priority(priority: i8) -> Reply {
    Reply::sentence(250, "2.3.6", format!("{priority} is the new priority assigned to the message"))
}

pub(crate) fn recipient_accepted() -> Reply {
    Reply::sentence(250, "2.1.5", "RCPT TO accepted")
}

pub(crate) fn send_content() -> Reply {
    Reply::own(354, None, vec!["End data with <CR><LF>.<CR><LF>".into()])
}

pub(crate) fn message_accepted(id: &str) -> Reply {
    Reply::sentence(250, "2.0.0", format!("OK {id}"))
}

/// RFC 2033 section 4.2: of one recipient of a message.
pub(crate) fn message_accepted_for(recipient: &Address, id: &str) -> Reply {
    Reply::sentence(250, "2.1.5", format!("<{recipient}> OK {id}"))
}

/// A chunk that is not the last one (RFC 3030 section 4.2).
pub(crate) fn chunk_received(octets: u64) -> Reply {
    Reply::sentence(250, "2.0.0", format!("{octets} octets received"))
}

/// RFC 4954 section 4: base64, behind a blank that is there even if nothing follows.
pub(crate) fn challenge(data: &[u8]) -> Reply {
    Reply::verbatim(334, STANDARD.encode(data))
}

pub(crate) fn authenticated() -> Reply {
    Reply::sentence(235, "2.7.0", "Authentication successful")
}

pub(crate) fn ok() -> Reply {
    Reply::sentence(250, "2.0.0", "OK")
}

pub(crate) fn bye(hostname: &str) -> Reply {
    Reply::sentence(221, "2.0.0", format!("{hostname} closing connection"))
}

/// RFC 5321 section 3.5.3: nothing is verified, mail is taken.
pub(crate) fn not_verified() -> Reply {
    Reply::sentence(252, "2.5.2", "cannot verify, send some mail and see")
}

pub(crate) fn help(commands: &str) -> Reply {
    Reply::sentence(214, "2.0.0", format!("commands: {commands}"))
}

pub(crate) fn start_tls() -> Reply {
    Reply::sentence(220, "2.0.0", "ready to start TLS")
}

// What the machine refuses by itself.

pub(crate) fn unrecognized() -> Refusal {
    Refusal::sentence(500, "5.5.2", "unrecognized command")
}

pub(crate) fn line_too_long() -> Refusal {
    Refusal::sentence(500, "5.5.2", "line too long").of_limit("command-line")
}

pub(crate) fn bad_character() -> Refusal {
    Refusal::sentence(500, "5.5.2", "invalid character in command")
}

pub(crate) fn bad_syntax(form: &'static str) -> Refusal {
    Refusal::sentence(501, "5.5.2", format!("syntax error, expected {form}"))
}

pub(crate) fn no_argument_allowed() -> Refusal {
    Refusal::sentence(501, "5.5.4", "syntax error, no argument allowed")
}

pub(crate) fn argument_needed() -> Refusal {
    Refusal::sentence(501, "5.5.4", "syntax error, argument needed")
}

pub(crate) fn bad_hello() -> Refusal {
    Refusal::sentence(501, "5.5.4", "syntax error, a domain or an address literal is needed")
}

pub(crate) fn bad_parameter() -> Refusal {
    Refusal::sentence(501, "5.5.4", "bad parameter or value")
}

pub(crate) fn repeated_parameter() -> Refusal {
    Refusal::sentence(501, "5.5.4", "parameter given twice")
}

/// RFC 2852 section 4.1.3: what is to be returned at once need not be sent.
pub(crate) fn deadline_passed() -> Refusal {
    Refusal::sentence(501, "5.5.4", "BY with R needs a time greater than 0")
}

/// RFC 2852 section 3.
pub(crate) fn deadline_too_near(least: u32) -> Refusal {
    Refusal::sentence(555, "5.5.4", format!("BY with R needs at least {least} seconds"))
}

/// RFC 4865 section 4: HOLDFOR or HOLDUNTIL.
pub(crate) fn two_holds() -> Refusal {
    Refusal::sentence(501, "5.5.4", "either HOLDFOR or HOLDUNTIL")
}

pub(crate) fn unknown_parameter() -> Refusal {
    Refusal::sentence(555, "5.5.4", "parameter not recognized")
}

pub(crate) fn bad_sender() -> Refusal {
    Refusal::sentence(501, "5.1.7", "bad sender address syntax")
}

pub(crate) fn bad_recipient() -> Refusal {
    Refusal::sentence(501, "5.1.3", "bad recipient address syntax")
}

/// RFC 6531 section 3.5, of an address that needs a parameter that was not given, or is not offered.
pub(crate) fn non_ascii_address() -> Refusal {
    Refusal::sentence(553, "5.6.7", "a non-ASCII address needs SMTPUTF8")
}

pub(crate) fn not_implemented() -> Refusal {
    Refusal::sentence(502, "5.5.1", "command not implemented")
}

/// A verb whose extension a change of configuration took away.
pub(crate) fn no_longer_available() -> Refusal {
    Refusal::sentence(502, "5.5.1", "command no longer available")
}

/// A verb of an extension that is not there for this client.
pub(crate) fn insufficient_authorization() -> Refusal {
    Refusal::sentence(550, "5.7.0", "insufficient authorization")
}

pub(crate) fn hello_first(protocol: Protocol) -> Refusal {
    Refusal::sentence(
        503,
        "5.5.1",
        match protocol {
            Protocol::Smtp => "send HELO or EHLO first",
            Protocol::Lmtp => "send LHLO first",
        },
    )
}

/// The other protocol's greeting (RFC 2033 section 4.1).
pub(crate) fn other_protocol(protocol: Protocol) -> Refusal {
    Refusal::sentence(
        500,
        "5.5.1",
        match protocol {
            Protocol::Smtp => "this is SMTP, say EHLO",
            Protocol::Lmtp => "this is LMTP, say LHLO",
        },
    )
}

pub(crate) fn mail_already_given() -> Refusal {
    Refusal::sentence(503, "5.5.1", "MAIL FROM already given")
}

pub(crate) fn mail_first() -> Refusal {
    Refusal::sentence(503, "5.5.1", "MAIL FROM first")
}

pub(crate) fn recipient_first() -> Refusal {
    Refusal::sentence(503, "5.5.1", "RCPT TO first")
}

/// RFC 5321 section 3.3: every RCPT of this transaction was refused.
pub(crate) fn no_valid_recipients() -> Refusal {
    Refusal::sentence(554, "5.5.1", "no valid recipients")
}

pub(crate) fn not_in_transaction() -> Refusal {
    Refusal::sentence(503, "5.5.1", "not allowed during a mail transaction")
}

pub(crate) fn not_last_in_group() -> Refusal {
    Refusal::sentence(503, "5.5.1", "only as the last command of a group")
}

/// RFC 3030 section 2, and section 3 of a body that only BDAT carries.
pub(crate) fn not_with_chunks() -> Refusal {
    Refusal::sentence(503, "5.5.1", "BDAT is under way")
}

pub(crate) fn only_with_chunks() -> Refusal {
    Refusal::sentence(503, "5.5.1", "BODY=BINARYMIME takes BDAT")
}

/// Where the chunk ends and the next command begins nobody knows, so nothing more is read.
pub(crate) fn bad_chunk() -> Refusal {
    Refusal::sentence(521, "5.5.4", "syntax error, expected BDAT size [LAST], closing connection").closing()
}

/// RFC 5321 section 4.5.3.1.10: 452, so that the sender tries the rest again.
pub(crate) fn too_many_recipients() -> Refusal {
    Refusal::sentence(452, "4.5.3", "Service unavailable, recipients per message limit reached").of_limit("recipients")
}

pub(crate) fn too_many_session_recipients() -> Refusal {
    Refusal::sentence(452, "4.5.3", "Service unavailable, recipients per connection limit reached")
        .of_limit("session-recipients")
}

pub(crate) fn too_many_messages() -> Refusal {
    Refusal::sentence(452, "4.5.3", "Service unavailable, batch limit reached").of_limit("messages")
}

pub(crate) fn too_many_commands() -> Refusal {
    Refusal::sentence(421, "4.7.0", "too many commands, closing connection").of_limit("commands")
}

pub(crate) fn too_many_junk_commands() -> Refusal {
    Refusal::sentence(421, "4.7.0", "too many commands without a message, closing connection").of_limit("junk-commands")
}

pub(crate) fn too_many_errors() -> Refusal {
    Refusal::sentence(421, "4.7.0", "too many errors, closing connection").of_limit("errors")
}

pub(crate) fn too_large() -> Refusal {
    Refusal::sentence(552, "5.3.4", "message size limit exceeded").of_limit("message-size")
}

pub(crate) fn header_too_large() -> Refusal {
    Refusal::sentence(552, "5.3.4", "message header too large").of_limit("header-size")
}

pub(crate) fn too_many_header_lines() -> Refusal {
    Refusal::sentence(552, "5.3.4", "message header has too many lines").of_limit("header-lines")
}

/// RFC 5321 section 6.3.
pub(crate) fn too_many_hops() -> Refusal {
    Refusal::sentence(554, "5.4.6", "too many hops, this message is looping").of_limit("hops")
}

pub(crate) fn stray_newline_in_header() -> Refusal {
    Refusal::sentence(550, "5.6.0", "lone CR or LF in headers")
}

pub(crate) fn stray_newline_in_body() -> Refusal {
    Refusal::sentence(550, "5.6.0", "lone CR or LF in body")
}

pub(crate) fn auth_not_offered() -> Refusal {
    Refusal::sentence(502, "5.5.1", "AUTH not offered")
}

/// RFC 4954 section 4: once is enough.
pub(crate) fn already_authenticated() -> Refusal {
    Refusal::sentence(503, "5.5.1", "already authenticated")
}

pub(crate) fn mechanism_needed() -> Refusal {
    Refusal::sentence(501, "5.5.4", "syntax error, expected AUTH mechanism [initial-response]")
}

pub(crate) fn unknown_mechanism() -> Refusal {
    Refusal::sentence(504, "5.5.4", "authentication mechanism not offered")
}

/// RFC 4954 section 4: the client answered `*`.
pub(crate) fn authentication_cancelled() -> Refusal {
    Refusal::sentence(501, "5.0.0", "authentication cancelled")
}

/// RFC 4954 section 4.
pub(crate) fn authentication_line_too_long() -> Refusal {
    Refusal::sentence(500, "5.5.6", "authentication exchange line too long")
}

pub(crate) fn tls_first() -> Refusal {
    Refusal::sentence(530, "5.7.0", "must issue a STARTTLS command first")
}

pub(crate) fn tls_not_offered() -> Refusal {
    Refusal::sentence(502, "5.5.1", "STARTTLS not offered")
}

pub(crate) fn tls_already_active() -> Refusal {
    Refusal::sentence(503, "5.5.1", "TLS already active")
}

/// Octets behind STARTTLS would be read as if they had come under TLS (CVE-2011-0411).
pub(crate) fn pipelined_past_starttls() -> Refusal {
    Refusal::sentence(554, "5.5.0", "nothing may follow STARTTLS in the clear").closing()
}

pub(crate) fn not_http() -> Refusal {
    Refusal::sentence(421, "4.7.0", "this is an SMTP server, closing connection")
}

/// The peer talked before it was its turn.
pub(crate) fn early_talk() -> Refusal {
    protocol_deviation().of_limit("early-talk")
}

/// The peer sent on where it had to wait.
pub(crate) fn unauthorized_pipelining() -> Refusal {
    protocol_deviation().of_limit("unauthorized-pipelining")
}

fn protocol_deviation() -> Refusal {
    Refusal::sentence(421, "4.7.0", "protocol deviation, closing connection")
}

pub(crate) fn expired(why: Expiry, hostname: &str) -> Refusal {
    let (limit, what) = match why {
        Expiry::Command => ("command-timeout", "timed out waiting for input"),
        Expiry::Data => ("data-timeout", "timed out waiting for message content"),
        Expiry::Transaction => ("transaction-timeout", "transaction took too long"),
        Expiry::DataRate => ("data-rate", "message content came too slowly"),
    };
    Refusal::sentence(421, "4.4.2", format!("{hostname} {what}, closing connection")).of_limit(limit)
}
