//! A walk through a checkout's folders for what git does not list: those that
//! are empty, and files that are none.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::document::GitPath;
use super::index::Entry;
use super::refuse;

/// What was found, ignored paths left out.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Folders without a file, in order.
    pub(super) empty: Vec<GitPath>,
    /// Sockets, pipes and devices, and what each is.
    pub(super) special: Vec<(Vec<u8>, &'static str)>,
}

/// Walks through all folders but those of submodules.
///
/// # Errors
/// When one cannot be read, or is a repository that git does not track.
pub(super) fn walk(repo: &git2::Repository, entries: &[Entry]) -> Result<Walked> {
    let work_tree = repo.workdir().context("the repository is bare")?;
    let (tracked, submodules) = (above(entries), submodules(entries));
    let mut walked = Walked::default();
    let mut pending = vec![Vec::new()];
    while let Some(folder) = pending.pop() {
        let full = work_tree.join(OsStr::from_bytes(&folder));
        let listing = fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))?;
        let mut count = 0;
        for entry in listing {
            let entry = entry.with_context(|| format!("cannot read {}", full.display()))?;
            count += 1;
            let name = entry.file_name();
            if name == ".git" {
                if folder.is_empty() {
                    count -= 1;
                    continue;
                }
                return Err(refuse::nested_repository(&full.display().to_string()).into());
            }
            let Ok(kind) = entry.file_type() else { continue };
            let special = name_of(kind);
            if !kind.is_dir() && special.is_none() {
                continue;
            }
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let ignored = |path: &[u8]| repo.is_path_ignored(Path::new(OsStr::from_bytes(path))).unwrap_or(false);
            if let Some(special) = special {
                // Nothing of it arrives: its folder is empty there.
                count -= 1;
                if !ignored(&path) {
                    walked.special.push((path, special));
                }
            } else if !submodules.contains(&*path)
                && (tracked.contains(&*path) || !ignored(&[&path[..], b"/"].concat()))
            {
                pending.push(path);
            }
        }
        if count == 0 && !folder.is_empty() {
            walked.empty.push(GitPath(folder));
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

/// The folders above tracked files.
fn above(entries: &[Entry]) -> HashSet<&[u8]> {
    let mut folders = HashSet::new();
    for entry in entries {
        let mut path: &[u8] = &entry.path;
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if !folders.insert(path) {
                break;
            }
        }
    }
    folders
}

fn submodules(entries: &[Entry]) -> HashSet<&[u8]> {
    entries.iter().filter(|entry| entry.is_submodule()).map(|entry| &*entry.path).collect()
}
