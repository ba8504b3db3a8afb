//! HELO and EHLO (RFC 5321 section 4.1.1.1), and LMTP's LHLO (RFC 2033 section 4.1).

use std::borrow::Cow;

use crate::command::{Command, Verb};
use crate::server::Server;
use crate::{Auth, Claim, Limits, Protocol, Refusal, Settings, Tls, address, reply};

/// The keywords the machine announces itself, in upper case: no extension can have them.
pub const KEYWORDS: &[&str] = &[
    "8BITMIME",
    "AUTH",
    "BINARYMIME",
    "CHUNKING",
    "DELIVERBY",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "FUTURERELEASE",
    "HELP",
    "LIMITS",
    "MT-PRIORITY",
    "PIPELINING",
    "REQUIRETLS",
    "SIZE",
    "SMTPUTF8",
    "STARTTLS",
    "VRFY",
];

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) line: String,
    pub(crate) verb: &'static str,
    pub(crate) domain: String,
}

pub(crate) fn check(server: &Server, command: Command) -> Result<Question, Refusal> {
    let protocol = server.settings().protocol;
    let verb = match (command.verb, protocol) {
        (Verb::Helo, Protocol::Smtp) => "HELO",
        (Verb::Ehlo, Protocol::Smtp) => "EHLO",
        (Verb::Lhlo, Protocol::Lmtp) => "LHLO",
        _ => return Err(reply::other_protocol(protocol)),
    };
    let domain = command.argument().to_owned();
    if !address::is_hello_name(&domain) {
        return Err(reply::bad_hello());
    }
    Ok(Question { line: command.line, verb, domain })
}

/// RFC 5321 section 4.1.4: once it is accepted, it does what RSET does. A refused one changes nothing.
pub(crate) fn proceed(server: &mut Server, question: Question, client: &str, keywords: &[String]) {
    let extended = question.verb != "HELO";
    server.hello = true;
    server.pipelines = extended && server.settings().keywords.pipelining;
    server.reset();
    let settings = server.settings();
    let mut lines: Vec<Cow<'static, str>> =
        vec![format!("{} says {} to {client}", settings.hostname, question.verb).into()];
    if extended {
        lines.extend(announced(settings));
        let works = |keyword: &&String| works_now(settings, keyword);
        lines.extend(keywords.iter().filter(works).map(|keyword| keyword.trim_end().to_owned().into()));
    }
    server.say(&reply::hello(lines));
}

/// Whether what an extension announces can be of use before TLS, where that is wanted: its parameters are MAIL's and
/// RCPT's, which are refused, and so is a verb of the keyword's name.
fn works_now(settings: &Settings, keyword: &str) -> bool {
    let name = keyword.split(' ').next().unwrap_or_default();
    match (settings.tls, settings.verbs.get(name)) {
        (Tls::Required, _) => false,
        (Tls::Off | Tls::Offered, Some(Claim::Open(rule))) => !rule.only_tls,
        _ => true,
    }
}

/// What works now, for this client, in this state of TLS and AUTH.
fn announced(settings: &Settings) -> impl Iterator<Item = Cow<'static, str>> {
    let keywords = settings.keywords;
    let starttls = matches!(settings.tls, Tls::Offered | Tls::Required);
    // Before TLS that is wanted there is no transaction, no login, no VRFY and no HELP: what belongs to them is said after it.
    let open = settings.tls != Tls::Required;
    let said = |word: &'static str| Some(Cow::Borrowed(word));
    [
        (keywords.pipelining, said("PIPELINING")),
        (open && keywords.size, Some(size(&settings.limits))),
        (open && keywords.eight_bit_mime, said("8BITMIME")),
        (keywords.enhanced_status_codes, said("ENHANCEDSTATUSCODES")),
        (starttls, said("STARTTLS")),
        (open, mechanisms(settings)),
        (open && keywords.offers_smtputf8(), said("SMTPUTF8")),
        (keywords.offers_require_tls(settings.tls), said("REQUIRETLS")),
        (open && keywords.chunking, said("CHUNKING")),
        (open && keywords.offers_binarymime(), said("BINARYMIME")),
        (open && keywords.dsn, said("DSN")),
        (open, keywords.deliver_by.map(deliver_by)),
        (open && keywords.mt_priority, said("MT-PRIORITY")),
        (open && keywords.limits, limits(&settings.limits)),
        (open && keywords.vrfy, said("VRFY")),
        (open && keywords.help, said("HELP")),
    ]
    .into_iter()
    .filter_map(|(offered, line)| line.filter(|_| offered))
}

fn size(limits: &Limits) -> Cow<'static, str> {
    match limits.message_size {
        // Bare, so that no client takes 0 for the greatest size; RFC 1870 section 4 gives both the same meaning.
        0 => "SIZE".into(),
        limit => format!("SIZE {limit}").into(),
    }
}

/// RFC 2852 section 3: the least time, if there is one.
fn deliver_by(least: u32) -> Cow<'static, str> {
    match least {
        0 => "DELIVERBY".into(),
        least => format!("DELIVERBY {least}").into(),
    }
}

fn mechanisms(settings: &Settings) -> Option<Cow<'static, str>> {
    match &settings.auth {
        Auth::Offered(mechanisms) if !mechanisms.is_empty() => Some(format!("AUTH {}", mechanisms.join(" ")).into()),
        _ => None,
    }
}

/// RFC 9422 section 4. A message has no more recipients than the session may have.
fn limits(limits: &Limits) -> Option<Cow<'static, str>> {
    let mut line = "LIMITS".to_owned();
    if limits.messages != 0 {
        line.push_str(&format!(" MAILMAX={}", limits.messages));
    }
    let recipients = u64::try_from(limits.recipients).unwrap_or(u64::MAX);
    if let Some(least) = [recipients, limits.session_recipients].into_iter().filter(|limit| *limit != 0).min() {
        line.push_str(&format!(" RCPTMAX={least}"));
    }
    (line != "LIMITS").then(|| line.into())
}
