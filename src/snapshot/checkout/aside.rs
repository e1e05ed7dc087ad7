//! Copies of a checkout's files in a folder of ours, for git to read. Somebody may
//! change the checkout meanwhile, so two paths of one list need not agree: nothing
//! here is a link, nothing is reached through one, and a file is always a new one.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::moment::fleeting;
use crate::disk::beneath::Beneath;

#[derive(Debug)]
pub(in crate::snapshot) struct CopiesForGit(PathBuf);

impl CopiesForGit {
    /// In this folder, which is there.
    pub(in crate::snapshot) fn in_folder(folder: PathBuf) -> Self {
        CopiesForGit(folder)
    }

    pub(in crate::snapshot) fn folder(&self) -> &Path {
        &self.0
    }

    /// Makes a file of this mode, in place of what an earlier pass left there.
    ///
    /// # Errors
    /// When one path lies below another, which is no folder: the checkout was changed
    /// between two looks. When the file cannot be made.
    pub(in crate::snapshot) fn create(&self, path: &Path, mode: u32) -> Result<File> {
        let folder = Beneath::open(&self.0)?;
        let above: Vec<&Path> = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).collect();
        let is_folder = |path: &Path| folder.list(path).is_ok();
        if above.first().is_some_and(|parent| !is_folder(parent)) {
            for parent in above.iter().rev() {
                folder.make_folder(parent)?;
                if !is_folder(parent) {
                    return Err(fleeting(parent));
                }
            }
        }
        let place = folder.place(path)?;
        let _ = std::fs::remove_file(place.path());
        let made = File::options().write(true).create_new(true).mode(mode).open(place.path());
        if made.is_err() && is_folder(path) {
            return Err(fleeting(path));
        }
        made.with_context(|| format!("cannot write a copy of {}", path.display()))
    }

    /// Removes a file, if it is there.
    pub(in crate::snapshot) fn remove(&self, path: &Path) {
        if let Ok(place) = Beneath::open(&self.0).and_then(|folder| folder.place(path)) {
            let _ = std::fs::remove_file(place.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_is_written_through_a_link_or_into_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, home) = (dir.path().join("ours"), dir.path().join("home"));
        [&ours, &home].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        std::fs::write(home.join("kept"), "mine").unwrap();
        let aside = CopiesForGit::in_folder(ours.clone());
        let write = |path: &str| aside.create(Path::new(path), 0o644)?.write_all(b"theirs").context("written");
        std::os::unix::fs::symlink(&home, ours.join("d")).unwrap();
        assert!(write("d/kept").is_err() && write("d/new").is_err() && write("d/deep/new").is_err());
        aside.remove(Path::new("d/kept"));
        std::os::unix::fs::symlink(home.join("kept"), ours.join("link")).unwrap();
        std::fs::hard_link(home.join("kept"), ours.join("hard")).unwrap();
        write("link").unwrap();
        write("hard").unwrap();
        assert_eq!(std::fs::read_to_string(home.join("kept")).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
        // Two paths that cannot be there together.
        write("a/b/c").unwrap();
        write("a/b/c").unwrap();
        let said = |path| format!("{:#}", write(path).unwrap_err());
        assert!(said("a/b").contains("became something else") && said("a/b/c/d").contains("became something else"));
        aside.remove(Path::new("a/b/c"));
        aside.remove(Path::new("never/there"));
        write("a/b/c/d").unwrap();
    }
}
