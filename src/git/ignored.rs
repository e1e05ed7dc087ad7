//! Lists of ignored files among somebody else's files. Git's library opens each by
//! its path: it would follow a link, and wait for whoever writes to a pipe. So it is
//! asked only where all the lists that decide are plain files.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::disk::beneath::Beneath;

/// No list is larger, in bytes: each is read whole.
const MAX_LIST: i64 = 16 << 20;

/// What git ignores in a checkout.
#[derive(Debug, Default)]
pub struct IgnoreLists {
    /// Whether the lists of a folder, and of those above it, are plain.
    plain: RefCell<HashMap<PathBuf, bool>>,
}

impl IgnoreLists {
    /// Whether git ignores a path of a checkout, whose working files are these; one of
    /// a folder ends with a slash. Where a list is none that git would obey, nothing
    /// is ignored.
    #[expect(clippy::disallowed_methods, reason = "the lists were looked at")]
    pub fn contains(&self, repo: &git2::Repository, files: &Beneath, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.is_plain(files, folder)) && repo.is_path_ignored(path).unwrap_or(false)
    }

    fn is_plain(&self, files: &Beneath, folder: &Path) -> bool {
        if let Some(known) = self.plain.borrow().get(folder) {
            return *known;
        }
        let is_plain = folder.parent().is_none_or(|above| self.is_plain(files, above)) && has_plain_list(files, folder);
        self.plain.borrow_mut().insert(folder.to_owned(), is_plain);
        is_plain
    }
}

/// The lists below a folder, of ignored files and of attributes, that are no plain
/// files: git's library would follow them, or wait for them.
///
/// # Errors
/// When a folder cannot be read.
pub fn odd_lists(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut odd, mut pending) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
            let kind = entry?;
            let name = path.file_name().unwrap_or_default();
            if kind.is_dir() && name != ".git" {
                pending.push(path);
            } else if [".gitignore", ".gitattributes"].iter().any(|list| name == *list)
                && !(kind.is_file() && path.symlink_metadata()?.len() <= MAX_LIST as u64)
            {
                odd.push(path);
            }
        }
    }
    Ok(odd)
}

/// Whether a folder is one, and its list is a plain file or is not there.
fn has_plain_list(files: &Beneath, folder: &Path) -> bool {
    let kind = |path: &Path| files.stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let is_folder = folder.as_os_str().is_empty() || kind(folder) == Some(FileType::Directory);
    let list = files.stat(&folder.join(".gitignore"));
    is_folder
        && list.is_none_or(|list| {
            FileType::from_raw_mode(list.st_mode) == FileType::RegularFile && list.st_size <= MAX_LIST
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode};

    use super::*;

    #[test]
    fn no_list_is_opened_that_is_no_plain_file() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for folder in ["plain/deep", "linked", "pipe/deep", "led"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::create_dir(&outside).unwrap();
        fs::write(root.join(".gitignore"), "*.log\n").unwrap();
        fs::write(root.join("plain/.gitignore"), "built/\n").unwrap();
        fs::write(outside.join(".gitignore"), "*\n").unwrap();
        symlink(outside.join(".gitignore"), root.join("linked/.gitignore")).unwrap();
        // Who opened it would wait for ever.
        rustix::fs::mknodat(CWD, root.join("pipe/.gitignore"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink(&outside, root.join("away")).unwrap();
        let repo = git2::Repository::init(&root).unwrap();
        let files = Beneath::open(&root).unwrap();
        let ignored = IgnoreLists::default();
        let is = |path: &str| ignored.contains(&repo, &files, Path::new(path));
        assert!(is("a.log") && is("plain/a.log") && is("plain/deep/a.log") && is("plain/built/") && !is("plain/a"));
        assert!(!is("linked/a") && !is("linked/a.log") && !is("pipe/a.log") && !is("pipe/deep/a.log"));
        assert!(!is("away/a.log") && is("led/a.log") && !is("led/a"));
        let mut odd = odd_lists(&root).unwrap();
        odd.sort();
        assert_eq!(odd, [root.join("linked/.gitignore"), root.join("pipe/.gitignore")]);
    }
}
