//! `envelope-read` and `envelope-write`: the envelope of the transaction, own staged changes included. An entry that is
//! there for some recipients only sees and touches those, and nobody can name a recipient whom the client could not have
//! named.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::types::{Error, Parameter, Reply};
use crate::extension::bindings::pillarbox::extension::{envelope_read, envelope_write};
use crate::extension::interface::Hook;
use crate::extension::state::State;
use crate::extension::verdict;
use crate::session::admission::NotAdmitted;
use crate::session::change::Change;
use crate::session::envelope::{Edit, Recipient, Transaction};
use crate::session::generation::RecipientName;
use pillarbox_smtp::{Address, AddressError, Mailbox};
use std::borrow::Cow;

impl State {
    fn transaction<T: Default>(&self, read: impl FnOnce(&Transaction) -> T) -> Result<T, Error> {
        let facts = self.session()?;
        Ok(facts.transaction.as_ref().map(|transaction| read(&self.with_staged(transaction))).unwrap_or_default())
    }

    /// The envelope as it will be when this call returns.
    fn with_staged<'a>(&self, transaction: &'a Transaction) -> Cow<'a, Transaction> {
        let edits = self.staged.iter().filter_map(|change| match change {
            Change::Envelope(edit) => Some(&**edit),
            _ => None,
        });
        let mut seen = Cow::Borrowed(transaction);
        edits.for_each(|edit| seen.to_mut().apply(edit.clone()));
        seen
    }

    fn edits_envelope(&self, hooks: &[Hook]) -> Result<Transaction, Error> {
        self.during(hooks, "a change of the envelope")?;
        let facts = self.session()?;
        let transaction = facts.transaction.as_ref().map(|transaction| self.with_staged(transaction).into_owned());
        transaction.ok_or_else(|| Error::Unavailable("there is no transaction".to_owned()))
    }

    /// An address of the message's recipients, or the one that is asked about.
    fn present(&mut self, address: &str) -> Result<(Transaction, RecipientName), Error> {
        let transaction = self.edits_envelope(&RECIPIENTS)?;
        let name = transaction.admission.name(&parsed(address, transaction.smtputf8)?);
        if !self.linked.tenant.covers(&name) {
            return self.deny(Capability::EnvelopeWrite, address);
        }
        match transaction.has(&name) {
            true => Ok((transaction, name)),
            false => Err(Error::Invalid(format!("`{}` is no recipient", crate::observe::clip(address)))),
        }
    }

    /// An address that is to be a recipient, judged as if the client had named it.
    async fn admitted(&mut self, transaction: &Transaction, address: &str) -> Result<Recipient, Error> {
        let parsed = parsed(address, transaction.smtputf8)?;
        if !self.linked.tenant.covers(&transaction.admission.name(&parsed)) {
            return self.deny(Capability::EnvelopeWrite, address);
        }
        let facts = self.session()?;
        let (recipient, right) = transaction.admission.admit(&facts, &parsed).await.map_err(|why| match why {
            NotAdmitted::Unavailable(_) => Error::Failed(why.to_string()),
            NotAdmitted::NoDomain | NotAdmitted::Relay | NotAdmitted::UnknownMailbox | NotAdmitted::NoRoute => {
                Error::Invalid(why.to_string())
            }
        })?;
        let (session, extension, recipient_address) = (&*facts.id, &*self.linked.name, &*recipient.address);
        tracing::debug!(session, extension, recipient = recipient_address, right = right.name(), "recipient named");
        Ok(recipient)
    }

    fn stage_sender(&mut self, sender: &str) -> Result<(), Error> {
        // It is every recipient's.
        if !self.linked.tenant.is_everybody() {
            return self.deny(Capability::EnvelopeWrite, "sender, which is every recipient's");
        }
        let transaction = self.edits_envelope(&[Hook::Mail, Hook::Recipient, Hook::Data, Hook::Message])?;
        let sender = match sender {
            "" => String::new(),
            _ => mailbox(sender, transaction.smtputf8)?.to_string(),
        };
        self.staged.push(Change::Envelope(Box::new(Edit::Sender(sender))));
        Ok(())
    }

    async fn stage_addition(&mut self, address: &str) -> Result<(), Error> {
        let transaction = self.edits_envelope(&RECIPIENTS)?;
        let recipient = self.admitted(&transaction, address).await?;
        let facts = self.session()?;
        let limit = transaction.admission.limits(&facts).map_or(0, |limits| limits.recipients);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let present = transaction.present().chain(&transaction.candidate).count();
        if !transaction.has(&recipient.name) && limit != 0 && present >= limit {
            return Err(Error::Limit(format!("recipients: {limit}")));
        }
        self.staged.push(Change::Envelope(Box::new(Edit::Add(recipient))));
        Ok(())
    }

    async fn stage_rewriting(&mut self, address: &str, by: &str) -> Result<(), Error> {
        let (transaction, name) = self.present(address)?;
        let by = self.admitted(&transaction, by).await?;
        self.staged.push(Change::Envelope(Box::new(Edit::Rewrite(name, by))));
        Ok(())
    }

    fn stage_refusal(&mut self, address: &str, reply: Reply) -> Result<(), Error> {
        let (_, name) = self.present(address)?;
        let refusal = verdict::recipient_refusal(reply).map_err(|failure| Error::Invalid(failure.to_string()))?;
        self.staged.push(Change::Envelope(Box::new(Edit::Refuse(name, refusal))));
        Ok(())
    }
}

