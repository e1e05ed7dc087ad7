//! The file system that a runtime sees, put together by pid 1 inside its own
//! mount namespace.
//!
//! Invariants: no path of the image is ever used as text. Each target is
//! opened inside the new root first (`RESOLVE_IN_ROOT`; for `/proc`, `/sys`
//! and `/dev` without any link) and the mount goes onto that descriptor, so
//! that neither a link in the image nor a swap during set-up can redirect it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::sys;
use super::trees::{self, TreeMount, Upper, Uppers};
use super::{Injected, Network};
use crate::error::{failure, integrity};

const NOSUID_NODEV: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | NOSUID_NODEV;

/// Everything that decides the file system.
#[derive(Clone, Debug)]
pub struct RootfsSpec {
    /// Trees of the image's layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// The workspace outside.
    pub workspace: PathBuf,
    /// Where it appears inside.
    pub workdir: String,
    /// Objects that the workspace borrows; visible read-only at the same path.
    pub mirror_objects: PathBuf,
    /// Name of the machine inside.
    pub hostname: String,
    /// Sealed trees, and others.
    pub trees: Vec<TreeMount>,
    /// What is done to the workspace inside does not reach it.
    pub workspace_stays: bool,
    /// A folder of evidence, shown read-only at [`ARTIFACTS`].
    pub artifacts: Option<PathBuf>,
}

/// Where a task's evidence is inside.
pub const ARTIFACTS: &str = "/run/envctl/artifacts";

/// Parts of `.git` that a program inside could otherwise use to make git on
/// the host run something; folders first, so that nothing can be renamed away.
const GIT_FOLDERS: [&str; 2] = ["objects", "objects/info"];
const GIT_READ_ONLY: [&str; 4] = ["config", "hooks", "commondir", "objects/info/alternates"];

/// Files of `/proc` that say or change too much when the developer is root.
const PROC_READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "sysrq-trigger"];
const PROC_HIDDEN_FILES: [&str; 5] = ["kcore", "keys", "timer_list", "latency_stats", "sched_debug"];
const PROC_HIDDEN_FOLDERS: [&str; 2] = ["acpi", "scsi"];

/// What pid 1 needs to know to build the file system.
pub(super) struct Entry<'a> {
    /// Source of the root mount: the mark by which a runtime is known.
    pub(super) mark: &'a str,
    pub(super) spec: &'a RootfsSpec,
    /// A folder outside over which the scratch space is mounted.
    pub(super) scratch_place: BorrowedFd<'a>,
    pub(super) network: Network,
    /// The user's home folder inside.
    pub(super) home: &'a str,
    /// The user's ids inside.
    pub(super) ids: (u32, u32),
    /// Whether group 5 (tty) exists inside.
    pub(super) tty_group: bool,
    /// Whether user and group 0 exist inside.
    pub(super) root_exists: bool,
    /// Secrets, of which some become files.
    pub(super) secrets: &'a [Injected],
}

/// Builds the file system and makes it the root.
///
/// # Errors
/// With the step that failed. The mount namespace dies with this process, so
/// nothing has to be undone.
///
/// Returns the upper folder of the root: what is written outside the workspace.
pub(super) fn enter(entry: &Entry<'_>) -> Result<OwnedFd> {
    let spec = entry.spec;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot separate the mounts from the host's")?;
    let uppers = Uppers::make(entry.scratch_place, &spec.trees, spec.workspace_stays)?;
    let scratch = scratch(entry.scratch_place, entry.root_exists)?;
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
    root.workspace(spec, uppers.workspace.as_ref())?;
    let meeting = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&scratch, "trees", flags, Mode::empty())?)
    };
    trees::mount_all(&root, spec, &uppers, meeting, (entry.home, entry.ids))?;
    let upper = rustix::fs::openat(
        &scratch,
        "upper",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    pivot(root.root.as_fd())?;
    rustix::process::chdir(spec.workdir.as_str()).with_context(|| format!("cannot enter {}", spec.workdir))?;
    Ok(upper)
}

