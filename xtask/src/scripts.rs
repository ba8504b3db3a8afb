//! Components from sources in JavaScript and Python: a directory with an `extension.json`, which names the source, its
//! hooks and its capabilities.
//!
//! The tools that make them come from npm and PyPI and are put below `target/tools`. It knows how they are called; what a
//! component may be is `world`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::workspace::Workspace;
use crate::world::{self, Manifest};

/// The file that makes a directory one of ours.
const MANIFEST: &str = "extension.json";

/// The directories of this repository that may hold such directories.
const HOMES: [&str; 2] = ["extensions/examples", "tests/components"];

/// componentize-js, of npm: its version, and what it is called with so that nothing of WASI is left.
const JAVASCRIPT: Tool = Tool { package: "@bytecodealliance/componentize-js", version: "0.23.0" };
const NO_FEATURES: [&str; 6] = ["--disable", "stdio", "random", "clocks", "http", "fetch-event"];

/// componentize-py, of PyPI.
const PYTHON: Tool = Tool { package: "componentize-py", version: "0.25.1" };
/// Its command line, for whichever Python is there: the script that pip makes names the one it was installed with.
const PYTHON_SCRIPT: &str = "from componentize_py import script; script()";

struct Tool {
    package: &'static str,
    version: &'static str,
}

/// Builds all of this repository into `target/guests/NAME.wasm`; what did not change since is left as it is, for it takes
/// some ten seconds each.
pub fn build_all(workspace: &Workspace) -> Result<()> {
    for directory in directories(&workspace.root) {
        let manifest = read(&directory)?;
        let output = workspace.components().join(format!("{}.wasm", manifest.name));
        build(workspace, &directory, &manifest, &output)?;
    }
    Ok(())
}

/// Builds one, wherever it lies, into `NAME.wasm` beside its manifest.
pub fn build_one(workspace: &Workspace, directory: &Path) -> Result<()> {
    let directory = directory.canonicalize().with_context(|| format!("there is no {}", directory.display()))?;
    let manifest = read(&directory)?;
    build(workspace, &directory, &manifest, &directory.join(format!("{}.wasm", manifest.name)))
}

/// The names of all of this repository.
pub fn names(root: &Path) -> Vec<String> {
    directories(root).iter().filter_map(|directory| Some(read(directory).ok()?.name)).collect()
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let entries = HOMES.iter().filter_map(|home| fs::read_dir(root.join(home)).ok()).flatten();
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|directory| directory.join(MANIFEST).is_file());
    found.sort();
    found
}

fn read(directory: &Path) -> Result<Manifest> {
    let path = directory.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if manifest.name.is_empty() || !manifest.name.chars().all(is_name) {
        bail!("{}: a name is letters, digits and hyphens", path.display());
    }
    Ok(manifest)
}

fn build(workspace: &Workspace, directory: &Path, manifest: &Manifest, output: &Path) -> Result<()> {
    let name = &manifest.name;
    let work = workspace.target.join("guest-build/scripts").join(name);
    let source = directory.join(&manifest.source);
    let (tool, language) = match source.extension().and_then(|extension| extension.to_str()) {
        Some("js") => (JAVASCRIPT, "js"),
        Some("py") => (PYTHON, "py"),
        _ => bail!("`{}` is neither JavaScript (.js) nor Python (.py)", manifest.source),
    };
    let inputs = inputs(&tool, language, directory, &workspace.root.join("wit"))?;
    let seen = work.join("inputs");
    if output.is_file() && fs::read(&seen).is_ok_and(|seen| seen == inputs) {
        return Ok(());
    }
    shell::say(&format!("building {name} by {} {}", tool.package, tool.version));
    let wit = work.join("wit");
    world::write(manifest, &workspace.root.join("wit"), &wit).with_context(|| format!("`{name}`"))?;
    fs::create_dir_all(output.parent().unwrap_or(directory))?;
    let draft = output.with_extension(format!("wasm.{}", std::process::id()));
    let mut command = match language {
        "js" => javascript(workspace, &source, &wit, &draft)?,
        _ => python(workspace, &source, &wit, &draft)?,
    };
    shell::run(command.current_dir(directory)).with_context(|| format!("`{name}` does not make a component"))?;
    fs::rename(&draft, output).with_context(|| format!("cannot write {}", output.display()))?;
    fs::write(&seen, inputs).with_context(|| format!("cannot write {}", seen.display()))
}

