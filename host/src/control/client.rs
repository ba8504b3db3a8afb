//! The other end: a command that asks the server and waits.

use super::{Request, Response};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or nobody behind it.
    #[error("no server answers at {}", path.display())]
    NoServer {
        /// Where one was looked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The socket is somebody else's.
    #[error("the server at {} takes orders from its own user and from root only", .0.display())]
    NotAllowed(PathBuf),
    /// The server does not say anything.
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    /// The conversation broke off.
    #[error("the conversation with the server broke off")]
    Broken(#[source] io::Error),
    /// What came is no answer.
    #[error("the answer of the server cannot be understood; is it another version?")]
    Garbled,
}

/// Asks the server whose socket is at `path` and waits for the answer, at most [`Request::patience`]. Blocking.
///
/// # Errors
/// Nobody answers, or nothing that can be understood. An order that was not carried out is an answer.
pub fn ask(path: &Path, request: &Request) -> Result<Response, AskError> {
    // More than a server says of itself, and bounded.
    const ANSWER: u64 = 16 * 1024 * 1024;
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => AskError::NotAllowed(path.to_path_buf()),
        _ => AskError::NoServer { path: path.to_path_buf(), source },
    })?;
    let patience = request.patience();
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Silent(patience),
        _ => AskError::Broken(error),
    };
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    // Who is turned away at the door has the answer before he asked; a failed write is then no news.
    let asked = stream.write_all(request.to_line().as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let read = (&mut stream).take(ANSWER).read_to_end(&mut answer);
    match Response::from_line(&answer) {
        Some(response) => Ok(response),
        None => {
            asked.and(read).map_err(failed)?;
            Err(AskError::Garbled)
        }
    }
}
