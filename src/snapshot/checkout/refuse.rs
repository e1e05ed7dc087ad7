//! What a snapshot does not carry is refused by name, with what to do about it.

use anyhow::Result;

use crate::error::{Fault, policy};
use crate::git::check_entry_name;
use crate::snapshot::format::document::MAX_DOCUMENT;
use crate::snapshot::format::index::Entry;
use crate::snapshot::tree::files::{MOST_ENTRIES, MOST_PATHS};

pub(in crate::snapshot) fn nested_repository(path: &str) -> Fault {
    policy(format!("{path} is a nested repository that git does not track: no snapshot can hold it"))
        .hint("git submodule add it, move it out of the checkout, or list it in .gitignore")
}

/// Larger files do not travel, in bytes. Reading one takes minutes.
const MAX_FILE: i64 = 64 << 30;
/// Nor do files beyond this size that are mostly holes: they would be written in
/// full where they arrive.
const MAX_SPARSE: i64 = 4 << 30;

/// Whether a file is too large to travel.
pub(in crate::snapshot) fn is_too_large(stat: &rustix::fs::Stat) -> bool {
    let allocated = stat.st_blocks.saturating_mul(512);
    stat.st_size > MAX_FILE || stat.st_size > MAX_SPARSE && allocated < stat.st_size / 8
}

/// What to say of one that cannot be left behind.
pub(in crate::snapshot) fn too_large(path: &[u8]) -> Fault {
    policy(format!("{} is too large to travel", String::from_utf8_lossy(path)))
        .hint("move it out of the checkout; one that git does not track can be listed in .gitignore instead")
}

/// What to say of a file that may not be read, and cannot be left behind.
pub(in crate::snapshot) fn unreadable(path: &[u8]) -> Fault {
    policy(format!("{} may not be read", String::from_utf8_lossy(path))).hint(
        "chmod u+r it, or move it out of the checkout; one that git does not track can be listed in .gitignore instead",
    )
}

/// Folders within folders, at most so deep: whether one is ignored depends on all
/// above it.
const DEPTH: usize = 256;

/// Refuses a folder that is nested without end.
pub(in crate::snapshot) fn depth(folder: &[u8]) -> Result<()> {
    if folder.iter().filter(|byte| **byte == b'/').count() < DEPTH {
        return Ok(());
    }
    let start = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(2).map_or(folder.len(), |(at, _)| at);
    let start = String::from_utf8_lossy(&folder[..start]);
    Err(policy(format!("{start}/... has folders nested more than {DEPTH} deep: no snapshot can hold them"))
        .hint("remove them, or list their topmost folder in .gitignore")
        .into())
}

/// Refuses a pipe or the like where git reads: it would wait for ever.
pub(in crate::snapshot) fn special(path: &[u8], kind: &str) -> Result<()> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if !matches!(name, b".gitignore" | b".gitattributes" | b".gitmodules") {
        return Ok(());
    }
    let path = String::from_utf8_lossy(path);
    Err(policy(format!("{path} is a {kind}, and git reads it")).hint("remove it, then publish again").into())
}

/// Refuses names that no `enter` would restore, and more of them than it would.
pub(in crate::snapshot) fn names(entries: &[Entry]) -> Result<()> {
    if entries.len() > MOST_ENTRIES {
        return Err(policy(format!(
            "the checkout has {} files, and no snapshot more than {MOST_ENTRIES}",
            entries.len()
        ))
        .hint("publish from a repository with fewer tracked files")
        .into());
    }
    entries.iter().try_for_each(|entry| name(&entry.path, entry.mode == 0o120_000))
}

/// Refuses one path that no `enter` would restore.
pub(in crate::snapshot) fn name(path: &[u8], is_link: bool) -> Result<()> {
    let mut components = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = components.next() {
        check_entry_name(name, is_link && components.peek().is_none()).map_err(|fault| {
            policy(format!("{} cannot be in a snapshot: {fault}", String::from_utf8_lossy(path)))
                .hint("rename it, or list it in .gitignore")
        })?;
    }
    Ok(())
}

/// Refuses more files and folders, or more of their paths, than whoever enters reads.
///
/// # Errors
/// With how many there are.
pub(in crate::snapshot) fn paths<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Result<(), Fault> {
    let mut all: Vec<&[u8]> = paths.collect();
    // Two lists that are in order already, which this sort sees.
    all.sort();
    all.dedup();
    let (mut count, mut bytes, mut before): (usize, usize, &[u8]) = (0, 0, b"");
    for path in all {
        let same = before.iter().zip(path).take_while(|(one, other)| one == other).count();
        // A folder is new where its name does not end within what both have.
        let ends = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at >= same).map(|(at, _)| at);
        for length in ends.chain([path.len()]) {
            (count, bytes) = (count + 1, bytes + length);
        }
        before = path;
    }
    if count <= MOST_ENTRIES && bytes <= MOST_PATHS {
        return Ok(());
    }
    let (most, megabytes) = (MOST_ENTRIES, MOST_PATHS >> 20);
    Err(policy(format!(
        "the checkout has {count} files and folders with {} MB of paths; a snapshot has at most {most}, and {megabytes} MB",
        bytes >> 20
    ))
    .hint("ignore or remove what is not needed, then publish again"))
}

/// Refuses a document that whoever enters would not read.
///
/// # Errors
/// With its size.
pub(in crate::snapshot) fn document(size: u64) -> Result<(), Fault> {
    if size <= MAX_DOCUMENT {
        return Ok(());
    }
    let (size, most) = (size >> 20, MAX_DOCUMENT >> 20);
    Err(policy(format!("what git says of the checkout's files takes {size} MB, and a snapshot has at most {most} MB"))
        .hint("a sparse checkout names each file that it leaves out: git sparse-checkout disable, then publish again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_their_paths_count() {
        let few: Vec<Vec<u8>> = (0..1000).map(|n| format!("a/b/{n}/c").into_bytes()).collect();
        assert!(paths(few.iter().map(Vec::as_slice)).is_ok());
        let many: Vec<Vec<u8>> = (0..MOST_ENTRIES / 2).map(|n| format!("{n:06}/c").into_bytes()).collect();
        assert!(paths(many.iter().map(Vec::as_slice)).is_ok());
        let more = many.iter().map(Vec::as_slice).chain([&b"z"[..]]);
        assert!(paths(more).unwrap_err().to_string().contains("1000001 files and folders"));
        let long = vec![b'x'; MOST_PATHS / 2 + 1];
        let both = [[&long[..], b"/1"].concat(), [&long[..], b"/2"].concat()];
        assert!(paths(both.iter().map(Vec::as_slice)).is_err());
    }
}
