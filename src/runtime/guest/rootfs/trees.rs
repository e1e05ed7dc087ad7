//! Sealed trees inside: lower layers of one overlay whose upper is on disk, so
//! that a run that writes gigabytes needs no memory for them, and none can change
//! what others see.
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

use super::root::{Root, bind_tree};
use super::spec::{InnerPlace, RootfsSpec, TreeAccess, TreeMount};
use crate::error::failure;
use crate::runtime::sys;

/// The upper of all trees, in the folder over which scratch is mounted.
const TREES: &str = "trees";

/// The upper of a workspace that is not to be changed, there.
const WORKSPACE: &str = "workspace";

/// What a run changed in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedTree {
    /// The tree's name.
    pub name: String,
    /// Entries that it made, changed or removed; `None` where nobody could
    /// count them.
    pub entries: Option<u64>,
    /// Packages that it added, by name and version, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// The folders of one overlay.
pub(super) struct Upper {
    upper: OwnedFd,
    work: OwnedFd,
}

/// The uppers of a runtime.
pub(crate) struct Uppers {
    /// For all trees together.
    trees: Option<Upper>,
    /// For a workspace that is not to be changed.
    pub(super) workspace: Option<Upper>,
}

impl Uppers {
    /// Makes their folders on disk. The owner does this while pid 1 is at work:
    /// a folder on disk takes as long as a handful of mounts.
    pub(crate) fn make(place: &Path, trees: &[TreeMount], workspace: bool) -> Result<()> {
        for name in names(trees, workspace).into_iter().flatten() {
            // Side by side: each folder has to be removed again at every reset.
            for folder in [name.to_owned(), work(name)] {
                let made = rustix::fs::mkdirat(CWD, place.join(&folder), Mode::RWXU);
                made.with_context(|| format!("cannot make {folder} on disk"))?;
            }
        }
        Ok(())
    }

    /// The upper of the workspace, in a folder in which they were made.
    pub(crate) fn of_workspace(place: &Path) -> PathBuf {
        place.join(WORKSPACE)
    }

    /// That of a tree.
    pub(crate) fn of_tree(place: &Path, tree: &Path) -> Option<PathBuf> {
        Some(place.join(TREES).join(tree.file_name()?))
    }

    /// Opens them. The scratch space may cover their place by now, but not for
    /// a descriptor from before.
    pub(super) fn open(place: BorrowedFd<'_>, trees: &[TreeMount], workspace: bool) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = |name: &str| {
            let opened = rustix::fs::openat(place, name, flags, Mode::empty());
            opened.with_context(|| format!("cannot open {name} on disk"))
        };
        let upper = |name: &str| -> Result<Upper> { Ok(Upper { upper: folder(name)?, work: folder(&work(name))? }) };
        let [trees, workspace] = names(trees, workspace);
        Ok(Uppers { trees: trees.map(upper).transpose()?, workspace: workspace.map(upper).transpose()? })
    }
}

/// The uppers that a runtime needs: for its trees, for its workspace.
fn names(trees: &[TreeMount], workspace: bool) -> [Option<&'static str>; 2] {
    let wanted = trees.iter().any(|tree| tree.access == TreeAccess::Overlay);
    [wanted.then_some(TREES), workspace.then_some(WORKSPACE)]
}

/// The work folder of an upper.
fn work(upper: &str) -> String {
    format!("{upper}.work")
}

/// Where a tree that may be changed was put.
pub(crate) struct PlacedTree {
    /// The place's name.
    pub(crate) name: String,
    /// The mount of the tree.
    pub(crate) mount: u64,
    /// Bytes of the tree's own folder, before anybody has written into it.
    pub(crate) size: u64,
}

/// Mounts all trees at their places. Those with an upper share one overlay,
/// made at `meeting`, and are bound from there: what an overlay costs to make
/// and to take away is paid once, however many there are.
pub(super) fn mount_all(
    root: &Root,
    spec: &RootfsSpec,
    uppers: &Uppers,
    meeting: impl Fn() -> Result<OwnedFd>,
    (home, ids): (&str, (u32, u32)),
) -> Result<Vec<PlacedTree>> {
    let merged = match &uppers.trees {
        None => None,
        Some(upper) => {
            let mut lowers: Vec<&Path> = Vec::new();
            for tree in spec.trees.iter().filter(|tree| tree.access == TreeAccess::Overlay) {
                let lower = tree.tree.parent().context("a tree lies in a folder of its own")?;
                if !lowers.contains(&lower) {
                    lowers.push(lower);
                }
            }
            let lowers = lowers.into_iter().map(open).collect::<Result<Vec<_>>>()?;
            overlay(&lowers, upper, meeting()?.as_fd(), "the caches")?;
            // The descriptor from before the mount shows what lies under it.
            Some(meeting()?)
        }
    };
    let mut all = Vec::new();
    for tree in &spec.trees {
        let target = target(root, &tree.place, &spec.workdir, home, ids)
            .with_context(|| format!("cannot place {}", tree.name))?;
        let (source, attributes) = match (&merged, tree.access) {
            (Some(merged), TreeAccess::Overlay) => (below(merged, tree)?, None),
            (_, TreeAccess::ReadOnly) => (part(open(&tree.tree)?, tree)?, Some(sys::READ_ONLY)),
            (_, TreeAccess::Writable | TreeAccess::Overlay) => (part(open(&tree.tree)?, tree)?, None),
        };
        let size = u64::try_from(rustix::fs::fstat(&source)?.st_size).unwrap_or(u64::MAX);
        let mount = bind_tree(root, &source, target.as_fd(), attributes, &tree.name)?;
        if tree.access != TreeAccess::ReadOnly {
            let (InnerPlace::Workspace(path) | InnerPlace::Home(path) | InnerPlace::Absolute(path)) = &tree.place;
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            all.push(PlacedTree { name, mount, size });
        }
    }
    Ok(all)
}

fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", path.display()))
}

/// A tree among all of them.
fn below(merged: &OwnedFd, tree: &TreeMount) -> Result<OwnedFd> {
    let name = tree.tree.file_name().context("a tree has a name")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(merged, name, flags, Mode::empty());
    part(opened.with_context(|| format!("cannot open {}", tree.name))?, tree)
}

/// What of a tree is wanted. Somebody else may have filled it.
fn part(whole: OwnedFd, tree: &TreeMount) -> Result<OwnedFd> {
    let Some(part) = &tree.part else { return Ok(whole) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(&whole, part.as_str(), flags, Mode::empty(), resolve)
        .with_context(|| format!("cannot open {part} of {}", tree.name))
}

/// Mounts `lowers`, the uppermost first, under `upper` onto `target`.
pub(super) fn overlay(lowers: &[OwnedFd], upper: &Upper, target: BorrowedFd<'_>, name: &str) -> Result<()> {
    let Some(first) = lowers.first() else { return Ok(()) };
    // The merged folder has the upper's own settings.
    let stat = rustix::fs::fstat(first)?;
    let reopened =
        rustix::fs::openat(&upper.upper, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // An owner that has no place in this map stays out.
    let _ = rustix::fs::fchown(&reopened, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::fchmod(&reopened, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
    let path = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = lowers.iter().map(|lower| path(lower.as_fd())).collect();
    // What is lost with the machine was to be lost anyway.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr,volatile",
        lower.join(":"),
        path(upper.upper.as_fd()),
        path(upper.work.as_fd())
    );
    if options.len() >= 4096 {
        return Err(failure(format!("{} trees are more than one overlay can hold", lowers.len())).into());
    }
    rustix::mount::mount(
        "envctl-cache",
        path(target),
        "overlay",
        MountFlags::NOSUID | MountFlags::NODEV,
        &*CString::new(options)?,
    )
    .with_context(|| format!("cannot mount {name} as an overlay"))
}

/// Opens, or makes, the place of a tree. No link on the way is followed: what lies
/// behind one is somebody else's.
fn target(root: &Root, place: &InnerPlace, workdir: &str, home: &str, ids: (u32, u32)) -> Result<OwnedFd> {
    let (base, path, owner) = match place {
        InnerPlace::Workspace(path) => (root.folder(workdir)?, path, None),
        InnerPlace::Home(path) => (root.folder(home)?, path, Some(ids)),
        InnerPlace::Absolute(path) => (root.folder(".")?, path, None),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut current = base;
    for part in path.split('/') {
        let opened = match rustix::fs::openat2(&current, part, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&current, part, Mode::from_raw_mode(0o755)) {
                    // A program of another runtime has just made it.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let made = rustix::fs::openat2(&current, part, flags, Mode::empty(), resolve)?;
                if let Some((uid, gid)) = owner {
                    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                    rustix::fs::chownat(&made, c"", uid, gid, AtFlags::EMPTY_PATH)?;
                }
                Ok(made)
            }
            other => other,
        };
        let opened = opened.map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => {
                anyhow::Error::from(failure(format!("{part:?} in {path} is a link or no folder")))
            }
            error => error.into(),
        })?;
        current = opened;
    }
    Ok(current)
}

/// Counts what lies in the uppers of a runtime's folder, and has the packages `named`
/// that an upper adds to a tree. A tree that appears at several places counts once.
pub(crate) fn changed(
    folder: &Path,
    names: &[String],
    trees: &[PathBuf],
    named: &dyn Fn(&Path, &Path) -> Vec<String>,
) -> Vec<ChangedTree> {
    let mut all: Vec<ChangedTree> = Vec::new();
    for (name, tree) in names.iter().zip(trees) {
        if all.iter().any(|known| known.name == *name) {
            continue;
        }
        let (entries, packages) = match Uppers::of_tree(folder, tree) {
            Some(upper) if upper.exists() => match entries(&upper) {
                Some(0) => (Some(0), Vec::new()),
                some => (some, named(&upper, tree)),
            },
            _ => (Some(0), Vec::new()),
        };
        all.push(ChangedTree { name: name.clone(), entries, packages });
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
