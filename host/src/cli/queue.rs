//! What can be asked about messages that wait for delivery, and how one says which are meant.

use super::ServerArgs;
use crate::config;
use crate::delivery::{Action, Selection};
use clap::{Args, Subcommand};
use std::time::Duration;

/// What can be done with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show what is in the queue, and why it still is
    ///
    /// Each message with its age, its sender, the recipients that are left with where they go and what was said the last
    /// time, and when it is tried next; then files in the queue that are no message, damaged, or of a later version.
    List {
        /// Which messages.
        #[command(flatten)]
        selection: SelectionArgs,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },

    /// Show a message that is in the queue
    ///
    /// Its envelope, both contexts, how each recipient stands, what was tried, and its text, with all that a terminal would
    /// obey made visible.
    Show {
        /// The message's id
        id: String,
        /// Print the message alone, octet for octet
        #[arg(long)]
        raw: bool,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },

    /// Try messages now, whenever they would be due
    ///
    /// Where their destination could not be reached and rests, it is tried, too. What is held must be released first.
    Retry(OrderArgs),

    /// Hold messages: nothing is tried until they are released
    ///
    /// They stay held over a restart. An attempt that is under way ends first.
    Hold(OrderArgs),

    /// Let messages that are held go on
    Release(OrderArgs),

    /// Remove messages for good, and tell nobody
    Delete(OrderArgs),

    /// Give messages up: their senders are told that they were not delivered
    Bounce(OrderArgs),
}

/// Which messages something is done with.
#[derive(Args, Clone, Debug, Default)]
pub struct OrderArgs {
    /// The messages' ids
    pub ids: Vec<String>,
    /// Those that it all holds for.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// All messages of the queue
    #[arg(long)]
    pub all: bool,
    /// Say which messages that would be, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Which messages are meant: those for which everything holds that is given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which messages, where all of it must hold")]
pub struct SelectionArgs {
    /// Of this sender: an address, all of a domain, or <> for notices
    #[arg(long, value_name = "ADDRESS|@DOMAIN|<>", value_parser = sender)]
    pub sender: Option<String>,
    /// With this recipient left: an address or all of a domain
    #[arg(long, value_name = "ADDRESS|@DOMAIN", value_parser = recipient)]
    pub recipient: Option<String>,
    /// With a recipient left that goes there, as `list` shows it
    #[arg(long, value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// Accepted at least so long ago, as in 2h
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    pub older_than: Option<Duration>,
    /// Accepted at most so long ago, as in 10m
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    pub younger_than: Option<Duration>,
    /// With this name in its context, and this value; the message's context is looked at first, then the connection's.
    /// More than once: all of them
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = meta)]
    pub meta: Vec<(String, Option<String>)>,
    /// Held
    #[arg(long, conflicts_with = "not_held")]
    pub held: bool,
    /// Not held
    #[arg(long)]
    pub not_held: bool,
}

/// The messages an order is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Those of these ids.
    Named(Vec<String>),
    /// Those that this covers.
    Selected(Selection),
}

impl QueueCommand {
    /// The word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            QueueCommand::List { .. } => "list",
            QueueCommand::Show { .. } => "show",
            QueueCommand::Retry(_) => "retry",
            QueueCommand::Hold(_) => "hold",
            QueueCommand::Release(_) => "release",
            QueueCommand::Delete(_) => "delete",
            QueueCommand::Bounce(_) => "bounce",
        }
    }

    /// What is to be done with which messages, if it is such an order.
    pub fn order(&self) -> Option<(Action, &OrderArgs)> {
        match self {
            QueueCommand::List { .. } | QueueCommand::Show { .. } => None,
            QueueCommand::Retry(order) => Some((Action::Retry, order)),
            QueueCommand::Hold(order) => Some((Action::Hold, order)),
            QueueCommand::Release(order) => Some((Action::Release, order)),
            QueueCommand::Delete(order) => Some((Action::Delete, order)),
            QueueCommand::Bounce(order) => Some((Action::Bounce, order)),
        }
    }
}

impl OrderArgs {
    /// Which messages that are.
    ///
    /// # Errors
    /// None or too many ways to say so were used.
    pub fn chosen(&self) -> Result<Chosen, &'static str> {
        let selection = self.selection.selection();
        let selected = selection != Selection::default();
        match (self.ids.is_empty(), selected, self.all) {
            (false, false, false) => Ok(Chosen::Named(self.ids.clone())),
            (true, true, false) | (true, false, true) => Ok(Chosen::Selected(selection)),
            (true, false, false) => Err("say which messages: ids, a selection such as --older-than 2h, or --all"),
            _ => Err("ids, a selection and --all exclude each other: it would not be clear which messages are meant"),
        }
    }
}

impl SelectionArgs {
    /// The same as a value.
    pub fn selection(&self) -> Selection {
        Selection {
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            destination: self.destination.clone(),
            older_than: self.older_than,
            younger_than: self.younger_than,
            meta: self.meta.clone(),
            held: match (self.held, self.not_held) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
        }
    }
}

fn sender(text: &str) -> Result<String, &'static str> {
    const HELP: &str = "write an address, @DOMAIN for all of a domain, or <> for the null sender";
    if text == "<>" { Ok(text.to_owned()) } else { address(text).ok_or(HELP) }
}

