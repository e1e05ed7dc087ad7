//! The file system that a runtime sees, put together by pid 1 inside its own
//! mount namespace.
//!
//! Invariants: no path of the image is ever used as text. Each target is
//! opened inside the new root first (`RESOLVE_IN_ROOT`; for `/proc`, `/sys`
//! and `/dev` without any link) and the mount goes onto that descriptor, so
//! that neither a link in the image nor a swap during set-up can redirect it.
//!
//! The root itself is here; what is put into it is in the files beside.

mod base;
mod beside;
mod given;
mod mounts;
mod root;
mod spec;
mod system;
mod trees;
mod workspace;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

pub(crate) use beside::{ServiceRoot, enter as enter_beside};
pub(crate) use mounts::{attach, mount_of};
pub use spec::{ARTIFACTS, InnerPlace, OwnImage, RootfsSpec, TreeAccess, TreeMount, hides};
pub use trees::ChangedTree;
pub(crate) use trees::{PlacedTree, Uppers, changed};
pub(crate) use workspace::kept;

use base::{folders, make_folder, overlay, pivot};
use mounts::{bind, new_fs};
use root::Root;
use system::new_proc;

use super::inside::Inside;
use crate::runtime::{Injected, Lending, Network};

/// A scratch space is no smaller than this, in bytes: files of ours have room in it.
const SMALLEST: u64 = 1 << 20;

/// What pid 1 needs to know to build the file system.
pub(crate) struct RootfsPlan<'a> {
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
    /// What is lent to programs inside.
    pub(crate) lending: &'a Lending,
    /// Services, of which some have an image of their own.
    pub(crate) services: &'a [(&'a str, Option<&'a OwnImage>)],
    /// Waits until the owner has made the folders on disk.
    pub(crate) placed: &'a dyn Fn() -> Result<()>,
}

/// What has become of it.
pub(crate) struct EnteredRoot {
    /// The tree inside.
    pub(crate) inside: Inside,
    /// The upper folder of its root: what is written outside the workspace.
    pub(crate) upper: OwnedFd,
    /// Where trees are that may be changed.
    pub(crate) placed: Vec<PlacedTree>,
    /// The sockets of what is lent, which are the owner's.
    pub(crate) lent: Vec<OwnedFd>,
    /// The file system of each service that has one of its own.
    pub(crate) beside: Vec<Option<ServiceRoot>>,
}

/// Builds the file system and makes it the root.
///
/// # Errors
/// With the step that failed. The mount namespace dies with this process, so
/// nothing has to be undone.
pub(crate) fn enter(entry: &RootfsPlan<'_>) -> Result<EnteredRoot> {
    let spec = entry.spec;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot separate the mounts from the host's")?;
    let scratch = scratch(entry.scratch_place, entry.scratch, entry.root_exists)?;
    let root = overlay(&spec.layers, scratch.as_fd(), entry.mark)?;
    let root = Root { root, network: entry.network };
    let cover = |name: &'static str| bind(scratch.as_fd(), name, true);
    root.proc(new_proc(entry.network == Network::Private)?, &|| cover("nothing"), &|| cover("empty"))?;
    root.sys(&|| cover("empty"))?;
    root.dev(scratch.as_fd(), entry.tty_group)?;
    for name in ["tmp", "run"] {
        let tree = bind(scratch.as_fd(), name, false)?;
        root.attach(tree.as_fd(), root.folder(name)?.as_fd(), &format!("/{name}"))?;
    }
    root.artifacts(spec)?;
    root.secrets(entry.secrets, entry.ids)?;
    root.home(entry.home, entry.ids)?;
    let lent = root.lent(entry.lending, entry.ids)?;
    root.identity_files(&spec.hostname, &spec.aliases)?;
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
    let around = beside::Around {
        mark: entry.mark,
        network: entry.network,
        tty_group: entry.tty_group,
        root_exists: entry.root_exists,
        hostname: &spec.hostname,
        aliases: &spec.aliases,
    };
    let beside = entry.services.iter().enumerate().map(|(number, (name, own))| {
        let own = own.map(|own| beside::make(&around, own, scratch.as_fd(), number));
        own.transpose().with_context(|| format!("cannot put together the files of the service {name}"))
    });
    let beside = beside.collect::<Result<_>>()?;
    pivot(root.root.as_fd())?;
    let (run, terminals) = (root.folder("run")?, root.plain_folder("dev/pts")?);
    let inside = Inside { root: root.root, run, terminals };
    let workdir = inside.open(Path::new(&spec.workdir), OFlags::PATH | OFlags::DIRECTORY);
    let workdir = workdir.with_context(|| format!("cannot enter {}", spec.workdir))?;
    rustix::process::fchdir(&workdir)?;
    Ok(EnteredRoot { inside, upper, placed, lent, beside })
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
    folders(mount.as_fd(), root_exists)?;
    for (name, mode) in [("trees", 0o755), ("empty", 0o555), ("services", 0o755)] {
        make_folder(mount.as_fd(), name, mode, root_exists)?;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, "nothing", flags, Mode::from_raw_mode(0o444))?;
    Ok(mount)
}
