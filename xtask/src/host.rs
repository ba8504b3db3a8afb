//! The server: building it with the stock extensions inside, and running it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{guests, shell};

/// The package, and the name of its binary.
pub const SERVER: &str = "pillarbox";

/// Guests first, then the host, which embeds them.
pub fn build_all(workspace: &Workspace, release: bool) -> Result<()> {
    guests::build(workspace)?;
    let binary = binary(workspace, release);
    shell::say(&format!("building {}", binary.display()));
    let mut cargo = shell::cargo(&workspace.root);
    if release {
        cargo.args(["build", "--package", SERVER, "--release"]);
    } else {
        // With the features that `test` needs, so that neither command builds wasmtime a second time.
        cargo.args(["build", "--workspace", "--bin", SERVER]);
    }
    shell::run(&mut cargo)
}

/// Where the built server lies.
pub fn binary(workspace: &Workspace, release: bool) -> PathBuf {
    workspace.target.join(if release { "release" } else { "debug" }).join(SERVER)
}

/// Builds the server and becomes it, so that signals reach it and its exit code is ours.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build_all(workspace, false)?;
    let server = binary(workspace, false);
    let error = Command::new(&server).arg("serve").args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", server.display()))
}
