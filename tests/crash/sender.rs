//! Whoever sends: numbered messages, and what was said to each.

use super::ledger::Ledger;
use pillarbox_tests::Wire;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// What a message's end of data was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 250, with the id.
    Acknowledged(String),
    /// Something else, before or after the content.
    Refused(String),
    /// Nothing: the connection broke, and nobody knows.
    Nothing,
}

/// A connection.
#[derive(Debug)]
pub struct Sender(Wire);

impl Sender {
    /// None where there is no server.
    pub fn connect(address: SocketAddr) -> Option<Sender> {
        let mut sender = Sender(Wire::connect(address, None).ok()?);
        sender.reply()?.starts_with("220").then_some(())?;
        sender.say("EHLO client.example.test\r\n")?.starts_with("250").then_some(sender)
    }

    /// Sends the message of this number.
    pub fn send(&mut self, number: u64) -> Answer {
        self.send_to(number, RECIPIENTS)
    }

    /// Sends it to others.
    pub fn send_to(&mut self, number: u64, recipients: &[&str]) -> Answer {
        let mut commands = vec!["MAIL FROM:<a@client.test>\r\n".to_owned()];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
        commands.push("DATA\r\n".to_owned());
        for command in commands {
            match self.say(&command) {
                Some(reply) if reply.starts_with(['2', '3']) => {}
                Some(reply) => {
                    let _ = self.say("RSET\r\n");
                    return Answer::Refused(reply);
                }
                None => return Answer::Nothing,
            }
        }
        match self.say(&format!("{}.\r\n", content(number))) {
            Some(reply) => match reply.strip_prefix("250 2.0.0 OK ") {
                Some(id) => Answer::Acknowledged(id.to_owned()),
                None => Answer::Refused(reply),
            },
            None => Answer::Nothing,
        }
    }

    /// Sends a command and reads the last line of the reply.
    pub fn say(&mut self, text: &str) -> Option<String> {
        self.0.send(text.as_bytes()).ok()?;
        self.reply()
    }

    fn reply(&mut self) -> Option<String> {
        loop {
            let line = String::from_utf8(self.0.line().ok()?).ok()?;
            if line.as_bytes().get(3) == Some(&b' ') {
                return Some(line);
            }
        }
    }
}

/// Whom messages are for, unless a test says otherwise.
pub const RECIPIENTS: &[&str] = &["b@example.test"];

/// How many send at a time.
const SENDERS: u32 = 8;

/// Some send to these until the server is gone, which `end` sees to after so many answers. What was said to each message
/// goes into the ledger.
pub fn under_load<T>(
    address: SocketAddr,
    recipients: &[&str],
    serial: &AtomicU64,
    answers: usize,
    ledger: &mut Ledger,
    end: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        let (told, said) = mpsc::channel();
        for _ in 0..SENDERS {
            let told = told.clone();
            scope.spawn(move || send_until_it_ends(address, recipients, serial, &told));
        }
        drop(told);
        said.iter().take(answers).for_each(|(number, answer)| ledger.note(number, answer));
        let ended = end();
        said.iter().for_each(|(number, answer)| ledger.note(number, answer));
        ended
    })
}

/// Sends one message after the other to these until the server is gone, and tells what was said to each.
fn send_until_it_ends(
    address: SocketAddr,
    recipients: &[&str],
    serial: &AtomicU64,
    told: &mpsc::Sender<(u64, Answer)>,
) {
    let Some(mut sender) = Sender::connect(address) else { return };
    loop {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        let answer = sender.send_to(number, recipients);
        let ended = answer == Answer::Nothing;
        if told.send((number, answer)).is_err() || ended {
            return;
        }
    }
}

/// The content of a message: some are small, some lie in a file before they are complete. None has a line that begins with
/// a dot.
pub fn content(number: u64) -> String {
    let filler = "filling line\r\n".repeat(if number % 5 == 4 { 8_000 } else { 3 });
    format!("Subject: {number}\r\n\r\n{filler}end of {number}\r\n")
}
