//! What holds for a session, as its owner resolved it: name, protocol, TLS, AUTH, limits, what is switched off, and what
//! extensions declared.
//!
//! It does not know where the values come from, nor which extension stands behind a verb or a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What holds for a session until it is set anew with [`Server::set_settings`](crate::Server::set_settings).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name the server goes by in its replies.
    pub hostname: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// What is announced and taken of what the machine can do.
    pub keywords: Keywords,
    /// What the session may do, or has done, about TLS.
    pub tls: Tls,
    /// What the session may do, or has done, about AUTH.
    pub auth: Auth,
    /// The highest priority a message of this client may have (RFC 6710 section 4.1); what asks for more has this.
    pub highest_priority: i8,
    /// What a peer may use up.
    pub limits: Limits,
    /// What becomes of a CR or LF in a message that is no part of a CRLF.
    pub stray_newlines: StrayNewlines,
    /// Talking before the banner is refused: 421 4.7.0, and close.
    pub refuse_early_talk: bool,
    /// Octets behind a command that must end a group (RFC 2920 section 3.1, RFC 4954 section 4), or any pipelining by a peer
    /// that did not say EHLO or was not offered PIPELINING, are refused: 421 4.7.0, and close.
    pub refuse_unauthorized_pipelining: bool,
    /// The verbs extensions declared, in upper case.
    pub verbs: Arc<Verbs>,
    /// The MAIL parameters extensions declared, in upper case.
    pub mail_parameters: Arc<BTreeSet<String>>,
    /// The RCPT parameters extensions declared, in upper case.
    pub recipient_parameters: Arc<BTreeSet<String>>,
}

impl Settings {
    /// SMTP with every keyword of the default, every priority, no TLS, no AUTH, the default limits, stray newlines refused, peers that talk out of turn
    /// borne with, no extensions.
    pub fn new(hostname: impl Into<String>) -> Self {
        Settings {
            hostname: hostname.into(),
            protocol: Protocol::default(),
            keywords: Keywords::default(),
            tls: Tls::Off,
            auth: Auth::Off,
            highest_priority: 9,
            limits: Limits::default(),
            stray_newlines: StrayNewlines::default(),
            refuse_early_talk: false,
            refuse_unauthorized_pipelining: false,
            verbs: Arc::default(),
            mail_parameters: Arc::default(),
            recipient_parameters: Arc::default(),
        }
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP: HELO and EHLO, one reply to a message.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO, and a reply for each recipient to a message.
    Lmtp,
}

impl Protocol {
    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Lmtp => "lmtp",
        }
    }
}

/// What is announced and taken of what the machine can do, by its keyword. The default is everything but DELIVERBY,
/// FUTURERELEASE and MT-PRIORITY, which ask something of the queue that not every sender is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keywords {
    /// PIPELINING (RFC 2920). Groups work without it, too.
    pub pipelining: bool,
    /// SIZE (RFC 1870). Without it, `SIZE=` is 555.
    pub size: bool,
    /// 8BITMIME (RFC 6152). Without it, `BODY=8BITMIME` is 555.
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034). Without it, no reply carries such a code.
    pub enhanced_status_codes: bool,
    /// SMTPUTF8 (RFC 6531). It needs 8BITMIME.
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030). Without it, BDAT is 502.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030). It needs CHUNKING.
    pub binarymime: bool,
    /// DSN (RFC 3461). Without it, RET, ENVID, NOTIFY and ORCPT are 555.
    pub dsn: bool,
    /// LIMITS (RFC 9422).
    pub limits: bool,
    /// HELP. Without it, HELP is 502.
    pub help: bool,
    /// VRFY. Without it, VRFY is 502.
    pub vrfy: bool,
    /// DELIVERBY (RFC 2852), with the least seconds after which a message may be asked to be returned; 0 for any.
    pub deliver_by: Option<u32>,
    /// FUTURERELEASE (RFC 4865), with the most seconds a message may be held. The latest date that goes with them takes a
    /// clock, so whoever has one announces the keyword, and judges HOLDUNTIL.
    pub future_release: Option<u32>,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// REQUIRETLS (RFC 8689): only under TLS.
    pub require_tls: bool,
}

