//! Compiled code on disk, so that a restart need not compile.
//!
//! Loading an entry runs what is in it. So each ends in a MAC, by a key that lies beside them and only this user can read:
//! what somebody else wrote, what was damaged and what lies under another's name is no entry, and is compiled anew. The
//! directory must be this user's own. Nothing here knows components; entries are found by a [`Key`].

use crate::extension::load::Digest;
use crate::extension::precompiled::Code;
use hmac::{Hmac, Mac};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What every entry begins with.
const MAGIC: &[u8; 16] = b"pillarbox code 1";
/// Where the code begins in an entry: behind the magic and the key.
const HEADER: usize = 48;
/// The MAC at its end.
const FOOTER: usize = 32;
/// The file that holds the secret.
const SECRET: &str = "key";
/// What a file is called before it is whole.
const DRAFT: &str = "draft-";
/// A draft that is older was left by a crash.
const DRAFT_AGE: Duration = Duration::from_secs(60 * 60);
/// How many entries are kept, and how many octets. What was used longest ago goes first.
const ENTRIES: usize = 64;
const OCTETS: u64 = 2 << 30;

/// What an entry is found by: the component, the settings it was compiled with, and the version that did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// For this component on this engine.
    pub fn new(engine: &wasmtime::Engine, component: Digest) -> Key {
        let mut sum = Sum(Sha256::new());
        sum.write(MAGIC);
        sum.write(env!("CARGO_PKG_VERSION").as_bytes());
        sum.write(&component.0);
        // The runtime's version, the processor and every setting that has a part in the code.
        engine.precompile_compatibility_hash().hash(&mut sum);
        Key(sum.0.finalize().into())
    }

    /// The file's name. The version in it is for [`Cache::tidy`].
    fn name(self) -> String {
        self.0.iter().fold(OURS.to_owned(), |name, octet| format!("{name}{octet:02x}"))
    }
}

const OURS: &str = concat!(env!("CARGO_PKG_VERSION"), "-");

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A hasher that forgets nothing, in place of the 64 bits of others.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Whether a cache may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// What is there is used, and nothing is made.
    Read,
    /// It is made where it is missing.
    Write,
}

/// An entry that is none.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is somebody else's, or others may change it.
    #[error("it is not this user's alone to write")]
    Foreign,
    /// No file of ours is so large.
    #[error("it is too large")]
    Large,
    /// It is not what was written, or not under this name.
    #[error("its MAC is wrong")]
    Damaged,
}

/// A directory of compiled code.
pub struct Cache {
    path: PathBuf,
    directory: File,
    access: Access,
    secret: [u8; 32],
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Cache {
    /// Opens the directory. None when it is not there and must not be made.
    ///
    /// # Errors
    /// It is not this user's own, or cannot be used.
    pub fn open(path: &Path, access: Access) -> Result<Option<Cache>, Unfit> {
        if access == Access::Write {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
        let flags = i32::try_from(flags).map_err(io::Error::other)?;
        let directory = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound && access == Access::Read => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        owned(&directory, 0o022)?;
        let secret = match read(&directory, SECRET, 0o077, 32) {
            Ok(Some((_, octets))) if octets.len() == 32 => octets,
            _ if access == Access::Read => return Ok(None),
            Ok(None) => make_secret(&directory, false)?,
            found => {
                let error = found.err().unwrap_or(Unfit::Damaged);
                tracing::warn!(directory = %path.display(), %error, "the key of the cache cannot be used, it is made anew");
                make_secret(&directory, true)?
            }
        };
        let secret = secret.try_into().map_err(|_| Unfit::Damaged)?;
        Ok(Some(Cache { path: path.to_path_buf(), directory, access, secret }))
    }

    /// The code under this key, if it is there.
    ///
    /// # Errors
    /// What is there is no entry.
    pub fn find(&self, key: Key, most: u64) -> Result<Option<Code>, Unfit> {
        let framed = most.saturating_add((HEADER + FOOTER) as u64);
        let Some((file, octets)) = read(&self.directory, &key.name(), 0o022, framed)? else { return Ok(None) };
        let end = octets.len().checked_sub(FOOTER).filter(|end| *end >= HEADER).ok_or(Unfit::Damaged)?;
        let (said, mac) = octets.split_at_checked(end).ok_or(Unfit::Damaged)?;
        let begins = said.strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(&key.0));
        if !begins || self.mac(&[said])?.verify_slice(mac).is_err() {
            return Err(Unfit::Damaged);
        }
        if self.access == Access::Write {
            // By its time it is seen when it was used last. If that fails it is only gone earlier.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(Some(Code::kept(octets, HEADER..end)))
    }

    /// Keeps code under this key, in the place of whatever is there.
    ///
    /// # Errors
    /// It cannot be written; then nothing has changed.
    pub fn keep(&self, key: Key, code: &Code) -> Result<(), Unfit> {
        let mac = self.mac(&[MAGIC, &key.0, code.octets()])?.finalize().into_bytes();
        let draft = write(&self.directory, &[MAGIC, &key.0, code.octets(), &mac])?;
        if let Err(error) = renameat(&self.directory, &draft, &self.directory, key.name()) {
            let _ = unlinkat(&self.directory, &draft, AtFlags::empty());
            return Err(io::Error::from(error).into());
        }
        self.tidy(&key.name(), SystemTime::now())?;
        Ok(())
    }

    fn mac(&self, parts: &[&[u8]]) -> Result<Hmac<Sha256>, Unfit> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).map_err(|_| Unfit::Damaged)?;
        parts.iter().for_each(|part| mac.update(part));
        Ok(mac)
    }

