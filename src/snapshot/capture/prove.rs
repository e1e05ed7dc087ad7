//! What was captured restores to what was seen: found out before anybody is told
//! that it was published.
//!
//! Whoever enters compares hashes: of the tree, and of the index. Here the index
//! is compared as trees, in memory, which takes nothing from a store and writes
//! no file. Contents are named by their hashes, so where nothing converts files
//! nothing is left to compare; where something does, the files that were read are
//! restored aside, and compared by [`mod@crate::snapshot::restore::parity`].

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha1::{Digest as _, Sha1};

use super::draft::{Draft, file_at};
use crate::error::{Fault, integrity};
use crate::git::{Git, create_repository};
use crate::snapshot::format::document::{Document, FileMode, GitPath, IndexDocument, Object, Remote};
use crate::snapshot::format::index::{self, Entry};
use crate::snapshot::lfs::capture::pointer_in;
use crate::snapshot::paths::path_of;
use crate::snapshot::restore::apply::{apply, index_entries};
use crate::snapshot::restore::parity::parity;
use crate::snapshot::tree::attributes::is_attributes;
use crate::snapshot::tree::edit::{Edit, edit};
use crate::snapshot::tree::files::{self, SUBMODULE};
use crate::snapshot::upstream::history::commit;
use crate::snapshot::worktree::verbatim;

/// Larger files are not restored aside, in bytes.
const MAX_FILE: usize = 16 << 20;

/// Compares the index that a restore makes with the one that was captured.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when they differ.
pub(in crate::snapshot) fn index(draft: &Draft, document: &IndexDocument) -> Result<()> {
    let own = git2::Repository::open_bare(draft.scratch.path())?;
    let noted: HashSet<&[u8]> =
        document.entries.iter().map(|entry| &entry.path).chain(&document.removed).map(|path| &*path.0).collect();
    // Both sides without what the document lists in full.
    let gone: BTreeMap<Vec<u8>, Edit> = noted.iter().map(|path| (path.to_vec(), None)).collect();
    let from_head = edit(&own, draft.head_tree, &gone)?;
    let rest: Vec<&Entry> = draft.scan.index.iter().filter(|entry| !noted.contains(&*entry.path)).collect();
    if hash_of(&rest, 0) == *from_head.as_bytes() {
        return Ok(());
    }
    // Trees of early versions of git have other modes. Then as a restore does it.
    let head_files = files::flatten(&own, draft.head_tree)?;
    let mut entries = index_entries(document, &head_files, &[]);
    entries.sort_by(|a, b| (&a.path, a.stage).cmp(&(&b.path, b.stage)));
    let made = index::hash(&entries);
    if made == draft.digest { Ok(()) } else { Err(differs("index", &made, &draft.digest).into()) }
}

fn differs(what: &str, made: &dyn std::fmt::Display, seen: &dyn std::fmt::Display) -> Fault {
    would_differ(&format!("the {what} {made} instead of {seen}"))
}

fn would_differ(how: &str) -> Fault {
    integrity(format!("what was captured would not arrive as it is here: {how}"))
        .hint("publish again; if it stays so, commit what you have, then publish")
}

/// The name of the tree that entries make, which are in the order of the index:
/// that of trees as well.
fn hash_of(entries: &[&Entry], depth: usize) -> [u8; 20] {
    let mut content = Vec::with_capacity(entries.len() * 40);
    let mut at = 0;
    while let Some(entry) = entries.get(at) {
        let name = &entry.path[depth..];
        match memchr::memchr(b'/', name) {
            Some(slash) => {
                let below = depth + slash + 1;
                let same = |other: &&&Entry| other.path.get(..below) == Some(&entry.path[..below]);
                let count = entries[at..].iter().take_while(same).count();
                content.extend_from_slice(b"40000 ");
                content.extend_from_slice(&name[..slash]);
                content.push(0);
                content.extend_from_slice(&hash_of(&entries[at..at + count], below));
                at += count;
            }
            None => {
                content.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
                content.extend_from_slice(name);
                content.push(0);
                content.extend_from_slice(entry.object.as_bytes());
                at += 1;
            }
        }
    }
    let header = format!("tree {}\0", content.len());
    Sha1::new().chain_update(header).chain_update(content).finalize().into()
}

/// Restores the files that were read, where something converts them, and compares
/// them as whoever enters does.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when they differ.
pub(in crate::snapshot) fn files(git: &Git, draft: &Draft) -> Result<()> {
    let beside = &draft.scan.beside;
    if !beside.asked.conversion {
        return Ok(());
    }
    let part = part(draft)?;
    let place = draft.scratch.path().join("restored");
    if place.exists() {
        crate::disk::remove::tree(&place)?;
    }
    let objects = draft.scratch.path().join("objects");
    let root = fresh(place, &objects)?;
    let applied = apply(git, &root, &part, None, &mut |_| Vec::new()).context("cannot restore what was captured")?;
    let parity = parity(git, &root, &part, &applied).context("what was captured cannot be compared")?;
    if !parity.ok && parity.restored_tree != parity.tree {
        return Err(differs("tree", &parity.restored_tree, &parity.tree).into());
    }
    if !parity.ok {
        return Err(differs("index", &parity.restored_index, &parity.index).into());
    }
    for (path, _) in draft.scan.read.iter().filter(|(path, stat)| **stat == draft.scratch.lstat(path)) {
        let restored = root.join(path_of(path));
        let is_file = restored.symlink_metadata().is_ok_and(|meta| meta.is_file());
        let Some(file) = draft.scratch.open(path).ok().filter(|_| is_file) else { continue };
        if !verbatim::same(&restored, file)? {
            let path = String::from_utf8_lossy(path);
            return Err(would_differ(&format!("{path} would have another content")).into());
        }
    }
    Ok(())
}

