//! No sequence of host calls reaches anything outside the grant: random grants, random sequences, and a model of what a
//! grant means that shares no code with the host.
//!
//! The guest is `tests/components/prober`, which calls what it is told to. What it may not have is answered `denied` with the
//! grant that is missing, is counted, and changes nothing; what is marked as secret in the session appears in no answer
//! without its right. A capability is a row of `CALLS`, a line of the grant in `Rights`, and what it could change in
//! `unchanged_outside`. What reaches beyond the session is tried in `reach`, what changes a message in `edits`.
//!
//! `PILLARBOX_GRANTS` is how many grants are tried, `PILLARBOX_SEED` the seed of the first.

use super::*;
use crate::session::change::Identity;
use crate::session::context::{Origin, Scope};
use crate::session::envelope::Transaction;
use crate::session::facts::Login;
use crate::session::policy::{Answer, ClientChange};

/// How much of a capability that knows names is granted.
#[derive(Clone, Debug)]
pub(super) enum Much {
    None,
    All,
    Some(Vec<&'static str>),
}

impl Much {
    pub(super) fn any(&self) -> bool {
        !matches!(self, Much::None)
    }

    pub(super) fn named(&self, name: &str) -> bool {
        match self {
            Much::None => false,
            Much::All => true,
            Much::Some(names) => names.contains(&name),
        }
    }

    /// As the file has it.
    pub(super) fn line(&self, capability: &str) -> String {
        let value = match self {
            Much::None => "false".to_owned(),
            Much::All => "true".to_owned(),
            Much::Some(names) => listed(names),
        };
        format!("grant.{capability} = {value}\n")
    }
}

/// Patterns for each scope of the context, connection first.
#[derive(Clone, Debug)]
enum Names {
    None,
    All,
    Both(Vec<&'static str>),
    Each(Vec<&'static str>, Vec<&'static str>),
}

impl Names {
    fn patterns(&self, scope: &str) -> Vec<&'static str> {
        match self {
            Names::None => Vec::new(),
            Names::All => vec!["*"],
            Names::Both(patterns) => patterns.clone(),
            Names::Each(connection, message) => if scope == "message" { message } else { connection }.clone(),
        }
    }

    fn line(&self, capability: &str) -> String {
        let value = match self {
            Names::None => "false".to_owned(),
            Names::All => "true".to_owned(),
            Names::Both(patterns) => listed(patterns),
            Names::Each(connection, message) => {
                format!("{{ connection = {}, message = {} }}", listed(connection), listed(message))
            }
        };
        format!("grant.{capability} = {value}\n")
    }
}

pub(super) fn listed(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
}

/// A grant, as the model has it.
#[derive(Clone, Debug)]
struct Rights {
    session: Much,
    identity: Much,
    reads: Names,
    writes: Names,
    authentication: Much,
    envelope: bool,
    message: Much,
}

const FIELDS: [&str; 7] = ["listener", "peer", "client", "destination", "tls", "authentication", "phase"];
const IDENTITY: [&str; 8] = ["addr", "port", "name", "helo", "proto", "login", "destaddr", "destport"];
const USERS: [&str; 3] = ["alice", "bob", "mallory"];
const HEADERS: [&str; 3] = ["subject", "x-*", "from"];
const PATTERNS: [&str; 8] = ["app_x", "app_*", "*", "other", "auth_user", "auth_*", "*_x", "tls*"];
/// Names in the context, those that the host keeps for itself among them.
const CONTEXT: [&str; 7] = ["app_x", "app_y", "other", "other_x", "auth_user", "tls_cipher", "can_relay"];
/// What begins the names that no pattern covers for writing without spelling it, or is one.
const KEPT: [&str; 3] = ["auth_", "tls", "can_relay"];

pub(super) fn some(numbers: &mut Numbers, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|_| numbers.once_in(3)).collect()
}

