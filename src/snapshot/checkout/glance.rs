//! Which tracked files may differ from the index, as far as `lstat` says, and
//! what else lies in their folders. One pass through the folders that have
//! tracked files, by several threads. A link that stands for one of them is not
//! followed, and nothing but names and stat data is taken from here.
//!
//! Nothing is taken for unchanged that git would read: a file counts as it is
//! in the index only when all of its stat data does, and when it cannot have
//! been written in the tick of the clock in which the index was.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::moment;
use super::refuse;
use super::vigil::Vigil;
use crate::disk::beneath::Beneath;
use crate::error::of_thread;
use crate::git::without_line_end;
use crate::snapshot::format::index::{Entry, Stat};

/// So many folders are enough to share out.
const SHARES: usize = 64;
/// A `.git` file is no larger, in bytes.
const MAX_POINTER: u64 = 64 << 10;
/// Clocks of files are no finer than this, in nanoseconds.
const TICK: i128 = 20_000_000;

/// What became of a tracked file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::snapshot) enum Fate {
    /// Nothing stands there that could be it.
    Gone,
    /// As the index has it.
    Same,
    /// Only its content says.
    Suspect,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::snapshot) struct Seen {
    /// Of each entry of the index.
    pub(in crate::snapshot) fates: Vec<Fate>,
    /// Bytes of those whose content has to say.
    pub(in crate::snapshot) suspect_bytes: u64,
    /// Files and links that the index does not have, in folders that it has.
    pub(in crate::snapshot) others: Vec<Vec<u8>>,
    /// Folders that the index does not have.
    pub(in crate::snapshot) strange: Vec<Vec<u8>>,
    /// Folders that the index has and that are empty.
    pub(in crate::snapshot) empty: Vec<Vec<u8>>,
    /// Sockets, pipes and devices.
    pub(in crate::snapshot) special: Vec<(Vec<u8>, &'static str)>,
    /// Git folders of repositories in folders that the index has.
    pub(in crate::snapshot) within: Vec<Vec<u8>>,
    /// What has the name of a git folder and is none.
    pub(in crate::snapshot) strays: Vec<Vec<u8>>,
}

impl Seen {
    /// Whether the same names are there.
    pub(in crate::snapshot) fn has_names_of(&self, other: &Seen) -> bool {
        let gone = |seen: &Seen| seen.fates.iter().map(|fate| *fate == Fate::Gone).collect::<Vec<_>>();
        let rest = |seen: &Seen| Seen { fates: Vec::new(), suspect_bytes: 0, ..seen.clone() };
        gone(self) == gone(other) && rest(self) == rest(other)
    }

    /// How many files have a content that has to say whether they changed.
    pub(in crate::snapshot) fn suspects(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Suspect).count()
    }
}

/// The checkout, and what its index says.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) struct Tracked<'a> {
    /// The checkout's files, and the path by which they are named.
    pub(in crate::snapshot) files: &'a Beneath,
    pub(in crate::snapshot) work_tree: &'a Path,
    /// In the order of the file.
    pub(in crate::snapshot) entries: &'a [Entry],
    /// When the index was written: seconds and nanoseconds.
    pub(in crate::snapshot) written: (i64, i64),
    /// Whether executable bits mean something here.
    pub(in crate::snapshot) file_mode: bool,
    /// Whether git may read a file that did not change as another, since
    /// attributes or settings did.
    pub(in crate::snapshot) read_otherwise: bool,
    /// Who listens for changes from now on.
    pub(in crate::snapshot) vigil: Option<&'a Vigil>,
}

