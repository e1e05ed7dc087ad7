//! Renaming what git should not read.
//!
//! Invariant: nothing is lost, and nothing stays under a name that a pointer or
//! a ref could lead to without being looked at again.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::names::{put_away, unguessable};
use super::{Audit, Planted};

impl Audit<'_> {
    /// Renames something that git would know by its name.
    pub(super) fn quarantine(&mut self, folder: BorrowedFd<'_>, name: &CStr, why: String) {
        let kind = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return,
            Err(error) => return self.unseen(name, error),
        };
        let plain = put_away(name, self.is_among_refs());
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            // By any name git could be led to it: what it says is kept.
            let gone = describe(folder, name, kind, [&plain, &unguessable(name, self.is_among_refs())])
                .and_then(|()| rustix::fs::unlinkat(folder, name, AtFlags::empty()));
            return match gone {
                Ok(()) => self.renamed(name, why),
                Err(error) => self.unseen(name, error),
            };
        }
        match rustix::fs::renameat_with(folder, name, folder, &plain, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.renamed(name, why);
                if kind == FileType::Directory {
                    self.moved.push(plain);
                }
            }
            Err(Errno::NOENT) => {}
            Err(_) => self.hide(folder, name, why),
        }
    }

    /// Whether it is where every file is a ref, by whatever name.
    fn is_among_refs(&self) -> bool {
        self.path.iter().any(|part| part == "refs")
    }

    /// Renames something to what nobody could know beforehand: a pointer may
    /// lead to a folder by any name.
    pub(super) fn hide(&mut self, folder: BorrowedFd<'_>, name: &CStr, why: String) {
        let target = unguessable(name, self.is_among_refs());
        match rustix::fs::renameat_with(folder, name, folder, &target, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.renamed(name, why);
                let stat = rustix::fs::statat(folder, &target, AtFlags::SYMLINK_NOFOLLOW);
                if stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
                    self.moved.push(target);
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => {
                self.found
                    .unseen
                    .push(Planted { path: self.shown(name), why: format!("{why}, and it cannot be renamed: {error}") });
            }
        }
    }
}

/// A file that says what a link or the like was.
fn describe(folder: BorrowedFd<'_>, name: &CStr, kind: FileType, places: [&CStr; 2]) -> Result<(), Errno> {
    let text = match kind {
        FileType::Symlink => {
            [b"link to ", rustix::fs::readlinkat(folder, name, Vec::new())?.to_bytes(), b"\n"].concat()
        }
        other => format!("{other:?}\n").into_bytes(),
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let make = |at: &CStr| rustix::fs::openat(folder, at, flags, Mode::RUSR | Mode::WUSR);
    let file = make(places[0]).or_else(|_| make(places[1]))?;
    std::io::Write::write_all(&mut std::fs::File::from(file), &text).map_err(|_| Errno::IO)
}
