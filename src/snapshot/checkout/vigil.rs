//! Word of changes in the folders of a checkout from the moment at which each was
//! looked at: where none comes, nothing has to be looked at twice.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::snapshot::format::index::Entry;

/// What the system tells of folders.
#[derive(Debug)]
pub(in crate::snapshot) struct Vigil {
    inotify: Option<OwnedFd>,
    /// Each watched folder, by the system's number for it.
    folders: Mutex<Vec<(i32, Vec<u8>)>>,
    /// Whether every folder is watched.
    whole: AtomicBool,
}

impl Vigil {
    /// Begins; where the system does not tell, nothing is known at the end.
    pub(in crate::snapshot) fn begin() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let whole = AtomicBool::new(inotify.is_some());
        Vigil { inotify, folders: Mutex::default(), whole }
    }

    /// Watches an open folder. What is read from it comes afterwards.
    pub(in crate::snapshot) fn watch(&self, folder: BorrowedFd<'_>, path: &[u8]) {
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
    pub(in crate::snapshot) fn heard(&self, entries: &[Entry]) -> FoldersHeard {
        let mut all = FoldersHeard::default();
        let (Some(inotify), Ok(mut folders)) = (&self.inotify, self.folders.lock()) else {
            return FoldersHeard { unknown: true, ..all };
        };
        folders.sort_unstable();
        let mut buffer = [const { MaybeUninit::uninit() }; 16 << 10];
        let mut events = Reader::new(inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Err(Errno::AGAIN) => {
                    all.unknown |= !self.whole.load(Ordering::Relaxed);
                    return all;
                }
                Err(_) => return FoldersHeard { unknown: true, ..all },
                Ok(event) => event,
            };
            let folder = folders.binary_search_by_key(&event.wd(), |(number, _)| *number);
            let (Ok(at), Some(name)) = (folder, event.file_name()) else {
                // A folder itself, of which the one above tells as well; or too many.
                all.unknown |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                continue;
            };
            let above = &folders[at].1;
            let slash: &[u8] = if above.is_empty() { b"" } else { b"/" };
            let path = [above, slash, std::ffi::OsStr::from_bytes(name.to_bytes()).as_bytes()].concat();
            let is_folder = event.events().contains(ReadFlags::ISDIR);
            if event.events().intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB) {
                // The content of what git does not know is looked at where it was read.
                let first = entries.partition_point(|entry| entry.path < path);
                all.content |= !is_folder && entries.get(first).is_some_and(|entry| entry.path == path);
            } else if all.names.len() < MOST_NAMES {
                all.names.insert((path, is_folder));
            } else {
                all.unknown = true;
            }
        }
    }
}

/// More names are not kept apart.
const MOST_NAMES: usize = 10_000;

/// What was heard of the folders.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct FoldersHeard {
    /// What came, went or was replaced, and whether it is a folder: it may have been seen
    /// in one place too few, however often one looks.
    pub(in crate::snapshot) names: BTreeSet<(Vec<u8>, bool)>,
    /// A file of the index changed: another look says which.
    pub(in crate::snapshot) content: bool,
    /// Not everything was heard.
    pub(in crate::snapshot) unknown: bool,
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
        let names = |paths: &[&str]| FoldersHeard {
            names: paths.iter().map(|path| (path.as_bytes().to_vec(), false)).collect(),
            ..FoldersHeard::default()
        };
        let content = || FoldersHeard { content: true, ..FoldersHeard::default() };
        let changes: [(&str, FoldersHeard, Change); 8] = [
            ("nothing", FoldersHeard::default(), |_| {}),
            ("a read", FoldersHeard::default(), |root| {
                fs::read(root.join("d/known")).unwrap();
            }),
            ("a log", FoldersHeard::default(), |root| fs::write(root.join("d/log"), "more").unwrap()),
            ("a file of the index", content(), |root| fs::write(root.join("d/known"), "more").unwrap()),
            ("a new file", names(&["d/new"]), |root| fs::write(root.join("d/new"), "").unwrap()),
            ("another name", names(&["d/log", "d/old"]), |root| {
                fs::rename(root.join("d/log"), root.join("d/old")).unwrap();
            }),
            ("a file that comes", names(&["d/x"]), |root| {
                fs::write(root.join("x"), "x").unwrap();
                fs::rename(root.join("x"), root.join("d/x")).unwrap();
            }),
            ("a file that goes and comes again", names(&["d/log"]), |root| {
                fs::rename(root.join("d/log"), root.join("log")).unwrap();
                fs::rename(root.join("log"), root.join("d/log")).unwrap();
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
