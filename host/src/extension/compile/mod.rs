//! Compiling apart from serving: a component goes to a process that may take so much and no more, and compiled code comes
//! back. A component that costs the compiler its life, or forever, costs a reload and nothing else.
//!
//! ```text
//! server --- helper, started with the server --- a worker for each component
//! check, inspect ------------------------------- a worker for each component
//! ```
//!
//! All three are this binary. What they compiled is kept in `cache`. What a component is good for, nobody here knows.

mod cache;
mod frame;
mod helper;
mod worker;

pub use cache::{Access, Cache, Key};
pub use frame::{Fault, largest_code};
pub use helper::Helper;

use super::precompiled::Code;
use crate::config::Compile;
use frame::{Answer, Order};
use std::io;
use std::sync::mpsc;

/// The command of the binary that makes a process for compiling of it.
pub const COMMAND: &str = "compile-components";

/// What [`COMMAND`] does: it helps, or works.
///
/// # Errors
/// Whoever started it went away, or did not start it as it should.
pub fn run(worker: bool) -> io::Result<()> {
    match worker {
        true => worker::work(),
        false => helper::serve(),
    }
}

/// Where components are compiled.
#[derive(Debug)]
pub enum Workshop {
    /// By workers of a helper.
    Helper(Helper),
    /// By workers of this process.
    #[cfg_attr(test, allow(dead_code, reason = "see the next"))]
    Direct,
    /// In this process: the tests of this crate are not the binary that could be a worker.
    #[cfg(test)]
    Here,
}

impl Workshop {
    /// Compiles a component; `meanwhile` somebody may be served, behind whom this steps back. Blocking.
    ///
    /// # Errors
    /// There is no code, and why.
    pub fn compile(&self, octets: Vec<u8>, limits: Compile, meanwhile: bool) -> Result<Code, Fault> {
        let order = Order { limits, meanwhile, octets };
        let answer = match self {
            Workshop::Helper(helper) => helper.carry_out(&order),
            Workshop::Direct => {
                let (done, events) = mpsc::channel();
                worker::carry_out(order, &events, &done).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
            }
            #[cfg(test)]
            Workshop::Here => Ok(here(&order)),
        };
        match answer {
            Ok(Answer::Code(code)) => Ok(Code::made(code)),
            Ok(Answer::Fault(fault)) => Err(fault),
            Err(error) => Err(Fault::BrokenOff(error.to_string())),
        }
    }
}

impl Fault {
    /// What the operator is told. What a key could change names it.
    pub fn words(&self, limits: &Compile) -> String {
        match self {
            Fault::Component(text) => format!("the component cannot be compiled: {text}"),
            Fault::Cpu => {
                format!("compiling took more than {} of CPU time (`server.compile.cpu`)", limits.shown_cpu())
            }
            Fault::Wall => format!("compiling took longer than {} (`server.compile.wall`)", limits.shown_wall()),
            Fault::Memory => {
                format!("compiling took more than {} of memory (`server.compile.memory`)", limits.shown_memory())
            }
            Fault::Code => "the compiled code is larger than 6 times the component and 16 MiB".to_owned(),
            Fault::BrokenOff(how) => format!("the compiler broke off ({how})"),
        }
    }
}

#[cfg(test)]
fn here(order: &Order) -> Answer {
    match super::engine::for_compiling().and_then(|engine| engine.precompile_component(&order.octets)) {
        Ok(code) => Answer::Code(code),
        Err(error) => Answer::Fault(Fault::Component(frame::printable(&error.root_cause().to_string()))),
    }
}
