//! The files of a workspace, what each holds, and setting their times.
//!
//! No link is followed. Only times are changed, never what a file holds; a file
//! that somebody has just written keeps its own. Git's index learns of the new
//! times, so that `git status` need not read the files again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;
use sha1::{Digest as _, Sha1};

use super::times::{Time, is_of_a_tree, stamps};
use crate::disk::beneath::{Beneath, open_beneath};
use crate::git::IgnoreLists;

/// Clocks of files are no finer than this, in nanoseconds.
const TICK: i128 = 20_000_000;

/// A file, or a link.
#[derive(Clone, Copy, Debug)]
pub struct WorkspaceFile<'a> {
    /// From the workspace.
    pub path: &'a [u8],
    /// When it was written last.
    pub time: Time,
    /// It has been there since the workspace was made, and nobody has written it.
    pub pristine: bool,
    /// It is a link.
    pub link: bool,
    /// It is somebody's work: git tracks it, or does not ignore it, or it came
    /// with the task. Everything else was made by a tool.
    pub source: bool,
}

/// All files of a workspace.
pub struct Files {
    beneath: Beneath,
    repo: git2::Repository,
    ignored: IgnoreLists,
    index: git2::Index,
    /// When the index was written, in nanoseconds.
    written: i128,
    /// Entries of the index by their paths.
    tracked: HashMap<Vec<u8>, git2::IndexEntry>,
    all: Vec<SeenFile>,
}

struct SeenFile {
    path: Vec<u8>,
    stat: Stat,
    source: bool,
}