    /// Removes what other versions left, what crashes left, and what is too much. What is not ours stays.
    fn tidy(&self, newest: &str, now: SystemTime) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)?.flatten() {
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = now.duration_since(used).unwrap_or_default();
            if name.starts_with(DRAFT) && age > DRAFT_AGE || is_entry(&name) && !name.starts_with(OURS) {
                let _ = unlinkat(&self.directory, &name, AtFlags::empty());
            } else if is_entry(&name) && name != newest {
                entries.push((used, name, metadata.len()));
            }
        }
        entries.sort();
        let (mut count, mut octets) = (1, 0_u64);
        for (_, name, length) in entries.iter().rev() {
            count += 1;
            octets = octets.saturating_add(*length);
            if count > ENTRIES || octets > OCTETS {
                let _ = unlinkat(&self.directory, name, AtFlags::empty());
            }
        }
        Ok(())
    }
}

fn is_entry(name: &str) -> bool {
    let hexadecimal = |key: &str| key.len() == 64 && key.bytes().all(|octet| octet.is_ascii_hexdigit());
    name.rsplit_once('-').is_some_and(|(version, key)| !version.is_empty() && hexadecimal(key))
}

/// Makes a secret of our own; where there may be one, made at the same time by another, that one.
fn make_secret(directory: &File, replace: bool) -> Result<Vec<u8>, Unfit> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::from)?;
    let draft = write(directory, &[&secret])?;
    if replace {
        renameat(directory, &draft, directory, SECRET).map_err(io::Error::from)?;
        return Ok(secret.to_vec());
    }
    // A link, unlike a rename, takes nobody's place.
    let linked = linkat(directory, &draft, directory, SECRET, AtFlags::empty());
    let _ = unlinkat(directory, &draft, AtFlags::empty());
    match linked.map_err(io::Error::from) {
        Ok(()) => Ok(secret.to_vec()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read(directory, SECRET, 0o077, 32)?.map(|(_, secret)| secret).ok_or(Unfit::Damaged)
        }
        Err(error) => Err(error.into()),
    }
}

/// A file that is whole and on disk, under a name that nobody looks for.
fn write(directory: &File, parts: &[&[u8]]) -> io::Result<String> {
    // Not by the process's id: on one directory, two containers have the same.
    let mut chance = [0; 16];
    getrandom::fill(&mut chance).map_err(io::Error::from)?;
    let name = format!("{DRAFT}{:032x}", u128::from_le_bytes(chance));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)?);
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    match written {
        Ok(()) => Ok(name),
        Err(error) => {
            let _ = unlinkat(directory, &name, AtFlags::empty());
            Err(error)
        }
    }
}

