//! Whether a restored workspace is what was captured.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::apply::Applied;
use crate::digest::Digest;
use crate::git::Git;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::checkout::status::Selection;
use crate::snapshot::format::document::Document;
use crate::snapshot::format::index;
use crate::snapshot::paths::path_of;
use crate::snapshot::tree::attributes::Conversions;
use crate::snapshot::tree::files;
use crate::snapshot::worktree::scan::{Scan, scan};
use crate::snapshot::worktree::verbatim;

/// Whether what was restored is what was captured, by hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parity {
    /// Both hashes agree.
    pub ok: bool,
    /// The tree of the working files, as captured.
    pub tree: String,
    /// The tree of the working files, as restored.
    pub restored_tree: String,
    /// The index's hash, as captured.
    pub index: Digest,
    /// The index's hash, as restored.
    pub restored_index: Digest,
}

/// Compares a restored workspace with its snapshot. Where every file was
/// hashed while it was written, only that there are no others is left to see;
/// otherwise the scan that captured it is made again.
///
/// # Errors
/// When the workspace cannot be read.
pub fn parity(git: &Git, root: &Path, document: &Document, applied: &Applied) -> Result<Parity> {
    let repo = git2::Repository::open(root)?;
    if let Some(files) = applied.exact
        && files::count(root)? == files
        && let Ok(index) = index::read(&repo.path().join("index"))
    {
        let restored_index = index::hash(&index);
        return Ok(Parity {
            ok: restored_index == document.index.digest,
            tree: document.tree.0.to_string(),
            restored_tree: document.tree.0.to_string(),
            index: document.index.digest,
            restored_index,
        });
    }
    let again = Again { git, repo: &repo, document };
    let (restored_tree, restored_index) = match again.look(true) {
        Ok((scratch, scan)) => {
            let agrees = scan.tree == document.tree.0 || reads_otherwise(git, &repo, &scratch, document, scan.tree)?;
            (if agrees { document.tree.0 } else { scan.tree }, index::hash(&scan.index))
        }
        // Attributes may ask for what some files are not, and git then reads none
        // of them: the checkout's git did not look at those either.
        Err(error) => match again.look(false) {
            Ok((scratch, scan)) if scan.tree == document.tree.0 && are_as_captured(git, &repo, &scratch, document)? => {
                (scan.tree, index::hash(&scan.index))
            }
            _ => return Err(error),
        },
    };
    Ok(Parity {
        ok: restored_tree == document.tree.0 && restored_index == document.index.digest,
        tree: document.tree.0.to_string(),
        restored_tree: restored_tree.to_string(),
        index: document.index.digest,
        restored_index,
    })
}

/// The scan that captured the checkout, of the workspace.
struct Again<'a> {
    git: &'a Git,
    repo: &'a git2::Repository,
    document: &'a Document,
}

impl Again<'_> {
    /// Reads every file, or only those that git would look into.
    fn look(&self, every: bool) -> Result<(ScratchRepo, Scan)> {
        let Again { git, repo, document } = *self;
        let head = repo.head()?.peel_to_commit()?.id();
        let scratch = ScratchRepo::new(repo, head, &document.settings, &[])?;
        if every {
            scratch.distrust(git)?;
        }
        // Captured files are part of the tree whatever ignore rules say here.
        let files = files::flatten(repo, document.tree.0)?.into_iter().filter(|file| !file.is_submodule());
        let named: Vec<Vec<u8>> = files.map(|file| file.path).collect();
        let tracked: HashSet<Vec<u8>> = scratch.original_index(git)?.into_iter().map(|entry| entry.path).collect();
        let named: Vec<Vec<u8>> = named.into_iter().filter(|path| !tracked.contains(path)).collect();
        let selection = Selection { include: &[], named: &named, max_lfs: u64::MAX, leaves: false };
        let (scan, ()) = scan((&scratch, repo), git, selection, |_, _| Ok(()))?;
        Ok((scratch, scan))
    }
}

/// Whether all files that git does not look into are, byte by byte, what was
/// captured.
fn are_as_captured(git: &Git, repo: &git2::Repository, scratch: &ScratchRepo, document: &Document) -> Result<bool> {
    let entries: Vec<index::Entry> = index::read(&repo.path().join("index"))?
        .into_iter()
        .filter(|entry| entry.stage == 0 && entry.mode & 0o170_000 == 0o100_000)
        .filter(|entry| scratch.lstat(&entry.path) == Some(entry.stat))
        .collect();
    let paths: HashSet<Vec<u8>> = entries.iter().map(|entry| entry.path.clone()).collect();
    differ_as_captured(git, scratch, document, entries, &paths)
}

/// Whether of these files those and no others differ from what git would write
/// which did where they were captured, and as they did.
fn differ_as_captured(
    git: &Git,
    scratch: &ScratchRepo,
    document: &Document,
    entries: Vec<index::Entry>,
    paths: &HashSet<Vec<u8>>,
) -> Result<bool> {
    // Contents are compared, and not sizes only.
    let asked = Conversions { conversion: true, ..Conversions::default() };
    let differ = verbatim::find_settled(scratch, git, asked, entries)?;
    let wanted = document.verbatim.iter().filter(|file| paths.contains(&file.path.0));
    let wanted: BTreeMap<Vec<u8>, git2::Oid> = wanted.map(|file| (file.path.0.clone(), file.object.0)).collect();
    Ok(differ == wanted)
}

/// Whether the two trees differ in files alone that are, byte by byte, what was
/// captured, and that git would read as others now: attributes changed after
/// they were written. The checkout's git did not look at them again, and the
/// capture did not either.
fn reads_otherwise(
    git: &Git,
    repo: &git2::Repository,
    scratch: &ScratchRepo,
    document: &Document,
    found: git2::Oid,
) -> Result<bool> {
    // What the scan stored is in the scratch repository only.
    let own = git2::Repository::open_bare(scratch.path())?;
    let captured = own.find_tree(document.tree.0)?;
    let diff = own.diff_tree_to_tree(Some(&captured), Some(&own.find_tree(found)?), None)?;
    let mut paths = HashSet::new();
    for delta in diff.deltas() {
        let (before, after) = (delta.old_file(), delta.new_file());
        let is_same_file = delta.status() == git2::Delta::Modified && before.mode() == after.mode();
        match before.path_bytes() {
            Some(path) if is_same_file => {
                paths.insert(path.to_vec());
            }
            _ => return Ok(false),
        }
    }
    let of_index: HashMap<Vec<u8>, index::Entry> = index::read(&repo.path().join("index"))?
        .into_iter()
        .filter(|entry| entry.stage == 0 && paths.contains(&entry.path))
        .map(|entry| (entry.path.clone(), entry))
        .collect();
    let settled = |path: &Vec<u8>| {
        let entry = of_index.get(path)?;
        let object = captured.get_path(path_of(path)).ok()?.id();
        let is_known = entry.object == object && scratch.lstat(path) == Some(entry.stat);
        is_known.then(|| entry.clone())
    };
    let Some(entries) = paths.iter().map(settled).collect::<Option<Vec<_>>>() else { return Ok(false) };
    differ_as_captured(git, scratch, document, entries, &paths)
}
