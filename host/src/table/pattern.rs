//! `pattern`: regular expressions, of which the first that matches a key has its value. They take time in proportion to the
//! key, whatever they are.

use super::lines::{BadLine, LineError, MOST_PATTERNS, Text, Texts, entries};
use regex::{Regex, RegexBuilder};

/// Octets that one compiled pattern may take, and as many again for what it remembers of keys.
const COMPILED: usize = 256 << 10;

/// The patterns, in their order.
#[derive(Debug)]
pub(super) struct Patterns {
    values: Texts,
    patterns: Vec<(Regex, Text)>,
}

impl Patterns {
    pub(super) fn read(text: &str) -> Result<Patterns, Vec<BadLine>> {
        let (mut values, mut patterns, mut bad) = (Texts::default(), Vec::new(), Vec::new());
        for (number, entry) in entries(text) {
            if patterns.len() == MOST_PATTERNS {
                bad.push(BadLine { number, why: LineError::TooMany(MOST_PATTERNS) });
                break;
            }
            match compile(entry) {
                Ok((pattern, value)) => patterns.push((pattern, values.put(value))),
                Err(why) => bad.push(BadLine { number, why }),
            }
        }
        if bad.is_empty() { Ok(Patterns { values, patterns }) } else { Err(bad) }
    }

    pub(super) fn lookup(&self, key: &str) -> Option<&str> {
        let (_, value) = self.patterns.iter().find(|(pattern, _)| pattern.is_match(key))?;
        Some(self.values.text(*value))
    }

    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }
}

/// `/PATTERN/FLAGS VALUE`. A slash in a pattern is written `\/`.
fn compile(entry: &str) -> Result<(Regex, &str), LineError> {
    let rest = entry.strip_prefix('/').ok_or(LineError::NotAPattern)?;
    let mut escaped = false;
    let end = rest.find(|c: char| {
        let end = c == '/' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    });
    let (pattern, behind) = end.and_then(|end| rest.split_at_checked(end)).ok_or(LineError::NotAPattern)?;
    let behind = behind.strip_prefix('/').unwrap_or(behind);
    let (flags, value) = behind.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((behind, ""));
    if let Some(flag) = flags.chars().find(|flag| *flag != 'i') {
        return Err(LineError::Flag(flag));
    }
    // An empty pattern matches everything, which nobody means by `//`.
    if pattern.is_empty() {
        return Err(LineError::NotAPattern);
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.case_insensitive(flags.contains('i')).size_limit(COMPILED).dfa_size_limit(COMPILED);
    let compiled = builder.build().map_err(|error| LineError::Pattern(reason(&error)))?;
    Ok((compiled, value.trim_ascii_start()))
}

/// The reason in one line: the whole text draws the pattern and points into it.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large when it is compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}
