//! A `.git` that is no folder but says where one is.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode};

use super::Audit;
use super::folder::read_plain;
use crate::disk::descent;
use crate::git::{has_blanks, without_line_end};

/// Git refuses longer ones.
const MAX_POINTER: u64 = 1 << 20;

/// Where a path becomes too long to be followed, and so to be judged.
const MAX_PATH: usize = 4000;

impl Audit<'_> {
    /// The folder in the workspace to which a `.git` leads that is none.
    pub(super) fn pointed(&self, folder: BorrowedFd<'_>) -> Option<PathBuf> {
        let stat = rustix::fs::statat(folder, c".git", AtFlags::SYMLINK_NOFOLLOW).ok()?;
        // One that cannot be read as git reads it is renamed.
        let target = target(folder, FileType::from_raw_mode(stat.st_mode)).ok()??;
        let named = self.workspace.join(&self.path).join(OsStr::from_bytes(&target));
        let (root, real) = (std::fs::canonicalize(self.workspace).ok()?, std::fs::canonicalize(named).ok()?);
        real.strip_prefix(root).ok().map(Path::to_owned)
    }

    /// Whatever a new pointer leads to is a repository from now on, however old it
    /// is: what came with the task was none that anybody works in.
    fn newly_pointed(&mut self, folder: BorrowedFd<'_>) {
        let Some(git) = self.pointed(folder) else { return };
        // Below the workspace's own git folder all is judged by its place.
        if git.starts_with(".git") {
            return;
        }
        let Ok(opened) = self.open_place(&git) else { return };
        let Ok(opened) = rustix::fs::openat(&opened, c".", descent::folder_flags(), Mode::empty()) else { return };
        let before = std::mem::replace(&mut self.path, git);
        self.git_folder(opened.as_fd(), true, false);
        self.path = before;
    }

    /// Whether something on the way to a place in the workspace has changed during the
    /// run: a folder that was moved there is another, however old what is in it.
    pub(super) fn has_moved(&self, named: &Path) -> bool {
        let Ok(below) = named.strip_prefix(self.workspace) else { return true };
        below.ancestors().filter(|part| !part.as_os_str().is_empty()).any(|part| {
            let stat = rustix::fs::statat(CWD, self.workspace.join(part), AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| self.run.since.covers(&stat))
        })
    }

    /// A pointer out of the workspace leads to what nobody audits, such as the
    /// files of an image: one that was written inside goes.
    pub(super) fn pointer(&mut self, folder: BorrowedFd<'_>, kind: FileType) {
        let target = match target(folder, kind) {
            Ok(Some(target)) => target,
            Ok(None) => return,
            Err(why) if self.is_new(folder, c".git") => return self.quarantine(folder, c".git", why.into()),
            Err(_) => return,
        };
        let target = Path::new(OsStr::from_bytes(&target));
        let here = self.workspace.join(&self.path);
        let named = plain(&here.join(target));
        let (inside, real) = (named.starts_with(self.workspace), leads_to(&here.join(target)));
        let real_inside = std::fs::canonicalize(self.workspace).is_ok_and(|root| real.starts_with(root));
        // A link within the workspace may be turned at any time.
        let judged = real_inside && here.as_os_str().len() + target.as_os_str().len() <= MAX_PATH;
        // Git obeys a file to which a link leads as if it were here, `read_gitfile_gently`.
        if judged && kind == FileType::Symlink && std::fs::metadata(here.join(target)).is_ok_and(|meta| !meta.is_dir())
        {
            return self.quarantine(folder, c".git", "it leads to a file that says where to go on".into());
        }
        if judged
            && !is_in_git(&self.path, self.workspace, target)
            && (self.distrusts || self.is_new(folder, c".git") || self.has_moved(&named))
        {
            let why = "it leads to files of the workspace, which git takes out of commits".to_owned();
            return self.quarantine(folder, c".git", why);
        }
        let is_straight = || super::place_of(&self.path, target).is_some_and(|place| self.open_place(&place).is_ok());
        if judged && (self.distrusts || self.is_new(folder, c".git") || !is_straight()) {
            self.newly_pointed(folder);
        }
        if judged || !(inside || self.is_new(folder, c".git")) {
            return;
        }
        // A program inside sees what comes of it: nothing may depend on what is there
        // on the host, but below the path that the workspace has inside.
        if self.named_inside(&named).is_none() || here.as_os_str().len() + target.as_os_str().len() > MAX_PATH {
            self.quarantine(folder, c".git", format!("it leads out of the workspace, to {}", real.display()));
        }
    }
}

/// Whether a pointer in a folder leads into a git folder by its name, such as those of
/// submodules and worktrees: git takes nothing there out of a commit.
fn is_in_git(folder: &Path, workspace: &Path, target: &Path) -> bool {
    let below = target.strip_prefix(workspace);
    let place = below.map_or_else(|_| super::place_of(folder, target), |below| super::place_of(Path::new(""), below));
    place.is_some_and(|place| place.iter().any(|part| part == ".git"))
}

