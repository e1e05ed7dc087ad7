//! Files and folders that are known again: what had a name at one time, and
//! whether the same thing still has it.
//!
//! A mount over a file or folder protects it from programs in a runtime only
//! while it stays where it is: who removes it on the host takes the mount away
//! with it, and what gets its name afterwards is protected by nothing.

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
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
    /// Who else could write to it.
    #[serde(default)]
    others: Option<Others>,
}

/// What gives other accounts a way into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Others {
    /// The bits of its mode by which its group and all others write; of the folder that
    /// was asked itself, those by which they do anything.
    #[serde(alias = "write")]
    may: u32,
    /// It has a list of its own of who may do what, `acl(5)`.
    listed: bool,
}

/// Where such lists are kept: that of a folder, and that which new files in it get.
const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

impl Others {
    fn of(folder: &OwnedFd, path: &Path) -> Result<Self, Errno> {
        let may = rustix::fs::fstat(folder)?.st_mode & Self::bits(path);
        // A list has no room in a byte. (Without any, not even its absence would be told.)
        let has = |name: &&str| {
            matches!(rustix::fs::fgetxattr(folder, *name, &mut [0_u8; 1][..]), Ok(1..) | Err(Errno::RANGE))
        };
        Ok(Others { may, listed: LISTS.iter().any(has) })
    }

    /// What of a mode counts: who cannot pass the folder of all of it reaches nothing.
    fn bits(path: &Path) -> u32 {
        if path == Path::new(".") { 0o077 } else { 0o022 }
    }
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
        let folder = open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY).ok();
        let others = folder.and_then(|folder| Others::of(&folder, path).ok());
        Some(KnownFile { path: path.to_owned(), inode, text, others })
    }

    /// Takes back what others came to be allowed in this folder since; whether there was
    /// anything.
    ///
    /// # Errors
    /// What the system says.
    pub fn close_to_others(&self, root: BorrowedFd<'_>) -> Result<bool, Errno> {
        let Some(before) = self.others else { return Ok(false) };
        let folder = match open_beneath(root, &self.path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(error) => return Err(error),
        };
        let now = Others::of(&folder, &self.path)?;
        if now.listed && !before.listed {
            // Without them the bits of the group are those of the mode again.
            for name in LISTS {
                let _ = rustix::fs::fremovexattr(&folder, name);
            }
        }
        let mode = rustix::fs::fstat(&folder)?.st_mode;
        let more = mode & Others::bits(&self.path) & !before.may;
        if more != 0 {
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode & !more))?;
        }
        Ok(more != 0 || now.listed && !before.listed)
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_came_to_be_allowed_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        let set = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        for (name, before) in [("own", 0o755), ("shared", 0o775), ("listed", 0o755), ("heirs", 0o755)] {
            fs::create_dir(at(name)).unwrap();
            set(name, before);
            let known = KnownFile::of(root.as_fd(), Path::new(name)).unwrap();
            assert_eq!(known.close_to_others(root.as_fd()), Ok(false), "{name}");
            match name {
                // acl(5) as `posix_acl_xattr.h` has it: all may write, by a list.
                "listed" | "heirs" => {
                    let entry = |tag: u16, may: u16| [&tag.to_le_bytes()[..], &may.to_le_bytes(), &[0xff; 4]].concat();
                    let list = [2_u32.to_le_bytes().to_vec(), entry(1, 7), entry(4, 7), entry(0x20, 7)].concat();
                    let set = |list_of| rustix::fs::setxattr(at(name), list_of, &list, rustix::fs::XattrFlags::empty());
                    // The second changes no mode: it is for what will be in the folder.
                    let lists = if name == "listed" { &LISTS[..] } else { &LISTS[1..] };
                    if lists.iter().any(|name| set(*name) == Err(Errno::OPNOTSUPP)) {
                        continue;
                    }
                }
                name => set(name, 0o777),
            }
            assert_eq!(known.close_to_others(root.as_fd()), Ok(true), "{name}");
            assert_eq!(mode(name), before, "{name}");
            assert_eq!(known.close_to_others(root.as_fd()), Ok(false), "{name}");
        }
        set("", 0o700);
        let known = KnownFile::of(root.as_fd(), Path::new(".")).unwrap();
        set("", 0o711);
        assert_eq!((known.close_to_others(root.as_fd()), mode("")), (Ok(true), 0o700));
    }

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
