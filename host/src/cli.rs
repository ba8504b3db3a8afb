//! The command line: what can be asked of the binary, where the configuration is looked for, and how it ends.
//!
//! It parses and explains, and carries nothing out.

mod quarantine;
mod queue;

pub use quarantine::QuarantineCommand;
pub use queue::{Chosen, OrderArgs, QueueCommand, SelectionArgs};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Termination;
use std::str::FromStr;

/// The variable that names the configuration where `--config` does not.
pub const CONFIG_VARIABLE: &str = "PILLARBOX_CONFIG";
/// Where the configuration is where neither names one.
pub const SYSTEM_CONFIG: &str = "/etc/pillarbox/pillarbox.toml";

/// An SMTP server that receives mail and whose extensions are sandboxed WebAssembly components.
///
/// Pillarbox speaks SMTP and TLS, and keeps what it accepted on disk before it says 250. Policy and protocol extensions
/// are components that can do what a listener grants them and nothing else, and can be replaced while mail flows.
#[derive(Debug, Parser)]
#[command(name = "pillarbox", disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive mail until told to stop
    ///
    /// The first line of the log says which configuration is used. SIGHUP loads it anew, as `pillarbox reload` does.
    /// SIGTERM and SIGINT end the server: it takes no new connections, lets each message that is under way finish, and
    /// leaves; the same signal again ends it at once.
    Serve(ConfigArgs),

    /// Say what is wrong with a configuration, and what it grants to whom
    ///
    /// Finds all that `serve` and `reload` would refuse: the configuration with its certificates, and each component
    /// with what it asks for. Shows each mistake with its line. Where there is none, warns of what is hardly meant, such
    /// as mail that no route takes, and shows which extension is granted what on which listener, or with --peer what
    /// holds for a client. Binds no address and changes nothing.
    Check(CheckArgs),

    /// Work with extensions
    #[command(subcommand)]
    Extension(ExtensionCommand),

    /// Work with a file of users, those who may log in
    #[command(subcommand)]
    User(UserCommand),

    /// Make the running server load its configuration, components and certificates anew
    ///
    /// Waits and says what happened. Sessions go on: each takes up the new configuration before its next message. If
    /// anything is wrong with it, the old one stays in force, and the mistakes are shown.
    Reload(ServerArgs),

    /// Make the running server go back to the generation before the last reload, at once
    ///
    /// Nothing is read or compiled again: configuration, components and settings are as they were; certificates and
    /// users are what their files now hold. It lasts until the next reload or restart, which read the configuration file.
    /// One generation is kept, so there is one step back.
    Rollback(ServerArgs),

    /// Show how the running server is
    ///
    /// Sessions by listener, the generation of the configuration, extensions with their calls, failures and denials,
    /// the queue, and the last reload.
    Status {
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },

    /// Work with messages that were accepted and wait for delivery
    #[command(subcommand)]
    Queue(QueueCommand),

    /// Tell what became of a message or a session, from its connection to its last delivery
    ///
    /// The running server remembers its last events, some 80,000 of them, as far as `log.level` has them logged, and knows
    /// how the message stands if it still has it. What is older is in the log: --log reads a file of it, or several in
    /// their order, in text or JSON, and asks no server.
    Story(StoryArgs),

    /// Work with messages that were kept aside
    #[command(subcommand)]
    Quarantine(QuarantineCommand),

    /// Compile what comes on standard input: the server starts this by itself
    #[command(hide = true)]
    CompileComponents {
        /// One component, under its limits
        #[arg(long)]
        worker: bool,
    },
}

/// What can be done with extensions.
#[derive(Debug, Subcommand)]
pub enum ExtensionCommand {
    /// Show what a component is and what it asks for
    ///
    /// Its digest, the hooks it answers at, the verbs, keywords and parameters it declares, and the capabilities it
    /// needs, as the configuration would grant them.
    Inspect {
        /// The component, a .wasm file
        file: PathBuf,
    },
}

