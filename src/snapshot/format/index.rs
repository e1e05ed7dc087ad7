//! The index: hashed for parity, and written from a document. It is written by
//! hand (format 2 and 3 of git's `gitformat-index`), because the stat data of
//! files just written is known here and nowhere else; and read by hand, because
//! git's library takes several times as long. What is rare, git2 reads.

use std::path::Path;

use anyhow::Result;
use sha1::{Digest as _, Sha1};

use crate::digest::{Digest, Hasher};
use crate::disk::{self, Durability};

/// Flags of an entry as git2 and the file format have them.
pub(in crate::snapshot) const ASSUME_UNCHANGED: u16 = 0x8000;
/// Bytes of an entry before its path: see gitformat-index(5).
const FIXED: usize = 62;
const EXTENDED: u16 = 0x4000;
pub(in crate::snapshot) const SKIP_WORKTREE: u16 = 0x4000;
pub(in crate::snapshot) const INTENT_TO_ADD: u16 = 0x2000;

/// What `lstat` said about a file, cut to the widths of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Stat {
    pub(in crate::snapshot) ctime: (u32, u32),
    pub(in crate::snapshot) mtime: (u32, u32),
    pub(in crate::snapshot) dev: u32,
    pub(in crate::snapshot) ino: u32,
    pub(in crate::snapshot) uid: u32,
    pub(in crate::snapshot) gid: u32,
    pub(in crate::snapshot) size: u32,
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
pub(in crate::snapshot) struct Entry {
    pub(in crate::snapshot) path: Vec<u8>,
    pub(in crate::snapshot) stage: u8,
    pub(in crate::snapshot) mode: u32,
    pub(in crate::snapshot) object: git2::Oid,
    pub(in crate::snapshot) assume_unchanged: bool,
    pub(in crate::snapshot) skip_worktree: bool,
    pub(in crate::snapshot) intent_to_add: bool,
    pub(in crate::snapshot) stat: Stat,
}

impl Entry {
    /// An entry of this path without anything else.
    pub(in crate::snapshot) fn plain(path: &[u8]) -> Self {
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
    pub(in crate::snapshot) fn is_submodule(&self) -> bool {
        self.mode == 0o160_000
    }
}

/// All entries of an index in a form that is not rare.
pub(in crate::snapshot) fn of_bytes(bytes: &[u8]) -> Option<Vec<Entry>> {
    parse(bytes).map(|(entries, _)| entries)
}

/// All entries of an index file; none when the file does not exist.
pub(in crate::snapshot) fn read(path: &Path) -> Result<Vec<Entry>, git2::Error> {
    if let Ok(bytes) = std::fs::read(path)
        && let Some((entries, _)) = parse(&bytes)
    {
        return Ok(entries);
    }
    // Forms that are rare, and whatever is wrong with it.
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

/// Paths of which an index remembers a conflict that was resolved, so that `git
/// checkout -m` could bring it back; none where it is in a form that is rare.
pub(in crate::snapshot) fn resolved(path: &Path) -> Vec<Vec<u8>> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    if memchr::memmem::find(&bytes, b"REUC").is_none() {
        return Vec::new();
    }
    let mut rest = parse(&bytes).map(|(_, undo)| undo).unwrap_or_default();
    let mut paths = Vec::new();
    // A path, three modes in octal, and an object for each that is not zero.
    while let Some(end) = memchr::memchr(0, rest).filter(|end| *end > 0) {
        paths.push(rest[..end].to_vec());
        rest = &rest[end + 1..];
        let mut objects = 0;
        for _ in 0..3 {
            let Some(end) = memchr::memchr(0, rest) else { return paths };
            objects += usize::from(rest[..end] != *b"0");
            rest = &rest[end + 1..];
        }
        rest = rest.get(20 * objects..).unwrap_or_default();
    }
    paths
}

/// The entries of an index in format 2 or 3 that stands for itself, and what it
/// says of conflicts that were resolved.
fn parse(bytes: &[u8]) -> Option<(Vec<Entry>, &[u8])> {
    let content = without_sum(bytes)?;
    let (signature, version, count) = (content.get(..4)?, word(content, 4)?, word(content, 8)? as usize);
    if signature != b"DIRC" || !matches!(version, 2 | 3) || count > content.len() / FIXED {
        return None;
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut at = 12;
    for _ in 0..count {
        let (entry, next) = entry_at(content, at)?;
        if entries.last().is_some_and(|last| (&last.path, last.stage) >= (&entry.path, entry.stage)) {
            return None;
        }
        entries.push(entry);
        at = next;
    }
    Some((entries, resolve_undo(content, at)?))
}

/// An index without the checksum at its end; none where that is another.
fn without_sum(bytes: &[u8]) -> Option<&[u8]> {
    const SUM: usize = 20;
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
    // Git can be told to leave the checksum out.
    (sum == [0; SUM] || *sum == *Sha1::digest(content)).then_some(content)
}

fn word(content: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?))
}

