//! Files that git believes, and that a program holds open for writing or has
//! mapped into its memory: it can change them without an event. In the place of
//! such a file comes a copy of it.
//!
//! Git writes its files beside their names and renames them, but for a few short
//! ones; so there is a moment in which nothing is done. Who uses it too often gets
//! none.
//!
//! Invariants: looking at a file that was looked at before opens nothing, or each
//! look would be the cause of the next; a copy is made where no program inside
//! can open it before it has its name.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::super::audit::{Audited, Planted};
use crate::disk::beneath::open_beneath;
use crate::disk::held::{Writers, writers};

/// The files of a git folder that decide what git runs, where it writes and which
/// repository it takes.
pub(super) const BELIEVED: [&str; 6] = ["HEAD", "index", "config", "config.worktree", "commondir", "gitdir"];

/// How long a program may hold such a file.
const MOMENT: Duration = Duration::from_millis(250);

/// After how many copies nobody gets a moment any more.
const MOMENTS: u32 = 3;

/// No workspace needs more files of this kind than can be kept open.
const MAX_KEPT: usize = 400;

/// An inode number, and when the inode was made: seconds and nanoseconds.
type Inode = (u64, i64, u32);

#[derive(Debug, Default)]
pub(super) struct Held {
    /// Those that were looked at, open.
    kept: HashMap<PathBuf, (File, Inode)>,
    /// Until when somebody may hold these.
    waiting: BTreeMap<PathBuf, Instant>,
    copies: u32,
    /// There are more than can be kept open.
    pub(super) is_full: bool,
}

impl Held {
    /// How long until something is to be done.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.waiting.values().min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Looks whether somebody holds one of the believed files of a git folder.
    pub(super) fn check_all(&mut self, root: BorrowedFd<'_>, git: &Path) {
        BELIEVED.iter().for_each(|name| self.check(root, &git.join(name)));
    }

    /// Looks whether somebody holds a file.
    pub(super) fn check(&mut self, root: BorrowedFd<'_>, path: &Path) {
        if self.is_held(root, path) {
            let moment = if self.copies < MOMENTS { MOMENT } else { Duration::ZERO };
            self.waiting.entry(path.to_owned()).or_insert_with(|| Instant::now() + moment);
        } else {
            self.waiting.remove(path);
        }
    }

    /// Puts copies in the place of what was held for too long.
    pub(super) fn let_go(&mut self, root: BorrowedFd<'_>) -> Audited {
        let mut found = Audited::default();
        let now = Instant::now();
        let due = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone());
        for path in due.collect::<Vec<_>>() {
            self.waiting.remove(&path);
            if !self.is_held(root, &path) {
                continue;
            }
            self.copies = self.copies.saturating_add(1);
            match copy_over(root, &path) {
                Ok(true) => {
                    let why = "a program held it open; a copy that it does not hold has its place".to_owned();
                    found.changed.push(Planted { path, why });
                }
                Ok(false) | Err(Errno::NOENT) => {}
                Err(error) => {
                    let why = format!("a program holds it open, and no copy could be made: {error}");
                    found.unseen.push(Planted { path, why });
                }
            }
        }
        found
    }

    fn is_held(&mut self, root: BorrowedFd<'_>, path: &Path) -> bool {
        let Some(inode) = inode(root, path) else {
            self.kept.remove(path);
            return false;
        };
        if self.kept.get(path).is_none_or(|(_, known)| *known != inode) {
            self.kept.remove(path);
            let Ok(file) = open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK) else {
                return false;
            };
            let file = File::from(file);
            if self.kept.len() >= MAX_KEPT {
                self.is_full = true;
                return writers(&file) == Writers::Somebody;
            }
            self.kept.insert(path.to_owned(), (file, inode));
        }
        self.kept.get(path).is_some_and(|(file, _)| writers(file) == Writers::Somebody)
    }
}

/// Puts a copy in the place of a file. Says whether it was the developer's: a file
/// of another id may be held by nobody.
fn copy_over(root: BorrowedFd<'_>, path: &Path) -> Result<bool, Errno> {
    let file = open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = rustix::fs::fstat(&file)?;
    let folder_flags = OFlags::PATH | OFlags::DIRECTORY;
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let above = open_beneath(root, above, folder_flags)?;
    // Read-only inside.
    let place = open_beneath(root, Path::new(".git/envctl"), folder_flags);
    let place = place.or_else(|_| above.try_clone().map_err(|_| Errno::MFILE))?;
    let made = made_in(&place, File::from(file), Mode::from_raw_mode(stat.st_mode & 0o777))?;
    if let Err(error) = rustix::fs::renameat(&place, &made, &above, name) {
        let _ = rustix::fs::unlinkat(&place, &made, AtFlags::empty());
        return Err(error);
    }
    Ok(stat.st_uid == rustix::process::geteuid().as_raw())
}

/// A copy of a file in a folder; its name there.
fn made_in(place: &OwnedFd, mut from: File, mode: Mode) -> Result<String, Errno> {
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let name = format!(".copy-{}", crate::digest::hex(&bytes));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    let written = from
        .seek(SeekFrom::Start(0))
        .and_then(|_| std::io::copy(&mut from, &mut File::from(file.try_clone()?)))
        .map_err(failed)
        .and_then(|_| rustix::fs::fchmod(&file, mode));
    if let Err(error) = written {
        let _ = rustix::fs::unlinkat(place, name.as_str(), AtFlags::empty());
        return Err(error);
    }
    Ok(name)
}

/// What a plain file is known by; looking at it opens nothing.
fn inode(root: BorrowedFd<'_>, path: &Path) -> Option<Inode> {
    let handle = open_beneath(root, path, OFlags::PATH).ok()?;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
    let is_file = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::RegularFile;
    is_file.then_some((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}
