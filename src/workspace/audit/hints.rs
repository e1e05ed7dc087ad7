//! What an index says besides its entries and only to save git work: which files
//! lie beside them (`UNTR`), and which have changed (`FSMN`). Git goes by the
//! folders that the first names, wherever those are, and writes down what it finds
//! there; and it does not check either of them well. Both go.
//!
//! Invariant: an index is exchanged under git's own lock for one with the same
//! entries, or it is put out of git's way.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use sha1::Digest as _;

use super::Audit;
use super::folder::read_plain;
use super::index::entries;
use crate::git::MAX_INDEX;

/// What goes with them: where the entries end and their blocks begin.
const PLACES: [&[u8]; 2] = [b"EOIE", b"IEOT"];

const HINTS: [&[u8]; 2] = [b"UNTR", b"FSMN"];

/// The index without its hints; `None` where it has none, or cannot be read.
pub(super) fn without(text: &[u8], id: usize) -> Option<Vec<u8>> {
    let mut at = entries(text, id, |_| {}).ok()?;
    let end = text.len().checked_sub(id).filter(|end| *end >= at)?;
    let mut plain = text.get(..at)?.to_vec();
    let mut has_hints = false;
    while at < end {
        let (kind, length) = (text.get(at..at + 4)?, text.get(at + 4..at + 8)?);
        let next = at.checked_add(8)?.checked_add(u32::from_be_bytes(length.try_into().ok()?) as usize)?;
        let extension = text.get(at..next).filter(|_| next <= end)?;
        has_hints |= HINTS.contains(&kind);
        if !HINTS.contains(&kind) && !PLACES.contains(&kind) {
            plain.extend_from_slice(extension);
        }
        at = next;
    }
    // `index.skipHash` leaves it out.
    let is_hashed = text.get(end..)?.iter().any(|byte| *byte != 0);
    let hash = match id {
        _ if !is_hashed => vec![0; id],
        20 => sha1::Sha1::digest(&plain).to_vec(),
        _ => sha2::Sha256::digest(&plain).to_vec(),
    };
    plain.extend(hash);
    has_hints.then_some(plain)
}

impl Audit<'_> {
    /// Exchanges an index that has hints for one without; whether that is done.
    pub(super) fn drop_hints(&self, folder: BorrowedFd<'_>, name: &CStr, id: usize) -> bool {
        let lock = c"index.lock";
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Who else holds it writes another one.
        let Ok(file) = rustix::fs::openat(folder, lock, flags, Mode::from_raw_mode(0o644)) else { return false };
        let done = read_plain(folder, name, MAX_INDEX).ok().and_then(|text| without(&text, id)).is_some_and(|plain| {
            std::fs::File::from(file).write_all(&plain).is_ok()
                && rustix::fs::renameat(folder, lock, folder, name).is_ok()
        });
        if !done {
            let _ = rustix::fs::unlinkat(folder, lock, AtFlags::empty());
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, nested};
    use std::path::Path;
    use std::process::Command;

    fn git(at: &Path, words: &[&str]) -> String {
        let done = Command::new("git").arg("-C").arg(at).args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    #[test]
    fn an_index_stays_without_what_it_says_of_other_files() {
        for format in ["sha1", "sha256"] {
            let dir = tempfile::tempdir().unwrap();
            nested(dir.path(), ".");
            let repo = dir.path().join("n");
            git(dir.path(), &["init", "-q", &format!("--object-format={format}"), "n"]);
            (0..30).for_each(|n| std::fs::write(repo.join(format!("file-{n}")), "x").unwrap());
            git(&repo, &["config", "index.recordEndOfIndexEntries", "true"]);
            git(&repo, &["add", "-A"]);
            git(&repo, &["update-index", "--untracked-cache"]);
            git(&repo, &["status"]);
            let index = repo.join(".git/index");
            let has = |what: &str| memchr::memmem::find(&std::fs::read(&index).unwrap(), what.as_bytes()).is_some();
            assert!(has("UNTR") && has("EOIE"));
            let (listed, tree) = (git(&repo, &["ls-files", "--stage"]), git(&repo, &["write-tree"]));
            assert_eq!(found(dir.path()), Vec::<String>::new());
            assert!(!has("UNTR") && !has("EOIE"));
            assert_eq!(git(&repo, &["ls-files", "--stage"]), listed);
            assert_eq!(git(&repo, &["write-tree"]), tree);
            git(&repo, &["fsck", "--strict"]);
            assert!(!repo.join(".git/index.lock").exists());
            // Somebody else writes it.
            git(&repo, &["update-index", "--untracked-cache"]);
            git(&repo, &["status"]);
            std::fs::write(repo.join(".git/index.lock"), "").unwrap();
            assert_eq!(found(dir.path()), ["n/.git/index"]);
        }
    }
}
