//! What the session asks policy, and what policy may say. The trait is owned here and implemented one step up, by
//! `extension`: the session knows that somebody decides, not that the deciders are WebAssembly.
//!
//! Watching and deciding are different doors: `accepted` and `ended` only inform and have no answer.

use super::change::Identity;
use super::facts::{Facts, Login};
use pillarbox_sasl::{Secret, Verifier};
use pillarbox_smtp::{Parameter, Refusal, Reply, Verbs};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future policy answers with.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A step policy is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// May this client be greeted?
    Connect,
    /// May it say this name?
    Hello {
        /// "HELO" or "EHLO".
        verb: &'a str,
        /// The argument.
        domain: &'a str,
    },
    /// May it send from here?
    Mail {
        /// Without angle brackets, empty for the null sender.
        sender: &'a str,
        /// MAIL's parameters.
        parameters: &'a [Parameter],
    },
    /// May it send to there?
    Recipient {
        /// Without angle brackets.
        address: &'a str,
        /// RCPT's parameters.
        parameters: &'a [Parameter],
    },
    /// May it send the message?
    Data,
    /// Is the message welcome?
    Message,
}

/// What all of policy together said to a question.
#[derive(Debug)]
pub struct Ruling {
    /// Go on, discard, or refuse.
    pub outcome: Outcome,
    /// How long the peer waits for the reply.
    pub delay: Duration,
}

/// The ways on.
#[derive(Debug)]
pub enum Outcome {
    /// Nobody minds.
    Pass,
    /// Answer as if nobody minded, and deliver nothing.
    Discard,
    /// Answer as if nobody minded, and keep the message aside for the operator.
    Quarantine {
        /// Who says so.
        extension: Arc<str>,
        /// Why.
        reason: String,
    },
    /// Say this.
    Refuse(Refusal),
}

/// What an extension said to one of its verbs.
#[derive(Debug)]
pub enum Answer {
    /// A final reply. A change of client comes as data, for the session to apply.
    Done(Reply, Option<ClientChange>),
    /// 3xx; one more line is wanted.
    More(Reply),
    /// Back to the greeting, with or without the HELO name.
    Restart(bool, ClientChange),
    /// A refusal; one that closes says so itself.
    Refuse(Refusal),
}

/// Who the client is from now on, and which extension says so.
#[derive(Debug)]
pub struct ClientChange {
    /// The extension's name.
    pub extension: Arc<str>,
    /// What it named, in order.
    pub identities: Vec<Identity>,
}

/// What the extensions that are there for a session declared.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// Verbs, each open or closed to this client.
    pub verbs: Arc<Verbs>,
    /// MAIL parameters.
    pub mail_parameters: Arc<BTreeSet<String>>,
    /// RCPT parameters.
    pub recipient_parameters: Arc<BTreeSet<String>>,
    /// SASL mechanisms that extensions speak themselves, in upper case.
    pub mechanisms: Arc<BTreeSet<String>>,
    /// SASL mechanisms the server speaks and extensions judge, in upper case.
    pub judged: Arc<BTreeSet<String>>,
}

/// What an extension said in an exchange of a mechanism it speaks itself.
#[derive(Debug)]
pub enum Exchange {
    /// Say this and wait for the response.
    Challenge(Vec<u8>),
    /// The session is authenticated as this user.
    Success {
        /// The user.
        user: String,
        /// What the client is still to be told.
        data: Option<Vec<u8>>,
        /// Who says so.
        extension: Arc<str>,
    },
    /// It is not; in these words, or the server's own.
    Failure(Option<Refusal>),
    /// It cannot be told now.
    Later,
}

/// What extensions said of credentials.
#[derive(Debug)]
pub enum Judged {
    /// They are right, and the session is authenticated as this user.
    Yes {
        /// The user.
        user: String,
        /// Who says so.
        extension: Arc<str>,
    },
    /// They are wrong, or there is no such user.
    No,
    /// It cannot be told now.
    Later,
    /// SCRAM goes on with this.
    Verifier {
        /// What is kept of the password.
        verifier: Verifier,
        /// Who says so.
        extension: Arc<str>,
    },
    /// No extension that is there is asked about it.
    Nobody,
}

/// Credentials to be judged.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'a> {
    /// PLAIN and LOGIN.
    Password {
        /// The mechanism.
        mechanism: &'a str,
        /// Who it is said to be.
        user: &'a str,
        /// The password.
        password: &'a Secret,
        /// PLAIN's authorization identity, if one was given.
        authorization: Option<&'a str>,
    },
    /// SCRAM: what is kept of this user's password?
    Lookup {
        /// The mechanism.
        mechanism: &'a str,
        /// Who it is said to be.
        user: &'a str,
    },
}

