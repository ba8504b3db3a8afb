//! The key of what is made up for unknown users, kept in a file: a salt that is another one after a restart would say
//! that its user is unknown.
//!
//! It does not know what is made up, or by whom.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::random;

const NAME: &str = "users-key";

static KEPT: OnceLock<[u8; 32]> = OnceLock::new();

/// Takes the key of this directory for the life of the process, and makes one if there is none that is whole and
/// this user's alone. The directory is to be this process's own. Blocking.
///
/// # Errors
/// It can be neither read nor made. What is made up lasts as long as the process, then.
pub fn keep_key(directory: &Path) -> io::Result<()> {
    let key = match read(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => make(directory),
        read => read,
    }?;
    KEPT.get_or_init(|| key);
    Ok(())
}

/// The key that was taken, if one was.
pub(super) fn kept() -> Option<&'static [u8; 32]> {
    KEPT.get()
}

fn read(directory: &Path) -> io::Result<[u8; 32]> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(directory.join(NAME))?;
    let about = file.metadata()?;
    let mut octets = Vec::new();
    // Whoever else may have read it could tell who is unknown, and whoever else wrote it has read it.
    if about.is_file() && about.uid() == geteuid().as_raw() && about.mode() & 0o077 == 0 {
        file.take(33).read_to_end(&mut octets)?;
    }
    octets.try_into().map_err(|_| ErrorKind::InvalidData.into())
}

fn make(directory: &Path) -> io::Result<[u8; 32]> {
    let key = random::octets()?;
    let (file, draft) = (directory.join(NAME), directory.join(format!("{NAME}.new")));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    written.write_all(&key)?;
    written.sync_all()?;
    fs::rename(&draft, &file)?;
    File::open(directory)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_key_is_kept_as_long_as_it_is_sound() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(NAME);
        assert_eq!(read(directory.path()).unwrap_err().kind(), ErrorKind::NotFound);
        // Left by one who was killed.
        fs::write(directory.path().join("users-key.new"), "x").unwrap();
        let made = make(directory.path()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), made);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        keep_key(directory.path()).unwrap();
        assert_eq!(kept(), Some(&made));
        keep_key(directory.path()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), made, "a start leaves it");

        let spoil: [fn(&Path); 3] = [
            |file| fs::write(file, [0; 31]).unwrap(),
            |file| fs::write(file, [0; 33]).unwrap(),
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap(),
        ];
        // Only root can read what is another's alone.
        let others: fn(&Path) = |file| chown(file, Some(65534), None).unwrap();
        for spoil in spoil.into_iter().chain(geteuid().is_root().then_some(others)) {
            spoil(&file);
            assert_eq!(read(directory.path()).unwrap_err().kind(), ErrorKind::InvalidData);
            keep_key(directory.path()).unwrap();
            assert!(read(directory.path()).is_ok_and(|fresh| fresh != made && fresh != [0; 32]));
        }
        assert!(keep_key(&directory.path().join("none")).is_err());
    }
}
