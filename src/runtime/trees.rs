//! Sealed trees inside: each a lower layer under an upper of its own on disk,
//! so that a run that writes gigabytes needs no memory for them, and none can
//! change what others see.
//!
//! The uppers lie in the runtime's folder, under the scratch space that covers
//! it inside; a reset counts what they hold and removes them with the rest.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

use super::rootfs::{READ_ONLY, Root, bind_tree};
use crate::error::failure;

/// The folder of all uppers, below the runtime's.
const UPPERS: &str = "uppers";

/// A place inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Relative to the workspace.
    Workspace(String),
    /// Relative to the user's home folder.
    Home(String),
    /// From the root, without the first slash.
    Absolute(String),
}

/// How a tree may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Changes go to an upper and are gone with the runtime.
    Overlay,
    /// There are no changes.
    ReadOnly,
    /// It is being made.
    Writable,
}

/// A tree of the host that appears inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeMount {
    /// Its name, for people.
    pub name: String,
    /// The tree outside.
    pub tree: PathBuf,
    /// Where it appears.
    pub place: Place,
    /// How.
    pub access: Access,
}

/// What a run changed in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The tree's name.
    pub name: String,
    /// Entries that it made, changed or removed; `None` where nobody could
    /// count them.
    pub entries: Option<u64>,
}

/// The folders of one overlay.
pub(super) struct Upper {
    upper: OwnedFd,
    work: OwnedFd,
}

/// Makes the uppers, before the scratch space covers their place: one for each
/// tree that needs one, and one for the workspace where it is not to be
/// changed.
pub(super) fn uppers(
    place: BorrowedFd<'_>,
    trees: &[TreeMount],
    workspace: bool,
) -> Result<(Vec<Option<Upper>>, Option<Upper>)> {
    let wanted = trees.iter().any(|tree| tree.access == Access::Overlay) || workspace;
    if !wanted {
        return Ok((trees.iter().map(|_| None).collect(), None));
    }
    let folder = |parent: BorrowedFd<'_>, name: &str| -> Result<OwnedFd> {
        let made = rustix::fs::mkdirat(parent, name, Mode::RWXU);
        made.with_context(|| format!("cannot make {name} on disk"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
    };
    let all = folder(place, UPPERS)?;
    // Side by side: each folder has to be removed again at every reset.
    let upper = |name: &str| -> Result<Upper> {
        Ok(Upper { upper: folder(all.as_fd(), name)?, work: folder(all.as_fd(), &format!("{name}.work"))? })
    };
    let of = |(index, tree): (usize, &TreeMount)| {
        (tree.access == Access::Overlay).then(|| upper(&index.to_string())).transpose()
    };
    let trees = trees.iter().enumerate().map(of).collect::<Result<_>>()?;
    Ok((trees, if workspace { Some(upper("workspace")?) } else { None }))
}

/// Mounts a tree at its place.
pub(super) fn mount(
    root: &Root,
    tree: &TreeMount,
    upper: Option<&Upper>,
    workdir: &str,
    home: &str,
    ids: (u32, u32),
) -> Result<()> {
    let target =
        target(root, &tree.place, workdir, home, ids).with_context(|| format!("cannot place {}", tree.name))?;
    let lower = rustix::fs::openat(CWD, &tree.tree, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", tree.tree.display()))?;
    match (tree.access, upper) {
        (Access::Overlay, Some(upper)) => overlay(&lower, upper, target.as_fd(), &tree.name),
        (Access::ReadOnly, _) => bind_tree(root, &lower, target.as_fd(), Some(READ_ONLY), &tree.name),
        (Access::Writable | Access::Overlay, _) => bind_tree(root, &lower, target.as_fd(), None, &tree.name),
    }
}

/// Mounts `lower` under `upper` onto `target`.
pub(super) fn overlay(lower: &OwnedFd, upper: &Upper, target: BorrowedFd<'_>, name: &str) -> Result<()> {
    // The merged folder has the upper's own settings.
    let stat = rustix::fs::fstat(lower)?;
    let reopened =
        rustix::fs::openat(&upper.upper, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // An owner that has no place in this map stays out.
    let _ = rustix::fs::fchown(&reopened, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::fchmod(&reopened, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
    let path = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    // What is lost with the machine was to be lost anyway.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr,volatile",
        path(lower.as_fd()),
        path(upper.upper.as_fd()),
        path(upper.work.as_fd())
    );
    rustix::mount::mount(
        "envctl-cache",
        path(target),
        "overlay",
        MountFlags::NOSUID | MountFlags::NODEV,
        &*CString::new(options)?,
    )
    .with_context(|| format!("cannot mount {name} as an overlay"))
}

/// Opens, or makes, the place of a tree. No link on the way is followed: what
/// lies behind one is somebody else's.
fn target(root: &Root, place: &Place, workdir: &str, home: &str, ids: (u32, u32)) -> Result<OwnedFd> {
    let (base, path, owner) = match place {
        Place::Workspace(path) => (root.folder(workdir)?, path, None),
        Place::Home(path) => (root.folder(home)?, path, Some(ids)),
        Place::Absolute(path) => (root.folder(".")?, path, None),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut current = base;
    for part in path.split('/') {
        let opened = match rustix::fs::openat2(&current, part, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&current, part, Mode::from_raw_mode(0o755))?;
                let made = rustix::fs::openat2(&current, part, flags, Mode::empty(), resolve)?;
                if let Some((uid, gid)) = owner {
                    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                    rustix::fs::chownat(&made, c"", uid, gid, AtFlags::EMPTY_PATH)?;
                }
                Ok(made)
            }
            other => other,
        };
        current = opened.map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => {
                anyhow::Error::from(failure(format!("{part:?} in {path} is a link or no folder")))
            }
            error => error.into(),
        })?;
    }
    Ok(current)
}

/// Counts what lies in the uppers of a runtime's folder. A tree that appears at
/// several places counts once.
pub(super) fn changed(folder: &Path, names: &[String]) -> Vec<Changed> {
    let mut all: Vec<Changed> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let upper = folder.join(UPPERS).join(index.to_string());
        let count = if upper.exists() { entries(&upper) } else { Some(0) };
        match all.last_mut().filter(|last| last.name == *name) {
            Some(last) => last.entries = last.entries.zip(count).map(|(a, b)| a + b),
            None => all.push(Changed { name: name.clone(), entries: count }),
        }
    }
    all
}

/// Folders count only where nothing in them does.
fn entries(folder: &Path) -> Option<u64> {
    let mut count = 0;
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        if entry.file_type().ok()?.is_dir() {
            count += entries(&entry.path())?.max(1);
        } else {
            count += 1;
        }
    }
    Some(count)
}
