//! `[[listener.NAME.extension]]`: which extension is asked on a listener, for whom, and what it may answer.

use ipnet::IpNet;
use toml::de::DeValue;

use super::reader::Value;
use super::value::{parse_network, parse_recipient_pattern};
use super::words::suggest;
use super::{ExtensionLimitsPart, Grant, Place, Problem, RecipientPattern, STOCK};

/// One extension on one listener.
#[derive(Clone, Debug)]
pub struct Use {
    /// The name of an extension that is defined.
    pub extension: String,
    /// Where that name stands in the text.
    pub place: Place,
    /// The networks the extension is there for; none: for everybody. Never empty.
    pub peers: Option<Vec<IpNet>>,
    /// Where `peers` stands, where it was written.
    pub peers_place: Option<Place>,
    /// The recipients whose mail it is asked about; none: everybody's. Never empty.
    pub recipients: Option<Vec<RecipientPattern>>,
    /// Whom `peers` are compared with for verbs.
    pub trust: Trust,
    /// What it is granted.
    pub grant: Grant,
    /// What its hooks may answer.
    pub verdicts: Verdicts,
    /// Limits narrower than the extension's own; see [`ExtensionLimits::narrowed`](super::ExtensionLimits::narrowed).
    pub limits: ExtensionLimitsPart,
}

/// What an entry can name.
#[derive(Clone, Debug, Default)]
pub(super) struct Defined {
    /// `[extension.NAME]`
    pub(super) extensions: Vec<String>,
    /// `[table.NAME]`
    pub(super) tables: Vec<String>,
}

/// Who keeps the right to an extension's verbs when the client changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The peer must lie in `peers`, and so must each new client.
    #[default]
    Client,
    /// The peer alone is asked: for gateways that speak for many clients over one connection.
    Peer,
}

/// What the hooks of an extension may answer beside `next`; any other answer is taken as `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Ask no further extension at this step.
    pub accept: bool,
    /// Refuse for now.
    pub tempfail: bool,
    /// Refuse for good.
    pub reject: bool,
    /// Refuse and close.
    pub disconnect: bool,
    /// Take it and deliver nothing.
    pub discard: bool,
    /// Take it and keep it aside.
    pub quarantine: bool,
}

impl Verdicts {
    /// Whether the extension may decide anything at all.
    pub fn any(&self) -> bool {
        self.accept || self.tempfail || self.reject || self.disconnect || self.discard || self.quarantine
    }
}

impl Default for Verdicts {
    /// The refusals, which take nothing from anybody that was not to be had.
    fn default() -> Verdicts {
        Verdicts { accept: false, tempfail: true, reject: true, disconnect: true, discard: false, quarantine: false }
    }
}

impl Use {
    /// An item of `[[listener.NAME.extension]]`. `defined` is what it can name.
    pub(super) fn read(value: Value<'_>, defined: &Defined) -> Option<Use> {
        let mut table = value.table()?;
        let name = table.require("use", "\"xclient\"");
        let extension = name.and_then(|name| read_name(name, &defined.extensions));
        let peers = table.take("peers");
        let networks = peers.and_then(read_networks);
        let recipients = table.take("recipients").and_then(read_recipients);
        let trust = table.take("trust").and_then(|value| value.choice(&TRUST));
        let grant = table.table("grant").map(|grant| Grant::read(grant, &defined.tables)).unwrap_or_default();
        let verdicts = table.take("verdict").and_then(Verdicts::read);
        let limits = table.table("limits").map(ExtensionLimitsPart::read).unwrap_or_default();
        table.finish();
        Some(Use {
            extension: extension?,
            place: name?.place,
            peers: networks,
            peers_place: peers.map(|peers| peers.place),
            recipients,
            trust: trust.unwrap_or_default(),
            grant,
            verdicts: verdicts.unwrap_or_default(),
            limits,
        })
    }
}

fn read_name(value: Value<'_>, extensions: &[String]) -> Option<String> {
    let name = value.text()?;
    if extensions.iter().any(|extension| extension == name) {
        return Some(name.to_owned());
    }
    let help = if STOCK.contains(&name) {
        format!("add\n[extension.{name}]\ncomponent = \"builtin:{name}\"")
    } else if extensions.is_empty() {
        format!("add\n[extension.{name}]\ncomponent = \"{name}.wasm\"")
    } else {
        suggest(name, &extensions.iter().map(String::as_str).collect::<Vec<_>>(), "there are")
    };
    value.note(Problem::at(value.place, format!("there is no extension `{name}`")).help(help));
    None
}

fn read_networks(value: Value<'_>) -> Option<Vec<IpNet>> {
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        let help = "name networks, or leave the extension out";
        value.note(Problem::at(value.place, "with no network in `peers` the extension is there for nobody").help(help));
    }
    value.each(|item| item.parsed(parse_network))
}

fn read_recipients(value: Value<'_>) -> Option<Vec<RecipientPattern>> {
    if matches!(value.raw, DeValue::Array(items) if items.is_empty()) {
        let help = "name domains or addresses, or leave the extension out";
        let problem = Problem::at(value.place, "with nobody in `recipients` the extension is asked about no mail");
        value.note(problem.help(help));
    }
    value.each(|item| item.parsed(parse_recipient_pattern))
}

const TRUST: [(&str, Trust); 2] = [("client", Trust::Client), ("peer", Trust::Peer)];

impl Verdicts {
    fn read(value: Value<'_>) -> Option<Verdicts> {
        let none = Verdicts {
            accept: false,
            tempfail: false,
            reject: false,
            disconnect: false,
            discard: false,
            quarantine: false,
        };
        let mut verdicts = none;
        for item in value.list()? {
            match item.text() {
                Some("accept") => verdicts.accept = true,
                Some("tempfail") => verdicts.tempfail = true,
                Some("reject") => verdicts.reject = true,
                Some("disconnect") => verdicts.disconnect = true,
                Some("discard") => verdicts.discard = true,
                Some("quarantine") => verdicts.quarantine = true,
                Some("next") => {
                    item.note(Problem::at(item.place, "`next` needs no permission").help("leave it out"));
                }
                Some(other) => {
                    let help = suggest(
                        other,
                        &["accept", "tempfail", "reject", "disconnect", "discard", "quarantine"],
                        "one of",
                    );
                    item.note(Problem::at(item.place, format!("there is no verdict `{other}`")).help(help));
                }
                None => {}
            }
        }
        Some(verdicts)
    }
}
