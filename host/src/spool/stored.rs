//! Reading a message back, and knowing that it is what was accepted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::disk::open_regular;
use super::format::{self, ENVELOPE_MAX, FOOTER_LEN, Footer, HEADER};
use super::{Envelope, Inner, MessageId, Progress};

/// A verified message of the queue. It stays readable when it is removed meanwhile.
#[derive(Debug)]
pub struct Stored {
    /// The envelope.
    pub envelope: Envelope,
    /// Octets of content.
    pub content_len: u64,
    /// What became of it so far.
    pub progress: Progress,
    file: Arc<File>,
}

impl Stored {
    /// The content from its beginning; as often as it is asked for. Reading blocks.
    pub fn content(&self) -> Content {
        self.content_from(0)
    }

    /// The content from an offset; none behind its end.
    pub fn content_from(&self, offset: u64) -> Content {
        let start = HEADER.len() as u64;
        let at = start + offset.min(self.content_len);
        Content { file: Arc::clone(&self.file), at, end: start + self.content_len }
    }
}

/// Reads the content of a [`Stored`] message.
#[derive(Debug)]
pub struct Content {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let Some((room, _)) = buffer.split_at_mut_checked(left.min(buffer.len())) else { return Ok(0) };
        if room.is_empty() {
            return Ok(0);
        }
        let read = self.file.read_at(room, self.at)?;
        self.at += read as u64;
        // It was as long as it should be when it was verified.
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }
}

/// A message was not read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not in the queue.
    #[error("no such message")]
    Gone,
    /// It is not what was written, and was set aside in `corrupt/`.
    #[error("the message is damaged: {0}")]
    Damaged(&'static str),
    /// Its file is of a later version of the format, and is left for a server that knows it.
    #[error("the message is of spool format {0}, which this version does not know")]
    Version(u32),
    /// What bears its name is no regular file, and is left alone.
    #[error("not a regular file")]
    Foreign,
    /// The disk failed; it may go well the next time.
    #[error("the message cannot be read")]
    Io(#[from] io::Error),
}

/// Opens and verifies a message; sets it aside if it is damaged.
pub(super) fn load(spool: &Inner, id: MessageId) -> Result<Stored, LoadError> {
    let file = file(spool, &id)?;
    match verify(&file, &id) {
        Ok((envelope, content_len)) => {
            let progress = read_progress(&spool.log_path(&id), &id, envelope.recipients.len())?;
            Ok(Stored { envelope, content_len, progress, file })
        }
        Err(LoadError::Damaged(reason)) => {
            set_aside(spool, &id);
            Err(LoadError::Damaged(reason))
        }
        Err(error) => Err(error),
    }
}

/// Opens a message, as far as it says itself what it is.
pub(super) fn open(spool: &Inner, id: &MessageId) -> Result<Stored, LoadError> {
    let file = file(spool, id)?;
    let (envelope, content_len) = peek(&file, id)?;
    let progress = read_progress(&spool.log_path(id), id, envelope.recipients.len())?;
    Ok(Stored { envelope, content_len, progress, file })
}

fn file(spool: &Inner, id: &MessageId) -> Result<Arc<File>, LoadError> {
    match open_regular(&spool.queue_path(id)) {
        Ok(Some(file)) => Ok(Arc::new(file)),
        Ok(None) => Err(LoadError::Foreign),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LoadError::Gone),
        Err(error) => Err(error.into()),
    }
}

/// The envelope and the length of the content, if every octet is as it was written.
pub(super) fn verify(file: &File, id: &MessageId) -> Result<(Envelope, u64), LoadError> {
    let frame = frame(file)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; usize::try_from(frame.envelope_at).unwrap_or(CHUNK).min(CHUNK)];
    let mut at = 0;
    while at < frame.envelope_at {
        let wanted = usize::try_from(frame.envelope_at - at).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(part, at)?;
        digest.update(&*part);
        at += wanted as u64;
    }
    let envelope = read_envelope(file, &frame)?;
    digest.update(&envelope);
    if <[u8; 32]>::from(digest.finalize()) != frame.footer.digest {
        return Err(LoadError::Damaged("its checksum is wrong"));
    }
    Ok((parse_envelope(&envelope, id)?, frame.footer.content))
}

