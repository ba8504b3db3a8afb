//! No sequence of edits changes or shows anything of envelope and message outside the grant, nor of other recipients where an
//! entry is there for some only: random grants, tenants and scripts, and a model that says what is left after each.
//!
//! The guest is `tests/components/scripted`, whose scripts are its settings and whose last step tells how each went. The
//! model carries the envelope and the header along by itself; whatever it does not know of is a change outside the grant.
//!
//! `PILLARBOX_GRANTS` is how many grants are tried, `PILLARBOX_SEED` the seed of the first.

use super::grants::{Much, covers, listed, much, some};
use super::*;
use crate::session::admission::Admission;
use crate::session::envelope::Transaction;
use crate::session::generation::{Judgement, Post, Routing};
use crate::session::message::Message;
use crate::session::policy::{Asking, Outcome, Question};
use crate::spool::Spool;

/// A mailbox: local part and domain, in the one spelling that the server compares.
type Name = (&'static str, &'static str);

/// What is written as an address, and the mailbox it is.
const ADDRESSES: [(&str, Option<Name>); 25] = [
    ("t1@tenant.example", Some(("t1", "tenant.example"))),
    ("t2@Tenant.EXAMPLE", Some(("t2", "tenant.example"))),
    ("t3@tenant.example", Some(("t3", "tenant.example"))),
    ("T1@tenant.example", Some(("T1", "tenant.example"))),
    (r#""t1"@tenant.example"#, Some(("t1", "tenant.example"))),
    (r#""t\1"@tenant.example"#, Some(("t1", "tenant.example"))),
    ("*@tenant.example", Some(("*", "tenant.example"))),
    ("o1%other.example@tenant.example", Some(("o1%other.example", "tenant.example"))),
    ("s1@sub.tenant.example", Some(("s1", "sub.tenant.example"))),
    ("o1@other.example", Some(("o1", "other.example"))),
    ("o2@OTHER.example", Some(("o2", "other.example"))),
    ("t1@other.example", Some(("t1", "other.example"))),
    ("nobody@tenant.example", Some(("nobody", "tenant.example"))),
    ("nobody@other.example", Some(("nobody", "other.example"))),
    ("x1@xtenant.example", Some(("x1", "xtenant.example"))),
    ("e1@tenant.example.evil.example", Some(("e1", "tenant.example.evil.example"))),
    ("t1@[192.0.2.1]", Some(("t1", "[192.0.2.1]"))),
    ("Postmaster", Some(("postmaster", "mx.example.org"))),
    ("t1", None),
    ("<t1@tenant.example>", None),
    ("t1@tenant.example@other.example", None),
    ("t1@tenant.example,o1@other.example", None),
    ("t1@tenant.example\0", None),
    ("t1@tеnant.example", None),
    ("t1@tenant.example\r\nRCPT", None),
];
const TENANTS: [&str; 4] = ["tenant.example", "*.tenant.example", "T1@tenant.example", "other.example"];

/// What is written as a field's name. The last two are none.
const FIELDS: [&str; 9] =
    ["Subject", "sUBJECT", "Subjects", "X-Tag", "x-tag", "X-Tagged", "From", "Subject:", "Ｓubject"];
const PATTERNS: [&str; 4] = ["subject", "X-*", "x-tag", "from"];
/// What is written as a value. The last three are none in a message without SMTPUTF8.
const VALUES: [&str; 5] = ["value", "two words", "ä", "v\r\nBcc: x", "v\nX: y"];
const BODY: &str = "canary-body\r\n.dots\r\n";

/// Takes what the listener relays, but for one who is not there.
struct Routes;

impl Routing for Routes {
    fn judge<'a>(&'a self, recipient: &'a RecipientName, _: &'a Facts) -> Asking<'a, Judgement> {
        let known = recipient.local != "nobody";
        Box::pin(async move { if known { Judgement::Deliver } else { Judgement::UnknownMailbox } })
    }
}

/// A grant, as the model has it.
#[derive(Clone, Debug)]
struct Rights {
    reads_envelope: bool,
    writes_envelope: bool,
    reads: Much,
    writes: Much,
    /// Whom the entry is there for; none: everybody.
    tenant: Option<Vec<&'static str>>,
}

