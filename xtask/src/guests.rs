//! The components: every extension of this repository, compiled and encoded into `target/guests/NAME.wasm`.
//!
//! What an extension is, it takes from Cargo: a package below `extensions` or `tests/components` with a dynamic library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_component::ComponentEncoder;

use crate::toolchain::{TARGET, Toolchain};
use crate::workspace::{Package, Workspace};
use crate::{scripts, shell};

/// Builds all of them. A file whose content did not change is not written, so that the host, which embeds some of them,
/// is not built again for nothing.
pub fn build(workspace: &Workspace) -> Result<()> {
    let guests = guests(workspace);
    if guests.is_empty() {
        shell::say("no extension to build");
        return Ok(());
    }
    let toolchain = Toolchain::find(&workspace.root)?;
    let directory = workspace.root.join("target/guest-build");
    let names: Vec<&str> = guests.iter().map(|guest| guest.package.name.as_str()).collect();
    shell::say(&format!("building the extensions: {}", names.join(", ")));
    let mut cargo = toolchain.cargo_build(&workspace.root, &directory);
    cargo.args(["--profile", "guest"]);
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(&workspace.root));
    for guest in &guests {
        cargo.args(["--package", &guest.package.name]);
    }
    shell::run(&mut cargo)?;

    let modules = toolchain.target_directory(&directory).join(TARGET).join("guest");
    let components = workspace.components();
    std::fs::create_dir_all(&components).with_context(|| format!("cannot create {}", components.display()))?;
    let mut changed = Vec::new();
    for guest in &guests {
        let name = guest.package.name.as_str();
        let component = encode(&modules.join(format!("{}.wasm", guest.library)))
            .with_context(|| format!("`{name}` does not make a component"))?;
        if replace(&components.join(format!("{name}.wasm")), &component)? {
            changed.push(name);
        }
    }
    let mut kept = scripts::names(&workspace.root);
    kept.extend(names.iter().map(|name| (*name).to_owned()));
    remove_others(&components, &kept)?;
    shell::say(&match changed.as_slice() {
        [] => "components in target/guests: none changed".to_owned(),
        names => format!("components in target/guests: new or changed: {}", names.join(", ")),
    });
    Ok(())
}

/// A package that makes a component.
struct Guest<'a> {
    package: &'a Package,
    /// The name of its library.
    library: String,
}

fn guests(workspace: &Workspace) -> Vec<Guest<'_>> {
    let homes = ["extensions", "tests/components"].map(|home| workspace.root.join(home));
    let inside = |package: &&Package| homes.iter().any(|home| package.directory().starts_with(home));
    let packages = workspace.packages.iter().filter(inside);
    packages.filter_map(|package| Some(Guest { library: package.dynamic_library()?, package })).collect()
}

/// The compiler's flags, in place of those the user may have for this machine's linker. A component carries the names of
/// its source files in its panic messages: with these it is the same wherever it is built.
fn flags(root: &Path) -> OsString {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(root);
    flags.push("=pillarbox");
    if let Some(home) = home {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(home);
        flags.push("=cargo");
    }
    flags
}

/// Makes a component of a module that carries its world in a section, as wit-bindgen leaves it.
fn encode(module: &Path) -> Result<Vec<u8>> {
    let module = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// Writes the file unless it holds just this; says whether it wrote. It is replaced in one step, because a server may be
/// reading it.
fn replace(path: &Path, content: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    let new = path.with_extension(format!("wasm.{}", std::process::id()));
    std::fs::write(&new, content).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// Removes the components whose sources are gone, lest a test find them.
fn remove_others(components: &Path, kept: &[String]) -> Result<()> {
    let files = std::fs::read_dir(components).with_context(|| format!("cannot read {}", components.display()))?;
    for path in files.filter_map(|file| Some(file.ok()?.path())) {
        let of_a_guest = kept.iter().any(|name| path.file_stem().is_some_and(|stem| *stem == **name));
        if path.extension().is_some_and(|extension| extension == "wasm") && !of_a_guest {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_only_what_changed() {
        let directory = std::env::temp_dir().join(format!("pillarbox-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.wasm");
        assert!(replace(&path, b"one").unwrap());
        assert!(!replace(&path, b"one").unwrap());
        assert!(replace(&path, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        remove_others(&directory, &[]).unwrap();
        assert!(!path.exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_module_without_a_world_is_no_extension() {
        let directory = std::env::temp_dir().join(format!("pillarbox-xtask-module-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
        // It makes an empty component, which the server refuses: it exports nothing.
        assert!(encode(&path).is_ok());
        std::fs::write(&path, b"#!/bin/sh").unwrap();
        assert!(encode(&path).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
