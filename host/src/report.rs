//! What `pillarbox check` and `pillarbox extension inspect` say, for people.

use crate::cli::ConfigChoice;
use crate::config::{Instances, Target};
use crate::extension::{Inspection, Row, Runtime};
use crate::observe::Counters;
use crate::run::{self, Prepared};
use anyhow::{Context, anyhow};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Checks a configuration with all it names, and tells what it comes to.
///
/// # Errors
/// What `serve` would refuse.
pub async fn check(choice: &ConfigChoice) -> Result<String, Failure> {
    let runtime = runtime(run::read(choice)?.server.instances)?;
    let prepared = run::prepare(choice, &runtime).await?;
    Ok(summary(&prepared))
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
    let mut text = format!("{}: no errors\n\n", config.source.name);
    let listeners = config.listeners.values().map(|listener| {
        let addresses: Vec<String> = listener.address.iter().map(ToString::to_string).collect();
        [listener.name.clone(), addresses.join(" "), listener.tls.mode.name().to_owned()]
    });
    table(&mut text, ["LISTENER", "ADDRESS", "TLS"], listeners);
    let extensions = loaded.rows.iter().map(|row| {
        let Row { listener, extension, digest, hooks, verbs, grants, verdicts, peers } = row;
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
    let routes = config.routes.iter().map(|route| {
        let domains: Vec<String> = route.domains.iter().map(ToString::to_string).collect();
        let domains = if domains.is_empty() { "every domain".to_owned() } else { domains.join(" ") };
        let creates = match (&route.to, route.create) {
            (Target::Discard, _) => "",
            (Target::Maildir(_), true) => "made when missing",
            (Target::Maildir(_), false) => "must exist",
        };
        [domains, route.to.to_string(), creates.to_owned()]
    });
    table(&mut text, ["ROUTE", "TO", "MAILBOXES"], routes);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
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
        let available = if capability.served() { "" } else { " (not available in this version)" };
        let _ = writeln!(text, "  {:<16}{uses}{available}", capability.name());
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
