//! Measures a server in a few variants beside a responder that does nothing, and writes the table.
//!
//! It is run by `cargo xtask bench` and speaks to the server as any client does: it knows the command line, the
//! configuration and SMTP, and nothing of the server's inside. Client and server share the machine.

mod client;
mod process;
mod responder;
mod table;
mod variant;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use client::Connections;
use process::Server;
use table::{Rate, Row};
use variant::Variant;

/// Octets of a message, its header included.
const MESSAGE: usize = 4096;
/// Connections that send at a time.
const SENDERS: usize = 20;
/// How long a rate is measured, and before that, not measured.
const MEASURED: Duration = Duration::from_millis(1600);
const WARMING: Duration = Duration::from_millis(200);
/// Connections whose memory is measured, and how long they are idle before.
const IDLE: usize = 1000;
const IDLING: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    match perform() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pillarbox-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.iter().map(|argument| argument.to_str()).collect::<Vec<_>>().as_slice() {
        // What the responder's process is started with.
        [Some(responder::FLAG), Some(address)] => {
            let address = address.parse().context("not an address")?;
            tokio::runtime::Runtime::new()?.block_on(responder::serve(address))
        }
        [Some("--server"), Some(server), Some("--state"), Some(state), Some("--table"), Some(table)] => {
            process::allow_many_files()?;
            // One thread, so that the server has the other core to itself as far as there are two.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let table = PathBuf::from(table);
            let rows = runtime.block_on(measure(Path::new(server), Path::new(state)))?;
            let text = table::render(&rows)?;
            print!("{text}");
            table::write(&table, &text)
        }
        _ => bail!("usage: pillarbox-bench --server FILE --state DIRECTORY --table FILE (see `cargo xtask bench`)"),
    }
}

/// Every variant in turn, and the responder last.
async fn measure(server: &Path, state: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for variant in Variant::ALL {
        eprintln!("    {}", variant.name());
        if variant.is_durable() {
            // What was written before is on its way to the disk: no row is to pay for another.
            rustix::fs::sync();
        }
        let directory = state.join(variant.slug());
        let row = row(variant, server, &directory).await.with_context(|| format!("measuring `{}`", variant.name()))?;
        rows.push(row);
    }
    // Not sooner: a disk that discards what was removed does it in the background, and the next row would pay for it.
    std::fs::remove_dir_all(state).with_context(|| format!("cannot remove {}", state.display()))?;
    Ok(rows)
}

async fn row(variant: Variant, server: &Path, directory: &Path) -> Result<Row> {
    let mut server = Server::start(variant, server, directory).await?;
    // First, because what the load leaves behind in the allocator would be counted as memory of the idle ones.
    let idle = if variant.is_durable() { None } else { Some(idle(&server).await?) };
    let new = rate(&server, Connections::OnePerMessage).await?;
    let persistent = rate(&server, Connections::Persistent).await?;
    server.stop()?;
    Ok(Row { name: variant.name(), new, persistent, idle })
}

/// The rate, and what it costs the server until it is quiet again: delivery belongs to the message.
async fn rate(server: &Server, connections: Connections) -> Result<Rate> {
    client::load(server.address, SENDERS, connections, MESSAGE, WARMING).await?;
    server.quiet().await?;
    let before = server.cpu()?;
    let start = Instant::now();
    let messages = client::load(server.address, SENDERS, connections, MESSAGE, MEASURED).await?;
    let elapsed = start.elapsed();
    server.quiet().await?;
    let cpu = server.cpu()?.saturating_sub(before);
    if messages == 0 {
        bail!("not one message was taken in {MEASURED:?}");
    }
    let messages = f64::from(messages);
    Ok(Rate { messages_per_second: messages / elapsed.as_secs_f64(), cpu_per_message: cpu.as_secs_f64() / messages })
}

/// Octets of memory for each connection that has said EHLO and then nothing.
async fn idle(server: &Server) -> Result<u64> {
    // One first, so that what the server needs once is not divided among the others.
    drop(client::greeted(server.address, 1).await?);
    tokio::time::sleep(IDLING).await;
    let before = server.memory()?;
    let connections = client::greeted(server.address, IDLE).await?;
    tokio::time::sleep(IDLING).await;
    let after = server.memory()?;
    drop(connections);
    server.quiet().await?;
    Ok(after.saturating_sub(before) / IDLE as u64)
}