/// All that a component is made of, one behind the other: it is built again when any of it changes.
fn inputs(tool: &Tool, language: &str, directory: &Path, wit: &Path) -> Result<Vec<u8>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for home in [directory, wit] {
        let entries = fs::read_dir(home).with_context(|| format!("cannot read {}", home.display()))?;
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.retain(|file| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        file.is_file() && extension.is_some_and(|extension| [language, "json", "wit"].contains(&extension))
    });
    files.sort();
    let mut inputs = format!("{} {}\n", tool.package, tool.version).into_bytes();
    for file in files {
        inputs.extend(format!("\n--- {}\n", file.display()).into_bytes());
        inputs.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(inputs)
}

fn javascript(workspace: &Workspace, source: &Path, wit: &Path, output: &Path) -> Result<Command> {
    let home = workspace.target.join("tools/componentize-js");
    let package = home.join("node_modules").join(JAVASCRIPT.package);
    let installed = fs::read_to_string(package.join("package.json"));
    if !installed.is_ok_and(|text| text.contains(&format!("\"version\": \"{}\"", JAVASCRIPT.version))) {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&home);
        fetch(&mut npm, &format!("{}@{}", JAVASCRIPT.package, JAVASCRIPT.version))?;
    }
    let mut node = Command::new("node");
    node.arg(package.join("src/cli.js")).arg(source).arg("--wit").arg(wit).args(["--world-name", "guest"]);
    node.args(NO_FEATURES).arg("--out").arg(output);
    Ok(node)
}

fn python(workspace: &Workspace, source: &Path, wit: &Path, output: &Path) -> Result<Command> {
    let home = workspace.target.join("tools/componentize-py");
    if !home.join(format!("componentize_py-{}.dist-info/RECORD", PYTHON.version)).is_file() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]).arg(&home);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        fetch(&mut pip, &format!("{}=={}", PYTHON.package, PYTHON.version))?;
    }
    let module = source.file_stem().context("the source has no name")?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", &home).env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", PYTHON_SCRIPT]);
    python.arg("--wit-path").arg(wit).args(["--world", "guest", "componentize", "--stub-wasi"]);
    // What is imported is found beside the source, and nowhere else on this machine.
    python.arg("--python-path").arg(source.parent().unwrap_or(Path::new("."))).arg(module).arg("--output").arg(output);
    Ok(python)
}

fn fetch(installer: &mut Command, package: &str) -> Result<()> {
    shell::say(&format!("fetching {package}"));
    shell::run(installer.arg(package)).with_context(|| format!("{package} cannot be fetched"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("pillarbox-xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn the_examples_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(names(&root), ["example-javascript", "example-python"]);
    }

    #[test]
    fn a_manifest_is_read_strictly() {
        let directory = scratch("manifest");
        for (text, right) in [
            (r#"{"name": "a-1", "source": "a.js", "hooks": ["mail"]}"#, true),
            (r#"{"name": "a-1", "source": "a.js", "hooks": ["mail"], "capabilites": []}"#, false),
            (r#"{"name": "../a", "source": "a.js", "hooks": []}"#, false),
            (r#"{"name": "", "source": "a.js", "hooks": []}"#, false),
        ] {
            fs::write(directory.join(MANIFEST), text).unwrap();
            assert_eq!(read(&directory).is_ok(), right, "{text}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_change_of_anything_is_a_change() {
        let directory = scratch("inputs");
        let wit = directory.join("wit");
        fs::create_dir_all(&wit).unwrap();
        for file in ["a.js", "extension.json", "wit/a.wit", "a.wasm"] {
            fs::write(directory.join(file), "one").unwrap();
        }
        let now = || inputs(&JAVASCRIPT, "js", &directory, &wit).unwrap();
        let before = now();
        assert_eq!(now(), before);
        fs::write(directory.join("a.wasm"), "two").unwrap();
        assert_eq!(now(), before, "what is made is no part of what it is made of");
        for file in ["a.js", "extension.json", "wit/a.wit"] {
            fs::write(directory.join(file), "two").unwrap();
            assert_ne!(now(), before, "{file}");
            fs::write(directory.join(file), "one").unwrap();
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