fn recipient(text: &str) -> Result<String, &'static str> {
    address(text).ok_or("write an address, or @DOMAIN for all of a domain")
}

/// An address with or without its brackets; what is no address would cover nothing, which looks like an empty queue.
fn address(text: &str) -> Option<String> {
    let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let whole = text.rsplit_once('@').is_some_and(|(_, domain)| !domain.is_empty());
    (whole || text.eq_ignore_ascii_case("postmaster")).then(|| text.to_owned())
}

fn meta(text: &str) -> Result<(String, Option<String>), &'static str> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() { Err("write NAME or NAME=VALUE") } else { Ok((name.to_owned(), value)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::{Cli, Command};
    use super::*;
    use std::ffi::OsString;

    fn read(line: &str) -> Result<QueueCommand, String> {
        match Cli::read("x", line.split(' ').map(OsString::from)) {
            Ok(Cli { command: Command::Queue(command) }) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.exit_code(), 2, "{error}");
                Err(error.to_string())
            }
        }
    }

    fn selected(arguments: &str) -> Selection {
        let Ok(QueueCommand::List { selection, .. }) = read(&format!("pillarbox queue list {arguments}")) else {
            panic!("{arguments}")
        };
        // An order understands the same.
        let order = read(&format!("pillarbox queue hold {arguments}")).unwrap();
        let (action, order) = order.order().unwrap();
        assert_eq!((action, order.chosen()), (Action::Hold, Ok(Chosen::Selected(selection.selection()))));
        selection.selection()
    }

    #[test]
    fn selections_are_understood() {
        let nothing = Selection::default;
        let text = |text: &str| Some(text.to_owned());
        for (arguments, selection) in [
            ("--sender a@b.test", Selection { sender: text("a@b.test"), ..nothing() }),
            ("--sender <a@b.test>", Selection { sender: text("a@b.test"), ..nothing() }),
            ("--sender <>", Selection { sender: text("<>"), ..nothing() }),
            ("--sender @b.test", Selection { sender: text("@b.test"), ..nothing() }),
            ("--recipient @b.test", Selection { recipient: text("@b.test"), ..nothing() }),
            ("--recipient Postmaster", Selection { recipient: text("Postmaster"), ..nothing() }),
            ("--destination smtp://mx:25", Selection { destination: text("smtp://mx:25"), ..nothing() }),
            ("--older-than 2h", Selection { older_than: Some(Duration::from_secs(7200)), ..nothing() }),
            ("--younger-than 10m", Selection { younger_than: Some(Duration::from_secs(600)), ..nothing() }),
            ("--held", Selection { held: Some(true), ..nothing() }),
            ("--not-held", Selection { held: Some(false), ..nothing() }),
            (
                "--meta tenant=a=b --meta queue --meta empty=",
                Selection {
                    meta: vec![
                        ("tenant".to_owned(), text("a=b")),
                        ("queue".to_owned(), None),
                        ("empty".to_owned(), text("")),
                    ],
                    ..nothing()
                },
            ),
            (
                "--sender <> --older-than 1d --not-held",
                Selection {
                    sender: text("<>"),
                    older_than: Some(Duration::from_secs(86400)),
                    held: Some(false),
                    ..nothing()
                },
            ),
        ] {
            assert_eq!(selected(arguments), selection, "{arguments}");
        }
    }

    #[test]
    fn an_order_says_which_messages_it_means() {
        for (arguments, chosen) in [
            ("S.1 S.2", Chosen::Named(vec!["S.1".to_owned(), "S.2".to_owned()])),
            ("--all", Chosen::Selected(Selection::default())),
        ] {
            let order = read(&format!("pillarbox queue retry {arguments} --dry-run")).unwrap();
            let (action, order) = order.order().unwrap();
            assert_eq!((action, order.chosen(), order.dry_run), (Action::Retry, Ok(chosen), true));
        }
        for order in ["retry", "hold", "release", "delete", "bounce"] {
            for (arguments, told) in [
                ("", "ids, a selection such as --older-than 2h, or --all"),
                (" --dry-run", "or --all"),
                (" S.1 --all", "exclude each other"),
                (" S.1 --held", "exclude each other"),
                (" --all --held", "exclude each other"),
            ] {
                let error = read(&format!("pillarbox queue {order}{arguments}")).unwrap_err();
                assert!(error.contains(told) && error.contains("--help"), "{order}{arguments}: {error}");
            }
        }
    }

    #[test]
    fn what_could_cover_nothing_is_a_mistake() {
        for (arguments, told) in [
            ("--sender b.test", "@DOMAIN"),
            ("--sender a@", "@DOMAIN"),
            ("--recipient <>", "@DOMAIN"),
            ("--recipient b.test", "@DOMAIN"),
            ("--older-than 2", "as in 2h"),
            ("--older-than soon", "as in 2h"),
            ("--meta =x", "NAME=VALUE"),
            ("--held --not-held", "cannot be used with"),
            ("--sender", "value is required"),
        ] {
            let error = read(&format!("pillarbox queue list {arguments}")).unwrap_err();
            assert!(error.contains(told), "{arguments}: {error}");
        }
    }
}
