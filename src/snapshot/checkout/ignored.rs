//! Ignored files: which of those that travel stand there as untracked, because
//! the rules that ignore them here stay; and what a list that only this checkout
//! has leaves behind.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context, Result};

use super::glance::Seen;
use super::scratch::ScratchRepo;
use crate::git::Git;
use crate::snapshot::format::document::GitPath;
use crate::snapshot::format::index::Entry;
use crate::snapshot::paths::joined;

/// Of the files that were captured although git ignores them, those that it
/// ignores by rules beside the project's own files: `info/exclude` and the lists
/// of the checkout and of whoever works in it.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn by_rules_that_stay(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    files: &BTreeMap<Vec<u8>, Entry>,
    selected: Vec<Vec<u8>>,
) -> Result<Vec<GitPath>> {
    let selected: Vec<Vec<u8>> = selected.into_iter().filter(|path| files.contains_key(path)).collect();
    if selected.is_empty() {
        return Ok(Vec::new());
    }
    let tracked: HashSet<&[u8]> = index.iter().map(|entry| &*entry.path).collect();
    let travels = |source: &[u8]| tracked.contains(source) || files.contains_key(source);
    let rules = rules(scratch, git, &selected)?.into_iter();
    let stays = rules.filter(|(_, source)| source.starts_with(b"/") || !travels(source));
    Ok(stays.map(|(path, _)| GitPath(path)).collect())
}

/// What of the names in the folders of tracked files the checkout's own list of
/// ignored files leaves behind.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn by_own_rules(scratch: &ScratchRepo, git: &Git, seen: &Seen) -> Result<Vec<Vec<u8>>> {
    use std::os::unix::ffi::OsStrExt;
    let Some(own) = scratch.rules_of_its_own() else { return Ok(Vec::new()) };
    // In folders that git does not know, git says which they are.
    let mut list = std::ffi::OsString::from("--exclude-from=");
    list.push(own.as_os_str());
    let call = scratch.git(git).args(["ls-files", "--others", "--ignored", "--directory", "-z"]).args([list]);
    let deep = call.run(b"").context("cannot see what is ignored")?;
    let deep = deep.split(|byte| *byte == 0).map(|path| path.strip_suffix(b"/").unwrap_or(path).to_vec());
    let flat = seen.others.iter().chain(&seen.strange).cloned();
    let names: BTreeSet<Vec<u8>> = flat.chain(deep).filter(|path| !path.is_empty()).collect();
    let names: Vec<Vec<u8>> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut rules = rules(scratch, git, &names)?;
    rules.sort();
    let rules = rules.into_iter();
    Ok(rules.filter(|(_, source)| source == own.as_os_str().as_bytes()).map(|(path, _)| path).collect())
}

/// By which file each of these paths is ignored; those that are not are left out.
fn rules(scratch: &ScratchRepo, git: &Git, paths: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // It fails where nothing is ignored.
    let call = scratch.git(git).args(["check-ignore", "--verbose", "--no-index", "-z", "--stdin"]);
    let output = call.output(&joined(paths)).context("cannot see what is ignored")?;
    let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    // Source, line, pattern and path; a pattern may take back what another says.
    let kept = fields.chunks_exact(4).filter(|fields| !fields[2].starts_with(b"!"));
    Ok(kept.map(|fields| (fields[3].to_vec(), fields[0].to_vec())).collect())
}
