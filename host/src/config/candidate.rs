//! `[extension.NAME.candidate]`: another component, or the same with other settings, that is tried beside the one in use:
//! as its shadow, or on some of the sessions.

use ipnet::IpNet;
use toml::de::DeValue;

use super::extension::read_settings;
use super::reader::{Table, Value};
use super::value::{Mistake, parse_network, parse_sha256};
use super::{Capability, Component, Extension, ExtensionLimitsPart, Grant, Granted, OnFailures, Place, Problem};
use std::fmt;

/// What may take an extension's place.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// How it is tried.
    pub trial: Trial,
    /// What it is, with the extension's own values where it says nothing else. Its name is for messages.
    pub extension: Box<Extension>,
}

/// How a candidate is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Asked beside the extension, and heard by nobody but the log and the counters.
    Shadow,
    /// In the extension's place, in the sessions that both narrow it to.
    Canary {
        /// So many of 10,000 sessions; none: all.
        share: Option<u32>,
        /// Sessions whose peer lies in one of these networks; none: everybody's. Never empty.
        peers: Option<Vec<IpNet>>,
    },
}

/// Parts of a share: hundredths of a percent.
pub const WHOLE: u32 = 10_000;

impl Extension {
    /// It, and its candidate if it has one.
    pub fn and_candidate(&self) -> impl Iterator<Item = &Extension> {
        let candidate = self.candidate.as_ref().map(|candidate| &*candidate.extension);
        std::iter::once(self).chain(candidate)
    }
}

impl Candidate {
    /// `candidate` of an extension, from the extension as it is without.
    pub(super) fn read(value: Value<'_>, active: &Extension) -> Option<Candidate> {
        let mut table = value.table()?;
        let component = table.require("component", &format!("{:?}", format!("{}-next.wasm", active.name)));
        let source = component.and_then(Component::read);
        let sha256 = table.take("sha256").and_then(|value| value.parsed(parse_sha256));
        let settings = table.take("settings");
        let limits = table.table("limits").map(ExtensionLimitsPart::read).unwrap_or_default();
        let on_failure = table.take("on-failure").and_then(OnFailures::read);
        let trial = read_trial(&mut table, value.key);
        table.finish();
        let extension = Extension {
            name: format!("{} (candidate)", active.name),
            place: value.key,
            component: source?,
            component_place: component?.place,
            sha256,
            settings: settings.map_or_else(|| active.settings.clone(), read_settings),
            settings_place: settings.map_or(value.key, |settings| settings.key),
            limits: active.limits.with(&limits),
            on_failure: on_failure.unwrap_or_else(|| active.on_failure.clone()),
            breaker: active.breaker,
            candidate: None,
        };
        Some(Candidate { trial: trial?, extension: Box::new(extension) })
    }

    /// What it is granted where the extension is granted this. A shadow sends nothing to anybody: what would leave the
    /// server answers `denied`.
    pub fn grant(&self, grant: &Grant) -> Grant {
        let mut grant = grant.clone();
        if self.trial == Trial::Shadow {
            for (capability, granted) in &mut grant.entries {
                if matches!(capability, Capability::Http | Capability::Stream) {
                    *granted = Granted::Denied;
                }
            }
        }
        grant
    }
}

/// As one would write it: `shadow`, `canary 5% of 10.0.0.0/8`.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial::Canary { share, peers } = self else { return f.write_str("shadow") };
        f.write_str("canary")?;
        if let Some(share) = share {
            match (share / 100, share % 100) {
                (whole, 0) => write!(f, " {whole}%")?,
                (whole, part) => write!(f, " {whole}.{part:02}%")?,
            }
        }
        if let Some(peers) = peers {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            let of = if share.is_some() { " of" } else { "" };
            write!(f, "{of} {}", peers.join(" "))?;
        }
        Ok(())
    }
}

const CHOICE: &str = "write one of\nshadow = true\ncanary = { share = \"5%\" }\ncanary = { peers = [\"10.1.0.0/16\"] }";

/// Exactly one of `shadow` and `canary`.
fn read_trial(table: &mut Table<'_>, key: Place) -> Option<Trial> {
    let (shadow, canary) = (table.take("shadow"), table.take("canary"));
    match (shadow, canary) {
        (Some(shadow), None) => match shadow.boolean()? {
            true => Some(Trial::Shadow),
            false => {
                let help = "leave the candidate out to run without it";
                shadow.note(Problem::at(shadow.place, "`shadow` can only be `true`").help(help));
                None
            }
        },
        (None, Some(canary)) => read_canary(canary),
        (Some(_), Some(canary)) => {
            let message = "a candidate is a shadow or a canary, not both";
            canary.note(Problem::at(canary.key, message).help(CHOICE));
            None
        }
        (None, None) => {
            table.note(Problem::at(key, "it is not said how the candidate is tried").help(CHOICE));
            None
        }
    }
}

