//! Debian's package tool, when asked to: it says what it installs and never removes anything.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Whether this is a system with apt.
pub fn is_there() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

/// Installs packages and what they cannot do without.
///
/// # Errors
/// No apt, no right to use it, a package it does not know, or one that would drive out another.
pub fn install<S: AsRef<str>>(packages: &[S]) -> Result<()> {
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    shell::say(&format!("installing with apt: {}", packages.join(" ")));
    update()?;
    let mut apt = as_root()?;
    apt.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-qq",
        "-o=Dpkg::Use-Pty=0",
        "install",
        "--yes",
        "--no-remove",
    ]);
    shell::run(apt.arg("--no-install-recommends").args(packages))
}

/// Fetches the lists of what there is: a fresh system has none, an old one has names of files that are gone.
fn update() -> Result<()> {
    shell::run(as_root()?.args(["apt-get", "-qq", "update"])).context("the package lists cannot be fetched")
}

/// Fetches packages and unpacks them below `directory`: nothing is configured or started, and no right is needed unless
/// the package lists are stale.
/// The answer is what they depend on, as their `Depends` say.
pub fn unpack(packages: &[&str], directory: &Path) -> Result<String> {
    if !is_there() {
        bail!("this is not Debian: there is no apt-get");
    }
    let names = packages.join(" ");
    shell::say(&format!("unpacking Debian's {names} below {}: nothing is installed", directory.display()));
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let mut download = Command::new("apt-get");
    download.args(["-qq", "download"]).args(packages).current_dir(directory);
    if !shell::succeeds(&mut download) {
        update()?;
        shell::run(&mut download)?;
    }
    let files = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let archives: Vec<_> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    if archives.len() < packages.len() {
        bail!("`apt-get download {names}` left {} packages", archives.len());
    }
    let mut depends = Vec::new();
    for archive in archives {
        shell::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(directory))?;
        depends.push(shell::output(Command::new("dpkg-deb").arg("--field").arg(&archive).arg("Depends"))?);
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    Ok(depends.join(","))
}

/// `env`, as root: by itself, or through sudo if that asks for no password.
fn as_root() -> Result<Command> {
    if !is_there() {
        bail!("this is not Debian: there is no apt-get");
    }
    if shell::output(Command::new("id").arg("-u"))?.trim() == "0" {
        return Ok(Command::new("env"));
    }
    if !shell::succeeds(Command::new("sudo").args(["-n", "true"])) {
        bail!("apt-get needs root, and `sudo -n` gives it not");
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "env"]);
    Ok(sudo)
}