/// Where a `.git` that is no folder leads, if it leads anywhere; otherwise why git
/// and its library may disagree about that.
fn target(folder: BorrowedFd<'_>, kind: FileType) -> Result<Option<Vec<u8>>, &'static str> {
    let text = match kind {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, c".git", Vec::new()).map_err(|_| "it cannot be read")?;
            return Ok(Some(target.into_bytes()));
        }
        FileType::RegularFile => read_plain(folder, c".git", MAX_POINTER)?,
        _ => return Ok(None),
    };
    // As `read_gitfile_gently` of git's `setup.c`.
    let Some(rest) = text.strip_prefix(b"gitdir:") else { return Ok(None) };
    let target = rest.strip_prefix(b" ").map(without_line_end).ok_or("only some programs of git's read it")?;
    if target.contains(&0) {
        return Err("git reads only a part of it");
    }
    if has_blanks(target) { Err("programs of git's disagree about where it leads") } else { Ok(Some(target.to_vec())) }
}

/// Without `.` and `..`, as it is written.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Where a path leads, as far as it exists.
fn leads_to(path: &Path) -> PathBuf {
    path.ancestors().find_map(|part| std::fs::canonicalize(part).ok()).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bare, found, found_since, from_now, nested};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn case_40_a_pointer_that_programs_read_in_two_ways_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        nested(root, ".");
        bare(root, "e/.git");
        let pointers = [
            "gitdir:../e/.git\n",
            "gitdir:  ../e/.git\n",
            "gitdir: ../e/.git \n",
            "gitdir: ../e/.git\0\n",
            "gitdir: ../e/.git\x0b",
        ];
        for (at, text) in "abcds".chars().zip(pointers) {
            fs::create_dir(root.join(at.to_string())).unwrap();
            fs::write(root.join(format!("{at}/.git")), text).unwrap();
        }
        fs::write(root.join("s/.git"), "gitdir: ../e/.git\r\n\n").unwrap();
        assert_eq!(found(root), ["a/.git", "b/.git", "c/.git", "d/.git"]);
        // By its other name it could be changed without a trace.
        fs::hard_link(root.join("s/.git"), root.join("s/other")).unwrap();
        assert_eq!(found(root), ["s/.git"]);
    }

    #[test]
    fn case_40_a_link_to_a_pointer_goes_and_a_target_that_is_turned_later_is_judged() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        nested(root, ".");
        let evil = bare(root, "e/.git");
        evil_config(&evil);
        ["a", "b", "c"].iter().for_each(|name| fs::create_dir(root.join(name)).unwrap());
        fs::write(root.join("a/pointer"), "gitdir: ../e/.git\n").unwrap();
        symlink("pointer", root.join("a/.git")).unwrap();
        // Nothing is there yet.
        fs::write(root.join("b/.git"), "gitdir: ../d/.git\n").unwrap();
        symlink("../d/.git", root.join("c/.git")).unwrap();
        let since = from_now(root);
        assert_eq!(found_since(root, since), ["a/.git"], "however old it is");
        symlink("e", root.join("d")).unwrap();
        assert_eq!(found_since(root, since), ["e/.git/config"]);
    }

    #[test]
    fn case_40_a_pointer_leads_to_no_files_that_come_out_of_commits() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        nested(root, ".");
        let names = ["a", "b", "c", "d"];
        names.iter().for_each(|name| fs::create_dir(root.join(name)).unwrap());
        bare(root, "e");
        nested(root, "n");
        fs::write(root.join("a/.git"), "gitdir: ../e\n").unwrap();
        fs::write(root.join("b/.git"), "gitdir: ../not/yet\n").unwrap();
        symlink("../e", root.join("c/.git")).unwrap();
        fs::write(root.join("d/.git"), "gitdir: ../n/.git\n").unwrap();
        assert_eq!(found(root), ["a/.git", "b/.git", "c/.git"]);
    }

    #[test]
    fn case_40_an_old_pointer_does_not_lead_to_what_was_moved_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        nested(root, ".");
        evil_config(&bare(root, "evil/e"));
        fs::create_dir(root.join("s")).unwrap();
        bare(root, "q/e");
        fs::write(root.join("s/.git"), "gitdir: ../q/e\n").unwrap();
        let since = from_now(root);
        assert_eq!(found_since(root, since), Vec::<String>::new(), "the developer may have made it");
        fs::rename(root.join("q"), root.join("q2")).unwrap();
        fs::rename(root.join("evil"), root.join("q")).unwrap();
        assert_eq!(found_since(root, since), ["s/.git"]);
    }

    fn evil_config(git: &Path) {
        git2::Config::open(&git.join("config")).unwrap().set_str("core.fsmonitor", "evil").unwrap();
    }
}