fn read_canary(value: Value<'_>) -> Option<Trial> {
    let mut table = value.table()?;
    let (share, peers) = (table.take("share"), table.take("peers"));
    let narrowed = share.is_some() || peers.is_some();
    let share = share.map(|share| share.parsed(parse_share));
    let peers = peers.map(read_networks);
    table.finish();
    if !narrowed {
        let message = "it is not said which sessions the canary gets";
        value.note(Problem::at(value.place, message).help("write `share`, `peers` or both"));
        return None;
    }
    match (share, peers) {
        (Some(None), _) | (_, Some(None)) => None,
        (share, peers) => Some(Trial::Canary { share: share.flatten(), peers: peers.flatten() }),
    }
}

fn read_networks(value: Value<'_>) -> Option<Vec<IpNet>> {
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        let message = "with no network in `peers` the canary gets no session";
        value.note(Problem::at(value.place, message).help("name networks, or leave the candidate out"));
        return None;
    }
    value.each(|item| item.parsed(parse_network))
}

/// `5%`, `0.25%`: in hundredths of a percent.
fn parse_share(text: &str) -> Result<u32, Mistake> {
    let wrong = || {
        Mistake::new(format!("`{text}` is no share of the sessions"))
            .help("write a percentage from 0.01% to 100% with at most two decimals, as in \"5%\"")
    };
    let digits = |text: &str, most: usize| {
        let right = !text.is_empty() && text.len() <= most && text.bytes().all(|octet| octet.is_ascii_digit());
        right.then(|| text.parse::<u32>().ok()).flatten()
    };
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "00"));
    let part = format!("{part:0<2}");
    let parts = digits(whole, 3).and_then(|whole| Some(whole.saturating_mul(100).saturating_add(digits(&part, 2)?)));
    // A decimal point has digits behind it.
    let parts = parts.filter(|parts| (1..=WHOLE).contains(parts) && !number.ends_with('.'));
    parts.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shares_are_percentages() {
        for (text, parts) in [
            ("5%", Some(500)),
            ("0.01%", Some(1)),
            ("0.5%", Some(50)),
            ("33.33%", Some(3333)),
            ("100%", Some(10_000)),
            ("100.00%", Some(10_000)),
            ("100.01%", None),
            ("0%", None),
            ("0.00%", None),
            ("0.001%", None),
            ("5", None),
            ("5.%", None),
            (".5%", None),
            ("5 %", None),
            ("-5%", None),
            ("+5%", None),
            ("9999999999%", None),
            ("%", None),
            ("", None),
        ] {
            assert_eq!(parse_share(text).ok(), parts, "{text}");
        }
    }

    #[test]
    fn a_trial_reads_as_it_is_written() {
        let nets = || Some(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        for (trial, text) in [
            (Trial::Shadow, "shadow"),
            (Trial::Canary { share: Some(500), peers: None }, "canary 5%"),
            (Trial::Canary { share: Some(5), peers: None }, "canary 0.05%"),
            (Trial::Canary { share: None, peers: nets() }, "canary 10.0.0.0/8 ::1/128"),
            (Trial::Canary { share: Some(2550), peers: nets() }, "canary 25.50% of 10.0.0.0/8 ::1/128"),
        ] {
            assert_eq!(trial.to_string(), text);
        }
    }

    #[test]
    fn a_shadow_sends_nothing() {
        let grant = Grant {
            entries: [
                (Capability::Http, Granted::All),
                (Capability::Stream, Granted::All),
                (Capability::Dns, Granted::All),
            ]
            .into_iter()
            .collect(),
        };
        let denied = |trial| {
            let config = super::super::Config::parse(super::super::Source {
                name: "test".to_owned(),
                directory: "/".into(),
                text: format!(
                    "[server]\nhostname = \"mx.example.org\"\nstate-dir = \"s\"\n[listener.a]\naddress = [\"127.0.0.1:0\"]\n\
                     [extension.x]\ncomponent = \"x.wasm\"\n[extension.x.candidate]\ncomponent = \"y.wasm\"\n{trial}"
                ),
            })
            .unwrap();
            let candidate = config.extensions.get("x").and_then(|x| x.candidate.clone()).unwrap();
            let granted = candidate.grant(&grant);
            [Capability::Http, Capability::Stream, Capability::Dns]
                .map(|capability| granted.entry(capability) == Some(&Granted::Denied))
        };
        assert_eq!(denied("shadow = true"), [true, true, false]);
        assert_eq!(denied("canary = { share = \"5%\" }"), [false; 3]);
    }
}
