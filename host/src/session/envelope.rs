//! The envelope of a transaction as the session keeps it: who the message is from and for, and what is to become of each
//! recipient. It begins as what the peer said; policy changes it by [`Edit`]s, which are plain data.
//!
//! What the peer was told stays with the machine: a recipient knows at which place it was said, so that it can have a reply
//! of its own where the protocol has one. Whether an address may be one of the message's is [`super::admission`]'s matter.

use super::admission::Admission;
use super::generation::RecipientName;
use pillarbox_smtp::Refusal;
use std::fmt;
use std::sync::Arc;

/// The envelope so far.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// The sender without angle brackets, empty for the null sender.
    pub sender: String,
    /// MAIL's parameters.
    pub parameters: Vec<(String, Option<String>)>,
    /// The recipients in order, those that were taken away again among them.
    pub recipients: Vec<Recipient>,
    /// At the `recipient` hook, the one that is asked about and not accepted yet.
    pub candidate: Option<Recipient>,
    /// Whether its header and addresses may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// The whole message is to be kept aside.
    pub quarantined: Option<Arc<Quarantined>>,
    /// Judges addresses that policy names.
    pub admission: Admission,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its address in canonical form, without angle brackets.
    pub address: String,
    /// The address as routes look at it.
    pub name: RecipientName,
    /// RCPT's parameters.
    pub parameters: Vec<(String, Option<String>)>,
    /// Whether its route leads to `discard:`.
    pub nowhere: bool,
    /// What is to become of it.
    pub fate: Fate,
    /// Its place among those the peer named; none when policy added it.
    pub said: Option<usize>,
}

/// What is to become of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It gets the message.
    Keep,
    /// It gets nothing, and is a recipient all the same.
    Discard,
    /// It is none any more, and nobody hears of it.
    Drop,
    /// It was made the same as another, and has that one's copy, or its refusal.
    Joined,
    /// It is none any more, and the peer hears this where there is a reply for it.
    Refuse(Refusal),
    /// Its copy is kept aside.
    Quarantine(Arc<Quarantined>),
}

/// Why a message is kept aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The extension that said so.
    pub extension: Arc<str>,
    /// What it gave as the reason.
    pub reason: String,
    /// The hook it was asked at.
    pub hook: &'static str,
}

/// One change of the envelope. Addresses in it were judged before it was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The sender is this, in canonical form.
    Sender(String),
    /// There is one more recipient, if it is not there yet.
    Add(Recipient),
    /// This one is none any more.
    Drop(RecipientName),
    /// What this one was to get, that one gets.
    Rewrite(RecipientName, Recipient),
    /// This one is refused.
    Refuse(RecipientName, Refusal),
}

/// The change as the log shows it.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &RecipientName| format!("{}@{}", name.local, name.domain);
        match self {
            Edit::Sender(sender) => write!(f, "sender <{sender}>"),
            Edit::Add(recipient) => write!(f, "add {}", recipient.address),
            Edit::Drop(name) => write!(f, "drop {}", named(name)),
            Edit::Rewrite(name, by) => write!(f, "rewrite {} {}", named(name), by.address),
            Edit::Refuse(name, refusal) => write!(f, "refuse {} {refusal}", named(name)),
        }
    }
}

impl Recipient {
    /// Whether it still is one of the message's.
    pub fn is_there(&self) -> bool {
        !matches!(self.fate, Fate::Drop | Fate::Joined | Fate::Refuse(_))
    }
}

impl RecipientName {
    /// Whether both name one mailbox: domains compare without case, local parts as they stand, but for postmaster's.
    pub fn is(&self, other: &RecipientName) -> bool {
        self.domain == other.domain && (self.local == other.local || (self.postmaster && other.postmaster))
    }
}

