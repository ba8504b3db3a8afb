//! What was promised, and whether it was kept.

use super::sender::{Answer, Sender, content};
use pillarbox_tests::sink::Sink;
use pillarbox_tests::{PATIENCE, Server, Site};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Numbers of messages, by what their sender was told.
#[derive(Debug, Default)]
pub struct Ledger {
    next: u64,
    acknowledged: BTreeMap<u64, String>,
    refused: BTreeSet<u64>,
    unanswered: BTreeSet<u64>,
}

impl Ledger {
    /// A number that no message had.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Notes what became of one.
    pub fn note(&mut self, number: u64, answer: Answer) {
        self.next = self.next.max(number);
        match answer {
            Answer::Acknowledged(id) => drop(self.acknowledged.insert(number, id)),
            Answer::Refused(reply) => {
                assert!(reply.starts_with('4'), "{number}: {reply}");
                self.refused.insert(number);
            }
            Answer::Nothing => drop(self.unanswered.insert(number)),
        }
    }

    /// Sends one more over this connection.
    pub fn send(&mut self, sender: &mut Sender) -> Answer {
        let number = self.number();
        let answer = sender.send(number);
        self.note(number, answer.clone());
        answer
    }

    /// Sends one more to these recipients.
    pub fn send_to(&mut self, sender: &mut Sender, recipients: &[&str]) -> Answer {
        let number = self.number();
        let answer = sender.send_to(number, recipients);
        self.note(number, answer.clone());
        answer
    }

    /// The numbers of what was acknowledged.
    pub fn promised(&self) -> impl Iterator<Item = u64> {
        self.acknowledged.keys().copied()
    }

    /// How many were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Waits until nothing waits in the spool, and compares what lies in the Maildir with what was promised.
    #[track_caller]
    pub fn settle(&self, server: &Server, site: &Site, maildir: &Path) {
        Ledger::drain(server, site);
        self.compare(maildir);
    }

    /// Waits until nothing waits in the spool.
    #[track_caller]
    pub fn drain(server: &Server, site: &Site) {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let waiting = waiting(&site.path("state"));
            if waiting.is_empty() {
                break;
            }
            let log = server.log().lines().join("\n");
            assert!(Instant::now() < deadline, "still in the spool: {waiting:?}\n{log}");
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
    }

    /// Insists that a sink has what was promised, and answers how many messages it has once more than it should: that is
    /// for the test to judge.
    #[track_caller]
    pub fn compare_sink(&self, sink: &Sink) -> usize {
        let mut copies: BTreeMap<u64, usize> = BTreeMap::new();
        let mut broken = Vec::new();
        for taken in sink.taken() {
            let text = String::from_utf8(taken.content).expect("what was sent is text");
            let number = text.lines().find_map(|line| line.strip_prefix("Subject: "));
            let number: u64 = number.and_then(|number| number.parse().ok()).unwrap_or(0);
            if text.find("Subject: ").map(|at| &text[at..]) != Some(&*content(number)) {
                broken.push(format!("message {number} is not as it was sent: {text}"));
            }
            *copies.entry(number).or_default() += 1;
        }
        for (number, id) in &self.acknowledged {
            if !copies.contains_key(number) {
                broken.push(format!("message {number} ({id}) was acknowledged, and is not there"));
            }
        }
        for number in copies.keys() {
            if !self.acknowledged.contains_key(number) && !self.unanswered.contains(number) {
                broken.push(format!("message {number} was refused or is nobody's, and is there"));
            }
        }
        assert!(broken.is_empty(), "{broken:#?}");
        copies.values().map(|count| count - 1).sum()
    }

    /// Insists that all is as was promised.
    #[track_caller]
    pub fn compare(&self, maildir: &Path) {
        let broken = self.broken(maildir);
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// What is not as was promised: nothing acknowledged is missing or changed, nothing refused is there, and what nobody
    /// was told of is there once or not.
    pub fn broken(&self, maildir: &Path) -> Vec<String> {
        let mut broken = Vec::new();
        let delivered = delivered(maildir);
        for (number, id) in &self.acknowledged {
            if !delivered.contains_key(number) {
                broken.push(format!("message {number} ({id}) was acknowledged, and is not there"));
            }
        }
        for (number, copies) in &delivered {
            if self.refused.contains(number) {
                broken.push(format!("message {number} was refused, and is there: {copies:?}"));
            } else if !self.acknowledged.contains_key(number) && !self.unanswered.contains(number) {
                broken.push(format!("message {number} is nobody's: {copies:?}"));
            }
            if copies.len() != 1 {
                broken.push(format!("message {number} is there more than once: {copies:?}"));
            }
            for copy in copies {
                let text = fs::read_to_string(copy).unwrap();
                let body = text.find("Subject: ").map(|at| &text[at..]);
                if body != Some(&*content(*number).replace("\r\n", "\n")) {
                    broken.push(format!("message {number} is not as it was sent: {copy:?}"));
                }
            }
        }
        broken
    }
}

/// What lies in the spool below a state directory and is to leave it: messages, logs, drafts.
pub fn waiting(state: &Path) -> Vec<PathBuf> {
    let list = |name: &str| fs::read_dir(state.join("spool").join(name)).into_iter().flatten().flatten();
    list("queue").chain(list("incoming")).map(|entry| entry.path()).collect()
}

/// The messages of a Maildir by their numbers.
fn delivered(maildir: &Path) -> BTreeMap<u64, Vec<PathBuf>> {
    let mut found: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(maildir.join("new")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let number = text.lines().find_map(|line| line.strip_prefix("Subject: ")).map(|number| number.parse().unwrap());
        // Half a message is message 0, which nobody sent.
        found.entry(number.unwrap_or(0)).or_default().push(entry.path());
    }
    found
}
