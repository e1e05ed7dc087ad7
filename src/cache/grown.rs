//! A tree that grew out of a sealed one: what a setup changed lies in the upper of
//! an overlay, and all else is linked from below. Nothing below is written, so what
//! both hold takes no room twice.
//!
//! Nothing of the setup runs any more: through its overlay a live program could write
//! to what is linked here. All the same folders are opened through no link, and
//! everything is named from their descriptors.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Folders below each other that are gone into.
const DEEPEST: usize = 200;

/// Puts together in `target` what an overlay of `lower` and `upper` shows. What is in
/// `target` stays; the upper is used up.
///
/// # Errors
/// When something cannot be read, moved or linked.
pub fn grow(lower: &Path, upper: &Path, target: &Path) -> Result<()> {
    let open = |path: &Path| {
        rustix::fs::openat(CWD, path, FOLDER, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))
    };
    let (lower, target) = (open(lower)?, open(target)?);
    let put = || -> io::Result<()> {
        let like = match rustix::fs::openat(CWD, upper, FOLDER, Mode::empty()) {
            Ok(upper) => {
                graft(upper.as_fd(), target.as_fd(), 0)?;
                rustix::fs::fstat(&upper)?
            }
            // Nothing was changed.
            Err(Errno::NOENT) => rustix::fs::fstat(&lower)?,
            Err(error) => return Err(error.into()),
        };
        fill(lower.as_fd(), target.as_fd(), 0)?;
        rustix::fs::fchmod(&target, Mode::from_raw_mode(like.st_mode & 0o1777))?;
        Ok(())
    };
    put().context("cannot put together what a setup made of another entry")
}

/// Moves what lies in the upper; folders that are in both become one.
fn graft(upper: BorrowedFd<'_>, target: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    for name in names(upper, depth)? {
        match rustix::fs::renameat_with(upper, &name, target, &name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                graft(open(upper, &name)?.as_fd(), open(target, &name)?.as_fd(), depth + 1)?;
            }
            // The runtime's folder and the caches may lie on two disks.
            Err(Errno::XDEV) => copy(upper, target, &name, depth)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Links what is below and was neither changed nor removed. What says of a folder
/// or a name that it was goes, once it has been heeded.
fn fill(lower: BorrowedFd<'_>, target: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    let before = rustix::fs::fstat(target)?;
    let hidden = is_opaque(target);
    for name in names(lower, depth)? {
        let below = stat(lower, &name)?;
        match stat(target, &name) {
            Ok(here) if is_gone(&here) => {}
            Ok(here) if is_folder(&here) && is_folder(&below) && !hidden => {
                fill(open(lower, &name)?.as_fd(), open(target, &name)?.as_fd(), depth + 1)?;
            }
            Ok(_) => {}
            Err(_) if hidden => {}
            Err(_) if is_folder(&below) => {
                rustix::fs::mkdirat(target, &name, Mode::RWXU)?;
                fill(open(lower, &name)?.as_fd(), open(target, &name)?.as_fd(), depth + 1)?;
                settle(target, &name, &below)?;
            }
            Err(_) => match rustix::fs::linkat(lower, &name, target, &name, AtFlags::empty()) {
                Ok(()) => {}
                // A file system bounds the names of a file.
                Err(Errno::MLINK | Errno::PERM | Errno::XDEV) => copy(lower, target, &name, depth)?,
                Err(error) => return Err(error.into()),
            },
        }
    }
    for name in names(target, depth)? {
        if stat(target, &name).is_ok_and(|here| is_gone(&here)) {
            rustix::fs::unlinkat(target, &name, AtFlags::empty())?;
        }
    }
    rustix::fs::futimens(target, &times(&before))?;
    Ok(())
}

/// The names in a folder, before anything in it changes.
fn names(folder: BorrowedFd<'_>, depth: usize) -> io::Result<Vec<CString>> {
    if depth > DEEPEST {
        return Err(io::Error::other("folders lie too deep"));
    }
    let mut all = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            all.push(entry.file_name().to_owned());
        }
    }
    Ok(all)
}

fn open(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, FOLDER, Mode::empty())
}

