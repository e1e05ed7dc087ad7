//! Making a workspace: built in a private folder beside its place, then moved.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, RenameFlags};
use rustix::io::Errno;

use super::mirror::Mirror;
use crate::crash;
use crate::disk::scratch::Scratch;
use crate::error::{policy, usage};
use crate::git::{Author, Git, add_settings, create_repository};

/// How a workspace under construction is named, beside its place.
const DRAFT: &str = ".envctl-draft-";

/// A workspace under construction; gone again unless it is finished.
#[derive(Debug)]
pub struct WorkspaceDraft {
    folder: Scratch,
    place: PathBuf,
}

/// Whether `.git` of a folder that holds nothing else is found by another spelling.
fn folds_case(draft: &Path) -> bool {
    draft.join(".GIT").symlink_metadata().is_ok()
}

impl WorkspaceDraft {
    /// Starts a clone for `place` that borrows the mirror's objects. `replaces`
    /// says that what is there is known and will be set aside.
    ///
    /// # Errors
    /// When something is at `place` already.
    pub fn new(place: &Path, mirror: &Mirror, remote: &str, url: &str, replaces: bool) -> Result<Self> {
        let occupied = || fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some());
        if (!replaces && occupied()) || place.is_file() {
            return Err(usage(format!("{} is not empty", place.display()))
                .hint("name a folder that does not exist yet: --into DIR")
                .into());
        }
        let Some(parent) = place.parent() else { bail!("{} cannot be a workspace", place.display()) };
        let folder = Scratch::create_in(parent, DRAFT)?;
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777 & !umask.as_raw_mode()))?;
        let draft = WorkspaceDraft { folder, place: place.to_owned() };
        crash::point("cold.workspace-begun");
        draft.init(mirror, remote, url).with_context(|| format!("cannot prepare the workspace {}", place.display()))?;
        if folds_case(draft.path()) {
            return Err(policy(format!(
                "{} lies in a folder that takes upper and lower case for the same, where .GIT would stand in for .git",
                place.display()
            ))
            .hint("name a folder elsewhere: --into DIR, or XDG_DATA_HOME for all workspaces")
            .into());
        }
        Ok(draft)
    }

    /// Where it is being built.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn init(&self, mirror: &Mirror, remote: &str, url: &str) -> Result<()> {
        let git_dir = create_repository(self.path(), &[&mirror.objects()])?;
        // Present from the start, as `hooks` and `info` are, so that the runtime can
        // protect it: a program inside could otherwise make it and redirect git outside.
        // With the slash, because libgit2 takes "." for the folder above.
        fs::write(git_dir.join("commondir"), "./\n")?;
        let refspec = format!("+refs/heads/*:refs/remotes/{remote}/*");
        let settings = [(format!("remote.{remote}.url"), url), (format!("remote.{remote}.fetch"), &refspec)];
        Ok(add_settings(&git_dir.join("config"), &settings)?)
    }

    /// Who the developer is to this remote. The workspace must not have been
    /// personalised yet: git would find what stands there.
    pub fn author(&self, git: &Git, mail: Option<String>) -> Author {
        git.author(&self.path().join(".git"), mail)
    }

    /// Lets git in the workspace reach the remote where it is reachable from
    /// here, and commit in the developer's name inside a runtime too, where
    /// their own configuration is not.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn personalise(&self, reachable: &str, published: &str, author: Author) -> Result<()> {
        let instead = (reachable != published).then(|| published.to_owned());
        let own = [
            (format!("url.{reachable}.insteadOf"), instead),
            ("user.name".to_owned(), author.name),
            ("user.email".to_owned(), author.email),
        ];
        let settings: Vec<_> = own.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(add_settings(&self.path().join(".git/config"), &settings)?)
    }

    /// Moves the finished workspace to its place, and what is there to `aside`,
    /// in one step where the file system can. It is not flushed yet: see
    /// [`flush`].
    ///
    /// # Errors
    /// When something has appeared there meanwhile; then it is as it was.
    pub fn finish(self, aside: Option<&Path>) -> Result<()> {
        super::protect(self.path())?;
        let context = || format!("cannot move the workspace to {}", self.place.display());
        // Not changed again, from inside or outside: everything that is as old
        // came with the workspace.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let now = rustix::fs::Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, self.path().join(".git/commondir"), &now, AtFlags::SYMLINK_NOFOLLOW)
            .with_context(context)?;
        let Some(aside) = aside else {
            return fs::rename(self.path(), &self.place).with_context(context);
        };
        // Nothing that clears dead drafts may find the old one under a draft's
        // name: the new one goes where the old one is to be, then both change
        // places.
        fs::rename(self.path(), aside).with_context(context)?;
        crash::point("refresh.set-aside");
        let exchanged = match rustix::fs::renameat_with(CWD, aside, CWD, &self.place, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.exchange_slowly(aside),
            other => other.map_err(Into::into),
        };
        if let Err(error) = exchanged {
            // Back to where it is cleared.
            let _ = fs::rename(aside, self.path());
            return Err(error).with_context(context);
        }
        crash::point("refresh.exchanged");
        Ok(())
    }

    /// By three renames, each of which leaves both in some place.
    fn exchange_slowly(&self, aside: &Path) -> std::io::Result<()> {
        let mut between = aside.as_os_str().to_owned();
        between.push("-old");
        fs::rename(&self.place, &between)?;
        if let Err(error) = fs::rename(aside, &self.place) {
            let _ = fs::rename(&between, &self.place);
            return Err(error);
        }
        fs::rename(&between, aside)
    }
}

/// Makes sure that a workspace survives a power loss.
///
/// # Errors
/// When the file system cannot be flushed.
pub fn flush(workspace: &Path) -> Result<()> {
    let folder = fs::File::open(workspace).with_context(|| format!("cannot open {}", workspace.display()))?;
    rustix::fs::syncfs(&folder).context("cannot flush the workspace")
}

/// Whether a folder holds a workspace.
pub fn is_workspace(path: &Path) -> bool {
    path.join(".git/objects/info/alternates").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_finds_git_by_another_spelling_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert!(!folds_case(dir.path()));
        // As a folder that folds case answers.
        fs::create_dir(dir.path().join(".GIT")).unwrap();
        assert!(folds_case(dir.path()));
    }
}
