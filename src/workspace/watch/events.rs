//! What an event asks for.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{ReadFlags, WatchFlags};

use super::super::audit;
use super::held::BELIEVED;

/// What a folder is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchKind {
    /// Files that are worked on, among which a git folder may appear.
    Work,
    /// A git folder, in which what git obeys may change. It is named by where its
    /// files are, so that all that leads to it is looked at again.
    Git,
    /// The workspace's own, or one below it: git on the host writes there, and
    /// would write through a link.
    Own,
}

impl WatchKind {
    /// What to watch a folder for.
    pub(super) fn flags(self, path: &Path) -> WatchFlags {
        let all = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::EXCL_UNLINK;
        // Nothing in these is believed without being looked at again.
        let is_data = ["objects", "refs", "logs"].iter().any(|part| path.starts_with(Path::new(".git").join(part)));
        all | match self {
            WatchKind::Work if path == Path::new("") => {
                WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY
            }
            WatchKind::Work => WatchFlags::ATTRIB,
            WatchKind::Git => WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY | WatchFlags::OPEN,
            // A repository without its parts is none.
            WatchKind::Own => {
                let parts = WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
                if is_data { parts } else { parts | WatchFlags::OPEN }
            }
        }
    }
}

/// What is to be done about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WatchStep {
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
    (folder, kind): &(PathBuf, WatchKind),
    name: Option<&Path>,
    what: ReadFlags,
) -> Option<WatchStep> {
    let (is_folder, mode_only) = (what.contains(ReadFlags::ISDIR), what.contains(ReadFlags::ATTRIB));
    let here = || folder.to_owned();
    if what.contains(ReadFlags::OPEN) {
        return if is_folder { None } else { opened(ask, folder, *kind, name).map(WatchStep::Held) };
    }
    match (kind, name) {
        (WatchKind::Own, Some(name)) if is_folder => Some(WatchStep::WalkOwn(folder.join(name))),
        // Git would look for another repository than one whose HEAD it cannot read.
        (WatchKind::Own, Some(name)) if mode_only && name != Path::new("HEAD") => None,
        // Its own mode, or a file in it.
        (WatchKind::Own, _) => Some(WatchStep::Own(here())),
        (WatchKind::Work, Some(name)) if name == Path::new(".git") && folder == Path::new("") => {
            Some(WatchStep::WalkOwn(folder.join(name)))
        }
        (WatchKind::Work, Some(name)) if name == Path::new(".git") => Some(WatchStep::Look(here())),
        (WatchKind::Work, Some(name)) if is_folder && (!mode_only || ask.is_shut(&folder.join(name))) => {
            Some(WatchStep::Walk(folder.join(name)))
        }
        // What makes the root a repository of its own, which git would take for one
        // while `.git` is none.
        (WatchKind::Work, Some(name)) if folder == Path::new("") && audit::is_of_a_repository(name.as_os_str()) => {
            Some(WatchStep::Look(here()))
        }
        (WatchKind::Work, _) if folder == Path::new("hooks") => Some(WatchStep::Look(PathBuf::new())),
        (WatchKind::Git, _) => Some(WatchStep::Look(here())),
        (WatchKind::Work, _) => None,
    }
}

/// The file that git believes, where it is one that somebody opened.
fn opened(ask: &impl Ask, folder: &Path, kind: WatchKind, name: Option<&Path>) -> Option<PathBuf> {
    // A `.git` that is a file is watched by itself.
    let Some(name) = name else { return Some(folder.join(".git")) };
    let is_shared = name.as_os_str().as_bytes().starts_with(audit::SHARED);
    let believed = is_shared || BELIEVED.iter().any(|one| name == Path::new(one));
    let git = if kind == WatchKind::Git { ask.git_folder(folder)? } else { folder.to_owned() };
    believed.then(|| git.join(name))
}