/// What a running session has to compare when a reload replaces its policy: one print for each extension that decides at
/// `connect` or `hello`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Changes when an extension's component, order, settings, grant or peers do.
    pub greeters: Vec<[u8; 32]>,
}

/// The policy of one session. It applies what extensions staged to `facts` itself, after each clean return, through
/// [`Facts::apply`].
pub trait Policy: Send + Sync {
    /// What is declared for this session, as the client now is.
    fn offers(&self, facts: &Facts) -> Offers;

    /// The keywords to advertise to it.
    fn keywords(&self, facts: &Facts) -> Vec<String>;

    /// Asks every extension that is there, in order; the first refusal wins.
    fn rule<'a>(&'a mut self, question: Question<'a>, facts: &'a mut Arc<Facts>) -> Asking<'a, Ruling>;

    /// Asks the extension that declared the verb.
    fn command<'a>(&'a mut self, verb: &'a str, argument: &'a str, facts: &'a mut Arc<Facts>) -> Asking<'a, Answer>;

    /// Hands the line after [`Answer::More`] to the extension that wanted it.
    fn resume<'a>(&'a mut self, line: &'a [u8], facts: &'a mut Arc<Facts>) -> Asking<'a, Answer>;

    /// Begins an exchange with the extension that declared the mechanism.
    fn authenticate<'a>(
        &'a mut self,
        mechanism: &'a str,
        initial: Option<&'a [u8]>,
        facts: &'a mut Arc<Facts>,
    ) -> Asking<'a, Exchange>;

    /// Hands it the response to [`Exchange::Challenge`].
    fn respond<'a>(&'a mut self, response: &'a [u8], facts: &'a mut Arc<Facts>) -> Asking<'a, Exchange>;

    /// Asks the extensions that judge credentials, in order, until one knows.
    fn judge<'a>(&'a mut self, credentials: Credentials<'a>, facts: &'a mut Arc<Facts>) -> Asking<'a, Judged>;

    /// Tells those who want to know that the message was accepted.
    fn accepted<'a>(&'a mut self, id: &'a str, facts: &'a mut Arc<Facts>) -> Asking<'a, ()>;

    /// Tells those who want to know that the session is over.
    fn ended<'a>(&'a mut self, facts: &'a mut Arc<Facts>) -> Asking<'a, ()>;

    /// Whether anybody reads messages, so that they need be kept readable.
    fn reads_messages(&self, facts: &Facts) -> bool;

    /// The client changed, or TLS began: nothing of what extensions remember of the session may stay.
    fn forget(&mut self);

    /// A message is over, or what was said before it is taken back: what extensions remember of it goes.
    fn forget_message(&mut self);

    /// The session idles: what costs memory goes, what is remembered stays.
    fn rest(&mut self);

    /// What to compare with after a reload.
    fn standing(&self) -> Standing;

    /// Whether an extension of this name is there for this session and may still say what it said of this login: at a
    /// hook of its own, or of credentials.
    fn vouches(&self, extension: &str, login: &Login, facts: &Facts) -> bool;

    /// Gives up what extensions remember of the session, for a newer generation's policy.
    fn remembered(&mut self) -> Memory;
}

/// The policy of one listener in one generation.
pub trait Extensions: Send + Sync {
    /// Opens the policy of a session of these facts; `memory` is empty for a new one.
    fn open(&self, memory: Memory, facts: &Facts) -> Box<dyn Policy>;
}

/// What extensions remember of a session (the interface `state`), by extension name.
pub type Memory = BTreeMap<Arc<str>, Remembered>;

/// What one extension remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// As long as the connection.
    pub connection: BTreeMap<String, Vec<u8>>,
    /// As long as the message.
    pub message: BTreeMap<String, Vec<u8>>,
    /// Which of its keywords the session is shown otherwise than declared: none hides, else the parameters.
    pub keywords: BTreeMap<String, Option<Option<String>>>,
    /// What it used of the session's budgets; only said where it is handed over, from one generation to the next.
    pub spent: Spent,
}

/// What one extension used of its budgets in one session. The session carries it and looks at none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Time as a clock on the wall sees it.
    pub wall: Duration,
    /// Lines logged.
    pub log_lines: u64,
    /// Octets that crossed.
    pub host_bytes: u64,
    /// Host calls.
    pub host_calls: u64,
    /// Changes staged.
    pub edits: u64,
    /// Streams opened.
    pub handles: u64,
    /// Operations on the store.
    pub kv: u64,
    /// Questions of the DNS.
    pub dns: u64,
    /// Requests.
    pub http: u64,
}
