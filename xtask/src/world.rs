//! The narrow world of a component whose tools import every interface of their world whole: for them the world is the
//! request, so it is written from a list of hooks and capabilities and holds nothing else.
//!
//! It reads `wit/` for what there is. It knows nothing of the languages.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The interfaces that need no grant. They are in every world: what is not used is not called, and it asks for nothing.
const FREE: [&str; 5] = ["log", "settings", "state", "declare", "advertise"];

/// What a component exports and may import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The component's name, which its file gets.
    pub name: String,
    /// Its source, beside this file.
    pub source: String,
    /// The hooks it exports.
    pub hooks: Vec<String>,
    /// The capabilities it asks for; `credentials` is asked for by its hooks.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// Writes the world `guest` into `directory`, with the interfaces of `wit` as its dependency.
///
/// # Errors
/// A hook or capability that is not there.
pub fn write(manifest: &Manifest, wit: &Path, directory: &Path) -> Result<()> {
    let dependency = directory.join("deps/pillarbox");
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(&dependency).with_context(|| format!("cannot create {}", dependency.display()))?;
    let mut worlds = String::new();
    for file in fs::read_dir(wit).with_context(|| format!("cannot read {}", wit.display()))? {
        let path = file?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if path.file_name().is_some_and(|name| name == "worlds.wit") {
            worlds.clone_from(&text);
        }
        fs::write(dependency.join(path.file_name().unwrap_or_default()), text)?;
    }
    let world = world(manifest, &Known::read(&worlds)?)?;
    fs::write(directory.join("guest.wit"), world).context("cannot write the world")
}

/// What there is to be exported and imported.
struct Known {
    version: String,
    hooks: Vec<String>,
    capabilities: Vec<String>,
}

impl Known {
    /// From `worlds.wit`, whose worlds `all` and `imports` name each interface on a line of its own.
    fn read(worlds: &str) -> Result<Known> {
        let first = worlds.lines().next().unwrap_or_default();
        let version = first.strip_prefix("package pillarbox:extension@").and_then(|rest| rest.strip_suffix(';'));
        let named = |keyword: &str| -> Vec<String> {
            let lines = worlds.lines().filter_map(|line| line.strip_prefix("    ")?.strip_prefix(keyword));
            let names = lines.filter_map(|rest| rest.trim().strip_suffix(';'));
            names.map(|name| name.trim_start_matches('%').to_owned()).collect()
        };
        Ok(Known {
            version: version.context("worlds.wit does not begin with its package")?.to_owned(),
            hooks: named("export ").into_iter().filter(|name| name != "lifecycle").collect(),
            capabilities: named("import ").into_iter().filter(|name| !FREE.contains(&name.as_str())).collect(),
        })
    }
}

fn world(manifest: &Manifest, known: &Known) -> Result<String> {
    for (given, known, what) in
        [(&manifest.hooks, &known.hooks, "hook"), (&manifest.capabilities, &known.capabilities, "capability")]
    {
        if let Some(unknown) = given.iter().find(|name| !known.contains(name)) {
            bail!("there is no {what} `{unknown}`; there are: {}", known.join(" "));
        }
    }
    let capabilities = manifest.capabilities.iter().map(String::as_str);
    let imports = FREE.into_iter().chain(capabilities).map(|name| ("import", name));
    let exports = std::iter::once("lifecycle").chain(manifest.hooks.iter().map(String::as_str));
    let mut text = "package guest:component;\n\nworld guest {\n".to_owned();
    for (direction, name) in imports.chain(exports.map(|name| ("export", name))) {
        // `stream` is a word of WIT's own.
        let name = if name == "stream" { "%stream" } else { name };
        text.push_str(&format!("    {direction} pillarbox:extension/{name}@{};\n", known.version));
    }
    text.push_str("}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let worlds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/worlds.wit");
        Known::read(&fs::read_to_string(worlds).unwrap()).unwrap()
    }

    fn manifest(hooks: &[&str], capabilities: &[&str]) -> Manifest {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (name, source) = ("a".to_owned(), "a.js".to_owned());
        Manifest { name, source, hooks: owned(hooks), capabilities: owned(capabilities) }
    }

    #[test]
    fn a_world_holds_what_is_asked_for_and_nothing_else() {
        let text = world(&manifest(&["mail", "data"], &["session", "stream"]), &known()).unwrap();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let version = known().version;
        let expected: Vec<String> = [
            "import log",
            "import settings",
            "import state",
            "import declare",
            "import advertise",
            "import session",
            "import %stream",
            "export lifecycle",
            "export mail",
            "export data",
        ]
        .iter()
        .map(|line| {
            let (direction, name) = line.split_once(' ').unwrap();
            format!("{direction} pillarbox:extension/{name}@{version};")
        })
        .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = world(&manifest(&["mial"], &[]), &known()).unwrap_err().to_string();
        assert!(error.starts_with("there is no hook `mial`; there are: connect hello"), "{error}");
        let error = world(&manifest(&["mail"], &["log"]), &known()).unwrap_err().to_string();
        assert!(error.starts_with("there is no capability `log`; there are: session"), "{error}");
        assert_eq!(known().hooks.len(), 11);
    }
}
