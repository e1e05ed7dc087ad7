//! Opening a checkout, which may be one in which hostile code ran. Git and its
//! library wait for whoever writes to a pipe: there must be none where they read.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Result;

use crate::disk::beneath::Beneath;
use crate::error::{Fault, failure, not_found, policy};
use crate::git::{large_file, large_ref};
use crate::shell::quote;

/// Files of a git folder that git's library opens.
const LOOKED_AT: [&str; 11] = [
    "HEAD",
    "gitdir",
    "config",
    "config.worktree",
    "commondir",
    "packed-refs",
    "info/attributes",
    "info/exclude",
    "info/grafts",
    "index",
    "objects/info/alternates",
];

/// Folders of a git folder that are read by git itself.
const READ: [&str; 4] = ["refs", "logs", "objects", "modules"];

/// Opens the checkout that holds `dir`.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none; a repository that
/// belongs to somebody else is refused with the remedy.
pub fn open(dir: &Path) -> Result<git2::Repository> {
    // Not by the git folder that was found: a checkout whose git folder lies
    // elsewhere would be taken for the folder around that.
    let across = git2::RepositoryOpenFlags::CROSS_FS;
    if let Ok(git_dir) = git2::Repository::discover_path(dir, std::iter::empty::<&std::ffi::OsStr>()) {
        check_readable(&git_dir)?;
    }
    let opened = git2::Repository::open_ext(dir, across, std::iter::empty::<&std::ffi::OsStr>());
    let repo = opened.map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => not_found(format!("{} is not inside a git checkout", dir.display()))
            .hint("run this in the checkout of the task"),
        git2::ErrorCode::Owner => policy(format!("the repository at {} belongs to another user", dir.display())).hint(
            format!("if you trust it: git config --global --add safe.directory {}", quote(&dir.display().to_string())),
        ),
        _ if ["objectformat", "object format", "oid type"].iter().any(|word| error.message().contains(word)) => {
            policy("repositories with SHA-256 object names are not supported")
                .hint("publish from a repository with SHA-1 object names")
        }
        _ if error.message().contains("unsupported extension") => policy(format!(
            "the repository at {} is of a kind that envctl cannot read: {}",
            dir.display(),
            error.message()
        ))
        .hint("publish from a plain clone: git clone --no-local --ref-format=files"),
        _ => failure(format!("cannot open the repository at {}: {}", dir.display(), error.message())),
    })?;
    refuse_pipes(repo.commondir())?;
    if repo.path() != repo.commondir() {
        refuse_pipes(repo.path())?;
    }
    if repo.is_bare() {
        return Err(failure(format!("{} is a bare repository", dir.display())).hint("run this in a checkout").into());
    }
    Ok(repo)
}

/// Opens the repository of a checkout for git's library alone, which reads the
/// configuration, the index and refs of it: `dir` is its root.
///
/// # Errors
/// When it is none, or something else lies where a file is read.
pub fn library(dir: &Path) -> Result<git2::Repository> {
    check_root(dir)?;
    Ok(git2::Repository::open(dir)?)
}

/// Looks at the files that git's library opens with the repository of a checkout.
///
/// # Errors
/// As [`library`].
pub(in crate::snapshot) fn check_root(dir: &Path) -> Result<()> {
    // Whoever opens one that is not found says so.
    let found = git2::Repository::discover_path(dir, std::iter::once(dir.parent().unwrap_or(dir)));
    found.map_or(Ok(()), |git_dir| check_readable(&git_dir))
}

/// Opens a git folder by itself, for git's library alone; none where it is none, or where
/// something else lies where a file is read.
pub(in crate::snapshot) fn git_folder(git_dir: &Path) -> Option<git2::Repository> {
    check_readable(git_dir).ok()?;
    let flags = git2::RepositoryOpenFlags::NO_SEARCH | git2::RepositoryOpenFlags::NO_DOTGIT;
    git2::Repository::open_ext(git_dir, flags, std::iter::empty::<&std::ffi::OsStr>()).ok()
}

/// Git's library waits for whoever writes to a pipe, and says of a list of cut
/// commits that is none only that it is none.
fn check_readable(git_dir: &Path) -> Result<()> {
    let folder = Beneath::open(git_dir)?;
    for name in LOOKED_AT {
        // Some tools share these by links.
        if git_dir.join(name).metadata().is_ok_and(|meta| !meta.is_file()) {
            folder.expect(Path::new(name), u64::MAX)?;
        }
    }
    folder.expect(Path::new("shallow"), u64::MAX)?;
    large_file(git_dir).map_or(Ok(()), |path| Err(refuse_size(&path).into()))
}

/// Refuses what a program that still runs in a workspace may have laid in its git
/// folder since.
///
/// # Errors
/// As [`open`].
pub(in crate::snapshot) fn look_again(work_tree: &Path) -> Result<()> {
    let git_dir = work_tree.join(".git");
    if git_dir.is_dir() { refuse_pipes(&git_dir) } else { Ok(()) }
}

fn refuse_size(path: &Path) -> Fault {
    policy(format!("{} is too large, and git reads all of it", path.display())).hint("remove it, then try again")
}

/// Refuses pipes among what git reads below its folder; names and sizes only are looked
/// at. In a workspace that envctl made, where programs of a task may write, a
/// link is refused too: commits of another repository would be taken along.
fn refuse_pipes(git_dir: &Path) -> Result<()> {
    if let Some(path) = large_ref(git_dir) {
        return Err(refuse_size(&path).into());
    }
    let is_workspace = git_dir.join("envctl/config").exists();
    let refuse_link = |path: &Path| {
        Err(policy(format!("{} is a link, and git reads what it leads to", path.display()))
            .hint("remove it, then try again")
            .into())
    };
    for name in READ.iter().map(|name| git_dir.join(name)).filter(|_| is_workspace) {
        if name.is_symlink() {
            return refuse_link(&name);
        }
    }
    let mut pending: Vec<_> = READ.iter().map(|name| git_dir.join(name)).collect();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let leads_to_pipe = || entry.path().metadata().is_ok_and(|meta| meta.file_type().is_fifo());
            if kind.is_symlink() && is_workspace {
                return refuse_link(&entry.path());
            }
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_fifo() || (kind.is_symlink() && leads_to_pipe()) {
                let path = entry.path();
                return Err(policy(format!("{} is a pipe, and git reads it", path.display()))
                    .hint("remove it, then try again")
                    .into());
            }
        }
    }
    Ok(())
}
