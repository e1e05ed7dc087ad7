//! The file system that a runtime sees, put together by pid 1 inside its own
//! mount namespace.
//!
//! Invariants: no path of the image is ever used as text. Each target is
//! opened inside the new root first (`RESOLVE_IN_ROOT`; for `/proc`, `/sys`
//! and `/dev` without any link) and the mount goes onto that descriptor, so
//! that neither a link in the image nor a swap during set-up can redirect it.
//!
//! The root itself is here; what is put into it is in the files beside.

mod given;
mod mounts;
mod root;
mod spec;
mod system;
mod trees;
mod workspace;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};

pub(crate) use mounts::{attach, mount_of};
pub use spec::{ARTIFACTS, Access, Place, RootfsSpec, TreeMount, hides};
pub use trees::Changed;
pub(crate) use trees::{Placed, Uppers, changed};
pub(crate) use workspace::kept;

use mounts::{bind, new_fs};
use root::Root;

use super::inside::Inside;
use crate::error::failure;
use crate::runtime::{Injected, Network, probe};

/// A scratch space is no smaller than this, in bytes: files of ours have room in it.
const SMALLEST: u64 = 1 << 20;

/// What pid 1 needs to know to build the file system.
pub(crate) struct Entry<'a> {
    /// Source of the root mount: the mark by which a runtime is known.
    pub(crate) mark: &'a str,
    pub(crate) spec: &'a RootfsSpec,
    /// A folder outside over which the scratch space is mounted.
    pub(crate) scratch_place: BorrowedFd<'a>,
    /// Its size in bytes; half of the machine's memory where nobody says.
    pub(crate) scratch: Option<u64>,
    pub(crate) network: Network,
    /// The user's home folder inside.
    pub(crate) home: &'a str,
    /// The user's ids inside.
    pub(crate) ids: (u32, u32),
    /// Whether group 5 (tty) exists inside.
    pub(crate) tty_group: bool,
    /// Whether user and group 0 exist inside.
    pub(crate) root_exists: bool,
    /// Secrets, of which some become files.
    pub(crate) secrets: &'a [Injected],
    /// Waits until the owner has made the folders on disk.
    pub(crate) placed: &'a dyn Fn() -> Result<()>,
}

/// What has become of it.
pub(crate) struct Entered {
    /// The tree inside.
    pub(crate) inside: Inside,
    /// The upper folder of its root: what is written outside the workspace.
    pub(crate) upper: OwnedFd,
    /// Where trees are that may be changed.
    pub(crate) placed: Vec<Placed>,
}

/// Builds the file system and makes it the root.
///
/// # Errors
/// With the step that failed. The mount namespace dies with this process, so
/// nothing has to be undone.
pub(crate) fn enter(entry: &Entry<'_>) -> Result<Entered> {
    let spec = entry.spec;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot separate the mounts from the host's")?;
    let scratch = scratch(entry.scratch_place, entry.scratch, entry.root_exists)?;
    let root = overlay(spec, scratch.as_fd(), entry.mark)?;
    let root = Root { root, network: entry.network };
    root.proc(scratch.as_fd())?;
    root.sys()?;
    root.dev(scratch.as_fd(), entry.tty_group)?;
    for name in ["tmp", "run"] {
        let tree = bind(scratch.as_fd(), name, false)?;
        root.attach(tree.as_fd(), root.folder(name)?.as_fd(), &format!("/{name}"))?;
    }
    root.artifacts(spec)?;
    root.secrets(entry.secrets, entry.ids)?;
    root.home(entry.home, entry.ids)?;
    root.identity_files(&spec.hostname)?;
    root.mirror(spec)?;
    if spec.needs_places() {
        (entry.placed)()?;
    }
    let uppers = Uppers::open(entry.scratch_place, &spec.trees, spec.workspace_stays)?;
    root.workspace(spec, uppers.workspace.as_ref())?;
    let meeting = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&scratch, "trees", flags, Mode::empty())?)
    };
    let placed = trees::mount_all(&root, spec, &uppers, meeting, (entry.home, entry.ids))?;
    let upper = rustix::fs::openat(
        &scratch,
        "upper",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    pivot(root.root.as_fd())?;
    let (run, terminals) = (root.folder("run")?, root.plain_folder("dev/pts")?);
    let inside = Inside { root: root.root, run, terminals };
    let workdir = inside.open(Path::new(&spec.workdir), OFlags::PATH | OFlags::DIRECTORY);
    let workdir = workdir.with_context(|| format!("cannot enter {}", spec.workdir))?;
    rustix::process::fchdir(&workdir)?;
    Ok(Entered { inside, upper, placed })
}

