//! The root inside: its folders are opened in it, and mounts go onto them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::mounts::{attach, clone_tree, mount_of};
use crate::error::integrity;
use crate::runtime::{Network, sys};

pub(super) struct Root {
    pub(super) root: OwnedFd,
    pub(super) network: Network,
}

impl Root {
    /// Opens a folder inside the root, making what is missing.
    pub(super) fn folder(&self, path: &str) -> Result<OwnedFd> {
        self.open_folder(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// The same for folders in which a link would be an attack.
    pub(super) fn plain_folder(&self, path: &str) -> Result<OwnedFd> {
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

    pub(super) fn open_folder(&self, path: &str, resolve: ResolveFlags) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve);
        // The root itself is a folder as well.
        let path = Some(path.trim_matches('/')).filter(|path| !path.is_empty()).unwrap_or(".");
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

    pub(super) fn attach(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>, what: &str) -> Result<()> {
        attach(mount, target).with_context(|| format!("cannot mount {what}"))
    }
}

/// Binds a tree of the host, and what is mounted below it stays out. Gives the
/// mount.
pub(super) fn bind_tree(
    root: &Root,
    tree: &OwnedFd,
    target: BorrowedFd<'_>,
    attributes: Option<u64>,
    name: &str,
) -> Result<u64> {
    let tree = clone_tree(tree, "", false)?;
    sys::mount_setattr(&tree, false, attributes.unwrap_or(sys::NOSUID_NODEV))?;
    root.attach(tree.as_fd(), target, name)?;
    Ok(mount_of(&tree)?.0)
}
