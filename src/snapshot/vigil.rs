//! Word of changes in the folders of a checkout from the moment at which each was
//! looked at: where none comes, nothing has to be looked at twice.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::index::Entry;

/// What the system tells of folders.
#[derive(Debug)]
pub(super) struct Vigil {
    inotify: Option<OwnedFd>,
    /// Each watched folder, by the system's number for it.
    folders: Mutex<Vec<(i32, Vec<u8>)>>,
    /// Whether every folder is watched.
    whole: AtomicBool,
}

impl Vigil {
    /// Begins; where the system does not tell, nothing is known at the end.
    pub(super) fn begin() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let whole = AtomicBool::new(inotify.is_some());
        Vigil { inotify, folders: Mutex::default(), whole }
    }

    /// Watches an open folder. What is read from it comes afterwards.
    pub(super) fn watch(&self, folder: BorrowedFd<'_>, path: &[u8]) {
        let Some(inotify) = &self.inotify else { return };
        let mask = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watched = inotify::add_watch(inotify, format!("/proc/self/fd/{}", folder.as_raw_fd()), mask);
        match (watched, self.folders.lock()) {
            (Ok(number), Ok(mut folders)) => folders.push((number, path.to_vec())),
            // There are as many watches as the system allows.
            _ => self.whole.store(false, Ordering::Relaxed),
        }
    }

    /// What happened that could matter: to a file of the index, or to any name.
    pub(super) fn heard(&self, entries: &[Entry]) -> FoldersHeard {
        let (Some(inotify), Ok(mut folders)) = (&self.inotify, self.folders.lock()) else {
            return FoldersHeard::Unknown;
        };
        folders.sort_unstable();
        let mut buffer = [const { MaybeUninit::uninit() }; 16 << 10];
        let mut events = Reader::new(inotify, &mut buffer);
        let (mut heard, mut moves) = (FoldersHeard::Quiet, Moves::default());
        loop {
            let event = match events.next() {
                Err(Errno::AGAIN) if moves.is_across() => return FoldersHeard::MovedAcross,
                Err(Errno::AGAIN) if self.whole.load(Ordering::Relaxed) => return heard,
                Err(_) => return FoldersHeard::Unknown,
                Ok(event) => event,
            };
            moves.note(&event);
            // The content of what git does not know is looked at where it was read.
            let content = event.events().intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB);
            let folder = folders.binary_search_by_key(&event.wd(), |(number, _)| *number);
            let (Ok(at), Some(name), true) = (folder, event.file_name(), content) else {
                heard = FoldersHeard::Names;
                continue;
            };
            let above = &folders[at].1;
            let slash: &[u8] = if above.is_empty() { b"" } else { b"/" };
            let path = [above, slash, std::ffi::OsStr::from_bytes(name.to_bytes()).as_bytes()].concat();
            if event.events().contains(ReadFlags::ISDIR) {
                continue;
            }
            let first = entries.partition_point(|entry| entry.path < path);
            if entries.get(first).is_some_and(|entry| entry.path == path) {
                heard = FoldersHeard::Names;
            }
        }
    }
}

/// What was heard of the folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldersHeard {
    /// Nothing that matters.
    Quiet,
    /// A name came or went, or a file of the index changed: another look says which.
    Names,
    /// Something was moved from one folder to another, and may have been seen in
    /// neither, however often one looks.
    MovedAcross,
    /// Nobody knows.
    Unknown,
}

/// The ends of moves that were heard, by the system's number for each.
#[derive(Default)]
struct Moves {
    from: HashMap<u32, i32>,
    across: bool,
}

impl Moves {
    fn note(&mut self, event: &inotify::Event<'_>) {
        if event.events().contains(ReadFlags::MOVED_FROM) {
            self.from.insert(event.cookie(), event.wd());
        } else if event.events().contains(ReadFlags::MOVED_TO) {
            // Within a folder its name is there all the time.
            self.across |= self.from.remove(&event.cookie()) != Some(event.wd());
        }
    }

    /// Whether one led from one folder to another, or out of sight.
    fn is_across(&self) -> bool {
        self.across || !self.from.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_happens_to_files_and_names_is_heard() {
        let entries = [Entry::plain(b"d/known")];
        type Change = fn(&std::path::Path);
        let changes: [(&str, FoldersHeard, Change); 9] = [
            ("nothing", FoldersHeard::Quiet, |_| {}),
            ("a read", FoldersHeard::Quiet, |root| {
                fs::read(root.join("d/known")).unwrap();
            }),
            ("a log", FoldersHeard::Quiet, |root| fs::write(root.join("d/log"), "more").unwrap()),
            ("a file of the index", FoldersHeard::Names, |root| fs::write(root.join("d/known"), "more").unwrap()),
            ("a new file", FoldersHeard::Names, |root| fs::write(root.join("d/new"), "x").unwrap()),
            ("a folder that goes", FoldersHeard::Names, |root| fs::rename(root.join("d"), root.join("e")).unwrap()),
            ("another name", FoldersHeard::Names, |root| fs::rename(root.join("d/log"), root.join("d/old")).unwrap()),
            ("a file that comes", FoldersHeard::MovedAcross, |root| {
                fs::write(root.join("x"), "x").unwrap();
                fs::rename(root.join("x"), root.join("d/x")).unwrap();
            }),
            ("a file that goes", FoldersHeard::MovedAcross, |root| {
                fs::rename(root.join("d/log"), root.join("log")).unwrap()
            }),
        ];
        for (what, heard, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("d")).unwrap();
            for name in ["known", "log"] {
                fs::write(dir.path().join("d").join(name), "x").unwrap();
            }
            let vigil = Vigil::begin();
            let folder = File::open(dir.path().join("d")).unwrap();
            vigil.watch(folder.as_fd(), b"d");
            change(dir.path());
            assert_eq!(vigil.heard(&entries), heard, "{what}");
        }
    }
}