/// Looks at everything.
///
/// # Errors
/// When a folder cannot be read.
pub(in crate::snapshot) fn glance(tracked: Tracked<'_>) -> Result<Seen> {
    let walk = GlanceWalk {
        tracked,
        fates: tracked.entries.iter().map(|_| AtomicU8::new(Fate::Gone as u8)).collect(),
        bytes: AtomicUsize::new(0),
    };
    let mut seen = Seen::default();
    // Widely first, until there is enough for all threads.
    let mut pending = std::collections::VecDeque::from([Vec::new()]);
    while pending.len() < SHARES
        && let Some(folder) = pending.pop_front()
    {
        let mut below = Vec::new();
        walk.folder(folder, &mut below, &mut seen)?;
        pending.extend(below);
    }
    let shared = Mutex::new(Vec::from(pending));
    let work = || -> Result<Seen> {
        let (mut seen, mut own) = (Seen::default(), Vec::new());
        loop {
            let next = own.pop().or_else(|| shared.lock().ok()?.pop());
            let Some(folder) = next else { return Ok(seen) };
            walk.folder(folder, &mut own, &mut seen)?;
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = threads.into_iter().map(|thread| of_thread(thread.join(), "a thread that looks")?);
        std::iter::once(own).chain(others).collect::<Vec<_>>()
    });
    for part in parts {
        let part = part?;
        seen.others.extend(part.others);
        seen.strange.extend(part.strange);
        seen.empty.extend(part.empty);
        seen.special.extend(part.special);
        seen.within.extend(part.within);
        seen.strays.extend(part.strays);
    }
    seen.others.sort_unstable();
    seen.strange.sort_unstable();
    seen.empty.sort_unstable();
    seen.special.sort_unstable();
    seen.within.sort_unstable();
    seen.strays.sort_unstable();
    seen.fates = walk.fates.iter().map(|fate| fate_of(fate.load(Ordering::Relaxed))).collect();
    seen.suspect_bytes = walk.bytes.load(Ordering::Relaxed) as u64;
    Ok(seen)
}

fn fate_of(byte: u8) -> Fate {
    [Fate::Gone, Fate::Same, Fate::Suspect][usize::from(byte.min(2))]
}

struct GlanceWalk<'a> {
    tracked: Tracked<'a>,
    fates: Vec<AtomicU8>,
    bytes: AtomicUsize,
}

impl GlanceWalk<'_> {
    /// One folder; those below it that have tracked files are added to `below`.
    fn folder(&self, folder: Vec<u8>, below: &mut Vec<Vec<u8>>, seen: &mut Seen) -> Result<()> {
        refuse::depth(&folder)?;
        let full = self.tracked.work_tree.join(OsStr::from_bytes(&folder));
        let context = || format!("cannot read {}", full.display());
        let Some(open) = self.open(&folder, &full)? else { return Ok(()) };
        let mut path = folder;
        if !path.is_empty() {
            path.push(b'/');
        }
        let (length, range) = (path.len(), self.below(&path));
        let mut is_empty = true;
        for entry in Dir::read_from(&open).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || (name.to_bytes() == b".git" && length == 0) {
                continue;
            }
            if name.to_bytes() == b".git" {
                // To git these are files of the checkout all the same.
                let is_one = is_repository(&open, entry.file_type());
                let list = if is_one { &mut seen.within } else { &mut seen.strays };
                list.push([&path[..length], b".git"].concat());
                continue;
            }
            path.truncate(length);
            path.extend_from_slice(name.to_bytes());
            let Some(kind) = kind_of(&entry, &open) else { continue };
            match kind {
                FileType::Directory | FileType::RegularFile | FileType::Symlink => is_empty = false,
                // Nothing of it arrives: its folder is empty there.
                other => {
                    refuse::special(&path, name_of(other))?;
                    seen.special.push((path.clone(), name_of(other)));
                    continue;
                }
            }
            match (self.find(&path, range.clone()), kind) {
                (Some(at), FileType::Directory) if self.tracked.entries[at].is_submodule() => {
                    self.all_at(at, Fate::Same);
                }
                (_, FileType::Directory) if self.has_tracked(&mut path) => below.push(path.clone()),
                (_, FileType::Directory) => seen.strange.push(path.clone()),
                (None, _) => seen.others.push(path.clone()),
                (Some(at), _) => self.file(at, &open, name),
            }
        }
        if is_empty && length > 0 {
            path.truncate(length - 1);
            seen.empty.push(path);
        }
        Ok(())
    }

    /// A folder's descriptor, under watch from now on; none where it went since its
    /// name was read.
    fn open(&self, folder: &[u8], full: &Path) -> Result<Option<OwnedFd>> {
        let open = match self.tracked.files.list(Path::new(OsStr::from_bytes(folder))) {
            Err(Errno::NOENT) if !folder.is_empty() => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(moment::fleeting(full)),
            other => other.with_context(|| format!("cannot read {}", full.display()))?,
        };
        if let Some(vigil) = self.tracked.vigil {
            vigil.watch(open.as_fd(), folder);
        }
        Ok(Some(open))
    }

    /// Whether a folder has tracked files.
    fn has_tracked(&self, folder: &mut Vec<u8>) -> bool {
        folder.push(b'/');
        let has = !self.below(folder).is_empty();
        folder.pop();
        has
    }

    /// A file or a link that the index has.
    fn file(&self, at: usize, folder: &OwnedFd, name: &CStr) {
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let fate = self.fate(&self.tracked.entries[at], &stat);
        if fate == Fate::Suspect {
            self.bytes.fetch_add(stat.st_size as usize, Ordering::Relaxed);
        }
        self.all_at(at, fate);
    }

    /// The entries below a folder, which ends with a slash.
    fn below(&self, folder: &[u8]) -> std::ops::Range<usize> {
        let entries = self.tracked.entries;
        let start = entries.partition_point(|entry| &*entry.path < folder);
        let count = entries[start..].partition_point(|entry| entry.path.starts_with(folder));
        start..start + count
    }

    /// The first entry of this path.
    fn find(&self, path: &[u8], range: std::ops::Range<usize>) -> Option<usize> {
        let at = range.start + self.tracked.entries[range.clone()].partition_point(|entry| &*entry.path < path);
        (at < range.end && self.tracked.entries[at].path == path).then_some(at)
    }

    /// In a conflict a path has several entries.
    fn all_at(&self, first: usize, fate: Fate) {
        let path = &self.tracked.entries[first].path;
        let same = self.tracked.entries[first..].iter().take_while(|entry| entry.path == *path);
        for at in first..first + same.count() {
            self.fates[at].store(fate as u8, Ordering::Relaxed);
        }
    }

    fn fate(&self, entry: &Entry, stat: &rustix::fs::Stat) -> Fate {
        let known = Stat { dev: 0, ..entry.stat };
        let now = Stat { dev: 0, ..Stat::from(stat) };
        let kind = match entry.mode & 0o170_000 {
            0o100_000 => {
                let executable = stat.st_mode & 0o100 != 0;
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && (!self.tracked.file_mode || executable == (entry.mode & 0o111 != 0))
            }
            0o120_000 => FileType::from_raw_mode(stat.st_mode) == FileType::Symlink,
            _ => false,
        };
        if kind && known == now && !entry.intent_to_add && !entry.skip_worktree && !self.is_racy(entry.stat.mtime) {
            Fate::Same
        } else {
            Fate::Suspect
        }
    }

    /// Whether a file with this time may have been written after the index
    /// was, and still look the same.
    fn is_racy(&self, (seconds, nanoseconds): (u32, u32)) -> bool {
        let written = self.tracked.written;
        // Where times have no fractions, a second is the tick; and so it is for
        // most builds of git.
        if nanoseconds == 0 || written.1 == 0 || self.tracked.read_otherwise {
            return i64::from(seconds) >= written.0;
        }
        let ns = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        ns(seconds.into(), nanoseconds.into()) + TICK >= ns(written.0, written.1)
    }
}

