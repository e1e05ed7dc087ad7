//! The places of trees, as programs inside see them: folders that can be removed,
//! made again and moved, although each is a mount point, which the kernel lets
//! nobody touch. `rm -rf node_modules && npm ci` is what every README says.
//!
//! So programs wait for pid 1 wherever they remove, make or move a folder. Whoever
//! removes the empty folder of a tree is told that it is done, and whoever makes it
//! then as well: the tree stays mounted all the time, and what is written at a place
//! goes with the runtime, before and after.
//!
//! Invariants: pid 1 only looks, and changes nothing: no mount, no folder. What it
//! looks at are descriptors in the program's own view. Everything that is not plainly
//! one of the cases here goes on as it is, to the kernel, which says that a mount
//! point is busy. No look takes long: nobody inside decides how long pid 1 is away.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::inside::Inside;
use super::process::Context;
use super::rootfs::{self, PlacedTree};
use crate::runtime::Account;
use crate::runtime::sys::calls::{self, CallVerdict, Waiting};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How long calls are answered before everything else is looked at.
const TURN: Duration = Duration::from_millis(2);

/// Bytes of a folder, with those of the tree as it was at the start, in which pid 1
/// looks for entries: an overlay reads all of them before it gives the first.
const LARGEST: u64 = 256 << 10;

/// A look that took longer was the last at its place: some file systems do not say
/// how large their folders are.
const LONGEST: Duration = Duration::from_secs(1);

/// All places of a runtime, and the descriptors at which programs ask.
pub(super) struct Places {
    all: Vec<KnownPlace>,
    asking: Vec<OwnedFd>,
}

/// A place.
struct KnownPlace {
    placed: PlacedTree,
    /// Somebody thinks that it is gone.
    removed: bool,
    /// It takes too long to look into it.
    slow: bool,
}

/// A path as a program names it: the folder that it begins in, and an address.
type Named = (i32, u64);

/// What a program asks for.
#[derive(Debug, PartialEq, Eq)]
enum PlaceRequest {
    Remove(Named),
    Make(Named),
    /// From, to, and whether what is there must stay.
    Move(Named, Named, bool),
}

impl Places {
    pub(super) fn of(placed: Vec<PlacedTree>) -> Self {
        let known = |placed| KnownPlace { placed, removed: false, slow: false };
        Places { all: placed.into_iter().map(known).collect(), asking: Vec::new() }
    }

    /// Whether there is any.
    pub(super) fn are_there(&self) -> bool {
        !self.all.is_empty()
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

    /// Answers those of [`Self::asking`] at which something has happened, for one
    /// [`TURN`]; who had to wait is the first the next time.
    pub(super) fn answer(&mut self, ready: &[bool], inside: &Inside, context: &Context) {
        let until = Instant::now() + TURN;
        let mut later = Vec::new();
        let mut first = Vec::new();
        for (at, listener) in std::mem::take(&mut self.asking).into_iter().enumerate() {
            if ready.get(at) != Some(&true) || Instant::now() >= until {
                first.push(listener);
            } else if self.answer_some(&listener, until, inside, &context.account) {
                later.push(listener);
            }
        }
        first.append(&mut later);
        self.asking = first;
    }

    /// `false` when nobody is left who could ask.
    fn answer_some(&mut self, listener: &OwnedFd, until: Instant, inside: &Inside, account: &Account) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        loop {
            let mut fds = [PollFd::new(listener, PollFlags::IN)];
            let found = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            let events = fds[0].revents();
            if !events.contains(PollFlags::IN) {
                return !(found.is_ok() && events.contains(PollFlags::HUP));
            }
            // It may have been interrupted.
            if let Ok(call) = calls::next(listener.as_fd()) {
                let view = View { listener: listener.as_fd(), call: &call, inside };
                let verdict = self.judge(&view, account).unwrap_or(CallVerdict::GoesOn);
                let _ = calls::answer(listener.as_fd(), &call, verdict);
            }
            if Instant::now() >= until {
                return true;
            }
        }
    }

