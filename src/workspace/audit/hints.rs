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

use super::Audit;
use super::folder::read_plain;
use super::index::{entries, extensions};
use super::names::unguessable;
use crate::git::MAX_INDEX;

/// What goes with them: where the entries end and their blocks begin.
const PLACES: [&[u8]; 2] = [b"EOIE", b"IEOT"];

const HINTS: [&[u8]; 2] = [b"UNTR", b"FSMN"];

/// The index without its hints; `None` where it has none.
pub(super) fn without(text: &[u8], id: usize) -> Option<Vec<u8>> {
    let extensions = extensions(text, id).ok()?;
    if !extensions.iter().any(|(kind, _)| HINTS.contains(kind)) {
        return None;
    }
    let (entries, hash) = (entries(text, id, |_| {}).ok()?, text.len().checked_sub(id)?);
    let mut plain = text.get(..entries)?.to_vec();
    let stays = |kind: &[u8]| !HINTS.contains(&kind) && !PLACES.contains(&kind);
    extensions.iter().filter(|(kind, _)| stays(kind)).for_each(|(_, whole)| plain.extend_from_slice(whole));
    // `index.skipHash` leaves it out.
    let is_hashed = text.get(hash..)?.iter().any(|byte| *byte != 0);
    let hash = match id {
        _ if !is_hashed => vec![0; id],
        20 => sha1::Sha1::digest(&plain).to_vec(),
        _ => sha2::Sha256::digest(&plain).to_vec(),
    };
    plain.extend(hash);
    Some(plain)
}

impl Audit<'_> {
    /// Exchanges an index that has hints for one without; whether nothing is left to do.
    /// Git's lock is not taken: whoever waits for it would fail.
    pub(super) fn drop_hints(&self, folder: BorrowedFd<'_>, name: &CStr, id: usize) -> bool {
        let inode = |name: &CStr| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino);
        let before = inode(name);
        let Some(plain) = read_plain(folder, name, MAX_INDEX).ok().and_then(|text| without(&text, id)) else {
            return false;
        };
        let draft = unguessable(c"index", false);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(folder, &draft, flags, Mode::from_raw_mode(0o644)) else { return false };
        let exchange = || rustix::fs::renameat_with(folder, &draft, folder, name, RenameFlags::EXCHANGE);
        let done = std::fs::File::from(file).write_all(&plain).is_ok()
            && match exchange() {
                // Somebody has written another one: it comes back, and is judged by itself.
                Ok(()) if inode(&draft) != before => exchange().is_ok(),
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    rustix::fs::renameat(folder, &draft, folder, name).is_ok()
                }
                exchanged => exchanged.is_ok(),
            };
        let _ = rustix::fs::unlinkat(folder, &draft, AtFlags::empty());
        done
    }
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