/// The sized tmpfs that holds everything that a run writes outside its
/// workspace. It lies over the runtime's folder, visible in here only.
fn scratch(place: BorrowedFd<'_>, root_exists: bool) -> Result<OwnedFd> {
    let mount = new_fs(
        "tmpfs",
        &[("size", "50%"), ("mode", "0755")],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    move_mount(
        &mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .context("cannot mount the scratch space")?;
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
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = layers.iter().map(path).collect();
    let options = format!("lowerdir={},upperdir={},workdir={},userxattr", lower.join(":"), path(&upper), path(&work));
    if options.len() >= 4096 {
        return Err(failure(format!("the image has {} layers, more than one overlay can hold", layers.len())).into());
    }
    let options = CString::new(options)?;
    rustix::mount::mount(mark, path(&target), "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options).map_err(
        |error| super::probe::explain_user_namespace(error.into(), "cannot mount the image's layers as an overlay"),
    )?;
    // The descriptor from before the mount shows what lies under it.
    Ok(inside("root")?)
}

pub(super) struct Root {
    root: OwnedFd,
    network: Network,
}

impl Root {
    /// Opens a folder inside the root, making what is missing.
    pub(super) fn folder(&self, path: &str) -> Result<OwnedFd> {
        self.open_folder(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// The same for folders in which a link would be an attack.
    fn plain_folder(&self, path: &str) -> Result<OwnedFd> {
        self.open_folder(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS).map_err(|error| {
            match error.downcast_ref::<Errno>() {
                Some(&(Errno::LOOP | Errno::NOTDIR)) => {
                    integrity(format!("/{path} of the image is a symbolic link or no folder"))
                        .hint("such an image could redirect what envctl mounts; use another image")
                        .into()
                }
                _ => error,
            }
        })
    }

    fn open_folder(&self, path: &str, resolve: ResolveFlags) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve);
        let path = path.trim_matches('/');
        match open(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot open /{path} of the image")),
        }
        let mut done = String::new();
        for part in path.split('/') {
            let parent = if done.is_empty() { open(".")? } else { open(&done)? };
            match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot create /{path} in the runtime")),
            }
            if !done.is_empty() {
                done.push('/');
            }
            done.push_str(part);
        }
        open(path).with_context(|| format!("cannot open /{path} of the image"))
    }

    fn attach(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>, what: &str) -> Result<()> {
        attach(mount, target).with_context(|| format!("cannot mount {what}"))
    }

    /// `/proc`, with what could hurt the host read-only or hidden: the
    /// developer may be root there, whatever they are in here.
    fn proc(&self, scratch: BorrowedFd<'_>) -> Result<()> {
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = new_fs("proc", &[], attributes).map_err(|error| match error.downcast::<std::io::Error>() {
            Ok(error) => super::probe::explain_user_namespace(error, "cannot mount /proc for the runtime"),
            Err(error) => error,
        })?;
        self.attach(mount.as_fd(), self.plain_folder("proc")?.as_fd(), "/proc")?;
        for name in PROC_READ_ONLY {
            self.cover(mount.as_fd(), name, |_| bind(mount.as_fd(), name, true))?;
        }
        for name in PROC_HIDDEN_FILES {
            self.cover(mount.as_fd(), name, |_| bind(scratch, "nothing", true))?;
        }
        for name in PROC_HIDDEN_FOLDERS {
            self.cover(mount.as_fd(), name, |_| bind(scratch, "empty", true))?;
        }
        Ok(())
    }

    /// Puts a read-only mount over something that may not exist here.
    fn cover(&self, folder: BorrowedFd<'_>, name: &str, source: impl Fn(&OwnedFd) -> Result<OwnedFd>) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(target) => self.attach(source(&target)?.as_fd(), target.as_fd(), name),
            Err(Errno::NOENT | Errno::ACCESS) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot cover {name}")),
        }
    }

    fn sys(&self) -> Result<()> {
        let target = self.plain_folder("sys")?;
        let mount = match self.network {
            Network::Isolated | Network::Private => {
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC
                    | MountAttrFlags::MOUNT_ATTR_RDONLY;
                new_fs("sysfs", &[], attributes).context("cannot mount /sys for the runtime")?
            }
            // A new sysfs would show the devices of another network namespace.
            Network::Host => {
                let tree = clone_tree(CWD, "/sys", true)?;
                sys::mount_setattr(&tree, true, READ_ONLY).context("cannot make /sys read-only")?;
                tree
            }
        };
        self.attach(mount.as_fd(), target.as_fd(), "/sys")
    }

    /// A `/dev` of our own: the image's is not used, and each node that is
    /// bound is checked to be the device that its name says.
    fn dev(&self, scratch: BorrowedFd<'_>, tty_gid: bool) -> Result<()> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let dev = new_fs("tmpfs", &[("size", "1m"), ("mode", "0755")], attributes)?;
        self.attach(dev.as_fd(), self.plain_folder("dev")?.as_fd(), "/dev")?;
        for (name, major, minor) in
            [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        {
            let tree = clone_tree(CWD, &format!("/dev/{name}"), false)?;
            let stat = rustix::fs::fstat(&tree)?;
            let expected = rustix::fs::makedev(major, minor);
            if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != expected {
                return Err(failure(format!("/dev/{name} of this machine is not the device {major}:{minor}")).into());
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666))?;
            let target =
                rustix::fs::openat(&dev, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            self.attach(tree.as_fd(), target.as_fd(), &format!("/dev/{name}"))?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(target, &dev, name)?;
        }
        for name in ["pts", "shm"] {
            rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
        }
        let below = |name: &str| {
            rustix::fs::openat(&dev, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
        if tty_gid {
            options.push(("gid", "5"));
        }
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let pts = new_fs_with("devpts", &options, &["newinstance"], attributes)?;
        self.attach(pts.as_fd(), below("pts")?.as_fd(), "/dev/pts")?;
        let shm = bind(scratch, "shm", false)?;
        self.attach(shm.as_fd(), below("shm")?.as_fd(), "/dev/shm")
    }

    /// The evidence that came with the task. A collection of what is old may
    /// just have taken it away: that is no reason not to start.
    fn artifacts(&self, spec: &RootfsSpec) -> Result<()> {
        let Some(folder) = &spec.artifacts else { return Ok(()) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.with_context(|| format!("cannot open {}", folder.display()))?,
        };
        let tree = clone_tree(&source, "", false)?;
        sys::mount_setattr(&tree, false, READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
        self.attach(tree.as_fd(), self.plain_folder(ARTIFACTS)?.as_fd(), ARTIFACTS)
    }

    /// Files that only the user may read, in memory that is never swapped out
    /// (a tmpfs may be), on a mount that nobody can fill.
    fn secrets(&self, secrets: &[Injected], (uid, gid): (u32, u32)) -> Result<()> {
        if !secrets.iter().any(|secret| secret.file) {
            return Ok(());
        }
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = new_fs("ramfs", &[("mode", "0755")], attributes)?;
        for secret in secrets.iter().filter(|secret| secret.file) {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&mount, secret.name.as_str(), flags, Mode::from_raw_mode(0o400))
                .with_context(|| format!("cannot make the file of the secret {}", secret.name))?;
            write_all(&file, secret.value.expose().as_bytes())?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        sys::mount_setattr(&mount, false, READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
        self.attach(mount.as_fd(), self.plain_folder("run/secrets")?.as_fd(), "/run/secrets")
    }

    /// A home folder that the user may write, whatever the image has there.
    fn home(&self, home: &str, (uid, gid): (u32, u32)) -> Result<()> {
        let existed = rustix::fs::openat2(
            &self.root,
            home.trim_start_matches('/'),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        if existed.is_ok() || home == "/" {
            return Ok(());
        }
        let made = self.folder(home)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .context("cannot give the home folder to the user")?;
        Ok(())
    }

    /// `/etc/hosts` for this machine's name, and the host's resolver where its
    /// network is shared.
    fn identity_files(&self, hostname: &str) -> Result<()> {
        let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{hostname}\n");
        self.write_file("etc/hosts", hosts.as_bytes())?;
        let resolver = match self.network {
            Network::Isolated => None,
            Network::Private => Some(super::pasta::resolver().0),
            Network::Host => std::fs::read("/etc/resolv.conf").ok(),
        };
        if let Some(resolver) = resolver {
            self.write_file("etc/resolv.conf", &resolver)?;
        }
        Ok(())
    }

    fn write_file(&self, path: &str, content: &[u8]) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder(folder)?;
        // In the upper only, and never through a link of the image.
        let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644))
            .with_context(|| format!("cannot write /{path} in the runtime"))?;
        write_all(&file, content)
    }

    /// The objects that the workspace borrows, at the path that its alternates
    /// name, so that git works inside as outside.
    fn mirror(&self, spec: &RootfsSpec) -> Result<()> {
        let path = spec.mirror_objects.to_str().context("the path of the mirror is not valid UTF-8")?;
        let tree = clone_tree(CWD, path, true)?;
        sys::mount_setattr(&tree, true, READ_ONLY).context("cannot make the mirror read-only")?;
        self.attach(tree.as_fd(), self.folder(path)?.as_fd(), "the mirror's objects")
    }

    fn workspace(&self, spec: &RootfsSpec, over: Option<&Upper>) -> Result<()> {
        let source =
            rustix::fs::openat(CWD, &spec.workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("cannot open the workspace {}", spec.workspace.display()))?;
        let tree = match over {
            None => {
                let tree = clone_tree(&source, "", true)?;
                sys::mount_setattr(&tree, false, NOSUID_NODEV)?;
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
        Ok(())
    }

    /// A mount point of its own cannot be renamed, removed or replaced.
    fn over_itself(&self, part: BorrowedFd<'_>, read_only: bool, name: &str) -> Result<()> {
        let tree = clone_tree(part, "", true)?;
        sys::mount_setattr(&tree, true, if read_only { READ_ONLY } else { NOSUID_NODEV })?;
        self.attach(tree.as_fd(), part, name)
    }
}

/// Binds a tree of the host, and what is mounted below it stays out.
pub(super) fn bind_tree(
    root: &Root,
    tree: &OwnedFd,
    target: BorrowedFd<'_>,
    attributes: Option<u64>,
    name: &str,
) -> Result<()> {
    let tree = clone_tree(tree, "", false)?;
    sys::mount_setattr(&tree, false, attributes.unwrap_or(NOSUID_NODEV))?;
    root.attach(tree.as_fd(), target, name)
}

fn write_all(file: &OwnedFd, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(file, rest)?..];
    }
    Ok(())
}

/// Opens a part of the workspace that must be a plain file or folder.
fn beneath(folder: BorrowedFd<'_>, name: &str, extra: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(folder, name, OFlags::PATH | OFlags::CLOEXEC | extra, Mode::empty(), resolve).map_err(|error| {
        failure(format!("{name} in the workspace is missing or was replaced ({error})"))
            .hint("its git folder is not as envctl made it: enter the task again with --refresh, after saving what you need")
            .into()
    })
}

fn new_fs(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    new_fs_with(kind, options, &[], attributes)
}

fn new_fs_with(kind: &str, options: &[(&str, &str)], flags: &[&str], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let made = (|| {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            fsconfig_set_string(&context, *key, *value)?;
        }
        for flag in flags {
            fsconfig_set_flag(&context, *flag)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    })();
    made.map_err(|error: Errno| {
        super::probe::explain_user_namespace(error.into(), &format!("cannot make a {kind} for the runtime"))
    })
}

fn clone_tree(folder: impl AsFd, path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(folder, path, flags).with_context(|| format!("cannot bind {path}"))
}

fn bind(folder: BorrowedFd<'_>, name: &str, read_only: bool) -> Result<OwnedFd> {
    let tree = clone_tree(folder, name, false)?;
    sys::mount_setattr(&tree, false, if read_only { READ_ONLY } else { NOSUID_NODEV })
        .with_context(|| format!("cannot set the attributes of {name}"))?;
    Ok(tree)
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_mount(mount, "", target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".").context("cannot change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("cannot let go of the host's root")?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Whether a workspace mounted at `workdir` would hide the objects at `path`,
/// which appear inside at the path that they have outside.
pub fn hides(workdir: &str, path: &Path) -> bool {
    path.starts_with(workdir)
}