impl envelope_read::Host for State {
    fn sender(&mut self) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.cross(0)?;
        let sender = self.transaction(|transaction| Some(transaction.sender.clone()));
        self.answer(320, sender)
    }

    fn recipients(&mut self) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.cross(0)?;
        let tenant = &self.linked.tenant;
        let recipients = self.transaction(|transaction| {
            let covered = transaction.present().filter(|recipient| tenant.covers(&recipient.name));
            covered.map(|recipient| recipient.address.clone()).collect::<Vec<_>>()
        });
        self.answer(recipients.iter().flatten().map(String::len).sum(), recipients)
    }

    fn parameters(&mut self) -> wasmtime::Result<Result<Vec<Parameter>, Error>> {
        self.cross(0)?;
        let parameters = self.transaction(|transaction| {
            let given = transaction.parameters.iter().cloned();
            given.map(|(name, value)| Parameter { name, value }).collect::<Vec<_>>()
        });
        let length = |given: &Parameter| given.name.len() + given.value.as_ref().map_or(0, String::len);
        self.answer(parameters.iter().flatten().map(length).sum(), parameters)
    }
}

impl envelope_write::Host for State {
    async fn set_sender(&mut self, sender: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(sender.len())?;
        self.spend(Spending::Edit)?;
        Ok(self.stage_sender(&sender))
    }

    async fn add_recipient(&mut self, address: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(address.len())?;
        self.spend(Spending::Edit)?;
        Ok(self.stage_addition(&address).await)
    }

    async fn drop_recipient(&mut self, address: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(address.len())?;
        self.spend(Spending::Edit)?;
        Ok(self.present(&address).map(|(_, name)| self.staged.push(Change::Envelope(Box::new(Edit::Drop(name))))))
    }

    async fn rewrite_recipient(&mut self, address: String, by: String) -> wasmtime::Result<Result<(), Error>> {
        self.cross(address.len().saturating_add(by.len()))?;
        self.spend(Spending::Edit)?;
        Ok(self.stage_rewriting(&address, &by).await)
    }

    async fn refuse_recipient(&mut self, address: String, reply: Reply) -> wasmtime::Result<Result<(), Error>> {
        self.cross(reply.text.iter().map(String::len).sum::<usize>().saturating_add(address.len()))?;
        self.spend(Spending::Edit)?;
        Ok(self.stage_refusal(&address, reply))
    }
}

/// The hooks at which recipients may be changed.
const RECIPIENTS: [Hook; 3] = [Hook::Recipient, Hook::Data, Hook::Message];

fn parsed(text: &str, smtputf8: bool) -> Result<Address, Error> {
    match text.eq_ignore_ascii_case("postmaster") {
        true => Ok(Address::Postmaster),
        false => mailbox(text, smtputf8).map(Address::Mailbox),
    }
}

/// An address is read as strictly as the peer's; UTF-8 is for messages that said SMTPUTF8 (RFC 6531).
fn mailbox(text: &str, smtputf8: bool) -> Result<Mailbox, Error> {
    let mailbox = if smtputf8 { Mailbox::parse_utf8(text) } else { text.parse() };
    mailbox.map_err(|error: AddressError| Error::Invalid(error.to_string()))
}