impl Keywords {
    /// RFC 6531 section 3.1, item 1: whoever offers SMTPUTF8 offers 8BITMIME.
    pub(crate) fn offers_smtputf8(&self) -> bool {
        self.smtputf8 && self.eight_bit_mime
    }

    /// RFC 3030 section 3: whoever offers BINARYMIME offers CHUNKING.
    pub(crate) fn offers_binarymime(&self) -> bool {
        self.binarymime && self.chunking
    }

    /// RFC 8689 section 2: REQUIRETLS is announced under TLS only.
    pub(crate) fn offers_require_tls(&self, tls: Tls) -> bool {
        self.require_tls && tls == Tls::Active
    }
}

impl Default for Keywords {
    fn default() -> Self {
        Keywords {
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
            deliver_by: None,
            future_release: None,
            mt_priority: false,
            require_tls: true,
        }
    }
}

/// What the session may do, or has done, about TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS is not offered: 502.
    #[default]
    Off,
    /// STARTTLS is offered.
    Offered,
    /// STARTTLS is offered, and nothing that matters is done without it: 530.
    Required,
    /// The session is under TLS, from its first octet or since STARTTLS.
    Active,
}

/// What the session may do, or has done, about AUTH (RFC 4954).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// AUTH is not offered: 502.
    #[default]
    Off,
    /// AUTH is not offered before TLS: 538.
    NeedsTls,
    /// These mechanisms are offered; names in upper case.
    Offered(Arc<[String]>),
    /// The client has authenticated: 503.
    Done,
}

/// What a peer may use up. 0 is no limit, but for `command_line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line, CRLF included. RFC 5321 section 4.5.3.1.4 asks for 512 at least, and parameters add to it.
    pub command_line: usize,
    /// Octets of a message's content.
    pub message_size: u64,
    /// Recipients of a message. RFC 5321 section 4.5.3.1.8 asks for 100 at least.
    pub recipients: usize,
    /// Recipients of all messages of the session.
    pub session_recipients: u64,
    /// MAIL commands that are accepted in the session.
    pub messages: u64,
    /// Commands of the session.
    pub commands: u64,
    /// The error that is answered with 421: replies of 5xx to commands are errors.
    pub errors: u32,
    /// The first error that is answered late.
    pub tarpit_after: u32,
    /// Commands that lead nowhere, between two accepted messages: NOOP, RSET, VRFY, EXPN, HELP, a further HELO or EHLO,
    /// `BDAT 0`.
    pub junk_commands: u32,
    /// Octets of a message's header.
    pub header_size: u64,
    /// Lines of a message's header.
    pub header_lines: u64,
    /// Received fields of a message (RFC 5321 section 6.3 asks for 100 at least).
    pub hops: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            command_line: 4096,
            message_size: 50 * 1024 * 1024,
            recipients: 1000,
            session_recipients: 100_000,
            messages: 10_000,
            commands: 100_000,
            errors: 20,
            tarpit_after: 10,
            junk_commands: 100,
            header_size: 1024 * 1024,
            header_lines: 10_000,
            hops: 100,
        }
    }
}

/// What becomes of a CR or LF in a message that is no part of a CRLF. Neither choice lets one end a line or the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrayNewlines {
    /// The message is refused: 550 5.6.0.
    #[default]
    Refuse,
    /// Each becomes CRLF in the content.
    Normalize,
}

/// The verbs extensions declared, in upper case.
pub type Verbs = BTreeMap<String, Claim>;

/// What a verb that an extension declared is to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may be said, by its rule.
    Open(Rule),
    /// It exists here, but not for this client: 550 5.7.0.
    Closed,
    /// It was there earlier in this session, and a change of configuration took its extension away: 502 5.5.1.
    Gone,
}

/// When a verb that an extension declared may be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Also before HELO or EHLO.
    pub before_hello: bool,
    /// Also between MAIL and the end of the message.
    pub in_transaction: bool,
    /// Only under TLS.
    pub only_tls: bool,
    /// Only as the last command of a pipelined group: nothing may wait behind it.
    pub last_in_group: bool,
}
