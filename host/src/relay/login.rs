//! Logging in at a server (RFC 4954), where nobody else can read along: by the strongest mechanism it offers of
//! SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN and LOGIN.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pillarbox_sasl::{ScramClient, ScramError, Secret};

use super::Inner;
use super::connection::Connection;
use super::fault::{Fault, Phase};
use super::reply::Reply;
use crate::auth;
use crate::config::Login;
use crate::file;
use crate::observe::chain;

/// Reads the password, the first line of its file.
pub(super) fn read_password(path: &Path) -> io::Result<Secret> {
    let password = Secret::new(file::secret(path).map_err(io::Error::other)?);
    // RFC 4616: NUL parts what PLAIN says.
    match password.expose().contains('\0') {
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
    let path = account.password_file.clone();
    let password = tokio::task::spawn_blocking(move || read_password(&path)).await.map_err(io::Error::other);
    let password = password.and_then(|password| password).map_err(|error| {
        Fault::passing(
            "4.3.5",
            format!("cannot use the password {}: {}", account.password_file.display(), chain(&error)),
        )
    })?;
    let offers = |mechanism: &str| connection.keywords.auth.iter().any(|offered| offered == mechanism);
    let (plain, login) = (offers("PLAIN"), offers("LOGIN"));
    if let Some(client) = scram_client(connection, account, &password) {
        match scram(connection, relay, client).await? {
            None => return Ok(()),
            // A server may know the user, and keep of the password what SCRAM has no use for. It could have asked for
            // PLAIN at once, so nothing is lost; one that lied in SCRAM gets here no more.
            Some(_) if plain || login => {}
            Some(refused) => return Err(refused),
        }
    }
    let reply = if plain {
        let response = STANDARD.encode(format!("\0{}\0{}", account.user, password.expose()));
        begin(connection, relay, "PLAIN", &response).await?
    } else if login {
        prompted(connection, relay, account, &password).await?
    } else {
        let text = format!("{name} offers none of AUTH SCRAM-SHA-256, PLAIN and LOGIN that the login can be said in");
        return Err(Fault::passing("4.7.0", text));
    };
    if reply.code == 235 { Ok(()) } else { Err(Fault::turned_away(&name, Phase::Login, &reply)) }
}

/// SCRAM, if it is offered. What SASLprep refuses is for the others.
fn scram_client(connection: &Connection, account: &Login, password: &Secret) -> Option<ScramClient> {
    let offers = |mechanism: &str| connection.keywords.auth.iter().any(|offered| offered == mechanism);
    let (bound, unbound) = (offers("SCRAM-SHA-256-PLUS"), offers("SCRAM-SHA-256"));
    let binding = connection.binding.as_ref().map(|binding| binding.0.as_slice());
    let nonce = auth::nonce();
    let possible = unbound || (bound && binding.is_some());
    if !possible || nonce.is_empty() {
        return None;
    }
    ScramClient::begin(&account.user, password, &nonce, bound, binding).ok()
}

/// Logs in by SCRAM, or says how it was refused for good: the connection is ready for another mechanism then.
async fn scram(connection: &mut Connection, relay: &Inner, mut client: ScramClient) -> Result<Option<Fault>, Fault> {
    let name = connection.server.name.clone();
    let fault = |error: ScramError| {
        let mut fault = Fault::passing("4.7.0", format!("no login by SCRAM: {error}"));
        fault.failure.remote = Some(name.clone());
        fault
    };
    let mut reply = begin(connection, relay, client.mechanism().name(), &STANDARD.encode(client.first())).await?;
    while reply.code == 334 {
        let challenge = STANDARD.decode(reply.lines.first().map_or("", String::as_str));
        // Hashing is slow by intent.
        let answered = tokio::task::spawn_blocking(move || {
            let challenge = challenge.map_err(|_| ScramError::Malformed);
            (challenge.and_then(|challenge| client.respond(&challenge)), client)
        });
        let (response, same) = answered.await.map_err(|error| Fault::passing("4.3.0", error.to_string()))?;
        client = same;
        let response = match response {
            Ok(response) => STANDARD.encode(response),
            Err(error) => {
                // RFC 4954 section 4: the server waits for a response, which QUIT would be as well. RFC 5802 section 7
                // lets it say in a challenge that it refuses.
                let left = connection.command(relay, Phase::Login, "*\r\n").await;
                // A server that says that it does bind, and offered no -PLUS: somebody in between took that away.
                let said = matches!(&error, ScramError::Refused(why) if why != "server-does-support-channel-binding");
                let refused = said && left.is_ok_and(|left| left.is_permanent());
                return if refused { Ok(Some(fault(error))) } else { Err(fault(error)) };
            }
        };
        reply = connection.command(relay, Phase::Login, &format!("{response}\r\n")).await?;
    }
    match reply.code {
        235 if client.is_proven() => Ok(None),
        // Who says that all is well, and has not proven to know the password, may be anyone.
        235 => Err(fault(ScramError::Unproven)),
        _ if reply.is_permanent() => Ok(Some(Fault::turned_away(&name, Phase::Login, &reply))),
        _ => Err(Fault::turned_away(&name, Phase::Login, &reply)),
    }
}

/// LOGIN: the name and the password, each when it is asked for.
async fn prompted(
    connection: &mut Connection,
    relay: &Inner,
    account: &Login,
    password: &Secret,
) -> Result<Reply, Fault> {
    let mut reply = connection.command(relay, Phase::Login, "AUTH LOGIN\r\n").await?;
    for said in [account.user.as_str(), password.expose()] {
        if reply.code != 334 {
            break;
        }
        reply = connection.command(relay, Phase::Login, &format!("{}\r\n", STANDARD.encode(said))).await?;
    }
    Ok(reply)
}

/// AUTH with an initial response, in base64.
async fn begin(connection: &mut Connection, relay: &Inner, mechanism: &str, response: &str) -> Result<Reply, Fault> {
    let line = format!("AUTH {mechanism} {response}\r\n");
    // RFC 4954 section 4: an initial response that would make the line too long waits for the challenge.
    if line.len() <= 512 {
        return connection.command(relay, Phase::Login, &line).await;
    }
    let challenge = connection.command(relay, Phase::Login, &format!("AUTH {mechanism}\r\n")).await?;
    match challenge.code {
        334 => connection.command(relay, Phase::Login, &format!("{response}\r\n")).await,
        _ => Ok(challenge),
    }
}
