//! The way out: a bounded queue and a thread of its own that writes, so that a pipe nobody reads stops the log and not the
//! mail. What does not fit is dropped and counted, and the count is logged when there is room again.

use super::Shape;
use super::event::{Fields, line};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tracing::Level;

/// Lines that may wait to be written: a second's worth on a busy server, about a mebibyte.
const QUEUE: usize = 4096;
/// Octets that go out in one write, when so much is waiting.
const BATCH: usize = 32 * 1024;

/// Takes lines without ever waiting.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Line(String),
    /// Everything before it is written: say so.
    Mark(SyncSender<()>),
}

impl Sink {
    /// Starts the thread that writes to `out`.
    pub(super) fn new(out: Box<dyn Write + Send>, shape: Shape) -> io::Result<Sink> {
        Sink::holding(QUEUE, out, shape)
    }

    /// Hands a line over, its end included; drops it when the queue is full.
    pub(super) fn send(&self, line: String) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(Item::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything sent so far is written, at most `patience`. Blocks the thread.
    #[expect(clippy::disallowed_methods, reason = "the caller waits for this and nothing else before the process ends")]
    pub(super) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let (written, wait) = sync_channel(1);
        let mut mark = Item::Mark(written);
        // The queue may be full; then there is room soon, or somebody has stopped reading.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(mark) {
            if Instant::now() >= end {
                return;
            }
            mark = back;
            thread::sleep(Duration::from_millis(1));
        }
        let _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }

    fn holding(lines: usize, out: Box<dyn Write + Send>, shape: Shape) -> io::Result<Sink> {
        let (queue, waiting) = sync_channel(lines);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { waiting, out, dropped: Arc::clone(&dropped), shape };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Sink { queue, dropped })
    }
}

struct Writer {
    waiting: Receiver<Item>,
    out: Box<dyn Write + Send>,
    dropped: Arc<AtomicU64>,
    shape: Shape,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let mut batch = String::new();
            let mut mark = None;
            let mut next = Some(first);
            while let Some(item) = next {
                match item {
                    Item::Line(line) => batch.push_str(&line),
                    Item::Mark(written) => {
                        mark = Some(written);
                        break;
                    }
                }
                next = if batch.len() < BATCH { self.waiting.try_recv().ok() } else { None };
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let text = format!("the log was not read fast enough: {dropped} lines are missing here");
                batch.push_str(&line(self.shape.format(), SystemTime::now(), Level::WARN, &Fields::message(text)));
            }
            self.write(batch.as_bytes());
            if let Some(written) = mark {
                let _ = written.try_send(());
            }
        }
    }

    /// Writes all of it. Standard error may be closed, a full disk, or set non-blocking by another process that shares
    /// it; none of that is a reason to stop serving, and there is nobody to tell.
    #[expect(clippy::disallowed_methods, reason = "the thread is the log's own")]
    fn write(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            match self.out.write(octets) {
                Ok(0) => return,
                Ok(count) => octets = octets.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
                Err(_) => return,
            }
        }
        let _ = self.out.flush();
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::observe::Format;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    /// A writer whose text can be looked at.
    #[derive(Clone, Default)]
    pub(in crate::observe) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::observe) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe nobody reads until `open` says so; then it takes an octet or two at a time, with every error that passes.
    struct Stuck {
        entered: Sender<()>,
        open: Receiver<()>,
        writes: u32,
        out: Written,
    }

    impl Write for Stuck {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if self.writes == 0 {
                self.entered.send(()).unwrap();
                self.open.recv().unwrap();
            }
            self.writes += 1;
            match self.writes {
                2 => Err(ErrorKind::Interrupted.into()),
                3 => Err(ErrorKind::WouldBlock.into()),
                _ => self.out.write(octets.get(..2).unwrap_or(octets)),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_nobody_reads_costs_lines_and_no_time() {
        let out = Written::default();
        let (entered, is_entered) = channel();
        let (opener, open) = channel();
        let stuck = Stuck { entered, open, writes: 0, out: out.clone() };
        let sink = Sink::holding(2, Box::new(stuck), Shape::new(Format::Json)).unwrap();
        sink.send("first\n".to_owned());
        is_entered.recv().unwrap();
        for line in ["second\n", "third\n", "lost\n", "lost\n", "lost\n"] {
            sink.send(line.to_owned());
        }
        // Nor does it take longer than it may at the end.
        sink.flush(Duration::from_millis(5));
        opener.send(()).unwrap();
        // Sending again proves nothing before there is room; the count of the lost ones does.
        while !out.text().contains("missing here") {
            thread::yield_now();
        }
        sink.flush(Duration::from_secs(10));
        let text = out.text();
        assert!(text.starts_with("first\nsecond\nthird\n{"), "{text}");
        assert!(text.contains("the log was not read fast enough: 3 lines are missing here"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn a_closed_pipe_harms_nobody() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(ErrorKind::BrokenPipe.into())
            }
        }
        let sink = Sink::new(Box::new(Closed), Shape::new(Format::Text)).unwrap();
        for _ in 0..100 {
            sink.send("x\n".to_owned());
        }
        sink.flush(Duration::from_secs(10));
        sink.send("x\n".to_owned());
    }
}
