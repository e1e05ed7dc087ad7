//! The workspace inside, the objects that it borrows, and the parts of its `.git`
//! that stay as envctl made them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};

use super::mounts::clone_tree;
use super::root::Root;
use super::spec::RootfsSpec;
use super::trees::{self, Upper};
use crate::disk::beneath::open_beneath;
use crate::disk::known::KnownFile;
use crate::error::failure;
use crate::runtime::sys;

/// Parts of `.git` that a program inside could otherwise use to make git on
/// the host run something; folders first, so that nothing can be renamed away.
const GIT_FOLDERS: [&str; 3] = ["objects", "objects/info", "refs"];
const GIT_READ_ONLY: [&str; 4] = ["envctl", "hooks", "commondir", "objects/info/alternates"];

/// Folders in which others could lay what git obeys, if they were allowed to write.
const OPEN_TO: [&str; 7] =
    [".", ".git/objects", ".git/objects/info", ".git/refs", ".git/info", ".git/modules", ".git/worktrees"];

/// What is read-only inside, as it is before anything runs there. The folder of
/// all of it is among that: who replaces it on the host takes every mount away. And
/// [`OPEN_TO`], for who else may write there.
pub(crate) fn kept(workspace: &Path) -> Vec<KnownFile> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(root) = rustix::fs::openat(CWD, workspace, flags, Mode::empty()) else { return Vec::new() };
    let git = Path::new(".git");
    let parts = GIT_READ_ONLY.iter().map(|name| git.join(name));
    let folders = OPEN_TO.iter().map(PathBuf::from);
    std::iter::once(git.to_owned())
        .chain(parts)
        .chain(folders)
        .filter_map(|path| KnownFile::of(root.as_fd(), &path))
        .collect()
}

/// A link to a file in a folder that is read-only: git on the host renames
/// another file over that one, and never over the link, so what is mounted on
/// the link stays.
const GIT_LINK: (&str, &str) = ("config", "envctl/config");

impl Root {
    /// The objects that the workspace borrows, at the path that its alternates
    /// name, so that git works inside as outside.
    pub(super) fn mirror(&self, spec: &RootfsSpec) -> Result<()> {
        let path = spec.mirror_objects.to_str().context("the path of the mirror is not valid UTF-8")?;
        let tree = clone_tree(CWD, path, true)?;
        sys::mount_setattr(&tree, true, sys::READ_ONLY).context("cannot make the mirror read-only")?;
        self.attach(tree.as_fd(), self.folder(path)?.as_fd(), "the mirror's objects")
    }

    pub(super) fn workspace(&self, spec: &RootfsSpec, over: Option<&Upper>) -> Result<()> {
        let source =
            rustix::fs::openat(CWD, &spec.workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("cannot open the workspace {}", spec.workspace.display()))?;
        let tree = match over {
            None => {
                let tree = clone_tree(&source, "", true)?;
                sys::mount_setattr(&tree, false, sys::NOSUID_NODEV)?;
                self.attach(tree.as_fd(), self.folder(&spec.workdir)?.as_fd(), &spec.workdir)?;
                tree
            }
            Some(upper) => {
                trees::overlay(&[source], upper, self.folder(&spec.workdir)?.as_fd(), "the workspace")?;
                self.folder(&spec.workdir)?
            }
        };
        let git = beneath(tree.as_fd(), ".git", OFlags::DIRECTORY)?;
        self.over_itself(git.as_fd(), false, ".git")?;
        // From here on through the mount that has just been made.
        let git = beneath(tree.as_fd(), ".git", OFlags::DIRECTORY)?;
        for name in GIT_FOLDERS {
            let part = beneath(git.as_fd(), name, OFlags::DIRECTORY)?;
            self.over_itself(part.as_fd(), false, name)?;
        }
        for name in GIT_READ_ONLY {
            let part = beneath(git.as_fd(), name, OFlags::empty())?;
            self.over_itself(part.as_fd(), true, name)?;
        }
        let (link, target) = GIT_LINK;
        let place = beneath(git.as_fd(), link, OFlags::NOFOLLOW)?;
        let file = clone_tree(beneath(git.as_fd(), target, OFlags::empty())?, "", false)?;
        sys::mount_setattr(&file, false, sys::READ_ONLY)?;
        self.attach(file.as_fd(), place.as_fd(), link)
    }

    /// A mount point of its own cannot be renamed, removed or replaced.
    pub(super) fn over_itself(&self, part: BorrowedFd<'_>, read_only: bool, name: &str) -> Result<()> {
        let tree = clone_tree(part, "", true)?;
        sys::mount_setattr(&tree, true, if read_only { sys::READ_ONLY } else { sys::NOSUID_NODEV })?;
        self.attach(tree.as_fd(), part, name)
    }
}

/// Opens a part of the workspace that must be a plain file or folder.
fn beneath(folder: BorrowedFd<'_>, name: &str, extra: OFlags) -> Result<OwnedFd> {
    open_beneath(folder, Path::new(name), OFlags::PATH | extra).map_err(|error| {
        failure(format!("{name} in the workspace is missing or was replaced ({error})"))
            .hint("its git folder is not as envctl made it: enter the task again with --refresh, after saving what you need")
            .into()
    })
}
