//! Maildir: one file for each message, written in `tmp/`, fsynced, renamed into `new/`, and that directory fsynced.
//!
//! The name is made of the message's id and the recipient's place in its envelope, so an attempt that follows a crash finds
//! the copy that was delivered but not recorded, while it is in `new/` or `cur/`. The file begins with a Return-Path field
//! (RFC 5321 4.4); line ends become LF, as Maildir readers expect; nothing else changes.
//!
//! A mailbox is complete when `new/` is there: it is made last, when all above it is durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::address::Mailbox;
use super::attempt::Deferred;
use super::route::exists;
use crate::observe::chain;
use crate::spool::{Envelope, Failure, Reach};

/// Makes the mailbox if it is not there and `create` says so.
///
/// # Errors
/// There is none, or it cannot be made.
pub(super) fn make(mailbox: &Mailbox, create: bool) -> Result<(), Deferred> {
    let path = &mailbox.path;
    if exists(path).map_err(failed("look at", path))? {
        // Made by somebody else, it may lack the others.
        return ["tmp", "cur"].iter().try_for_each(|name| make_directory(&path.join(name), false));
    }
    if !create {
        return Err(Deferred::NoMailbox(path.clone()));
    }
    let mut above: Vec<&Path> = path.ancestors().filter(|path| path.parent().is_some()).collect();
    above.reverse();
    for directory in above {
        // Below the root, a directory that is there may be of an attempt that was killed before its fsync.
        let doubtful = directory != mailbox.root && directory.starts_with(&mailbox.root);
        make_directory(directory, doubtful)?;
    }
    ["tmp", "cur", "new"].iter().try_for_each(|name| make_directory(&path.join(name), true))
}

/// Makes a directory, if it is not there, durable in its parent; `doubtful` says to make it durable in any case.
fn make_directory(path: &Path, doubtful: bool) -> Result<(), Deferred> {
    let there = path.is_dir();
    if !there {
        match DirBuilder::new().mode(0o700).create(path) {
            // Another message for the same mailbox was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.map_err(failed("make", path))?,
        }
    }
    match path.parent() {
        Some(parent) if doubtful || !there => sync_directory(parent),
        _ => Ok(()),
    }
}

/// What went wrong with a mailbox, in the words of a queue. Whatever it is, mail waits: what was accepted had a mailbox, or
/// a route that makes it, and disks are mended.
pub(super) fn failure(error: &Deferred) -> Failure {
    let (status, reach) = match error {
        // RFC 3463 section 3.3: the mailbox is disabled, is full; section 3.4: the system is full, is not doing well.
        Deferred::NoMailbox(_) => ("4.2.1", Reach::Recipient),
        Deferred::Disk { source, .. } => match source.kind() {
            io::ErrorKind::QuotaExceeded => ("4.2.2", Reach::Recipient),
            io::ErrorKind::StorageFull => ("4.3.1", Reach::Destination),
            io::ErrorKind::ReadOnlyFilesystem => ("4.3.0", Reach::Destination),
            _ => ("4.3.0", Reach::Recipient),
        },
        _ => ("4.3.0", Reach::Message),
    };
    Failure::local(status, chain(error), reach)
}

/// The file name of the copy for one recipient: `SECONDS.IDRn.HOST`, the same at every attempt, at most 200 octets.
pub(super) fn file_name(envelope: &Envelope, recipient: usize) -> String {
    let mut name = format!("{}.{}R{recipient}.", envelope.received / 1000, envelope.id);
    // `:` begins the flags and `/` ends the name; a host name has nothing but these.
    let host =
        envelope.hostname.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' });
    name.extend(host.take(NAME_MAX.saturating_sub(name.len())));
    name
}

/// One recipient's copy of a message.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    /// From [`file_name`].
    pub(super) name: String,
    /// The reverse-path; empty for the null sender.
    pub(super) sender: &'a str,
    /// The body is no text (RFC 3030): it is copied octet for octet.
    pub(super) binary: bool,
}

impl Copy<'_> {
    /// Whether an earlier attempt delivered it. Reads all of `cur/`, where its flags may have changed its name. What is
    /// found is made durable, since the attempt may have been killed before it was.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub(super) fn is_in(&self, mailbox: &Path) -> Result<bool, Deferred> {
        let new = mailbox.join("new");
        let file = new.join(&self.name);
        match fs::symlink_metadata(&file) {
            Ok(_) => return sync_directory(&new).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &file)(error)),
        }
        let cur = mailbox.join("cur");
        for entry in fs::read_dir(&cur).map_err(failed("read", &cur))? {
            let found = entry.map_err(failed("read", &cur))?.file_name();
            let flags = found.as_encoded_bytes().strip_prefix(self.name.as_bytes());
            if flags.is_some_and(|flags| matches!(flags.first(), None | Some(b':' | b';' | b'!' | b','))) {
                return sync_directory(&cur).map(|()| true);
            }
        }
        Ok(false)
    }

    /// Writes it into the mailbox, durably. After an error nothing of it is left there.
    ///
    /// # Errors
    /// The message cannot be read, or the mailbox not be written.
    pub(super) fn write(&self, mailbox: &Path, content: impl Read) -> Result<(), Deferred> {
        let (new, draft) = (mailbox.join("new"), mailbox.join("tmp").join(&self.name));
        // Left by an attempt that was killed: nobody else has this name. Where it cannot go, making it fails below.
        let _ = fs::remove_file(&draft);
        let mut litter = Litter(Some(draft.clone()));
        self.fill(&draft, content)?;
        let file = new.join(&self.name);
        fs::rename(&draft, &file).map_err(failed("rename", &draft))?;
        litter.0 = Some(file);
        sync_directory(&new)?;
        litter.0 = None;
        Ok(())
    }

    fn fill(&self, path: &Path, content: impl Read) -> Result<(), Deferred> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut out = BufWriter::with_capacity(CHUNK, file.map_err(failed("make", path))?);
        // An address has no control characters; a field that had would be more fields than one.
        let sender: String = self.sender.chars().filter(|c| !c.is_control()).collect();
        writeln!(out, "Return-Path: <{sender}>").map_err(failed("write", path))?;
        copy_lines(content, &mut out, self.binary).map_err(|error| match error {
            CopyError::Read(error) => Deferred::Content(error),
            CopyError::Write(error) => failed("write", path)(error),
        })?;
        let file = out.into_inner().map_err(|error| failed("write", path)(error.into_error()))?;
        file.sync_all().map_err(failed("sync", path))
    }
}