impl Rights {
    fn random(numbers: &mut Numbers) -> Rights {
        let tenant = some(numbers, &TENANTS);
        Rights {
            reads_envelope: !numbers.once_in(5),
            writes_envelope: !numbers.once_in(5),
            reads: much(numbers, &PATTERNS),
            writes: much(numbers, &PATTERNS),
            tenant: (numbers.once_in(2) && !tenant.is_empty()).then_some(tenant),
        }
    }

    fn lines(&self) -> String {
        let tenant = self.tenant.as_ref().map_or(String::new(), |names| format!("recipients = {}\n", listed(names)));
        let envelope =
            format!("grant.envelope-read = {}\ngrant.envelope-write = {}\n", self.reads_envelope, self.writes_envelope);
        [tenant, envelope, self.reads.line("message-read"), self.writes.line("message-write")].concat()
    }

    fn has(&self, (local, domain): Name) -> bool {
        let theirs = |tenant: &&str| match *tenant {
            "*.tenant.example" => domain == "sub.tenant.example",
            "T1@tenant.example" => domain == "tenant.example" && matches!(local, "t1" | "T1"),
            whole => domain == whole,
        };
        self.tenant.as_ref().is_none_or(|tenants| tenants.iter().any(theirs))
    }
}

/// Whether these rights to fields cover a name, without case.
fn named(rights: &Much, name: &str) -> bool {
    match rights {
        Much::None => false,
        Much::All => true,
        Much::Some(patterns) => {
            let name: String = name.chars().map(|c| c.to_ascii_lowercase()).collect();
            name.is_ascii() && patterns.iter().any(|pattern| covers(&pattern.to_ascii_lowercase(), &name))
        }
    }
}

/// Whether the server takes mail for it from this client.
fn admitted((local, domain): Name) -> bool {
    let relayed = matches!(domain, "tenant.example" | "sub.tenant.example" | "other.example");
    local != "nobody" && (relayed || (local, domain) == ("postmaster", "mx.example.org"))
}

/// What there is of the message by the model.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    sender: String,
    recipients: Vec<Name>,
    candidate: Option<Name>,
    header: Vec<(String, String)>,
}

/// How a step goes.
#[derive(Debug, PartialEq)]
enum Went {
    Ok,
    /// It tells this, and is well.
    Tells(String),
    Denied(&'static str),
    Malformed,
    Unavailable,
}

impl Model {
    fn has(&self, name: Name) -> bool {
        self.recipients.iter().chain(&self.candidate).any(|there| *there == name)
    }

    fn take_away(&mut self, name: Name) {
        self.recipients.retain(|there| *there != name);
        self.candidate = self.candidate.filter(|there| *there != name);
    }

    fn rewrite(&mut self, name: Name, by: Name) {
        if name == by {
            return;
        }
        if self.has(by) {
            return self.take_away(name);
        }
        for there in self.recipients.iter_mut().chain(&mut self.candidate).filter(|there| **there == name) {
            *there = by;
        }
    }

    /// Where the `nth` field of this name is.
    fn field(&self, name: &str, nth: usize) -> Option<usize> {
        let named = |(_, (field, _)): &(usize, &(String, String))| field.eq_ignore_ascii_case(name);
        self.header.iter().enumerate().filter(named).map(|(at, _)| at).nth(nth)
    }

    fn shown(&self, rights: &Rights) -> Vec<Name> {
        self.recipients.iter().copied().filter(|name| rights.has(*name)).collect()
    }

