//! The places of trees, as programs inside see them: folders that can be removed,
//! made again and moved, although each is a mount point, which the kernel lets
//! nobody touch. `rm -rf node_modules && npm ci` is what every README says.
//!
//! So programs wait for pid 1 wherever they remove, make or move a folder. It takes
//! a tree down from its place before the kernel removes the folder below, and puts
//! it there again, as empty as it was left, when somebody makes that folder: what
//! is written at a place goes with the runtime, before and after.
//!
//! Invariants: what a program says is only looked at, through descriptors and in
//! its own view; whatever does not name a place goes on as it is, with the kernel
//! looking once more at what was meant. The worst that a program can reach is that
//! the trees of its own runtime are down. No folder goes over which another runtime
//! has mounted something: the kernel would take that away as well. There a place
//! that was removed stays as an empty folder.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::inside::Inside;
use super::process::Context;
use super::rootfs::{self, Placed};
use crate::runtime::Account;
use crate::runtime::sys::calls::{self, Verdict, Waiting};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Calls that are answered one after the other, before anything else is looked at.
const AT_ONCE: usize = 64;

/// All places of a runtime, and the descriptors at which programs ask.
pub(super) struct Places {
    all: Vec<(Placed, State)>,
    asking: Vec<OwnedFd>,
}

/// What is at a place.
enum State {
    /// Its tree.
    There,
    /// Its tree, empty, for somebody who thinks that it is gone.
    Emptied,
    /// Nothing; the tree is kept here.
    Gone(OwnedFd),
}

/// A path as a program names it: the folder that it begins in, and an address.
type Named = (i32, u64);

/// What a program asks for.
enum Asked {
    Remove(Named),
    Make(Named),
    Move(Named, Named),
}

impl Places {
    pub(super) fn of(placed: Vec<Placed>) -> Self {
        Places { all: placed.into_iter().map(|placed| (placed, State::There)).collect(), asking: Vec::new() }
    }

    /// Whether there is any.
    pub(super) fn are_there(&self) -> bool {
        !self.all.is_empty()
    }

    /// What pid 1 keeps open for them.
    pub(super) fn raw_fds(&self) -> Vec<RawFd> {
        self.all.iter().filter_map(|(placed, _)| Some(placed.folder.as_ref()?.as_raw_fd())).collect()
    }

    /// A program that was started asks here.
    pub(super) fn listen(&mut self, asks: Option<OwnedFd>) {
        if let Some(asks) = &asks {
            calls::take_turns(asks.as_fd());
        }
        self.asking.extend(asks);
    }

    /// Where programs ask.
    pub(super) fn asking(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.asking.iter().map(AsFd::as_fd)
    }

    /// Answers those of [`Self::asking`] at which something has happened.
    pub(super) fn answer(&mut self, ready: &[bool], inside: &Inside, context: &Context) {
        for at in (0..self.asking.len().min(ready.len())).rev().filter(|at| ready[*at]) {
            let listener = self.asking.swap_remove(at);
            if self.answer_all(&listener, inside, &context.account) {
                self.asking.push(listener);
                let last = self.asking.len() - 1;
                self.asking.swap(at, last);
            }
        }
    }

