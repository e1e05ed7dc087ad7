//! The file system of a service that has an image of its own. Pid 1 puts it together
//! beside the runtime's, while layers can still be opened by their paths, and holds it as
//! a tree of mounts that is mounted nowhere. The service's first process, in a mount
//! namespace of its own, makes that its root and lets go of everything else: nothing of
//! the runtime's files is there, and nothing of the host's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use super::super::inside::Inside;
use super::base::{folders, make_folder, overlay, pivot};
use super::mounts::{attach, bind, clone_tree};
use super::root::Root;
use super::spec::OwnImage;
use super::system::new_proc;
use crate::runtime::Network;

/// What covers parts of `/proc`, below `/run` of the service.
const COVERS: &str = "run/envctl";

/// A file system that is ready, and mounted nowhere.
#[derive(Debug)]
pub(crate) struct ServiceRoot {
    tree: OwnedFd,
    network: Network,
}

impl ServiceRoot {
    /// What a process keeps of it when it closes everything else.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.tree.as_raw_fd()
    }

    /// A view of it for pid 1, which starts nothing in it.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn look(&self) -> std::io::Result<Inside> {
        let root = || self.tree.try_clone();
        Ok(Inside { root: root()?, run: root()?, terminals: root()? })
    }
}

/// What it has in common with the runtime's own.
pub(super) struct Around<'a> {
    pub(super) mark: &'a str,
    pub(super) network: Network,
    /// Whether group 5 (tty) exists inside.
    pub(super) tty_group: bool,
    /// Whether user and group 0 exist inside.
    pub(super) root_exists: bool,
    pub(super) hostname: &'a str,
    pub(super) aliases: &'a [String],
}

/// Puts one together, with `number` as its place in the scratch space. `/proc` comes with
/// its process.
pub(super) fn make(around: &Around<'_>, own: &OwnImage, scratch: BorrowedFd<'_>, number: usize) -> Result<ServiceRoot> {
    let name = format!("services/{number}");
    make_folder(scratch, &name, 0o755, around.root_exists)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(scratch, &name, flags, Mode::empty())?;
    folders(place.as_fd(), around.root_exists)?;
    make_folder(place.as_fd(), "run/envctl/empty", 0o555, around.root_exists)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&place, "run/envctl/nothing", flags, Mode::from_raw_mode(0o444))?;
    let root = Root { root: overlay(&own.layers, place.as_fd(), around.mark)?, network: around.network };
    root.plain_folder("proc")?;
    root.sys(&|| bind(place.as_fd(), &format!("{COVERS}/empty"), true))?;
    root.dev(place.as_fd(), around.tty_group)?;
    for name in ["tmp", "run"] {
        let tree = bind(place.as_fd(), name, false)?;
        root.attach(tree.as_fd(), root.folder(name)?.as_fd(), &format!("/{name}"))?;
    }
    let account = &own.account;
    root.home(&account.home, (account.uid, account.gid))?;
    root.identity_files(around.hostname, around.aliases)?;
    root.folder(&own.workdir).with_context(|| format!("cannot enter {}", own.workdir))?;
    let tree = clone_tree(&root.root, "", true)?;
    Ok(ServiceRoot { tree, network: around.network })
}

/// Makes it the root of this process, which is the first of new process and mount
/// namespaces, and all that there is.
///
/// # Errors
/// With the step that failed.
pub(crate) fn enter(beside: &ServiceRoot) -> Result<Inside> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot separate the mounts from the runtime's")?;
    // The kernel gives one only where another can be seen.
    let proc = new_proc(false)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A mount that nobody inside can move or lay a link over.
    let place = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
    attach(beside.tree.as_fd(), place.as_fd()).context("cannot mount the service's files")?;
    drop(place);
    pivot(beside.tree.as_fd())?;
    let root = Root { root: rustix::fs::openat(CWD, "/", flags, Mode::empty())?, network: beside.network };
    let covers = root.folder(COVERS)?;
    let cover = |name: &'static str| bind(covers.as_fd(), name, true);
    root.proc(proc, &|| cover("nothing"), &|| cover("empty"))?;
    let (run, terminals) = (root.folder("run")?, root.plain_folder("dev/pts")?);
    Ok(Inside { root: root.root, run, terminals })
}
