//! The socket as a file: how it comes to be, and how it goes.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody answers there already.
    #[error("another server answers at {}", .0.display())]
    Answered(PathBuf),
    /// Something else has the name, and it is not ours to remove.
    #[error("{} is there and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel takes 107 octets.
    #[error("the path of the control socket is longer than a socket's may be: {}", .0.display())]
    TooLong(PathBuf),
    /// The file system says no.
    #[error("cannot make the control socket {}", path.display())]
    Io {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The bound control socket. Its file goes with it.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, by which it knows its own file from a successor's.
    identity: (u64, u64),
}

impl Control {
    /// Makes the socket at `path`, and its directory (0700) where there is none. One that a killed server left is
    /// replaced. Must be called within a runtime.
    ///
    /// # Errors
    /// A server answers there, the name is taken by something else, or the file system says no.
    pub fn bind(path: &Path) -> Result<Control, ControlError> {
        let failed = |source| ControlError::Io { path: path.to_path_buf(), source };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        clear(path)?;

        // Binding makes the file with whatever the umask leaves, so that happens where nobody can see it; the name it
        // goes by is given when the mode is right.
        let hidden = directory.join(format!(".control.{}", std::process::id()));
        let made = bind_in(&hidden, path);
        let _ = fs::remove_dir_all(&hidden);
        let (listener, identity) = made.map_err(|source| match source.kind() {
            ErrorKind::InvalidInput => ControlError::TooLong(path.to_path_buf()),
            _ => failed(source),
        })?;
        Ok(Control { listener, path: path.to_path_buf(), identity })
    }

    /// The next caller. What keeps one from coming in (no file descriptors, mostly) passes.
    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => tracing::warn!(%error, "cannot accept a caller on the control socket"),
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes sure that the name is free, or taken by a socket that nobody answers at.
fn clear(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Io { path: path.to_path_buf(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(ControlError::NotASocket(path.to_path_buf()));
    }
    let address = SockAddr::unix(path).map_err(|_| ControlError::TooLong(path.to_path_buf()))?;
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // A server that is stuck, its queue full, is a server all the same and must not hold this one up.
    probe.set_nonblocking(true).map_err(failed)?;
    match probe.connect(&address) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(failed(error)),
        _ => Err(ControlError::Answered(path.to_path_buf())),
    }
}

fn bind_in(hidden: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    // From a process of the same id that died here.
    match fs::remove_dir_all(hidden) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(hidden)?;
    let newborn = hidden.join("s");
    let listener = UnixListener::bind(&newborn)?;
    fs::set_permissions(&newborn, Permissions::from_mode(0o600))?;
    let identity = identity(&fs::symlink_metadata(&newborn)?);
    fs::rename(&newborn, path)?;
    Ok((listener, identity))
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
