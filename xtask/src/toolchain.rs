//! A compiler for guests: one that has the target wasm32-unknown-unknown, found or installed.
//!
//! Two ways are known. rustup adds the target's standard library to the installed toolchain. Debian packs a compiler
//! and the standard library's sources, from which Cargo builds it, for those who cannot reach rustup's server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::{apt, shell};

/// What guests are compiled for: no operating system, no imports but those of the WIT.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, named `-web` because browsers are built with it. apt adds the linker that fits it.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler for [`TARGET`].
#[derive(Debug)]
pub enum Toolchain {
    /// The one that runs this task; it has the target.
    Installed,
    /// Debian's, with the standard library built on the way. `linker` is its `wasm-ld`.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// Finds one, or installs one and says so. `PILLARBOX_WASM_TARGET` chooses.
    pub fn find(root: &Path) -> Result<Toolchain> {
        let choice = std::env::var("PILLARBOX_WASM_TARGET").unwrap_or_default();
        match choice.as_str() {
            "rustup" => by_rustup(root).map_err(|rustup| anyhow!("{WHAT_TO_DO}\n\n  rustup: {rustup:#}")),
            "debian" => by_debian().map_err(|debian| anyhow!("{WHAT_TO_DO}\n\n  Debian: {debian:#}")),
            "auto" | "" => by_rustup(root).or_else(|rustup| {
                shell::say(&format!("{rustup:#}; trying Debian's compiler"));
                by_debian().map_err(|debian| anyhow!("{WHAT_TO_DO}\n\n  rustup: {rustup:#}\n  Debian: {debian:#}"))
            }),
            other => bail!("PILLARBOX_WASM_TARGET is `{other}`: it can be auto, rustup or debian"),
        }
    }

    /// A `cargo build` for [`TARGET`] with this compiler, in a target directory of its own below `directory`, so that
    /// it neither waits for another Cargo nor undoes another compiler's work.
    pub fn cargo_build(&self, root: &Path, directory: &Path) -> Command {
        let mut cargo = match self {
            Toolchain::Installed => shell::cargo(root),
            Toolchain::Debian { .. } => Command::new(DEBIAN_CARGO),
        };
        cargo
            .current_dir(root)
            .args(["build", "--target", TARGET, "--target-dir"])
            .arg(self.target_directory(directory));
        if let Toolchain::Debian { linker } = self {
            cargo.arg("-Zbuild-std=std,panic_abort");
            // This is what lets a stable compiler take -Z. The rest undoes what rustup and `cargo run` have set.
            cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC).env_remove("RUSTUP_TOOLCHAIN");
            cargo.env_remove("LD_LIBRARY_PATH").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }

    /// Where [`Toolchain::cargo_build`] builds.
    pub fn target_directory(&self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Toolchain::Installed => "installed",
            Toolchain::Debian { .. } => "debian",
        })
    }
}

const WHAT_TO_DO: &str = "there is no compiler for wasm32-unknown-unknown, which extensions are built for. Run
  rustup target add wasm32-unknown-unknown
or, on Debian, where rustup's server is out of reach,
  sudo apt-get install rustc-web cargo-web rust-web-src lld-22
and then this command again";

fn by_rustup(root: &Path) -> Result<Toolchain> {
    if !has_target(root) {
        if !shell::succeeds(Command::new("rustup").arg("--version")) {
            bail!("the toolchain has no {TARGET}, and there is no rustup to add it");
        }
        shell::say(&format!("adding the target {TARGET} with rustup"));
        shell::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root))?;
        if !has_target(root) {
            bail!("rustup added {TARGET}, but not to the toolchain in use");
        }
    }
    Ok(Toolchain::Installed)
}

/// Whether the toolchain in use has the target's standard library.
fn has_target(root: &Path) -> bool {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(root);
    let Ok(directory) = shell::output(&mut rustc) else { return false };
    let Ok(files) = std::fs::read_dir(directory.trim()) else { return false };
    files.filter_map(Result::ok).any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
}

fn by_debian() -> Result<Toolchain> {
    let mut version = debian_version();
    if version.is_none() {
        apt::install(&DEBIAN_PACKAGES)?;
        version = debian_version();
    }
    let Version { llvm } = version.with_context(|| {
        format!("{DEBIAN_RUSTC} is older than {}, or lacks its sources", env!("CARGO_PKG_RUST_VERSION"))
    })?;
    let linker = PathBuf::from(format!("/usr/bin/wasm-ld-{llvm}"));
    if !linker.exists() {
        apt::install(&[format!("lld-{llvm}")])?;
    }
    Ok(Toolchain::Debian { linker })
}

/// What Debian's compiler says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// The major version of its LLVM: that of the linker that fits.
    llvm: u32,
}

/// Debian's compiler, if it is there, new enough and has the standard library's sources.
fn debian_version() -> Option<Version> {
    if !Path::new(DEBIAN_CARGO).exists() {
        return None;
    }
    let sysroot = shell::output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"])).ok()?;
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").exists() {
        return None;
    }
    let verbose = shell::output(Command::new(DEBIAN_RUSTC).arg("-vV")).ok()?;
    version(&verbose, env!("CARGO_PKG_RUST_VERSION"))
}

/// Reads `rustc -vV`; nothing if it is older than `oldest`.
fn version(verbose: &str, oldest: &str) -> Option<Version> {
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if numbers(field("release")?) < numbers(oldest) {
        return None;
    }
    Some(Version { llvm: *numbers(field("LLVM version")?).first()? })
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_compiler_says() {
        let verbose = "rustc 1.96.0 (abc) (built from a source tarball)\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(version(verbose, "1.95"), Some(Version { llvm: 22 }));
        assert_eq!(version(verbose, "1.96"), Some(Version { llvm: 22 }));
        assert_eq!(version(verbose, "1.97"), None);
        assert_eq!(version("release: 1.100.0-nightly\nLLVM version: 30.0", "1.95"), Some(Version { llvm: 30 }));
        assert_eq!(version("gibberish", "1.95"), None);
    }
}
