//! Kernel locks on files: a lock that can be taken means that its owner is
//! dead. No timestamps, no process IDs. The lock files themselves are never
//! removed, because a waiter may hold one open.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// When the lock file cannot be made, or the file system has no locks.
    pub fn attempt(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        Ok(try_exclusive(&file).with_context(|| context(path))?.then_some(FileLock { _file: file }))
    }

    /// Takes the lock if it is free within a moment.
    ///
    /// # Errors
    /// As [`FileLock::attempt`].
    pub fn soon(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        Ok(soon(|| try_exclusive(&file)).with_context(|| context(path))?.then_some(FileLock { _file: file }))
    }

    /// Takes the lock; calls `waiting` once when it has to wait for long.
    ///
    /// # Errors
    /// When the lock file cannot be made, or the file system has no locks.
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let file = open(path)?;
        if soon(|| try_exclusive(&file)).with_context(|| context(path))? {
            return Ok(FileLock { _file: file });
        }
        waiting();
        exclusive(&file).with_context(|| context(path))?;
        Ok(FileLock { _file: file })
    }
}

/// Most locks are held for a moment: nobody is told of that.
const A_MOMENT: Duration = Duration::from_millis(200);

/// Tries until it succeeds or a moment is over.
fn soon(attempt: impl Fn() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + A_MOMENT;
    loop {
        if attempt()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Tries to share the lock of any open file or folder; `false` when somebody
/// has it alone.
///
/// # Errors
/// When the file system has no locks.
pub fn try_shared(file: &impl AsFd) -> Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A lock that several may have at once, but nobody beside an exclusive one.
#[derive(Debug)]
pub struct SharedLock {
    _file: File,
}

impl SharedLock {
    /// Takes the lock; calls `waiting` once when it has to wait for long.
    ///
    /// # Errors
    /// As [`FileLock::acquire`].
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let file = open(path)?;
        if soon(|| try_shared(&file)).with_context(|| context(path))? {
            return Ok(SharedLock { _file: file });
        }
        waiting();
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared)).with_context(|| context(path))?;
        Ok(SharedLock { _file: file })
    }
}

/// Tries to lock any open file or folder; `false` when somebody else has it. Borrowed,
/// for what is closed is locked no more.
///
/// # Errors
/// When the file system has no locks.
pub fn try_exclusive(file: &impl AsFd) -> Result<bool> {
    is_taken(flock(file, FlockOperation::NonBlockingLockExclusive))
}

/// What the kernel's answer means.
fn is_taken(answer: Result<(), Errno>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error @ (Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK)) => {
            bail!("the file system does not support locks ({error}): put envctl's folders on a local disk")
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the lock on an open file or folder that others may lock, too; `false`
/// when it is not free before `patience` is over.
///
/// # Errors
/// When the file system has no locks.
pub fn exclusive_within(file: &impl AsFd, patience: Duration) -> Result<bool> {
    let end = Instant::now() + patience;
    while !try_exclusive(file)? {
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// Waits for the lock on an open file or folder; closing it releases the lock.
///
/// # Errors
/// When the file system has no locks.
pub fn exclusive(file: &impl AsFd) -> Result<()> {
    if try_exclusive(&file)? {
        return Ok(());
    }
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let open = || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let opened = match (open(), path.parent()) {
        // Only once: this is on the warm path.
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            super::create_private_dir(parent)?;
            open()
        }
        (opened, _) => opened,
    };
    opened.with_context(|| context(path))
}

fn context(path: &Path) -> String {
    format!("cannot lock {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without locks nobody could tell the living from the dead: that is no
    /// reason to go on.
    #[test]
    fn case_59_a_file_system_without_locks_is_named() {
        assert!(is_taken(Ok(())).unwrap() && !is_taken(Err(Errno::WOULDBLOCK)).unwrap());
        for errno in [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK] {
            let error = is_taken(Err(errno)).unwrap_err().to_string();
            assert!(error.contains("does not support locks") && error.contains("on a local disk"), "{error}");
        }
    }

    #[test]
    fn a_second_owner_waits_and_a_dead_one_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/x");
        let first = FileLock::acquire(&path, || panic!("nobody holds it")).unwrap();
        assert!(!try_exclusive(&open(&path).unwrap()).unwrap());
        let (started, wait) = std::sync::mpsc::channel();
        let other = {
            let path = path.clone();
            std::thread::spawn(move || FileLock::acquire(&path, || started.send(()).unwrap()).unwrap())
        };
        wait.recv().unwrap();
        drop(first);
        other.join().unwrap();
    }
}
