//! The workspace's own git folder. Most of what git obeys there is read-only
//! inside, as long as nobody on the host removes it: what has the name of such
//! a thing afterwards is protected by nothing, and is looked at here.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::protect::{TARGET, is_head};
use super::folder::{exists, read_plain};
use super::operations::prints_plainly;
use super::{Audit, Now, Planted, hints, index, settings};
use crate::disk::beneath::open_beneath;
use crate::disk::{closed, descent};
use crate::git::{MAX_INDEX, has_blanks, without_line_end};

/// What the shared parts of split indexes begin with.
pub(in super::super) const SHARED: &[u8] = b"sharedindex.";

/// The largest index of a nested repository that is read while programs run, in bytes:
/// that of some 300,000 files.
const MAX_LIVE_INDEX: i64 = 32 << 20;

/// No file that says where something lies is larger, in bytes.
const MAX_POINTER: u64 = 4096;

impl Audit<'_> {
    /// The workspace's own: what is not read-only inside.
    pub(super) fn own_folder(&mut self, folder: BorrowedFd<'_>) {
        self.replaced(folder);
        self.own_config(folder);
        self.own_head(folder);
        self.words(folder, false);
        self.operations(folder, false);
        self.old_remotes(folder, false);
        self.bad_index(folder, false);
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
                None => {
                    let _ = rustix::fs::renameat(folder, name, folder, TARGET);
                }
            }
        }
        if let Err(error) = rustix::fs::symlinkat(TARGET, folder, name) {
            self.unseen(name, error);
        }
    }

    /// Names in the index lead git to where it writes; so do those in the shared
    /// part of a split one.
    pub(super) fn bad_index(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        if self.is_left_to_the_end(folder, c"index") {
            return;
        }
        let id = self.object_name(folder);
        for name in self.index_files(folder, touched) {
            if self.is_left_to_the_end(folder, &name) {
                continue;
            }
            let before = hints::inode(folder, &name);
            let why = match read_plain(folder, &name, MAX_INDEX) {
                // Git refuses such a one, and somebody may write it just now.
                Ok(text) if text.is_empty() => continue,
                Ok(text) => match index::judge(&text, id) {
                    Ok(read) if lacks_part(folder, &read) => Some("a part of it is missing".to_owned()),
                    Ok(read) => hints::without(&read).and_then(|plain| {
                        let why = || "git would look at folders that it names, wherever they are".to_owned();
                        (!hints::exchange(folder, &name, before, &plain)).then(why)
                    }),
                    Err(why) => Some(why),
                },
                Err(why) => Some(why.into()),
            };
            let Some(why) = why else { continue };
            // One that cannot be read was judged before this part of it.
            let whole = read_plain(folder, c"index", MAX_INDEX).unwrap_or_default();
            let is_part = index::shared(&whole, id).is_some_and(|shared| shared.as_bytes() == name.to_bytes());
            self.quarantine(folder, &name, why.clone());
            if is_part {
                // Git refuses to work with one of which a part is missing.
                self.quarantine(folder, c"index", why);
            }
        }
    }

    /// Whether an index of a nested repository is so large that a look at it would keep
    /// others waiting while programs run. At the end every one is read.
    fn is_left_to_the_end(&self, folder: BorrowedFd<'_>, name: &CStr) -> bool {
        let is_large = |stat: rustix::fs::Stat| stat.st_size > MAX_LIVE_INDEX;
        self.goes_on
            && self.path != Path::new(".git")
            && rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_large)
    }

    /// How many bytes the name of an object has in a repository.
    fn object_name(&self, folder: BorrowedFd<'_>) -> usize {
        const SHA1: usize = 20;
        const SHA256: usize = 32;
        // That of a worktree is the repository's.
        let main = self.path.parent().and_then(Path::parent).filter(|_| exists(folder, c"commondir"));
        let place = main.unwrap_or(&self.path);
        if place == Path::new(".git") {
            return SHA1;
        }
        // Configuration that cannot be read, or says something else, is renamed.
        let text = self.open_place(place).ok().and_then(|opened| self.config_text(opened.as_fd()).ok());
        if text.is_some_and(|text| settings::has_sha256(&text)) { SHA256 } else { SHA1 }
    }

    /// The files of the index that are new, or any where age means nothing: of the shared
    /// parts that which it names, whatever their age where it is new itself.
    pub(super) fn index_files(&self, folder: BorrowedFd<'_>, touched: bool) -> Vec<CString> {
        let suspect = |name: &CStr| exists(folder, name) && (touched || self.is_new(folder, name));
        let is_new = suspect(c"index");
        let mut has_part = false;
        // From its beginning: it may have been listed.
        if let Ok(again) = rustix::fs::openat(folder, c".", descent::folder_flags(), Mode::empty()) {
            let _ = descent::list(again.as_fd(), |name, _| has_part |= is_shared(name));
        }
        let mut files = Vec::new();
        if has_part {
            let whole = read_plain(folder, c"index", MAX_INDEX).unwrap_or_default();
            let named = index::shared(&whole, self.object_name(folder)).and_then(|name| CString::new(name).ok());
            files.extend(named.filter(|name| exists(folder, name) && (is_new || suspect(name))));
        }
        files.extend(is_new.then(|| c"index".to_owned()));
        files
    }

    /// The folders that the index names as repositories, where it is new.
    pub(super) fn linked(&self, folder: BorrowedFd<'_>) -> Vec<PathBuf> {
        let mut linked = Vec::new();
        for name in self.index_files(folder, false) {
            // One that cannot be read as git reads it is renamed.
            let text = read_plain(folder, &name, MAX_INDEX).unwrap_or_default();
            let _ = index::entries(&text, self.object_name(folder), |entry| {
                if entry.mode == index::GITLINK {
                    linked.push(PathBuf::from(std::ffi::OsStr::from_bytes(entry.name)));
                }
            });
        }
        linked
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
                self.changed(name, "it was missing or damaged, and says again what it said before the run".into())
            }
            // A program inside has just made one.
            Err(Errno::EXIST) => {}
            Err(error) => self.unseen(name, error),
        }
    }

    /// The link to the workspace's own configuration.
    pub(super) fn is_own_link(&self, folder: BorrowedFd<'_>, name: &CStr) -> bool {
        let target = || rustix::fs::readlinkat(folder, name, Vec::new());
        // In any other git folder a program may have made both.
        self.path == Path::new(".git")
            && name == c"config"
            && target().is_ok_and(|target| target.to_bytes() == TARGET.as_bytes())
    }

    /// Whether a `commondir` file names the workspace's own git folder: such is
    /// a worktree that was added to it.
    pub(super) fn leads_to_own(&self, folder: BorrowedFd<'_>) -> bool {
        let Ok(text) = read_plain(folder, c"commondir", MAX_POINTER) else { return false };
        let named = Path::new(OsStr::from_bytes(without_line_end(&text)));
        // Not by a link, which can be turned later.
        super::place_of(&self.path, named).is_some_and(|place| place == Path::new(".git"))
    }

    /// Whether this is the git folder of a worktree that was added to the
    /// repository above it, as git makes one, `git-worktree(1)`. That one is judged
    /// by its name, or as a submodule's. Of another nobody is told when it changes.
    pub(super) fn is_linked_worktree(&self, folder: BorrowedFd<'_>) -> bool {
        let mut above = self.path.iter().rev().skip(1);
        above.next() == Some(OsStr::new("worktrees"))
            && (above.next() == Some(OsStr::new(".git")) || self.superproject().is_some())
            && read_plain(folder, c"commondir", MAX_POINTER).is_ok_and(|text| without_line_end(&text) == b"../..")
    }

    /// What was read-only inside and is not the same thing any more.
    fn replaced(&mut self, git: BorrowedFd<'_>) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = rustix::fs::openat(CWD, self.workspace, flags, Mode::empty()) else { return };
        // A program that closes a folder for a moment has replaced nothing in it. It is
        // opened again, and looked at again; at the end nobody can close it.
        let goes_on = self.goes_on;
        let is_other = |now: Now| now == Now::Other || now == Now::Closed && !goes_on;
        for known in self.run.kept.iter().filter(|known| is_other(known.now(root.as_fd()))) {
            match known.path.as_os_str().as_bytes() {
                b".git" => self.git_folder(git, true, false),
                b".git/hooks" => {
                    if let Some(why) = self.bad_hooks(git, true) {
                        self.quarantine(git, c"hooks", why);
                    }
                }
                b".git/commondir" if !self.leads_to_own(git) => {
                    self.quarantine(git, c"commondir", "it leads to another configuration".into());
                }
                b".git/envctl" => self.replaced_config(git),
                b".git/objects/info/alternates" => {
                    let why = "it was replaced during the run, and says where git finds objects".to_owned();
                    self.found.unseen.push(Planted { path: known.path.clone(), why });
                }
                _ => {}
            }
        }
    }

    /// What a run adds to the list of ignored files no diff shows, and what is
    /// ignored counts as nothing that could be lost: that is told.
    pub(super) fn excludes(&mut self, root: BorrowedFd<'_>) {
        let name = c".git/info/exclude";
        if exists(root, name) && self.is_new(root, name) {
            self.changed(name, "files that it names count as ignored: they are neither published nor salvaged".into());
        }
    }

    /// A program inside can let other accounts of this machine into folders of the workspace,
    /// where they could lay what git obeys.
    pub(super) fn close_to_others(&mut self, root: BorrowedFd<'_>) {
        for known in self.run.kept {
            let path = known.path.clone();
            match known.close_to_others(root) {
                Ok(false) => {}
                Ok(true) => {
                    let why = "other accounts could write to it, and cannot any more".to_owned();
                    self.found.changed.push(Planted { path, why });
                }
                Err(error) => {
                    let why = format!("whether other accounts can write to it is not known: {error}");
                    self.found.unseen.push(Planted { path, why });
                }
            }
        }
    }

    /// Where other accounts get as far as to the workspace, files count as well.
    pub(super) fn close_all(&mut self, root: BorrowedFd<'_>) {
        if !closed::is_reached_by_others(self.workspace) {
            return;
        }
        let path = || PathBuf::from(".");
        let (closed, unseen) = closed::close(root, closed::umask());
        if closed > 0 {
            let why = format!("other accounts could write to {closed} files or folders, and cannot any more");
            self.found.changed.push(Planted { path: path(), why });
        }
        if unseen > 0 {
            let why = format!("whether other accounts can write to {unseen} files or folders is not known");
            self.found.unseen.push(Planted { path: path(), why });
        }
    }

    /// What another account laid in the place of a folder while it was let in is still its own.
    pub(super) fn of_others(&mut self, root: BorrowedFd<'_>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(git) = open_beneath(root, Path::new(".git"), flags) else { return };
        let Ok(own) = rustix::fs::fstat(root).map(|stat| stat.st_uid) else { return };
        for name in [c"hooks", c"info", c"logs", c"modules", c"worktrees", c"envctl"] {
            let owner = rustix::fs::statat(&git, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_uid);
            if owner.is_ok_and(|owner| owner != own && owner != 0) {
                let before = std::mem::replace(&mut self.path, PathBuf::from(".git"));
                self.quarantine(git.as_fd(), name, "it belongs to another account".into());
                self.path = before;
            }
        }
    }

    /// Hooks cannot be written inside. But git on the host writes what an index
    /// names, and a program inside can write to that.
    pub(super) fn late_hooks(&mut self, root: BorrowedFd<'_>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(hooks) = open_beneath(root, Path::new(".git/hooks"), flags) else { return };
        let mut late = Vec::new();
        let listed = descent::list(hooks.as_fd(), |name, _| late.push(name.to_owned()));
        let before = std::mem::replace(&mut self.path, PathBuf::from(".git/hooks"));
        if let Err(error) = listed {
            self.unseen(c"", error);
        }
        // No hook has a dot in its name.
        for name in late.iter().filter(|name| !name.to_bytes().contains(&b'.')) {
            if self.is_new(hooks.as_fd(), name) {
                let why = "it came while programs ran in the workspace; rename it back if it is yours".to_owned();
                self.quarantine(hooks.as_fd(), name, why);
            }
        }
        self.path = before;
    }

    fn replaced_config(&mut self, git: BorrowedFd<'_>) {
        let Ok(descent::Opened::Open(folder)) = descent::open(git, c"envctl") else { return };
        let before = std::mem::replace(&mut self.path, PathBuf::from(".git/envctl"));
        if exists(folder.as_fd(), c"config")
            && let Some(why) = self.bad_config(folder.as_fd(), c"config")
        {
            self.quarantine(folder.as_fd(), c"config", why);
        }
        self.path = before;
    }

    /// A worktree that was added: `git worktree repair` writes to where its
    /// `gitdir` leads. One outside of the workspace knows its place, which no
    /// program inside could have told it.
    pub(super) fn worktree(&mut self, folder: BorrowedFd<'_>, touched: bool) {
        // Both are printed by `git worktree list`.
        let reason = c"locked";
        if exists(folder, reason)
            && (touched || self.is_new(folder, reason))
            && !read_plain(folder, reason, MAX_POINTER).is_ok_and(|text| prints_plainly(&text))
        {
            self.quarantine(folder, reason, "git would print it to the terminal".into());
        }
        let name = c"gitdir";
        if !exists(folder, name) {
            return;
        }
        let suspect = touched || self.is_new(folder, name);
        // Git takes blanks off its end, too.
        let text = read_plain(folder, name, MAX_POINTER).ok();
        let text = text.filter(|text| !has_blanks(without_line_end(text)) && prints_plainly(text));
        let named = PathBuf::from(OsStr::from_bytes(without_line_end(text.as_deref().unwrap_or_default())));
        let below = named.strip_prefix(self.workspace);
        // A program inside sees what comes of it, and must not learn what exists
        // outside: that is judged when none is left.
        if self.goes_on && below.is_err() && named.is_absolute() {
            return;
        }
        // However old it is: a folder on the way may be a link by now.
        let may_turn = suspect || below.is_ok() || named.is_relative();
        let leads_home = text.is_some() && {
            let here = self.workspace.join(&self.path);
            let pointer = here.join(&named);
            let place = match below {
                Ok(below) => super::place_of(Path::new(""), below),
                Err(_) => super::place_of(&self.path, &named),
            };
            let folder = place.as_deref().and_then(Path::parent);
            let inside = folder.is_some_and(|folder| self.open_place(folder).is_ok());
            inside || !may_turn || self.named_inside(&named).is_some() || knows(&pointer, &here)
        };
        if !leads_home && may_turn {
            self.quarantine(folder, name, "git worktree repair would write to where it leads".into());
        }
    }
}