impl Transaction {
    /// Those that are recipients now, in order.
    pub fn present(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|recipient| recipient.is_there())
    }

    /// Whether this is a recipient, or the one that is asked about.
    pub fn has(&self, name: &RecipientName) -> bool {
        self.present().chain(&self.candidate).any(|recipient| recipient.is_there() && recipient.name.is(name))
    }

    /// Applies a change.
    pub fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Sender(sender) => self.sender = sender,
            Edit::Add(recipient) => {
                if !self.has(&recipient.name) {
                    self.recipients.push(recipient);
                }
            }
            Edit::Drop(name) => self.named(&name).for_each(|recipient| recipient.fate = Fate::Drop),
            Edit::Refuse(name, refusal) => {
                self.named(&name).for_each(|recipient| recipient.fate = Fate::Refuse(refusal.clone()));
            }
            Edit::Rewrite(name, by) if name.is(&by.name) => {}
            Edit::Rewrite(name, by) => {
                let mut there = self.has(&by.name);
                for joined in self.recipients.iter_mut().filter(|it| it.fate == Fate::Joined && it.name.is(&name)) {
                    joined.name.clone_from(&by.name);
                }
                for recipient in self.named(&name) {
                    // Two that become one get one copy.
                    if std::mem::replace(&mut there, true) {
                        recipient.fate = Fate::Joined;
                    }
                    recipient.address.clone_from(&by.address);
                    recipient.name.clone_from(&by.name);
                    recipient.nowhere = by.nowhere;
                }
            }
        }
    }

    /// Gives some of the recipients another fate. A copy that goes nowhere stays where it is, however that is called:
    /// quarantine takes only what would be delivered.
    pub fn settle(&mut self, theirs: impl Fn(&RecipientName) -> bool, fate: &Fate) {
        for recipient in self.recipients.iter_mut().filter(|recipient| recipient.is_there() && theirs(&recipient.name))
        {
            if recipient.fate == Fate::Keep || !matches!(fate, Fate::Quarantine(_)) {
                recipient.fate = fate.clone();
            }
        }
    }

    fn named<'a>(&'a mut self, name: &'a RecipientName) -> impl Iterator<Item = &'a mut Recipient> {
        let all = self.recipients.iter_mut().chain(&mut self.candidate);
        all.filter(move |recipient| recipient.is_there() && recipient.name.is(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use pillarbox_smtp::reply;

    fn name(address: &str) -> RecipientName {
        RecipientName::of(&address.parse().unwrap(), "mx.example.test")
    }

    fn recipient(address: &str) -> Recipient {
        let (address, name) = (address.to_owned(), name(address));
        Recipient { address, name, parameters: Vec::new(), nowhere: false, fate: Fate::Keep, said: None }
    }

    fn transaction(addresses: &[&str]) -> Transaction {
        Transaction { recipients: addresses.iter().map(|address| recipient(address)).collect(), ..Default::default() }
    }

    fn there(transaction: &Transaction) -> Vec<&str> {
        transaction.present().map(|recipient| &*recipient.address).collect()
    }

    #[test]
    fn edits_change_who_is_there() {
        let refuse = || Edit::Refuse(name("a@x.test"), reply::policy_reject());
        for (edits, expected) in [
            (vec![Edit::Add(recipient("c@x.test"))], vec!["a@x.test", "b@x.test", "c@x.test"]),
            (vec![Edit::Add(recipient("b@X.test"))], vec!["a@x.test", "b@x.test"]),
            (vec![Edit::Add(recipient("B@x.test"))], vec!["a@x.test", "b@x.test", "B@x.test"]),
            (vec![Edit::Drop(name("a@x.test"))], vec!["b@x.test"]),
            (vec![Edit::Drop(name("a@x.test")), Edit::Add(recipient("a@x.test"))], vec!["b@x.test", "a@x.test"]),
            (vec![refuse()], vec!["b@x.test"]),
            (vec![Edit::Rewrite(name("a@x.test"), recipient("c@x.test"))], vec!["c@x.test", "b@x.test"]),
            (vec![Edit::Rewrite(name("a@x.test"), recipient("b@x.test"))], vec!["b@x.test"]),
            (vec![Edit::Rewrite(name("a@x.test"), recipient("a@x.test"))], vec!["a@x.test", "b@x.test"]),
            (vec![refuse(), Edit::Rewrite(name("a@x.test"), recipient("c@x.test"))], vec!["b@x.test"]),
        ] {
            let mut transaction = transaction(&["a@x.test", "b@x.test"]);
            let shown = format!("{edits:?}");
            edits.into_iter().for_each(|edit| transaction.apply(edit));
            assert_eq!(there(&transaction), expected, "{shown}");
        }
    }

    #[test]
    fn two_of_one_name_become_one() {
        let mut transaction = transaction(&["a@x.test", "a@x.test"]);
        transaction.apply(Edit::Rewrite(name("a@x.test"), recipient("c@x.test")));
        assert_eq!(there(&transaction), ["c@x.test"]);
    }

    #[test]
    fn what_is_discarded_is_not_kept_aside() {
        let aside = Fate::Quarantine(Arc::new(Quarantined { extension: "x".into(), reason: "y".into(), hook: "data" }));
        let refused = Fate::Refuse(reply::policy_reject());
        for (fates, expected) in [
            (vec![Fate::Discard, aside.clone()], Fate::Discard),
            (vec![aside.clone(), Fate::Discard], Fate::Discard),
            (vec![aside.clone(), refused.clone()], refused.clone()),
            (vec![refused.clone(), Fate::Discard], refused),
            (vec![aside.clone()], aside),
        ] {
            let mut transaction = transaction(&["a@x.test", "b@x.test"]);
            let theirs = name("a@x.test");
            fates.iter().for_each(|fate| transaction.settle(|name| name.is(&theirs), fate));
            assert_eq!(transaction.recipients[0].fate, expected);
            assert_eq!(transaction.recipients[1].fate, Fate::Keep);
        }
    }
}
