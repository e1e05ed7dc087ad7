//! Whether files on disk are those of a tree, read back from the disk and
//! hashed as git hashes them. For files that git stores as they are.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{FileType, Mode, OFlags};
use sha1::{Digest as _, Sha1};

use super::files::{TreeFile, in_parts, open_folder};

/// Whether exactly these files are below `root`, its `.git` left out. Anything
/// that cannot be read differs.
pub(super) fn same_files(root: &Path, files: &[TreeFile]) -> Result<bool> {
    let parts = in_parts(root, files, |top, part| Ok(vec![part.iter().all(same_part(top))]))?;
    Ok(parts.into_iter().all(|same| same) && count(root)? == files.len())
}

fn same_part(top: BorrowedFd<'_>) -> impl FnMut(&TreeFile) -> bool {
    let mut parent = None;
    let mut buffer = Vec::new();
    move |file| {
        let path = Path::new(std::ffi::OsStr::from_bytes(&file.path));
        let folder = path.parent().unwrap_or(Path::new(""));
        if parent.as_ref().is_none_or(|(known, _)| known != folder) {
            let Ok(opened) = open_folder(top, folder) else { return false };
            parent = Some((folder.to_owned(), opened));
        }
        let (Some((_, folder)), Some(name)) = (&parent, path.file_name()) else { return false };
        buffer.clear();
        let mode = if file.mode == 0o120_000 {
            let Ok(target) = rustix::fs::readlinkat(folder, name, Vec::new()) else { return false };
            buffer.extend_from_slice(target.as_bytes());
            0o120_000
        } else {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(open) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
            let Ok(stat) = rustix::fs::fstat(&open) else { return false };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return false;
            }
            buffer.reserve(stat.st_size as usize + 1);
            if File::from(open).read_to_end(&mut buffer).is_err() {
                return false;
            }
            if stat.st_mode & 0o100 == 0 { 0o100_644 } else { 0o100_755 }
        };
        mode == file.mode && blob_hash(&buffer) == file.object.as_bytes()
    }
}

fn blob_hash(content: &[u8]) -> [u8; 20] {
    let header = format!("blob {}\0", content.len());
    Sha1::new().chain_update(header).chain_update(content).finalize().into()
}

/// Entries below a folder that are no folders.
fn count(root: &Path) -> Result<usize> {
    let mut found = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                found += 1;
            } else if folder != *root || entry.file_name() != ".git" {
                pending.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/HEAD"), "x").unwrap();
        fs::write(root.join("a/b/one"), "1").unwrap();
        fs::write(root.join("two"), "2").unwrap();
        std::os::unix::fs::symlink("two", root.join("link")).unwrap();
        let file = |path: &str, mode, content: &[u8]| TreeFile {
            path: path.into(),
            mode,
            object: git2::Oid::hash_object(git2::ObjectType::Blob, content).unwrap(),
        };
        let files =
            vec![file("a/b/one", 0o100_644, b"1"), file("link", 0o120_000, b"two"), file("two", 0o100_644, b"2")];
        assert!(same_files(root, &files).unwrap());
        let with = |at: usize, other: TreeFile| {
            let mut files = files.clone();
            files[at] = other;
            same_files(root, &files).unwrap()
        };
        assert!(!with(0, file("a/b/one", 0o100_644, b"2")));
        assert!(!with(0, file("a/b/one", 0o100_755, b"1")));
        assert!(!with(0, file("a/b/other", 0o100_644, b"1")));
        assert!(!with(1, file("link", 0o100_644, b"two")));
        assert!(!with(2, file("two", 0o120_000, b"2")));
        fs::write(root.join("a/extra"), "").unwrap();
        assert!(!same_files(root, &files).unwrap());
    }
}
