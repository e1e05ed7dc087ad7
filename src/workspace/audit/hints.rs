//! What an index says besides its entries and only to save git work: which files
//! lie beside them (`UNTR`), and which have changed (`FSMN`). Git goes by the
//! folders that the first names, wherever those are, and writes down what it finds
//! there; and it does not check either of them well. Both go.
//!
//! Invariant: an index is exchanged for one with the same entries, or it is put out of
//! git's way. What somebody writes meanwhile stays.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sha1::Digest as _;

use super::index::ReadIndex;
use super::names::unguessable;

/// What goes with them: where the entries end and their blocks begin.
const PLACES: [&[u8]; 2] = [b"EOIE", b"IEOT"];

const HINTS: [&[u8]; 2] = [b"UNTR", b"FSMN"];

/// The index without its hints; `None` where it has none.
pub(super) fn without(index: &ReadIndex<'_>) -> Option<Vec<u8>> {
    if !index.extensions.iter().any(|(kind, _)| HINTS.contains(kind)) {
        return None;
    }
    let mut plain = index.entries().to_vec();
    let stays = |kind: &[u8]| !HINTS.contains(&kind) && !PLACES.contains(&kind);
    index.extensions.iter().filter(|(kind, _)| stays(kind)).for_each(|(_, whole)| plain.extend_from_slice(whole));
    let hash = index.hash();
    // `index.skipHash` leaves it out.
    let hash = match hash.len() {
        length if hash.iter().all(|byte| *byte == 0) => vec![0; length],
        20 => sha1::Sha1::digest(&plain).to_vec(),
        _ => sha2::Sha256::digest(&plain).to_vec(),
    };
    plain.extend(hash);
    Some(plain)
}

/// The number of the file by this name.
pub(super) fn inode(folder: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino)
}

/// Exchanges an index, which was `before` when it was read, for this content; whether
/// nothing is left to do. Git's lock is not taken: whoever waits for it would fail.
pub(super) fn exchange(folder: BorrowedFd<'_>, name: &CStr, before: Result<u64, Errno>, content: &[u8]) -> bool {
    let draft = unguessable(c"index", false);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, &draft, flags, Mode::from_raw_mode(0o644)) else { return false };
    let swap = || rustix::fs::renameat_with(folder, &draft, folder, name, RenameFlags::EXCHANGE);
    let done = std::fs::File::from(file).write_all(content).is_ok()
        && match swap() {
            // Somebody has written another one: it comes back, and is judged by itself.
            Ok(()) if inode(folder, &draft) != before => swap().is_ok(),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::renameat(folder, &draft, folder, name).is_ok()
            }
            swapped => swapped.is_ok(),
        };
    let _ = rustix::fs::unlinkat(folder, &draft, AtFlags::empty());
    done
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, nested};
    use super::super::{AuditedRun, look_at};
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
            let left: Vec<_> =
                std::fs::read_dir(repo.join(".git")).unwrap().flatten().map(|it| it.file_name()).collect();
            assert!(
                left.iter().all(|name| name == "index" || !name.to_string_lossy().starts_with("index")),
                "{left:?}"
            );
            git(&repo, &["update-index", "--untracked-cache"]);
            git(&repo, &["status"]);
            // Somebody else is about to write it.
            std::fs::write(repo.join(".git/index.lock"), "").unwrap();
            let live = look_at(dir.path(), Path::new("n"), AuditedRun::default());
            assert_eq!((live.renamed, has("UNTR")), (Vec::new(), false));
            std::fs::remove_file(repo.join(".git/index.lock")).unwrap();
            assert_eq!(git(&repo, &["ls-files", "--stage"]), listed);
        }
    }
}
