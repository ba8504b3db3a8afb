//! What becomes of a call that fails, and of calls that keep failing: `on-failure` and `breaker` of an extension.

use std::time::Duration;

use toml::de::DeValue;

use super::Problem;
use super::reader::{Table, Value};
use super::words::suggest;

/// What the peer gets when a call of the extension fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// 451 4.3.0, at connect 421 and close.
    #[default]
    Tempfail,
    /// What it would get if the extension had no opinion.
    Skip,
    /// A refusal for good.
    Reject,
    /// 421 and close.
    Disconnect,
}

/// What the peer gets, by hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnFailures {
    /// At every hook without a word of its own.
    default: OnFailure,
    /// At these.
    hooks: Vec<(&'static str, OnFailure)>,
}

/// When an extension that keeps failing is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many failed calls
    pub failures: u32,
    /// in this time open it.
    pub within: Duration,
    /// How long it stays open the first time; each failed attempt doubles it.
    pub pause: Duration,
    /// How long it stays open at most.
    pub longest_pause: Duration,
}

const ON_FAILURE: [(&str, OnFailure); 4] = [
    ("tempfail", OnFailure::Tempfail),
    ("skip", OnFailure::Skip),
    ("reject", OnFailure::Reject),
    ("disconnect", OnFailure::Disconnect),
];

/// The hooks whose failure the peer can hear of.
const HOOKS: [&str; 9] =
    ["connect", "hello", "command", "authenticate", "verify", "mail", "recipient", "data", "message"];
/// The hooks that are only told.
const TOLD: [&str; 2] = ["accepted", "disconnect"];

impl OnFailures {
    /// What the peer gets at this hook.
    pub fn at(&self, hook: &str) -> OnFailure {
        self.hooks.iter().find(|(named, _)| *named == hook).map_or(self.default, |(_, chosen)| *chosen)
    }

    /// `on-failure`: a word, or a table of words by hook.
    pub(super) fn read(value: Value<'_>) -> Option<OnFailures> {
        match value.raw {
            DeValue::String(_) => return value.choice(&ON_FAILURE).map(OnFailures::from),
            DeValue::Table(_) => {}
            _ => return value.mistyped("a word such as \"skip\", or a table of words by hook"),
        }
        let mut failures = OnFailures::default();
        for entry in value.table()?.entries() {
            match HOOKS.into_iter().find(|hook| *hook == entry.name) {
                Some(hook) => failures.hooks.extend(entry.choice(&ON_FAILURE).map(|chosen| (hook, chosen))),
                None if entry.name == "default" => failures.default = entry.choice(&ON_FAILURE).unwrap_or_default(),
                None => note_hook(entry),
            }
        }
        Some(failures)
    }
}

impl From<OnFailure> for OnFailures {
    fn from(default: OnFailure) -> OnFailures {
        OnFailures { default, hooks: Vec::new() }
    }
}

fn note_hook(entry: Value<'_>) {
    let problem = if TOLD.contains(&entry.name) {
        let message = format!("`{}` is only told what happened: nobody waits for its answer", entry.name);
        Problem::at(entry.key, message).help("leave it out")
    } else {
        let known: Vec<&str> = ["default"].into_iter().chain(HOOKS).collect();
        let help = suggest(entry.name, &known, "the keys here are");
        Problem::at(entry.key, format!("there is no hook `{}`", entry.name)).help(help)
    };
    entry.note(problem);
}

impl Default for Breaker {
    fn default() -> Breaker {
        let second = Duration::from_secs(1);
        Breaker { failures: 5, within: 30 * second, pause: second, longest_pause: 60 * second }
    }
}

impl Breaker {
    /// `breaker`: a table, or `false` for none.
    pub(super) fn read(value: Value<'_>) -> Option<Option<Breaker>> {
        match value.raw {
            DeValue::Boolean(false) => Some(None),
            DeValue::Boolean(true) => Some(Some(Breaker::default())),
            DeValue::Table(_) => value.table().map(|table| Some(Breaker::keys(table))),
            _ => value.mistyped("`false`, or a table such as { failures = 5, within = \"30s\" }"),
        }
    }

    fn keys(mut table: Table<'_>) -> Breaker {
        const TICK: Duration = Duration::from_millis(1);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let own = Breaker::default();
        let time = |value: Option<Value<'_>>| value.and_then(|value| value.duration(TICK..=DAY));
        let pauses = (table.take("pause"), table.take("longest-pause"));
        let breaker = Breaker {
            // Each failure in the window is kept in mind.
            failures: table.take("failures").and_then(|value| value.count(1..=1000)).unwrap_or(own.failures),
            within: time(table.take("within")).unwrap_or(own.within),
            pause: time(pauses.0).unwrap_or(own.pause),
            longest_pause: time(pauses.1).unwrap_or(own.longest_pause),
        };
        if let Some(value) = pauses.0.or(pauses.1).filter(|_| breaker.pause > breaker.longest_pause) {
            value.note(Problem::at(value.place, "`pause` is longer than `longest-pause`"));
        }
        table.finish();
        breaker
    }
}
