//! Mounts as descriptors: made or cloned first, put into a place afterwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::runtime::{probe, sys};

pub(super) fn new_fs(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    new_fs_with(kind, options, &[], attributes)
}

pub(super) fn new_fs_with(
    kind: &str,
    options: &[(&str, &str)],
    flags: &[&str],
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
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
        probe::explain_user_namespace(error.into(), &format!("cannot make a {kind} for the runtime"))
    })
}

pub(crate) fn clone_tree(folder: impl AsFd, path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(folder, path, flags).with_context(|| format!("cannot bind {path}"))
}

pub(super) fn bind(folder: BorrowedFd<'_>, name: &str, read_only: bool) -> Result<OwnedFd> {
    let tree = clone_tree(folder, name, false)?;
    sys::mount_setattr(&tree, false, if read_only { sys::READ_ONLY } else { sys::NOSUID_NODEV })
        .with_context(|| format!("cannot set the attributes of {name}"))?;
    Ok(tree)
}

/// `STATX_MNT_ID_UNIQUE`, statx(2): a number that no other mount gets later. Kernels
/// before 6.8 do not know it, and give one that they use again.
const MNT_ID_UNIQUE: u32 = 0x4000;

/// The mount in which an open folder is, and whether it is the root of that.
pub(crate) fn mount_of(folder: impl AsFd) -> rustix::io::Result<(u64, bool)> {
    let wanted = StatxFlags::MNT_ID | StatxFlags::from_bits_retain(MNT_ID_UNIQUE);
    let found = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, wanted)?;
    Ok((found.stx_mnt_id, found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)))
}

pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_mount(mount, "", target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}
