//! What every root is made from, the runtime's and those of services: folders in the
//! scratch space, an overlay of layers, and the step in.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::error::failure;
use crate::runtime::probe;

/// What an overlay needs, and what of it can be written.
pub(super) fn folders(place: BorrowedFd<'_>, root_exists: bool) -> Result<()> {
    for (name, mode) in [
        ("root", 0o755),
        ("upper", 0o755),
        ("work", 0o755),
        ("tmp", 0o1777),
        ("run", 0o755),
        ("run/lock", 0o1777),
        ("run/envctl", 0o755),
        ("shm", 0o1777),
    ] {
        make_folder(place, name, mode, root_exists)?;
    }
    Ok(())
}

pub(super) fn make_folder(parent: BorrowedFd<'_>, name: &str, mode: u32, root_exists: bool) -> Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)
        .with_context(|| format!("cannot create {name} in the scratch space"))?;
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    if root_exists {
        // The root folder and its like belong to root, also where the image's user is
        // another.
        rustix::fs::chownat(parent, name, Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The image's layers under a fresh upper. `userxattr` always, so that root
/// and everybody else share one layer format.
pub(super) fn overlay(layers: &[PathBuf], scratch: BorrowedFd<'_>, mark: &str) -> Result<OwnedFd> {
    // Descriptors keep the option string short and free of quoting. They must
    // be opened in this mount namespace.
    let open = |path: &Path| {
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open the layer {}", path.display()))
    };
    // Of a layer that occurs twice the upper occurrence alone counts, and the
    // kernel wants it once.
    let mut seen = std::collections::HashSet::new();
    let topmost_first = layers.iter().rev().filter(|path| seen.insert(*path));
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

pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".").context("cannot change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("cannot let go of the host's root")?;
    rustix::process::chdir("/")?;
    Ok(())
}
