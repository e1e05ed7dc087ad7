//! Submodules travel by commit. What is in one has to be in its own remote:
//! whoever changed something there is told to put it there first.
//!
//! Git is never run inside of one, because its configuration is not ours to
//! obey; git's library, which runs no programs, looks.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::disk::beneath::Beneath;
use crate::error::{Fault, policy};
use crate::git::odd_lists;
use crate::shell::quote;
use crate::snapshot::checkout::open::{check_root, git_folder};
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::format::index::Entry;
use crate::snapshot::format::left_behind::{LeftKind, LeftOut, lossy};
use crate::snapshot::lfs;
use crate::snapshot::upstream::left_out;

pub(super) use modules::{addresses, check, check_blob};

/// Submodules within submodules, at most so deep.
const DEPTH: usize = 16;

/// A submodule whose commit no branch of its remote holds, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpushed {
    pub(super) path: Vec<u8>,
    pub(super) commit: git2::Oid,
    /// The ref that names it, where it is not the commit that is recorded.
    pub(super) by: Option<String>,
}

/// What was found of submodules.
#[derive(Debug, Default)]
struct SubmodulesSeen {
    unpushed: Vec<Unpushed>,
    /// The git folders of those that are checked out.
    used: BTreeSet<PathBuf>,
}

/// Looks at every submodule of the index that is checked out, and at what is left in the
/// git folder of those that are not.
///
/// # Errors
/// [`crate::error::Kind::Policy`] for one that holds more than its commit says.
pub(super) fn look(git_dir: &Path, scratch: &ScratchRepo, entries: &[Entry]) -> Result<Vec<Unpushed>> {
    let mut looked = SubmodulesSeen::default();
    for (path, entry) in recorded(entries) {
        let name = String::from_utf8_lossy(path).into_owned();
        if entry.intent_to_add {
            return Err(policy(format!("{name} is a submodule that was only announced, without a commit"))
                .hint(format!("git add {}, then publish again", quote(&name)))
                .into());
        }
        if scratch.is_folder(path) {
            look_at(&scratch.full(path), &name, entry.object, &mut looked, 0)?;
        }
    }
    let modules = git_dir.join("modules");
    if modules.is_symlink() {
        return Ok(looked.unpushed);
    }
    look_below(&modules, &modules, &mut looked, 0)?;
    Ok(looked.unpushed)
}

/// The git folders of submodules that no folder of the checkout uses any more: `git
/// submodule deinit` and `git rm` leave them, with commits that may be nowhere else.
fn look_below(modules: &Path, folder: &Path, looked: &mut SubmodulesSeen, depth: usize) -> Result<()> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for path in folders.map(|entry| entry.path()).filter(|_| depth < DEPTH) {
        if !path.join("HEAD").symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            look_below(modules, &path, looked, depth + 1)?;
            continue;
        }
        let Some(repo) = git_folder(&path) else { continue };
        if looked.used.contains(repo.path()) {
            continue;
        }
        let name = path.strip_prefix(modules).unwrap_or(&path).as_os_str().as_bytes().to_vec();
        let left = left_out::of_submodule(&repo, &[])?.into_iter();
        looked.unpushed.extend(left.map(|(by, commit)| Unpushed { path: name.clone(), commit, by: Some(by) }));
    }
    Ok(())
}

/// The commit that each submodule is to be at: during a conflict ours, which
/// is what git leaves checked out.
pub(super) fn recorded(entries: &[Entry]) -> BTreeMap<&[u8], &Entry> {
    let mut recorded: BTreeMap<&[u8], &Entry> = BTreeMap::new();
    let rank = |entry: &Entry| [0, 3, 1, 2][usize::from(entry.stage.min(3))];
    for entry in entries.iter().filter(|entry| entry.is_submodule()) {
        let known = recorded.entry(&entry.path).or_insert(entry);
        if rank(entry) < rank(known) {
            *known = entry;
        }
    }
    recorded
}

