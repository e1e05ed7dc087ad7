//! Times of restored files.
//!
//! Git counts times in seconds, and looks into every file that may have been
//! written in the second in which its index was. Where attributes or settings
//! decide what it reads there, that look may find another content than the one
//! that the index was made for, and git would show a change that the captured
//! checkout does not have. So their times lie in the past, as if the files had
//! been there for a while. An edit changes them to now.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};

use super::files::{TreeFile, open_folder};
use crate::snapshot::format::index::Stat;

/// How far back, in seconds.
const AGE: i64 = 2;

/// Sets the times of these files, and takes over what `lstat` says then.
///
/// # Errors
/// When one cannot be reached without following a link.
pub(in crate::snapshot) fn set_back(root: &Path, written: &mut [(TreeFile, Stat)]) -> Result<()> {
    let top = rustix::fs::openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut parent: (PathBuf, Option<OwnedFd>) = (PathBuf::new(), None);
    for (file, stat) in written.iter_mut().filter(|(_, stat)| *stat != Stat::default()) {
        let path = Path::new(OsStr::from_bytes(&file.path));
        let shown = || format!("cannot set the time of {}", path.display());
        let folder = path.parent().unwrap_or(Path::new(""));
        if parent.1.is_none() || parent.0 != folder {
            parent = (folder.to_owned(), Some(open_folder(top.as_fd(), folder)?));
        }
        let (Some(folder), Some(name)) = (&parent.1, path.file_name()) else { continue };
        let past = Timespec { tv_sec: i64::from(stat.mtime.0) - AGE, tv_nsec: 0 };
        let times = Timestamps { last_access: past, last_modification: past };
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW).with_context(shown)?;
        *stat = Stat::from(&rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).with_context(shown)?);
    }
    Ok(())
}
