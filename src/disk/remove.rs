//! Removing trees: relative to descriptors, never through a symbolic link,
//! never across a mount (CVE-2024-23652 is what happens otherwise), and however
//! deep they are.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::descent::{self, Descent, folder_flags};

/// What a removal took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Everything that is not a folder.
    pub files: u64,
    /// Folders, the root included.
    pub folders: u64,
}

/// Removes `path` and everything below it. Something absent is fine.
///
/// # Errors
/// The first thing that could not be removed, by name. A mount point below
/// `path` is an error and stays as it is.
pub fn tree(path: &Path) -> Result<Removal> {
    let mut removed = Removal::default();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        anyhow::bail!("{} cannot be removed", path.display());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    // One of our own descriptors is reached by a link of the kernel's.
    let own = parent.parent() == Some(Path::new("/proc/self/fd"));
    let flags = if own { folder_flags().difference(OFlags::NOFOLLOW) } else { folder_flags() };
    let outcome = (|| {
        let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        remove_entry(parent.as_fd(), &name, &mut removed)
    })();
    outcome.with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(removed)
}

/// Moves `path` into `trash` at once and removes it there. A crash in between
/// leaves it in the trash, which [`empty`] clears.
///
/// # Errors
/// As [`tree`].
pub fn discard(path: &Path, trash: &Path) -> Result<Removal> {
    super::create_private_dir(trash)?;
    let place = tempfile::Builder::new().prefix("").tempdir_in(trash)?.keep();
    match fs::rename(path, place.join("entry")) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            let _ = fs::remove_dir(&place);
            return Err(error).with_context(|| format!("cannot move {} to the trash", path.display()));
        }
    }
    tree(&place)
}

/// Clears what an interrupted [`discard`] left.
///
/// # Errors
/// As [`tree`].
pub fn empty(trash: &Path) -> Result<()> {
    let entries = match fs::read_dir(trash) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", trash.display())),
    };
    for entry in entries {
        tree(&entry?.path())?;
    }
    Ok(())
}

/// Removes one entry, whatever it is, relative to an open folder.
///
/// # Errors
/// As [`tree`].
pub fn entry(parent: BorrowedFd<'_>, name: &CStr) -> Result<Removal, Errno> {
    let mut removed = Removal::default();
    remove_entry(parent, name, &mut removed)?;
    Ok(removed)
}

/// A folder that is being emptied.
struct Emptying {
    name: CString,
    /// What is still in it.
    names: Vec<CString>,
}

/// Opens a folder, refusing symbolic links and mount points.
fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(parent, name, folder_flags(), Mode::empty(), resolve) {
        Err(Errno::ACCESS) => {
            // An overlay work folder has mode 000; it is ours, so open it up: what was
            // found there, and nothing that has taken its name since.
            let found = rustix::fs::openat2(parent, name, folder_flags() | OFlags::PATH, Mode::empty(), resolve)?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::RWXU)?;
            rustix::fs::openat2(parent, name, folder_flags(), Mode::empty(), resolve)
        }
        other => other,
    }
}

/// Removes an entry that is no folder, or opens it.
fn unlink_or_open(parent: BorrowedFd<'_>, name: &CStr, removed: &mut Removal) -> Result<Option<OwnedFd>, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => {
            removed.files += 1;
            return Ok(None);
        }
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    let dir = match open_dir(parent, name) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Unlinking needs write permission on the folder itself.
    let stat = rustix::fs::fstat(&dir)?;
    if stat.st_mode & 0o700 != 0o700 {
        let _ = rustix::fs::fchmod(&dir, Mode::RWXU);
    }
    Ok(Some(dir))
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, removed: &mut Removal) -> Result<(), Errno> {
    let Some(dir) = unlink_or_open(parent, name, removed)? else { return Ok(()) };
    let mut descent = Descent::new(dir, Emptying::of(name));
    descent.here().map_or(Ok(()), |(dir, emptying)| emptying.list(dir))?;
    while let Some((dir, emptying)) = descent.here() {
        if let Some(child) = emptying.names.pop() {
            if let Some(inner) = unlink_or_open(dir, &child, removed)? {
                let mut within = Emptying::of(&child);
                within.list(inner.as_fd())?;
                descent.down(inner, within)?;
            }
            continue;
        }
        let Some(left) = descent.up()? else { break };
        let above = descent.here().map_or(parent, |(above, _)| above);
        match rustix::fs::unlinkat(above, &left.name, AtFlags::REMOVEDIR) {
            Ok(()) => removed.folders += 1,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Emptying {
    fn of(name: &CStr) -> Self {
        Emptying { name: name.to_owned(), names: Vec::new() }
    }

    fn list(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        descent::list(dir, |name, _| self.names.push(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn case_57_removal_does_not_follow_links() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let victim = dir.path().join("victim");
        fs::create_dir_all(victim.join("locked/deep")).unwrap();
        fs::write(victim.join("locked/deep/file"), "x").unwrap();
        symlink(&outside, victim.join("link")).unwrap();
        fs::set_permissions(victim.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        let removed = tree(&victim).unwrap();
        assert_eq!(removed, Removal { files: 2, folders: 3 });
        assert!(!victim.exists());
        assert_eq!(fs::read(outside.join("precious")).unwrap(), b"x");
        assert_eq!(tree(&victim).unwrap(), Removal::default(), "absent is fine");
        let link = dir.path().join("root-link");
        symlink(&outside, &link).unwrap();
        tree(&link).unwrap();
        assert!(outside.join("precious").exists(), "a link as the root is unlinked, not followed");
    }

    /// Deeper than a path can be long, and than descriptors reach.
    #[test]
    fn a_deep_tree_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut at = rustix::fs::openat(CWD, &root, folder_flags(), Mode::empty()).unwrap();
        for _ in 0..2500 {
            rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "beside", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "deep", folder_flags(), Mode::empty()).unwrap();
        }
        drop(at);
        assert_eq!(tree(&root).unwrap(), Removal { files: 0, folders: 5001 });
        assert!(!root.exists());
    }

    /// A folder that becomes a link between the two steps is not opened.
    #[test]
    fn case_57_a_link_in_place_of_a_folder_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        symlink("folder", dir.path().join("link")).unwrap();
        let parent = fs::File::open(dir.path()).unwrap();
        assert!(open_dir(parent.as_fd(), c"folder").is_ok());
        for elsewhere in [c"link", c"..", c"link/."] {
            assert!(open_dir(parent.as_fd(), elsewhere).is_err(), "{elsewhere:?}");
        }
    }

    #[test]
    fn case_58_an_interrupted_discard_is_finished_later() {
        let dir = tempfile::tempdir().unwrap();
        let trash = dir.path().join("trash");
        fs::create_dir_all(trash.join("left/entry/deep")).unwrap();
        fs::create_dir(dir.path().join("now")).unwrap();
        discard(&dir.path().join("now"), &trash).unwrap();
        discard(&dir.path().join("now"), &trash).unwrap();
        empty(&trash).unwrap();
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    }
}
