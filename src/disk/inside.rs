//! A file of ours in a folder that does not stay where it is.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A file of a folder that others may move away or replace meanwhile: what is
/// read and written through it is this folder's, and none is made anew.
#[derive(Debug)]
pub struct FileInside {
    // It keeps the number in the path.
    _folder: OwnedFd,
    path: PathBuf,
}

impl FileInside {
    /// The file `name` of the folder that is at `folder` now.
    ///
    /// # Errors
    /// Plain I/O errors, such as that there is none.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        Ok(Self::of(File::open(folder)?.into(), OsStr::new(name)))
    }

    /// The file `name`, which is a plain name, of this folder.
    pub(super) fn of(folder: OwnedFd, name: &OsStr) -> Self {
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        FileInside { _folder: folder, path }
    }

    /// For [`super::read_json`], [`super::write_json`] and their like.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, for a file that gets its name later.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, read_json, write_json};
    use super::*;

    #[test]
    fn what_is_written_goes_where_the_folder_went() {
        let dir = tempfile::tempdir().unwrap();
        let (here, away) = (dir.path().join("here"), dir.path().join("away"));
        assert!(FileInside::open(&here, "file").is_err());
        std::fs::create_dir(&here).unwrap();
        let inside = FileInside::open(&here, "file").unwrap();
        assert_eq!(read_json::<u32>(inside.path()).unwrap(), None);
        write_json(inside.path(), &1_u32, Durability::Flushed).unwrap();
        std::fs::rename(&here, &away).unwrap();
        std::fs::create_dir(&here).unwrap();
        write_json(inside.path(), &2_u32, Durability::Cached).unwrap();
        assert_eq!(read_json::<u32>(&away.join("file")).unwrap(), Some(2));
        assert!(!here.join("file").exists());
    }
}
