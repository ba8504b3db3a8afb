//! The crash tests that take long: kills, faults and power cuts, as often as is asked for, from a seed that is printed.
//!
//! What they do is in `tests/crash`, and what they find is said there.

use std::ffi::OsString;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{guests, host, shell};

/// How much is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where chance begins; the clock's where none is said.
    pub seed: Option<u64>,
    /// Kills under load.
    pub kills: Option<u64>,
    /// Power cuts.
    pub cuts: Option<u64>,
}

/// Builds the server and runs them, one after the other: they are many processes each.
///
/// # Errors
/// Something did not build, or a promise was not kept.
pub fn run(workspace: &Workspace, extent: &Extent, arguments: &[OsString]) -> Result<()> {
    guests::build(workspace)?;
    shell::say("building the server and the tests");
    shell::run(shell::cargo(&workspace.root).args(["build", "--workspace", "--bins", "--tests"]))?;
    let mut cargo = shell::cargo(&workspace.root);
    cargo.env("PILLARBOX_BIN", host::binary(workspace, false));
    let said = [
        ("PILLARBOX_SEED", extent.seed),
        ("PILLARBOX_CRASH_KILLS", extent.kills),
        ("PILLARBOX_CRASH_CUTS", extent.cuts),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            cargo.env(name, value.to_string());
        }
    }
    shell::say("killing, failing and cutting the power");
    cargo.args(["test", "--workspace", "--test", "crash", "--"]).args(arguments);
    shell::run(cargo.args(["--include-ignored", "--nocapture", "--test-threads", "1"]))
}
