//! From a checkout's files to a tree, without touching the checkout.
//!
//! Git says which paths differ from the index and from HEAD, and converts and
//! stores the content of those that do; it sees them in an index of their own,
//! so that the work grows with the change and not with the checkout. The trees
//! are HEAD's with these paths changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;

use super::attributes::{Asked, is_attributes};
use super::document::GitPath;
use super::edit::{Edit, edit};
use super::files::SUBMODULE;
use super::index::Entry;
use super::lfs::capture::Stored;
use super::read::{Beside, capture};
use super::scratch::ScratchRepo;
use super::status::{Line, Selection, look};
use super::{refuse, submodule};
use crate::git::Git;

/// What a checkout looks like.
#[derive(Debug)]
pub(super) struct Scan {
    /// The tree of the working files.
    pub(super) tree: git2::Oid,
    /// The index as a tree; HEAD's where nothing is staged.
    pub(super) staged_tree: git2::Oid,
    /// The checkout's index as it is.
    pub(super) index: Vec<Entry>,
    /// Skip-worktree entries whose file is there nevertheless.
    pub(super) present: Vec<Vec<u8>>,
    /// Paths of the index that HEAD's tree does not have in this form.
    pub(super) staged: HashSet<Vec<u8>>,
    /// Paths of HEAD's tree that are not in the index.
    pub(super) removed: Vec<GitPath>,
    /// How many files differ from HEAD.
    pub(super) changed: usize,
    /// What of the files does not stand in the tree.
    pub(super) beside: Beside,
    /// Paths whose files were read.
    pub(super) read: HashSet<Vec<u8>>,
}

impl Scan {
    /// Whether the index has files of which several sides disagree.
    pub(super) fn in_conflict(&self) -> bool {
        self.index.iter().any(|entry| entry.stage > 0)
    }
}

/// Captures the working files. `meanwhile` is given the index, and runs while
/// git looks at the files.
///
/// # Errors
/// Also when a file cannot be read, or keeps changing.
pub(super) fn scan<T>(
    scratch: &ScratchRepo,
    git: &Git,
    selection: Selection<'_>,
    meanwhile: impl FnOnce(&[Entry]) -> Result<T>,
) -> Result<(Scan, T)> {
    let (looked, index, aside) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look(scratch, git, selection));
        let aside = scratch.original_index(git).and_then(|index| Ok((meanwhile(&index)?, index)));
        let looked = looking.join().map_err(|_| anyhow::anyhow!("a thread that looks at the checkout died"));
        // What is refused says more than what git makes of it.
        let (aside, index) = aside?;
        Ok::<_, anyhow::Error>((looked?, index, aside))
    })?;
    let present = scratch.present(&index);
    let lines = if present.is_empty() && !index.iter().any(|entry| entry.assume_unchanged) {
        looked?
    } else {
        // Promises not to look were kept so far.
        scratch.uncover(git, &index, &present)?;
        look(scratch, git, selection)?
    };
    refuse::nested(lines.iter().filter(|(_, line)| matches!(line, Line::Untracked)).map(|(path, _)| &**path))?;
    let read: Vec<Vec<u8>> =
        lines.iter().filter(|(_, line)| line.must_be_read()).map(|(path, _)| path.clone()).collect();
    // Git would pass over some of them without an error.
    read.iter().try_for_each(|path| refuse::name(path, false))?;
    let asked = asked(scratch, &index, &read);
    let lfs = asked.lfs.then(|| Stored::new(selection.max_lfs));
    let mut beside = Beside { asked, lfs, verbatim: BTreeMap::new() };
    let files = capture(scratch, git, &index, &read, &mut beside)?;
    files.values().try_for_each(|entry| refuse::name(&entry.path, entry.mode == 0o120_000))?;
    let submodules = submodule::recorded(&index);

    let mut working: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    let mut staging: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    let mut heads: HashMap<&[u8], (u32, git2::Oid)> = HashMap::new();
    let (mut staged, mut removed) = (HashSet::new(), Vec::new());
    for (path, line) in &lines {
        let file = || files.get(path).map(|entry| (entry.mode, entry.object));
        match line {
            Line::Tracked { staged: x, working: y, head, index } => {
                if head.0 != 0 {
                    heads.insert(path, *head);
                }
                match x {
                    b'.' => {}
                    b'D' => {
                        removed.push(GitPath(path.clone()));
                        staging.insert(path.clone(), None);
                    }
                    _ => {
                        staged.insert(path.clone());
                        staging.insert(path.clone(), Some(*index));
                    }
                }
                let after = match (x, y) {
                    (b'D', b'.') | (_, b'D') => None,
                    // One that is ahead was refused; other changes are no
                    // business of this tree.
                    (_, b'M') if index.0 == SUBMODULE => Some(*index),
                    (_, b'.') => Some(*index),
                    _ => file(),
                };
                working.entry(path.clone()).or_insert(after);
            }
            Line::Conflict => {
                // A submodule stays checked out while others disagree about it.
                let submodule = submodules.get(&**path).filter(|_| scratch.full(path).is_dir());
                let kept = submodule.map(|entry| (SUBMODULE, entry.object));
                working.insert(path.clone(), file().or(kept));
            }
            // It may stand for one that is gone from the index only.
            Line::Untracked if files.contains_key(path) => drop(working.insert(path.clone(), file())),
            Line::Untracked => {}
        }
    }
    let own = git2::Repository::open_bare(scratch.path())?;
    let head = own.head()?.peel_to_commit()?.tree_id();
    let tree = edit(&own, head, &working)?;
    let staged_tree = edit(&own, head, &staging)?;
    let head_tree = own.find_tree(head)?;
    let in_head = |path: &[u8]| match heads.get(path) {
        Some(entry) => Some(*entry),
        None => head_tree.get_path(path_of(path)).ok().map(|entry| (entry.filemode() as u32, entry.id())),
    };
    let changed = working.iter().filter(|(path, after)| in_head(path) != **after).count();
    Ok((
        Scan { tree, staged_tree, index, present, staged, removed, changed, beside, read: read.into_iter().collect() },
        aside,
    ))
}

/// What the attributes that hold here ask for.
pub(super) fn asked(scratch: &ScratchRepo, index: &[Entry], read: &[Vec<u8>]) -> Asked {
    let paths = index.iter().map(|entry| &entry.path).chain(read).filter(|path| is_attributes(path));
    Asked::of_files(&scratch.settings, paths.map(|path| scratch.full(path)))
}

pub(super) fn path_of(path: &[u8]) -> &std::path::Path {
    std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path))
}
