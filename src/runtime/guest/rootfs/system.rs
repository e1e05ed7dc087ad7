//! `/proc`, `/sys` and `/dev`: the host's kernel, shown no further than a program
//! needs it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{bind, clone_tree, new_fs, new_fs_with};
use super::root::Root;
use crate::error::failure;
use crate::runtime::{Network, probe, sys};

/// Files of `/proc` that say or change too much when the developer is root.
const PROC_READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "sysrq-trigger"];
const PROC_HIDDEN_FILES: [&str; 5] = ["kcore", "keys", "timer_list", "latency_stats", "sched_debug"];
/// The same, where the developer may read them.
const PROC_HIDDEN_FROM_ROOT: [&str; 7] =
    ["kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "slabinfo", "pagetypeinfo", "mtrr"];
const PROC_HIDDEN_FOLDERS: [&str; 2] = ["acpi", "scsi"];

/// Folders of `/sys` that say more of the host than programs need, most of it to root.
const SYS_HIDDEN: [&str; 4] = ["firmware", "kernel/slab", "kernel/mm/damon", "devices/virtual/powercap"];

/// Makes what covers something.
pub(super) type Cover<'a> = &'a dyn Fn() -> Result<OwnedFd>;

/// The `/proc` of this process's namespace, mounted nowhere.
///
/// Pasta is a process of the runtime in the network of the host, and `/proc/PID/net` asks
/// for no permission: beside it a program sees what it could trace, `proc(5)`, `hidepid`.
pub(super) fn new_proc(beside_pasta: bool) -> Result<OwnedFd> {
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options: &[_] = if beside_pasta { &[("hidepid", "ptraceable")] } else { &[] };
    new_fs("proc", options, attributes).map_err(|error| match error.downcast::<std::io::Error>() {
        Ok(error) => probe::explain_user_namespace(error, "cannot mount /proc for the runtime"),
        Err(error) => error,
    })
}

impl Root {
    /// `/proc`, with what could hurt the host read-only or hidden: the
    /// developer may be root there, whatever they are in here.
    pub(super) fn proc(&self, mount: OwnedFd, nothing: Cover<'_>, empty: Cover<'_>) -> Result<()> {
        self.attach(mount.as_fd(), self.plain_folder("proc")?.as_fd(), "/proc")?;
        for name in PROC_READ_ONLY {
            self.cover(mount.as_fd(), name, |_| bind(mount.as_fd(), name, true))?;
        }
        for name in PROC_HIDDEN_FILES {
            self.cover(mount.as_fd(), name, |_| nothing())?;
        }
        for name in PROC_HIDDEN_FROM_ROOT {
            if rustix::fs::accessat(&mount, name, Access::READ_OK, AtFlags::empty()).is_ok() {
                self.cover(mount.as_fd(), name, |_| nothing())?;
            }
        }
        for name in PROC_HIDDEN_FOLDERS {
            self.cover(mount.as_fd(), name, |_| empty())?;
        }
        Ok(())
    }

    /// Puts a read-only mount over something that may not exist here.
    pub(super) fn cover(
        &self,
        folder: BorrowedFd<'_>,
        name: &str,
        source: impl Fn(&OwnedFd) -> Result<OwnedFd>,
    ) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(target) => self.attach(source(&target)?.as_fd(), target.as_fd(), name),
            Err(Errno::NOENT | Errno::ACCESS) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot cover {name}")),
        }
    }

    /// `/sys`, without what is mounted in it on the host, which says how that one is
    /// watched and started.
    pub(super) fn sys(&self, empty: Cover<'_>) -> Result<()> {
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
                sys::mount_setattr(&tree, true, sys::READ_ONLY).context("cannot make /sys read-only")?;
                tree
            }
        };
        self.attach(mount.as_fd(), target.as_fd(), "/sys")?;
        if self.network == Network::Host {
            for name in mounted_in_sys() {
                self.cover(mount.as_fd(), &name, |_| empty())?;
            }
        }
        SYS_HIDDEN.iter().try_for_each(|name| self.cover(mount.as_fd(), name, |_| empty()))
    }

    /// A `/dev` of our own: the image's is not used, and each node that is
    /// bound is checked to be the device that its name says.
    pub(super) fn dev(&self, scratch: BorrowedFd<'_>, tty_gid: bool) -> Result<()> {
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
            // Its mode and owner are the host's; data goes through all the same.
            let kept = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
            sys::mount_setattr(&tree, false, kept)?;
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
}

/// Where something is mounted below `/sys`, relative to it, and not below another of them.
fn mounted_in_sys() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix("/sys/"));
    let mut outer: Vec<String> = Vec::new();
    let mut places: Vec<&str> = places.collect();
    places.sort_unstable();
    for place in places {
        if !outer.iter().any(|above| Path::new(place).starts_with(above)) {
            outer.push(place.to_owned());
        }
    }
    outer
}