pub(super) fn much(numbers: &mut Numbers, names: &[&'static str]) -> Much {
    match numbers.below(4) {
        0 => Much::None,
        1 => Much::All,
        _ => Much::Some(some(numbers, names)),
    }
}

fn names(numbers: &mut Numbers) -> Names {
    match numbers.below(5) {
        0 => Names::None,
        1 => Names::All,
        2 => Names::Both(some(numbers, &PATTERNS)),
        _ => Names::Each(some(numbers, &PATTERNS), some(numbers, &PATTERNS)),
    }
}

impl Rights {
    fn random(numbers: &mut Numbers) -> Rights {
        let mut rights = Rights {
            session: much(numbers, &FIELDS),
            identity: much(numbers, &IDENTITY),
            reads: names(numbers),
            writes: names(numbers),
            authentication: much(numbers, &USERS),
            envelope: numbers.once_in(2),
            message: much(numbers, &HEADERS),
        };
        // The configuration does not take a login of an identity where nobody may log in.
        if let (Much::Some(fields), Much::None) = (&mut rights.identity, &rights.authentication) {
            fields.retain(|field| *field != "login");
        }
        rights
    }

    fn lines(&self) -> String {
        [
            self.session.line("session"),
            self.identity.line("identity"),
            self.reads.line("context-read"),
            self.writes.line("context-write"),
            self.authentication.line("authentication"),
            format!("grant.envelope-read = {}\n", self.envelope),
            self.message.line("message-read"),
        ]
        .concat()
    }

    fn may_read(&self, scope: &str, name: &str) -> bool {
        self.reads.patterns(scope).into_iter().any(|pattern| covers(pattern, name))
    }

    fn may_write(&self, scope: &str, name: &str) -> bool {
        let spelled = |pattern: &str| {
            let kept = KEPT.into_iter().find(|kept| name.starts_with(kept));
            kept.is_none_or(|kept| pattern.starts_with(kept))
        };
        self.writes.patterns(scope).into_iter().any(|pattern| covers(pattern, name) && spelled(pattern))
    }

    /// The capability that a call lacks.
    fn missing<'a>(&self, name: &'a str, words: &str) -> &'a str {
        match name.split_once('.') {
            // To say who is authenticated is a right of its own, and asked for first where there is the other at all.
            Some((_, "set-login")) if self.identity.any() && !self.authentication.named(words) => "authentication",
            Some((capability, _)) => capability,
            None => name,
        }
    }

    fn may_identify(&self, field: &str) -> bool {
        self.identity.named(field) && (field != "login" || self.authentication.any())
    }

    fn may_read_header(&self, name: &str) -> bool {
        match &self.message {
            Much::None => false,
            Much::All => true,
            Much::Some(patterns) => patterns.iter().any(|pattern| covers(pattern, &name.to_ascii_lowercase())),
        }
    }
}

