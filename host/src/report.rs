//! What `pillarbox check` and `pillarbox extension inspect` say, for people.

use crate::cli::{CheckArgs, Peer};
use crate::config::{Config, Explained, Instances, Listener, PassOn, Place, Provenance, Route, Target};
use crate::extension::{Inspection, Row, Runtime, Services};
use crate::observe::Counters;
use crate::run::{self, Prepared};
use crate::spool;
use crate::tls::Standing;
use anyhow::{Context, anyhow};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Checks a configuration with all it names, and tells what it comes to.
///
/// # Errors
/// What `serve` would refuse; a listener that is not there.
pub async fn check(args: &CheckArgs) -> Result<String, Failure> {
    let choice = args.config.choose();
    let runtime = runtime(run::read(&choice)?.server.instances)?;
    let prepared = run::prepare(&choice, &runtime, &Services::default()).await?;
    match args.peer {
        None => Ok(summary(&prepared)),
        Some(peer) => holding(&prepared.config, peer, args.listener.as_deref()),
    }
}

/// Looks at a component.
///
/// # Errors
/// It cannot be read, or is no extension.
pub async fn inspect(file: &Path) -> Result<String, Failure> {
    let octets = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let runtime = runtime(Instances::default())?;
    let found = runtime.inspect(octets).await.map_err(|why| anyhow!("{}: {why}", file.display()))?;
    Ok(inspection(file, &found))
}

fn runtime(instances: Instances) -> Result<Runtime, Failure> {
    // One instance at a time is made here; no pool need be reserved for a server's worth.
    let instances = Instances { count: 4, ..instances };
    Runtime::new(instances, Arc::new(Counters::default())).map_err(|error| anyhow!("{error:#}").into())
}

