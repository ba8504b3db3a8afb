//! Which route takes a recipient.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::address::Mailbox;
use crate::config::{Route, Target};

/// The routes of one configuration.
#[derive(Clone, Debug)]
pub struct Routes(Arc<[Route]>);

/// A recipient, as routes look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientName<'a> {
    /// The local part, unquoted.
    pub local: &'a str,
    /// The domain, or an address literal; the server's own name for the bare `<postmaster>`.
    pub domain: &'a str,
    /// Whether it is postmaster, at whatever domain.
    pub postmaster: bool,
    /// Whether it was said without a domain: `<postmaster>`.
    pub bare_postmaster: bool,
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
    /// The first route that matches wins.
    pub fn new(routes: Arc<[Route]>) -> Routes {
        Routes(routes)
    }

    /// Whether mail for this recipient can be delivered now.
    ///
    /// A mailbox exists if there is a `new` in it. Postmaster always has one (RFC 5321 4.5.1): it is made, and the bare
    /// `<postmaster>` is taken even if nothing routes the server's own name. Nothing is made here.
    pub async fn judge(&self, recipient: &RecipientName<'_>) -> Judgement {
        match self.destination(recipient) {
            Some(Destination::Discard) => Judgement::Discard,
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

    /// Where this recipient's mail goes, or `None` if no route takes it.
    pub(super) fn destination(&self, recipient: &RecipientName<'_>) -> Option<Destination> {
        let mut routes = self.0.iter();
        let route = routes.find(|route| route.matches(recipient.domain)).or_else(|| {
            let fallback = self.0.iter().find(|route| matches!(route.to, Target::Maildir(_)));
            fallback.filter(|_| recipient.bare_postmaster)
        })?;
        Some(match &route.to {
            Target::Discard => Destination::Discard,
            Target::Maildir(path) => Destination::Mailbox {
                mailbox: Mailbox::new(path.template(), recipient.local, recipient.domain),
                create: route.create || recipient.postmaster,
            },
        })
    }
}

/// Where one recipient's mail goes.
#[derive(Debug)]
pub(super) enum Destination {
    Discard,
    Mailbox { mailbox: Mailbox, create: bool },
}

/// Whether there is a mailbox at `path`.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match fs::metadata(path.join("new")) {
        Ok(new) => Ok(new.is_dir()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}
