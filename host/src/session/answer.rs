//! What the host says to the machine's questions: its own checks first, then policy's, then the effect.
//!
//! Nothing here writes to the peer. An answer consumes the question, and the machine finds the words.

use super::admission::Admission;
use super::change::Identity;
use super::commit::pairs;
use super::envelope::Transaction;
use super::facts::Phase;
use super::policy::{Answer, ClientChange, Outcome, Question};
use super::relay;
use super::session::Session;
use crate::spool::NoRoom;
use pillarbox_smtp::{Ask, Noted, Refusal, Reply, Sender, ask, reply};

impl Session {
    /// Answers one question.
    pub(super) async fn answer(&mut self, ask: Ask<'_>) {
        match ask {
            Ask::Connect(ask) => self.connect(ask).await,
            Ask::Hello(ask) => self.hello(ask).await,
            Ask::Verb(ask) => {
                let (name, argument) = (ask.name().to_owned(), ask.argument().to_owned());
                let answer = self.policy.command(&name, &argument, &mut self.facts).await;
                self.verb(ask, answer).await;
            }
            Ask::Resume(ask) => {
                let line = ask.line().to_vec();
                let answer = self.policy.resume(&line, &mut self.facts).await;
                self.verb(ask, answer).await;
            }
            // Boxed, for they are large and rare, and a session that waits would carry their room.
            Ask::Auth(ask) => Box::pin(self.authenticate(ask)).await,
            Ask::Response(ask) => Box::pin(self.response(ask)).await,
            Ask::Mail(ask) => self.mail(ask).await,
            Ask::Recipient(ask) => self.recipient(ask).await,
            // As are these, of which there is one a message.
            Ask::Data(ask) => Box::pin(self.data(ask)).await,
            Ask::Message(ask) => Box::pin(self.message(ask)).await,
            Ask::Commit(ask) => Box::pin(self.commit(ask)).await,
        }
        self.facts_mut().phase = Phase::Idle;
    }

    /// Asks policy, waits as long as it wants the peer to wait, and settles what followed from it.
    pub(super) async fn rule(&mut self, question: Question<'_>, phase: Phase) -> Outcome {
        self.facts_mut().phase = phase;
        let ruling = self.policy.rule(question, &mut self.facts).await;
        self.settle_rights();
        if !ruling.delay.is_zero() {
            tokio::time::sleep(ruling.delay.min(self.rules.limits.delay)).await;
        }
        if let Outcome::Refuse(refusal) = &ruling.outcome {
            self.note_refusal(phase.name(), refusal, "policy");
        }
        ruling.outcome
    }

    async fn connect(&mut self, ask: ask::Connect<'_>) {
        self.name_client().await;
        let banner = self.post.listener.banner.clone();
        match self.rule(Question::Connect, Phase::Connect).await {
            Outcome::Pass | Outcome::Discard | Outcome::Quarantine { .. } => ask.accept(&banner),
            Outcome::Refuse(refusal) => ask.refuse(refusal),
        }
    }

    async fn hello(&mut self, ask: ask::Hello<'_>) {
        let (verb, domain, line) = (ask.verb().to_owned(), ask.domain().to_owned(), ask.line().to_owned());
        match self.rule(Question::Hello { verb: &verb, domain: &domain }, Phase::Hello).await {
            Outcome::Pass | Outcome::Discard | Outcome::Quarantine { .. } => {
                self.greeted();
                self.facts_mut().hello(&verb, &domain, &line);
                let mut keywords = self.policy.keywords(&self.facts);
                keywords.extend(self.future_release());
                ask.accept(&self.facts.client_address(), &keywords);
            }
            Outcome::Refuse(refusal) => ask.refuse(refusal),
        }
    }

    async fn verb<A: VerbAsk>(&mut self, ask: A, answer: Answer) {
        self.in_exchange = matches!(answer, Answer::More(_));
        match answer {
            Answer::Done(reply, None) => {
                self.settle_rights();
                ask.done(reply);
            }
            Answer::Done(reply, Some(change)) => match Box::pin(self.rename(change)).await {
                Ok(()) => ask.done(reply),
                Err(Renamed::NotWelcome(refusal)) => ask.lock(refusal),
                Err(Renamed::MayNotSend(refusal)) => ask.abandon(refusal),
            },
            Answer::More(reply) => ask.more(reply),
            Answer::Restart(hello_kept, change) => {
                self.note_change(&change);
                self.policy.forget();
                self.reset();
                self.note_name(&change);
                self.facts_mut().restart(change.identities, &change.extension);
                self.greeted();
                self.settle();
                ask.restart(hello_kept);
            }
            Answer::Refuse(refusal) => {
                self.settle_rights();
                match refusal.closes() {
                    true => ask.close(refusal),
                    false => ask.fail(refusal),
                }
            }
        }
    }

    /// The client changed while the session goes on: what depends on it is decided anew (docs/architecture.md, rule 3).
    async fn rename(&mut self, change: ClientChange) -> Result<(), Renamed> {
        self.note_change(&change);
        self.policy.forget();
        self.note_name(&change);
        self.facts_mut().rename(change.identities, &change.extension);
        self.settle();
        self.name_client().await;
        // Policy comes before the relay decision, because what it says at connect may be a login.
        if let Outcome::Refuse(refusal) = self.rule(Question::Connect, Phase::Connect).await {
            return Err(Renamed::NotWelcome(refusal));
        }
        for recipient in self.facts.transaction.iter().flat_map(Transaction::present) {
            let domain = (!recipient.name.bare_postmaster).then_some(&*recipient.name.domain);
            if relay::right(&self.rules, &self.facts, domain).is_none() {
                return Err(Renamed::MayNotSend(self.may_not_relay(&recipient.address)));
            }
        }
        Ok(())
    }

