//! A worker: the process that compiles one component, under limits it puts on itself before it looks at it; and what its
//! end says to whoever started it. It does not know what the code is for.

use super::COMMAND;
use super::frame::{Answer, Fault, Order, largest_code, printable};
use crate::config::Compile;
use crate::extension::engine;
use rustix::process::{self, Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The word that makes a worker of [`COMMAND`].
const WORKER: &str = "--worker";
/// How much of a worker's last words is kept, in octets.
const LAST_WORDS: u64 = 16 << 10;
/// How far a worker steps back behind those who serve. Not to the end: on a machine that is always busy it would never come
/// to its end, and no reload with it.
const NICE: i32 = 5;
/// Processors that are left to those who serve.
const LEFT: usize = 1;

/// Carries out the one order that comes on standard input.
///
/// # Errors
/// Nobody ordered anything or listens, or the system lets no limit be set.
pub fn work() -> io::Result<()> {
    // If whoever started this process ends, nobody waits for it.
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let Some(order) = Order::read(&mut io::stdin().lock())? else { return Ok(()) };
    // Where the machine has less memory than the limit allows, this is the process that is to go. proc_pid_oom_score_adj(5).
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    if order.meanwhile {
        process::nice(NICE)?;
    }
    restrict(&order.limits)?;
    let compiled = engine::for_compiling().and_then(|engine| engine.precompile_component(&order.octets));
    let answer = match compiled {
        Ok(code) => Answer::Code(code),
        Err(error) => {
            let words = error.root_cause().to_string();
            match words.contains("os error 12") {
                true => Answer::Fault(Fault::Memory),
                false => Answer::Fault(Fault::Component(printable(&words))),
            }
        }
    };
    answer.write(&mut io::stdout().lock())
}

/// Everything this process may take from now on.
fn restrict(limits: &Compile) -> io::Result<()> {
    let cpu = limits.cpu.as_secs().max(1);
    // At the first the process gets SIGXCPU, by which its end is told from others.
    limit(Resource::Cpu, cpu, cpu.saturating_add(2))?;
    // Not the address space: threads reserve more of that than they ever use.
    limit(Resource::Data, limits.memory, limits.memory)?;
    // It writes to a pipe and nowhere else, and a core would hold the component.
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Core, 0, 0)
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    // What is narrower already stays so; to widen it takes a right.
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    setrlimit(resource, Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) })?;
    Ok(())
}

/// What whoever waits for a worker hears.
#[derive(Debug)]
pub enum Event {
    /// The next order.
    Order(Order),
    /// There will be no more.
    Closed,
    /// The worker answered, or ended without.
    Done(io::Result<Answer>),
}

/// Starts a worker for this order and waits for its answer, on whose end `events` tells by `done`. None when there is
/// nobody any more to tell it: the worker is gone then, too.
pub fn carry_out(order: Order, events: &Receiver<Event>, done: &Sender<Event>) -> Option<Answer> {
    let limits = order.limits;
    let started = Instant::now();
    let mut child = match start(order, done) {
        Ok(child) => child,
        Err(error) => return Some(Answer::Fault(Fault::BrokenOff(format!("it could not be started: {error}")))),
    };
    let last_words = child.stderr.take().and_then(listen);
    let left = || limits.wall.checked_sub(started.elapsed()).unwrap_or_default();
    let answer = match events.recv_timeout(left()) {
        Ok(Event::Done(Ok(answer))) => Some(answer),
        Ok(Event::Done(Err(error))) if error.kind() == ErrorKind::FileTooLarge => Some(Answer::Fault(Fault::Code)),
        Ok(Event::Done(Err(error))) => {
            let status = ended_within(&mut child, left());
            let said = last_words.and_then(|thread| thread.join().ok()).unwrap_or_default();
            return Some(Answer::Fault(fault(status, &said, &error)));
        }
        Err(RecvTimeoutError::Timeout) => {
            end(&mut child);
            // Its reader ends with it, and must not be heard by whoever waits for the next.
            while !matches!(events.recv(), Ok(Event::Done(_)) | Err(_)) {}
            return Some(Answer::Fault(Fault::Wall));
        }
        // Nobody orders twice at a time.
        Ok(Event::Closed | Event::Order(_)) | Err(RecvTimeoutError::Disconnected) => None,
    };
    end(&mut child);
    answer
}

