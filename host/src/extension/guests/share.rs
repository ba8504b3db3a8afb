//! What a verdict comes to where it does not concern the whole message, and what a call is told that others changed.

use super::failure::note_discard;
use crate::extension::interface::Hook;
use crate::extension::load::Linked;
use crate::extension::verdict::Verdict;
use crate::session::envelope::{Fate, Quarantined};
use crate::session::facts::Facts;
use crate::session::policy::Question;
use std::sync::Arc;

/// The address a question is about, as the extensions before have left it.
pub(super) fn named(question: &Question<'_>, facts: &Facts) -> String {
    let transaction = facts.transaction.as_ref();
    let (said, now) = match question {
        Question::Mail { sender, .. } => (*sender, transaction.map(|it| &it.sender)),
        Question::Recipient { address, .. } => {
            (*address, transaction.and_then(|it| it.candidate.as_ref()).map(|candidate| &candidate.address))
        }
        Question::Connect | Question::Hello { .. } | Question::Data | Question::Message => ("", None),
    };
    now.map_or_else(|| said.to_owned(), Clone::clone)
}

/// Applies what a verdict says of an extension's own recipients, where it is there for some only, and hands on what is left
/// of it for the message as a whole (docs/architecture.md, rule 14). A refusal for now, and one that closes, is everybody's:
/// nothing may be lost.
pub(super) fn narrowed(linked: &Linked, facts: &mut Arc<Facts>, hook: Hook, verdict: Verdict) -> Verdict {
    let taken = |facts: &Facts| {
        let candidate = facts.transaction.as_ref().and_then(|it| it.candidate.as_ref());
        candidate.is_some_and(|candidate| !candidate.is_there())
    };
    // Who is no recipient any more is nobody to be asked about.
    if hook == Hook::Recipient && matches!(verdict, Verdict::Next) && taken(facts) {
        return Verdict::Accept;
    }
    if linked.tenant.is_everybody() || !matches!(hook, Hook::Data | Hook::Message) {
        return verdict;
    }
    let all = facts.transaction.as_ref().is_none_or(|transaction| linked.tenant.covers_all(transaction));
    let fate = match verdict {
        Verdict::Next => return Verdict::Next,
        Verdict::Accept => None,
        Verdict::Discard => {
            note_discard(linked, facts, hook);
            Some(Fate::Discard)
        }
        Verdict::Quarantine(reason) => {
            Some(Fate::Quarantine(Arc::new(Quarantined { extension: linked.name.clone(), reason, hook: hook.name() })))
        }
        Verdict::Refuse(refusal) if refusal.closes() || refusal.reply().code() < 500 => {
            return Verdict::Refuse(refusal);
        }
        Verdict::Refuse(refusal) => Some(Fate::Refuse(refusal)),
    };
    if let (Some(fate), Some(transaction)) = (fate, &mut Arc::make_mut(facts).transaction) {
        transaction.settle(|name| linked.tenant.covers(name), &fate);
    }
    if all { Verdict::Accept } else { Verdict::Next }
}