/// Whether a pattern covers a name, letter by letter.
pub(super) fn covers(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => covers(&pattern[1..], name) || (!name.is_empty() && covers(pattern, &name[1..])),
        (Some(a), Some(b)) if a == b => covers(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// The words a call is made with, and whether the grant covers it.
type Draw = fn(&mut Numbers, &Rights) -> (String, bool);

fn scope(numbers: &mut Numbers) -> &'static str {
    if numbers.once_in(2) { "connection" } else { "message" }
}

/// What can be called. A call that needs no grant is covered by every one.
const CALLS: &[(&str, Draw)] = &[
    ("session.id", |_, rights| (String::new(), rights.session.any())),
    ("session.listener", |_, rights| (String::new(), rights.session.named("listener"))),
    ("session.peer", |_, rights| (String::new(), rights.session.named("peer"))),
    ("session.client", |_, rights| (String::new(), rights.session.named("client"))),
    ("session.helo", |_, rights| (String::new(), rights.session.named("client"))),
    ("session.destination", |_, rights| (String::new(), rights.session.named("destination"))),
    ("session.tls", |_, rights| (String::new(), rights.session.named("tls"))),
    ("session.authentication", |_, rights| (String::new(), rights.session.named("authentication"))),
    ("session.phase", |_, rights| (String::new(), rights.session.named("phase"))),
    ("identity.settable", |_, rights| (String::new(), rights.identity.any())),
    ("identity.set-addr", |_, rights| ("203.0.113.9".to_owned(), rights.may_identify("addr"))),
    ("identity.set-port", |_, rights| ("99".to_owned(), rights.may_identify("port"))),
    ("identity.set-name", |_, rights| ("forged.example".to_owned(), rights.may_identify("name"))),
    ("identity.set-helo", |_, rights| ("forged.example".to_owned(), rights.may_identify("helo"))),
    ("identity.set-proto", |_, rights| ("ESMTP".to_owned(), rights.may_identify("proto"))),
    ("identity.set-login", |numbers, rights| {
        let user = *numbers.pick(&USERS);
        (user.to_owned(), rights.may_identify("login") && rights.authentication.named(user))
    }),
    ("identity.set-destaddr", |_, rights| ("203.0.113.9".to_owned(), rights.may_identify("destaddr"))),
    ("identity.set-destport", |_, rights| ("99".to_owned(), rights.may_identify("destport"))),
    ("context-read.get", |numbers, rights| {
        let (scope, name) = (scope(numbers), *numbers.pick(&CONTEXT));
        (format!("{scope} {name}"), rights.may_read(scope, name))
    }),
    ("context-read.entries", |numbers, rights| (scope(numbers).to_owned(), !matches!(rights.reads, Names::None))),
    ("context-write.set", |numbers, rights| {
        let (scope, name) = (scope(numbers), *numbers.pick(&CONTEXT));
        (format!("{scope} {name} forged"), rights.may_write(scope, name))
    }),
    ("context-write.set-all", |numbers, rights| {
        let (scope, names) = (scope(numbers), [*numbers.pick(&CONTEXT), *numbers.pick(&CONTEXT)]);
        let words = format!("{scope} {}=forged {}=forged", names[0], names[1]);
        (words, names.iter().all(|name| rights.may_write(scope, name)))
    }),
    ("context-write.unset", |numbers, rights| {
        let (scope, name) = (scope(numbers), *numbers.pick(&CONTEXT));
        (format!("{scope} {name}"), rights.may_write(scope, name))
    }),
    ("authentication.allow", |numbers, rights| {
        let user = *numbers.pick(&USERS);
        (user.to_owned(), rights.authentication.named(user))
    }),
    ("authentication.forbid", |_, rights| (String::new(), rights.authentication.any())),
    ("envelope-read.sender", |_, rights| (String::new(), rights.envelope)),
    ("envelope-read.recipients", |_, rights| (String::new(), rights.envelope)),
    ("envelope-read.parameters", |_, rights| (String::new(), rights.envelope)),
    ("message-read.size", |_, rights| (String::new(), rights.message.any())),
    ("message-read.headers", |_, rights| (String::new(), rights.message.any())),
    ("message-read.header-values", |numbers, rights| {
        let name = *numbers.pick(&["Subject", "X-Secret", "To"]);
        (name.to_owned(), rights.may_read_header(name))
    }),
    ("message-read.read", |_, rights| (String::new(), matches!(rights.message, Much::All))),
    ("message-read.find", |_, rights| ("needle".to_owned(), matches!(rights.message, Much::All))),
    ("state.set", |numbers, _| (format!("{} name value", scope(numbers)), true)),
    ("state.get", |numbers, _| (format!("{} name", scope(numbers)), true)),
    ("advertise.show", |_, _| ("XTRY ON".to_owned(), true)),
    ("advertise.hide", |_, _| ("XTRY".to_owned(), true)),
    ("declare.keyword", |_, _| ("XNEW".to_owned(), true)),
];

/// Whether these rights cover something.
type Right = fn(&Rights) -> bool;

/// What is worth knowing of a session, and the right to it.
const SECRETS: [(&str, Right); 6] = [
    ("203.0.113.77", |rights| rights.session.named("client")),
    ("canary.helo.example", |rights| rights.session.named("client")),
    ("198.51.100.88", |rights| rights.session.named("destination")),
    ("canary-user", |rights| rights.session.named("authentication")),
    ("canary-sender@example.test", |rights| rights.envelope),
    ("canary-recipient@example.test", |rights| rights.envelope),
];

/// A session that holds all of them, and in each scope a value for each name of the context.
fn session() -> Arc<Facts> {
    let mut held = facts();
    let facts = Arc::make_mut(&mut held);
    facts.client.endpoint.address = Some("203.0.113.77".parse().unwrap());
    facts.client.helo = Some("canary.helo.example".to_owned());
    facts.destination.address = Some("198.51.100.88".parse().unwrap());
    facts.login = Some(Login { user: "canary-user".to_owned(), mechanism: "PLAIN".to_owned(), origin: Origin::Users });
    facts.transaction = Some(Transaction {
        sender: "canary-sender@example.test".to_owned(),
        recipients: vec![recipient("canary-recipient@example.test")],
        ..Transaction::default()
    });
    for (scope, word) in SCOPES {
        for name in CONTEXT {
            facts.context.set(scope, name, &format!("canary-{word}-{name}."), Origin::Host);
        }
    }
    held
}

const SCOPES: [(Scope, &str); 2] = [(Scope::Connection, "connection"), (Scope::Message, "message")];

/// Insists that nothing is said that the guest may not know. What it wrote itself is no secret.
#[track_caller]
fn discloses_nothing(rights: &Rights, said: &str, what: &str) {
    for (secret, may) in SECRETS {
        assert!(!said.contains(secret) || may(rights), "{what}: {secret} is told\n{said}");
    }
    for (_, scope) in SCOPES {
        for name in CONTEXT {
            let told = said.contains(&format!("canary-{scope}-{name}."));
            assert!(!told || rights.may_read(scope, name), "{what}: {name} of {scope} is told\n{said}");
        }
    }
}

/// Insists that what the grant does not cover is as it was.
#[track_caller]
fn unchanged_outside(rights: &Rights, before: &Facts, after: &Facts, change: Option<&ClientChange>, what: &str) {
    for (scope, word) in SCOPES {
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.context.entries(scope).collect(), after.context.entries(scope).collect());
        for name in old.keys().chain(new.keys()) {
            // The host writes these itself when somebody is logged in.
            let mirrored = name.starts_with("auth_") && rights.authentication.any();
            let may = mirrored || rights.may_write(word, name);
            assert!(old.get(name) == new.get(name) || may, "{what}: {name} of {word} was changed");
        }
    }
    let user = |facts: &Facts| facts.login.as_ref().map(|login| login.user.clone());
    match (user(before), user(after)) {
        (old, new) if old == new => {}
        (_, Some(user)) => assert!(rights.authentication.named(&user), "{what}: logged in as {user}"),
        (_, None) => assert!(rights.authentication.any(), "{what}: logged out"),
    }
    assert!(before.forbidden == after.forbidden || rights.authentication.any(), "{what}: forbidden");
    assert_eq!(before.client, after.client, "{what}");
    assert_eq!(before.destination, after.destination, "{what}");
    let envelope = |facts: &Facts| {
        facts.transaction.as_ref().map(|transaction| (transaction.sender.clone(), transaction.recipients.clone()))
    };
    assert_eq!(envelope(before), envelope(after), "{what}");
    for identity in change.into_iter().flat_map(|change| &change.identities) {
        let field = match identity {
            Identity::Addr(_) => "addr",
            Identity::Port(_) => "port",
            Identity::Name(_) => "name",
            Identity::Helo(_) => "helo",
            Identity::Proto(_) => "proto",
            Identity::Login(_) => "login",
            Identity::DestAddr(_) => "destaddr",
            Identity::DestPort(_) => "destport",
        };
        assert!(rights.may_identify(field), "{what}: {field} of the client was changed");
        if let Identity::Login(Some(user)) = identity {
            assert!(rights.authentication.named(user), "{what}: the client is logged in as {user}");
        }
    }
}

