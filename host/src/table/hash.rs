//! `hash`: keys that are looked up whole, without regard to the case of ASCII letters, as Postfix has it.

use super::LONGEST_KEY;
use super::lines::{BadLine, LineError, MOST, Text, Texts, entries, split};

/// The entries, by key.
#[derive(Debug)]
pub(super) struct Hash {
    texts: Texts,
    /// Sorted by key.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Text,
    value: Text,
}

impl Hash {
    pub(super) fn read(text: &str) -> Result<Hash, Vec<BadLine>> {
        let (mut texts, mut rows, mut bad) = (Texts::default(), Vec::new(), Vec::new());
        for (number, entry) in entries(text) {
            let (key, value) = split(entry);
            if key.len() > LONGEST_KEY {
                bad.push(BadLine { number, why: LineError::TooLong });
                continue;
            }
            if rows.len() == MOST {
                bad.push(BadLine { number, why: LineError::TooMany(MOST) });
                break;
            }
            let entry = Entry { key: texts.put(&key.to_ascii_lowercase()), value: texts.put(value) };
            rows.push((number, entry));
        }
        // Of two lines with one key the later is the mistake.
        rows.sort_by(|(line, a), (other, b)| (texts.text(a.key), line).cmp(&(texts.text(b.key), other)));
        let mut first: Option<&(usize, Entry)> = None;
        for row in &rows {
            match first.filter(|(_, entry)| texts.text(entry.key) == texts.text(row.1.key)) {
                Some((line, _)) => bad.push(BadLine { number: row.0, why: LineError::Duplicate { first: *line } }),
                None => first = Some(row),
            }
        }
        if !bad.is_empty() {
            bad.sort_by_key(|line| line.number);
            return Err(bad);
        }
        texts.shrink();
        Ok(Hash { texts, entries: rows.into_iter().map(|(_, entry)| entry).collect() })
    }

    pub(super) fn lookup(&self, key: &str) -> Option<&str> {
        let key = key.to_ascii_lowercase();
        let found = self.entries.binary_search_by(|entry| self.texts.text(entry.key).cmp(&key)).ok()?;
        self.entries.get(found).map(|entry| self.texts.text(entry.value))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