/// Whose story, and out of what.
#[derive(Args, Clone, Debug, Default)]
pub struct StoryArgs {
    /// The id of a message, as the 250 said it, or of a session, which is the part before the dot
    pub id: String,
    /// Read it out of this log, - for standard input; may be given more than once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "socket"])]
    pub log: Vec<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What is checked, and what is shown of it.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Show each rule and limit that holds for a client at this address, with the place it was written at; `unknown` is
    /// the client whose address nobody knows
    #[arg(long, value_name = "ADDR")]
    pub peer: Option<Peer>,
    /// Show that of this listener alone
    #[arg(long, value_name = "NAME", requires = "peer")]
    pub listener: Option<String>,
}

/// A client that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// One whose address is unknown: a proxy did not say it.
    Unknown,
    /// The one at this address.
    Address(IpAddr),
}

impl FromStr for Peer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Peer, &'static str> {
        match text.parse() {
            Ok(address) => Ok(Peer::Address(address)),
            Err(_) if text == "unknown" => Ok(Peer::Unknown),
            Err(_) => Err("write an address, as in 192.0.2.1 or 2001:db8::1, or `unknown`"),
        }
    }
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, or change the password of one
    ///
    /// Asks for the password twice, without showing it; where standard input is no terminal, it is the first line of it.
    /// The file is made if it is not there.
    Add {
        /// The name, as the user gives it to log in
        name: String,
        /// Keep an argon2id hash instead of a SCRAM-SHA-256 verifier: stronger if the file is stolen, and the user can
        /// log in by PLAIN and LOGIN only
        #[arg(long)]
        argon2id: bool,
        /// In which file.
        #[command(flatten)]
        users: UsersArgs,
    },

    /// Show the users, and how the password of each is kept
    List {
        /// Of which file.
        #[command(flatten)]
        users: UsersArgs,
    },

    /// Remove a user
    Remove {
        /// The name
        name: String,
        /// From which file.
        #[command(flatten)]
        users: UsersArgs,
    },
}

/// Which file of users.
#[derive(Args, Clone, Debug, Default)]
pub struct UsersArgs {
    /// The file of users
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The configuration whose `auth.users` names it [default: as for serve]
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration [default: $PILLARBOX_CONFIG, else /etc/pillarbox/pillarbox.toml, else the embedded default]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which running server.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// The configuration the server runs on, in which its state directory is looked up [default: as for serve]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The control socket of the server, instead of the one in that state directory
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
}

/// A configuration that was chosen and not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChoice {
    /// This file, whether or not it can be read.
    File(PathBuf),
    /// The one that is part of the binary.
    Embedded,
}

impl ConfigArgs {
    /// Which configuration that is. What was named must be there; only the system's file may be missing.
    pub fn choose(&self) -> ConfigChoice {
        ConfigChoice::by(self.config.as_deref())
    }
}

impl ServerArgs {
    /// Which configuration says where the server is, unless [`socket`](ServerArgs::socket) does.
    pub fn choose(&self) -> ConfigChoice {
        ConfigChoice::by(self.config.as_deref())
    }
}

impl UserCommand {
    /// Which file it is about.
    pub fn users(&self) -> &UsersArgs {
        match self {
            UserCommand::Add { users, .. } | UserCommand::List { users } | UserCommand::Remove { users, .. } => users,
        }
    }
}

impl UsersArgs {
    /// Which configuration names the file, unless [`file`](UsersArgs::file) does.
    pub fn choose(&self) -> ConfigChoice {
        ConfigChoice::by(self.config.as_deref())
    }
}

impl ConfigChoice {
    fn by(flag: Option<&Path>) -> ConfigChoice {
        choose(flag, std::env::var_os(CONFIG_VARIABLE), Path::new(SYSTEM_CONFIG))
    }
}

