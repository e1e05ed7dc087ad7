//! Whether a checkout stood still while it was captured: its HEAD, its index, what
//! is in progress, and the files that were read. Git changes one after the other,
//! so a capture in between would be of no state that there ever was.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::error::{Fault, failure};
use crate::git::MAX_INDEX;
use crate::snapshot::format::index;
use crate::snapshot::operation::{InProgress, Operation};

/// A checkout is captured anew for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// For files alone.
const FOR_FILES: u32 = 4;

/// So long is a command of git waited for that writes the index. One that waits
/// for an editor takes longer, and changes nothing meanwhile.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

const MAX_HEAD: u64 = 64 << 10;

/// Which file lies at a name: device and inode, size, and the times of its
/// content and of its inode.
type FileStamp = (u64, u64, i64, (i64, i64), (i64, i64));

/// What git has at one moment.
#[derive(Debug)]
pub(in crate::snapshot) struct Moment {
    /// What HEAD says, and the commit that it leads to.
    pub(in crate::snapshot) head: Vec<u8>,
    pub(in crate::snapshot) commit: git2::Oid,
    index: (Option<FileStamp>, Vec<u8>),
    /// The lock of a command that writes the index.
    lock: Option<FileStamp>,
    pub(in crate::snapshot) operation: InProgress,
}

impl Moment {
    /// Looks; waits for a command of git that is about to write the index.
    ///
    /// # Errors
    /// When there is no commit.
    pub(in crate::snapshot) fn now(repo: &git2::Repository) -> Result<Self> {
        let folder = Beneath::open(repo.path())?;
        let began = Instant::now();
        while which(&folder, "index.lock").is_some() && began.elapsed() < LOCK_PATIENCE {
            std::thread::sleep(STEP);
        }
        Moment::at_once(repo, &folder)
    }

    fn at_once(repo: &git2::Repository, folder: &Beneath) -> Result<Self> {
        let lock = which(folder, "index.lock");
        let index = (which(folder, "index"), sum(folder));
        let operation = Operation::capture(repo)?;
        let head = repo
            .head()
            .map_err(|_| failure("the checkout has no commit yet").hint("commit something, then publish again"))?;
        let commit = head.peel_to_commit().context("HEAD is not a commit")?.id();
        let head = folder.read(Path::new("HEAD"), MAX_HEAD)?.unwrap_or_default();
        Ok(Moment { head, commit, index, lock, operation })
    }

    /// Whether everything is now as it was; an index that was written anew and
    /// says the same as `digest` is the same.
    pub(in crate::snapshot) fn lasts(&self, repo: &git2::Repository, digest: Option<Digest>) -> bool {
        let Ok(folder) = Beneath::open(repo.path()) else { return false };
        let Ok(now) = Moment::at_once(repo, &folder) else { return false };
        let same_index = || {
            let text = folder.read(Path::new("index"), MAX_INDEX).ok().flatten();
            text.and_then(|text| index::of_bytes(&text)).is_some_and(|entries| Some(index::hash(&entries)) == digest)
        };
        // Who began to write meanwhile may have changed files already.
        now.lock.is_none_or(|lock| self.lock == Some(lock))
            && (now.head == self.head && now.commit == self.commit && now.operation == self.operation)
            && (now.index == self.index || same_index())
    }

    /// Whether no command of git has begun since to write the index, or has written it,
    /// not even the same one: it has changed files then, and may have put them back.
    pub(in crate::snapshot) fn is_untouched(&self, git_dir: &Path) -> bool {
        Beneath::open(git_dir).is_ok_and(|folder| {
            // One that waits for an editor has its lock all the time.
            let lock = which(&folder, "index.lock");
            (lock.is_none() || lock == self.lock) && which(&folder, "index") == self.index.0
        })
    }
}

fn which(folder: &Beneath, name: &str) -> Option<FileStamp> {
    let stat = folder.stat(Path::new(name))?;
    let times = ((stat.st_mtime, stat.st_mtime_nsec as i64), (stat.st_ctime, stat.st_ctime_nsec as i64));
    Some((stat.st_dev, stat.st_ino, stat.st_size, times.0, times.1))
}

/// The checksum at the end of the index.
fn sum(folder: &Beneath) -> Vec<u8> {
    let mut sum = Vec::new();
    if let Ok(mut file) = folder.file(Path::new("index")) {
        let _ = file.seek(SeekFrom::End(-20)).and_then(|_| file.read_to_end(&mut sum));
    }
    sum
}

/// What a capture met that was not there a moment before, or is no more.
#[derive(Debug)]
struct Fleeting(String);

impl std::fmt::Display for Fleeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} became something else while it was looked at", self.0)
    }
}

impl std::error::Error for Fleeting {}

/// The error for a folder that became something else: worth another look.
pub(in crate::snapshot) fn fleeting(path: &Path) -> anyhow::Error {
    Fleeting(path.display().to_string()).into()
}

/// How still a checkout stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::snapshot) enum Stood {
    Still,
    /// Files that were read have got more since.
    FilesGrew,
    /// This name came, went or stands for another file.
    NameMoved(Vec<u8>),
    /// What git has changed meanwhile.
    Moved,
}

impl Stood {
    /// After a failure that may be due to a change.
    pub(in crate::snapshot) fn after(error: &anyhow::Error, moment: &Moment, repo: &git2::Repository) -> Self {
        let is_passing = error.chain().any(|cause| cause.is::<Fleeting>());
        if !is_passing && moment.lasts(repo, None) { Stood::Still } else { Stood::Moved }
    }
}

/// Captures until the checkout stood still meanwhile: `take` says with what it
/// came back whether it did. Files that only grow, such as a log, are taken as
/// each was when it was read.
///
/// # Errors
/// Those of `take` in a checkout that stands still; that it never does.
pub(in crate::snapshot) fn settled<T>(mut take: impl FnMut() -> (Result<T>, Stood)) -> Result<T> {
    let began = Instant::now();
    let mut restless = None;
    for attempt in 0.. {
        let (taken, stood) = take();
        if stood == Stood::Still || (stood == Stood::FilesGrew && attempt >= FOR_FILES) {
            return taken;
        }
        if let Stood::NameMoved(name) = stood {
            restless = Some(name);
        }
        if began.elapsed() > PATIENCE {
            break;
        }
        // Not in step with whoever changes it.
        std::thread::sleep(STEP * (attempt % 4));
    }
    Err(never_rests(restless.as_deref()).into())
}

fn never_rests(name: Option<&[u8]>) -> Fault {
    let name = name.filter(|name| !name.is_empty()).map(|name| format!(", such as {}", String::from_utf8_lossy(name)));
    let what = format!("its commits, its index or its files{}", name.unwrap_or_default());
    failure(format!("the checkout keeps changing while it is captured: {what}"))
        .hint("stop what runs git or writes files there, then publish again")
}
