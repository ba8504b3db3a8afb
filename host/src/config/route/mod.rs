//! `[[route]]`: where a message goes, by recipient, listener and context.

mod elsewhere;
mod relay;
mod verified;

pub use elsewhere::{NatsServers, NatsTarget, WebhookTarget};
pub use relay::{Hop, HopHost, HopProtocol, HopTimeouts, HopTls, HopTlsMode, Login, PassOn, RelayTarget};

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeValue;

use super::reader::Value;
use super::value::{check_placeholders, parse_domain_pattern};
use super::words::nearest;
use super::{DomainPattern, Place, Problem, RecipientPattern};

/// One `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where the value of `to` stands in the text.
    pub place: Place,
    /// The recipients' domains it takes; empty for every domain.
    pub domains: Vec<DomainPattern>,
    /// The recipients it takes; empty for every recipient.
    pub addresses: Vec<RecipientPattern>,
    /// The listeners whose messages it takes; empty for every listener.
    pub listeners: Vec<String>,
    /// Names of the context and what their values must be like (`*` stands for anything): it takes the messages where all
    /// of them hold. The message's context is looked at first, then the connection's.
    pub context: BTreeMap<String, String>,
    /// Where the message goes.
    pub to: Target,
    /// Whether a mailbox that is not there is made. Without it such a recipient is refused, 550 5.1.1.
    pub create: bool,
}

impl Route {
    /// Whether it takes recipients of `domain`.
    pub fn matches(&self, domain: &str) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|pattern| pattern.matches(domain))
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `maildir:PATH`: into the Maildir of the recipient.
    Maildir(MaildirPath),
    /// `discard:`: nowhere.
    Discard,
    /// `smtp://`, `smtps://`, `lmtp:`: to another server.
    Relay(Arc<RelayTarget>),
    /// `http://`, `https://`: posted.
    Webhook(Arc<WebhookTarget>),
    /// `nats://`: published.
    Nats(Arc<NatsTarget>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Maildir(path) => write!(f, "maildir:{}", path.template()),
            Target::Discard => f.write_str("discard:"),
            Target::Relay(relay) => relay.fmt(f),
            Target::Webhook(webhook) => webhook.fmt(f),
            Target::Nats(nats) => nats.fmt(f),
        }
    }
}

/// The path of a mailbox as a template: absolute, and each brace in it belongs to `{domain}` or `{local}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaildirPath(String);

impl MaildirPath {
    /// A template; none for one that is not absolute or has other braces in it.
    pub fn new(template: impl Into<String>) -> Option<MaildirPath> {
        let template = template.into();
        let sound = Path::new(&template).is_absolute() && check_placeholders(&template, &PLACEHOLDERS).is_ok();
        sound.then_some(MaildirPath(template))
    }

    /// The template.
    pub fn template(&self) -> &str {
        &self.0
    }
}

const PLACEHOLDERS: [&str; 2] = ["domain", "local"];

/// The list under `[[route]]`, in order.
pub(super) fn read_routes(value: Value<'_>) -> Vec<Route> {
    let routes = value.each(Route::read).unwrap_or_default();
    let mut all = routes.iter().skip_while(|route| !route.domains.is_empty());
    if let (Some(_), Some(idle)) = (all.next(), all.next()) {
        let message = "this route is never reached: one before it takes every domain";
        value.note(Problem::at(idle.place, message).help("the first route that matches wins"));
    }
    routes
}

impl Route {
    fn read(value: Value<'_>) -> Option<Route> {
        let mut table = value.table()?;
        let domains = table.take("domains");
        let patterns = domains.map_or(Some(Vec::new()), |value| value.each(|item| item.parsed(parse_domain_pattern)));
        if let Some(value) = domains
            && matches!(value.raw, DeValue::Array(items) if items.is_empty())
        {
            let help = "name a domain, or leave `domains` out for every domain";
            value.note(Problem::at(value.place, "a route for no domain is never taken").help(help));
        }
        let to = table.require("to", "\"maildir:/var/mail/{domain}/{local}\"");
        let target = to.and_then(Target::read);
        let create = table.take("create");
        if let (Some(create), Some(Target::Discard)) = (create, &target) {
            create.note(Problem::at(create.key, "`discard:` has no mailboxes to create").help("leave `create` out"));
        }
        let create = create.map_or(Some(false), Value::boolean);
        table.finish();
        Some(Route {
            place: to?.place,
            domains: patterns?,
            addresses: Vec::new(),
            listeners: Vec::new(),
            context: BTreeMap::new(),
            to: target?,
            create: create?,
        })
    }
}

impl Target {
    fn read(value: Value<'_>) -> Option<Target> {
        let text = value.text()?;
        match text.split_once(':') {
            Some(("maildir", path)) => MaildirPath::read(value, path).map(Target::Maildir),
            Some(("discard", "")) => Some(Target::Discard),
            Some(("discard", _)) => {
                value.note(Problem::at(value.place, "`discard:` takes nothing behind its colon"));
                None
            }
            Some((scheme @ ("smtp" | "lmtp" | "http" | "https"), _)) => {
                let message = format!("`{scheme}:` is not available in this version");
                value.note(Problem::at(value.place, message).help("there are `maildir:PATH` and `discard:`"));
                None
            }
            other => {
                let scheme = other.map_or(text, |(scheme, _)| scheme);
                let help = match nearest(scheme, ["maildir", "discard"]) {
                    Some(near) => format!("did you mean `{near}:`?"),
                    None if text.starts_with(['/', '.']) => format!("did you mean `maildir:{text}`?"),
                    None => "there are `maildir:PATH` and `discard:`".to_owned(),
                };
                value.note(Problem::at(value.place, format!("`{text}` is no target of a route")).help(help));
                None
            }
        }
    }
}

impl MaildirPath {
    fn read(value: Value<'_>, path: &str) -> Option<MaildirPath> {
        value.parsed(|_| check_placeholders(path, &PLACEHOLDERS))?;
        let resolved = value.resolve(path)?;
        // A directory that is itself called "{local}" is no placeholder, and a template is text.
        let template = resolved.to_str().filter(|resolved| resolved.matches('{').count() == path.matches('{').count());
        let template = template.and_then(MaildirPath::new);
        if template.is_none() {
            let message = "the directory of this file has a name that no template can hold";
            value.note(Problem::at(value.place, message).help("write an absolute path"));
        }
        template
    }
}