/// Whether the `.git` in a folder is what git takes for a repository
/// (`is_git_directory` of its `setup.c`): a folder with a HEAD and objects, or a
/// file that leads to one.
pub(in crate::snapshot) fn is_repository(folder: &impl AsFd, kind: FileType) -> bool {
    let at = |path: &Path| rustix::fs::statat(folder, path, AtFlags::empty()).is_ok();
    let holds = |place: &Path| at(&place.join("HEAD")) && (at(&place.join("objects")) || at(&place.join("commondir")));
    let dot = Path::new(".git");
    if kind == FileType::Directory || holds(dot) {
        return holds(dot);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let Ok(file) = rustix::fs::openat(folder, dot, flags, Mode::empty()) else { return false };
    let is_plain = rustix::fs::fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    let mut text = Vec::new();
    if !is_plain || File::from(file).take(MAX_POINTER).read_to_end(&mut text).is_err() {
        return false;
    }
    let place = text.strip_prefix(b"gitdir: ").map(without_line_end);
    place.is_some_and(|place| holds(Path::new(OsStr::from_bytes(place))))
}

/// What a file is, where its file system does not say so with its name, too; none
/// where it is gone.
pub(in crate::snapshot) fn kind_of(entry: &DirEntry, folder: &OwnedFd) -> Option<FileType> {
    match entry.file_type() {
        FileType::Unknown => {
            let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some(FileType::from_raw_mode(stat.st_mode))
        }
        kind => Some(kind),
    }
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "socket",
        FileType::Fifo => "pipe",
        _ => "device",
    }
}
