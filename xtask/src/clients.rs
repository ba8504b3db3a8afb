//! The mail clients that the client tests drive: found, or, when told, taken from Debian.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{apt, shell};

/// A program the tests run, and the Debian packages that have it. swaks says TLS only with the second.
struct Client {
    program: &'static str,
    packages: &'static [&'static str],
}

const CLIENTS: [Client; 4] = [
    Client { program: "python3", packages: &["python3"] },
    Client { program: "openssl", packages: &["openssl"] },
    Client { program: "swaks", packages: &["swaks", "libnet-ssleay-perl"] },
    Client { program: SMTP_SOURCE, packages: &["postfix"] },
];

/// Part of Postfix, which is a mail server: installed, it would drive out another one and be started. It is unpacked.
const SMTP_SOURCE: &str = "smtp-source";

/// Where the clients are, all of them there.
#[derive(Debug)]
pub struct Clients {
    directories: Vec<PathBuf>,
}

/// Finds all clients.
///
/// # Errors
/// One is missing and `install` was not said, or it could not be installed.
pub fn find(workspace: &Workspace, install: bool) -> Result<Clients> {
    let own = workspace.target.join("clients");
    let mut directories = shell::path();
    directories.extend(["/usr/sbin".into(), own.join("bin")]);
    let missing = || CLIENTS.iter().filter(|client| !is_there(client, &directories)).collect::<Vec<_>>();

    let absent = missing();
    if !absent.is_empty() {
        let lines =
            absent.iter().map(|client| format!("  {:12} Debian: {}", client.program, client.packages.join(" ")));
        let list = lines.collect::<Vec<_>>().join("\n");
        if !install {
            bail!("these clients are missing:\n{list}\nInstall them, or say --install (apt; Postfix is only unpacked)");
        }
        shell::say(&format!("these clients are missing:\n{list}"));
        let packages = absent.iter().filter(|client| client.program != SMTP_SOURCE).flat_map(|client| client.packages);
        let packages: Vec<&str> = packages.copied().collect();
        if !packages.is_empty() {
            apt::install(&packages)?;
        }
        if absent.iter().any(|client| client.program == SMTP_SOURCE) {
            unpack_smtp_source(&own)?;
        }
        if let Some(client) = missing().first() {
            bail!("{} is still missing after its installation", client.program);
        }
    }
    Ok(Clients { directories })
}

impl Clients {
    /// Lets a test run find the clients, and tells it to use them.
    pub fn offer(&self, command: &mut Command) -> Result<()> {
        let path: OsString = std::env::join_paths(&self.directories).context("PATH cannot be extended")?;
        command.env("PATH", path).env("PILLARBOX_CLIENTS", "1");
        Ok(())
    }
}

fn is_there(client: &Client, directories: &[PathBuf]) -> bool {
    let Some(path) = shell::find(client.program, directories) else { return false };
    // swaks is there without TLS, too: it says what it can.
    client.program != "swaks"
        || shell::output(Command::new(path).arg("--support")).is_ok_and(|text| text.contains("=== TLS supported"))
}

/// Leaves `bin/smtp-source`, which runs the program with the libraries that were unpacked beside it.
fn unpack_smtp_source(own: &Path) -> Result<()> {
    let postfix = own.join("postfix");
    let depends = apt::unpack("postfix", &postfix)?;
    let mut ldd = Command::new("ldd");
    ldd.arg(postfix.join("usr/sbin/smtp-source")).env("LD_LIBRARY_PATH", postfix.join("usr/lib/postfix"));
    if shell::output(&mut ldd)?.contains("not found") {
        apt::install(&libraries(&depends).collect::<Vec<_>>())?;
    }

    let script = "#!/bin/sh\n\
        # Postfix lies beside this, unpacked and not installed; its own libraries are looked for there.\n\
        postfix=$(dirname \"$0\")/../postfix\n\
        LD_LIBRARY_PATH=$postfix/usr/lib/postfix exec \"$postfix/usr/sbin/smtp-source\" \"$@\"\n";
    let bin = own.join("bin");
    let path = bin.join(SMTP_SOURCE);
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", path.display()))
}

/// The libraries in a `Depends` field; they are all that the program may lack.
fn libraries(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.split(',').filter_map(|dependency| dependency.split_whitespace().next());
    names.filter(|name| name.starts_with("lib"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_package() {
        let depends = "libc6 (>= 2.34), libdb5.3, debconf (>= 0.5) | debconf-2.0, libssl3 (>= 3.0.0), netbase\n";
        assert_eq!(libraries(depends).collect::<Vec<_>>(), ["libc6", "libdb5.3", "libssl3"]);
    }
}
