//! Closing a tree to other accounts: what a program gave them to write is theirs no more.
//! It matters where they can get as far as to the tree.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::descent::{self, Descent, Opened};

/// Whether other accounts get as far as to this folder, by the modes on the way. `path` is
/// absolute, and leads through no link.
pub fn is_reached_by_others(path: &Path) -> bool {
    path.ancestors().all(|folder| {
        // Who asks may be of the group as well as not.
        rustix::fs::statat(CWD, folder, AtFlags::empty()).is_ok_and(|stat| stat.st_mode & 0o011 != 0)
    })
}

/// What this process gives nobody of what it makes, `umask(2)`.
pub fn umask() -> Mode {
    // The call that tells it would change it for the other threads, too.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
    Mode::from_raw_mode(mask.unwrap_or(0o022))
}

/// Takes the right to write from all others: from the group, too, unless `umask` gives it.
/// How many files and folders had it, and how many could not be looked at.
pub fn close(root: BorrowedFd<'_>, umask: Mode) -> (u64, u64) {
    let taken = 0o002 | umask.as_raw_mode() & 0o020;
    let (mut closed, mut unseen) = (0, 0);
    let mut count = |done: Result<bool, Errno>| match done {
        Ok(changed) => closed += u64::from(changed),
        Err(Errno::NOENT) => {}
        Err(_) => unseen += 1,
    };
    let Ok(top) = rustix::fs::openat(root, ".", descent::folder_flags(), Mode::empty()) else { return (0, 1) };
    count(close_one(top.as_fd(), taken));
    let level = look(top.as_fd(), taken, &mut count);
    let mut tree = Descent::new(top, level);
    while let Some((folder, folders)) = tree.here() {
        let Some(name) = folders.pop() else {
            if tree.up().is_err() {
                count(Err(Errno::STALE));
                break;
            }
            continue;
        };
        match descent::open(folder, &name) {
            Ok(Opened::Open(opened)) => {
                count(close_one(opened.as_fd(), taken));
                let below = look(opened.as_fd(), taken, &mut count);
                if let Err(error) = tree.down(opened, below) {
                    count(Err(error));
                }
            }
            Ok(Opened::Sealed | Opened::Blind) => count(Err(Errno::ACCESS)),
            Err(error) => count(Err(error)),
        }
    }
    (closed, unseen)
}

/// Closes the files of a folder; the folders in it.
fn look(folder: BorrowedFd<'_>, taken: u32, count: &mut impl FnMut(Result<bool, Errno>)) -> Vec<CString> {
    let mut folders = Vec::new();
    let mut done = Vec::new();
    let listed = descent::list(folder, |name, kind| match kind {
        FileType::Directory => folders.push(name.to_owned()),
        FileType::RegularFile => done.push(close_file(folder, name, taken)),
        _ => {}
    });
    done.into_iter().for_each(&mut *count);
    count(listed.map(|()| false));
    folders
}

fn close_file(folder: BorrowedFd<'_>, name: &std::ffi::CStr, taken: u32) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & taken == 0 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    close_one(rustix::fs::openat(folder, name, flags, Mode::empty())?.as_fd(), taken)
}

fn close_one(file: BorrowedFd<'_>, taken: u32) -> Result<bool, Errno> {
    let mode = rustix::fs::fstat(file)?.st_mode;
    if mode & taken == 0 {
        return Ok(false);
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777 & !taken))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_writes_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let file = dir.path().join("a/b/file");
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a/link")).unwrap();
        set(&file, 0o666);
        set(&dir.path().join("a"), 0o777);
        let root = fs::File::open(dir.path()).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(close(root.as_fd(), Mode::from_raw_mode(0o002)), (2, 0));
        assert_eq!((mode("a"), mode("a/b/file")), (0o775, 0o664));
        assert_eq!(close(root.as_fd(), Mode::from_raw_mode(0o022)), (2, 0));
        assert_eq!((mode("a"), mode("a/b/file")), (0o755, 0o644));
        assert_eq!(close(root.as_fd(), Mode::from_raw_mode(0o022)), (0, 0));
        set(dir.path(), 0o700);
        assert!(!is_reached_by_others(&dir.path().join("a")));
        assert!(is_reached_by_others(Path::new("/usr/bin")));
    }
}
