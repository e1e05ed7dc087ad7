//! Files of the workspace that a run has changed and that hold the value of a
//! secret: the workspace persists, so these do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use super::Injected;

const CHUNK: usize = 1 << 20;

/// Now in seconds since 1970, a little early: file systems are not as exact.
pub(super) fn start() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec - 1
}

/// The files below `workspace` whose data or attributes have changed since
/// `since` and that hold one of the values; paths relative to it. Links are
/// not followed. What cannot be read is passed over: nothing inside is alive
/// any more that could have hidden it from its own owner.
pub(super) fn search(workspace: &Path, secrets: &[Injected], since: i64) -> Vec<PathBuf> {
    let values: Vec<&str> = secrets.iter().map(|secret| secret.value.expose().trim_end()).collect();
    let finders: Vec<Finder<'_>> = values.iter().filter(|value| !value.is_empty()).map(Finder::new).collect();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut found = Vec::new();
    let Ok(root) = rustix::fs::openat(CWD, workspace, flags, Mode::empty()) else { return found };
    let mut pending: Vec<(OwnedFd, PathBuf)> = vec![(root, PathBuf::new())];
    while let Some((folder, path)) = pending.pop() {
        let Ok(entries) = Dir::read_from(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if let Ok(opened) = rustix::fs::openat(&folder, name, flags, Mode::empty()) {
                        pending.push((opened, inner));
                    }
                }
                FileType::RegularFile if stat.st_ctime >= since && holds(folder.as_fd(), name, &finders) => {
                    found.push(inner);
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn holds(folder: BorrowedFd<'_>, name: &std::ffi::CStr, finders: &[Finder<'_>]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    let mut file = File::from(file);
    let overlap = finders.iter().map(|finder| finder.needle().len()).max().unwrap_or(1) - 1;
    let mut buffer = vec![0; CHUNK + overlap];
    let mut kept = 0;
    loop {
        match file.read(&mut buffer[kept..]) {
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                let filled = kept + count;
                if finders.iter().any(|finder| finder.find(&buffer[..filled]).is_some()) {
                    return true;
                }
                // A value may lie across two pieces.
                let keep = overlap.min(filled);
                buffer.copy_within(filled - keep..filled, 0);
                kept = keep;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn values_are_found_wherever_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let secret =
            |value: &str| Injected { name: "X".into(), value: Secret::new(value.into()), variable: true, file: true };
        let secrets = [secret("tok-en-value"), secret("another one\n")];
        let write = |path: &str, content: &[u8]| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("a/b/early", b"xx tok-en-value xx");
        write("across", &[vec![b'x'; CHUNK - 5], b"tok-en-value".to_vec()].concat());
        write("second", b"another one");
        write("none", b"tok-en-valu");
        std::os::unix::fs::symlink("second", dir.path().join("link")).unwrap();
        let names = |since| search(dir.path(), &secrets, since);
        assert_eq!(names(0), [Path::new("a/b/early"), Path::new("across"), Path::new("second")]);
        assert!(names(start() + 100).is_empty(), "nothing has changed since");
    }
}
