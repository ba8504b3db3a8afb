//! The helper: the process that is started with the server and starts a worker for each component; and the server's end
//! of the pipes to it. It passes on what it is given, and looks at none of it.

use super::frame::{Answer, Order, largest_code};
use super::worker::{self, Event, carry_out};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// Carries out what is ordered on standard input, one order after the other, until it is closed. That is so, too, when the
/// server is killed; a worker that is under way goes with its helper.
///
/// # Errors
/// The answer cannot be given.
pub fn serve() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // It holds compiled code on its way: where memory runs out it goes before the server, and behind its workers.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let (events, heard) = mpsc::channel();
    let orders = events.clone();
    thread::Builder::new().spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(order)) = Order::read(&mut input) {
            if orders.send(Event::Order(order)).is_err() {
                return;
            }
        }
        let _ = orders.send(Event::Closed);
    })?;
    while let Ok(Event::Order(order)) = heard.recv() {
        let Some(answer) = carry_out(order, &heard, &events) else { break };
        answer.write(&mut io::stdout().lock())?;
    }
    Ok(())
}

/// The helper, from the server's side. Dropped, it ends.
#[derive(Debug)]
pub struct Helper(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    child: Child,
    orders: ChildStdin,
    answers: ChildStdout,
}

impl Helper {
    /// Starts it. The sooner the better: it inherits what rights there are.
    ///
    /// # Errors
    /// The system gives no process.
    pub fn start() -> io::Result<Helper> {
        Ok(Helper(Mutex::new(Some(Running::start()?))))
    }

    /// Has an order carried out. Blocking; others wait until it is done. A helper that died is started again.
    ///
    /// # Errors
    /// The system gives no process, or two of them died over it.
    pub fn carry_out(&self, order: &Order) -> io::Result<Answer> {
        let mut running = self.lock();
        if let Some(helper) = &mut *running {
            match helper.ask(order) {
                Ok(answer) => return Ok(answer),
                Err(error) => tracing::warn!(%error, "the process that compiles has ended, it is started again"),
            }
        }
        // Dropping what is left of the old one ends it for certain.
        *running = None;
        let mut helper = Running::start()?;
        let answer = helper.ask(order)?;
        *running = Some(helper);
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start() -> io::Result<Running> {
        let mut command = worker::command()?;
        // What a terminal sends to all it started, the server alone answers.
        let mut child = command.process_group(0).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(answers)) => Ok(Running { child, orders, answers }),
            _ => Err(io::Error::other("a process without pipes")),
        }
    }

    fn ask(&mut self, order: &Order) -> io::Result<Answer> {
        order.write(&mut self.orders)?;
        Answer::read(&mut self.answers, largest_code(order.octets.len()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