fn summary(prepared: &Prepared) -> String {
    let Prepared { config, loaded, .. } = prepared;
    let mut text = format!("{}: no errors\n", config.source.name);
    for warning in warnings(prepared) {
        let _ = writeln!(text, "warning: {warning}");
    }
    text.push('\n');
    let listeners = config.listeners.values().map(|listener| {
        let addresses: Vec<String> = listener.address.iter().map(ToString::to_string).collect();
        [listener.name.clone(), addresses.join(" "), listener.tls.mode.name().to_owned()]
    });
    table(&mut text, ["LISTENER", "ADDRESS", "TLS"], listeners);
    let extensions = loaded.rows.iter().map(|row| {
        let Row { listener, extension, digest, hooks, verbs, grants, verdicts, peers, .. } = row;
        let digest: String = digest.to_string().chars().take(12).collect();
        [
            listener.clone(),
            extension.clone(),
            digest,
            or_none(&hooks.join(" ")),
            or_none(&verbs.join(" ")),
            peers.clone(),
            grants.clone(),
            or_none(&verdicts.join(" ")),
        ]
    });
    table(&mut text, ["LISTENER", "EXTENSION", "DIGEST", "HOOKS", "VERBS", "PEERS", "GRANTED", "VERDICTS"], extensions);
    let candidates = loaded.rows.iter().filter_map(|row| {
        let candidate = row.candidate.as_ref()?;
        let digest: String = candidate.digest.to_string().chars().take(12).collect();
        let (hooks, grants) = (or_none(&candidate.hooks.join(" ")), candidate.grants.clone());
        Some([row.listener.clone(), row.extension.clone(), candidate.trial.clone(), digest, hooks, grants])
    });
    table(&mut text, ["LISTENER", "CANDIDATE FOR", "TRIAL", "DIGEST", "HOOKS", "GRANTED"], candidates);
    let routes = config.routes.iter().map(|route| [taken(route), route.to.to_string(), route_keys(route)]);
    table(&mut text, ["ROUTE", "TO", "HOW"], routes);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What is served and should not stay as it is.
fn warnings(prepared: &Prepared) -> Vec<String> {
    let (state_dir, now) = (&prepared.config.server.state_dir, SystemTime::now());
    let exposed = spool::exposed(state_dir).map(|mode| {
        format!(
            "anybody may write in the state directory {} (mode {mode:04o}); take it from them: chmod o-w",
            state_dir.display()
        )
    });
    let certificates = prepared.tls.iter().flat_map(|(listener, acceptor)| {
        acceptor.validity().into_iter().filter_map(move |validity| {
            let said = match validity.standing(now) {
                Standing::Good => return None,
                Standing::Early => "does not hold yet".to_owned(),
                Standing::Ageing => format!("expires in {} days", validity.days_left(now)),
                Standing::Expired => "has expired".to_owned(),
            };
            Some(format!("the certificate {} of listener {listener} {said}", validity.chain.display()))
        })
    });
    exposed.into_iter().chain(certificates).collect()
}

/// The mail a route takes.
fn taken(route: &Route) -> String {
    let mut all: Vec<String> = route.domains.iter().map(ToString::to_string).collect();
    all.extend(route.addresses.iter().map(ToString::to_string));
    if all.is_empty() {
        all.push("every domain".to_owned());
    }
    all.extend(route.listeners.iter().map(|name| format!("at {name}")));
    all.extend(route.context.iter().map(|(name, pattern)| format!("{name}={pattern:?}")));
    all.join(" ")
}

/// What is to be known of a route beside its target.
fn route_keys(route: &Route) -> String {
    match &route.to {
        Target::Discard => String::new(),
        Target::Maildir(_) if route.create => "mailboxes made when missing".to_owned(),
        Target::Maildir(_) => "mailboxes must exist".to_owned(),
        Target::Relay(relay) => {
            let mut keys = vec![format!("TLS {}", relay.tls.mode.name())];
            keys.extend(relay.mx.then(|| "by MX".to_owned()));
            keys.extend(
                relay.hops.len().checked_sub(1).filter(|more| *more > 0).map(|more| format!("{more} more hosts")),
            );
            keys.extend(relay.login.as_ref().map(|login| format!("as {}", login.user)));
            keys.extend(relay.source.iter().map(|address| format!("from {address}")));
            for (verb, pass_on) in [("XCLIENT", relay.xclient), ("XFORWARD", relay.xforward)] {
                keys.extend((pass_on != PassOn::No).then(|| format!("{verb} {}", pass_on.name())));
            }
            keys.push(format!("{} at a time", relay.concurrency));
            keys.join(", ")
        }
        Target::Webhook(webhook) => {
            let token = if webhook.token_file.is_some() { "with a token, " } else { "" };
            format!("{token}{} at a time", webhook.concurrency)
        }
        Target::Nats(nats) => if nats.servers.tls { "TLS verified" } else { "TLS off" }.to_owned(),
    }
}

/// What holds for `peer`, on one listener or on each.
fn holding(config: &Config, peer: Peer, only: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = only.filter(|name| !config.listeners.contains_key(*name)) {
        let names: Vec<String> = config.listeners.keys().map(|name| format!("`{name}`")).collect();
        return Err(anyhow!("there is no listener `{name}`; there are {}", names.join(", ")).into());
    }
    let (who, client) = match peer {
        Peer::Unknown => ("a client whose address is unknown".to_owned(), None),
        Peer::Address(address) => (address.to_canonical().to_string(), Some(address.to_canonical())),
    };
    let mut text = format!("{}: what holds for {who}\n\n", config.source.name);
    for listener in config.listeners.values().filter(|listener| only.is_none_or(|only| listener.name == only)) {
        hold(&mut text, config, listener, client);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

fn hold(text: &mut String, config: &Config, listener: &Listener, client: Option<IpAddr>) {
    let addresses: Vec<String> = listener.address.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "[listener.{}] on {}", listener.name, addresses.join(" "));
    let users = listener.auth.users.as_ref().map(|users| format!(", users {}", users.display())).unwrap_or_default();
    let _ = writeln!(text, "protocol {}, TLS {}{users}", listener.protocol.name(), listener.tls.mode.name());
    let proxy = listener
        .proxy
        .as_ref()
        .filter(|proxy| client.is_some_and(|client| proxy.from.iter().any(|network| network.contains(&client))));
    if proxy.is_some() {
        text.push_str(
            "must send a PROXY header; then holds what is shown for the address it names, or for `unknown`\n",
        );
    }
    text.push('\n');
    let rules = listener.explain(client).into_iter().flat_map(|explained| {
        let from = written(config, listener, &explained);
        // What goes on in a further line has its key and its place above it.
        let mut sides = Some((explained.key, from));
        lines(&explained.value).into_iter().map(move |line| {
            let (key, from) = sides.take().unwrap_or_default();
            [key, line, from]
        })
    });
    table(text, ["KEY", "VALUE", "FROM"], rules);
    let extensions = listener.extensions.iter().map(|used| {
        let place = line(config, used.place);
        let there = match &used.peers {
            None => "there, as for everybody".to_owned(),
            Some(peers) => match client.and_then(|client| peers.iter().find(|network| network.contains(&client))) {
                Some(network) => format!("there, by {network}"),
                None => "not there".to_owned(),
            },
        };
        [used.extension.clone(), there, place]
    });
    table(text, ["EXTENSION", "FOR THIS CLIENT", "FROM"], extensions);
}

/// Who wrote it, and where.
fn written(config: &Config, listener: &Listener, explained: &Explained) -> String {
    let place = explained.place.map(|place| line(config, place)).unwrap_or_default();
    match explained.source {
        Provenance::Default => "default".to_owned(),
        Provenance::Listener => format!("{place} [listener.{}]", listener.name),
        Provenance::Peer(network) => format!("{place} [listener.{}.peer.\"{network}\"]", listener.name),
    }
}

fn line(config: &Config, place: Place) -> String {
    format!("{}:{}", config.source.name, config.source.line(place))
}

/// A long list in lines of its own, so that it does not push the other columns out of sight.
fn lines(value: &str) -> Vec<String> {
    const WIDTH: usize = 40;
    let mut lines: Vec<String> = Vec::new();
    for word in value.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + word.chars().count() < WIDTH) {
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn inspection(file: &Path, found: &Inspection) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "file          {}", file.display());
    let _ = writeln!(text, "sha256        {}", found.digest);
    let _ = writeln!(text, "size          {} octets", found.size);
    let _ = writeln!(text, "hooks         {}", or_none(&found.hooks.join(" ")));
    match &found.declared {
        Ok(words) => {
            let _ = writeln!(text, "verbs         {}", or_none(&words.verbs.join(" ")));
            let _ = writeln!(text, "keywords      {}", or_none(&words.keywords.join(", ")));
            let _ = writeln!(text, "MAIL          {}", or_none(&words.mail_parameters.join(" ")));
            let _ = writeln!(text, "RCPT          {}", or_none(&words.recipient_parameters.join(" ")));
            if !words.mechanisms.is_empty() {
                let _ = writeln!(text, "mechanisms    {}", words.mechanisms.join(" "));
            }
        }
        Err(words) => {
            let _ = writeln!(text, "init          without settings it says: {words}");
        }
    }
    text.push_str("capabilities\n");
    if found.capabilities.is_empty() {
        text.push_str("  none\n");
    }
    for (capability, functions) in &found.capabilities {
        let uses = if functions.is_empty() { "for its hooks".to_owned() } else { functions.join(" ") };
        let _ = writeln!(text, "  {:<16}{uses}", capability.name());
    }
    text
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn table<const N: usize>(text: &mut String, heads: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    if rows.len() == 1 {
        return;
    }
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Source;

    const TEXT: &str = r#"[server]
hostname = "mx.example.org"
state-dir = "/var/lib/pillarbox"
[listener.edge]
address = ["0.0.0.0:25", "[::]:25"]
relay.domains = ["example.org", "*.example.org", "example.net", "example.com"]
limits = { recipients = 50, errors = 0 }
proxy.from = ["10.1.0.0/16"]
[listener.edge.peer."10.0.0.0/8"]
limits = { connections = 5, message-size = "100MiB", command-timeout = "90s" }
context.pathway = "internal"
[[listener.edge.extension]]
use = "policy"
[[listener.edge.extension]]
use = "xclient"
peers = ["10.1.0.0/16", "192.0.2.1"]
[listener.inside]
address = ["127.0.0.1:24"]
protocol = "lmtp"
auth = { users = "users", without-tls = true }
[extension.xclient]
component = "builtin:xclient"
[extension.policy]
component = "policy.wasm"
"#;

    fn config() -> Config {
        let source = Source { name: "mx.toml".to_owned(), directory: "/".into(), text: TEXT.to_owned() };
        Config::parse(source).unwrap()
    }

    fn told(peer: &str) -> String {
        holding(&config(), peer.parse().unwrap(), Some("edge")).unwrap()
    }

    /// Whether there is a line of these cells.
    fn row(text: &str, cells: &[&str]) -> bool {
        text.lines()
            .any(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).eq(cells.iter().copied()))
    }

    #[test]
    fn a_client_is_told_of_value_by_value() {
        let (text, peer) = (told("10.2.3.4"), "[listener.edge.peer.\"10.0.0.0/8\"]");
        assert!(text.starts_with(
            "mx.toml: what holds for 10.2.3.4\n\n[listener.edge] on 0.0.0.0:25 [::]:25\nprotocol smtp, TLS off\n\nKEY"
        ));
        for cells in [
            // A long list goes on in a line of its own.
            &["relay.domains", "example.org *.example.org example.net", "mx.toml:6 [listener.edge]"][..],
            &["example.com"],
            &["relay.hosts", "none", "default"],
            &["context.pathway", "\"internal\"", &format!("mx.toml:11 {peer}")],
            &["limits.connections", "1000", "default"],
            &["limits.connections", "5", &format!("mx.toml:10 {peer}")],
            &["limits.recipients", "50", "mx.toml:7 [listener.edge]"],
            &["limits.message-size", "100MiB", &format!("mx.toml:10 {peer}")],
            &["limits.errors", "no limit", "mx.toml:7 [listener.edge]"],
            &["limits.command-timeout", "90s", &format!("mx.toml:10 {peer}")],
            &["limits.data-timeout", "5m", "default"],
            &["policy", "there, as for everybody", "mx.toml:13"],
            &["xclient", "not there", "mx.toml:15"],
        ] {
            assert!(row(&text, cells), "{cells:?} in\n{text}");
        }
        assert!(!text.contains("PROXY") && !text.contains("[listener.inside]"));
    }

    #[test]
    fn proxies_are_told_of_their_header_and_extensions_of_their_networks() {
        for peer in ["10.1.2.3", "::ffff:10.1.2.3"] {
            let text = told(peer);
            assert!(
                text.starts_with("mx.toml: what holds for 10.1.2.3\n") && text.contains("\nmust send a PROXY header;")
            );
            assert!(row(&text, &["xclient", "there, by 10.1.0.0/16", "mx.toml:15"]), "{text}");
        }
    }

    #[test]
    fn who_is_unknown_lies_in_no_network() {
        let text = told("unknown");
        assert!(text.starts_with("mx.toml: what holds for a client whose address is unknown\n"));
        assert!(!text.contains("PROXY") && !text.contains("10.0.0.0/8"), "{text}");
        assert!(row(&text, &["xclient", "not there", "mx.toml:15"]), "{text}");
    }

    #[test]
    fn all_listeners_are_told_of_and_a_wrong_name_is_an_error() {
        let text = holding(&config(), Peer::Unknown, None).unwrap();
        assert!(
            text.contains("\n[listener.edge] on ")
                && text.contains("\n[listener.inside] on 127.0.0.1:24\nprotocol lmtp, TLS off, users /users\n")
        );
        let error = holding(&config(), Peer::Unknown, Some("egde")).unwrap_err().to_string();
        assert_eq!(error, "there is no listener `egde`; there are `edge`, `inside`");
    }
}
