//! Which route takes a recipient.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::address::Mailbox;
use super::nats::Nats;
use super::webhook::Webhook;
use crate::config::{Config, Problem, Route, Target};
use crate::dns::Resolver;
use crate::observe::chain;
use crate::relay::Relay;
use crate::spool::{Envelope, Recipient};

/// The routes of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<[Way]>);

/// A route, and what takes messages along it.
#[derive(Debug)]
struct Way {
    route: Route,
    carrier: Carrier,
    /// How many routes before it lead to a place of the same name, but get there otherwise: what keeps one of them from
    /// its server, a certificate for example, need not keep the other, so they are destinations of their own.
    namesake: usize,
}

/// What takes messages along a route.
#[derive(Clone, Debug)]
enum Carrier {
    /// This process, with nothing to be kept between messages.
    None,
    Relay(Relay),
    Webhook(Webhook),
    Nats(Nats),
}

/// A recipient, as routes look at it, with where its message came from.
#[derive(Clone, Copy, Debug)]
pub struct RecipientName<'a> {
    /// The local part, unquoted.
    pub local: &'a str,
    /// The domain, or an address literal; the server's own name for the bare `<postmaster>`.
    pub domain: &'a str,
    /// Whether it is postmaster, at whatever domain.
    pub postmaster: bool,
    /// Whether it is the server's own: `<postmaster>` without a domain, or at the server's name.
    pub bare_postmaster: bool,
    /// The listener its message came in at.
    pub listener: &'a str,
    /// The context of its message.
    pub context: &'a dyn Contexts,
}

/// Names and values of both scopes.
pub trait Contexts: fmt::Debug + Sync {
    /// The value of a name in the message context, or else in the connection context.
    fn value(&self, name: &str) -> Option<&str>;
}

/// Both are kept with a message as they were when it was accepted.
impl Contexts for Envelope {
    fn value(&self, name: &str) -> Option<&str> {
        self.message.get(name).or_else(|| self.connection.get(name)).map(String::as_str)
    }
}

impl<'a> RecipientName<'a> {
    /// A recipient of a message that was accepted.
    pub(super) fn of(envelope: &'a Envelope, recipient: &'a Recipient) -> RecipientName<'a> {
        let own = recipient.domain.is_empty() || recipient.domain.eq_ignore_ascii_case(&envelope.hostname);
        RecipientName {
            local: &recipient.local,
            domain: if own { &envelope.hostname } else { &recipient.domain },
            postmaster: recipient.postmaster,
            bare_postmaster: recipient.postmaster && own,
            listener: &envelope.listener,
            context: envelope,
        }
    }
}

/// What is to be said of a recipient at RCPT.
#[derive(Debug)]
pub enum Judgement {
    /// It can be delivered.
    Deliver,
    /// It goes to `discard:`.
    Discard,
    /// Its route makes no mailboxes and it has none: 550 5.1.1.
    UnknownMailbox,
    /// No route takes it: 550 5.4.4.
    NoRoute,
    /// The disk does not say whether it has a mailbox: 451 4.3.0.
    Unavailable(io::Error),
}

impl Routes {
    /// Reads what the routes of a configuration name, and says what is wrong with it. The first route that matches wins.
    pub fn load(config: &Config, names: &Arc<Resolver>) -> (Routes, Vec<Problem>) {
        let hostname: Arc<str> = config.server.hostname.as_str().into();
        let (mut ways, mut problems) = (Vec::new(), Vec::new());
        for route in config.routes.iter() {
            let carrier = match &route.to {
                Target::Maildir(_) | Target::Discard => Ok(Carrier::None),
                Target::Relay(target) => {
                    Relay::load(target, &hostname, names).map(Carrier::Relay).map_err(|error| chain(&error))
                }
                Target::Webhook(target) => {
                    Webhook::load(target, &config.http).map(Carrier::Webhook).map_err(|error| chain(&error))
                }
                Target::Nats(target) => Nats::load(target).map(Carrier::Nats).map_err(|error| chain(&error)),
            };
            match carrier {
                Ok(carrier) => {
                    let namesake = namesake(&ways, route);
                    ways.push(Way { route: route.clone(), carrier, namesake });
                }
                Err(error) => problems.push(Problem::at(route.place, error)),
            }
        }
        (Routes(ways.into()), problems)
    }

    /// Takes over the connections of routes that lead to the same place, when a new configuration takes the old one's
    /// place.
    pub fn inherit(&self, before: &Routes) {
        for way in self.0.iter() {
            let same = before.0.iter().find(|old| old.route.to == way.route.to);
            match (&way.carrier, same.map(|old| &old.carrier)) {
                (Carrier::Relay(new), Some(Carrier::Relay(old))) => new.inherit(old),
                (Carrier::Nats(new), Some(Carrier::Nats(old))) => new.inherit(old),
                _ => {}
            }
        }
    }