/// This binary, as it was started, for a part of the work.
pub fn command() -> io::Result<Command> {
    // The link leads to what runs, also when an upgrade put another binary in its place.
    let link = Path::new("/proc/self/exe");
    let program = if link.exists() { link.to_path_buf() } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    command.arg0(env!("CARGO_PKG_NAME")).arg(COMMAND).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

fn start(order: Order, done: &Sender<Event>) -> io::Result<Child> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut command = command()?;
    command.arg(WORKER).stderr(Stdio::piped());
    command.env("RAYON_NUM_THREADS", processors.saturating_sub(LEFT).max(1).to_string());
    let mut child = command.spawn()?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else { return Ok(child) };
    let most = largest_code(order.octets.len());
    let done = done.clone();
    let threads = thread::Builder::new()
        // One that ends early takes no more; why, its answer says.
        .spawn(move || order.write(&mut input))
        .and_then(|_| thread::Builder::new().spawn(move || done.send(Event::Done(Answer::read(&mut output, most)))));
    if let Err(error) = threads {
        end(&mut child);
        return Err(error);
    }
    Ok(child)
}

fn listen(stderr: impl Read + Send + 'static) -> Option<thread::JoinHandle<String>> {
    let listener = move || {
        let (mut kept, mut stderr) = (Vec::new(), stderr);
        let _ = stderr.by_ref().take(LAST_WORDS).read_to_end(&mut kept);
        let _ = io::copy(&mut stderr, &mut io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    };
    thread::Builder::new().spawn(listener).ok()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// How it ended, by itself or in the end by us.
fn ended_within(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < patience {
        match child.try_wait() {
            Ok(None) => thread::park_timeout(Duration::from_millis(2)),
            Ok(status) => return status,
            Err(_) => break,
        }
    }
    end(child);
    None
}

/// What the end of a worker without an answer says.
fn fault(status: Option<ExitStatus>, said: &str, error: &io::Error) -> Fault {
    // What Rust says when there is no memory, before it aborts.
    if said.contains("memory allocation of") || said.contains("os error 12") {
        return Fault::Memory;
    }
    let Some(status) = status else { return Fault::Wall };
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) if signal == Signal::XCPU.as_raw() => return Fault::Cpu,
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(0)) => error.to_string(),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    };
    let words = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let words: String = printable(words).chars().take(200).collect();
    Fault::BrokenOff(if words.is_empty() { how } else { format!("{how}: {words}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_its_cause() {
        let error = io::Error::from(ErrorKind::UnexpectedEof);
        let broken = |text: &str| Fault::BrokenOff(text.to_owned());
        let code = |code: i32| Some(ExitStatus::from_raw(code << 8));
        for (status, said, expected) in [
            (Some(ExitStatus::from_raw(24)), "", Fault::Cpu),
            (Some(ExitStatus::from_raw(6)), "memory allocation of 8 bytes failed\n", Fault::Memory),
            (code(101), "mmap: Cannot allocate memory (os error 12)", Fault::Memory),
            (Some(ExitStatus::from_raw(11)), "", broken("signal 11")),
            (Some(ExitStatus::from_raw(6)), "\nthread 'main' has overflowed its stack\nfatal\n", {
                broken("signal 6: thread 'main' has overflowed its stack")
            }),
            (code(101), "a\u{7}b", broken("exit code 101: a b")),
            (code(0), "", broken("unexpected end of file")),
            (None, "", Fault::Wall),
        ] {
            assert_eq!(fault(status, said, &error), expected, "{status:?} {said:?}");
        }
    }
}