impl Cli {
    /// Reads the command line of this process. Help, the version and mistakes are said here, and end the process.
    ///
    /// `runtime` is what `--version` says besides the version: the name and version of the WebAssembly runtime.
    pub fn from_command_line(runtime: &str) -> Cli {
        Cli::read(runtime, std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads `arguments`, the first of which is the program's name.
    ///
    /// # Errors
    /// Help, the version or a mistake, as clap says it.
    pub fn read(runtime: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut command = command(runtime);
        let cli = Cli::from_arg_matches(&command.try_get_matches_from_mut(arguments)?)?;
        // What only several arguments together say.
        if let Command::Queue(queue) = &cli.command
            && let Some((_, order)) = queue.order()
            && let Err(text) = order.chosen()
        {
            let queue = command.find_subcommand_mut("queue").and_then(|it| it.find_subcommand_mut(queue.name()));
            return Err(match queue {
                Some(order) => order.error(clap::error::ErrorKind::MissingRequiredArgument, text),
                None => command.error(clap::error::ErrorKind::MissingRequiredArgument, text),
            });
        }
        Ok(cli)
    }
}

/// How the process ends: the numbers of sysexits.h where they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Success = 0,
    /// Something failed on the way.
    Failure = 1,
    /// The command line cannot be understood. Clap ends the process with it.
    Usage = 2,
    /// `check`, `reload`, `rollback`, `queue`, `story`, `quarantine`, `extension inspect` or `user` was given something
    /// that is wrong (EX_DATAERR).
    Refused = 65,
    /// No server answers (EX_UNAVAILABLE).
    NoServer = 69,
    /// `serve` cannot begin: the configuration, a component, a certificate, an address or the state directory
    /// (EX_CONFIG).
    CannotServe = 78,
}

impl ExitCode {
    /// All of them, by number.
    pub const ALL: [ExitCode; 6] = [
        ExitCode::Success,
        ExitCode::Failure,
        ExitCode::Usage,
        ExitCode::Refused,
        ExitCode::NoServer,
        ExitCode::CannotServe,
    ];

    /// The number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it says to whoever called, as the help has it.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Success => "done",
            ExitCode::Failure => "something failed on the way",
            ExitCode::Usage => "the command line cannot be understood",
            ExitCode::Refused => "all but serve: what was given, or the configuration, is refused",
            ExitCode::NoServer => "reload, rollback, status, queue, story, quarantine: no server answers",
            ExitCode::CannotServe => "serve: cannot begin until something is changed; it says what",
        }
    }
}

impl Termination for ExitCode {
    fn report(self) -> std::process::ExitCode {
        self.number().into()
    }
}

fn choose(flag: Option<&Path>, variable: Option<OsString>, system: &Path) -> ConfigChoice {
    if let Some(path) = flag {
        return ConfigChoice::File(path.to_path_buf());
    }
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return ConfigChoice::File(path.into());
    }
    match std::fs::metadata(system) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => ConfigChoice::Embedded,
        // One that is there and cannot be read must not be passed over in silence.
        _ => ConfigChoice::File(system.to_path_buf()),
    }
}