fn stat(folder: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// A whiteout: a device that overlayfs makes where something was removed.
fn is_gone(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A folder that was removed and made again has nothing of the one below.
fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(folder, "user.overlay.opaque", &mut value).is_ok_and(|read| read == 1 && value == *b"y")
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: modified, last_modification: modified }
}

/// Owner, mode and times of another one.
fn settle(folder: BorrowedFd<'_>, name: &CStr, like: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(like.st_mode & 0o1777);
    match FileType::from_raw_mode(like.st_mode) {
        // A name could become a link; what was opened does not.
        FileType::Directory | FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::fchmod(rustix::fs::openat(folder, name, flags, Mode::empty())?, mode)?;
        }
        _ => {}
    }
    rustix::fs::utimensat(folder, name, &times(like), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
    let like = stat(from, name)?;
    match FileType::from_raw_mode(like.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let (source, copied) = (open(from, name)?, open(to, name)?);
            for name in names(source.as_fd(), depth + 1)? {
                copy(source.as_fd(), copied.as_fd(), &name, depth + 1)?;
            }
            if is_opaque(source.as_fd()) {
                rustix::fs::fsetxattr(&copied, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())?;
            }
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut copied = File::from(rustix::fs::openat(to, name, flags, Mode::RWXU)?);
            io::copy(&mut source, &mut copied)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, like.st_rdev)?,
    }
    settle(to, name, &like)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn listed(root: &Path) -> Vec<String> {
        let (mut all, mut pending) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = folder.join(entry.file_name());
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => pending.push(path.clone()),
                    kind if kind.is_symlink() => {}
                    _ => {
                        all.push(format!("{}={}", path.display(), fs::read_to_string(root.join(&path)).unwrap()));
                        continue;
                    }
                }
                all.push(path.display().to_string());
            }
        }
        all.sort();
        all
    }

    /// Makes a whiteout, as anybody may since Linux 5.8.
    fn gone(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    #[test]
    fn what_was_changed_counts_and_all_else_is_linked() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (lower, upper, target) = (path("lower"), path("upper"), path("target"));
        [&lower, &upper, &target].iter().for_each(|path| fs::create_dir(path).unwrap());
        for (file, text) in [
            ("a/kept", "1"),
            ("a/changed", "1"),
            ("a/removed", "1"),
            ("again/old", "1"),
            ("file/in", "1"),
            ("w/home", "1"),
        ] {
            write(&lower, file, text);
        }
        std::os::unix::fs::symlink("kept", lower.join("a/link")).unwrap();
        fs::create_dir(lower.join("empty")).unwrap();
        fs::set_permissions(lower.join("empty"), fs::Permissions::from_mode(0o555)).unwrap();
        for (file, text) in [("a/changed", "2"), ("a/new/deep", "2"), ("again/new", "2"), ("file", "2")] {
            write(&upper, file, text);
        }
        let opaque = upper.join("again");
        let opened = File::open(&opaque).unwrap();
        rustix::fs::fsetxattr(&opened, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        gone(&upper, "a/removed");
        write(&target, "w/beside", "3");
        grow(&lower, &upper, &target).unwrap();
        assert_eq!(
            listed(&target),
            [
                "a",
                "a/changed=2",
                "a/kept=1",
                "a/link",
                "a/new",
                "a/new/deep=2",
                "again",
                "again/new=2",
                "empty",
                "file=2",
                "w",
                "w/beside=3",
                "w/home=1"
            ]
        );
        let meta = |path: PathBuf| fs::symlink_metadata(path).unwrap();
        assert_eq!(meta(lower.join("a/kept")).ino(), meta(target.join("a/kept")).ino());
        assert_eq!(meta(target.join("empty")).mode() & 0o777, 0o555);
        // Below nothing has changed.
        let below = listed(&lower);
        assert!(below.contains(&"a/changed=1".to_owned()) && below.contains(&"a/removed=1".to_owned()), "{below:?}");
        // And of an upper that was never made all is linked.
        let whole = path("whole");
        fs::create_dir(&whole).unwrap();
        grow(&lower, &path("none"), &whole).unwrap();
        assert_eq!(listed(&whole), below);
    }
}
