//! Git folders that lie elsewhere than their files, and those that the index
//! names. Where a `.git` leads can change without an event in either place: a link
//! on the way is turned, or the place that it names comes to be. So after every
//! event it is asked again.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};

use super::super::audit;
use super::Watch;
use crate::disk::beneath::open_beneath;

/// No workspace has more of either.
const MAX: usize = 4096;

/// What a name stands for: an inode number, and when the inode was changed last,
/// seconds and nanoseconds.
type Seen = (u64, i64, u64);

#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Folders whose `.git` is a file or a link, and where it leads in the
    /// workspace.
    pointers: BTreeMap<PathBuf, Option<PathBuf>>,
    /// Folders that the index names as repositories, and what their `.git` was.
    linked: Vec<(PathBuf, Option<Seen>)>,
    /// The workspace's own git folder.
    own: Option<u64>,
}

impl Watch<'_> {
    /// Notes where the `.git` of a folder leads.
    pub(super) fn note_pointer(&mut self, path: &Path, leads: Option<PathBuf>) {
        let pointers = &mut self.elsewhere.pointers;
        if pointers.len() >= MAX && !pointers.contains_key(path) {
            self.found.incomplete.get_or_insert_with(|| "too many git folders that lie elsewhere".into());
            return;
        }
        pointers.insert(path.to_owned(), leads);
    }

    /// The `.git` of a folder is no pointer any more.
    pub(super) fn forget_pointer(&mut self, path: &Path) {
        self.elsewhere.pointers.remove(path);
    }

    /// The git folder of a folder, by what was seen last.
    pub(super) fn git_folder(&self, path: &Path) -> Option<PathBuf> {
        self.elsewhere.pointers.get(path).map_or_else(|| Some(path.join(".git")), Clone::clone)
    }

    /// Notes the repositories that the index names.
    pub(super) fn note_linked(&mut self) {
        let mut linked = audit::linked(self.workspace, self.run);
        if linked.len() > MAX {
            linked.truncate(MAX);
            self.found.incomplete.get_or_insert_with(|| "too many repositories in the index".into());
        }
        let before = std::mem::take(&mut self.elsewhere.linked);
        let seen = |path: &PathBuf| before.iter().find(|(one, _)| one == path).and_then(|(_, seen)| *seen);
        self.elsewhere.linked = linked.into_iter().map(|path| (path.clone(), seen(&path))).collect();
    }

    /// Looks again at what leads elsewhere by now.
    pub(super) fn follow(&mut self) {
        let mut again = Vec::new();
        for (path, led) in &self.elsewhere.pointers {
            if audit::leads(self.workspace, path) != *led {
                again.push(path.clone());
            }
        }
        let mut linked = std::mem::take(&mut self.elsewhere.linked);
        for (path, seen) in &mut linked {
            let now = self.seen(&path.join(".git"));
            if now != *seen {
                *seen = now;
                again.push(path.clone());
            }
        }
        self.elsewhere.linked = linked;
        for path in again {
            self.look(&path);
        }
        let own = self.seen(Path::new(".git")).map(|(inode, ..)| inode);
        if own != self.elsewhere.own {
            self.elsewhere.own = own;
            self.walk_own(PathBuf::from(".git"));
        }
    }

    fn seen(&self, path: &Path) -> Option<Seen> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let handle = open_beneath(
            self.root.as_fd(),
            path.parent().filter(|path| *path != Path::new("")).unwrap_or(Path::new(".")),
            flags,
        )
        .ok()?;
        let stat = rustix::fs::statat(&handle, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_ino, stat.st_ctime, stat.st_ctime_nsec))
    }
}