    /// `false` when nobody is left who could ask.
    fn answer_all(&mut self, listener: &OwnedFd, inside: &Inside, account: &Account) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        for _ in 0..AT_ONCE {
            let mut fds = [PollFd::new(listener, PollFlags::IN)];
            let found = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            let events = fds[0].revents();
            if !events.contains(PollFlags::IN) {
                return !(found.is_ok() && events.contains(PollFlags::HUP));
            }
            // It may have been interrupted.
            let Ok(call) = calls::next(listener.as_fd()) else { continue };
            let view = View { listener: listener.as_fd(), call: &call, inside };
            let verdict = self.judge(&view, account).unwrap_or(Verdict::GoesOn);
            let _ = calls::answer(listener.as_fd(), &call, verdict);
        }
        true
    }

    /// `None`, and an error, where it is none of our business.
    fn judge(&mut self, view: &View<'_>, account: &Account) -> Option<Verdict> {
        match asked(view.call)? {
            Asked::Remove(named) => {
                let (path, opened) = self.open_place(view, named)?;
                let at = self.at(&opened)?;
                self.remove(at, view, (named.0, &path), &opened, account)
            }
            Asked::Make(named) => {
                // Most are made while every tree is in its place.
                if self.all.iter().all(|(_, state)| matches!(state, State::There)) {
                    return None;
                }
                self.make(view, named, account)
            }
            Asked::Move(from, to) => {
                if let Some((_, opened)) = self.open_place(view, from)
                    && self.at(&opened).is_some()
                {
                    // As from any other file system: programs copy then.
                    return Some(Verdict::Failed(libc::EXDEV));
                }
                let (path, opened) = self.open_place(view, to)?;
                let at = self.at(&opened)?;
                match self.remove(at, view, (to.0, &path), &opened, account)? {
                    // The folder stays, so nothing can take its place.
                    Verdict::Done => Some(Verdict::Failed(libc::EBUSY)),
                    other => Some(other),
                }
            }
        }
    }

    /// Opens what a program names, where it is called as a place is.
    fn open_place(&self, view: &View<'_>, (folder, address): Named) -> Option<(Vec<u8>, OwnedFd)> {
        let path = view.path(address)?;
        let (_, name) = split(&path);
        self.all.iter().any(|(placed, _)| placed.name.as_bytes() == name).then_some(())?;
        let opened = view.open(folder, &path, FOLDER | OFlags::NOFOLLOW).ok()?;
        Some((path, opened))
    }

    /// The place whose tree begins with this folder.
    fn at(&self, opened: &OwnedFd) -> Option<usize> {
        let (mount, is_root) = rootfs::mount_of(opened).ok()?;
        let is_there = |(placed, state): &(Placed, State)| placed.mount == mount && !matches!(state, State::Gone(_));
        self.all.iter().position(is_there).filter(|_| is_root)
    }

    fn remove(
        &mut self,
        at: usize,
        view: &View<'_>,
        (folder, path): (i32, &[u8]),
        opened: &OwnedFd,
        account: &Account,
    ) -> Option<Verdict> {
        if !is_empty(opened)? {
            return Some(Verdict::Failed(libc::ENOTEMPTY));
        }
        let parent = rustix::fs::fstat(view.open(folder, split(path).0, FOLDER).ok()?).ok()?;
        if !may_change(&parent, account) || !view.is_still_there() {
            return None;
        }
        let (placed, state) = &mut self.all[at];
        let below = placed.folder.as_ref();
        if !below.is_some_and(|below| is_alone(below) && is_empty(below) == Some(true)) {
            *state = State::Emptied;
            return Some(Verdict::Done);
        }
        let tree = rootfs::clone_tree(opened, "", false).ok()?;
        // The descriptor is that of the mount's root.
        rustix::mount::unmount(format!("/proc/self/fd/{}", opened.as_raw_fd()), UnmountFlags::DETACH).ok()?;
        (placed.folder, *state) = (None, State::Gone(tree));
        Some(Verdict::GoesOn)
    }

    /// Makes the folder of a place, with its tree.
    fn make(&mut self, view: &View<'_>, (folder, address): Named, account: &Account) -> Option<Verdict> {
        let path = view.path(address)?;
        let (parent, name) = split(&path);
        self.all.iter().any(|(placed, _)| placed.name.as_bytes() == name).then_some(())?;
        let parent = view.open(folder, parent, FOLDER).ok()?;
        let stat = rustix::fs::fstat(&parent).ok()?;
        let meant = |(placed, state): &&mut (Placed, State)| {
            let same = placed.parent == (stat.st_dev, stat.st_ino) && placed.name.as_bytes() == name;
            same && !matches!(state, State::There)
        };
        let (placed, state) = self.all.iter_mut().find(meant)?;
        if !may_change(&stat, account) || !view.is_still_there() {
            return None;
        }
        let State::Gone(tree) = state else {
            *state = State::There;
            return Some(Verdict::Done);
        };
        // Something else may be there by now, and then the kernel says so.
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).ok()?;
        let mut put = || -> anyhow::Result<()> {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let made = rustix::fs::openat2(&parent, name, FOLDER, Mode::empty(), resolve)?;
            // Somebody may have put another in its place.
            anyhow::ensure!(is_empty(&made) == Some(true));
            let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
            rustix::fs::chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            placed.folder = Placed::hold(&made);
            rootfs::attach(tree.as_fd(), made.as_fd())?;
            placed.mount = rootfs::mount_of(&*tree)?.0;
            Ok(())
        };
        if put().is_err() {
            let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
            return None;
        }
        *state = State::There;
        Some(Verdict::Done)
    }
}

/// What a program sees when it asks.
struct View<'a> {
    listener: BorrowedFd<'a>,
    call: &'a Waiting,
    inside: &'a Inside,
}