impl Files {
    /// Those of a workspace that is being made: nobody else writes to it, and its
    /// index is as its files are.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn of_draft(workspace: &Path) -> Result<Self> {
        Ok(Files { written: i128::MAX, ..Files::look(workspace, &[])? })
    }

    /// Looks at all files but those at or below `skipped`.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn look(workspace: &Path, skipped: &[String]) -> Result<Self> {
        let repo = git2::Repository::open(workspace).with_context(|| format!("cannot open {}", workspace.display()))?;
        let index = repo.index()?;
        let written = std::fs::symlink_metadata(repo.path().join("index")).map_or(0, |meta| {
            use std::os::unix::fs::MetadataExt;
            nanoseconds(meta.mtime(), meta.mtime_nsec())
        });
        let stage = |entry: &git2::IndexEntry| (entry.flags >> 12) & 3;
        let tracked = index.iter().filter(|entry| stage(entry) == 0).map(|entry| (entry.path.clone(), entry)).collect();
        let beneath = Beneath::open(workspace)?;
        let ignored = IgnoreLists::default();
        let mut files = Files { beneath, repo, ignored, index, written, tracked, all: Vec::new() };
        files.walk(skipped)?;
        Ok(files)
    }

    fn walk(&mut self, skipped: &[String]) -> Result<()> {
        // A folder, and whether git ignores everything in it.
        let mut pending: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false)];
        while let Some((folder, ignored)) = pending.pop() {
            let open = match self.beneath.list(Path::new(OsStr::from_bytes(&folder))) {
                // It went, or became something else, since its name was read.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) if !folder.is_empty() => continue,
                other => other.with_context(|| format!("cannot read {}", String::from_utf8_lossy(&folder)))?,
            };
            for entry in Dir::read_from(&open)? {
                let entry = entry?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b".." | b".git") {
                    continue;
                }
                let mut path = folder.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.to_bytes());
                if skipped.iter().any(|skipped| skipped.as_bytes() == path) {
                    continue;
                }
                let Ok(stat) = rustix::fs::statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {
                        let ignored = ignored || self.ignores(&path, true);
                        pending.push((path, ignored));
                    }
                    FileType::RegularFile | FileType::Symlink => {
                        let source = self.tracked.contains_key(&path)
                            || is_of_a_tree(time_of(&stat))
                            || !(ignored || self.ignores(&path, false));
                        self.all.push(SeenFile { path, stat, source });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn ignores(&self, path: &[u8], folder: bool) -> bool {
        let mut path = path.to_vec();
        if folder {
            path.push(b'/');
        }
        self.ignored.contains(&self.repo, &self.beneath, Path::new(OsStr::from_bytes(&path)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = WorkspaceFile<'_>> {
        self.all.iter().map(|seen| WorkspaceFile {
            path: &seen.path,
            time: time_of(&seen.stat),
            pristine: is_of_a_tree(time_of(&seen.stat)),
            link: FileType::from_raw_mode(seen.stat.st_mode) == FileType::Symlink,
            source: seen.source,
        })
    }

    /// Where the link at this place of the list leads; `None` when it is none.
    pub fn target(&self, at: usize) -> Option<Vec<u8>> {
        self.beneath.link(Path::new(OsStr::from_bytes(&self.all[at].path)))
    }

    /// What shows, on this machine, that nobody has written the file since: its size
    /// and where and when it was written.
    pub fn stamp(&self, at: usize) -> (u32, u64, Vec<u8>) {
        let stat = &self.all[at].stat;
        let numbers = [
            stat.st_mtime,
            stat.st_mtime_nsec as i64,
            stat.st_ctime,
            stat.st_ctime_nsec as i64,
            stat.st_ino as i64,
            stat.st_dev as i64,
        ];
        (stat.st_mode, stat.st_size as u64, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Option<git2::Oid> {
        self.repo.head().ok()?.target()
    }

    /// Makes the files in which git says what is checked out no older than `time`:
    /// tools that build a version into programs look at them.
    ///
    /// # Errors
    /// When a time cannot be set.
    pub fn raise_head(&self, time: Time) -> Result<()> {
        let mut names = vec![".git/HEAD".to_owned(), ".git/logs/HEAD".to_owned(), ".git/packed-refs".to_owned()];
        let head = self.repo.head().ok();
        names.extend(
            head.and_then(|head| Some(format!(".git/{}", head.name().ok()?))).filter(|name| name != ".git/HEAD"),
        );
        for name in names {
            let path = Path::new(&name);
            let Ok(file) = self.beneath.file(path) else { continue };
            let stat = rustix::fs::fstat(&file)?;
            if time_of(&stat) < time {
                rustix::fs::futimens(&file, &stamps(time)).with_context(|| format!("cannot set the time of {name}"))?;
            }
        }
        Ok(())
    }

    /// What the file at this place of the list holds: its kind, its size and the
    /// name that git gives to its content. `None` when it has just gone.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn content(&self, at: usize) -> Result<Option<(u32, u64, git2::Oid)>> {
        let SeenFile { path, stat, .. } = &self.all[at];
        let kind = stat.st_mode & 0o170_100;
        let known = self.tracked.get(path).filter(|entry| self.is_clean(entry, stat));
        if let Some(entry) = known {
            return Ok(Some((kind, stat.st_size as u64, entry.id)));
        }
        content_of(&self.beneath, Path::new(OsStr::from_bytes(path)), stat)
    }

    /// Whether the index knows what a file holds without reading it.
    fn is_clean(&self, entry: &git2::IndexEntry, stat: &Stat) -> bool {
        let seconds = |time: git2::IndexTime| (time.seconds(), time.nanoseconds());
        let mtime = nanoseconds(i64::from(entry.mtime.seconds()), i64::from(entry.mtime.nanoseconds()));
        seconds(entry.mtime) == (stat.st_mtime as i32, stat.st_mtime_nsec as u32)
            && seconds(entry.ctime) == (stat.st_ctime as i32, stat.st_ctime_nsec as u32)
            && (entry.ino, entry.file_size) == (stat.st_ino as u32, stat.st_size as u32)
            && entry.mode & 0o170_000 == stat.st_mode & 0o170_000
            // It cannot have been written after the index, in the same tick.
            && mtime + TICK < self.written
            // An entry for a file that is to be added has no content yet.
            && entry.flags_extended & 0x2000 == 0
    }

    /// Gives files of the list other times, and tells git's index. Files that
    /// were written meanwhile stay as they are.
    ///
    /// # Errors
    /// When a time cannot be set.
    pub fn set_times(&mut self, times: &[(usize, Time)]) -> Result<()> {
        let mut news = Vec::new();
        let mut parent: Option<(&[u8], OwnedFd)> = None;
        for (at, time) in times {
            let SeenFile { path, stat, .. } = &self.all[*at];
            let split = path.iter().rposition(|byte| *byte == b'/');
            let (above, name) = split.map_or((&b"."[..], &path[..]), |split| (&path[..split], &path[split + 1..]));
            let shown = || format!("cannot set the time of {}", String::from_utf8_lossy(path));
            if parent.as_ref().is_none_or(|(known, _)| *known != above) {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let opened = open_beneath(self.beneath.as_fd(), Path::new(OsStr::from_bytes(above)), flags);
                parent = Some((above, opened.with_context(shown)?));
            }
            let Some((_, folder)) = &parent else { continue };
            let now = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(now) => now,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error).with_context(shown),
            };
            if (now.st_ino, time_of(&now), now.st_size) != (stat.st_ino, time_of(stat), stat.st_size) {
                continue;
            }
            rustix::fs::utimensat(folder, name, &stamps(*time), AtFlags::SYMLINK_NOFOLLOW).with_context(shown)?;
            let after = rustix::fs::statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).with_context(shown)?;
            news.push((*at, after));
        }
        self.tell_index(&news);
        for (at, stat) in news {
            self.all[at].stat = stat;
        }
        Ok(())
    }

    /// What git does not learn here it finds out by reading the files.
    fn tell_index(&mut self, news: &[(usize, Stat)]) {
        let mut told = false;
        for (at, stat) in news {
            let SeenFile { path, stat: before, .. } = &self.all[*at];
            let Some(entry) = self.tracked.get(path).filter(|entry| self.is_clean(entry, before)) else { continue };
            let mtime = git2::IndexTime::new(stat.st_mtime as i32, stat.st_mtime_nsec as u32);
            let ctime = git2::IndexTime::new(stat.st_ctime as i32, stat.st_ctime_nsec as u32);
            let entry = git2::IndexEntry { mtime, ctime, path: path.clone(), ..*entry };
            told |= self.index.add(&entry).is_ok();
            self.tracked.insert(path.clone(), entry);
        }
        if told {
            let _ = self.index.write();
        }
    }
}