    async fn mail(&mut self, ask: ask::Mail<'_>) {
        let (sender, parts) = match ask.sender() {
            Sender::Null => (String::new(), (String::new(), String::new())),
            Sender::Mailbox(mailbox) => {
                (mailbox.to_string(), (mailbox.local().to_owned(), mailbox.domain().to_string()))
            }
        };
        let (line, parameters) = (ask.line().to_owned(), ask.parameters().to_vec());
        let smtputf8 = ask.envelope().smtputf8;
        if let Err(refusal) = self.judge_hold(&parameters) {
            self.note_refusal(Phase::Mail.name(), &refusal, "protocol");
            return ask.refuse(refusal);
        }
        self.leave_message();
        // Asked before policy is: what cannot be kept need not be judged. What the client says of the size was checked by
        // the machine, against its own limit.
        let size = parameters.iter().find(|parameter| parameter.name == "SIZE").and_then(|it| it.value.as_deref());
        if let Err(error) = self.service.spool.admit(size.and_then(|size| size.parse().ok()).unwrap_or(0)).await {
            let refusal = match error {
                NoRoom::Full => reply::spool_full(),
                NoRoom::Failing => reply::spool_failed(),
            };
            self.note_refusal(Phase::Mail.name(), &refusal, "spool");
            return ask.refuse(refusal);
        }
        self.begin_transaction();
        let admission = Admission::new(self.post.clone());
        let facts = self.facts_mut();
        facts.begin_message((&parts.0, &parts.1), &line);
        facts.transaction = Some(Transaction {
            sender: sender.clone(),
            parameters: pairs(&parameters),
            smtputf8,
            admission,
            ..Transaction::default()
        });
        let outcome = self.rule(Question::Mail { sender: &sender, parameters: &parameters }, Phase::Mail).await;
        match outcome {
            Outcome::Pass => ask.accept(),
            Outcome::Discard => ask.discard(),
            Outcome::Quarantine { extension, reason } => {
                self.quarantine(extension, reason, Phase::Mail);
                ask.accept();
            }
            Outcome::Refuse(refusal) => {
                // No transaction, no message scope.
                self.reset();
                ask.refuse(refusal);
            }
        }
    }

    /// Whoever names the client need not be asked about; a new address without a name is.
    fn note_name(&mut self, change: &ClientChange) {
        let names = change.identities.iter().any(|identity| matches!(identity, Identity::Name(_)));
        let moves = change.identities.iter().any(|identity| matches!(identity, Identity::Addr(_)));
        self.named = names || (self.named && !moves);
    }

    fn note_change(&self, change: &ClientChange) {
        tracing::info!(
            session = &*self.facts.id,
            extension = &*change.extension,
            from = &*self.facts.client_address(),
            change = &*change.identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            "client changed"
        );
    }

    /// The machine refused something by itself.
    pub(super) fn note_protocol(&self, noted: &Noted) {
        let (reply, client) = (noted.reply.to_string(), self.facts.client_address());
        match noted.limit {
            Some(limit) => {
                self.service.counters.limit_reached(limit);
                tracing::info!(
                    session = &*self.facts.id,
                    by = "protocol",
                    limit,
                    reply = &*reply,
                    client = &*client,
                    "refused"
                );
            }
            None => {
                tracing::info!(
                    session = &*self.facts.id,
                    by = "protocol",
                    reply = &*reply,
                    client = &*client,
                    "refused"
                );
            }
        }
    }

    pub(super) fn note_refusal(&self, phase: &str, refusal: &Refusal, by: &str) {
        if phase == Phase::Recipient.name() {
            self.service.counters.recipient_refused();
        }
        let reply = refusal.to_string();
        let client = self.facts.client_address();
        tracing::info!(session = &*self.facts.id, phase, by, reply = &*reply, client = &*client, "refused");
    }
}

/// Why a changed client may not go on.
enum Renamed {
    /// Policy at `connect` does not want it.
    NotWelcome(Refusal),
    /// It has no right to send to a recipient that was accepted.
    MayNotSend(Refusal),
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Hello => "hello",
            Phase::Idle => "idle",
            Phase::Mail => "mail",
            Phase::Recipient => "recipient",
            Phase::Data => "data",
            Phase::Message => "message",
            Phase::Closing => "closing",
        }
    }
}

/// A verb's first line and its later ones are answered alike.
trait VerbAsk {
    fn done(self, reply: Reply);
    fn more(self, reply: Reply);
    fn restart(self, hello_kept: bool);
    fn close(self, refusal: Refusal);
    fn abandon(self, refusal: Refusal);
    fn lock(self, refusal: Refusal);
    fn fail(self, refusal: Refusal);
}

macro_rules! verb_ask {
    ($($ask:ty),*) => { $(
        impl VerbAsk for $ask {
            fn done(self, reply: Reply) { self.done(reply) }
            fn more(self, reply: Reply) { self.more(reply) }
            fn restart(self, hello_kept: bool) { self.restart(hello_kept) }
            fn close(self, refusal: Refusal) { self.close(refusal) }
            fn abandon(self, refusal: Refusal) { self.abandon(refusal) }
            fn lock(self, refusal: Refusal) { self.lock(refusal) }
            fn fail(self, refusal: Refusal) { self.fail(refusal) }
        }
    )* };
}
verb_ask!(ask::Verb<'_>, ask::Resume<'_>);