/// A repository without a commit that borrows what was captured.
fn fresh(place: PathBuf, objects: &std::path::Path) -> Result<PathBuf> {
    create_repository(&place, &[objects])?;
    Ok(place)
}

/// The document of a checkout that has nothing but the files that were read, and
/// what decides how they are.
fn part(draft: &Draft) -> Result<Document> {
    let own = git2::Repository::open_bare(draft.scratch.path())?;
    let odb = own.odb()?;
    let (before, after) = (own.find_tree(draft.head_tree)?, own.find_tree(draft.scan.tree)?);
    let scan = &draft.scan;
    let attributes = scan.index.iter().map(|entry| &entry.path).filter(|path| is_attributes(path));
    let paths: HashSet<&Vec<u8>> =
        scan.read.keys().chain(scan.beside.verbatim.keys()).chain(attributes).filter(|path| is_plain(path)).collect();
    // Contents of LFS files are compared by their hashes.
    let small = |file: Edit| {
        file.is_none_or(|(mode, object)| {
            let fits = odb.read_header(object).is_ok_and(|(size, _)| size <= MAX_FILE);
            mode != SUBMODULE && fits && pointer_in(&own, object).is_none()
        })
    };
    let paths: HashSet<&Vec<u8>> =
        paths.into_iter().filter(|path| small(file_at(&before, path)) && small(file_at(&after, path))).collect();
    let tree = |from: &git2::Tree<'_>| {
        let files = paths.iter().map(|path| ((*path).clone(), file_at(from, path))).filter(|(_, file)| file.is_some());
        edit(&own, own.treebuilder(None)?.write()?, &files.collect())
    };
    let (head_tree, tree) = (tree(&before)?, tree(&after)?);
    let who = "envctl <envctl> 0 +0000";
    let text = format!("tree {head_tree}\nauthor {who}\ncommitter {who}\n\n");
    let head = odb.write(git2::ObjectType::Commit, text.as_bytes())?;
    let mut document = draft.document(None)?;
    let entries: Vec<Entry> = scan.index.iter().filter(|entry| paths.contains(&entry.path)).cloned().collect();
    document.index.digest = index::hash(&entries);
    document.index.entries.retain(|entry| paths.contains(&entry.path.0));
    // What is not as the other tree has it is listed, wherever it comes from.
    let listed: HashSet<Vec<u8>> = document.index.entries.iter().map(|entry| entry.path.0.clone()).collect();
    let staged: HashSet<&Vec<u8>> = entries.iter().map(|entry| &entry.path).collect();
    let gone = paths.iter().filter(|path| !staged.contains(**path) && file_at(&before, path).is_some());
    document.index.removed =
        gone.filter(|path| !listed.contains(**path)).map(|path| GitPath((*path).clone())).collect();
    document.verbatim.retain(|file| paths.contains(&file.path.0));
    (document.base, document.head, document.tree) = (commit(head)?, commit(head)?, Object(tree));
    document.remote = Remote { name: "origin".into(), upstream: None, refs: Vec::new() };
    (document.branch, document.operation, document.follows) = (None, None, None);
    document.commits.clear();
    document.empty_folders.clear();
    document.lfs.clear();
    document.ignored.clear();
    debug_assert!(document.index.entries.iter().all(|entry| entry.mode != FileMode::SUBMODULE));
    Ok(document)
}

/// Nothing else is restored aside.
fn is_plain(path: &[u8]) -> bool {
    path != b".gitmodules"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATHS: [&str; 9] = ["a", "a.b", "a-b", "b/a", "b/c.d/e", "b/c/e", "b/c0", "d", "x.txt"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn a_tree_has_the_name_that_git_gives_it(chosen in any::<[Option<(u8, bool)>; 9]>()) {
            let dir = tempfile::tempdir().unwrap();
            let repo = git2::Repository::init_bare(dir.path()).unwrap();
            let mut entries: Vec<Entry> = PATHS
                .iter()
                .zip(chosen)
                .filter_map(|(path, chosen)| {
                    let (content, executable) = chosen?;
                    let mode = if executable { 0o100_755 } else { 0o100_644 };
                    Some(Entry { mode, object: repo.blob(&[content]).unwrap(), ..Entry::plain(path.as_bytes()) })
                })
                .collect();
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            let edits = entries.iter().map(|entry| (entry.path.clone(), Some((entry.mode, entry.object))));
            let empty = repo.treebuilder(None).unwrap().write().unwrap();
            let tree = edit(&repo, empty, &edits.collect()).unwrap();
            let entries: Vec<&Entry> = entries.iter().collect();
            prop_assert_eq!(git2::Oid::from_bytes(&hash_of(&entries, 0)).unwrap(), tree);
        }
    }
}
