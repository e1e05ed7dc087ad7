//! Files of the workspace that a run has changed and that hold the value of a
//! secret: the workspace persists, so these do.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::disk::descent::{self, Descent, Opened};
use crate::runtime::Injected;

const CHUNK: usize = 1 << 20;

/// The moment before a runtime, by the clock of the workspace's file system as
/// far as it is known: a second early, because that may not be exact, but not
/// before the workspace itself was whole. Seconds since 1970, and nanoseconds.
pub(crate) fn start(workspace: &Path) -> (i64, u32) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let early = (now.tv_sec - 1, u32::try_from(now.tv_nsec).unwrap_or(0));
    // Written last when the workspace was made, and read-only inside.
    let made = rustix::fs::statat(CWD, workspace.join(".git/commondir"), AtFlags::SYMLINK_NOFOLLOW);
    let made = made.ok().and_then(|stat| Some((stat.st_ctime, u32::try_from(stat.st_ctime_nsec).ok()?)));
    // A clock that was set back, or another machine's, says nothing.
    let now = (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0));
    made.filter(|made| (early..=now).contains(made)).unwrap_or(early)
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// Files that hold a value, relative to the workspace.
    pub(crate) files: Vec<PathBuf>,
    /// Files and folders that could not be read, and may.
    pub(crate) unsearched: u64,
}

/// A folder on the way down.
struct Level {
    folders: Vec<CString>,
}

/// The files below `workspace` whose data or attributes have changed since
/// `since` and that hold one of the values. Links are not followed. What cannot
/// be read is counted.
pub(crate) fn search(workspace: &Path, secrets: &[Injected], since: i64) -> Exposed {
    let values: Vec<&str> = secrets.iter().map(|secret| secret.value.expose().trim_end()).collect();
    let finders: Vec<Finder<'_>> = values.iter().filter(|value| !value.is_empty()).map(Finder::new).collect();
    let mut found = Exposed::default();
    let Ok(root) = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty()) else {
        return Exposed { unsearched: 1, ..found };
    };
    let mut path = PathBuf::new();
    let top = look(root.as_fd(), &path, &finders, since, &mut found);
    let mut descent = Descent::new(root, top);
    while let Some((folder, level)) = descent.here() {
        let Some(name) = level.folders.pop() else {
            if descent.up().is_err() {
                found.unsearched += 1;
                break;
            }
            path.pop();
            continue;
        };
        let opened = match descent::open(folder, &name) {
            Ok(Opened::Open(opened)) => opened,
            Err(Errno::NOENT) => continue,
            Ok(Opened::Sealed | Opened::Blind) | Err(_) => {
                found.unsearched += 1;
                continue;
            }
        };
        path.push(OsStr::from_bytes(name.to_bytes()));
        let inner = look(opened.as_fd(), &path, &finders, since, &mut found);
        if descent.down(opened, inner).is_err() {
            found.unsearched += 1;
            path.pop();
        }
    }
    found.files.sort();
    found
}

fn look(folder: BorrowedFd<'_>, path: &Path, finders: &[Finder<'_>], since: i64, found: &mut Exposed) -> Level {
    let mut level = Level { folders: Vec::new() };
    let listed = descent::list(folder, |name, kind| match kind {
        FileType::Directory => level.folders.push(name.to_owned()),
        FileType::RegularFile => match holds(folder, name, finders, since) {
            Ok(false) | Err(Errno::NOENT) => {}
            Ok(true) => found.files.push(path.join(OsStr::from_bytes(name.to_bytes()))),
            Err(_) => found.unsearched += 1,
        },
        _ => {}
    });
    found.unsearched += u64::from(listed.is_err());
    level
}

fn holds(folder: BorrowedFd<'_>, name: &CStr, finders: &[Finder<'_>], since: i64) -> Result<bool, Errno> {
    if rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ctime < since {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let overlap = finders.iter().map(|finder| finder.needle().len()).max().unwrap_or(1) - 1;
    let mut buffer = vec![0; CHUNK + overlap];
    let (mut kept, mut at) = (0, 0);
    loop {
        // A hole of terabytes holds nothing, and takes no time to make.
        match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(data) if data > at => (kept, at) = (0, data),
            Err(Errno::NXIO) => return Ok(false),
            // Some file systems know of no holes.
            _ => {}
        }
        match rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut buffer[kept..], at))? {
            0 => return Ok(false),
            count => {
                let filled = kept + count;
                at += count as u64;
                if finders.iter().any(|finder| finder.find(&buffer[..filled]).is_some()) {
                    return Ok(true);
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
        let search = |since| search(dir.path(), &secrets, since);
        let found = search(0);
        assert_eq!(found.files, [Path::new("a/b/early"), Path::new("across"), Path::new("second")]);
        assert_eq!(found.unsearched, 0);
        assert_eq!(search(start(dir.path()).0 + 100), Exposed::default(), "nothing has changed since");
        assert_eq!(super::search(&dir.path().join("absent"), &secrets, 0).unsearched, 1);
    }
}
