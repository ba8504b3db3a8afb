//! The binary `pillarbox`: reads the command line, does what it says, and turns what happened into an exit code.

use pillarbox::cli::{CheckArgs, Cli, Command, ConfigChoice, ExitCode, ExtensionCommand, ServerArgs, UserCommand};
use pillarbox::control::{self, AskError, Request, Response};
use pillarbox::{observe, report, run, user};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn main() -> ExitCode {
    let cli = Cli::from_command_line(pillarbox::extension::RUNTIME);
    match cli.command {
        Command::Serve(args) => serve(args.choose()),
        Command::Check(args) => check(&args),
        Command::Extension(ExtensionCommand::Inspect { file }) => inspect(&file),
        Command::User(command) => edit_users(&command),
        Command::Reload(server) => ask(&server, Request::Reload, false),
        Command::Rollback(server) => ask(&server, Request::Rollback, false),
        Command::Status { server, json } => ask(&server, Request::Status, json),
        Command::CompileComponents { worker } => match pillarbox::extension::compile_components(worker) {
            Ok(()) => ExitCode::Success,
            Err(error) => complain(&error, ExitCode::Failure),
        },
    }
}

fn serve(choice: ConfigChoice) -> ExitCode {
    // Read once for how to log, and again by the server, which then logs what is wrong with it.
    let config = match run::read(&choice) {
        Ok(config) => config,
        Err(error) => return complain(&error, ExitCode::CannotServe),
    };
    let logging = match observe::start(run::level(&config), run::format(&config)) {
        Ok(logging) => logging,
        Err(error) => return complain(&error, ExitCode::Failure),
    };
    with_runtime(async {
        match run::serve(choice, Some(logging)).await {
            Ok(()) => ExitCode::Success,
            Err(error) => complain(&error, ExitCode::CannotServe),
        }
    })
}

fn check(args: &CheckArgs) -> ExitCode {
    with_runtime(async {
        match report::check(args).await {
            Ok(text) => say(&text),
            Err(error) => complain(&*error, ExitCode::Refused),
        }
    })
}

fn inspect(file: &Path) -> ExitCode {
    with_runtime(async {
        match report::inspect(file).await {
            Ok(text) => say(&text),
            Err(error) => complain(&*error, ExitCode::Refused),
        }
    })
}

fn edit_users(command: &UserCommand) -> ExitCode {
    let file = match &command.users().file {
        Some(file) => file.clone(),
        None => match users_files(&command.users().choose()).map(user::only) {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => return complain(&error, ExitCode::Refused),
            Err(error) => return complain(&error, ExitCode::Refused),
        },
    };
    match user::carry_out(command, &file) {
        Ok(text) => say(&text),
        Err(error) => complain(&error, error.exit_code()),
    }
}

/// The files that `auth.users` of this configuration's listeners names.
fn users_files(choice: &ConfigChoice) -> Result<BTreeSet<PathBuf>, run::Refused> {
    run::read(choice).map(|config| config.listeners.values().filter_map(|it| it.auth.users.clone()).collect())
}

fn ask(server: &ServerArgs, request: Request, json: bool) -> ExitCode {
    let socket = match &server.socket {
        Some(socket) => socket.clone(),
        None => match run::control_socket(&server.choose()) {
            Ok(socket) => socket,
            Err(error) => return complain(&error, ExitCode::Refused),
        },
    };
    match control::ask(&socket, request) {
        Ok(Response::Done(text)) => say(&format!("{text}\n")),
        Ok(Response::Status(status)) if json => {
            say(&format!("{}\n", serde_json::to_string_pretty(&status).unwrap_or_default()))
        }
        Ok(Response::Status(status)) => say(&status.to_string()),
        Ok(Response::Refused(text)) => {
            eprintln!("{text}");
            ExitCode::Refused
        }
        Err(error @ AskError::NoServer { .. }) => complain(&error, ExitCode::NoServer),
        Err(error) => complain(&error, ExitCode::Failure),
    }
}

fn with_runtime(task: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(task),
        Err(error) => complain(&error, ExitCode::Failure),
    }
}

fn say(text: &str) -> ExitCode {
    use std::io::Write;
    // A reader that went away early (`| head`) is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::Success
}

fn complain(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("{}", observe::chain(error));
    code
}
