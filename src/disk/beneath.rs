//! Files and folders below a folder that others write to: never reached through
//! a link, opened without waiting for anybody, read up to a bound.
//!
//! Whoever changes the folder meanwhile gains nothing: what is read comes from
//! a descriptor whose every step was taken from the one before.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::plain::Miss;
use super::{FileInside, plain};
use crate::error::{Fault, policy};

/// Opens what has a path below a folder, through no link and not above it.
///
/// # Errors
/// What the system says; [`Errno::LOOP`] for a link.
pub fn open_beneath(folder: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// An open folder.
#[derive(Debug)]
pub struct Beneath {
    folder: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens the folder, which may itself be reached through links.
    ///
    /// # Errors
    /// With the path in the message.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty());
        Ok(Beneath { folder: folder.with_context(|| format!("cannot open {}", path.display()))?, path: path.into() })
    }

    /// A folder below this one, by a path that goes through no link and not up.
    ///
    /// # Errors
    /// What the system says; that of a link also where one is on the way.
    pub fn below(&self, path: &Path) -> Result<Self, Errno> {
        Ok(Beneath { folder: self.list(path)?, path: self.path.join(path) })
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// When there is none.
    pub fn file(&self, path: &Path) -> Result<File, Miss> {
        let flags = plain::flags() | OFlags::NOFOLLOW;
        plain::only(self.at(path, |folder, name| rustix::fs::openat(folder, name, flags, Mode::empty()))?)
    }

    /// What `lstat` says; `None` also where a link leads there.
    pub fn stat(&self, path: &Path) -> Option<Stat> {
        self.at(path, |folder, name| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)).ok()
    }

    /// Where a link leads; `None` where there is none, or another is on the way.
    pub fn link(&self, path: &Path) -> Option<Vec<u8>> {
        let target = self.at(path, |folder, name| rustix::fs::readlinkat(folder, name, Vec::new()));
        target.ok().map(std::ffi::CString::into_bytes)
    }

    /// Opens a folder to list it; the empty path is this one.
    ///
    /// # Errors
    /// What the system says; that of a link also where one is on the way.
    pub fn list(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return rustix::fs::openat(&self.folder, ".", flags, Mode::empty());
        }
        self.at(path, |folder, name| rustix::fs::openat(folder, name, flags, Mode::empty()))
    }

    /// Opens a file that only git should have written; `None` when nothing is
    /// there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] for anything but a regular file of at
    /// most `limit` bytes that is no link.
    pub fn expect(&self, path: &Path, limit: u64) -> Result<Option<File>> {
        match self.file(path) {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.len() > limit) => {
                Err(self.refused(path, "is too large").into())
            }
            Ok(file) => Ok(Some(file)),
            Err(Miss::Absent) => Ok(None),
            Err(miss) => Err(self.refusal(path, miss)),
        }
    }

    /// What to say where there is no file to read.
    pub fn refusal(&self, path: &Path, miss: Miss) -> anyhow::Error {
        match miss {
            Miss::Absent => self.refused(path, "is missing").into(),
            Miss::Link => self.refused(path, "is a link, or behind one").into(),
            Miss::NoFile => self.refused(path, "is no file").into(),
            Miss::Failed(error) => {
                anyhow::Error::new(error).context(format!("cannot read {}", self.path.join(path).display()))
            }
        }
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// As [`Beneath::expect`].
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.expect(path, limit)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read {}", self.path.join(path).display()))?;
        // It grew meanwhile.
        if bytes.len() as u64 > limit { Err(self.refused(path, "is too large").into()) } else { Ok(Some(bytes)) }
    }

    /// Makes a folder, unless something of that name is there.
    ///
    /// # Errors
    /// When its own folder cannot be reached, or does not take it.
    pub fn make_folder(&self, path: &Path) -> Result<()> {
        self.make_folder_for(path, 0o755)
    }

    /// The same for those whom this mode and the umask let in.
    ///
    /// # Errors
    /// As [`Beneath::make_folder`].
    pub fn make_folder_for(&self, path: &Path, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self.at(path, |folder, name| rustix::fs::mkdirat(folder, name, mode)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::LOOP) => Err(self.led_away(path).into()),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", self.path.join(path).display())),
        }
    }

    /// The place of a file that is to be written, in a folder that is reached
    /// through no link. What stands in that place is not followed either:
    /// whoever writes gives a whole file its name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when a link is on the way; when there is
    /// no such folder.
    pub fn place(&self, path: &Path) -> Result<FileInside> {
        let context = || format!("cannot write {}", self.path.join(path).display());
        let opened = self.at(path, |folder, name| Ok((rustix::io::fcntl_dupfd_cloexec(folder, 0)?, name.to_owned())));
        match opened {
            Ok((folder, name)) => Ok(FileInside::of(folder, &name)),
            Err(Errno::LOOP) => Err(self.led_away(path).into()),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// Opens this folder once more, for a lock of its own.
    ///
    /// # Errors
    /// Plain I/O errors; the caller adds the path.
    pub fn again(&self) -> std::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, ".", flags, Mode::empty())?.into())
    }

    /// Whether the path that it was opened by still leads to it.
    pub fn is_still_there(&self) -> bool {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        let now = rustix::fs::statat(CWD, &self.path, AtFlags::empty()).map(identity);
        now.is_ok_and(|now| rustix::fs::fstat(&self.folder).map(identity) == Ok(now))
    }

    /// The folder itself.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Removes a folder if it is empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_folder(&self, path: &Path) -> Result<(), Errno> {
        self.at(path, |folder, name| rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR))
    }

    fn led_away(&self, path: &Path) -> Fault {
        policy(format!("{} is behind a link: envctl does not write there", self.path.join(path).display()))
            .hint("put a folder in the place of the link, or use another one")
    }

    fn refused(&self, path: &Path, why: &str) -> Fault {
        plain::refused(&self.path.join(path), why)
    }

    /// Does something in the folder that holds `path`, by its name there.
    fn at<T>(&self, path: &Path, act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>) -> Result<T, Errno> {
        let Some(name) = path.file_name() else { return Err(Errno::INVAL) };
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            None => act(self.folder.as_fd(), name),
            Some(parent) => act(self.folder(parent)?.as_fd(), name),
        }
    }

    fn folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open_beneath(self.folder.as_fd(), path, flags) {
            // Agents work in containers that may not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(path),
            other => other,
        }
    }

    /// The same, step by step.
    fn walk(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder: Option<OwnedFd> = None;
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(Errno::XDEV) };
            let above = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            let is_link = || {
                let stat = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
                stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
            };
            folder = match rustix::fs::openat(above, name, flags, Mode::empty()) {
                Err(Errno::NOTDIR) if is_link() => return Err(Errno::LOOP),
                other => Some(other?),
            };
        }
        folder.ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn case_42_nothing_is_read_through_a_link_and_nobody_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(root.join("d/e/file"), "text").unwrap();
        symlink(dir.path(), root.join("out")).unwrap();
        symlink("d", root.join("in")).unwrap();
        symlink("../../secret", root.join("d/link")).unwrap();
        rustix::fs::mknodat(CWD, root.join("d/pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("d/socket")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        for (path, miss) in [
            ("out/secret", Miss::Link),
            ("in/e/file", Miss::Link),
            ("d/link", Miss::Link),
            ("d/pipe", Miss::NoFile),
            ("d/socket", Miss::NoFile),
            ("d/e", Miss::NoFile),
            ("d/none", Miss::Absent),
            ("none/file", Miss::Absent),
            ("d/e/file/x", Miss::Absent),
        ] {
            let path = Path::new(path);
            assert_eq!(beneath.file(path).unwrap_err(), miss, "{path:?}");
            assert_eq!(beneath.read(path, 9).ok().flatten(), None, "{path:?}");
            assert_eq!(beneath.read(path, 9).is_ok(), miss == Miss::Absent, "{path:?}");
        }
        for path in ["out/x", "in", "in/e", "d/pipe/x", "none", "../secret", "d/../.."] {
            let path = Path::new(path);
            let same = beneath.walk(path).map(drop).map_err(Miss::from);
            assert_eq!(same, beneath.folder(path).map(drop).map_err(Miss::from), "{path:?}");
            assert!(same.is_err(), "{path:?}");
        }
        assert!(beneath.file(Path::new("../secret")).is_err() && beneath.file(Path::new("d/..")).is_err());
        assert_eq!(beneath.read(Path::new("d/e/file"), 4).unwrap().unwrap(), b"text");
        assert!(beneath.read(Path::new("d/e/file"), 3).unwrap_err().to_string().contains("too large"));
        assert!(beneath.walk(Path::new("d/e")).is_ok());
        assert!(beneath.stat(Path::new("out/secret")).is_none() && beneath.stat(Path::new("d/link")).is_some());
        for (path, made) in [("d/new", true), ("d/new/er", true), ("d", true), ("out/x", false), ("../x", false)] {
            assert_eq!(beneath.make_folder(Path::new(path)).is_ok(), made, "{path}");
        }
        for (path, removed) in [("d/new", false), ("d/new/er", true), ("d/new", true), ("out/root", false)] {
            assert_eq!(beneath.remove_folder(Path::new(path)).is_ok(), removed, "{path}");
        }
        assert!(root.join("d").is_dir() && !root.join("d/new").exists() && !dir.path().join("x").exists());
    }
}
