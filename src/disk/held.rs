//! Whether somebody can still write to a file without opening it again: through a
//! descriptor, or through memory that is mapped. The kernel tells nobody of what
//! is written to mapped memory.
//!
//! A read lease answers that (`F_SETLEASE` in `fcntl(2)`): the kernel grants none
//! while the file is open for writing anywhere. It is given back at once.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Which signal tells that a lease was broken (`fcntl(2)`).
const F_SETSIG: libc::c_int = 10;

/// Who can write to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody, before it is opened again.
    Nobody,
    /// Somebody; or the file belongs to another account, of which nothing is told.
    Somebody,
    /// The file system does not tell.
    Unknown,
}

/// Who can write to a file, which is open for reading only.
pub fn writers(file: &File) -> Writers {
    let fd = file.as_raw_fd();
    // Who opens the file at this moment breaks the lease. The signal that tells of
    // it is one that is ignored unless somebody waits for it.
    // SAFETY: these calls take and give numbers only.
    let granted = unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } == 0
        && unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } == 0;
    if granted {
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Writers::Nobody;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Writers::Somebody,
        _ => Writers::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_file_open_for_writing_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        if writers(&file) == Writers::Unknown {
            return;
        }
        assert_eq!(writers(&file), Writers::Nobody);
        let writer = File::options().write(true).open(&path).unwrap();
        assert_eq!(writers(&file), Writers::Somebody);
        drop(writer);
        assert_eq!(writers(&file), Writers::Nobody);
    }
}
