//! A walk through a checkout's untracked folders for what git does not list:
//! those that are empty, and files that are none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::document::GitPath;
use super::glance::{Seen, is_repository};
use super::paths::path_of;
use super::scratch::ScratchRepo;
use super::{moment, refuse};
use crate::git::IgnoreLists;

/// What was found, ignored paths left out.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Folders without a file, in order.
    pub(super) empty: Vec<GitPath>,
    /// Sockets, pipes and devices, and what each is.
    pub(super) special: Vec<(Vec<u8>, &'static str)>,
    /// Repositories that git does not track.
    pub(super) nested: Vec<Vec<u8>>,
}

/// Completes what was seen in the folders of tracked files by a walk through
/// those that have none.
///
/// # Errors
/// When one cannot be read, or is a repository that git does not track, unless it
/// `leaves` those.
pub(super) fn walk(
    (scratch, repo): (&ScratchRepo, &git2::Repository),
    seen: &mut Seen,
    leaves: bool,
) -> Result<Walked> {
    // Git's library looks into each folder on the way for rules of its own.
    let readable = |path: &[u8]| {
        refuse::depth(path)?;
        let rules = [path, b"/.gitignore"].concat();
        let kind = scratch.stat(&rules).map(|stat| name_of(FileType::from_raw_mode(stat.st_mode)));
        kind.flatten().map_or(Ok(()), |kind| refuse::special(&rules, kind))
    };
    let rules = IgnoreLists::default();
    let ignored = |path: &[u8]| rules.contains(repo, &scratch.files, Path::new(OsStr::from_bytes(path)));
    let folder = |path: &[u8]| [path, b"/"].concat();
    let mut walked = Walked::default();
    walked.empty.extend(seen.empty.drain(..).map(GitPath));
    walked.special.extend(seen.special.drain(..).filter(|(path, _)| !ignored(path)));
    seen.strange.iter().try_for_each(|path| readable(path))?;
    let mut pending: Vec<Vec<u8>> = seen.strange.iter().filter(|path| !ignored(&folder(path))).cloned().collect();
    'folders: while let Some(above) = pending.pop() {
        let context = || format!("cannot read {}", scratch.full(&above).display());
        let open = match scratch.files.list(path_of(&above)) {
            // It went since its name was read.
            Err(Errno::NOENT) => continue,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(moment::fleeting(&scratch.full(&above))),
            other => other.with_context(context)?,
        };
        let mut count = 0;
        let (mut below, mut special_here) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&open).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if name == b".git" && !is_repository(&open, entry.file_type()) {
                // Git lists what lies beside it, and never this.
                continue;
            }
            count += 1;
            if name == b".git" {
                if leaves {
                    walked.nested.push(above);
                    continue 'folders;
                }
                return Err(refuse::nested_repository(&scratch.full(&above).display().to_string()).into());
            }
            let path = [&folder(&above), name].concat();
            let kind = match entry.file_type() {
                FileType::Unknown => match scratch.stat(&path) {
                    Some(stat) => FileType::from_raw_mode(stat.st_mode),
                    None => continue,
                },
                kind => kind,
            };
            if let Some(special) = name_of(kind) {
                // Nothing of it arrives: its folder is empty there.
                count -= 1;
                refuse::special(&path, special)?;
                if !ignored(&path) {
                    special_here.push((path, special));
                }
            } else if kind == FileType::Directory {
                readable(&path)?;
                if !ignored(&folder(&path)) {
                    below.push(path);
                }
            }
        }
        pending.extend(below);
        walked.special.extend(special_here);
        if count == 0 {
            walked.empty.push(GitPath(above));
        }
    }
    walked.empty.sort();
    walked.special.sort();
    Ok(walked)
}

fn name_of(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::Socket => Some("socket"),
        FileType::Fifo => Some("pipe"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("device"),
        _ => None,
    }
}
