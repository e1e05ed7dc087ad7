//! Going down a tree of folders, however deep it is.
//!
//! Invariants: at most so many descriptors are open at once, nothing recurses,
//! and a level is only ever found again by the folder that it was: `..` of the
//! one below, compared by device and inode number.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

/// Levels from the top that keep their descriptors.
const KEPT: usize = 64;

/// Room for what the kernel lists at once.
const LISTING: usize = 32 << 10;

/// Where one is in a tree. Every level carries something of the caller's.
#[derive(Debug)]
pub struct Descent<T> {
    levels: Vec<Level<T>>,
}

#[derive(Debug)]
struct Level<T> {
    /// Open where it is one of the first, or the last.
    folder: Option<OwnedFd>,
    /// By what it is known when it is to be opened again.
    identity: (u64, u64),
    with: T,
}

impl<T> Descent<T> {
    /// At the top.
    pub fn new(top: OwnedFd, with: T) -> Self {
        Descent { levels: vec![Level { folder: Some(top), identity: (0, 0), with }] }
    }

    /// The folder where one is, good for reaching what is in it; `None` above
    /// the top.
    pub fn here(&mut self) -> Option<(BorrowedFd<'_>, &mut T)> {
        let level = self.levels.last_mut()?;
        Some((std::os::fd::AsFd::as_fd(level.folder.as_ref()?), &mut level.with))
    }

    /// Into a folder that was opened below this one.
    ///
    /// # Errors
    /// When this one cannot be looked at.
    pub fn down(&mut self, folder: OwnedFd, with: T) -> Result<(), Errno> {
        let kept = self.levels.len() <= KEPT;
        if let Some(level) = self.levels.last_mut().filter(|_| !kept)
            && let Some(left) = &level.folder
        {
            level.identity = identity(&rustix::fs::fstat(left)?);
            level.folder = None;
        }
        self.levels.push(Level { folder: Some(folder), identity: (0, 0), with });
        Ok(())
    }

    /// Back to the folder above; what the one that is left carried.
    ///
    /// # Errors
    /// When that is no longer where it was.
    pub fn up(&mut self) -> Result<Option<T>, Errno> {
        let Some(left) = self.levels.pop() else { return Ok(None) };
        if let (Some(level), Some(below)) = (self.levels.last_mut(), &left.folder)
            && level.folder.is_none()
        {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let above = rustix::fs::openat(below, "..", flags, Mode::empty())?;
            if identity(&rustix::fs::fstat(&above)?) != level.identity {
                return Err(Errno::STALE);
            }
            level.folder = Some(above);
        }
        Ok(Some(left.with))
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// How a folder is opened to be listed.
pub fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What is in a folder, and of what kind; asks again where the file system does
/// not say.
///
/// # Errors
/// When it cannot be listed to its end.
pub fn list(folder: BorrowedFd<'_>, mut each: impl FnMut(&CStr, FileType)) -> Result<(), Errno> {
    let mut buffer = Vec::with_capacity(LISTING);
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            },
            kind => kind,
        };
        each(name, kind);
    }
    Ok(())
}

/// A folder that somebody has closed to its own owner.
#[derive(Debug)]
pub enum Opened {
    /// It can be listed.
    Open(OwnedFd),
    /// It cannot be listed, and nothing in it can be reached either.
    Sealed,
    /// It cannot be listed, but what is in it can be reached by who knows how
    /// it is called.
    Blind,
}

/// Opens a folder to be listed. One of one's own that is closed is opened up.
///
/// # Errors
/// When it is gone, is no folder, or cannot be opened for another reason.
pub fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<Opened, Errno> {
    match rustix::fs::openat(parent, name, folder_flags(), Mode::empty()) {
        Ok(folder) => return Ok(Opened::Open(folder)),
        Err(Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    // By descriptor: nothing else can be put in its place meanwhile.
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, path, Mode::empty())?;
    let Ok(magic) = CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd())) else { return Err(Errno::INVAL) };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) | Mode::RWXU;
    if rustix::fs::chmod(&magic, mode).is_ok()
        && let Ok(folder) = rustix::fs::openat(&handle, c".", folder_flags(), Mode::empty())
    {
        return Ok(Opened::Open(folder));
    }
    let reachable = rustix::fs::accessat(parent, name, Access::EXEC_OK, AtFlags::EACCESS);
    Ok(if reachable.is_err() { Opened::Sealed } else { Opened::Blind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::os::fd::AsFd;

    /// A chain of folders deeper than a path can be long.
    pub(crate) fn chain(top: &std::path::Path, levels: usize) -> OwnedFd {
        let mut at = rustix::fs::openat(CWD, top, folder_flags(), Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", folder_flags(), Mode::empty()).unwrap();
        }
        at
    }

    #[test]
    fn a_deep_tree_needs_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        chain(dir.path(), 3000);
        let top = rustix::fs::openat(CWD, dir.path(), folder_flags(), Mode::empty()).unwrap();
        let mut descent = Descent::new(top, 0);
        let mut most = 0;
        loop {
            let (folder, depth) = descent.here().unwrap();
            let depth = *depth;
            let mut inner = None;
            list(folder, |name, _| inner = Some(name.to_owned())).unwrap();
            let Some(name) = inner else { break };
            let Opened::Open(child) = open(folder, &name).unwrap() else { panic!("{name:?}") };
            most = most.max(child.as_raw_fd());
            descent.down(child, depth + 1).unwrap();
        }
        assert!(most < 1000, "{most}");
        for depth in (1..=3000).rev() {
            assert_eq!(descent.up(), Ok(Some(depth)));
            let (folder, _) = descent.here().unwrap();
            rustix::fs::unlinkat(folder, "d", AtFlags::REMOVEDIR).unwrap();
        }
        assert_eq!(descent.up(), Ok(Some(0)));
        assert_eq!(descent.up(), Ok(None));
    }

    #[test]
    fn a_level_that_was_moved_is_not_taken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        chain(dir.path(), KEPT + 3);
        let top = rustix::fs::openat(CWD, dir.path(), folder_flags(), Mode::empty()).unwrap();
        let mut descent = Descent::new(top, ());
        for _ in 0..KEPT + 3 {
            let Opened::Open(child) = open(descent.here().unwrap().0, c"d").unwrap() else { panic!("closed") };
            descent.down(child, ()).unwrap();
        }
        let path: std::path::PathBuf = std::iter::repeat_n("d", KEPT + 3).collect();
        std::fs::rename(dir.path().join(path), dir.path().join("elsewhere")).unwrap();
        assert_eq!(descent.up(), Err(Errno::STALE));
    }

    #[test]
    fn what_is_closed_to_its_owner_is_opened_up() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("closed/in")).unwrap();
        std::fs::set_permissions(dir.path().join("closed"), std::fs::Permissions::from_mode(0o300)).unwrap();
        let top = rustix::fs::openat(CWD, dir.path(), folder_flags(), Mode::empty()).unwrap();
        let Opened::Open(closed) = open(top.as_fd(), c"closed").unwrap() else { panic!("closed") };
        let mut names = 0;
        list(closed.as_fd(), |_, _| names += 1).unwrap();
        assert_eq!(names, 1);
    }
}
