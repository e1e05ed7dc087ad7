//! What an unattended run prints, kept in a file while it is passed on.
//!
//! Invariants: the file never grows beyond [`HEAD`] and [`TAIL`] together: of
//! more than that the beginning and the end are kept. Values of secrets do not
//! reach the file, unless a program splits one over both of its streams.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::disk;
use crate::secret;

/// Bytes of the beginning that are kept.
const HEAD: u64 = 1 << 20;

/// Bytes of the end that are kept.
const TAIL: u64 = 15 << 20;

/// A stream of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The record of a run's output, both streams as they came.
#[derive(Debug)]
pub struct Transcript(Mutex<TranscriptState>);

#[derive(Debug)]
struct TranscriptState {
    file: File,
    head: u64,
    tail: u64,
    /// Bytes that came, also those that are gone again.
    written: u64,
    /// Of each stream: what could be the beginning of a secret.
    pending: [Vec<u8>; 2],
    /// The first failure; the run goes on without a record.
    failed: Option<io::ErrorKind>,
}

impl Transcript {
    /// Begins one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        Self::sized(path, HEAD, TAIL)
    }

    fn sized(path: &Path, head: u64, tail: u64) -> Result<Self> {
        if let Some(parent) = path.parent() {
            disk::create_private_dir(parent)?;
        }
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot write the log {}", path.display()))?;
        let pending = [Vec::new(), Vec::new()];
        Ok(Transcript(Mutex::new(TranscriptState { file, head, tail, written: 0, pending, failed: None })))
    }

    /// Adds what a stream gave.
    pub fn add(&self, stream: Stream, bytes: &[u8]) {
        self.with(|inner| {
            let pending = &mut inner.pending[usize::from(stream == Stream::Err)];
            pending.extend_from_slice(bytes);
            let (clean, held) = secret::hide_in(std::mem::take(pending));
            *pending = held;
            inner.put(&clean);
        });
    }

    /// Adds a line of envctl's own.
    pub fn note(&self, line: &str) {
        self.with(|inner| {
            inner.settle();
            inner.put(format!("{}\n", secret::hide(line)).as_bytes());
        });
    }

    /// Writes what is there by now to a file of its own, in order; how many
    /// bytes in the middle were dropped.
    ///
    /// # Errors
    /// When it cannot be read or written, or the record broke off.
    pub fn copy_to(&self, path: &Path) -> Result<u64> {
        let copied = self.with(|inner| {
            inner.settle();
            match inner.failed {
                Some(kind) => Err(kind.into()),
                None => inner.copy_to(path),
            }
        });
        copied.with_context(|| format!("cannot write the log {}", path.display()))
    }

    fn with<T>(&self, work: impl FnOnce(&mut TranscriptState) -> T) -> T {
        // A thread that died in here left bytes in order, at worst too few.
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl TranscriptState {
    /// What could have become a secret did not.
    fn settle(&mut self) {
        for index in 0..2 {
            let rest = std::mem::take(&mut self.pending[index]);
            self.put(&rest);
        }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.failed.is_none() {
            let (at, room) = if self.written < self.head {
                (self.written, self.head - self.written)
            } else {
                let round = (self.written - self.head) % self.tail;
                (self.head + round, self.tail - round)
            };
            let part = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            match self.file.write_all_at(part, at) {
                Ok(()) => self.written += part.len() as u64,
                Err(error) => self.failed = Some(error.kind()),
            }
            bytes = &bytes[part.len()..];
        }
    }

    fn copy_to(&self, path: &Path) -> io::Result<u64> {
        let mut target = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        let dropped = self.written.saturating_sub(self.head + self.tail);
        let mut part = |from: u64, to: u64| -> io::Result<()> {
            let mut buffer = vec![0; 64 << 10];
            let mut at = from;
            while at < to {
                let want = buffer.len().min((to - at) as usize);
                let count = self.file.read_at(&mut buffer[..want], at)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                target.write_all(&buffer[..count])?;
                at += count as u64;
            }
            Ok(())
        };
        part(0, self.written.min(self.head))?;
        if dropped == 0 {
            part(self.head, self.written)?;
            return Ok(0);
        }
        let middle = self.head + (self.written - self.head) % self.tail;
        part(middle, self.head + self.tail)?;
        part(self.head, middle)?;
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_beginning_and_the_end_are_kept(chunks in proptest::collection::vec(0_usize..40, 0..30)) {
            let dir = tempfile::tempdir().unwrap();
            let transcript = Transcript::sized(&dir.path().join("log"), 16, 50).unwrap();
            let mut all = Vec::new();
            for size in chunks {
                let chunk: Vec<u8> = (0..size).map(|n| (all.len() + n) as u8).collect();
                transcript.add(Stream::Out, &chunk);
                all.extend(chunk);
            }
            let copy = dir.path().join("copy");
            let dropped = transcript.copy_to(&copy).unwrap() as usize;
            prop_assert_eq!(dropped, all.len().saturating_sub(66));
            let expected = if dropped == 0 { all } else { [&all[..16], &all[all.len() - 50..]].concat() };
            prop_assert_eq!(std::fs::read(copy).unwrap(), expected);
        }
    }

    #[test]
    fn case_46_secrets_do_not_reach_the_file_in_pieces_either() {
        let secret = Secret::new("correct-horse-battery".into());
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("log"), dir.path().join("copy"));
        let transcript = Transcript::create(&path).unwrap();
        for byte in format!("before {} after", secret.expose()).bytes() {
            transcript.add(Stream::Out, &[byte]);
            transcript.add(Stream::Err, b".");
            assert!(!std::fs::read_to_string(&path).unwrap().contains("correct-horse"));
        }
        transcript.copy_to(&copy).unwrap();
        let text = std::fs::read_to_string(&copy).unwrap().replace('.', "");
        assert_eq!(text, "before [secret] after");
    }
}