/// What a file or a link holds, read from it.
fn content_of(beneath: &Beneath, path: &Path, stat: &Stat) -> Result<Option<(u32, u64, git2::Oid)>> {
    // Only the owner's bit of the mode means something.
    let kind = stat.st_mode & 0o170_100;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let Some(target) = beneath.link(path) else { return Ok(None) };
        return Ok(Some((kind, target.len() as u64, git2::Oid::hash_object(git2::ObjectType::Blob, &target)?)));
    }
    let Ok(file) = beneath.file(path) else { return Ok(None) };
    let size = file.metadata()?.len();
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    let (mut content, mut buffer) = (file.take(size), vec![0; 64 << 10]);
    loop {
        match content.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Some((kind, size, git2::Oid::from_bytes(&hasher.finalize())?)))
}

/// The same of a file in the upper of a workspace; `None` for one that is gone there, or
/// cannot be read, and for one with more bytes than are `left` to be read.
pub fn content_above(upper: &Beneath, path: &[u8], left: &mut u64) -> Option<(u32, u64, git2::Oid)> {
    let path = Path::new(OsStr::from_bytes(path));
    let stat = upper.stat(path)?;
    *left = left.checked_sub(u64::try_from(stat.st_size).ok()?)?;
    let plain = matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Symlink);
    plain.then(|| content_of(upper, path, &stat).ok()).flatten().flatten()
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

fn time_of(stat: &Stat) -> Time {
    (stat.st_mtime, stat.st_mtime_nsec as u32)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
