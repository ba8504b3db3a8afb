//! Logging in at a server: AUTH PLAIN and LOGIN (RFC 4954), where nobody else can read along.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Inner;
use super::connection::Connection;
use super::fault::{Fault, Phase};
use crate::config::Login;
use crate::file;
use crate::observe::chain;

/// Reads the password, the first line of its file.
pub(super) fn read_password(path: &Path) -> io::Result<String> {
    let password = file::secret(path).map_err(io::Error::other)?;
    // RFC 4616: NUL parts what PLAIN says.
    match password.contains('\0') {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is no password")),
        false => Ok(password),
    }
}

/// Logs in. The file is read each time: a password that was changed needs no reload.
pub(super) async fn log_in(connection: &mut Connection, relay: &Inner, account: &Login) -> Result<(), Fault> {
    let name = connection.server.name.clone();
    if !connection.is_private() {
        let text = format!("the connection to {name} is in the clear, and no password is said over it");
        return Err(Fault::passing("4.7.11", text));
    }
    let offered = |mechanism: &str| connection.keywords.auth.iter().any(|offered| offered == mechanism);
    let (plain, login) = (offered("PLAIN"), offered("LOGIN"));
    let path = account.password_file.clone();
    let password = tokio::task::spawn_blocking(move || read_password(&path)).await.map_err(io::Error::other);
    let password = password.and_then(|password| password).map_err(|error| {
        Fault::passing(
            "4.3.5",
            format!("cannot use the password {}: {}", account.password_file.display(), chain(&error)),
        )
    })?;
    let reply = if plain {
        let response = STANDARD.encode(format!("\0{}\0{password}", account.user));
        let line = format!("AUTH PLAIN {response}\r\n");
        // RFC 4954 section 4: an initial response that would make the line too long waits for the challenge.
        if line.len() <= 512 {
            connection.command(relay, Phase::Login, &line).await?
        } else {
            let challenge = connection.command(relay, Phase::Login, "AUTH PLAIN\r\n").await?;
            match challenge.code {
                334 => connection.command(relay, Phase::Login, &format!("{response}\r\n")).await?,
                _ => challenge,
            }
        }
    } else if login {
        let mut reply = connection.command(relay, Phase::Login, "AUTH LOGIN\r\n").await?;
        for said in [&account.user, &password] {
            if reply.code != 334 {
                break;
            }
            reply = connection.command(relay, Phase::Login, &format!("{}\r\n", STANDARD.encode(said))).await?;
        }
        reply
    } else {
        return Err(Fault::passing("4.7.0", format!("{name} offers neither AUTH PLAIN nor AUTH LOGIN")));
    };
    if reply.code == 235 { Ok(()) } else { Err(Fault::turned_away(&name, Phase::Login, &reply)) }
}
