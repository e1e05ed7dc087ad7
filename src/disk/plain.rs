//! The one way to open a file that somebody else may have laid: it is a plain
//! file, and nobody is waited for. Below a folder that others write to it is
//! reached through no link, too: see [`super::beneath::Beneath`].

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Fault, policy};

/// Why there is no file to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nothing is there.
    Absent,
    /// A link is there, or on the way.
    Link,
    /// A folder, a pipe, a socket or a device is there.
    NoFile,
    /// The system says no.
    Failed(Errno),
}

impl From<Errno> for Miss {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Miss::Absent,
            Errno::LOOP => Miss::Link,
            // What opening a socket says.
            Errno::NXIO => Miss::NoFile,
            other => Miss::Failed(other),
        }
    }
}

/// How it is opened: a pipe answers at once, and a terminal stays nobody's.
pub(super) fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// What was opened, if it is a plain file.
pub(super) fn only(opened: OwnedFd) -> Result<File, Miss> {
    match FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) {
        FileType::RegularFile => Ok(File::from(opened)),
        _ => Err(Miss::NoFile),
    }
}

/// Opens a file that stands where the developer's own files do. They may have
/// put a link there.
///
/// # Errors
/// When nothing is there, or something else than a plain file.
pub fn open(path: &Path) -> Result<File, Miss> {
    only(rustix::fs::openat(CWD, path, flags(), Mode::empty())?)
}

/// What stands in the place of a file is not read.
pub(super) fn refused(path: &Path, why: &str) -> Fault {
    policy(format!("{} {why}: envctl does not read it", path.display()))
        .hint("put a plain file in its place or remove it, then try again")
}
