//! `cargo xtask bench`: builds a release server and the measuring program beside it, and lets that one work.
//!
//! The measuring program is the crate `xtask/bench`, because it needs what this one is too light to carry.

use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{host, shell};

/// Measures, prints the table and puts it into docs/performance.md.
pub fn run(workspace: &Workspace) -> Result<()> {
    host::build_all(workspace, true)?;
    shell::say("building the measuring program");
    shell::run(shell::cargo(&workspace.root).args(["build", "--release", "--package", "pillarbox-bench"]))?;
    shell::say("measuring: half a minute");
    let mut bench = Command::new(workspace.target.join("release/pillarbox-bench"));
    bench.arg("--server").arg(host::binary(workspace, true));
    // Beside the build, because a temporary directory may be memory, where making things durable costs nothing.
    bench.arg("--state").arg(workspace.target.join("bench"));
    shell::run(bench.arg("--table").arg(workspace.root.join("docs/performance.md")))
}
