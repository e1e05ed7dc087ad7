//! The tree inside, as pid 1 and what it starts reach it.
//!
//! Invariants: whoever runs inside may lay any link anywhere at any time, and
//! pid 1 may do more than they. So no path of the inside is ever given to the
//! kernel as text alone: it is resolved from the root's descriptor with
//! `openat2(2)`, where a link of `/proc` that stands for a descriptor, a root
//! or a program leads nowhere, and what is used is the descriptor that comes
//! back. Everything held here belongs to the runtime's own mounts.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often a path is tried of which somebody moves a part meanwhile.
const TRIES: usize = 64;

/// Descriptors from when the file system was put together.
#[derive(Debug)]
pub(crate) struct Inside {
    /// The root.
    pub(crate) root: OwnedFd,
    /// The scratch space, at `/run`.
    pub(crate) run: OwnedFd,
    /// The pseudo-terminals, at `/dev/pts`.
    pub(crate) terminals: OwnedFd,
}

/// A program, by the folder in which it lies without a link on the way.
pub(crate) struct Program {
    pub(crate) folder: OwnedFd,
    pub(crate) name: CString,
}

impl Inside {
    /// What a process keeps of these when it closes everything else.
    pub(crate) fn raw_fds(&self) -> [RawFd; 3] {
        [&self.root, &self.run, &self.terminals].map(AsRawFd::as_raw_fd)
    }

    /// Opens what a path leads to.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.resolve(path, flags, ResolveFlags::NO_MAGICLINKS)
    }

    /// Whether a path leads to something.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.open(path, OFlags::PATH).is_ok()
    }

    /// Whether a path leads to a file that somebody may execute.
    pub(crate) fn is_program(&self, path: &Path) -> bool {
        let stat = self.open(path, OFlags::PATH).and_then(rustix::fs::fstat);
        stat.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0
        })
    }

    /// The file to which a path leads, ready to be executed.
    pub(crate) fn program(&self, path: &Path) -> Result<Program, Errno> {
        let file = self.open(path, OFlags::PATH)?;
        // As text, and then once more without any link: whatever has moved
        // meanwhile is not the same file.
        let real = rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
        let real = Path::new(OsStr::from_bytes(real.to_bytes()));
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { return Err(Errno::ACCESS) };
        let folder = self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)?;
        let name = CString::new(name.to_owned().into_vec()).map_err(|_| Errno::INVAL)?;
        let (opened, named) =
            (rustix::fs::fstat(&file)?, rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?);
        if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino) {
            return Err(Errno::NOENT);
        }
        Ok(Program { folder, name })
    }

    fn resolve(&self, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
        let mut tries = 0;
        loop {
            let flags = flags | OFlags::CLOEXEC;
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | how) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn inside(root: &Path) -> Inside {
        let open = |path: &Path| OwnedFd::from(fs::File::open(path).unwrap());
        Inside { root: open(root), run: open(root), terminals: open(root) }
    }

    #[test]
    fn no_link_leads_out() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret");
        fs::write(&secret, "#!").unwrap();
        let held = fs::File::open(outside.path()).unwrap();
        let target = outside.path().to_str().unwrap();
        let here = inside(dir.path());
        for (n, way) in [
            format!("/proc/self/fd/{}", held.as_raw_fd()),
            format!("/proc/thread-self/fd/{}", held.as_raw_fd()),
            "/proc/self/root".into(),
            "/proc/self/cwd".into(),
            target.to_owned(),
            format!("../../../../../../../../..{target}"),
        ]
        .iter()
        .enumerate()
        {
            let link = dir.path().join(format!("link{n}"));
            symlink(way, &link).unwrap();
            for path in [format!("/link{n}/secret"), format!("link{n}/../link{n}/secret"), format!("{way}/secret")] {
                assert!(!here.exists(Path::new(&path)), "{path}");
                assert!(here.program(Path::new(&path)).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn links_within_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/tool"), "").unwrap();
        symlink("/bin/tool", dir.path().join("bin/sh")).unwrap();
        let here = inside(dir.path());
        assert!(here.exists(Path::new("/bin/sh")) && here.exists(Path::new("../bin/sh")));
        assert!(!here.is_program(Path::new("bin/sh")), "nobody may execute it");
    }
}
