//! The table, and its place in the page: between two marks, so that the prose around it stays.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

use crate::{IDLE, MESSAGE, SENDERS};

const BEGIN: &str = "<!-- written by `cargo xtask bench`: begin -->\n";
const END: &str = "<!-- written by `cargo xtask bench`: end -->\n";

/// What a variant came to.
#[derive(Debug)]
pub struct Row {
    /// Which variant.
    pub name: &'static str,
    /// With a connection for each message.
    pub new: Rate,
    /// With one connection for all of a sender's messages.
    pub persistent: Rate,
    /// Octets of memory for each idle session, where it was measured.
    pub idle: Option<u64>,
}

/// How fast, and at what cost.
#[derive(Debug)]
pub struct Rate {
    /// Messages in a second.
    pub messages_per_second: f64,
    /// Seconds of the server's CPU for each message.
    pub cpu_per_message: f64,
}

/// The table as Markdown, with the conditions above it.
pub fn render(rows: &[Row]) -> Result<String> {
    let cores = thread::available_parallelism().context("how many cores are there?")?;
    let cores = if cores.get() == 1 { "one core".to_owned() } else { format!("{cores} cores") };
    let mut text = format!(
        "{} KiB messages, {SENDERS} connections; {cores} shared by client and server, loopback; {IDLE} idle sessions.\n\n\
         | | new: messages/s | CPU-ms per message | persistent: messages/s | CPU-ms per message | KiB per idle session |\n\
         | --- | --: | --: | --: | --: | --: |\n",
        MESSAGE / 1024
    );
    for Row { name, new, persistent, idle } in rows {
        let idle = idle.map(|octets| format!("{}.{}", octets / 1024, octets % 1024 * 10 / 1024)).unwrap_or_default();
        let [new, persistent] = [new, persistent]
            .map(|rate| format!("{:.0} | {:.3}", rate.messages_per_second, rate.cpu_per_message * 1000.0));
        text.push_str(&format!("| {name} | {new} | {persistent} | {idle} |\n"));
    }
    Ok(text)
}

/// Puts `table` between the marks of the page.
pub fn write(path: &Path, table: &str) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = replaced(&page, table).with_context(|| format!("{} lacks the marks for the table", path.display()))?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prose_stays() {
        let page = format!("# Title\n\nBefore.\n\n{BEGIN}\nold\n{END}\nAfter.\n");
        let new = replaced(&page, "| new |\n").unwrap();
        assert_eq!(new, format!("# Title\n\nBefore.\n\n{BEGIN}\n| new |\n\n{END}\nAfter.\n"));
        assert_eq!(replaced(&new, "| new |\n").unwrap(), new);
        assert_eq!(replaced("no marks", ""), None);
    }

    #[test]
    fn a_row_reads_as_a_table() {
        let rate = |messages_per_second| Rate { messages_per_second, cpu_per_message: 0.000_123 };
        let row = Row { name: "plain", new: rate(1234.5), persistent: rate(9999.4), idle: Some(5 * 1024 + 512) };
        let text = render(&[row]).unwrap();
        assert!(text.ends_with("\n| plain | 1234 | 0.123 | 9999 | 0.123 | 5.5 |\n"), "{text}");
    }
}
