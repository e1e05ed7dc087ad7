//! What a run wrote outside its workspace: the files in the upper folder of
//! the root. They go with the runtime, so they are listed before it ends.
//!
//! Invariants: only names are read, no link is followed, and the list has an
//! end however many files there are. Temporary folders (`/tmp`, `/run`, `/dev`)
//! are mounts of their own and not looked at.

use crate::runtime::wire::Written;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

/// Paths that are named one by one.
const MOST_PATHS: usize = 1000;

/// Their bytes as they travel: a message has room for so much.
const MOST_BYTES: usize = 100 << 10;

/// Entries that are looked at.
const MOST_ENTRIES: u64 = 200_000;

const DEPTH: usize = 64;

/// Files that envctl itself puts there.
const OWN: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

impl Written {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.files == 0 && self.removed == 0 && !self.cut
    }

    fn name(&mut self, path: &str, removed: bool, room: &mut usize) {
        let line = if removed { format!("- {path}") } else { path.to_owned() };
        // As JSON has it, which may be longer.
        let size = serde_json::to_string(&line).map_or(usize::MAX, |text| text.len() + 1);
        if self.paths.len() == MOST_PATHS || size > *room {
            self.cut = true;
            return;
        }
        *room -= size;
        self.paths.push(line);
    }
}

/// Lists an upper folder. What cannot be read is passed over, and the list says
/// that there is more.
pub(crate) fn list(upper: BorrowedFd<'_>) -> Written {
    let mut listing = UpperListing { written: Written::default(), entries: 0, room: MOST_BYTES };
    listing.folder(upper, "", 0);
    listing.written
}

struct UpperListing {
    written: Written,
    /// How many were looked at.
    entries: u64,
    /// Bytes that names may still take.
    room: usize,
}

impl UpperListing {
    fn folder(&mut self, folder: BorrowedFd<'_>, path: &str, depth: usize) {
        let Ok(dir) = Dir::read_from(folder) else {
            self.written.cut = true;
            return;
        };
        let mut names: Vec<_> = dir.flatten().map(|entry| entry.file_name().to_owned()).collect();
        names.sort();
        let mut folders: Vec<(String, OwnedFd)> = Vec::new();
        for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                self.written.cut = true;
                return;
            }
            let place = format!("{path}/{}", name.to_string_lossy());
            let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => match open(folder, name) {
                    Some(inner) if depth < DEPTH => folders.push((place, inner)),
                    _ => self.written.cut = true,
                },
                // How an overlay says that something of a lower layer is gone.
                FileType::CharacterDevice if stat.st_rdev == 0 => {
                    self.written.removed += 1;
                    self.written.name(&place, true, &mut self.room);
                }
                _ if OWN.contains(&place.as_str()) => {}
                _ => {
                    self.written.files += 1;
                    self.written.bytes += u64::try_from(stat.st_size).unwrap_or(0);
                    self.written.name(&place, false, &mut self.room);
                }
            }
        }
        for (place, inner) in folders {
            self.folder(inner.as_fd(), &place, depth + 1);
        }
    }
}

fn open(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn of(root: &std::path::Path) -> Written {
        list(fs::File::open(root).unwrap().as_fd())
    }

    #[test]
    fn files_are_named_and_folders_alone_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["usr/bin", "etc", "empty/er"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("usr/bin/jq"), "12345").unwrap();
        fs::write(dir.path().join("etc/hosts"), "envctl's own").unwrap();
        fs::write(dir.path().join("etc/passwd"), "x").unwrap();
        symlink("/", dir.path().join("way-out")).unwrap();
        let written = of(dir.path());
        assert_eq!(written.paths, ["/way-out", "/etc/passwd", "/usr/bin/jq"]);
        assert_eq!((written.files, written.removed, written.cut), (3, 0, false));
        assert!(of(&dir.path().join("empty")).is_empty());
    }

    #[test]
    fn there_is_an_end_to_the_list_but_not_to_the_count() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MOST_PATHS + 5 {
            fs::write(dir.path().join(format!("{n:05}\u{1b}")), "").unwrap();
        }
        let written = of(dir.path());
        assert_eq!((written.files, written.paths.len(), written.cut), (MOST_PATHS as u64 + 5, MOST_PATHS, true));
        // Control characters become six bytes each.
        let long = "\u{1}".repeat(200);
        for n in 0..200 {
            fs::write(dir.path().join(format!("{n}{long}")), "").unwrap();
        }
        assert!(serde_json::to_vec(&of(dir.path())).unwrap().len() < MOST_BYTES + 1000);
    }
}
