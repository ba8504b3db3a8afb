//! Where a guest stopped: the panic it told of, or the functions it was in. It is the guest's own word, so it is kept short,
//! believed by nobody, and escaped where it is logged.

use std::fmt;
use wasmtime::WasmBacktrace;

/// Octets kept of a panic's message, and of each name.
const LONGEST: usize = 200;
/// Frames that are named.
const FRAMES: usize = 5;

/// A panic, as Rust's own hook words it and the SDK logs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// What it says.
    pub message: String,
    /// `FILE:LINE:COLUMN`, the file from its crate's directory on.
    pub at: String,
}

impl Panic {
    /// The panic that a logged line tells of: `panicked at FILE:LINE:COLUMN:`, and on the next line the message.
    pub fn told(line: &str) -> Option<Panic> {
        let (place, message) = line.strip_prefix("panicked at ")?.split_once(":\n").unwrap_or_else(|| {
            // A place without a message, or what only looks like one.
            (line.trim_start_matches("panicked at ").trim_end_matches(':'), "")
        });
        Some(Panic { message: cut(message), at: cut(of_crate(place)) })
    }
}

/// Where a guest that said nothing stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(Vec<String>);

impl Frames {
    /// The innermost functions of an error that has them.
    pub fn of(error: &wasmtime::Error) -> Frames {
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
            Some(name) => cut(name),
            None => format!("function {}", frame.func_index()),
        };
        Frames(frames.iter().take(FRAMES).map(name).collect())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" < "))
    }
}

/// A path without what is only true of the machine it was built on: what stands before the directory that holds `src`.
fn of_crate(path: &str) -> &str {
    let Some((before, _)) = path.rsplit_once("/src/") else { return path };
    let directory = before.rsplit_once('/').map_or(0, |(above, _)| above.len() + 1);
    path.get(directory..).unwrap_or(path)
}

fn cut(text: &str) -> String {
    match text.split_at_checked(text.floor_char_boundary(LONGEST)) {
        Some((head, rest)) if !rest.is_empty() => format!("{head}…"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place() {
        for (line, message, at) in [
            ("panicked at src/lib.rs:24:9:\nno such thing", "no such thing", "src/lib.rs:24:9"),
            ("panicked at src/lib.rs:24:9:\none\ntwo", "one\ntwo", "src/lib.rs:24:9"),
            ("panicked at greylist/src/deep/er.rs:1:2:\n", "", "greylist/src/deep/er.rs:1:2"),
            ("panicked at /home/me/code/greylist/src/lib.rs:1:2:\nx", "x", "greylist/src/lib.rs:1:2"),
            (
                "panicked at /home/me/.cargo/registry/src/index-0123/serde-1.0.0/src/de.rs:1:2:\nx",
                "x",
                "serde-1.0.0/src/de.rs:1:2",
            ),
            ("panicked at /rustc/0123/library/core/src/option.rs:7:5:\nx", "x", "core/src/option.rs:7:5"),
            ("panicked at /src/lib.rs:1:2:\nx", "x", "/src/lib.rs:1:2"),
            ("panicked at x", "", "x"),
            ("panicked at ", "", ""),
        ] {
            let expected = Panic { message: message.to_owned(), at: at.to_owned() };
            assert_eq!(Panic::told(line), Some(expected), "{line:?}");
        }
        for line in ["", "panicked", "it panicked at src/lib.rs:1:1:\nx", "Panicked at x"] {
            assert_eq!(Panic::told(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_a_guest_says_is_kept_short() {
        let told = Panic::told(&format!("panicked at {}:\n{}", "é".repeat(5_000), "ü".repeat(5_000))).unwrap();
        assert!(told.message.len() <= LONGEST + 3 && told.at.len() <= LONGEST + 3);
        assert!(told.message.ends_with('…') && told.message.starts_with('ü'));
    }
}
