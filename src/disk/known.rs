//! Files and folders that are known again: what had a name at one time, and
//! whether the same thing still has it.
//!
//! A mount over a file or folder protects it from programs in a runtime only
//! while it stays where it is: who removes it on the host takes the mount away
//! with it, and what gets its name afterwards is protected by nothing.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::open_beneath;
use crate::digest::Digest;

/// Files up to this many bytes are known by what they say, too.
const SMALL: u64 = 4096;

/// An inode number, and when the inode was made: seconds and nanoseconds.
type Inode = (u64, i64, u32);

/// What had a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// Where, from the folder that was asked for it.
    pub path: PathBuf,
    /// Its inode number, which a later file may get, and when it was made, where
    /// the file system says so: seconds since 1970 and nanoseconds.
    inode: Inode,
    /// The digest of what it said, where it is a small file.
    #[serde(default)]
    text: Option<String>,
}

/// What has the name of something that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// The same thing, or a file that says the same.
    Same,
    /// Nothing.
    Gone,
    /// Something else, or nobody can tell.
    Other,
    /// A folder on the way is closed.
    Closed,
}

impl KnownFile {
    /// What has this name now; `None` where nothing has it. No link is followed.
    pub fn of(root: BorrowedFd<'_>, path: &Path) -> Option<Self> {
        let (inode, text) = look(root, path).ok()?;
        Some(KnownFile { path: path.to_owned(), inode, text })
    }

    /// What has the name by now.
    pub fn now(&self, root: BorrowedFd<'_>) -> Now {
        match look(root, &self.path) {
            Ok((inode, _)) if inode == self.inode => Now::Same,
            Ok((_, text)) if text.is_some() && text == self.text => Now::Same,
            Ok(_) => Now::Other,
            Err(Errno::NOENT) => Now::Gone,
            Err(Errno::ACCESS) => Now::Closed,
            Err(_) => Now::Other,
        }
    }
}

fn look(root: BorrowedFd<'_>, path: &Path) -> Result<(Inode, Option<String>), Errno> {
    let handle = open_beneath(root, path, OFlags::PATH)?;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH, wanted)?;
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    let is_small = kind == FileType::RegularFile && stat.stx_size <= SMALL;
    let text = is_small.then(|| {
        let file = open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(SMALL + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= SMALL).then(|| Digest::of(&bytes).to_string())
    });
    Ok(((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec), text.flatten()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_put_in_the_place_of_something_is_another_thing() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        let known = |name: &str| KnownFile::of(root.as_fd(), Path::new(name)).unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("file"), "says\n").unwrap();
        let (folder, file) = (known("folder"), known("file"));
        assert_eq!(KnownFile::of(root.as_fd(), Path::new("nothing")), None);
        fs::write(at("folder/more"), "").unwrap();
        assert_eq!((folder.now(root.as_fd()), file.now(root.as_fd())), (Now::Same, Now::Same));

        crate::disk::remove::tree(&at("folder")).unwrap();
        assert_eq!(folder.now(root.as_fd()), Now::Gone);
        // The number of the first may be given once more.
        fs::create_dir(at("folder")).unwrap();
        assert_eq!(folder.now(root.as_fd()), Now::Other);
        fs::remove_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("file", at("folder")).unwrap();
        assert_eq!(folder.now(root.as_fd()), Now::Other, "a link is not followed");

        fs::write(at("new"), "says\n").unwrap();
        fs::rename(at("new"), at("file")).unwrap();
        assert_eq!(file.now(root.as_fd()), Now::Same, "it says the same");
        fs::write(at("new"), "says more\n").unwrap();
        fs::rename(at("new"), at("file")).unwrap();
        assert_eq!(file.now(root.as_fd()), Now::Other);

        let text = serde_json::to_string(&known("file")).unwrap();
        assert_eq!(serde_json::from_str::<KnownFile>(&text).unwrap(), known("file"));
    }
}
