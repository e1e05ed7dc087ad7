//! What an event asks for.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{ReadFlags, WatchFlags};

use super::super::audit;
use super::held::BELIEVED;

/// What a folder is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Files that are worked on, among which a git folder may appear.
    Work,
    /// A git folder, in which what git obeys may change. It is named by where its
    /// files are, so that all that leads to it is looked at again.
    Git,
    /// The workspace's own, or one below it: git on the host writes there, and
    /// would write through a link.
    Own,
}

impl Kind {
    /// What to watch a folder for.
    pub(super) fn flags(self, path: &Path) -> WatchFlags {
        let all = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::EXCL_UNLINK;
        // Nothing in these is believed without being looked at again.
        let is_data = ["objects", "refs", "logs"].iter().any(|part| path.starts_with(Path::new(".git").join(part)));
        all | match self {
            Kind::Work if path == Path::new("") => WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY,
            Kind::Work => WatchFlags::ATTRIB,
            Kind::Git => WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY | WatchFlags::OPEN,
            // A repository without its parts is none.
            Kind::Own => {
                let parts = WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
                if is_data { parts } else { parts | WatchFlags::OPEN }
            }
        }
    }
}

/// What is to be done about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at a folder of the workspace's own git folder.
    Own(PathBuf),
    /// Watch one that is new there, with those below it.
    WalkOwn(PathBuf),
    /// Watch a folder among the files, with those below it.
    Walk(PathBuf),
    /// Look at the git folder of a folder.
    Look(PathBuf),
    /// Somebody opened a file that git believes.
    Held(PathBuf),
}

/// Whom to ask about folders.
pub(super) trait Ask {
    /// Whether a folder cannot be listed, or could not be when it was seen.
    fn is_shut(&self, path: &Path) -> bool;
    /// The git folder of a folder.
    fn git_folder(&self, path: &Path) -> Option<PathBuf>;
}

/// What an event in a folder, or of it, asks for.
pub(super) fn step(
    ask: &impl Ask,
    (folder, kind): &(PathBuf, Kind),
    name: Option<&Path>,
    what: ReadFlags,
) -> Option<Step> {
    let (is_folder, mode_only) = (what.contains(ReadFlags::ISDIR), what.contains(ReadFlags::ATTRIB));
    let here = || folder.to_owned();
    if what.contains(ReadFlags::OPEN) {
        return if is_folder { None } else { opened(ask, folder, *kind, name).map(Step::Held) };
    }
    match (kind, name) {
        (Kind::Own, Some(name)) if is_folder => Some(Step::WalkOwn(folder.join(name))),
        (Kind::Own, Some(_)) if mode_only => None,
        // Its own mode, or a file in it.
        (Kind::Own, _) => Some(Step::Own(here())),
        (Kind::Work, Some(name)) if name == Path::new(".git") && folder == Path::new("") => {
            Some(Step::WalkOwn(folder.join(name)))
        }
        (Kind::Work, Some(name)) if name == Path::new(".git") => Some(Step::Look(here())),
        (Kind::Work, Some(name)) if is_folder && (!mode_only || ask.is_shut(&folder.join(name))) => {
            Some(Step::Walk(folder.join(name)))
        }
        // What makes the root a repository of its own, which git would take for one
        // while `.git` is none.
        (Kind::Work, Some(name)) if folder == Path::new("") && audit::is_of_a_repository(name.as_os_str()) => {
            Some(Step::Look(here()))
        }
        (Kind::Work, _) if folder == Path::new("hooks") => Some(Step::Look(PathBuf::new())),
        (Kind::Git, _) => Some(Step::Look(here())),
        (Kind::Work, _) => None,
    }
}

/// The file that git believes, where it is one that somebody opened.
fn opened(ask: &impl Ask, folder: &Path, kind: Kind, name: Option<&Path>) -> Option<PathBuf> {
    // A `.git` that is a file is watched by itself.
    let Some(name) = name else { return Some(folder.join(".git")) };
    let is_shared = name.as_os_str().as_bytes().starts_with(audit::SHARED);
    let believed = is_shared || BELIEVED.iter().any(|one| name == Path::new(one));
    let git = if kind == Kind::Git { ask.git_folder(folder)? } else { folder.to_owned() };
    believed.then(|| git.join(name))
}
