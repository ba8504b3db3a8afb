//! `cargo xtask`: everything one does with this repository, the same on a laptop and in CI.
//!
//! It knows Cargo, the two ways to a compiler for guests, and where things are put. It knows nothing of SMTP or of what
//! a component does: the crates it builds and runs do.

mod apt;
mod arguments;
mod bench;
mod ci;
mod clients;
mod crash;
mod dist;
mod fuzz;
mod guests;
mod host;
mod scripts;
mod shell;
mod test;
mod tidy;
mod toolchain;
mod wit;
mod workspace;
mod world;

use std::process::ExitCode;

use anyhow::Result;

use arguments::Task;
use workspace::Workspace;

fn main() -> ExitCode {
    let task = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(task) => task,
        Err(problem) => {
            eprintln!("xtask: {problem}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match perform(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    if task == Task::Help {
        println!("{}", arguments::USAGE);
        return Ok(());
    }
    let workspace = Workspace::load()?;
    match task {
        Task::Help => Ok(()),
        Task::Build { release } => host::build_all(&workspace, release),
        Task::Guests { scripts } => {
            guests::build(&workspace)?;
            if scripts { scripts::build_all(&workspace) } else { Ok(()) }
        }
        Task::Run { arguments } => host::run(&workspace, &arguments),
        Task::Test { clients, install, arguments } => test::run(&workspace, clients, install, &arguments),
        Task::Crash { extent, arguments } => crash::run(&workspace, &extent, &arguments),
        Task::Component { directory } => scripts::build_one(&workspace, &directory),
        Task::Tidy => tidy::check(&workspace),
        Task::Wit { release } => wit::run(&workspace, release),
        Task::Fuzz { target, seconds } => fuzz::run(&workspace, target.as_deref(), seconds),
        Task::Ci => ci::run(&workspace),
        Task::Bench => bench::run(&workspace),
        Task::Dist => dist::run(&workspace),
    }
}
