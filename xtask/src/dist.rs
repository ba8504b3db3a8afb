//! The archive one hands out: the release binary, the licences, what to read first and the ready-made configurations.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{host, shell};

/// What goes along beside every file named LICENSE-something.
const TEXTS: [&str; 3] = ["README.md", "CHANGELOG.md", "SECURITY.md"];

/// Leaves `target/dist/pillarbox-VERSION-TRIPLE.tar.gz`.
pub fn run(workspace: &Workspace) -> Result<()> {
    host::build_all(workspace, true)?;
    let name = format!("pillarbox-{}-{}", workspace.package(host::SERVER)?.version, shell::triple(&workspace.root)?);
    let directory = workspace.target.join("dist");
    let content = directory.join(&name);
    if content.exists() {
        fs::remove_dir_all(&content).with_context(|| format!("cannot remove {}", content.display()))?;
    }
    fs::create_dir_all(content.join("config")).with_context(|| format!("cannot create {}", content.display()))?;
    copy(&host::binary(workspace, true), &content.join(host::SERVER))?;
    let mut licences = 0;
    for path in files(&workspace.root)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let licence = name.starts_with("LICENSE");
        licences += usize::from(licence);
        if licence || TEXTS.contains(&name.as_str()) {
            copy(&path, &content.join(name))?;
        }
    }
    if licences == 0 {
        bail!("there is no LICENSE to go with it");
    }
    for path in files(&workspace.root.join("config"))? {
        copy(&path, &content.join("config").join(path.file_name().unwrap_or_default()))?;
    }

    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.current_dir(&directory).args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf"]);
    shell::run(tar.args([&archive, &name]))?;
    fs::remove_dir_all(&content).with_context(|| format!("cannot remove {}", content.display()))?;
    shell::say(&format!("packed {}", directory.join(archive).display()));
    Ok(())
}

/// The files that lie in a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
