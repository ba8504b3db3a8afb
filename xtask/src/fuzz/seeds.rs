//! Seeds for the targets that play a session: the conversations are what peers say, good and bad.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The targets whose inputs are sessions.
const TARGETS: [&str; 2] = ["session", "segments"];

/// The octets that say how a session goes, before what the peer sends; see `tests/fuzz/src/lib.rs`.
const HEAD: usize = 16;

/// Writes each conversation as an input, anew.
pub fn write(conversations: &Path, seeds: &Path) -> Result<()> {
    let entries = fs::read_dir(conversations).with_context(|| format!("cannot read {}", conversations.display()))?;
    let mut inputs = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "smtp")) else {
            continue;
        };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        inputs.push((name.to_owned(), input(&text)));
    }
    for target in TARGETS {
        let directory = seeds.join(target);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        for (name, input) in &inputs {
            let path = directory.join(name);
            fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// What the client says in a conversation, behind a head under which all goes well.
fn input(text: &str) -> Vec<u8> {
    let mut input = vec![0; HEAD];
    for line in text.lines() {
        match line.split_at_checked(2) {
            Some(("C:", rest)) => {
                input.extend(unescaped(rest.strip_prefix(' ').unwrap_or(rest)));
                input.extend_from_slice(b"\r\n");
            }
            Some(("C|", rest)) => input.extend(unescaped(rest.strip_prefix(' ').unwrap_or(rest))),
            Some(("@ ", setting)) => {
                // As `tests/fuzz/src/lib.rs` reads the head.
                let (at, octet) = match setting {
                    "tls offered" => (0, 1_u8),
                    "tls required" => (0, 2),
                    "protocol lmtp" => (2, 2),
                    _ => continue,
                };
                if let Some(head) = input.get_mut(at) {
                    *head |= octet;
                }
            }
            _ => {}
        }
    }
    input
}

/// `\r \n \t \0 \\ \xHH`, as in the conversations. What is no escape stays: a seed need not be right.
fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return octets,
            [b'\\', b'x', high, low, behind @ ..] => {
                let digits = [*high, *low].map(char::from).iter().collect::<String>();
                octets.extend(u8::from_str_radix(&digits, 16));
                behind
            }
            [b'\\', letter, behind @ ..] => {
                octets.push(match letter {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    other => *other,
                });
                behind
            }
            [octet, behind @ ..] => {
                octets.push(*octet);
                behind
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_what_its_client_says() {
        let text = "# RFC\n@ tls offered\nS: 220 *\nC: NOOP\\0\\x41\\\\\nS: 500 *\nC| a\\r\\n\nS! close\n";
        let mut expected = vec![0; HEAD];
        expected[0] = 1;
        expected.extend_from_slice(b"NOOP\0A\\\r\na\r\n");
        assert_eq!(input(text), expected);
    }
}
