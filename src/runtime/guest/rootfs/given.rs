//! What a runtime is given beside its image: evidence, secrets, a home folder, a
//! name.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::super::pasta;
use super::mounts::{clone_tree, new_fs};
use super::root::Root;
use super::spec::{ARTIFACTS, RootfsSpec};
use crate::runtime::{Injected, LENT, Lending, LentSocket, Network, sys};

impl Root {
    /// The evidence that came with the task. A collection of what is old may
    /// just have taken it away: that is no reason not to start.
    pub(super) fn artifacts(&self, spec: &RootfsSpec) -> Result<()> {
        let Some(folder) = &spec.artifacts else { return Ok(()) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(CWD, folder, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.with_context(|| format!("cannot open {}", folder.display()))?,
        };
        let tree = clone_tree(&source, "", false)?;
        sys::mount_setattr(&tree, false, sys::READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
        self.attach(tree.as_fd(), self.plain_folder(ARTIFACTS)?.as_fd(), ARTIFACTS)
    }

    /// Files that only the user may read, in memory that is never swapped out
    /// (a tmpfs may be), on a mount that nobody can fill.
    pub(super) fn secrets(&self, secrets: &[Injected], (uid, gid): (u32, u32)) -> Result<()> {
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
        sys::mount_setattr(&mount, false, sys::READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
        self.attach(mount.as_fd(), self.plain_folder("run/secrets")?.as_fd(), "/run/secrets")
    }

    /// Sockets at which the owner answers, which it is given, and files beside them.
    pub(super) fn lent(&self, lending: &Lending, (uid, gid): (u32, u32)) -> Result<Vec<OwnedFd>> {
        if lending.sockets.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.plain_folder(LENT)?;
        for (name, content) in &lending.files {
            self.write_file(&format!("{}/{name}", LENT.trim_start_matches('/')), content)?;
        }
        let listen = |socket: &LentSocket| {
            let name = socket.name.as_str();
            let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
            rustix::net::bind(&fd, &address)?;
            // The account inside alone: a service of another one gets nothing.
            rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(0o600), AtFlags::empty())?;
            rustix::fs::chownat(&folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())?;
            rustix::net::listen(&fd, 16)?;
            Ok::<_, Errno>(fd)
        };
        let all: Result<Vec<OwnedFd>, Errno> = lending.sockets.iter().map(listen).collect();
        all.context("cannot make the sockets at which git asks for your credentials")
    }

    /// A home folder that the user may write, whatever the image has there.
    pub(super) fn home(&self, home: &str, (uid, gid): (u32, u32)) -> Result<()> {
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
    pub(super) fn identity_files(&self, hostname: &str, aliases: &[String]) -> Result<()> {
        let mut hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{hostname}\n");
        aliases.iter().for_each(|name| hosts.push_str(&format!("127.0.0.1\t{name}\n")));
        self.write_file("etc/hosts", hosts.as_bytes())?;
        let resolver = match self.network {
            Network::Isolated => None,
            Network::Private => Some(pasta::resolver().0),
            Network::Host => std::fs::read("/etc/resolv.conf").ok(),
        };
        if let Some(resolver) = resolver {
            self.write_file("etc/resolv.conf", &resolver)?;
        }
        Ok(())
    }

    pub(super) fn write_file(&self, path: &str, content: &[u8]) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder(folder)?;
        // In the upper only, and never through a link of the image.
        let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644))
            .with_context(|| format!("cannot write /{path} in the runtime"))?;
        write_all(&file, content)
    }
}

fn write_all(file: &OwnedFd, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(file, rest)?..];
    }
    Ok(())
}
