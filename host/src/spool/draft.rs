//! A message while it is written, up to its commit.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::format::{ENVELOPE_MAX, Footer, HEADER};
use super::{Envelope, Inner, MessageId, blocking, disk};

/// A message that is not accepted yet. Dropping it leaves nothing behind.
///
/// Up to 64 KiB of content stay in memory; what goes beyond is written to `incoming/` in pieces of that size. After an
/// error every further call fails the same way, so that the error may also be noticed at the end.
#[derive(Debug)]
pub struct Draft {
    spool: Arc<Inner>,
    id: MessageId,
    /// The octets of the file that are not written yet, the header among them.
    buffer: Vec<u8>,
    /// Octets of content.
    len: u64,
    place: Place,
    /// Whether another draft of this id lies in `incoming/` beside this one.
    second: bool,
}

#[derive(Debug)]
enum Place {
    Memory,
    File(Box<Incoming>),
    /// Something failed, or a call was given up half-way.
    Lost {
        full: bool,
    },
}

impl Draft {
    pub(super) fn new(spool: Arc<Inner>, id: MessageId) -> Draft {
        Draft { spool, id, buffer: HEADER.to_vec(), len: 0, place: Place::Memory, second: false }
    }

    /// Adds octets to the content.
    ///
    /// # Errors
    /// They could not be written, or something before them could not; the draft is of no more use.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        if let Place::Lost { full } = self.place {
            return Err(SpoolError::lost(full));
        }
        while !bytes.is_empty() {
            let room = BUFFER_MAX.saturating_sub(self.buffer.len());
            if room == 0 {
                self.spill().await?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            self.len += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Octets of content so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no content yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads content back, from `offset`, at most `len` and at most 64 KiB; fewer at the end, none behind it.
    ///
    /// # Errors
    /// It could not be read, or the draft is of no more use.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, SpoolError> {
        let wanted = len.min(CHUNK).min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let start = offset.saturating_add(HEADER.len() as u64);
        let (written, mut content) = match &self.place {
            Place::Lost { full } => return Err(SpoolError::lost(*full)),
            Place::Memory => (0, Vec::with_capacity(wanted)),
            Place::File(incoming) => {
                let there = usize::try_from(incoming.written.saturating_sub(start)).unwrap_or(usize::MAX);
                (incoming.written, incoming.read(start, wanted.min(there)).await?)
            }
        };
        let missing = wanted - content.len();
        let from = usize::try_from((start + content.len() as u64).saturating_sub(written)).unwrap_or(usize::MAX);
        let tail = self.buffer.get(from..).unwrap_or_default();
        content.extend_from_slice(tail.get(..missing.min(tail.len())).unwrap_or_default());
        Ok(content)
    }

    /// A draft of `head` and of what stands in this one from `from` on. This one stays as it is.
    ///
    /// # Errors
    /// It could not be read or written; the new draft is gone.
    pub async fn rewritten(&self, id: MessageId, head: &[u8], from: u64) -> Result<Draft, SpoolError> {
        let mut draft = Draft::new(Arc::clone(&self.spool), id);
        draft.second = draft.id == self.id;
        draft.write(head).await?;
        let mut at = from;
        while at < self.len {
            let piece = self.read(at, CHUNK).await?;
            draft.write(&piece).await?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(draft)
    }

    /// Makes the message durable under its id and tells who delivers; one whose envelope says that it is kept aside, goes
    /// into the quarantine instead. When this returns `Ok`, 250 may be said.
    ///
    /// If it is given up half-way, the message may be accepted or not, but never half.
    ///
    /// # Errors
    /// The message is not accepted and nothing of it is left.
    pub async fn commit(self, envelope: Envelope) -> Result<(), SpoolError> {
        let Draft { spool, id, buffer, len, place, second } = self;
        let gate = Arc::clone(&spool);
        let work = move || {
            let incoming = match place {
                Place::Memory => Incoming::create(spool, &id, second)?,
                Place::File(incoming) => *incoming,
                Place::Lost { full } => return Err(SpoolError::lost(full).into_source()),
            };
            incoming.commit(id, buffer, len, &envelope)
        };
        let committed = blocking(work).await;
        gate.gate.note(&committed);
        Ok(committed?)
    }

    /// Ends the message without accepting it.
    pub async fn discard(self) {
        if let Place::File(incoming) = self.place {
            let _ = tokio::task::spawn_blocking(move || drop(incoming)).await;
        }
    }

    /// Writes the buffer out.
    async fn spill(&mut self) -> Result<(), SpoolError> {
        let place = mem::replace(&mut self.place, Place::Lost { full: false });
        let mut buffer = mem::take(&mut self.buffer);
        let (spool, id, second) = (Arc::clone(&self.spool), self.id.clone(), self.second);
        let work = move || {
            let mut incoming = match place {
                Place::Memory => Box::new(Incoming::create(spool, &id, second)?),
                Place::File(incoming) => incoming,
                Place::Lost { full } => return Err(SpoolError::lost(full).into_source()),
            };
            incoming.append(&buffer)?;
            buffer.clear();
            Ok((incoming, buffer))
        };
        let spilled = blocking(work).await;
        if spilled.is_err() {
            self.spool.gate.note(&spilled);
        }
        match spilled.map_err(SpoolError::from) {
            Ok((incoming, buffer)) => {
                self.place = Place::File(incoming);
                self.buffer = buffer;
                Ok(())
            }
            Err(error) => {
                self.place = Place::Lost { full: error.is_full() };
                Err(error)
            }
        }
    }
}

/// A message was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk or a quota is used up, or the inodes are: 452 4.3.1.
    #[error("no room in the spool")]
    Full(#[source] io::Error),
    /// Anything else: 451 4.3.0.
    #[error("the spool failed")]
    Io(#[source] io::Error),
}

impl SpoolError {
    /// Whether it may go well once there is room again.
    pub fn is_full(&self) -> bool {
        matches!(self, SpoolError::Full(_))
    }

    fn lost(full: bool) -> SpoolError {
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        SpoolError::from(io::Error::new(kind, "an earlier write failed"))
    }

    fn into_source(self) -> io::Error {
        match self {
            SpoolError::Full(error) | SpoolError::Io(error) => error,
        }
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full(error),
            _ => SpoolError::Io(error),
        }
    }
}

/// A file on its way into the queue. Whoever holds this owns the file: dropped, it takes it along, on whatever thread a
/// call that was given up ends.
struct Incoming {
    spool: Arc<Inner>,
    /// Where the file is now, or `None` once it is accepted.
    path: Option<PathBuf>,
    file: Arc<File>,
    written: u64,
    digest: Sha256,
}

impl Incoming {
    fn create(spool: Arc<Inner>, id: &MessageId, second: bool) -> io::Result<Incoming> {
        let path = spool.incoming_path(id, second);
        let file = Arc::new(spool.disk.create(&path)?);
        Ok(Incoming { spool, path: Some(path), file, written: 0, digest: Sha256::new() })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        disk::write_all(&*self.spool.disk, &self.file, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    async fn read(&self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut octets = vec![0; len];
            file.read_exact_at(&mut octets, start)?;
            Ok(octets)
        })
        .await
    }

    /// Ends the file and puts it into the queue, durably: the whole of the promise behind 250.
    fn commit(mut self, id: MessageId, mut buffer: Vec<u8>, content: u64, envelope: &Envelope) -> io::Result<()> {
        let invalid = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
        if envelope.id != id {
            return Err(invalid("the envelope is of another message"));
        }
        let mut line = serde_json::to_vec(envelope)?;
        line.push(b'\n');
        let length = u32::try_from(line.len()).ok().filter(|_| line.len() <= ENVELOPE_MAX);
        let length = length.ok_or_else(|| invalid("the envelope is too large"))?;
        buffer.append(&mut line);
        self.digest.update(&buffer);
        let digest = self.digest.finalize_reset().into();
        buffer.extend_from_slice(Footer { content, envelope: length, digest }.encode().as_bytes());
        self.write(&buffer)?;
        let spool = Arc::clone(&self.spool);
        spool.disk.sync(&self.file)?;
        // A rename would silently replace what bears the name, and a log left from another message would settle
        // recipients of this one. Nobody else can take the name in between: the file in `incoming/` bears it, too.
        spool.require_unused(&[spool.queue_path(&id), spool.log_path(&id), spool.quarantine_path(&id)])?;
        let (target, sync) = match &envelope.quarantined {
            None => (spool.queue_path(&id), &spool.queue_sync),
            Some(_) => (spool.quarantine_path(&id), &spool.quarantine_sync),
        };
        if let Some(path) = &self.path {
            spool.disk.rename(path, &target)?;
        }
        self.path = Some(target);
        sync.sync(&*spool.disk)?;
        self.path = None;
        if envelope.quarantined.is_some() {
            spool.quarantined.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        spool.depth.fetch_add(1, Ordering::Relaxed);
        spool.announcer.announce(id);
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        let Err(error) = self.spool.disk.remove(path) else { return };
        if path.starts_with(&self.spool.queue) {
            // Refused because its name could not be made durable, and yet there: found by a scan and delivered already,
            // or to be. Either way it leaves, or left, as a message that was counted.
            self.spool.depth.fetch_add(1, Ordering::Relaxed);
        }
        if path.starts_with(&self.spool.quarantine) {
            self.spool.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        if error.kind() != io::ErrorKind::NotFound {
            let (path, error) = (path.to_string_lossy(), error.to_string());
            tracing::warn!(path = &*path, error = error.as_str(), "file of a refused message is left");
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}

/// The most that is read back, or kept in memory, at once.
const CHUNK: usize = 64 * 1024;

const BUFFER_MAX: usize = HEADER.len() + CHUNK;
