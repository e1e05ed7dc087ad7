//! The index: hashed for parity, and written from a document. git2 reads it;
//! it is written by hand (index format 2 and 3 of git's `gitformat-index`),
//! because the stat data of files just written is known here and nowhere else.

use std::path::Path;

use anyhow::Result;
use sha1::{Digest as _, Sha1};

use crate::digest::{Digest, Hasher};
use crate::disk::{self, Durability};

/// Flags of an entry as git2 and the file format have them.
pub(super) const ASSUME_UNCHANGED: u16 = 0x8000;
const EXTENDED: u16 = 0x4000;
pub(super) const SKIP_WORKTREE: u16 = 0x4000;
pub(super) const INTENT_TO_ADD: u16 = 0x2000;

/// What `lstat` said about a file, cut to the widths of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) ctime: (u32, u32),
    pub(super) mtime: (u32, u32),
    pub(super) dev: u32,
    pub(super) ino: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u32,
}

impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Stat {
            ctime: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
            mtime: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
            dev: stat.st_dev as u32,
            ino: stat.st_ino as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u32,
        }
    }
}

/// One entry, in the order of the file when sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) stage: u8,
    pub(super) mode: u32,
    pub(super) object: git2::Oid,
    pub(super) assume_unchanged: bool,
    pub(super) skip_worktree: bool,
    pub(super) intent_to_add: bool,
    pub(super) stat: Stat,
}

impl Entry {
    /// An entry of this path without anything else.
    pub(super) fn plain(path: &[u8]) -> Self {
        Entry {
            path: path.to_vec(),
            stage: 0,
            mode: 0,
            object: git2::Oid::ZERO_SHA1,
            assume_unchanged: false,
            skip_worktree: false,
            intent_to_add: false,
            stat: Stat::default(),
        }
    }

    /// Whether it stands for a commit of another repository.
    pub(super) fn is_submodule(&self) -> bool {
        self.mode == 0o160_000
    }
}

/// All entries of an index file; none when the file does not exist.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, git2::Error> {
    let index = git2::Index::open(path)?;
    Ok(index
        .iter()
        .map(|entry| Entry {
            stage: ((entry.flags >> 12) & 3) as u8,
            mode: entry.mode,
            object: entry.id,
            assume_unchanged: entry.flags & ASSUME_UNCHANGED != 0,
            skip_worktree: entry.flags_extended & SKIP_WORKTREE != 0,
            intent_to_add: entry.flags_extended & INTENT_TO_ADD != 0,
            stat: Stat {
                ctime: (entry.ctime.seconds() as u32, entry.ctime.nanoseconds()),
                mtime: (entry.mtime.seconds() as u32, entry.mtime.nanoseconds()),
                dev: entry.dev,
                ino: entry.ino,
                uid: entry.uid,
                gid: entry.gid,
                size: entry.file_size,
            },
            path: entry.path,
        })
        .collect())
}

/// sha256 over `MODE OBJECT STAGE FLAGS\0PATH\0` of every entry in order,
/// where FLAGS is a subset of `asi` (assume-unchanged, skip-worktree,
/// intent-to-add). Stat data does not count.
pub(super) fn hash(entries: &[Entry]) -> Digest {
    let mut hasher = Hasher::default();
    for entry in entries {
        let flag = |set: bool, letter: &'static str| if set { letter } else { "" };
        let line = format!(
            "{:06o} {} {} {}{}{}\0",
            entry.mode,
            entry.object,
            entry.stage,
            flag(entry.assume_unchanged, "a"),
            flag(entry.skip_worktree, "s"),
            flag(entry.intent_to_add, "i"),
        );
        hasher.update(line.as_bytes());
        hasher.update(&entry.path);
        hasher.update(&[0]);
    }
    hasher.finish()
}

/// Writes an index file; sorts the entries first.
pub(super) fn write(path: &Path, entries: &mut [Entry]) -> Result<()> {
    entries.sort_by(|a, b| a.path.cmp(&b.path).then(a.stage.cmp(&b.stage)));
    let extended = entries.iter().any(|entry| entry.skip_worktree || entry.intent_to_add);
    let mut out = Vec::with_capacity(entries.len() * 96);
    out.extend_from_slice(b"DIRC");
    out.extend_from_slice(&(if extended { 3u32 } else { 2 }).to_be_bytes());
    out.extend_from_slice(&u32::try_from(entries.len())?.to_be_bytes());
    for entry in entries.iter() {
        let start = out.len();
        let stat = entry.stat;
        for word in [
            stat.ctime.0,
            stat.ctime.1,
            stat.mtime.0,
            stat.mtime.1,
            stat.dev,
            stat.ino,
            entry.mode,
            stat.uid,
            stat.gid,
            stat.size,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(entry.object.as_bytes());
        let more =
            if entry.skip_worktree { SKIP_WORKTREE } else { 0 } | if entry.intent_to_add { INTENT_TO_ADD } else { 0 };
        let mut flags = u16::from(entry.stage) << 12 | entry.path.len().min(0xfff) as u16;
        if entry.assume_unchanged {
            flags |= ASSUME_UNCHANGED;
        }
        if more != 0 {
            flags |= EXTENDED;
        }
        out.extend_from_slice(&flags.to_be_bytes());
        if more != 0 {
            out.extend_from_slice(&more.to_be_bytes());
        }
        out.extend_from_slice(&entry.path);
        let length = out.len() - start;
        out.resize(start + (length / 8 + 1) * 8, 0);
    }
    let checksum = Sha1::digest(&out);
    out.extend_from_slice(&checksum);
    disk::write_file(path, &out, Durability::Cached)?;
    // git itself rewrites the index in place of the file; it must be writable.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = ("[a-z]{1,12}(/[a-z]{1,12}){0,3}", any::<[bool; 3]>(), any::<[u8; 20]>(), any::<u32>());
        proptest::collection::btree_map("[a-z]{1,3}", entry, 0..20).prop_map(|map| {
            map.into_iter()
                .map(|(name, (path, flags, object, size))| Entry {
                    path: format!("{path}.{name}").into_bytes(),
                    stage: 0,
                    mode: 0o100_644,
                    object: git2::Oid::from_bytes(&object).unwrap(),
                    assume_unchanged: flags[0],
                    skip_worktree: flags[1],
                    intent_to_add: flags[2],
                    stat: Stat { size, mtime: (7, 9), ..Stat::default() },
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(mut entries in entries()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("index");
            write(&path, &mut entries).unwrap();
            let back = read(&path).unwrap();
            prop_assert_eq!(&back, &entries);
            prop_assert_eq!(hash(&back), hash(&entries));
        }
    }
}
