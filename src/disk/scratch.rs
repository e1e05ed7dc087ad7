//! Private temporary folders whose lock says whether their maker still lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};

use super::{lock, remove};

/// A locked temporary folder; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one under `root/tmp`, after clearing those of dead makers.
    ///
    /// # Errors
    /// When the folder cannot be made or locked.
    pub fn create(root: &Path) -> Result<Self> {
        Self::create_in(&root.join("tmp"), "")
    }

    /// Makes one in `parent` whose name starts with `prefix`, after clearing
    /// those of dead makers with the same prefix.
    ///
    /// # Errors
    /// As [`Scratch::create`].
    pub fn create_in(parent: &Path, prefix: &str) -> Result<Self> {
        super::create_private_dir(parent)?;
        sweep(parent, prefix, |path| remove::tree(path).map(drop));
        loop {
            let path = tempfile::Builder::new()
                .prefix(prefix)
                .tempdir_in(parent)
                .with_context(|| format!("cannot create a temporary folder in {}", parent.display()))?
                .keep();
            // A sweep of another process may have come between the two steps.
            if let Ok(file) = File::open(&path)
                && lock::try_exclusive(&file)?
                && path.exists()
            {
                return Ok(Scratch { path, _lock: file });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove::tree(&self.path);
    }
}

/// Removes the user's own folders whose lock can be taken, and says which.
/// Failures wait for next time: recovery must not stand in the way of the command
/// that runs it. What others put beside them is not even waited for.
pub fn sweep(parent: &Path, prefix: &str, remove: impl Fn(&Path) -> Result<()>) -> Vec<PathBuf> {
    let mut gone = Vec::new();
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| ours(&entry.file_name())) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // The lock is held until the folder is gone: its maker may be about to
        // take it, and would go on in a folder that is being removed.
        if let Ok(folder) = rustix::fs::openat(CWD, entry.path(), flags, Mode::empty()).map(File::from)
            && rustix::fs::fstat(&folder).is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw())
            && lock::try_exclusive(&folder).unwrap_or(false)
            && remove(&entry.path()).is_ok()
        {
            gone.push(entry.path());
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_51_what_a_dead_process_left_is_cleared_and_a_live_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let live = Scratch::create(root.path()).unwrap();
        let dead = root.path().join("tmp/dead");
        fs::create_dir_all(dead.join("half")).unwrap();
        let other = Scratch::create(root.path()).unwrap();
        assert!(!dead.exists());
        assert!(live.path().exists());
        let gone = other.path().to_owned();
        drop(other);
        assert!(!gone.exists());
    }

    #[test]
    fn case_51_nobody_gets_a_folder_while_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("x-folder")).unwrap();
        let gone = sweep(dir.path(), "x-", |path| {
            assert!(!lock::try_exclusive(&File::open(path)?)?, "its maker could lock it now");
            remove::tree(path).map(drop)
        });
        assert_eq!(gone, [dir.path().join("x-folder")]);
    }

    #[test]
    fn case_51_a_pipe_or_a_link_with_such_a_name_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("x-pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        std::os::unix::fs::symlink("other", dir.path().join("x-link")).unwrap();
        fs::create_dir(dir.path().join("x-folder")).unwrap();
        let gone = sweep(dir.path(), "x-", |path| remove::tree(path).map(drop));
        assert_eq!(gone, [dir.path().join("x-folder")]);
    }
}