    /// `None` where it is none of our business, or is not clear.
    fn judge(&mut self, view: &View<'_>, account: &Account) -> Option<CallVerdict> {
        match asked(view.call)? {
            PlaceRequest::Remove(named) => {
                let (path, opened) = self.open_place(view, named)?;
                let at = self.at(&opened)?;
                self.may_pretend(view, (named.0, &path), account)?;
                if !self.all[at].is_empty(&opened)? {
                    return Some(CallVerdict::Failed(libc::ENOTEMPTY));
                }
                self.all[at].removed = true;
                Some(CallVerdict::Done)
            }
            PlaceRequest::Make(named) => {
                // Most are made while no place has been removed.
                self.all.iter().any(|known| known.removed).then_some(())?;
                // It has to be there still, with the tree.
                let (path, opened) = self.open_place(view, named)?;
                let at = self.at(&opened)?;
                self.all[at].removed.then_some(())?;
                self.may_pretend(view, (named.0, &path), account)?;
                let empty = self.all[at].is_empty(&opened)?;
                self.all[at].removed = false;
                // Somebody has not noticed that it was gone: it is there, then.
                empty.then_some(CallVerdict::Done)
            }
            PlaceRequest::Move(from, to, keep) => {
                let (_, opened) = self.open_place(view, from)?;
                self.at(&opened)?;
                let to_path = view.path(to.1)?;
                // The kernel says it where that is there and must stay.
                let is_free = || view.open(to.0, &to_path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC);
                (!keep || is_free().is_err_and(|error| error == Errno::NOENT)).then_some(())?;
                // As from any other file system: programs copy then.
                view.is_still_there().then_some(CallVerdict::Failed(libc::EXDEV))
            }
        }
    }

    /// Whether this program could remove and make the folder if it were no mount point.
    fn may_pretend(&self, view: &View<'_>, (folder, path): (i32, &[u8]), account: &Account) -> Option<()> {
        let parent = rustix::fs::fstat(view.open(folder, split(path).0, FOLDER).ok()?).ok()?;
        let may = may_change(&parent, account) && is_of(&view.status()?, account);
        (may && view.is_still_there()).then_some(())
    }

    /// Opens what a program names, where it is called as a place is.
    fn open_place(&self, view: &View<'_>, (folder, address): Named) -> Option<(Vec<u8>, OwnedFd)> {
        let path = view.path(address)?;
        let (_, name) = split(&path);
        self.all.iter().any(|known| known.placed.name.as_bytes() == name).then_some(())?;
        let opened = view.open(folder, &path, FOLDER | OFlags::NOFOLLOW).ok()?;
        Some((path, opened))
    }

    /// The place whose tree begins with this folder.
    fn at(&self, opened: &OwnedFd) -> Option<usize> {
        let (mount, is_root) = rootfs::mount_of(opened).ok()?;
        self.all.iter().position(|known| known.placed.mount == mount).filter(|_| is_root)
    }
}