/// The sized tmpfs that holds everything that a run writes outside its
/// workspace. It lies over the runtime's folder, visible in here only.
fn scratch(place: BorrowedFd<'_>, size: Option<u64>, root_exists: bool) -> Result<OwnedFd> {
    let size = size.map_or_else(|| "50%".to_owned(), |bytes| bytes.max(SMALLEST).to_string());
    let mount = new_fs(
        "tmpfs",
        &[("size", &size), ("mode", "0755")],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    attach(mount.as_fd(), place).context("cannot mount the scratch space")?;
    for (name, mode) in [
        ("root", 0o755),
        ("upper", 0o755),
        ("work", 0o755),
        ("tmp", 0o1777),
        ("run", 0o755),
        ("run/lock", 0o1777),
        ("run/envctl", 0o755),
        ("shm", 0o1777),
        ("trees", 0o755),
        ("empty", 0o555),
    ] {
        make_folder(mount.as_fd(), name, mode)?;
        if root_exists {
            // The root folder and its like belong to root, also where the
            // image's user is another.
            let root = (Some(Uid::ROOT), Some(Gid::ROOT));
            rustix::fs::chownat(&mount, name, root.0, root.1, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, "nothing", flags, Mode::from_raw_mode(0o444))?;
    Ok(mount)
}

fn make_folder(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)
        .with_context(|| format!("cannot create {name} in the scratch space"))?;
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    Ok(())
}

/// The image's layers under a fresh upper. `userxattr` always, so that root
/// and everybody else share one layer format.
fn overlay(spec: &RootfsSpec, scratch: BorrowedFd<'_>, mark: &str) -> Result<OwnedFd> {
    // Descriptors keep the option string short and free of quoting. They must
    // be opened in this mount namespace.
    let open = |path: &Path| {
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open the layer {}", path.display()))
    };
    // Of a layer that occurs twice the upper occurrence alone counts, and the
    // kernel wants it once.
    let mut seen = std::collections::HashSet::new();
    let topmost_first = spec.layers.iter().rev().filter(|path| seen.insert(*path));
    let layers: Vec<OwnedFd> = topmost_first.map(|path| open(path)).collect::<Result<_>>()?;
    let inside = |name: &str| {
        rustix::fs::openat(scratch, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let (upper, work, target) = (inside("upper")?, inside("work")?, inside("root")?);
    // The kernel takes one page of options: with the folder of descriptors as working
    // folder, it is enough for as many layers as an overlay can have.
    rustix::process::chdir("/proc/self/fd").context("cannot look at the descriptors")?;
    let path = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let lower: Vec<String> = layers.iter().map(path).collect();
    let options = format!("lowerdir={},upperdir={},workdir={},userxattr", lower.join(":"), path(&upper), path(&work));
    if options.len() >= 4096 {
        return Err(failure(format!("the image has {} layers, more than one overlay can hold", layers.len())).into());
    }
    let options = CString::new(options)?;
    rustix::mount::mount(mark, path(&target), "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options).map_err(
        |error| probe::explain_user_namespace(error.into(), "cannot mount the image's layers as an overlay"),
    )?;
    // The descriptor from before the mount shows what lies under it.
    Ok(inside("root")?)
}

fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".").context("cannot change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("cannot let go of the host's root")?;
    rustix::process::chdir("/")?;
    Ok(())
}
