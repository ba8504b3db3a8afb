//! The mail clients that the client tests drive: found, or, when told, taken from Debian, npm and PyPI.
//!
//! It knows where they come from; how each is driven is in `tests/end_to_end/clients`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{apt, shell};

/// Something the tests run, and where it comes from.
struct Client {
    name: &'static str,
    source: Source,
}

/// Where a client comes from, and with that how one sees that it is there.
enum Source {
    /// A program on the path, in these packages of Debian's.
    Debian(&'static [&'static str]),
    /// A server, in the package of its name: installed, Debian would start it, or drive out another one for it. So it is
    /// unpacked below `target/clients`, where this file of it is, and with it the packages that belong to it.
    Unpacked { file: &'static str, packages: &'static [&'static str] },
    /// A package of npm's, below `target/clients/node`.
    Npm { version: &'static str },
    /// A package of PyPI's, below `target/clients/python`.
    PyPi { version: &'static str },
}

/// Programs first: npm and pip are among them.
const CLIENTS: [Client; 15] = [
    Client { name: "timeout", source: Source::Debian(&["coreutils"]) },
    Client { name: "python3", source: Source::Debian(&["python3", "python3-pip"]) },
    Client { name: "openssl", source: Source::Debian(&["openssl"]) },
    // swaks says TLS only with the second.
    Client { name: "swaks", source: Source::Debian(&["swaks", "libnet-ssleay-perl"]) },
    Client { name: "curl", source: Source::Debian(&["curl"]) },
    Client { name: "msmtp", source: Source::Debian(&["msmtp"]) },
    Client { name: "node", source: Source::Debian(&["nodejs"]) },
    Client { name: "npm", source: Source::Debian(&["npm"]) },
    Client {
        name: "postfix",
        source: Source::Unpacked { file: "usr/lib/postfix/sbin/master", packages: &["postfix"] },
    },
    Client { name: "haproxy", source: Source::Unpacked { file: "usr/sbin/haproxy", packages: &["haproxy"] } },
    Client {
        name: "dovecot",
        source: Source::Unpacked { file: "usr/lib/dovecot/lmtp", packages: &["dovecot-core", "dovecot-lmtpd"] },
    },
    // What the server is connected to, and not what connects to it. Redis's server is this program by another name.
    Client {
        name: "nats-server",
        source: Source::Unpacked { file: "usr/sbin/nats-server", packages: &["nats-server"] },
    },
    Client { name: "redis-check-rdb", source: Source::Debian(&["redis-tools"]) },
    Client { name: "nodemailer", source: Source::Npm { version: "10.6.0" } },
    Client { name: "aiosmtplib", source: Source::PyPi { version: "5.1.3" } },
];

/// Where the clients are, all of them there.
#[derive(Debug)]
pub struct Clients {
    own: PathBuf,
    path: Vec<PathBuf>,
}

/// Finds all clients.
///
/// # Errors
/// One is missing and `install` was not said, or it could not be installed.
pub fn find(workspace: &Workspace, install: bool) -> Result<Clients> {
    let mut path = shell::path();
    path.push("/usr/sbin".into());
    let clients = Clients { own: workspace.target.join("clients"), path };

    let absent = clients.missing();
    if !absent.is_empty() {
        let list = absent.iter().map(|client| client.line()).collect::<Vec<_>>().join("\n");
        if !install {
            bail!("these clients are missing:\n{list}\nInstall them, or say --install (servers are only unpacked)");
        }
        shell::say(&format!("these clients are missing:\n{list}"));
        clients.install(&absent)?;
        if let Some(client) = clients.missing().first() {
            bail!("{} is still missing after its installation", client.name);
        }
    }
    if shell::output(Command::new("id").arg("-u"))?.trim() != "0" {
        shell::say("Postfix's queue and Dovecot are left out: both start their parts as other users, which takes root");
    }
    Ok(clients)
}

impl Clients {
    /// Lets a test run find the clients: the programs on its path, the rest below `PILLARBOX_CLIENTS`, which also tells it to
    /// use them.
    pub fn offer(&self, command: &mut Command) -> Result<()> {
        let path: OsString = std::env::join_paths(&self.path).context("PATH cannot be extended")?;
        command.env("PATH", path).env("PILLARBOX_CLIENTS", &self.own);
        Ok(())
    }

    fn missing(&self) -> Vec<&'static Client> {
        CLIENTS.iter().filter(|client| !self.has(client)).collect()
    }

    fn has(&self, client: &Client) -> bool {
        match client.source {
            Source::Debian(_) => shell::find(client.name, &self.path).is_some_and(|path| is_whole(client.name, &path)),
            Source::Unpacked { file, .. } => self.own.join(client.name).join(file).is_file(),
            Source::Npm { version } => {
                let manifest = self.node().join("node_modules").join(client.name).join("package.json");
                std::fs::read_to_string(manifest)
                    .is_ok_and(|text| text.contains(&format!("\"version\": \"{version}\"")))
            }
            Source::PyPi { version } => {
                self.python().join(format!("{}-{version}.dist-info", client.name)).join("RECORD").is_file()
            }
        }
    }

    fn install(&self, absent: &[&Client]) -> Result<()> {
        let packages: Vec<&str> = absent.iter().flat_map(|client| client.packages()).copied().collect();
        if !packages.is_empty() {
            apt::install(&packages)?;
        }
        for client in absent {
            match client.source {
                Source::Debian(_) => {}
                Source::Unpacked { packages, .. } => unpack(packages, &self.own.join(client.name))?,
                Source::Npm { version } => {
                    let mut npm = Command::new("npm");
                    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"])
                        .arg(self.node());
                    fetch(client, &mut npm, &format!("{}@{version}", client.name))?;
                }
                Source::PyPi { version } => {
                    let mut pip = Command::new("python3");
                    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
                        .arg(self.python());
                    pip.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
                    fetch(client, &mut pip, &format!("{}=={version}", client.name))?;
                }
            }
        }
        Ok(())
    }

    fn node(&self) -> PathBuf {
        self.own.join("node")
    }

    fn python(&self) -> PathBuf {
        self.own.join("python")
    }
}

impl Client {
    /// What is said of it when it is missing.
    fn line(&self) -> String {
        let from = match self.source {
            Source::Debian(packages) => format!("Debian: {}", packages.join(" ")),
            Source::Unpacked { .. } => "Debian, below target/clients: --install unpacks it".to_owned(),
            Source::Npm { version } => format!("npm, below target/clients: version {version}"),
            Source::PyPi { version } => format!("PyPI, below target/clients: version {version}"),
        };
        format!("  {:12} {from}", self.name)
    }

    fn packages(&self) -> &'static [&'static str] {
        match self.source {
            Source::Debian(packages) => packages,
            _ => &[],
        }
    }
}

/// Whether a program can do what the tests ask of it.
fn is_whole(name: &str, path: &Path) -> bool {
    match name {
        // swaks is there without TLS, too: it says what it can.
        "swaks" => {
            shell::output(Command::new(path).arg("--support")).is_ok_and(|text| text.contains("=== TLS supported"))
        }
        // Debian packs pip apart.
        "python3" => shell::succeeds(Command::new(path).args(["-m", "pip", "--version"])),
        _ => true,
    }
}

fn fetch(client: &Client, installer: &mut Command, package: &str) -> Result<()> {
    shell::say(&format!("fetching {package}"));
    shell::run(installer.arg(package)).with_context(|| format!("{} cannot be fetched", client.name))
}

/// Unpacks a server; the libraries it needs beside its own are installed.
fn unpack(packages: &[&str], directory: &Path) -> Result<()> {
    let depends = apt::unpack(packages, directory)?;
    let mut libraries = libraries(&depends).peekable();
    if libraries.peek().is_some() && lacks_libraries(directory)? {
        apt::install(&libraries.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Whether a program in `usr/sbin` would not start, its own libraries being found.
fn lacks_libraries(directory: &Path) -> Result<bool> {
    let programs = directory.join("usr/sbin");
    let entries = std::fs::read_dir(&programs).with_context(|| format!("cannot read {}", programs.display()))?;
    let mut ldd = Command::new("ldd");
    ldd.args(entries.filter_map(|entry| Some(entry.ok()?.path())));
    let own = ["usr/lib/postfix", "usr/lib/dovecot"].map(|path| directory.join(path));
    ldd.env("LD_LIBRARY_PATH", std::env::join_paths(own).context("the path of the clients has a colon")?);
    // It fails because of the scripts among them, and says all it knows.
    let output = ldd.output().context("cannot run ldd")?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("not found"))
}

/// The libraries in a `Depends` field; they are all that a program may lack.
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
