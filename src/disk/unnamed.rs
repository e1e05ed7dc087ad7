//! Files that have no name until they are whole: a process that is killed
//! leaves nothing of them.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Whether bytes must survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Flushed before the rename, and the folder after it.
    Flushed,
    /// Renamed only: losing it costs time.
    Cached,
}

/// How temporary files are called where the file system cannot do without.
pub(super) const PREFIX: &str = ".tmp-";

/// A file that is being written, on the file system on which it will stand.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    /// Its name meanwhile, on file systems where it needs one.
    named: Option<tempfile::TempPath>,
}

impl Unnamed {
    /// Begins one on the file system of `folder`.
    ///
    /// # Errors
    /// Plain I/O errors; the caller adds the path.
    pub fn create_in(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, folder, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => Ok(Unnamed { file: file.into(), named: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let (file, path) = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?.into_parts();
                Ok(Unnamed { file, named: Some(path) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes it visible, read-only, in place of whatever was there.
    ///
    /// # Errors
    /// Plain I/O errors; nothing of it stays.
    pub fn publish(mut self, path: &Path, durability: Durability) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(0o444))?;
        if durability == Durability::Flushed {
            tolerate_no_fsync(self.file.sync_all())?;
        }
        match self.named.take() {
            Some(temporary) => temporary.persist(path).map_err(|failed| failed.error)?,
            None => match self.link(path) {
                Err(Errno::EXIST) => self.replace(path)?,
                other => other?,
            },
        }
        if durability == Durability::Flushed
            && let Some(parent) = path.parent()
        {
            tolerate_no_fsync(File::open(parent)?.sync_all())?;
        }
        Ok(())
    }

    fn link(&self, path: &Path) -> Result<(), Errno> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
    }

    /// A link cannot take the place of a file; a rename can.
    fn replace(&self, path: &Path) -> io::Result<()> {
        for _ in 0..100 {
            let mut bytes = [0; 8];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
            let temporary = path.with_file_name(format!("{PREFIX}{}", crate::digest::hex(&bytes)));
            match self.link(&temporary) {
                Err(Errno::EXIST) => continue,
                other => other?,
            }
            return fs::rename(&temporary, path).inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            });
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a name is that of a temporary file, which is nobody's business.
pub fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Some file systems have no fsync; anything else is a real failure.
pub(super) fn tolerate_no_fsync(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP | libc::ENOSYS)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_before_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        for content in ["one", "two"] {
            let mut file = Unnamed::create_in(dir.path()).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let before = names();
            assert!(before.is_empty() || before == ["file"], "{before:?}");
            file.publish(&path, Durability::Flushed).unwrap();
            assert_eq!((names(), fs::read_to_string(&path).unwrap()), (vec!["file".into()], content.to_owned()));
        }
        let abandoned = Unnamed::create_in(dir.path()).unwrap();
        drop(abandoned);
        assert_eq!(names(), ["file"]);
    }
}
