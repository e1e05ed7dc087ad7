//! Git folders that lie elsewhere than their files, and those that the index
//! names. Where a `.git` leads can change without an event in either place: a link
//! on the way is turned, or the place that it names comes to be. So after every
//! event it is asked again.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};

use super::super::audit;
use crate::disk::beneath::open_beneath;

/// No workspace has more of either.
const MAX: usize = 4096;

/// What a name stands for: an inode number, and when the inode was changed last,
/// seconds and nanoseconds.
type InodeStamp = (u64, i64, u64);

#[derive(Debug, Default)]
pub(super) struct WatchedElsewhere {
    /// Folders whose `.git` is a file or a link, and where it leads in the
    /// workspace.
    pointers: BTreeMap<PathBuf, Option<PathBuf>>,
    /// Folders that the index names as repositories, and what their `.git` was.
    linked: Vec<(PathBuf, Option<InodeStamp>)>,
    /// The workspace's own git folder.
    own: Option<u64>,
}

impl WatchedElsewhere {
    /// Notes where the `.git` of a folder leads; says whether there is room.
    pub(super) fn note_pointer(&mut self, path: &Path, leads: Option<PathBuf>) -> bool {
        let is_known = self.pointers.contains_key(path);
        let has_room = is_known || self.pointers.len() < MAX;
        if has_room {
            self.pointers.insert(path.to_owned(), leads);
        }
        has_room
    }

    /// The `.git` of a folder is no pointer any more.
    pub(super) fn forget_pointer(&mut self, path: &Path) {
        self.pointers.remove(path);
    }

    /// The git folder of a folder, by what was seen last.
    pub(super) fn git_folder(&self, path: &Path) -> Option<PathBuf> {
        self.pointers.get(path).map_or_else(|| Some(path.join(".git")), Clone::clone)
    }

    /// Notes the repositories that the index names; says whether there is room.
    pub(super) fn note_linked(&mut self, mut linked: Vec<PathBuf>) -> bool {
        let has_room = linked.len() <= MAX;
        linked.truncate(MAX);
        let before: BTreeMap<_, _> = std::mem::take(&mut self.linked).into_iter().collect();
        let seen = |path: &PathBuf| before.get(path).copied().flatten();
        self.linked = linked.into_iter().map(|path| (path.clone(), seen(&path))).collect();
        has_room
    }

    /// Whether the index names a folder as a repository: git at the root looks into it.
    pub(super) fn is_linked(&self, path: &Path) -> bool {
        self.linked.iter().any(|(linked, _)| linked == path)
    }

    /// The folders whose git folder is another by now.
    pub(super) fn turned(&mut self, workspace: &Path, root: BorrowedFd<'_>) -> Vec<PathBuf> {
        let moved = self.pointers.iter().filter(|(path, led)| audit::leads(workspace, path) != **led);
        let mut turned: Vec<PathBuf> = moved.map(|(path, _)| path.clone()).collect();
        for (path, seen) in &mut self.linked {
            let now = look(root, &path.join(".git"));
            if now != *seen {
                *seen = now;
                turned.push(path.clone());
            }
        }
        turned
    }

    /// Whether the workspace's own git folder is another by now.
    pub(super) fn has_own_turned(&mut self, root: BorrowedFd<'_>) -> bool {
        let own = look(root, Path::new(".git")).map(|(inode, ..)| inode);
        std::mem::replace(&mut self.own, own) != own
    }
}

fn look(root: BorrowedFd<'_>, path: &Path) -> Option<InodeStamp> {
    let above = path.parent().filter(|path| *path != Path::new("")).unwrap_or(Path::new("."));
    let handle = open_beneath(root, above, OFlags::PATH).ok()?;
    let stat = rustix::fs::statat(&handle, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_ino, stat.st_ctime, stat.st_ctime_nsec))
}