fn look_at(full: &Path, name: &str, commit: git2::Oid, looked: &mut SubmodulesSeen, depth: usize) -> Result<()> {
    if !full.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        // Gone, or replaced by a file: that is seen where files are.
        return Ok(());
    }
    if full.join(".git").symlink_metadata().is_err() {
        let empty = std::fs::read_dir(full).is_ok_and(|mut entries| entries.next().is_none());
        return if empty { Ok(()) } else { Err(stray(name).into()) };
    }
    let repo = open(full, name)?;
    looked.used.insert(repo.path().to_owned());
    let word = quote(name);
    let head = repo.head().and_then(|head| head.peel_to_commit()).map(|commit| commit.id());
    if head.as_ref().ok() != Some(&commit) {
        let at = head.map_or_else(|_| "no commit".into(), |head| head.to_string()[..12].to_owned());
        return Err(policy(format!("the submodule {name} is at {at}, and recorded at {}", &commit.to_string()[..12]))
            .hint(format!("push its commit and git add {word}, or git submodule update {word}; then publish again"))
            .into());
    }
    if repo.state() != git2::RepositoryState::Clean {
        return Err(policy(format!("in the submodule {name} an operation of git is in progress"))
            .hint(format!("go on with it there, or give it up with {}; then publish again", ending(repo.state())))
            .into());
    }
    if let Some(change) = change(&repo, full)? {
        return Err(policy(format!("the submodule {name} has changes of its own: {change}"))
            .hint(format!(
                "commit and push them inside it and git add {word}, or git -C {word} stash -u; then publish again"
            ))
            .into());
    }
    if !is_pushed(&repo, commit)? {
        looked.unpushed.push(Unpushed { path: name.as_bytes().to_vec(), commit, by: None });
    }
    let others = left_out::of_submodule(&repo, &[commit])?.into_iter();
    looked.unpushed.extend(others.map(|(by, commit)| Unpushed {
        path: name.as_bytes().to_vec(),
        commit,
        by: Some(by),
    }));
    if depth == DEPTH {
        return Err(policy(format!("submodules are nested too deep at {name}")).into());
    }
    for entry in repo.index()?.iter().filter(|entry| entry.mode == 0o160_000) {
        let inner = String::from_utf8_lossy(&entry.path).into_owned();
        look_at(&full.join(&inner), &format!("{name}/{inner}"), entry.id, looked, depth + 1)?;
    }
    Ok(())
}

fn stray(name: &str) -> Fault {
    policy(format!("{name} is recorded as a submodule, but has files that belong to no repository"))
        .hint("git rm --cached it and git add its files, or move them away")
}

fn open(full: &Path, name: &str) -> Result<git2::Repository> {
    // Files that came with a task may look like a bare repository, whose configuration
    // nobody has judged.
    if full.join(".git").symlink_metadata().is_ok() {
        check_root(full)?;
    } else if full.join("HEAD").symlink_metadata().is_ok() {
        return Err(stray(name).into());
    }
    let flags = git2::RepositoryOpenFlags::NO_SEARCH | git2::RepositoryOpenFlags::CROSS_FS;
    let opened = git2::Repository::open_ext(full, flags, std::iter::empty::<&OsStr>());
    opened.map_err(|error| {
        let hint = match error.code() {
            git2::ErrorCode::Owner => {
                format!(
                    "if you trust it: git config --global --add safe.directory {}",
                    quote(&full.display().to_string())
                )
            }
            _ => format!("git submodule update --init {}, or move it out of the checkout", quote(name)),
        };
        policy(format!("the submodule {name} cannot be looked at: {}", error.message())).hint(hint).into()
    })
}

/// Something in a submodule that its commit does not have.
#[expect(clippy::disallowed_methods, reason = "the lists are plain")]
fn change(repo: &git2::Repository, full: &Path) -> Result<Option<String>> {
    if let Some(odd) = odd_lists(full)?.first() {
        return Ok(Some(format!("{} is no plain file", odd.strip_prefix(full).unwrap_or(odd).display())));
    }
    if let Some(hidden) = hidden_change(repo, full)? {
        return Ok(Some(hidden));
    }
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(false).include_ignored(false);
    // Those are looked at one by one.
    options.exclude_submodules(true).update_index(false);
    for entry in repo.statuses(Some(&mut options))?.iter() {
        let path = entry.path_bytes();
        // Git's library has no filter of LFS: content in place of a pointer is
        // a change to it where it cannot go by the time of the file.
        let blob = entry.index_to_workdir().map(|delta| delta.old_file().id());
        let file = full.join(OsStr::from_bytes(path));
        if entry.status() == git2::Status::WT_MODIFIED
            && blob.is_some_and(|blob| lfs::capture::is_content_of(repo, blob, &file))
        {
            continue;
        }
        let kind = if entry.status().is_wt_new() { "untracked" } else { "changed" };
        return Ok(Some(format!("{} is {kind}", String::from_utf8_lossy(path))));
    }
    Ok(None)
}