    /// Whether mail for this recipient can be delivered now.
    ///
    /// A mailbox exists if there is a `new` in it. Postmaster always has one (RFC 5321 4.5.1): it is made, and the bare
    /// `<postmaster>` is taken even if nothing routes the server's own name. Nothing is made here.
    pub async fn judge(&self, recipient: &RecipientName<'_>) -> Judgement {
        match self.destination(recipient) {
            Some(Destination::Discard) if self.settled(recipient) => Judgement::Discard,
            Some(Destination::Discard) => Judgement::Deliver,
            Some(Destination::Relay(..) | Destination::Webhook(..) | Destination::Nats(..)) => Judgement::Deliver,
            Some(Destination::Mailbox { create: true, .. }) => Judgement::Deliver,
            Some(Destination::Mailbox { mailbox, create: false }) => {
                match tokio::task::spawn_blocking(move || exists(&mailbox.path)).await {
                    Ok(Ok(true)) => Judgement::Deliver,
                    Ok(Ok(false)) => Judgement::UnknownMailbox,
                    Ok(Err(error)) => Judgement::Unavailable(error),
                    Err(error) => Judgement::Unavailable(io::Error::other(error)),
                }
            }
            // It waits in the spool for a route.
            None if recipient.bare_postmaster => Judgement::Deliver,
            None => Judgement::NoRoute,
        }
    }

    /// Whether any route leads to where mail goes before it is accepted.
    pub fn hands_over(&self) -> bool {
        self.0.iter().any(|way| matches!(way.carrier, Carrier::Nats(_)))
    }

    /// Whether the way of this recipient is the same whatever becomes of the context until its message is accepted.
    fn settled(&self, recipient: &RecipientName<'_>) -> bool {
        let name = (recipient.local, recipient.domain);
        let mut possible = self.0.iter().map(|way| &way.route).filter(|route| route.may_take(name, recipient.listener));
        possible.next().is_none_or(|first| first.context.is_empty())
    }

    /// Where this recipient's mail goes, or `None` if no route takes it.
    pub(super) fn destination(&self, recipient: &RecipientName<'_>) -> Option<Destination> {
        let mut ways = self.0.iter();
        let way = ways
            .find(|way| {
                let name = (recipient.local, recipient.domain);
                way.route.takes(name, recipient.listener, |name| recipient.context.value(name))
            })
            .or_else(|| {
                let fallback = self.0.iter().find(|way| matches!(way.route.to, Target::Maildir(_)));
                fallback.filter(|_| recipient.bare_postmaster)
            })?;
        Some(match (&way.route.to, &way.carrier) {
            (Target::Maildir(path), _) => Destination::Mailbox {
                mailbox: Mailbox::new(path.template(), recipient.local, recipient.domain),
                create: way.route.create || recipient.postmaster,
            },
            (_, Carrier::Relay(relay)) => Destination::Relay(relay.clone(), recipient.domain.to_owned(), way.namesake),
            (_, Carrier::Webhook(webhook)) => Destination::Webhook(webhook.clone(), way.namesake),
            (_, Carrier::Nats(nats)) => Destination::Nats(nats.clone(), way.namesake),
            (_, Carrier::None) => Destination::Discard,
        })
    }
}

/// Where one recipient's mail goes.
#[derive(Debug)]
pub(super) enum Destination {
    Discard,
    Mailbox {
        mailbox: Mailbox,
        create: bool,
    },
    /// Another server, for recipients of this domain; and which of several of its name it is, here and below.
    Relay(Relay, String, usize),
    Webhook(Webhook, usize),
    Nats(Nats, usize),
}

impl Destination {
    /// What it is called, by people too: destinations of one name are one place that can be reached or not.
    pub(super) fn key(&self) -> String {
        match self {
            Destination::Discard => "discard:".to_owned(),
            Destination::Mailbox { mailbox, .. } => format!("maildir:{}", mailbox.template),
            Destination::Relay(relay, domain, namesake) => {
                numbered(relay.target().to_string().replace("{domain}", domain), *namesake)
            }
            Destination::Webhook(webhook, namesake) => numbered(webhook.target().to_string(), *namesake),
            Destination::Nats(nats, namesake) => numbered(nats.target().to_string(), *namesake),
        }
    }

    /// How many attempts at a time it takes.
    pub(super) fn concurrency(&self) -> u32 {
        match self {
            Destination::Discard | Destination::Mailbox { .. } => MAILBOXES,
            Destination::Relay(relay, ..) => relay.target().concurrency,
            Destination::Webhook(webhook, _) => webhook.target().concurrency,
            Destination::Nats(..) => STREAMS,
        }
    }
}

/// Which place of its name this route leads to: routes with the same target share theirs.
fn namesake(before: &[Way], route: &Route) -> usize {
    let name = route.to.to_string();
    let named = || before.iter().filter(|way| way.route.to.to_string() == name);
    // Routes that differ by domain alone never meet at the server of a recipient's own domain.
    let apart = |way: &Way| {
        let by_domain =
            |route: &Route| route.addresses.is_empty() && route.listeners.is_empty() && route.context.is_empty();
        name.contains("{domain}") && by_domain(&way.route)
    };
    match named().find(|way| way.route.to == route.to) {
        Some(same) => same.namesake,
        None if named().all(apart) => 0,
        None => named().map(|way| way.namesake).max().map_or(0, |last| last + 1),
    }
}

/// The name of a destination that is not the first of its name.
fn numbered(name: String, namesake: usize) -> String {
    if namesake == 0 { name } else { format!("{name} ({})", namesake + 1) }
}

/// Mailboxes of one template that are written to at a time: each waits for the disk, which serves them together.
const MAILBOXES: u32 = 16;

/// Messages published to one subject at a time; they share one connection.
const STREAMS: u32 = 32;

/// Whether there is a mailbox at `path`.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match fs::metadata(path.join("new")) {
        Ok(new) => Ok(new.is_dir()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}
