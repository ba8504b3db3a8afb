//! The last lines of the log, kept for whoever asks what became of a session or a message while the server runs.
//!
//! Lines lie end to end in blocks, so that one more costs a copy of its octets and no allocation, and the oldest block
//! goes when there are too many. What a line says is looked for by reading them through, which is rare, outside the lock.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Octets of a block, unless a line is longer.
const BLOCK: usize = 64 * 1024;
/// Blocks that are kept besides the one that is being filled: 16 MiB, some 80,000 events.
const BLOCKS: usize = 255;

/// What was logged last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    full: VecDeque<Block>,
    open: Block,
}

/// Lines with their ends. Shared with whoever reads, which is why a full one never changes.
#[derive(Clone, Debug, Default)]
struct Block {
    text: Arc<String>,
    /// The number of its first line, counted from the first that was ever kept.
    first: u64,
    lines: u64,
}

impl Memory {
    /// Keeps a line, its end included.
    pub(super) fn keep(&self, line: &str) {
        let mut ring = self.lock();
        if ring.open.text.len().saturating_add(line.len()) > BLOCK && ring.open.lines > 0 {
            ring.turn();
        }
        ring.open.lines += 1;
        // Copied once when somebody reads at this moment.
        let text = Arc::make_mut(&mut ring.open.text);
        if text.capacity() == 0 {
            text.reserve_exact(BLOCK);
        }
        text.push_str(line);
    }

    /// The lines that contain `part`, each with its number, in the order they were logged. Blocks for as long as it takes
    /// to read 16 MiB.
    pub fn lines_with(&self, part: &str) -> Vec<(u64, String)> {
        let blocks: Vec<Block> = {
            let ring = self.lock();
            ring.full.iter().chain([&ring.open]).cloned().collect()
        };
        let mut found = Vec::new();
        // A block without it, as nearly all are, is not taken apart.
        for block in blocks.iter().filter(|block| block.text.contains(part)) {
            let lines = (block.first..).zip(block.text.lines());
            found.extend(lines.filter(|(_, line)| line.contains(part)).map(|(at, line)| (at, line.to_owned())));
        }
        found
    }

    /// The oldest line there is.
    pub fn oldest(&self) -> Option<String> {
        let ring = self.lock();
        let block = ring.full.front().unwrap_or(&ring.open);
        block.text.lines().next().map(str::to_owned)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn turn(&mut self) {
        let next = Block { first: self.open.first + self.open.lines, ..Block::default() };
        self.full.push_back(mem::replace(&mut self.open, next));
        if self.full.len() > BLOCKS {
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn lines_are_found_in_their_order() {
        let memory = Memory::default();
        assert_eq!((memory.lines_with("x"), memory.oldest()), (Vec::new(), None));
        for number in 0..5000 {
            memory.keep(&format!("{number} {} {}\n", if number % 1000 == 0 { "x" } else { "y" }, "-".repeat(100)));
        }
        let found = memory.lines_with(" x ");
        let starts: Vec<_> = found.iter().map(|(at, line)| (*at, line.split(' ').next().unwrap())).collect();
        assert_eq!(starts, [(0, "0"), (1000, "1000"), (2000, "2000"), (3000, "3000"), (4000, "4000")]);
        assert!(memory.oldest().unwrap().starts_with("0 x"));
    }

    #[test]
    fn it_takes_16_mebibytes_and_no_more() {
        let memory = Memory::default();
        let line = |number: u64| format!("{number:08} {}\n", "-".repeat(1014));
        let count = 20 * 1024;
        (0..count).for_each(|number| memory.keep(&line(number)));
        let held: usize = {
            let ring = memory.lock();
            ring.full.iter().chain([&ring.open]).map(|block| block.text.capacity()).sum()
        };
        assert!((15 << 20..=16 << 20).contains(&held), "{held}");
        // The oldest went, the newest is there, and nothing is missing between.
        let found = memory.lines_with("-");
        assert_eq!(found.last().unwrap().1.trim_end(), line(count - 1).trim_end());
        assert_eq!(found.len(), usize::try_from(count - found[0].0).unwrap());
        for (at, text) in &found {
            assert_eq!(text.trim_end(), line(*at).trim_end());
        }
        assert_eq!(memory.oldest().unwrap(), found[0].1);
        // Nor does a line without an end to it take more than itself.
        memory.keep(&"z".repeat(BLOCK * 2));
        assert_eq!(memory.lines_with("zz").len(), 1);
    }

    /// Whoever reads holds up nobody, and reads what was there when it began.
    #[test]
    fn a_reader_sees_whole_lines_while_others_write() {
        let memory = Memory::default();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let memory = memory.clone();
                std::thread::spawn(move || (0..20_000).for_each(|n| memory.keep(&format!("w{writer} {n} end\n"))))
            })
            .collect();
        for _ in 0..20 {
            for writer in ["w0 ", "w1 "] {
                for (next, (_, line)) in memory.lines_with(writer).iter().enumerate() {
                    assert_eq!(*line, format!("{writer}{next} end"));
                }
            }
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(memory.lines_with("end").len(), 40_000);
    }
}