/// A change that git does not look for: in a file that it was told to take for unchanged, or
/// a repository inside that has no files.
#[expect(clippy::disallowed_methods, reason = "the lists are plain")]
fn hidden_change(repo: &git2::Repository, full: &Path) -> Result<Option<String>> {
    for entry in repo.index()?.iter() {
        let flags = git2::IndexEntryFlag::from_bits_truncate(entry.flags);
        let is_hidden = flags.contains(git2::IndexEntryFlag::VALID) || entry.flags_extended & SKIP_WORKTREE != 0;
        let file = full.join(OsStr::from_bytes(&entry.path));
        // One that is not there is outside of a sparse checkout.
        let Some(meta) = file.symlink_metadata().ok().filter(|_| is_hidden && entry.mode != 0o160_000) else {
            continue;
        };
        let times = (i64::from(entry.mtime.seconds()), i64::from(entry.mtime.nanoseconds()));
        let is_same = u64::from(entry.file_size) == meta.len() && times == (meta.mtime(), meta.mtime_nsec());
        if !is_same && content(full, &entry.path, &meta) != Some(entry.id) {
            return Ok(Some(format!("{} is changed, and git was told not to look", lossy(&entry.path))));
        }
    }
    let mut pending = vec![full.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in
            std::fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            let path = entry.path();
            let below = path.strip_prefix(full).unwrap_or(&path);
            if entry.file_name() == ".git" {
                let is_own = folder == full || is_submodule(repo, below.parent().unwrap_or(below));
                if !is_own && path.join("HEAD").exists() {
                    return Ok(Some(format!(
                        "{} is a repository of its own",
                        below.parent().unwrap_or(below).display()
                    )));
                }
            } else if !repo.is_path_ignored(below).unwrap_or(false) && !is_submodule(repo, below) {
                pending.push(path);
            }
        }
    }
    Ok(None)
}

/// The blob that a file of a submodule would be: opened through no link, and waiting for
/// nobody. None for what is neither file nor link, and for one that is not looked into.
fn content(full: &Path, path: &[u8], meta: &std::fs::Metadata) -> Option<git2::Oid> {
    let bytes = if meta.is_symlink() {
        std::fs::read_link(full.join(OsStr::from_bytes(path))).ok()?.into_os_string().into_vec()
    } else {
        Beneath::open(full).ok()?.read(Path::new(OsStr::from_bytes(path)), MAX_HIDDEN).ok()??
    };
    git2::Oid::hash_object(git2::ObjectType::Blob, &bytes).ok()
}

/// A larger file that git was told not to look at counts as changed when its times or its
/// size say so, in bytes.
const MAX_HIDDEN: u64 = 64 << 20;

/// `CE_SKIP_WORKTREE` of git's index, `gitformat-index(5)`.
const SKIP_WORKTREE: u16 = 1 << 14;

fn is_submodule(repo: &git2::Repository, path: &Path) -> bool {
    let entry = repo.index().ok().and_then(|index| index.get_path(path, 0));
    entry.is_some_and(|entry| entry.mode == 0o160_000)
}

/// What ends what is in progress here.
fn ending(state: git2::RepositoryState) -> &'static str {
    match state {
        git2::RepositoryState::Bisect => "git bisect reset",
        git2::RepositoryState::Merge => "git merge --abort",
        git2::RepositoryState::Revert | git2::RepositoryState::RevertSequence => "git revert --abort",
        git2::RepositoryState::CherryPick | git2::RepositoryState::CherryPickSequence => "git cherry-pick --abort",
        git2::RepositoryState::ApplyMailbox => "git am --abort",
        _ => "git rebase --abort",
    }
}

/// Whether a branch of a remote holds the commit. A shallow clone cannot say.
fn is_pushed(repo: &git2::Repository, commit: git2::Oid) -> Result<bool> {
    if repo.is_shallow() {
        return Ok(true);
    }
    for reference in repo.references_glob("refs/remotes/*")? {
        let Ok(tip) = reference?.peel_to_commit().map(|tip| tip.id()) else { continue };
        if tip == commit || repo.graph_descendant_of(tip, commit)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl LeftOut {
    pub(in crate::snapshot) fn submodule(unpushed: &Unpushed) -> Self {
        let detail = Some(unpushed.commit.to_string());
        let path = lossy(&unpushed.path);
        let name = unpushed.by.as_ref().map_or_else(|| path.clone(), |by| format!("{path} ({by})"));
        LeftOut { kind: LeftKind::SubmoduleCommit, name, detail }
    }
}
