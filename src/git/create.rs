//! A new folder of git's, as `git init` makes it (`gitrepository-layout(5)`), in a few
//! writes: git's library writes the configuration anew for each of its seven settings.
//!
//! Invariant: what git and its library say of the folder is what they say of their own.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The branch that a new repository is on, without a commit.
const BRANCH: &str = "envctl";

/// Folders that every repository has. Git takes none without `objects` and `refs`.
const FOLDERS: [&str; 6] = ["hooks", "info", "objects/info", "objects/pack", "refs/heads", "refs/tags"];

/// Makes a repository with a folder `.git` in `workspace`, which borrows the objects
/// of `objects`, and gives the place of that folder.
///
/// # Errors
/// When there is one already; when it cannot be written, or not borrowed from.
pub fn create_repository(workspace: &Path, objects: &[&Path]) -> Result<PathBuf> {
    let folder = workspace.join(".git");
    fs::create_dir_all(workspace)?;
    fs::create_dir(&folder)?;
    fill(&folder, false, objects)?;
    Ok(folder)
}

/// Makes a bare repository at `folder`, which borrows the objects of `objects`.
///
/// # Errors
/// When there is one already; when it cannot be written, or not borrowed from.
pub fn create_bare(folder: &Path, objects: &[&Path]) -> Result<()> {
    fs::create_dir_all(folder)?;
    fill(folder, true, objects)
}

fn fill(folder: &Path, bare: bool, objects: &[&Path]) -> Result<()> {
    if folder.join("HEAD").symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{} is a repository", folder.display())));
    }
    for name in FOLDERS {
        fs::create_dir_all(folder.join(name))?;
    }
    if !objects.is_empty() {
        fs::write(folder.join("objects/info/alternates"), lines(objects)?)?;
    }
    fs::write(folder.join("config"), "")?;
    fs::write(folder.join("config"), settings(folder, bare))?;
    // Last: with it the folder is a repository.
    fs::write(folder.join("HEAD"), format!("ref: refs/heads/{BRANCH}\n"))
}

/// A path a line. Git has no way to write one with a line break.
fn lines(objects: &[&Path]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for path in objects {
        let path = path.as_os_str().as_bytes();
        if path.contains(&b'\n') {
            return Err(Error::new(ErrorKind::InvalidInput, "the path of a repository contains a line break"));
        }
        text.extend([path, b"\n"].concat());
    }
    Ok(text)
}

/// The section `core`, with what git finds out about a file system.
fn settings(folder: &Path, bare: bool) -> String {
    let mut text = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = {}\n\tbare = {bare}\n",
        keeps_modes(&folder.join("config"))
    );
    if !bare {
        text.push_str("\tlogallrefupdates = true\n");
    }
    let probe = folder.join("probe");
    let has_links = symlink("config", &probe).is_ok();
    let _ = fs::remove_file(&probe);
    if !has_links {
        text.push_str("\tsymlinks = false\n");
    }
    if folder.join("CoNfIg").symlink_metadata().is_ok() {
        text.push_str("\tignorecase = true\n");
    }
    text
}

/// Whether the file system keeps it that a file can be executed.
fn keeps_modes(file: &Path) -> bool {
    let mode = || fs::symlink_metadata(file).map(|meta| meta.permissions().mode());
    let set = |mode| fs::set_permissions(file, fs::Permissions::from_mode(mode));
    let Ok(before) = mode() else { return true };
    let kept = set(before ^ 0o100).is_ok() && mode().is_ok_and(|now| now & 0o100 != before & 0o100);
    kept && set(before).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, words: &[&str]) -> String {
        let out = Command::new("git").arg("-C").arg(folder).args(words).output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn own_settings(folder: &Path) -> BTreeMap<String, String> {
        let list = git(folder, &["config", "--local", "--list"]);
        list.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
    }

    #[test]
    fn a_new_repository_is_what_git_and_its_library_make() {
        let dir = tempfile::tempdir().unwrap();
        for bare in [false, true] {
            let [ours, gits, librarys] =
                ["ours", "git", "library"].map(|name| dir.path().join(format!("{name}-{bare}")));
            if bare {
                create_bare(&ours, &[]).unwrap();
                git(dir.path(), &["init", "--bare", "--quiet", gits.to_str().unwrap()]);
                git2::Repository::init_bare(&librarys).unwrap();
            } else {
                assert_eq!(create_repository(&ours, &[]).unwrap(), ours.join(".git"));
                git(dir.path(), &["init", "--quiet", gits.to_str().unwrap()]);
                git2::Repository::init(&librarys).unwrap();
            }
            assert_eq!(own_settings(&ours), own_settings(&gits));
            assert_eq!(own_settings(&ours), own_settings(&librarys));
            assert_eq!(git(&ours, &["fsck", "--strict"]), "");
            assert_eq!(git(&ours, &["symbolic-ref", "HEAD"]), "refs/heads/envctl\n");
            let opened = git2::Repository::open(&ours).unwrap();
            assert_eq!(opened.is_bare(), bare);
            assert!(opened.head().is_err_and(|why| why.code() == git2::ErrorCode::UnbornBranch));
        }
        assert_eq!(fs::metadata(dir.path().join("ours-false/.git/config")).unwrap().permissions().mode() & 0o111, 0);
    }

    #[test]
    fn objects_of_others_are_borrowed() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] =
            ["first", "second"].map(|name| git2::Repository::init_bare(dir.path().join(name)).unwrap());
        let blobs = [first.blob(b"one").unwrap(), second.blob(b"two").unwrap()];
        let objects = [first.path().join("objects"), second.path().join("objects")];
        let ours = dir.path().join("ours");
        create_bare(&ours, &[&objects[0], &objects[1]]).unwrap();
        let ours = git2::Repository::open_bare(&ours).unwrap();
        for blob in blobs {
            assert!(ours.find_blob(blob).is_ok());
        }
        let with_break = dir.path().join("a\nb");
        assert!(create_bare(&dir.path().join("other"), &[&with_break]).is_err());
    }

    #[test]
    fn a_repository_that_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        create_bare(dir.path(), &[]).unwrap();
        fs::write(dir.path().join("config"), "[a]\n\tb = c\n").unwrap();
        assert_eq!(create_bare(dir.path(), &[]).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("config")).unwrap(), b"[a]\n\tb = c\n");
    }
}
