//! What git obeys in a git folder: configuration, hooks, and where it says the
//! rest of it lies.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::protect::{TARGET, is_head};
use super::{Audit, Audited, Place, Planted, Since, index, settings};
use crate::disk::descent::{self, Opened};

/// No index of a workspace is larger, in bytes.
const MAX_INDEX: u64 = 1 << 30;

/// Larger files of configuration are taken for hostile.
const MAX_CONFIG: u64 = 1 << 20;

/// What git would obey in these folders of a workspace if somebody worked in
/// them; nothing is renamed.
pub fn obeyed(workspace: &Path, folders: &[PathBuf]) -> Vec<Planted> {
    let mut found = Vec::new();
    for path in folders {
        let audit = Audit {
            workspace,
            since: Since::default(),
            path: path.clone(),
            moved: Vec::new(),
            found: Audited::default(),
        };
        let Ok(folder) = rustix::fs::openat(CWD, workspace.join(path), descent::folder_flags(), Mode::empty()) else {
            continue;
        };
        let all = audit.obeyed(folder.as_fd(), true, false);
        found.extend(all.into_iter().map(|(name, why)| Planted { path: audit.shown(name), why }));
    }
    found
}

/// Looks at what git takes for the git folder of a folder of the workspace.
/// Renames what was written since and git should not obey; says that, and which
/// folders git reads.
pub(in super::super) fn look_at(workspace: &Path, path: &Path, since: Since) -> (Vec<Planted>, Vec<PathBuf>) {
    let mut audit = Audit { workspace, since, path: path.to_owned(), moved: Vec::new(), found: Audited::default() };
    let mut folders = Vec::new();
    let Some(folder) = open_beneath(workspace, path) else { return (Vec::new(), folders) };
    match rustix::fs::statat(&folder, c".git", AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_mode) {
        Ok(mode) if FileType::from_raw_mode(mode) == FileType::Directory => folders.push(path.join(".git")),
        Ok(mode) => {
            audit.pointer(folder.as_fd(), FileType::from_raw_mode(mode));
            folders.extend(audit.pointed(folder.as_fd()));
        }
        Err(_) => {}
    }
    for git in &folders {
        if let Some(folder) = open_beneath(workspace, git) {
            audit.path = git.clone();
            let touched = rustix::fs::fstat(&folder).map_or(true, |stat| since.covers(&stat));
            audit.git_folder(folder.as_fd(), touched, false);
        }
    }
    (audit.found.renamed, folders)
}

/// Looks at a folder of the workspace's own git folder as the audit does, and at
/// nothing below it. Renames links and the like there, and what git should not
/// obey; puts back what makes it a repository.
pub(in super::super) fn look_at_own(workspace: &Path, path: &Path, since: Since) -> Vec<Planted> {
    let mut audit = Audit { workspace, since, path: path.to_owned(), moved: Vec::new(), found: Audited::default() };
    let Some(folder) = open_beneath(workspace, path) else { return Vec::new() };
    let place = match path {
        path if path == Path::new(".git") => Place::Own,
        path if path.starts_with(".git/objects") => Place::Data { touched: true },
        path if path.starts_with(".git/modules") || path.starts_with(".git/worktrees") => {
            Place::Git { own: false, touched: false }
        }
        _ => Place::Git { own: true, touched: true },
    };
    audit.look(folder.as_fd(), place);
    audit.found.renamed
}

fn open_beneath(workspace: &Path, path: &Path) -> Option<OwnedFd> {
    let root = rustix::fs::openat(CWD, workspace, descent::folder_flags(), Mode::empty()).ok()?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, descent::folder_flags(), Mode::empty(), resolve).ok()
}