/// A file to be removed unless it is named nothing in time.
struct Litter(Option<PathBuf>);

impl Drop for Litter {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // In `tmp/`, what is left is removed by the next attempt, and by every Maildir reader after 36 hours.
            let _ = fs::remove_file(path);
        }
    }
}

#[derive(Debug)]
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies, with LF for each CRLF; with `binary` only in the header.
fn copy_lines(mut content: impl Read, mut out: impl Write, binary: bool) -> Result<(), CopyError> {
    let mut buffer = vec![0; CHUNK];
    // A CR at the end of a chunk waits to be told whether an LF follows.
    let mut held = false;
    // Whether nothing of a line has been seen yet: the empty line ends the header.
    let (mut at_start, mut raw) = (true, false);
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        let mut rest = buffer.get(..read).unwrap_or_default();
        while let Some(end) = memchr::memchr(b'\n', rest).map(|at| at + 1).or((!rest.is_empty()).then_some(rest.len()))
        {
            let (piece, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = behind;
            if raw {
                out.write_all(piece).map_err(CopyError::Write)?;
                continue;
            }
            let cr: &[u8] = if held && !piece.starts_with(b"\n") { b"\r" } else { b"" };
            let (line, end): (_, &[u8]) = match (piece.strip_suffix(b"\r\n"), piece.strip_suffix(b"\r")) {
                (Some(line), _) => (line, b"\n"),
                (None, Some(line)) => (line, b""),
                (None, None) => (piece, b""),
            };
            held = piece.ends_with(b"\r");
            [cr, line, end].iter().try_for_each(|part| out.write_all(part)).map_err(CopyError::Write)?;
            let ended = piece.ends_with(b"\n");
            raw = binary && at_start && ended && cr.is_empty() && (line.is_empty() || line == b"\n");
            at_start = ended || (at_start && line.is_empty() && cr.is_empty());
        }
    }
    let rest: &[u8] = if held { b"\r" } else { b"" };
    out.write_all(rest).map_err(CopyError::Write)
}

fn sync_directory(path: &Path) -> Result<(), Deferred> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Deferred + 'a {
    move |source| Deferred::Disk { action, path: path.to_owned(), source }
}

const CHUNK: usize = 64 * 1024;

/// Well below the 255 octets of a file name: readers add flags.
const NAME_MAX: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    /// Hands out its pieces one at a time, however much is asked for.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    /// Whatever is copied comes out the same wherever it is cut.
    fn copies(content: &str, expected: &str, binary: bool) {
        let octets = content.as_bytes();
        for first in 0..=octets.len() {
            for second in first..=octets.len() {
                let pieces = [&octets[..first], &octets[first..second], &octets[second..]];
                let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
                let mut out = Vec::new();
                copy_lines(Pieces(pieces), &mut out, binary).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{content:?} cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_disk_that_fails_says_whom_it_fails() {
        for (error, status, reach, words) in [
            (libc_error(28), "4.3.1", Reach::Destination, "cannot write /m/new: No space left on device (os error 28)"),
            (libc_error(122), "4.2.2", Reach::Recipient, "cannot write /m/new: Disk quota exceeded (os error 122)"),
            (libc_error(30), "4.3.0", Reach::Destination, "cannot write /m/new: Read-only file system (os error 30)"),
            (libc_error(5), "4.3.0", Reach::Recipient, "cannot write /m/new: Input/output error (os error 5)"),
            (Deferred::NoMailbox("/m".into()), "4.2.1", Reach::Recipient, "there is no mailbox at /m"),
            (Deferred::Content(io::Error::other("x")), "4.3.0", Reach::Message, "cannot read the message: x"),
        ] {
            assert_eq!(failure(&error), Failure::local(status, words, reach));
        }
    }

    /// ENOSPC, EDQUOT, EROFS and EIO have these numbers on Linux.
    fn libc_error(number: i32) -> Deferred {
        failed("write", Path::new("/m/new"))(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn line_ends_become_lf_wherever_a_chunk_ends() {
        for (content, expected) in [
            ("", ""),
            ("a\r\nb\r\n", "a\nb\n"),
            ("a\rb\nc\r", "a\rb\nc\r"),
            ("\r\r\n\n\r\n", "\r\n\n\n"),
            ("\r\r\r", "\r\r\r"),
            ("no end", "no end"),
        ] {
            copies(content, expected, false);
        }
    }

    #[test]
    fn a_binary_body_is_copied_as_it_is_wherever_a_chunk_ends() {
        for (content, expected) in [
            ("A: b\r\n\r\nx\r\ny\n\r\r\n", "A: b\n\nx\r\ny\n\r\r\n"),
            ("\r\nx\r\n", "\nx\r\n"),
            ("A: b\r\nc\r\n", "A: b\nc\n"),
            ("A: b\r\n\r\n", "A: b\n\n"),
        ] {
            copies(content, expected, true);
        }
    }
}
