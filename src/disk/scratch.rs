//! Private temporary folders whose lock says whether their maker still lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// Removes the folders whose lock can be taken, and says which. Failures wait
/// for next time: recovery must not stand in the way of the command that runs it.
pub fn sweep(parent: &Path, prefix: &str, remove: impl Fn(&Path) -> Result<()>) -> Vec<PathBuf> {
    let mut gone = Vec::new();
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| ours(&entry.file_name())) {
        if let Ok(file) = File::open(entry.path())
            && lock::try_exclusive(&file).unwrap_or(false)
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
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
}
