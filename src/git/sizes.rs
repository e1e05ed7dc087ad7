//! Files of a git folder that git's library reads whole, however large somebody made
//! them.

use std::path::{Path, PathBuf};

use super::bounds::MOST_OF_LIBRARY;

/// No index is larger, in bytes: git's library could not hold it.
pub const MAX_INDEX: u64 = MOST_OF_LIBRARY as u64;

/// More than git writes there for anybody, in bytes.
const MOST: [(&str, u64); 11] = [
    ("HEAD", 4 << 10),
    ("config", 16 << 20),
    ("config.worktree", 16 << 20),
    ("commondir", 64 << 10),
    ("packed-refs", 256 << 20),
    ("info/attributes", 64 << 20),
    ("info/exclude", 64 << 20),
    ("info/grafts", 64 << 20),
    ("index", MAX_INDEX),
    ("objects/info/alternates", 1 << 20),
    ("shallow", 256 << 20),
];

/// A ref is a name or an object, in bytes.
const MOST_OF_REF: u64 = 64 << 10;

/// The first that is larger than any that git makes, but for refs.
pub fn large_file(git_folder: &Path) -> Option<PathBuf> {
    let all = MOST.iter().map(|(name, most)| (git_folder.join(name), *most));
    all.into_iter().find(|(path, most)| is_over(path, *most)).map(|(path, _)| path)
}

/// The same among the refs that have a file each.
pub fn large_ref(git_folder: &Path) -> Option<PathBuf> {
    let mut pending = vec![git_folder.join("refs")];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(_) if is_over(&entry.path(), MOST_OF_REF) => return Some(entry.path()),
                _ => {}
            }
        }
    }
    None
}

fn is_over(path: &Path, most: u64) -> bool {
    path.metadata().is_ok_and(|meta| meta.len() > most)
}