/// The entry that begins here, and where the next one does.
fn entry_at(content: &[u8], at: usize) -> Option<(Entry, usize)> {
    let fixed = content.get(at..at + FIXED)?;
    let field = |n: usize| word(content, at + 4 * n);
    let flags = u16::from_be_bytes([fixed[60], fixed[61]]);
    let (mut more, mut start) = (0, at + FIXED);
    if flags & EXTENDED != 0 {
        more = u16::from_be_bytes(content.get(start..start + 2)?.try_into().ok()?);
        start += 2;
    }
    let length = memchr::memchr(0, content.get(start..)?)?;
    let entry = Entry {
        path: content[start..start + length].to_vec(),
        stage: ((flags >> 12) & 3) as u8,
        mode: field(6)?,
        object: git2::Oid::from_bytes(&fixed[40..60]).ok()?,
        assume_unchanged: flags & ASSUME_UNCHANGED != 0,
        skip_worktree: more & SKIP_WORKTREE != 0,
        intent_to_add: more & INTENT_TO_ADD != 0,
        stat: Stat {
            ctime: (field(0)?, field(1)?),
            mtime: (field(2)?, field(3)?),
            dev: field(4)?,
            ino: field(5)?,
            uid: field(7)?,
            gid: field(8)?,
            size: field(9)?,
        },
    };
    // Entries are padded to a multiple of eight bytes.
    Some((entry, at + (start - at + length) / 8 * 8 + 8))
}

/// The extension that holds conflicts that were resolved. None where there is an
/// extension that must be understood, which one with a small letter says of itself.
fn resolve_undo(content: &[u8], mut at: usize) -> Option<&[u8]> {
    let mut undo: &[u8] = &[];
    while at < content.len() {
        if !content[at].is_ascii_uppercase() {
            return None;
        }
        let end = at.checked_add(8)?.checked_add(word(content, at + 4)? as usize)?;
        if content[at..].starts_with(b"REUC") {
            undo = content.get(at + 8..end)?;
        }
        at = end;
    }
    (at == content.len()).then_some(undo)
}

/// sha256 over `MODE OBJECT STAGE FLAGS\0PATH\0` of every entry in order,
/// where FLAGS is a subset of `asi` (assume-unchanged, skip-worktree,
/// intent-to-add). Stat data does not count.
pub(in crate::snapshot) fn hash(entries: &[Entry]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = Hasher::default();
    let mut line = Vec::with_capacity(256);
    for entry in entries {
        line.clear();
        // Most octal modes have six digits; those that have more show them.
        if entry.mode < 0o1_000_000 {
            line.extend((0..6).rev().map(|digit| b'0' + (entry.mode >> (3 * digit) & 7) as u8));
        } else {
            line.extend_from_slice(format!("{:o}", entry.mode).as_bytes());
        }
        line.push(b' ');
        let hex = |byte: &u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        line.extend(entry.object.as_bytes().iter().flat_map(hex));
        line.extend_from_slice(&[b' ', b'0' + entry.stage, b' ']);
        let flags = [(entry.assume_unchanged, b'a'), (entry.skip_worktree, b's'), (entry.intent_to_add, b'i')];
        line.extend(flags.into_iter().filter_map(|(set, letter)| set.then_some(letter)));
        line.push(0);
        line.extend_from_slice(&entry.path);
        line.push(0);
        hasher.update(&line);
    }
    hasher.finish()
}

/// Writes an index file; sorts the entries first.
pub(in crate::snapshot) fn write(path: &Path, entries: &mut [Entry]) -> Result<()> {
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