    fn octets(&self) -> String {
        let header: String = self.header.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{header}\r\n{BODY}")
    }
}

/// One step at a hook: its words, and how it goes.
fn step(numbers: &mut Numbers, rights: &Rights, hook: &str, alone: bool, model: &mut Model) -> (String, Went) {
    let (one, two) = (*numbers.pick(&ADDRESSES), *numbers.pick(&ADDRESSES));
    let present = |model: &Model| match one.1 {
        _ if !rights.writes_envelope => Err(Went::Denied("envelope-write")),
        None => Err(Went::Malformed),
        Some(name) if !rights.has(name) => Err(Went::Denied("envelope-write")),
        Some(name) if !model.has(name) => Err(Went::Malformed),
        Some(name) => Ok(name),
    };
    let nameable = |(_, name): (&str, Option<Name>)| match name {
        _ if !rights.writes_envelope => Err(Went::Denied("envelope-write")),
        None => Err(Went::Malformed),
        Some(name) if !rights.has(name) => Err(Went::Denied("envelope-write")),
        Some(name) if !admitted(name) => Err(Went::Malformed),
        Some(name) => Ok(name),
    };
    let done = |result: Result<(), Went>| result.map_or_else(|went| went, |()| Went::Ok);
    let at_message = |went: Went| if hook == "message" { went } else { Went::Unavailable };
    match numbers.below(14) {
        0 => {
            let sender = *numbers.pick(&["forged@other.example", "forged", ""]);
            let went = match sender {
                _ if !rights.writes_envelope || rights.tenant.is_some() => Went::Denied("envelope-write"),
                "forged" => Went::Malformed,
                sender => {
                    sender.clone_into(&mut model.sender);
                    Went::Ok
                }
            };
            (format!("sender {sender}"), went)
        }
        1 | 2 => {
            let went = nameable(one).map(|name| {
                if !model.has(name) {
                    model.recipients.push(name);
                }
            });
            (format!("add {}", one.0), done(went))
        }
        3 => (format!("drop {}", one.0), done(present(model).map(|name| model.take_away(name)))),
        4 => (format!("refuse {} 550", one.0), done(present(model).map(|name| model.take_away(name)))),
        5 | 6 => {
            let went = present(model).and_then(|name| nameable(two).map(|by| model.rewrite(name, by)));
            (format!("rewrite {} {}", one.0, two.0), done(went))
        }
        7 => {
            let went =
                if rights.reads_envelope { Went::Tells(model.sender.clone()) } else { Went::Denied("envelope-read") };
            ("sender-of".to_owned(), went)
        }
        8 => {
            let names: Vec<String> =
                model.shown(rights).iter().map(|(local, domain)| format!("{local}@{domain}")).collect();
            let went = if rights.reads_envelope { Went::Tells(names.join(" ")) } else { Went::Denied("envelope-read") };
            ("recipients".to_owned(), went)
        }
        9 => {
            let names: Vec<&str> =
                model.header.iter().map(|(name, _)| name.as_str()).filter(|name| named(&rights.reads, name)).collect();
            let went = if rights.reads.any() {
                at_message(Went::Tells(names.join(" ")))
            } else {
                Went::Denied("message-read")
            };
            ("fields".to_owned(), went)
        }
        10 => {
            let shown = model.octets().replace("\r\n", r"\x0D\x0A");
            let went = match rights.reads {
                Much::All => at_message(Went::Tells(shown)),
                Much::None | Much::Some(_) => Went::Denied("message-read"),
            };
            ("body".to_owned(), went)
        }
        _ => {
            let (name, nth, value) = (*numbers.pick(&FIELDS), numbers.below(3), *numbers.pick(&VALUES));
            let edit = *numbers.pick(&["insert", "replace", "remove"]);
            let place = model.field(name, nth);
            let sound = edit == "remove" || matches!(value, "value" | "two words");
            let went = match (edit, place) {
                _ if !named(&rights.writes, name) => Went::Denied("message-write"),
                _ if FIELDS[7..].contains(&name) => Went::Malformed,
                _ if hook != "message" || !alone => Went::Unavailable,
                _ if !sound => Went::Malformed,
                ("insert", place) => {
                    model.header.insert(place.unwrap_or(0), (name.to_owned(), value.to_owned()));
                    Went::Ok
                }
                ("replace", Some(place)) => {
                    value.clone_into(&mut model.header[place].1);
                    Went::Ok
                }
                (_, Some(place)) => {
                    model.header.remove(place);
                    Went::Ok
                }
                (_, None) => Went::Malformed,
            };
            (format!("{edit} {name} {nth} {value}").trim().to_owned(), went)
        }
    }
}

/// A recipient of a name, as the session has it.
fn of((local, domain): Name) -> Recipient {
    recipient(&format!("{local}@{domain}"))
}

/// Those who are there, and who is asked about, as the model has them.
fn present(transaction: &Transaction) -> (Vec<String>, Option<String>) {
    let name = |recipient: &Recipient| {
        let RecipientName { local, domain, postmaster, .. } = &recipient.name;
        format!("{}@{domain}", if *postmaster { "postmaster" } else { local })
    };
    let candidate = transaction.candidate.as_ref().filter(|candidate| candidate.is_there());
    (transaction.present().map(name).collect(), candidate.map(name))
}

/// What was told of addresses, in the spelling of the model.
fn plain(told: &str) -> String {
    let one = |address: &str| match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", local.trim_matches('"'), domain.to_ascii_lowercase()),
        None => format!("{}@mx.example.org", address.to_ascii_lowercase()),
    };
    told.split_ascii_whitespace().map(one).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn nothing_of_a_message_changes_outside_the_grant() {
    let (seed, count) = (number("PILLARBOX_SEED", 1), number("PILLARBOX_GRANTS", 300));
    let bench = Bench::new();
    bench.keep_guest("scripted");
    let spool = Spool::open(bench.directory.path()).unwrap();
    let mut went = BTreeMap::<String, u64>::new();
    for seed in seed..seed + count {
        let mut numbers = Numbers(seed);
        let rights = Rights::random(&mut numbers);
        let field = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let header = [("Subject", "one"), ("X-Tag", "a"), ("From", "b@c.example"), ("X-TAG", "d")].map(field).to_vec();
        let mut recipients: Vec<Name> =
            vec![("t1", "tenant.example"), ("t2", "tenant.example"), ("o1", "other.example")];
        recipients.retain(|_| !numbers.once_in(3));
        let candidate =
            Some(*numbers.pick(&[("t3", "tenant.example"), ("s1", "sub.tenant.example"), ("o2", "other.example")]));
        let mut model = Model { sender: "from@else.example".to_owned(), recipients, candidate, header };
        let before = model.clone();

        // The model runs ahead, for the scripts are settings.
        let (mut stages, mut settings) = (Vec::new(), String::new());
        for hook in ["recipient", "data", "message"] {
            if hook == "data" {
                model.recipients.extend(model.candidate.take());
            }
            let granted = if hook == "message" { rights.reads.any() } else { rights.reads_envelope };
            let concerned = match hook {
                "recipient" => model.candidate.is_some_and(|name| rights.has(name)),
                _ => rights.tenant.is_none() || !model.shown(&rights).is_empty(),
            };
            let alone = rights.tenant.is_none() || model.shown(&rights).len() == model.recipients.len();
            let steps: Vec<(String, Went)> = match granted && concerned {
                true => (0..=numbers.below(7)).map(|_| step(&mut numbers, &rights, hook, alone, &mut model)).collect(),
                false => Vec::new(),
            };
            let words: Vec<&str> = steps.iter().map(|(words, _)| words.as_str()).chain(["tell"]).collect();
            settings.push_str(&format!("{hook} = {:?}\n", words).replace("\\0", "\\u0000"));
            stages.push((hook, granted && concerned, steps, model.clone()));
        }
        let extension = format!(
            "limits.wall = \"60s\"\nlimits.cpu = \"10s\"\n[extension.guest.settings]\n{settings}\
             [listener.test.relay]\ndomains = [\"tenant.example\", \"*.tenant.example\", \"other.example\"]\n"
        );
        let lines = rights.lines();
        let what = format!("seed {seed}: {before:?}\nwith {lines}and {settings}");
        let config = bench.config("scripted", &lines, &extension);
        let config = config.unwrap_or_else(|problems| panic!("{what}: {problems}"));
        let loaded = bench.runtime.load(&config, &Services::default()).await;
        let roster = roster(loaded.unwrap_or_else(|problems| panic!("{what}: {problems}")));
        let post = Post {
            listener: config.listeners["test"].clone(),
            hostname: "mx.example.org".into(),
            tls: None,
            users: None,
            names: None,
            extensions: Arc::new(roster.clone()),
            routing: Arc::new(Routes),
        };
        let (mut policy, mut held) = (policy(&roster), facts());
        Arc::make_mut(&mut held).transaction = Some(Transaction {
            sender: before.sender.clone(),
            recipients: before.recipients.iter().copied().map(of).collect(),
            candidate: before.candidate.map(of),
            admission: Admission::new(Arc::new(post)),
            ..Transaction::default()
        });
        for (hook, asked, steps, after) in stages {
            let what = format!("{hook}, {what}");
            let address = before.candidate.map(of).unwrap().address;
            let question = match hook {
                "recipient" => Question::Recipient { address: &address, parameters: &[] },
                "data" => Question::Data,
                _ => Question::Message,
            };
            let facts = Arc::make_mut(&mut held);
            if let Some(transaction) = facts.transaction.as_mut().filter(|_| hook == "data") {
                let candidate = transaction.candidate.take().filter(Recipient::is_there);
                transaction.recipients.extend(candidate);
            }
            if hook == "message" {
                let draft = spool.begin(format!("seed-{seed}").parse().unwrap());
                facts.message = Some(Message::of(draft, before.octets().as_bytes()).await);
            }
            let mut counted = bench.denials();
            let ruling = policy.rule(question, &mut held).await;
            let told: Vec<String> = match ruling.outcome {
                Outcome::Refuse(refusal) => refusal.reply().lines().map(ToOwned::to_owned).collect(),
                Outcome::Pass => Vec::new(),
                other => panic!("{what}: {other:?}"),
            };
            let asked_about = if asked { &*steps } else { &[] };
            let mut told = told.iter().map(String::as_str);
            for (words, expected) in asked_about {
                let mut next = || told.next().unwrap_or_else(|| panic!("{what}: nothing is told of {words}"));
                let said = next();
                let kind = match expected {
                    Went::Ok => said == "ok",
                    Went::Tells(text) if words == "recipients" => plain(said) == *text && next() == "ok",
                    Went::Tells(text) => said == text && next() == "ok",
                    Went::Malformed => said.starts_with("invalid: "),
                    Went::Unavailable => said.starts_with("not available now: "),
                    Went::Denied(capability) => {
                        let why = said.strip_prefix("not granted: ");
                        let why = why.unwrap_or_else(|| panic!("{what}: {words} said {said}, not {expected:?}"));
                        names_the_grant(why, capability, &lines, &what);
                        true
                    }
                };
                assert!(kind, "{words} said {said}, not {expected:?}: {what}");
                let word = words.split(' ').next().unwrap();
                let kind = if let Went::Denied(_) = expected { "denied" } else { "done" };
                let kind = if matches!(expected, Went::Malformed | Went::Unavailable) { "in vain" } else { kind };
                *went.entry(format!("{word} {kind}")).or_default() += 1;
            }
            assert_eq!(told.next(), None, "{what}");
            let lacking = asked_about.iter().filter_map(|(_, went)| match went {
                Went::Denied(capability) => Some(*capability),
                _ => None,
            });
            tally(&mut counted, lacking);
            assert_eq!(bench.denials(), counted, "{what}");

            let transaction = held.transaction.as_ref().unwrap();
            let owned = |(local, domain): &Name| format!("{local}@{domain}");
            let expected = (after.recipients.iter().map(owned).collect(), after.candidate.as_ref().map(owned));
            assert_eq!(present(transaction), expected, "{what}");
            assert_eq!(transaction.sender, after.sender, "{what}");
            if let Some(message) = &held.message {
                let octets = message.read(0, 10_000).await.unwrap();
                assert_eq!(String::from_utf8(octets).unwrap(), after.octets(), "{what}");
            }
        }
    }
    let steps = ["sender", "add", "drop", "refuse", "rewrite", "sender-of", "recipients", "fields", "body"];
    for step in steps.into_iter().chain(["insert", "replace", "remove"]).filter(|_| count >= 100) {
        for kind in ["done", "denied"] {
            assert!(went.contains_key(&format!("{step} {kind}")), "{step} was never {kind}: {went:?}");
        }
    }
    assert!(bench.failures().is_empty(), "{:?}", bench.failures());
}
