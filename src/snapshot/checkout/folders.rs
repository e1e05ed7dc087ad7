//! A walk through a checkout's untracked folders for what git does not list:
//! those that are empty, and files that are none.

use anyhow::{Context, Result};
use std::os::fd::AsFd as _;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::glance::{Seen, is_repository, kind_of};
use super::moment;
use super::refuse;
use super::scratch::{CAPTURE, ScratchRepo};
use super::vigil::Vigil;
use crate::git::IgnoreLists;
use crate::snapshot::format::document::GitPath;
use crate::snapshot::paths::path_of;

/// What was found, ignored paths left out.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Walked {
    /// Folders without a file, in order.
    pub(in crate::snapshot) empty: Vec<GitPath>,
    /// Sockets, pipes and devices, and what each is.
    pub(in crate::snapshot) special: Vec<(Vec<u8>, &'static str)>,
    /// Repositories that git does not track.
    pub(in crate::snapshot) nested: Vec<Vec<u8>>,
    /// What has the name of a git folder and is none: git lists what lies beside it, and
    /// never this.
    pub(in crate::snapshot) strays: Vec<Vec<u8>>,
    /// Folders of others, who let nobody look into them.
    pub(in crate::snapshot) unreadable: Vec<Vec<u8>>,
}

/// Completes what was seen in the folders of tracked files by a walk through
/// those that have none.
///
/// # Errors
/// When one cannot be read, or is a repository that git does not track, unless it
/// `leaves` those.
pub(in crate::snapshot) fn walk(
    (scratch, repo): (&ScratchRepo, &git2::Repository),
    seen: &mut Seen,
    (leaves, vigil): (bool, &Vigil),
) -> Result<Walked> {
    let lists = IgnoreLists::default();
    let mut walk = FolderWalk { scratch, repo, lists, leaves, vigil, walked: Walked::default(), pending: Vec::new() };
    walk.walked.empty.extend(seen.empty.drain(..).map(GitPath));
    let special = seen.special.drain(..).filter(|(path, _)| !walk.is_ignored(path)).collect::<Vec<_>>();
    walk.walked.special = special;
    seen.strange.iter().try_for_each(|path| walk.readable(path))?;
    walk.pending = seen.strange.iter().filter(|path| !walk.is_ignored(&as_folder(path))).cloned().collect();
    while let Some(folder) = walk.pending.pop() {
        walk.folder(folder)?;
    }
    let mut walked = walk.walked;
    walked.empty.sort();
    walked.special.sort();
    walked.strays.extend(seen.strays.iter().cloned());
    walked.strays.sort();
    walked.unreadable.sort();
    Ok(walked)
}

struct FolderWalk<'a> {
    scratch: &'a ScratchRepo,
    repo: &'a git2::Repository,
    lists: IgnoreLists,
    leaves: bool,
    /// It hears of each folder from before it is listed.
    vigil: &'a Vigil,
    walked: Walked,
    pending: Vec<Vec<u8>>,
}

impl FolderWalk<'_> {
    fn is_ignored(&self, path: &[u8]) -> bool {
        self.lists.contains(self.repo, &self.scratch.files, path_of(path))
    }

    /// Git's library looks into each folder on the way for rules of its own.
    fn readable(&self, path: &[u8]) -> Result<()> {
        refuse::depth(path)?;
        let rules = [path, b"/.gitignore"].concat();
        let kind = self.scratch.stat(&rules).map(|stat| name_of(FileType::from_raw_mode(stat.st_mode)));
        kind.flatten().map_or(Ok(()), |kind| refuse::special(&rules, kind))
    }

    fn folder(&mut self, folder: Vec<u8>) -> Result<()> {
        let context = || format!("cannot read {}", self.scratch.full(&folder).display());
        let opened = self.scratch.files.list(path_of(&folder));
        if let Ok(open) = &opened {
            self.vigil.watch(open.as_fd(), &folder);
        }
        let (open, entries) = match opened.and_then(|open| Dir::read_from(&open).map(|dir| (open, dir))) {
            // It went since its name was read.
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(moment::fleeting(&self.scratch.full(&folder))),
            Err(Errno::ACCESS) if self.leaves => {
                self.walked.unreadable.push(as_folder(&folder));
                return Ok(());
            }
            other => other.with_context(context)?,
        };
        let mut is_empty = true;
        let (mut below, mut special_here) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || name.starts_with(CAPTURE.as_bytes()) {
                continue;
            }
            if name == b".git" && !is_repository(&open, entry.file_type()) {
                self.walked.strays.push([&as_folder(&folder), name].concat());
                continue;
            }
            if name == b".git" {
                if self.leaves {
                    self.walked.nested.push(folder);
                    return Ok(());
                }
                return Err(refuse::nested_repository(&self.scratch.full(&folder).display().to_string()).into());
            }
            let path = [&as_folder(&folder), name].concat();
            let Some(kind) = kind_of(&entry, &open) else { continue };
            if let Some(special) = name_of(kind) {
                // Nothing of it arrives: its folder is empty there.
                refuse::special(&path, special)?;
                if !self.is_ignored(&path) {
                    special_here.push((path, special));
                }
                continue;
            }
            is_empty = false;
            if kind == FileType::Directory {
                self.readable(&path)?;
                if !self.is_ignored(&as_folder(&path)) {
                    below.push(path);
                }
            }
        }
        self.pending.extend(below);
        self.walked.special.extend(special_here);
        if is_empty {
            self.walked.empty.push(GitPath(folder));
        }
        Ok(())
    }
}

fn as_folder(path: &[u8]) -> Vec<u8> {
    [path, b"/"].concat()
}

fn name_of(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::Socket => Some("socket"),
        FileType::Fifo => Some("pipe"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("device"),
        _ => None,
    }
}
