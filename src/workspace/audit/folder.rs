//! What git obeys in a git folder: configuration, hooks, and where it says the
//! rest of it lies.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Audit, settings};
use crate::disk::beneath::open_beneath;
use crate::disk::descent::{self, Opened};

/// Larger files of configuration are taken for hostile.
const MAX_CONFIG: u64 = 1 << 20;

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

    /// Another one. Where there is no place for any, nothing stays that it is to
    /// obey.
    pub(super) fn git_folder(&mut self, folder: BorrowedFd<'_>, touched: bool, strange: bool) {
        for (name, why) in self.obeyed(folder, touched, strange) {
            self.quarantine(folder, name, why);
        }
    }

    /// What git should not obey, and why.
    pub(super) fn obeyed(&self, folder: BorrowedFd<'_>, touched: bool, strange: bool) -> Vec<(&'static CStr, String)> {
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
        names
            .into_iter()
            .filter(|name| exists(folder, name) && !self.is_own_link(folder, name))
            .filter_map(|name| Some((name, bad(name)?)))
            .collect()
    }

    /// The first hook that git would run.
    pub(super) fn bad_hooks(&self, folder: BorrowedFd<'_>, suspect: bool) -> Option<String> {
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
    pub(super) fn bad_config(&self, folder: BorrowedFd<'_>, name: &CStr) -> Option<String> {
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
        matches!(open_beneath(root.as_fd(), place, flags), Ok(_) | Err(Errno::NOENT))
    }
}

pub(super) fn exists(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    !matches!(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// The content of a plain file that is not too large; otherwise why not.
pub(super) fn read_plain(folder: BorrowedFd<'_>, name: &CStr, limit: u64) -> Result<Vec<u8>, &'static str> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|_| "it is no plain file")?;
    let stat = rustix::fs::fstat(&file).map_err(|_| "it is no plain file")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no plain file");
    }
    // By that it could change later without anybody being told.
    if stat.st_nlink > 1 {
        return Err("it has another name");
    }
    // One with holes costs a program nothing, and whoever reads it much.
    if u64::try_from(stat.st_size).map_or(true, |size| size > limit) {
        return Err("it cannot be read");
    }
    let mut bytes = Vec::new();
    match std::fs::File::from(file).take(limit + 1).read_to_end(&mut bytes) {
        Ok(count) if count as u64 <= limit => Ok(bytes),
        _ => Err("it cannot be read"),
    }
}
