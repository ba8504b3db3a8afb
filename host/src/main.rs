//! The binary `pillarbox`: reads the command line, does what it says, and turns what happened into an exit code.

mod inquiry;

use pillarbox::cli::{
    CheckArgs, Cli, Command, ConfigChoice, ExitCode, ExtensionCommand, QuarantineCommand, ServerArgs, UserCommand,
};
use pillarbox::control::{self, AskError, Order, Request, Response};
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
        Command::Quarantine(command) => quarantine(command),
        Command::Queue(command) => inquiry::queue(&command).unwrap_or_else(|code| code),
        Command::Story(args) => inquiry::story(&args).unwrap_or_else(|code| code),
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
    run::descriptors::raise();
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
    let response = match send(server, &request) {
        Ok(response) => response,
        Err(code) => return code,
    };
    match response {
        Response::Done(text) => say(&format!("{text}\n")),
        Response::Status(status) if json => {
            say(&format!("{}\n", serde_json::to_string_pretty(&status).unwrap_or_default()))
        }
        Response::Status(status) => say(&status.to_string()),
        Response::Refused(text) => {
            eprintln!("{text}");
            ExitCode::Refused
        }
        other => unexpected(other),
    }
}

/// What the server answers, or how this ends without an answer.
fn send(server: &ServerArgs, request: &Request) -> Result<Response, ExitCode> {
    let socket = match &server.socket {
        Some(socket) => socket.clone(),
        None => run::control_socket(&server.choose()).map_err(|error| complain(&error, ExitCode::Refused))?,
    };
    control::ask(&socket, request).map_err(|error| match error {
        AskError::NoServer { .. } => complain(&error, ExitCode::NoServer),
        error => complain(&error, ExitCode::Failure),
    })
}

fn quarantine(command: QuarantineCommand) -> ExitCode {
    match command {
        QuarantineCommand::List { json, server } => list(&server, json).unwrap_or_else(|code| code),
        QuarantineCommand::Show { id, raw, server } => show(&server, &id, raw).unwrap_or_else(|code| code),
        QuarantineCommand::Release { ids, server } => each(&server, ids, |id| Order::Release { id }),
        QuarantineCommand::Delete { ids, server } => each(&server, ids, |id| Order::Delete { id }),
    }
}

/// All of it, however many answers that takes.
fn list(server: &ServerArgs, json: bool) -> Result<ExitCode, ExitCode> {
    let mut all = control::Shelf::default();
    loop {
        let after = all.messages.last().map(|kept| kept.id.clone());
        match send(server, &Request::Quarantine(Order::List { after }))? {
            Response::Shelf(shelf) => {
                all.more = shelf.more && !shelf.messages.is_empty();
                all.messages.extend(shelf.messages);
            }
            other => return Err(unexpected(other)),
        }
        if !all.more {
            break;
        }
    }
    Ok(match json {
        true => say(&format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default())),
        false => say(&all.to_string()),
    })
}

fn show(server: &ServerArgs, id: &str, raw: bool) -> Result<ExitCode, ExitCode> {
    let mut octets = Vec::new();
    loop {
        let offset = octets.len() as u64;
        let shown = match send(server, &Request::Quarantine(Order::Show { id: id.to_owned(), offset }))? {
            Response::Shown(shown) => shown,
            other => return Err(unexpected(other)),
        };
        let more = shown.octets().ok_or_else(|| complain(&AskError::Garbled, ExitCode::Failure))?;
        octets.extend(&more);
        if more.is_empty() || octets.len() as u64 >= shown.message.size {
            return Ok(match raw {
                true => put(&octets),
                false => say(&format!("{shown}\n{}", control::page(&octets))),
            });
        }
    }
}

/// What can be done is done; the worst of what happened is how it ends.
fn each(server: &ServerArgs, ids: Vec<String>, order: impl Fn(String) -> Order) -> ExitCode {
    let codes = ids.into_iter().map(|id| ask(server, Request::Quarantine(order(id)), false));
    codes.max_by_key(|code| code.number()).unwrap_or(ExitCode::Success)
}

fn unexpected(response: Response) -> ExitCode {
    match response {
        Response::Refused(text) => {
            eprintln!("{text}");
            ExitCode::Refused
        }
        _ => complain(&AskError::Garbled, ExitCode::Failure),
    }
}

fn with_runtime(task: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(task),
        Err(error) => complain(&error, ExitCode::Failure),
    }
}

fn say_json(value: &impl serde::Serialize) -> ExitCode {
    say(&format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default()))
}

fn say(text: &str) -> ExitCode {
    put(text.as_bytes())
}

fn put(octets: &[u8]) -> ExitCode {
    use std::io::Write;
    let mut output = std::io::stdout();
    match output.write_all(octets).and_then(|()| output.flush()) {
        // A reader that went away early (`| head`) is no failure of ours.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("cannot write the output: {error}");
            ExitCode::Failure
        }
        _ => ExitCode::Success,
    }
}

fn complain(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("{}", observe::chain(error));
    code
}
