//! Writes `stock.rs`: the stock extensions' components, to be embedded by `include!`.
//!
//! It embeds what `cargo xtask build` left in `target/guests` and knows nothing of how that came to be. Where a component
//! is missing (a fresh clone, an editor) it embeds an empty slice, so that `cargo check` needs no guest.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The components `builtin:NAME` can mean, by name.
const STOCK: [&str; 6] = ["xclient", "xremoteip", "xsetcontext", "xdumpcontext", "always-allow", "xforward"];

fn main() -> io::Result<()> {
    let guests = variable("CARGO_MANIFEST_DIR")?.join("../target/guests");
    let mut code = String::from(
        "/// The stock extensions: name, component. A component is empty where it had not been built.\n\
         pub const STOCK: &[(&str, &[u8])] = &[\n",
    );
    let mut missing = false;
    for name in STOCK {
        let path = guests.join(format!("{name}.wasm"));
        let component = if path.is_file() {
            let path = path.canonicalize()?;
            watch(&path);
            format!("include_bytes!({path:?})")
        } else {
            missing = true;
            String::from("&[]")
        };
        // Writing to a String cannot fail.
        let _ = writeln!(code, "    ({name:?}, {component}),");
    }
    code.push_str("];\n");

    if missing {
        // A watched path that does not exist would make Cargo build the host anew each time; the directory changes when
        // a component appears in it. Without the right to create it, that is the lesser evil.
        let _ = fs::create_dir_all(&guests);
        watch(&guests);
    }
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(variable("OUT_DIR")?.join("stock.rs"), code)
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set")))
}
