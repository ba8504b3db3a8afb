//! What can be asked about messages that are kept aside.

use super::ServerArgs;
use clap::Subcommand;

/// What can be done with messages in quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Show what is in quarantine, and why
    List {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },

    /// Show a message that is in quarantine
    ///
    /// Its envelope and its text, with all that a terminal would obey made visible.
    Show {
        /// The message's id
        id: String,
        /// Print the message alone, octet for octet
        #[arg(long)]
        raw: bool,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },

    /// Deliver messages that are in quarantine
    Release {
        /// The messages' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },

    /// Remove messages that are in quarantine, for good
    Delete {
        /// The messages' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Which server.
        #[command(flatten)]
        server: ServerArgs,
    },
}
