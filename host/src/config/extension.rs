//! `[extension.NAME]`: a component, its settings, its limits, and what becomes of a call that fails.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeValue;

use super::listener::check_name;
use super::reader::{Table, Value};
use super::value::parse_sha256;
use super::words::suggest;
use super::{Breaker, Candidate, ExtensionLimits, ExtensionLimitsPart, OnFailures, Place, Problem};

/// The extensions that come with the server, for `component = "builtin:NAME"`.
pub const STOCK: [&str; 6] = ["xclient", "xremoteip", "xsetcontext", "xdumpcontext", "always-allow", "xforward"];

/// One `[extension.NAME]`.
#[derive(Clone, Debug)]
pub struct Extension {
    /// NAME.
    pub name: String,
    /// Where NAME stands in the text.
    pub place: Place,
    /// Where the code comes from.
    pub component: Component,
    /// Where the value of `component` stands.
    pub component_place: Place,
    /// The digest the component must have, if one is pinned.
    pub sha256: Option<[u8; 32]>,
    /// What the extension reads with `settings`; tables are flattened: `a = { b = 1 }` is "a.b".
    pub settings: BTreeMap<String, Setting>,
    /// Where `settings` stands, or NAME where there are none.
    pub settings_place: Place,
    /// What one hook call may take.
    pub limits: ExtensionLimits,
    /// What the peer gets when a call fails.
    pub on_failure: OnFailures,
    /// When it is left alone for a while; none: never.
    pub breaker: Option<Breaker>,
    /// What may take its place, and is tried meanwhile.
    pub candidate: Option<Candidate>,
}

/// Where the code of an extension comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// `builtin:NAME`: one of [`STOCK`].
    Builtin(String),
    /// A file, absolute.
    File(PathBuf),
}

/// One setting of an extension.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list of strings.
    Texts(Vec<String>),
}

impl Extension {
    /// `[extension.NAME]`, from the value under NAME.
    pub(super) fn read(value: Value<'_>) -> Option<Extension> {
        check_name("an extension", value);
        let mut table = value.table()?;
        let kind = if STOCK.contains(&value.name) {
            format!("builtin:{}", value.name)
        } else {
            format!("{}.wasm", value.name)
        };
        let component = table.require("component", &format!("{kind:?}"));
        let source = component.and_then(Component::read);
        let sha256 = table.take("sha256").and_then(|value| value.parsed(parse_sha256));
        let settings = table.take("settings");
        let limits = table.table("limits").map(ExtensionLimitsPart::read).unwrap_or_default();
        let on_failure = table.take("on-failure").and_then(OnFailures::read);
        let breaker = table.take("breaker").and_then(Breaker::read);
        let candidate = table.take("candidate");
        table.finish();
        let mut extension = Extension {
            name: value.name.to_owned(),
            place: value.key,
            // Where it is missing that is noted, and nothing is ever loaded from here.
            component: source.unwrap_or_else(|| Component::Builtin(String::new())),
            component_place: component.map_or(value.key, |component| component.place),
            sha256,
            settings: settings.map(read_settings).unwrap_or_default(),
            settings_place: settings.map_or(value.key, |settings| settings.key),
            limits: ExtensionLimits::default().with(&limits),
            on_failure: on_failure.unwrap_or_default(),
            breaker: breaker.unwrap_or_else(|| Some(Breaker::default())),
            candidate: None,
        };
        extension.candidate = candidate.and_then(|value| Candidate::read(value, &extension));
        Some(extension)
    }
}

impl Component {
    pub(super) fn read(value: Value<'_>) -> Option<Component> {
        let text = value.text()?;
        let Some(name) = text.strip_prefix("builtin:") else {
            return value.path().map(Component::File);
        };
        if STOCK.contains(&name) {
            return Some(Component::Builtin(name.to_owned()));
        }
        let message = format!("there is no built-in extension `{name}`");
        value.note(Problem::at(value.place, message).help(suggest(name, &STOCK, "there are")));
        None
    }
}

/// The settings of a table.
pub(super) fn read_settings(value: Value<'_>) -> BTreeMap<String, Setting> {
    let mut flat = BTreeMap::new();
    if let Some(table) = value.table() {
        flatten(table, "", &mut flat);
    }
    flat
}

/// Settings as the extension sees them: every table's name goes before the names in it, with a dot between them.
fn flatten(table: Table<'_>, prefix: &str, settings: &mut BTreeMap<String, Setting>) {
    for value in table.entries() {
        if value.name.is_empty() || value.name.contains('.') {
            let message = format!("`{}` cannot name a setting: names are not empty and hold no dot", value.name);
            value.note(Problem::at(value.key, message));
            continue;
        }
        let name = format!("{prefix}{}", value.name);
        match value.raw {
            DeValue::Table(_) => {
                if let Some(table) = value.table() {
                    flatten(table, &format!("{name}."), settings);
                }
            }
            _ => settings.extend(Setting::read(value).map(|setting| (name, setting))),
        }
    }
}

impl Setting {
    fn read(value: Value<'_>) -> Option<Setting> {
        let out_of_range = |what: &str| {
            value.note(Problem::at(value.place, format!("`{}` does not fit into {what}", value.name)));
        };
        match value.raw {
            DeValue::String(text) => Some(Setting::Text(text.to_string())),
            DeValue::Boolean(boolean) => Some(Setting::Boolean(*boolean)),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Some(Setting::Integer(integer)),
                Err(_) => {
                    out_of_range("64 bits");
                    None
                }
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() || float.as_str().contains("inf") || number.is_nan() => {
                    Some(Setting::Float(number))
                }
                _ => {
                    out_of_range("a float");
                    None
                }
            },
            DeValue::Array(_) => {
                let text = |item: Value<'_>| match item.raw {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => item.mistyped("a list of strings only"),
                };
                value.each(text).map(Setting::Texts)
            }
            DeValue::Datetime(_) | DeValue::Table(_) => {
                value.mistyped("a string, a number, `true`, `false` or a list of strings")
            }
        }
    }
}