#[tokio::test]
async fn nothing_is_reached_outside_the_grant() {
    let (seed, count) = (number("PILLARBOX_SEED", 1), number("PILLARBOX_GRANTS", 150));
    let bench = Bench::new();
    bench.keep_guest("prober");
    let (mut denied, mut done) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    for seed in seed..seed + count {
        let mut numbers = Numbers(seed);
        let rights = Rights::random(&mut numbers);
        let loaded = bench.load("prober", &rights.lines(), "").await;
        let roster = roster(loaded.unwrap_or_else(|problems| panic!("seed {seed}: {problems}\n{}", rights.lines())));
        let (mut policy, mut facts) = (policy(&roster), session());
        for _ in 0..8 {
            let calls: Vec<(&str, String, Option<&str>)> = (0..=numbers.below(6))
                .map(|_| {
                    let (name, draw) = numbers.pick(CALLS);
                    let (words, covered) = draw(&mut numbers, &rights);
                    let missing = (!covered).then(|| rights.missing(name, &words));
                    (*name, format!("{name} {words}").trim().to_owned(), missing)
                })
                .collect();
            // What there is to be said of a denial stands behind it.
            let texts: Vec<&str> = calls.iter().flat_map(|(_, text, _)| [text.as_str(), "why"]).collect();
            let what = format!("seed {seed}, {texts:?} with\n{}", rights.lines());
            let (before, mut counted) = (facts.clone(), bench.denials());
            let answer = policy.command("XTRY", &texts.join(";"), &mut facts).await;
            let Answer::Done(reply, change) = answer else { panic!("{what}: {answer:?}") };
            discloses_nothing(&rights, &reply.to_string(), &what);
            unchanged_outside(&rights, &before, &facts, change.as_ref(), &what);
            let lines: Vec<&str> = reply.lines().collect();
            assert_eq!(lines.len(), texts.len(), "{what}: {reply}");
            for (line, (name, text, missing)) in lines.chunks(2).zip(&calls) {
                let [line, why] = *line else { panic!("{what}: {line:?}") };
                let result = line.strip_prefix(&format!("{text}: ")).unwrap_or_else(|| panic!("{what}: {line}"));
                assert_eq!(result == "denied", missing.is_some(), "{what}: {line}");
                if let Some(missing) = missing {
                    names_the_grant(why.strip_prefix("why: ").unwrap(), missing, &rights.lines(), &what);
                }
                let tried = if missing.is_none() { &mut done } else { &mut denied };
                *tried.entry(*name).or_default() += 1;
            }
            tally(&mut counted, calls.iter().filter_map(|(_, _, missing)| *missing));
            assert_eq!(bench.denials(), counted, "{what}");
        }
    }
    // Each was tried, and each that needs a grant was refused as well.
    let free = |name: &str| matches!(name.split('.').next(), Some("state" | "advertise" | "declare"));
    for (name, _) in CALLS.iter().filter(|_| count >= 100) {
        assert!(done.contains_key(name), "{name} was never covered");
        assert!(denied.contains_key(name) || free(name), "{name} was never refused");
    }
    assert!(bench.failures().is_empty(), "{:?}", bench.failures());
}
