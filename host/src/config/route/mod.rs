//! `[[route]]`: where a message goes, by recipient, listener and context.

mod elsewhere;
mod hop_tls;
mod keys;
mod matching;
mod relay;
mod to;

pub use elsewhere::{NatsServers, NatsTarget, WebhookTarget};
pub use matching::like;
pub use relay::{Hop, HopHost, HopProtocol, HopTimeouts, HopTls, HopTlsMode, Login, PassOn, RelayTarget};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeValue;

use super::reader::Value;
use super::value::{check_placeholders, is_context_name, parse_domain_pattern, parse_recipient_pattern};
use super::words::suggest;
use super::{DomainPattern, Host, Place, Problem, RecipientPattern};
use keys::Keys;
use to::To;

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

/// What is listened on, as routes name it and could lead back to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doors<'a> {
    /// The names of all listeners.
    pub(super) names: &'a [String],
    /// Their addresses, each with the listener's name.
    pub(super) addresses: &'a [(SocketAddr, &'a str)],
}

/// The list under `[[route]]`, in order.
pub(super) fn read_routes(value: Value<'_>, doors: Doors<'_>) -> Vec<Route> {
    let routes = value.each(|item| Route::read(item, doors)).unwrap_or_default();
    matching::check_order(value, &routes);
    for route in &routes {
        check_circle(value, route, doors);
    }
    routes
}

impl Route {
    fn read(value: Value<'_>, doors: Doors<'_>) -> Option<Route> {
        let mut table = value.table()?;
        let domains = read_some(table.take("domains"), "domain", |item| item.parsed(parse_domain_pattern));
        let addresses = read_some(table.take("addresses"), "address", |item| item.parsed(parse_recipient_pattern));
        let listeners = read_some(table.take("listeners"), "listener", |item| listener_name(item, doors.names));
        let context = table.take("context").map_or(Some(BTreeMap::new()), read_context);
        let to = table.require("to", "\"maildir:/var/mail/{domain}/{local}\"");
        let mut keys = Keys::of(&mut table);
        table.finish();
        let target = to.and_then(To::read);
        let scheme = target.as_ref().map(To::scheme);
        // Whether it is a truth value is said whatever it is for.
        let create = keys.take("create");
        let creates = create.map_or(Some(false), Value::boolean);
        if let (Some(create), Some(scheme)) = (create, scheme.filter(|scheme| *scheme != "maildir:")) {
            let message = format!("`{scheme}` has no mailboxes to create");
            create.note(Problem::at(create.key, message).help("leave `create` out"));
        }
        let target = target.and_then(|target| Target::of(target, &mut keys));
        if let Some(scheme) = scheme {
            keys.finish(scheme);
        }
        Some(Route {
            place: to?.place,
            domains: domains?,
            addresses: addresses?,
            listeners: listeners?,
            context: context?,
            to: target?,
            create: creates?,
        })
    }
}

/// What a route takes, of one kind; nothing where the key was left out.
fn read_some<'a, T>(value: Option<Value<'a>>, what: &str, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
    let Some(value) = value else { return Some(Vec::new()) };
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        let article = if what.starts_with('a') { "an" } else { "a" };
        let help = format!("name {article} {what}, or leave `{}` out for every {what}", value.name);
        value.note(Problem::at(value.place, format!("a route for no {what} is never taken")).help(help));
    }
    // A route that would take more than was written must not be judged by that.
    let written = value.list()?.count();
    value.each(read).filter(|read| read.len() == written)
}

fn listener_name(item: Value<'_>, names: &[String]) -> Option<String> {
    let name = item.text()?;
    if names.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    let help = suggest(name, &names, "there are");
    item.note(Problem::at(item.place, format!("there is no listener `{name}`")).help(help));
    None
}

fn read_context(value: Value<'_>) -> Option<BTreeMap<String, String>> {
    let mut wanted = BTreeMap::new();
    for value in value.table()?.entries() {
        if !is_context_name(value.name) {
            let help = "write 1 to 64 letters, digits, `_`, `.`, `-`, the first a letter, a digit or `_`";
            let message = format!("`{}` cannot be a name in the context", value.name);
            value.note(Problem::at(value.key, message).help(help));
        }
        if let Some(pattern) = value.text() {
            wanted.insert(value.name.to_owned(), pattern.to_owned());
        }
    }
    Some(wanted)
}

/// Mail that a route brings back to where it came from would be taken by that route again.
fn check_circle(value: Value<'_>, route: &Route, doors: Doors<'_>) {
    let Target::Relay(relay) = &route.to else { return };
    // Who looks at the context may have seen to it.
    if !route.context.is_empty() || relay.mx {
        return;
    }
    let leads_to = |hop: &Hop| {
        let Hop::Tcp { host: HopHost::Host(host), port } = hop else { return None };
        let is = |bound: &SocketAddr| {
            let same = match host {
                Host::Address(address) if bound.ip().is_unspecified() => {
                    address.is_loopback() && address.is_ipv4() == bound.is_ipv4()
                }
                Host::Address(address) => address.to_canonical() == bound.ip(),
                Host::Name(name) => name == "localhost" && (bound.ip().is_unspecified() || bound.ip().is_loopback()),
            };
            same && bound.port() == *port
        };
        let (_, name) = doors.addresses.iter().find(|(bound, _)| is(bound))?;
        (route.listeners.is_empty() || route.listeners.iter().any(|taken| taken == name)).then_some(*name)
    };
    if let Some(name) = relay.hops.iter().find_map(leads_to) {
        let message = format!("this leads to the listener `{name}` of this very server, and from there here again");
        let help = "name another server, or in `listeners` only those whose mail goes there";
        value.note(Problem::at(route.place, message).help(help));
    }
}

impl Target {
    /// The target with its own keys.
    fn of(to: To, keys: &mut Keys<'_>) -> Option<Target> {
        Some(match to {
            To::Maildir(path) => Target::Maildir(path),
            To::Discard => Target::Discard,
            To::Servers(servers) => Target::Relay(Arc::new(RelayTarget::read(servers, keys)?)),
            To::Url { scheme, host, port, path } => {
                Target::Webhook(Arc::new(WebhookTarget::read((scheme, host, port, path), keys)?))
            }
            To::Subject { hosts, subject } => Target::Nats(Arc::new(NatsTarget::read(hosts, subject, keys)?)),
        })
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
