//! The events of one message or one session, picked out of a log.
//!
//! A message's id begins with its session's and a dot, and so do the ids of copies and notices made of it. Which events
//! belong together is told by the names of their fields alone; what they mean is not known here. What a peer said is a
//! value of other fields, and puts no event into a story that it has no part in.

use super::told::Told;
use std::collections::BTreeSet;
use std::io::{self, BufRead};

/// Fields that name a message: the one an event is about, and others it was made of or led to.
const NAMES: [&str; 4] = ["id", "original", "notice", "notice_of"];
/// The field that names several messages that have nothing else in common.
const SEVERAL: &str = "ids";

/// Octets of lines that are looked at for one story; a session that says more has its story cut short.
const MOST: usize = 64 << 20;

/// Octets of a line, beyond which it is none of ours: the longest event has some kilobytes.
const LINE: usize = 64 * 1024;

impl Told {
    /// Whether it names this message.
    pub fn is_about(&self, id: &str) -> bool {
        named(self).any(|name| name == id)
    }
}

/// Picks one story out of lines.
#[derive(Debug)]
pub struct Story {
    id: String,
    /// The lines that may belong to it.
    events: Vec<(u64, Told)>,
    octets: usize,
    cut: bool,
}

impl Story {
    /// Begins the story of a message or a session.
    pub fn of(id: &str) -> Story {
        Story { id: id.to_owned(), events: Vec::new(), octets: 0, cut: false }
    }

    /// What each of its lines contains: the session's id.
    pub fn root(&self) -> &str {
        root(&self.id)
    }

    /// Looks at a line, with its number.
    pub fn hear(&mut self, number: u64, line: &str) {
        if !line.contains(self.root()) {
            return;
        }
        if self.octets.saturating_add(line.len()) > MOST {
            self.cut = true;
            return;
        }
        let Some(event) = Told::read(line) else { return };
        self.octets += line.len();
        self.events.push((number, event));
    }

    /// Looks at each line of a log, in memory that is bounded whatever it holds.
    ///
    /// # Errors
    /// It cannot be read to its end.
    pub fn read(&mut self, mut log: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            let piece = log.fill_buf()?;
            if piece.is_empty() {
                self.hear(self.next(), &String::from_utf8_lossy(&line));
                return Ok(());
            }
            let end = piece.iter().position(|octet| *octet == b'\n');
            let taken = end.map_or(piece.len(), |end| end.saturating_add(1));
            let room = LINE.saturating_sub(line.len());
            line.extend(piece.iter().take(taken.min(room)));
            log.consume(taken);
            if end.is_some() {
                self.hear(self.next(), &String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }

    fn next(&self) -> u64 {
        u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    /// Whether there was too much of it.
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    /// Its events in order, with their numbers.
    ///
    /// Of a session all that names it or one of its messages. Of a message what names it, or a copy or notice that has to
    /// do with it, and what the session did besides: the connection, TLS, logins, refusals.
    pub fn end(self) -> Vec<(u64, Told)> {
        let Story { id, mut events, .. } = self;
        let session = root(&id).to_owned();
        if session == id {
            events.retain(|(_, event)| is_of(event, &session) || named(event).any(|name| root(name) == session));
            return events;
        }
        let mut meant = BTreeSet::from([id]);
        // A copy may be named together with the message after it was spoken of alone.
        loop {
            let known = meant.len();
            for (_, event) in &events {
                if related(event).any(|name| meant.contains(name)) {
                    meant.extend(related(event).filter(|name| root(name) == session).map(str::to_owned));
                }
            }
            if meant.len() == known {
                break;
            }
        }
        events.retain(|(_, event)| match named(event).next() {
            Some(_) => named(event).any(|name| meant.contains(name)),
            None => is_of(event, &session),
        });
        events
    }
}

/// The session's part of an id.
fn root(id: &str) -> &str {
    id.split('.').next().unwrap_or_default()
}

fn is_of(event: &Told, session: &str) -> bool {
    event.field("session") == Some(session)
}

/// All messages an event names.
fn named(event: &Told) -> impl Iterator<Item = &str> {
    let several = event.field(SEVERAL).unwrap_or_default().split(' ').filter(|id| !id.is_empty());
    related(event).chain(several)
}

/// The messages it is about.
fn related(event: &Told) -> impl Iterator<Item = &str> {
    NAMES.iter().filter_map(|name| event.field(name)).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOG: &[&str] = &[
        "2026-11-22T16:00:00.000Z  INFO session opened session=S peer=192.0.2.1:4",
        "2026-11-22T16:00:00.000Z  INFO session opened session=T peer=192.0.2.2:4",
        "2026-11-22T16:00:00.001Z  INFO tls started session=S",
        "no line of the log that says S",
        "2026-11-22T16:00:00.002Z  INFO message accepted session=S id=S.1",
        "2026-11-22T16:00:00.003Z  INFO message quarantined session=S id=S.3 original=S.2",
        "2026-11-22T16:00:00.004Z  INFO message accepted session=S id=S.2",
        "2026-11-22T16:00:00.005Z  INFO refused session=T helo=S.2 reply=\"550 session=S id=S.2\"",
        "2026-11-22T16:00:00.006Z  INFO delivered session=S id=S.1",
        "2026-11-22T16:00:00.007Z  INFO notice sent session=S id=S.1 notice=S.1.f-1",
        "2026-11-22T16:00:00.008Z  INFO session ended session=S",
        "2026-11-22T16:00:00.009Z  INFO message released id=S.3",
        "2026-11-22T16:00:00.010Z  INFO delivered session=S id=S.1.f-1",
        "2026-11-22T16:00:00.011Z  WARN put off together ids=\"S.2 T.1 S.11\"",
        "2026-11-22T16:00:00.012Z  INFO delivered session=S id=S.11",
    ];

    fn story(id: &str) -> Vec<u64> {
        let mut story = Story::of(id);
        (0..).zip(LOG).for_each(|(number, line)| story.hear(number, line));
        story.end().into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn what_belongs_to_it_and_nothing_else() {
        for (id, lines) in [
            ("S.1", vec![0, 2, 4, 8, 9, 10, 12]),
            ("S.1.f-1", vec![0, 2, 4, 8, 9, 10, 12]),
            // With the copy that was kept aside, and with what an event says of several.
            ("S.2", vec![0, 2, 5, 6, 10, 11, 13]),
            ("S", vec![0, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]),
            ("T", vec![1, 7, 13]),
            ("T.1", vec![1, 7, 13]),
            ("U.1", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(story(id), lines, "{id}");
        }
    }

    #[test]
    fn a_log_is_read_whatever_it_holds() {
        let mut log = LOG.join("\n").into_bytes();
        log.extend(b"\n\xff\xfe session=S id=S.1\n\n");
        log.extend("x".repeat(3 * LINE).into_bytes());
        log.extend(b"\n2026-11-22T16:00:00.013Z  INFO last session=S");
        for size in [1, 7, 1 << 20] {
            let mut story = Story::of("S.1");
            story.read(io::BufReader::with_capacity(size, &*log)).unwrap();
            let events = story.end();
            assert_eq!(events.len(), 8);
            assert_eq!(events.last().unwrap().1.message, "last");
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut story = Story::of("S");
        let line = format!("2026-11-22T16:00:00.000Z  INFO x session=S a={}", "a".repeat(1 << 20));
        (0..70).for_each(|number| story.hear(number, &line));
        assert!(story.was_cut());
        assert!((60..64).contains(&story.end().len()));
    }
}
