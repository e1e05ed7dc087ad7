//! Kernel locks on files: a lock that can be taken means that its owner is
//! dead. No timestamps, no process IDs.
//!
//! Lock files are removed by [`sweep`] alone, which holds each while it does so. Whoever
//! waited for one that is gone has locked nothing, and takes the one in its place.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
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
        Ok(hold(path, try_exclusive)?.map(|_file| FileLock { _file }))
    }

    /// Takes the lock if it is free within a moment.
    ///
    /// # Errors
    /// As [`FileLock::attempt`].
    pub fn soon(path: &Path) -> Result<Option<Self>> {
        Ok(hold(path, |file| soon(|| try_exclusive(file)))?.map(|_file| FileLock { _file }))
    }

    /// Takes the lock; calls `waiting` once when it has to wait for long.
    ///
    /// # Errors
    /// When the lock file cannot be made, or the file system has no locks.
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        Ok(FileLock { _file: wait(path, waiting, FlockOperation::LockExclusive)? })
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
        Ok(SharedLock { _file: wait(path, waiting, FlockOperation::LockShared)? })
    }
}

/// Takes a lock; tells when that takes longer than a moment.
fn wait(path: &Path, waiting: impl FnOnce(), kind: FlockOperation) -> Result<File> {
    let shares = matches!(kind, FlockOperation::LockShared);
    let mut waiting = Some(waiting);
    let held = hold(path, |file| {
        if soon(|| if shares { try_shared(file) } else { try_exclusive(file) })? {
            return Ok(true);
        }
        waiting.take().into_iter().for_each(|waiting| waiting());
        rustix::io::retry_on_intr(|| flock(file, kind))?;
        Ok(true)
    })?;
    held.with_context(|| context(path))
}

/// Opens a lock file and has it locked, again if it was removed in between; `None` when
/// it is not to be had.
fn hold(path: &Path, mut lock: impl FnMut(&File) -> Result<bool>) -> Result<Option<File>> {
    loop {
        let file = open(path)?;
        if !lock(&file).with_context(|| context(path))? {
            return Ok(None);
        }
        let held = file.metadata().with_context(|| context(path))?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => return Ok(Some(file)),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(|| context(path)),
            _ => {}
        }
    }
}

/// Removes the lock files of a folder that nobody holds: there is one for every task and
/// every place that ever was. What cannot be removed waits for the next time.
pub fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        if let Ok(Some(_held)) = FileLock::attempt(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
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

    #[test]
    fn a_lock_file_goes_when_it_is_free_and_nobody_holds_one_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (held, free) = (dir.path().join("held"), dir.path().join("free"));
        let first = FileLock::acquire(&held, || {}).unwrap();
        FileLock::acquire(&free, || {}).unwrap();
        sweep(dir.path());
        assert!(held.exists() && !free.exists());
        let (started, wait) = std::sync::mpsc::channel();
        let other = {
            let held = held.clone();
            std::thread::spawn(move || SharedLock::acquire(&held, || started.send(()).unwrap()).unwrap())
        };
        wait.recv().unwrap();
        fs::remove_file(&held).unwrap();
        drop(first);
        let _shared = other.join().unwrap();
        assert!(FileLock::attempt(&held).unwrap().is_none(), "two have the lock");
    }

    #[test]
    fn locks_that_are_swept_all_the_time_have_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (path, owners) = (dir.path().join("lock"), std::sync::atomic::AtomicUsize::new(0));
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _lock = FileLock::acquire(&path, || {}).unwrap();
                        assert_eq!(owners.fetch_add(1, order), 0);
                        owners.fetch_sub(1, order);
                    }
                });
            }
            scope.spawn(|| (0..400).for_each(|_| sweep(dir.path())));
        });
    }
}