/// Whether the shared part that a split index names is not there.
fn lacks_part(folder: BorrowedFd<'_>, read: &index::ReadIndex<'_>) -> bool {
    read.shared().and_then(|name| CString::new(name).ok()).is_some_and(|part| !exists(folder, &part))
}

/// Whether this is the name of a shared part, and not of one that was put away.
fn is_shared(name: &CStr) -> bool {
    let id = name.to_bytes().strip_prefix(SHARED).unwrap_or_default();
    !id.is_empty() && id.iter().all(u8::is_ascii_hexdigit)
}

/// Whether the `.git` of a worktree names this as its git folder.
fn knows(pointer: &Path, git_folder: &Path) -> bool {
    let (Some(parent), Some(name)) = (pointer.parent(), pointer.file_name()) else { return false };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(parent) = rustix::fs::openat(CWD, parent, flags, Mode::empty()) else { return false };
    let Ok(name) = std::ffi::CString::new(name.as_bytes()) else { return false };
    let is_plain = rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    is_plain
        && read_plain(parent.as_fd(), &name, MAX_POINTER).is_ok_and(|text| {
            let named = without_line_end(text.strip_prefix(b"gitdir: ").unwrap_or_default());
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            real(Path::new(std::ffi::OsStr::from_bytes(named))).is_some_and(|named| Some(named) == real(git_folder))
        })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{INSIDE, found, nested};
    use super::super::{Audited, AuditedRun, look_at, look_at_own};
    use std::fs;
    use std::path::Path;

    #[test]
    fn a_program_inside_does_not_learn_what_exists_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let own = nested(root, ".");
        let places = ["/etc/hostname".to_owned(), "/none/such".into(), format!("{INSIDE}/w/.git"), "/proc/1/x".into()];
        for (n, place) in places.iter().enumerate() {
            let git = own.join(format!("worktrees/{n}"));
            fs::create_dir_all(&git).unwrap();
            fs::write(git.join("HEAD"), "ref: refs/heads/w\n").unwrap();
            fs::write(git.join("commondir"), "../..\n").unwrap();
            fs::write(git.join("gitdir"), format!("{place}\n")).unwrap();
            fs::create_dir(root.join(n.to_string())).unwrap();
            fs::write(root.join(format!("{n}/.git")), format!("gitdir: {place}\n")).unwrap();
        }
        // While it runs.
        let run = AuditedRun { inside: Some(Path::new(INSIDE)), ..AuditedRun::default() };
        for n in 0..places.len() {
            let found = look_at_own(root, Path::new(&format!(".git/worktrees/{n}")), run);
            assert_eq!(found, Audited::default(), "{n}");
            assert_eq!(look_at(root, Path::new(&n.to_string()), run).renamed.len(), usize::from(n != 2), "{n}");
        }
        let gone = [0, 1, 3].map(|n| format!(".git/worktrees/{n}/gitdir"));
        assert_eq!(found(root), gone);
    }

    #[test]
    fn worktrees_of_nested_repositories_are_judged_by_their_repository() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        nested(root, ".");
        let git = |words: &[&str]| {
            let done = std::process::Command::new("git").arg("-C").arg(root).args(words).output().unwrap();
            assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        git(&["init", "-q", "--object-format=sha256", "n"]);
        fs::write(root.join("n/file"), "x").unwrap();
        git(&["-C", "n", "add", "-A"]);
        git(&["-C", "n", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]);
        git(&["-C", "n", "worktree", "add", "-q", "../w"]);
        let gitdir = root.join("n/.git/worktrees/w/gitdir");
        fs::write(&gitdir, format!("{INSIDE}/w/.git\n")).unwrap();
        fs::write(root.join("w/.git"), "gitdir: ../n/.git/worktrees/w\n").unwrap();
        let index = "n/.git/worktrees/w/index";
        assert!(!found(root).iter().any(|path| path == index || path.ends_with("gitdir")), "{:?}", found(root));
        fs::write(&gitdir, "/etc/.git\n").unwrap();
        assert!(found(root).iter().any(|path| path == "n/.git/worktrees/w/gitdir"));
    }
}
