//! A walk through a checkout's untracked folders for what git does not list:
//! those that are empty, and files that are none.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::document::GitPath;
use super::glance::Seen;
use super::refuse;

/// What was found, ignored paths left out.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Folders without a file, in order.
    pub(super) empty: Vec<GitPath>,
    /// Sockets, pipes and devices, and what each is.
    pub(super) special: Vec<(Vec<u8>, &'static str)>,
}

/// Completes what was seen in the folders of tracked files by a walk through
/// those that have none.
///
/// # Errors
/// When one cannot be read, or is a repository that git does not track.
pub(super) fn walk(repo: &git2::Repository, seen: &mut Seen) -> Result<Walked> {
    let work_tree = repo.workdir().context("the repository is bare")?;
    // Git's library looks into each folder on the way for rules of its own.
    let readable = |path: &[u8]| {
        refuse::depth(path)?;
        let rules = [path, b"/.gitignore"].concat();
        let kind = work_tree.join(OsStr::from_bytes(&rules)).symlink_metadata().map(|meta| name_of(meta.file_type()));
        kind.ok().flatten().map_or(Ok(()), |kind| refuse::special(&rules, kind))
    };
    let ignored = |path: &[u8]| repo.is_path_ignored(Path::new(OsStr::from_bytes(path))).unwrap_or(false);
    let folder = |path: &[u8]| [path, b"/"].concat();
    let mut walked = Walked::default();
    walked.empty.extend(seen.empty.drain(..).map(GitPath));
    walked.special.extend(seen.special.drain(..).filter(|(path, _)| !ignored(path)));
    seen.strange.iter().try_for_each(|path| readable(path))?;
    let mut pending: Vec<Vec<u8>> = seen.strange.iter().filter(|path| !ignored(&folder(path))).cloned().collect();
    while let Some(above) = pending.pop() {
        let full = work_tree.join(OsStr::from_bytes(&above));
        let listing = fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))?;
        let mut count = 0;
        for entry in listing {
            let entry = entry.with_context(|| format!("cannot read {}", full.display()))?;
            count += 1;
            let name = entry.file_name();
            if name == ".git" {
                return Err(refuse::nested_repository(&full.display().to_string()).into());
            }
            let Ok(kind) = entry.file_type() else { continue };
            let path = [&folder(&above), name.as_bytes()].concat();
            if let Some(special) = name_of(kind) {
                // Nothing of it arrives: its folder is empty there.
                count -= 1;
                refuse::special(&path, special)?;
                if !ignored(&path) {
                    walked.special.push((path, special));
                }
            } else if kind.is_dir() {
                readable(&path)?;
                if !ignored(&folder(&path)) {
                    pending.push(path);
                }
            }
        }
        if count == 0 {
            walked.empty.push(GitPath(above));
        }
    }
    walked.empty.sort();
    walked.special.sort();
    Ok(walked)
}

fn name_of(kind: FileType) -> Option<&'static str> {
    if kind.is_socket() {
        Some("socket")
    } else if kind.is_fifo() {
        Some("pipe")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("device")
    } else {
        None
    }
}