impl KnownPlace {
    /// `None` where that cannot be seen, or not soon enough.
    fn is_empty(&mut self, folder: &OwnedFd) -> Option<bool> {
        let size = u64::try_from(rustix::fs::fstat(folder).ok()?.st_size).ok()?;
        if self.slow || size.saturating_add(self.placed.size) > LARGEST {
            return None;
        }
        let began = Instant::now();
        let empty = is_empty(folder);
        self.slow = began.elapsed() > LONGEST;
        empty
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

    /// What the kernel says of that thread.
    fn status(&self) -> Option<String> {
        let path = format!("proc/{}/status", self.call.thread);
        let opened = rustix::fs::openat(&self.inside.root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        std::io::read_to_string(std::fs::File::from(opened.ok()?)).ok()
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

/// `None` for what is asked in an unusual way.
fn asked(call: &Waiting) -> Option<PlaceRequest> {
    let arguments = &call.arguments;
    let at = |folder: usize| (arguments[folder] as i32, arguments[folder + 1]);
    #[cfg(target_arch = "x86_64")]
    let here = |path: usize| (libc::AT_FDCWD, arguments[path]);
    match call.number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rmdir => Some(PlaceRequest::Remove(here(0))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => Some(PlaceRequest::Make(here(0))),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => Some(PlaceRequest::Move(here(0), here(1), false)),
        libc::SYS_unlinkat if arguments[2] as i32 == libc::AT_REMOVEDIR => Some(PlaceRequest::Remove(at(0))),
        libc::SYS_mkdirat => Some(PlaceRequest::Make(at(0))),
        #[cfg(not(target_arch = "riscv64"))]
        libc::SYS_renameat => Some(PlaceRequest::Move(at(0), at(2), false)),
        libc::SYS_renameat2 => match arguments[4] as u32 {
            0 => Some(PlaceRequest::Move(at(0), at(2), false)),
            libc::RENAME_NOREPLACE => Some(PlaceRequest::Move(at(0), at(2), true)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a thread, by its `/proc/N/status`, is of the runtime's account in every
/// respect, and root with what root may do to folders here.
fn is_of(status: &str, account: &Account) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let all = |name: &str, id: u32| {
        let mut ids = field(name).unwrap_or_default().split_whitespace().map(str::parse::<u32>).peekable();
        ids.peek().is_some() && ids.all(|found| found == Ok(id))
    };
    // CAP_DAC_OVERRIDE and CAP_FOWNER.
    let needed = if account.uid == 0 { 1 << 1 | 1 << 3 } else { 0 };
    let has = field("CapEff").and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    all("Uid", account.uid) && all("Gid", account.gid) && has.is_some_and(|has| has & needed == needed)
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
/// asked about where pid 1 answers.
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
    fn what_is_asked_in_an_unusual_way_is_left_to_the_kernel() {
        let call = |number, arguments| Waiting::test(number, arguments);
        let remove = |flags: i32| asked(&call(libc::SYS_unlinkat, [3, 7, flags as u64, 0, 0, 0]));
        assert_eq!(remove(libc::AT_REMOVEDIR), Some(PlaceRequest::Remove((3, 7))));
        assert_eq!(remove(libc::AT_REMOVEDIR | 1), None);
        let rename = |flags: u32| asked(&call(libc::SYS_renameat2, [3, 7, 4, 8, flags.into(), 0]));
        assert_eq!(rename(0), Some(PlaceRequest::Move((3, 7), (4, 8), false)));
        assert_eq!(rename(libc::RENAME_NOREPLACE), Some(PlaceRequest::Move((3, 7), (4, 8), true)));
        for flags in [libc::RENAME_EXCHANGE, libc::RENAME_WHITEOUT, libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE] {
            assert_eq!(rename(flags), None, "{flags}");
        }
    }

    #[test]
    fn who_has_become_another_user_is_left_to_the_kernel() {
        let account = |id| Account { uid: id, gid: id, home: "/".into(), shell: None };
        let status = |uid: &str, gid: &str, can: &str| format!("Name:\tx\nUid:\t{uid}\nGid:\t{gid}\nCapEff:\t{can}\n");
        let (own, none, all) = ("7\t7\t7\t7", "0000000000000000", "000000000000000a");
        assert!(is_of(&status(own, own, none), &account(7)));
        for (uid, gid) in [("7\t9\t7\t7", own), ("7\t7\t7\t9", own), (own, "9\t9\t9\t9"), ("", own)] {
            assert!(!is_of(&status(uid, gid, none), &account(7)), "{uid} {gid}");
        }
        let root = "0\t0\t0\t0";
        assert!(is_of(&status(root, root, all), &account(0)) && !is_of(&status(root, root, none), &account(0)));
        assert!(!is_of("", &account(7)));
    }

    #[test]
    fn no_large_or_slow_folder_is_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let folder = rustix::fs::open(dir.path(), FOLDER, Mode::empty()).unwrap();
        let known =
            |size, slow| KnownPlace { placed: PlacedTree { name: "x".into(), mount: 0, size }, removed: false, slow };
        assert_eq!(known(0, false).is_empty(&folder), Some(true));
        assert_eq!(known(LARGEST + 1, false).is_empty(&folder), None);
        assert_eq!(known(0, true).is_empty(&folder), None);
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert_eq!(known(0, false).is_empty(&folder), Some(false));
    }
}