impl Audit<'_> {
    /// Other objects that a repository borrows: they are in the workspace too.
    pub(super) fn alternates(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        let name = c"alternates";
        if !exists(folder, name) || !(touched || self.is_new(folder, name)) {
            return;
        }
        let leads_out = match read_plain(folder, name, MAX_CONFIG) {
            Ok(text) => {
                let objects = self.workspace.join(self.path.parent().unwrap_or(Path::new("")));
                let real = std::fs::canonicalize(self.workspace).unwrap_or_default();
                let stays = |line: &[u8]| {
                    let named = objects.join(std::ffi::OsStr::from_bytes(line));
                    std::fs::canonicalize(named).map_or(true, |place| place.starts_with(&real))
                };
                let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                (!lines.all(stays)).then(|| "it leads out of the workspace".to_owned())
            }
            Err(why) => Some(why.into()),
        };
        if let Some(why) = leads_out {
            self.quarantine(folder, name, why);
        }
    }

    /// The workspace's own: what is not read-only inside.
    pub(super) fn own_folder(&mut self, folder: BorrowedFd<'_>) {
        self.own_config(folder);
        self.own_head(folder);
        self.own_index(folder);
        let name = c"config.worktree";
        if self.is_new(folder, name)
            && exists(folder, name)
            && let Some(why) = self.bad_config(folder, name)
        {
            self.quarantine(folder, name, why);
        }
    }

    /// Some tools of the host replace the link to the configuration by a file,
    /// which programs inside could write to from then on.
    fn own_config(&mut self, folder: BorrowedFd<'_>) {
        let name = c"config";
        if self.is_own_link(folder, name) || !exists(folder, c"envctl/config") {
            return;
        }
        if exists(folder, name) {
            match self.bad_config(folder, name) {
                Some(why) => self.quarantine(folder, name, why),
                None => drop(rustix::fs::renameat(folder, name, folder, TARGET)),
            }
        }
        if let Err(error) = rustix::fs::symlinkat(TARGET, folder, name) {
            self.unseen(name, error);
        }
    }

    /// What the remote has is settled by these: one that follows a branch would
    /// say that of every commit on it.
    pub(super) fn remote_refs(&mut self, folder: BorrowedFd<'_>) {
        let mut names = Vec::new();
        // From its beginning: it has been listed.
        let Ok(again) = rustix::fs::openat(folder, c".", descent::folder_flags(), Mode::empty()) else { return };
        let _ = descent::list(again.as_fd(), |name, kind| {
            if kind == FileType::RegularFile && name != c"HEAD" {
                names.push(name.to_owned());
            }
        });
        for name in names.iter().filter(|name| self.is_new(folder, name)).cloned().collect::<Vec<_>>() {
            if read_plain(folder, &name, 4096).is_ok_and(|text| text.starts_with(b"ref:")) {
                self.quarantine(folder, &name, "commits would count as being on the remote".into());
            }
        }
    }

    /// Names in the index lead git to where it writes.
    fn own_index(&mut self, folder: BorrowedFd<'_>) {
        let name = c"index";
        if !exists(folder, name) || !self.is_new(folder, name) {
            return;
        }
        let why = match read_plain(folder, name, MAX_INDEX) {
            Ok(text) => index::why_not(&text),
            Err(why) => Some(why.into()),
        };
        if let Some(why) = why {
            self.quarantine(folder, name, why);
        }
    }

    /// Without a valid `HEAD` git would look for another repository: a task's
    /// files can be one, and a folder above the workspace can.
    fn own_head(&mut self, folder: BorrowedFd<'_>) {
        let name = c"HEAD";
        let is_valid = read_plain(folder, name, 4096).is_ok_and(|text| is_head(&text)) || super::names_ref(folder);
        if is_valid || !exists(folder, c"envctl/HEAD") {
            return;
        }
        if exists(folder, name) {
            self.quarantine(folder, name, "git would not take it for what is checked out".into());
        }
        let made = read_plain(folder, c"envctl/HEAD", 4096).map_err(|_| Errno::IO).and_then(|text| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?;
            std::io::Write::write_all(&mut std::fs::File::from(file), &text).map_err(|_| Errno::IO)
        });
        match made {
            Ok(()) => {
                self.renamed(name, "it was missing or damaged, and says again what it said before the run".into())
            }
            // A program inside has just made one.
            Err(Errno::EXIST) => {}
            Err(error) => self.unseen(name, error),
        }
    }

    /// The link to the workspace's own configuration.
    pub(super) fn is_own_link(&self, folder: BorrowedFd<'_>, name: &CStr) -> bool {
        let target = || rustix::fs::readlinkat(folder, name, Vec::new());
        name == c"config" && target().is_ok_and(|target| target.to_bytes() == TARGET.as_bytes())
    }

    /// Another one. Where there is no place for any, nothing stays that it is to
    /// obey.
    pub(super) fn git_folder(&mut self, folder: BorrowedFd<'_>, touched: bool, strange: bool) {
        for (name, why) in self.obeyed(folder, touched, strange) {
            self.quarantine(folder, name, why);
        }
    }

    /// What git should not obey, and why.
    fn obeyed(&self, folder: BorrowedFd<'_>, touched: bool, strange: bool) -> Vec<(&'static CStr, String)> {
        let bad = |name: &'static CStr| {
            if strange {
                return Some("there is no place for a repository".to_owned());
            }
            let suspect = touched || self.is_new(folder, name);
            match name.to_bytes() {
                b"hooks" => self.bad_hooks(folder, suspect),
                // Nothing below `.git` came with the task.
                b"config" | b"config.worktree" if !suspect && self.path.starts_with(".git") => {
                    self.bad_work(folder, name)
                }
                _ if !suspect => None,
                b"commondir" => (!self.leads_to_own(folder)).then(|| "it leads to another configuration".into()),
                _ => self.bad_config(folder, name),
            }
        };
        let names = [c"config", c"config.worktree", c"commondir", c"hooks"];
        names.into_iter().filter(|name| exists(folder, name)).filter_map(|name| Some((name, bad(name)?))).collect()
    }

    /// The first hook that git would run.
    fn bad_hooks(&self, folder: BorrowedFd<'_>, suspect: bool) -> Option<String> {
        let stat = rustix::fs::statat(folder, c"hooks", AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => return suspect.then(|| "what it leads to would be run".into()),
            FileType::Directory => {}
            _ => return None,
        }
        let hooks = match descent::open(folder, c"hooks") {
            Ok(Opened::Open(hooks)) => hooks,
            Ok(Opened::Sealed) | Err(Errno::NOENT) => return None,
            Ok(Opened::Blind) | Err(_) => return Some("it cannot be looked into".into()),
        };
        let mut found = None;
        let listed = descent::list(hooks.as_fd(), |name, _| {
            let is_sample = name.to_bytes().ends_with(b".sample");
            if found.is_none() && !is_sample && (suspect || self.is_new(hooks.as_fd(), name)) {
                found = Some(format!("hooks/{} would be run", name.to_string_lossy()));
            }
        });
        found.or_else(|| listed.err().map(|error| format!("it cannot be looked into: {error}")))
    }

    /// Why git should not read this configuration; `None` where it may.
    fn bad_config(&self, folder: BorrowedFd<'_>, name: &CStr) -> Option<String> {
        match read_plain(folder, name, MAX_CONFIG) {
            Ok(text) => settings::why_not(&text, |value| self.is_work(value)),
            Err(why) => Some(why.into()),
        }
    }

    /// Why this configuration is not to say where the files are.
    fn bad_work(&self, folder: BorrowedFd<'_>, name: &CStr) -> Option<String> {
        let text = read_plain(folder, name, MAX_CONFIG).ok()?;
        settings::why_not_work(&text, |value| self.is_work(value))
    }

    /// Whether a submodule's git folder may name this as the place of its
    /// files: a folder of the workspace that is in no git folder, reached
    /// through no link. It may be gone: then nothing is there to be lost.
    fn is_work(&self, value: &str) -> bool {
        let mut place = PathBuf::new();
        let plain = !value.contains(['"', '\\', '#', ';']) && self.path.starts_with(".git/modules");
        for part in self.path.join(value).components() {
            match part {
                Component::Normal(name) => place.push(name),
                Component::CurDir => {}
                Component::ParentDir if place.pop() => {}
                _ => return false,
            }
        }
        plain && place != Path::new("") && place.iter().all(|name| name != ".git") && self.is_no_way_out(&place)
    }

    fn is_no_way_out(&self, place: &Path) -> bool {
        let Ok(root) = rustix::fs::openat(CWD, self.workspace, descent::folder_flags(), Mode::empty()) else {
            return false;
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        matches!(rustix::fs::openat2(root, place, flags, Mode::empty(), resolve), Ok(_) | Err(Errno::NOENT))
    }

    /// Whether a `commondir` file names the workspace's own git folder: such is
    /// a worktree that was added to it.
    fn leads_to_own(&self, folder: BorrowedFd<'_>) -> bool {
        let Ok(text) = read_plain(folder, c"commondir", 4096) else { return false };
        let Ok(text) = std::str::from_utf8(&text) else { return false };
        let own = std::fs::canonicalize(self.workspace.join(".git"));
        let named = std::fs::canonicalize(self.workspace.join(&self.path).join(text.trim_end_matches('\n')));
        matches!((own, named), (Ok(own), Ok(named)) if own == named)
    }
}

fn exists(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    !matches!(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// The content of a plain file that is not too large; otherwise why not.
pub(super) fn read_plain(folder: BorrowedFd<'_>, name: &CStr, limit: u64) -> Result<Vec<u8>, &'static str> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|_| "it is no plain file")?;
    let is_plain = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !rustix::fs::fstat(&file).is_ok_and(is_plain) {
        return Err("it is no plain file");
    }
    let mut bytes = Vec::new();
    match std::fs::File::from(file).take(limit + 1).read_to_end(&mut bytes) {
        Ok(count) if count as u64 <= limit => Ok(bytes),
        _ => Err("it cannot be read"),
    }
}
