//! The file of the store: opening it, telling a damaged one from one that cannot be had now, and setting it aside. It does
//! not know what is in it.

use redb::{Builder, Database, DatabaseError, StorageError};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What the file keeps in memory of itself.
const CACHE: usize = 16 << 20;

/// Damaged files that are kept for whoever wants to look at them. A disk that damages everything must not be filled too.
const KEPT: u32 = 10;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It is damaged, or no file of this store.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It may be good and cannot be used now.
    #[error(transparent)]
    Unusable(Box<redb::Error>),
}

/// Opens the file, and makes it where it is not there.
pub(super) fn open(path: &Path) -> Result<Database, Fault> {
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(StorageError::Io)?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    guarded(|| builder.create(path).map_err(Fault::from))
}

/// Does what may find damage where redb itself does not look for it, and panics over it.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Fault::Damaged(said.unwrap_or("it cannot be read").to_owned()))
    })
}

/// Gives a damaged file another name, and says which.
///
/// # Errors
/// It cannot be renamed.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |number: u32| path.with_added_extension(format!("damaged-{number}"));
    let free = (1..KEPT).map(named).find(|name| !name.exists()).unwrap_or_else(|| named(KEPT));
    fs::rename(path, &free)?;
    Ok(free)
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Fault {
        match error {
            DatabaseError::Storage(error) => error.into(),
            // Of a version that is no more, or not yet: nothing here can read it.
            DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => Fault::Damaged(error.to_string()),
            other => Fault::Unusable(Box::new(other.into())),
        }
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Fault {
        let damaged = match &error {
            StorageError::Corrupted(_) => true,
            StorageError::Io(error) => {
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
            _ => false,
        };
        if damaged { Fault::Damaged(error.to_string()) } else { Fault::Unusable(Box::new(error.into())) }
    }
}

macro_rules! faults {
    ($($error:ident: $($damage:ident)|*),*) => { $(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Fault {
                match error {
                    redb::$error::Storage(error) => error.into(),
                    $( redb::$error::$damage { .. } => Fault::Damaged(error.to_string()), )*
                    other => Fault::Unusable(Box::new(other.into())),
                }
            }
        }
    )* };
}

// Tables of another shape are another program's, or damage.
faults!(
    TableError: TableTypeMismatch | TableDoesNotExist | TypeDefinitionChanged | TableIsMultimap,
    TransactionError:,
    CommitError:
);
