//! What a snapshot does not carry is refused by name, with what to do about it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::document::GitPath;
use super::index::Entry;
use crate::error::{Fault, policy};
use crate::git::check_entry_name;

/// Git ignores larger files of attributes.
const MAX_ATTRIBUTES: u64 = 100 << 20;

/// Refuses repositories among untracked files: git lists them as folders.
pub(super) fn nested<'a>(mut untracked: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    match untracked.find(|path| path.ends_with(b"/")) {
        None => Ok(()),
        Some(path) => Err(nested_repository(&String::from_utf8_lossy(&path[..path.len() - 1])).into()),
    }
}

fn nested_repository(path: &str) -> Fault {
    policy(format!("{path} is a nested repository, which snapshots do not carry yet"))
        .hint("move it out of the checkout, or list it in .gitignore")
}

/// Refuses names that no `enter` would restore.
pub(super) fn names(entries: &[Entry]) -> Result<()> {
    entries.iter().try_for_each(|entry| name(&entry.path, entry.mode == 0o120_000))
}

/// Refuses one path that no `enter` would restore.
pub(super) fn name(path: &[u8], is_link: bool) -> Result<()> {
    let mut components = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = components.next() {
        check_entry_name(name, is_link && components.peek().is_none()).map_err(|fault| {
            policy(format!("{} cannot be in a snapshot: {fault}", String::from_utf8_lossy(path)))
                .hint("rename it, or list it in .gitignore")
        })?;
    }
    Ok(())
}

/// Refuses what a snapshot does not carry yet, by name.
pub(super) fn unsupported(repo: &git2::Repository, entries: &[Entry]) -> Result<()> {
    if let Some(entry) = entries.iter().find(|entry| entry.mode == 0o160_000) {
        return Err(policy(format!(
            "{} is a submodule, which snapshots do not carry yet",
            String::from_utf8_lossy(&entry.path)
        ))
        .hint("publish from a branch without submodules")
        .into());
    }
    let own = repo.commondir().join("info/attributes");
    if uses_lfs(&own) {
        return Err(uses(&own).into());
    }
    lfs(repo.workdir().context("the repository is bare")?, entries)
}

/// Refuses attributes that hand files to Git LFS.
pub(super) fn lfs(work_tree: &Path, entries: &[Entry]) -> Result<()> {
    let is_attributes = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
    let files = entries.iter().filter(|entry| is_attributes(&entry.path));
    let mut paths = files.map(|entry| work_tree.join(std::ffi::OsStr::from_bytes(&entry.path)));
    paths.find(|path| uses_lfs(path)).map_or(Ok(()), |path| Err(uses(&path).into()))
}

fn uses(path: &Path) -> Fault {
    policy(format!("{} uses Git LFS, which snapshots do not carry yet", path.display()))
        .hint("publish from a branch without LFS files")
}

fn uses_lfs(attributes: &Path) -> bool {
    // As git does: no links, and nothing beyond its own limit.
    let is_file = attributes.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_ATTRIBUTES);
    let text = if is_file { fs::read(attributes).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&text).lines().any(|line| !line.starts_with('#') && line.contains("filter=lfs"))
}

/// Folders without entries, those that are ignored left out; a repository
/// inside the checkout is refused.
pub(super) fn empty_folders(repo: &git2::Repository, entries: &[Entry]) -> Result<Vec<GitPath>> {
    let work_tree = repo.workdir().context("the repository is bare")?;
    let mut tracked = std::collections::HashSet::new();
    for entry in entries {
        let mut path: &[u8] = &entry.path;
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if !tracked.insert(path) {
                break;
            }
        }
    }
    let mut empty = Vec::new();
    let mut pending = vec![Vec::new()];
    while let Some(folder) = pending.pop() {
        let full = work_tree.join(std::ffi::OsStr::from_bytes(&folder));
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
                return Err(nested_repository(&full.display().to_string()).into());
            }
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let as_folder = [&path[..], b"/"].concat();
            let ignored = || repo.is_path_ignored(Path::new(std::ffi::OsStr::from_bytes(&as_folder))).unwrap_or(false);
            if tracked.contains(&*path) || !ignored() {
                pending.push(path);
            }
        }
        if count == 0 && !folder.is_empty() {
            empty.push(GitPath(folder));
        }
    }
    empty.sort();
    Ok(empty)
}