fn command(runtime: &str) -> clap::Command {
    let mut epilogue = format!(
        "Configuration:\n  The first of these that is given is used, and must then be readable:\n    \
         --config FILE\n    ${CONFIG_VARIABLE}\n    {SYSTEM_CONFIG}, where it exists\n    \
         the embedded default: 127.0.0.1:2525, delivering into ./pillarbox-data\n\nExit codes:\n"
    );
    for code in ExitCode::ALL {
        epilogue.push_str(&format!("  {:>2}  {}\n", code.number(), code.meaning()));
    }
    // clap wants a text that lives as long as the process, which is as long as this one is needed.
    let version = String::leak(format!("{} ({runtime})", env!("CARGO_PKG_VERSION")));
    Cli::command().version(&*version).after_long_help(epilogue)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::error::ErrorKind as Kind;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read("wasmtime 48.0.8", line.split(' ').map(OsString::from))
    }

    fn told(line: &str, kind: Kind) -> String {
        let error = read(line).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        error.to_string()
    }

    #[test]
    fn the_definition_holds_together() {
        command("x").debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        assert!(matches!(read("pillarbox serve").unwrap().command, Command::Serve(ConfigArgs { config: None })));
        let Command::Check(args) = read("pillarbox check --config x.toml").unwrap().command else { panic!() };
        assert_eq!(args.config.choose(), ConfigChoice::File("x.toml".into()));
        for (line, peer, listener) in [
            ("pillarbox check --peer 10.0.0.1", Peer::Address([10, 0, 0, 1].into()), None),
            (
                "pillarbox check --peer ::1 --listener a",
                Peer::Address(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
                Some("a"),
            ),
            ("pillarbox check --peer unknown", Peer::Unknown, None),
        ] {
            let Command::Check(args) = read(line).unwrap().command else { panic!() };
            assert_eq!((args.peer, args.listener.as_deref()), (Some(peer), listener));
        }
        let Command::Status { server, json: true } = read("pillarbox status --json --socket s").unwrap().command else {
            panic!()
        };
        assert_eq!((server.config, server.socket), (None, Some("s".into())));
        let Command::Reload(server) = read("pillarbox reload --config=x").unwrap().command else { panic!() };
        assert_eq!((server.choose(), server.socket), (ConfigChoice::File("x".into()), None));
        let Command::Rollback(server) = read("pillarbox rollback --config=x").unwrap().command else { panic!() };
        assert_eq!((server.choose(), server.socket), (ConfigChoice::File("x".into()), None));
        let Command::Extension(ExtensionCommand::Inspect { file }) =
            read("pillarbox extension inspect a.wasm").unwrap().command
        else {
            panic!()
        };
        assert_eq!(file, Path::new("a.wasm"));
        let Command::User(command) = read("pillarbox user add tim --argon2id --file u").unwrap().command else {
            panic!()
        };
        assert_eq!(command.users().file.as_deref(), Some(Path::new("u")));
        assert!(matches!(command, UserCommand::Add { name, argon2id: true, .. } if name == "tim"));
        let Command::User(command) = read("pillarbox user list --config x").unwrap().command else { panic!() };
        assert_eq!(command.users().choose(), ConfigChoice::File("x".into()));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for (line, kind) in [
            ("pillarbox", Kind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("pillarbox sevre", Kind::InvalidSubcommand),
            ("pillarbox serve --confg x", Kind::UnknownArgument),
            ("pillarbox reload --config x --socket y", Kind::ArgumentConflict),
            ("pillarbox check --peer mx.example.org", Kind::ValueValidation),
            ("pillarbox check --peer 10.0.0.0/8", Kind::ValueValidation),
            ("pillarbox check --listener a", Kind::MissingRequiredArgument),
            ("pillarbox extension inspect", Kind::MissingRequiredArgument),
            ("pillarbox user add", Kind::MissingRequiredArgument),
            ("pillarbox user list --file x --config y", Kind::ArgumentConflict),
        ] {
            let error = read(line).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, i32::from(ExitCode::Usage.number())), "{error}");
        }
        assert!(told("pillarbox sevre", Kind::InvalidSubcommand).contains("'serve'"));
    }

    #[test]
    fn help_says_where_the_configuration_is_and_what_exit_codes_mean() {
        let help = told("pillarbox --help", Kind::DisplayHelp);
        for code in ExitCode::ALL {
            assert!(help.contains(&format!("  {:>2}  ", code.number())), "{code:?}");
        }
        let places =
            ["--config FILE", "$PILLARBOX_CONFIG", "/etc/pillarbox/pillarbox.toml, where", "embedded default:"];
        let found = places.map(|place| help.find(place).unwrap());
        assert!(found.is_sorted());
        for command in ["serve", "check", "extension", "reload", "rollback", "status", "queue", "story", "quarantine"] {
            assert!(help.contains(&format!("\n  {command} ")), "{command}");
        }
        assert!(told("pillarbox status --help", Kind::DisplayHelp).contains("--json"));
    }

    #[test]
    fn the_version_names_the_runtime() {
        let version = told("pillarbox --version", Kind::DisplayVersion);
        assert_eq!(version, format!("pillarbox {} (wasmtime 48.0.8)\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_configuration_is_the_first_that_is_given() {
        let directory = tempfile::TempDir::new().unwrap();
        let there = directory.path().join("there.toml");
        std::fs::write(&there, "").unwrap();
        let missing = directory.path().join("missing.toml");
        let below_a_file = there.join("pillarbox.toml");
        let file = |path: &Path| ConfigChoice::File(path.to_path_buf());
        let (a, b) = (Path::new("a.toml"), Some(OsString::from("b.toml")));
        for (flag, variable, system, choice) in [
            (Some(a), b.clone(), &there, file(a)),
            (None, b, &there, file(Path::new("b.toml"))),
            (None, Some(OsString::new()), &there, file(&there)),
            (None, None, &there, file(&there)),
            (None, None, &missing, ConfigChoice::Embedded),
            (None, None, &below_a_file, ConfigChoice::Embedded),
        ] {
            assert_eq!(choose(flag, variable, system), choice);
        }
    }
}
