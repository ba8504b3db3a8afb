//! What Cargo knows of this repository: its packages and where they lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell;

/// The workspace, as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// The repository's directory.
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Where Cargo builds: `target`, unless the user has it elsewhere.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    /// The members.
    pub packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What it depends on, in all three ways.
    pub dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// One line of a member's dependencies.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    pub kind: Option<String>,
    /// Where it lies, if it lies in a directory.
    pub path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// Asks Cargo. It reads manifests only: nothing is resolved, fetched or locked.
    pub fn load() -> Result<Workspace> {
        // Cargo sets it for what `cargo run` runs; the other is for the program run by hand.
        let own =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let metadata = shell::output(shell::cargo(&own).args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&metadata).context("cannot read what `cargo metadata` printed")
    }

    /// The member of that name.
    pub fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.with_context(|| format!("the workspace has no package `{name}`"))
    }

    /// The directory where the components are put: `target/guests`, wherever Cargo builds, so that the host's build
    /// script, the tests and the documentation find them by one name.
    pub fn components(&self) -> PathBuf {
        self.root.join("target/guests")
    }
}

impl Package {
    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The name of its dynamic library, as it stands in the file's name, if it has one.
    pub fn dynamic_library(&self) -> Option<String> {
        let target = self.targets.iter().find(|target| target.kind.iter().any(|kind| kind == "cdylib"))?;
        Some(target.name.replace('-', "_"))
    }
}