/// The envelope and the length of the content, as the file says and without a look at its content.
pub(super) fn peek(file: &File, id: &MessageId) -> Result<(Envelope, u64), LoadError> {
    let frame = frame(file)?;
    Ok((parse_envelope(&read_envelope(file, &frame)?, id)?, frame.footer.content))
}

/// A message that was read elsewhere.
pub(super) fn stored(file: Arc<File>, envelope: Envelope, content_len: u64, progress: Progress) -> Stored {
    Stored { envelope, content_len, progress, file }
}

/// Where in a file what is.
struct Frame {
    footer: Footer,
    envelope_at: u64,
    envelope_len: usize,
}

fn frame(file: &File) -> Result<Frame, LoadError> {
    let damaged = |reason| move || LoadError::Damaged(reason);
    let size = file.metadata()?.len();
    let mut start = [0; 32];
    let start = start.get_mut(..usize::try_from(size).unwrap_or(usize::MAX).min(32)).unwrap_or_default();
    file.read_exact_at(start, 0)?;
    match format::version(start) {
        Some(1) => {}
        Some(version) => return Err(LoadError::Version(version)),
        None => return Err(LoadError::Damaged("its first line is wrong")),
    }
    let footer_at = size.checked_sub(FOOTER_LEN as u64).ok_or_else(damaged("it ends too soon"))?;
    let mut footer = [0; FOOTER_LEN];
    file.read_exact_at(&mut footer, footer_at)?;
    let footer = Footer::parse(&footer).ok_or_else(damaged("its last line is wrong"))?;
    let envelope_at = (HEADER.len() as u64).checked_add(footer.content);
    let end = envelope_at.and_then(|at| at.checked_add(u64::from(footer.envelope)));
    let envelope_len = usize::try_from(footer.envelope).ok().filter(|len| *len <= ENVELOPE_MAX);
    let (Some(envelope_at), Some(envelope_len), true) = (envelope_at, envelope_len, end == Some(footer_at)) else {
        return Err(LoadError::Damaged("its lengths are wrong"));
    };
    Ok(Frame { footer, envelope_at, envelope_len })
}

fn read_envelope(file: &File, frame: &Frame) -> Result<Vec<u8>, LoadError> {
    let mut envelope = vec![0; frame.envelope_len];
    file.read_exact_at(&mut envelope, frame.envelope_at)?;
    Ok(envelope)
}

fn parse_envelope(envelope: &[u8], id: &MessageId) -> Result<Envelope, LoadError> {
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(|_| LoadError::Damaged("no envelope"))?;
    // Restored under another name, it would be delivered twice.
    if envelope.id != *id {
        return Err(LoadError::Damaged("it is another message than its name says"));
    }
    Ok(envelope)
}

/// What the log at `path` says of a message with so many recipients; no log says nothing.
pub(super) fn read_progress(path: &Path, id: &MessageId, recipients: usize) -> io::Result<Progress> {
    match open_regular(path) {
        Ok(Some(file)) => Progress::read(id, recipients, BufReader::new(file)),
        Ok(None) => Err(io::Error::other("its log is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Progress::read(id, recipients, io::empty()),
        Err(error) => Err(error),
    }
}

/// Moves a damaged message, and its log, out of the way of the others.
fn set_aside(spool: &Inner, id: &MessageId) {
    let moves = [spool.queue_path(id), spool.log_path(id)];
    for (path, counts) in moves.iter().zip([true, false]) {
        let Some(name) = path.file_name() else { continue };
        match spool.disk.rename(path, &spool.corrupt.join(name)) {
            Ok(()) if counts => {
                spool.depth.fetch_sub(1, Ordering::Relaxed);
                spool.damaged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(id = id.as_str(), error = error.as_str(), "damaged message cannot be set aside");
            }
        }
    }
}

const CHUNK: usize = 64 * 1024;