impl View<'_> {
    /// A path, without slashes at its end.
    fn path(&self, address: u64) -> Option<Vec<u8>> {
        let mut path = calls::text(self.call, address).ok()?;
        while path.len() > 1 && path.last() == Some(&b'/') {
            path.pop();
        }
        Some(path)
    }

    /// What was read is that program's, and it has not gone on.
    fn is_still_there(&self) -> bool {
        calls::waits(self.listener, self.call)
    }

    fn open(&self, folder: i32, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let own = |what: &str| {
            let path = format!("proc/{}/{what}", self.call.thread);
            rustix::fs::openat(&self.inside.root, path, FOLDER, Mode::empty())
        };
        let stat = |folder: &OwnedFd| rustix::fs::fstat(folder).map(|stat| (stat.st_dev, stat.st_ino));
        // Who has changed its root means something else.
        if stat(&own("root")?)? != stat(&self.inside.root)? {
            return Err(Errno::XDEV);
        }
        if path.first() == Some(&b'/') {
            use std::os::unix::ffi::OsStrExt;
            return self.inside.open(Path::new(std::ffi::OsStr::from_bytes(path)), flags);
        }
        let base = if folder == libc::AT_FDCWD { own("cwd")? } else { own(&format!("fd/{folder}"))? };
        rustix::fs::openat2(&base, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    }
}

/// The folder of a path, and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        None => (b".", path),
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
    }
}

fn asked(call: &Waiting) -> Option<Asked> {
    let arguments = &call.arguments;
    let at = |folder: usize| (arguments[folder] as i32, arguments[folder + 1]);
    #[cfg(target_arch = "x86_64")]
    let here = |path: usize| (libc::AT_FDCWD, arguments[path]);
    match call.number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rmdir => Some(Asked::Remove(here(0))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => Some(Asked::Make(here(0))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => Some(Asked::Move(here(0), here(1))),
        libc::SYS_unlinkat => Some(Asked::Remove(at(0))),
        libc::SYS_mkdirat => Some(Asked::Make(at(0))),
        #[cfg(not(target_arch = "riscv64"))]
        libc::SYS_renameat => Some(Asked::Move(at(0), at(2))),
        libc::SYS_renameat2 => Some(Asked::Move(at(0), at(2))),
        _ => None,
    }
}

/// Whether no other runtime has this folder below a tree. It is locked alone then.
fn is_alone(folder: &OwnedFd) -> bool {
    if rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return true;
    }
    // The attempt has let go of the lock.
    let _ = rustix::fs::flock(folder, FlockOperation::NonBlockingLockShared);
    false
}

/// `None` where that cannot be seen.
fn is_empty(folder: &OwnedFd) -> Option<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, ".", flags, Mode::empty()).ok()?;
    for entry in Dir::new(opened).ok()? {
        if !matches!(entry.ok()?.file_name().to_bytes(), b"." | b"..") {
            return Some(false);
        }
    }
    Some(true)
}

/// Whether a user may make and remove folders in this one, which the kernel is not
/// asked about where pid 1 does it.
fn may_change(folder: &Stat, account: &Account) -> bool {
    let (mode, both) = (folder.st_mode, 0o3);
    match account.uid {
        0 => true,
        uid if uid == folder.st_uid => mode >> 6 & both == both,
        _ if mode & 0o1000 != 0 => false,
        _ if account.gid == folder.st_gid => mode >> 3 & both == both,
        _ => mode & both == both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_the_kernel_does() {
        for (path, wanted) in [("a", (".", "a")), ("/a", ("/", "a")), ("a/b", ("a", "b")), ("/a/b", ("/a", "b"))] {
            assert_eq!(split(path.as_bytes()), (wanted.0.as_bytes(), wanted.1.as_bytes()));
        }
    }

    #[test]
    fn who_may_not_change_a_folder_is_left_to_the_kernel() {
        let account = |uid, gid| Account { uid, gid, home: "/".into(), shell: None };
        let dir = tempfile::tempdir().unwrap();
        let folder = |mode: u32| {
            let mut stat = rustix::fs::stat(dir.path()).unwrap();
            (stat.st_uid, stat.st_gid, stat.st_mode) = (7, 8, 0o40_000 | mode);
            stat
        };
        for (mode, uid, gid, wanted) in [
            (0o700, 0, 0, true),
            (0o755, 7, 9, true),
            (0o555, 7, 8, false),
            (0o755, 9, 8, false),
            (0o775, 9, 8, true),
            (0o777, 9, 9, true),
            (0o1777, 9, 9, false),
        ] {
            assert_eq!(may_change(&folder(mode), &account(uid, gid)), wanted, "{mode:o} {uid} {gid}");
        }
    }

    #[test]
    fn a_folder_that_another_holds_is_not_alone() {
        let dir = tempfile::tempdir().unwrap();
        let open = || rustix::fs::open(dir.path(), FOLDER, Mode::empty()).unwrap();
        let (one, other) = (Placed::hold(&open()).unwrap(), Placed::hold(&open()).unwrap());
        assert!(!is_alone(&one));
        drop(other);
        assert!(is_alone(&one) && is_empty(&one) == Some(true));
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert_eq!(is_empty(&one), Some(false));
    }
}