/// A file of this user's own as a whole; none if there is none.
fn read(directory: &File, name: &str, forbidden: u32, most: u64) -> Result<Option<(File, Vec<u8>)>, Unfit> {
    // Whatever lies there, nothing is waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()).map_err(io::Error::from) {
        Ok(file) => File::from(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = owned(&file, forbidden)?;
    if !metadata.is_file() {
        return Err(Unfit::Foreign);
    }
    if metadata.len() > most {
        return Err(Unfit::Large);
    }
    let mut octets = Vec::new();
    (&file).take(most).read_to_end(&mut octets)?;
    Ok(Some((file, octets)))
}

fn owned(file: &File, forbidden: u32) -> Result<fs::Metadata, Unfit> {
    let metadata = file.metadata()?;
    match metadata.uid() == geteuid().as_raw() && metadata.mode() & forbidden == 0 {
        true => Ok(metadata),
        false => Err(Unfit::Foreign),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::config::Instances;
    use crate::extension::engine::{self, Engine};
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use tempfile::TempDir;

    const ONE: Key = Key([1; 32]);
    const TWO: Key = Key([2; 32]);
    const MOST: u64 = 1 << 20;

    fn open(directory: &Path) -> Cache {
        Cache::open(directory, Access::Write).unwrap().unwrap()
    }

    fn made() -> (TempDir, PathBuf, Cache) {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join("state/cache");
        let cache = open(&directory);
        (parent, directory, cache)
    }

    fn keep(cache: &Cache, key: Key, code: &str) {
        cache.keep(key, &Code::made(code.as_bytes().to_vec())).unwrap();
    }

    fn found(cache: &Cache, key: Key) -> Option<String> {
        let code = cache.find(key, MOST).unwrap()?;
        Some(String::from_utf8(code.octets().to_vec()).unwrap())
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_found_by_whoever_comes_next() {
        let (_parent, directory, cache) = made();
        assert_eq!(found(&cache, ONE), None);
        keep(&cache, ONE, "one");
        keep(&cache, TWO, "");
        keep(&cache, ONE, "one again");
        for cache in [&cache, &open(&directory), &Cache::open(&directory, Access::Read).unwrap().unwrap()] {
            assert_eq!(found(cache, ONE).as_deref(), Some("one again"));
            assert_eq!(found(cache, TWO).as_deref(), Some(""));
        }
        assert_eq!(names(&directory), [ONE.name(), TWO.name(), SECRET.to_owned()]);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert!(names(&directory).iter().all(|name| mode(&directory.join(name)) == 0o600));
    }

    #[test]
    fn an_entry_that_is_not_what_was_written_is_none() {
        let (_parent, directory, cache) = made();
        keep(&cache, ONE, "some code");
        let path = directory.join(ONE.name());
        let whole = fs::read(&path).unwrap();
        let damaged = |octets: &[u8], what: &str| {
            fs::write(&path, octets).unwrap();
            assert!(matches!(cache.find(ONE, MOST), Err(Unfit::Damaged)), "{what}");
        };
        for place in 0..whole.len() {
            let mut octets = whole.clone();
            octets[place] ^= 1;
            damaged(&octets, &format!("octet {place}"));
            damaged(&whole[..place], &format!("cut at {place}"));
        }
        damaged(&[&*whole, b"x"].concat(), "longer");
        // Another entry of ours, under this name.
        keep(&cache, TWO, "other code");
        damaged(&fs::read(directory.join(TWO.name())).unwrap(), "swapped");
        // The right one, by somebody who has another secret.
        let (_foreign, elsewhere, other) = made();
        keep(&other, ONE, "some code");
        damaged(&fs::read(elsewhere.join(ONE.name())).unwrap(), "foreign");
        fs::write(&path, &whole).unwrap();
        assert_eq!(found(&cache, ONE).as_deref(), Some("some code"));
        assert!(matches!(cache.find(ONE, 8), Err(Unfit::Large)));
        // What cannot be used is overwritten.
        fs::write(&path, "junk").unwrap();
        keep(&cache, ONE, "new code");
        assert_eq!(found(&cache, ONE).as_deref(), Some("new code"));
    }

    #[test]
    fn a_file_that_others_could_write_is_no_entry() {
        let (_parent, directory, cache) = made();
        keep(&cache, ONE, "code");
        let path = directory.join(ONE.name());
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(cache.find(ONE, MOST), Err(Unfit::Foreign)));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(found(&cache, ONE).as_deref(), Some("code"));
        symlink(&path, directory.join(TWO.name())).unwrap();
        assert!(matches!(cache.find(TWO, MOST), Err(Unfit::Io(_))));
        if geteuid().is_root() {
            chown(&path, Some(65534), None).unwrap();
            assert!(matches!(cache.find(ONE, MOST), Err(Unfit::Foreign)));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(cache.find(ONE, MOST), Err(Unfit::Foreign)));
    }

    #[test]
    fn a_directory_that_others_could_write_is_not_used() {
        let (_parent, directory, cache) = made();
        drop(cache);
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Cache::open(&directory, Access::Write), Err(Unfit::Foreign)));
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&directory, Access::Write).is_ok());
        if geteuid().is_root() {
            chown(&directory, Some(65534), None).unwrap();
            assert!(matches!(Cache::open(&directory, Access::Write), Err(Unfit::Foreign)));
            chown(&directory, Some(0), None).unwrap();
        }
        let link = directory.with_extension("link");
        symlink(&directory, &link).unwrap();
        assert!(matches!(Cache::open(&link, Access::Write), Err(Unfit::Io(_))));
    }

    #[test]
    fn without_the_secret_nothing_is_found_and_a_new_one_is_made() {
        let (_parent, directory, cache) = made();
        keep(&cache, ONE, "code");
        let secret = directory.join(SECRET);
        let lose: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&secret).unwrap(),
            &|| fs::write(&secret, "short").unwrap(),
            &|| fs::write(&secret, [0; 33]).unwrap(),
            &|| fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap(),
        ];
        for lose in lose {
            let before = open(&directory);
            keep(&before, ONE, "code");
            lose();
            let after = open(&directory);
            assert_ne!(before.secret, after.secret);
            assert!(matches!(after.find(ONE, MOST), Err(Unfit::Damaged)));
            assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
            assert_eq!(open(&directory).secret, after.secret);
        }
    }

    #[test]
    fn two_that_begin_at_once_have_one_secret() {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join("cache");
        let secrets = std::thread::scope(|scope| {
            let open = || scope.spawn(|| open(&directory).secret);
            let threads: Vec<_> = (0..8).map(|_| open()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_eq!(names(&directory), [SECRET]);
    }

    #[test]
    fn what_another_is_writing_is_left_alone() {
        let (_parent, directory, cache) = made();
        // As a process of the same id would name it, in another container.
        let others: Vec<String> = (0..1000).map(|number| format!("{DRAFT}{}-{number}", std::process::id())).collect();
        others.iter().for_each(|name| fs::write(directory.join(name), "half").unwrap());
        keep(&cache, ONE, "code");
        assert_eq!(found(&cache, ONE).as_deref(), Some("code"));
        assert_eq!(names(&directory).iter().filter(|name| name.starts_with(DRAFT)).count(), others.len());
    }

    #[test]
    fn who_may_only_read_makes_nothing() {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join("cache");
        assert!(Cache::open(&directory, Access::Read).unwrap().is_none());
        assert!(names(parent.path()).is_empty());
        fs::create_dir(&directory).unwrap();
        assert!(Cache::open(&directory, Access::Read).unwrap().is_none());
        assert!(names(&directory).is_empty());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (_parent, directory, cache) = made();
        let ago = |name: &str, seconds: u64| {
            let file = fs::OpenOptions::new().append(true).create(true).open(directory.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        let key = |number: usize| Key([u8::try_from(number).unwrap(); 32]);
        for number in 1..=ENTRIES {
            keep(&cache, key(number), "code");
            ago(&key(number).name(), 100_000 - number as u64);
        }
        // The oldest of them is used again; another version's entry, an old draft and a file of nobody's lie beside them.
        assert!(found(&cache, key(1)).is_some());
        let others = [format!("0.0.1-{}", "a".repeat(64)), format!("{DRAFT}1-1"), "notes".to_owned()];
        others.iter().for_each(|name| ago(name, 100_000));
        ago(&format!("{DRAFT}1-2"), 10);
        keep(&cache, key(ENTRIES + 1), "code");
        let left = names(&directory);
        assert!(left.contains(&key(1).name()) && !left.contains(&key(2).name()) && left.contains(&key(3).name()));
        assert!(left.contains(&key(ENTRIES + 1).name()));
        assert_eq!(others.map(|name| left.contains(&name)), [false, false, true]);
        // The entries, the file of nobody's, the young draft and the secret.
        assert_eq!(left.len(), ENTRIES + 3);
    }

    #[test]
    fn a_key_is_the_component_and_what_compiled_it() {
        let compiling = engine::for_compiling().unwrap();
        let serving = Engine::new(Instances { count: 4, ..Instances::default() }).unwrap();
        let other = wasmtime::Engine::default();
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        // How instances are allocated is no part of it: what a worker makes fits the server.
        assert_eq!(Key::new(&compiling, one), Key::new(serving.wasmtime(), one));
        assert_ne!(Key::new(&compiling, one), Key::new(&compiling, two));
        assert_ne!(Key::new(&compiling, one), Key::new(&other, one));
    }
}
