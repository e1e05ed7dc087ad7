//! What of a checkout's history the remote holds: the base, the commits above
//! it, and the refs that say so.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::remote::{RemoteTracking, Tip, remote_name};
use crate::disk::beneath::Beneath;
use crate::error::{Fault, failure};
use crate::identity::Commit;
use crate::shell::quote;
use crate::snapshot::format::document::{LocalBranch, Remote, TrackingRef};
use crate::snapshot::format::left_behind::lossy;

/// What the remote is called in the copy of a checkout that has none, or one whose name
/// no document can say.
const USUAL_REMOTE: &str = "origin";

/// No list of cut commits is larger, in bytes.
const MAX_SHALLOW: u64 = 64 << 20;

/// The base, and what lies above it.
#[derive(Debug)]
pub(in crate::snapshot) struct CommitHistory {
    /// Newest ancestor of HEAD that the remote holds.
    pub(in crate::snapshot) base: git2::Oid,
    /// From HEAD down to the base.
    pub(in crate::snapshot) commits: Vec<git2::Oid>,
    /// Beside them: what the commits that an operation names have above all
    /// that the remote is known to hold.
    pub(in crate::snapshot) beside: Vec<git2::Oid>,
    /// How many of those up to HEAD the remote lacks.
    pub(in crate::snapshot) unpushed: usize,
    /// The remote, and its refs that matter.
    pub(in crate::snapshot) remote: Remote,
    /// What the branch follows, where that is nothing of this remote's branches:
    /// its full name here.
    pub(in crate::snapshot) lost_upstream: Option<String>,
    /// Everything that the remote is known to hold.
    pub(in crate::snapshot) tips: Vec<git2::Oid>,
}

/// Where HEAD stands.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) struct Position<'a> {
    pub(in crate::snapshot) head: &'a git2::Commit<'a>,
    /// The branch whose upstream matters.
    pub(in crate::snapshot) branch: Option<&'a str>,
    /// The local branch that it follows.
    pub(in crate::snapshot) follows: Option<&'a str>,
    /// Commits beside HEAD that travel.
    pub(in crate::snapshot) others: &'a [git2::Oid],
    /// Nothing travels to another machine: HEAD is a base, where no remote holds one.
    pub(in crate::snapshot) stays: bool,
}

/// Finds the base: the newest ancestor of HEAD that a remote-tracking ref of
/// the branch's remote holds.
///
/// # Errors
/// When there is none, or commits between are not here.
pub(in crate::snapshot) fn history(repo: &git2::Repository, position: Position<'_>) -> Result<CommitHistory> {
    let Position { head, branch, others, stays, .. } = position;
    let name = match remote_name(repo) {
        Err(_) if stays => USUAL_REMOTE.into(),
        name => name?,
    };
    let tracked = RemoteTracking::of(repo, &name);
    let followed = branch.and_then(|branch| followed(repo, branch));
    let mut tips = tracked.tips(repo)?;
    // Where two refs are of one branch, the one that is followed counts.
    tips.sort_by_key(|tip| Some(&tip.full) != followed.as_ref());
    let said = followed.as_deref().and_then(|full| std::str::from_utf8(full).ok());
    let upstream = followed.as_ref().and_then(|full| tracked.branch_of(full));
    // What is no UTF-8 no document can say.
    let upstream = upstream.filter(|branch| !branch.contains(char::REPLACEMENT_CHARACTER));
    let is_local = said.and_then(|full| full.strip_prefix("refs/heads/")).is_some_and(is_branch_name);
    let lost_upstream = match &followed {
        Some(full) => Some(full).filter(|_| upstream.is_none() && !is_local).map(|full| lossy(full)),
        None => branch.and_then(|branch| configured_upstream(repo, branch)),
    };
    let mut walk = repo.revwalk()?;
    walk.push(head.id())?;
    for tip in &tips {
        walk.hide(tip.commit)?;
    }
    let unpushed: HashSet<git2::Oid> = walk.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    let mut boundary: Vec<git2::Commit<'_>> = Vec::new();
    if unpushed.is_empty() {
        boundary.push(head.clone());
    }
    for id in &unpushed {
        let commit = repo.find_commit(*id).map_err(|error| unreadable(&error))?;
        boundary.extend(commit.parents().filter(|parent| !unpushed.contains(&parent.id())));
    }
    let base =
        boundary.into_iter().max_by_key(|commit| (commit.time().seconds(), commit.id())).map(|commit| commit.id());
    let base = base.or(stays.then(|| head.id())).ok_or_else(|| no_base(repo, &name))?;
    let mut walk = repo.revwalk()?;
    walk.set_sorting(git2::Sort::TOPOLOGICAL)?;
    walk.push(head.id())?;
    walk.hide(base)?;
    let commits: Vec<git2::Oid> = walk.collect::<Result<_, _>>()?;
    refuse_cut_history(repo, &commits)?;
    let mut beside = Vec::new();
    if !others.is_empty() {
        let mut walk = repo.revwalk()?;
        others.iter().try_for_each(|id| walk.push(*id))?;
        walk.hide(base)?;
        refuse_cut_history(repo, &walk.collect::<Result<Vec<_>, _>>()?)?;
        let mut walk = repo.revwalk()?;
        others.iter().try_for_each(|id| walk.push(*id))?;
        [base, head.id()].into_iter().chain(tips.iter().map(|tip| tip.commit)).try_for_each(|id| walk.hide(id))?;
        beside = walk.collect::<Result<_, _>>()?;
    }
    let refs = tracking_refs(repo, &tips, base, upstream.as_deref())?;
    let tips = tips.into_iter().map(|tip| tip.commit).collect();
    let name = String::from_utf8(name).ok().filter(|name| !name.starts_with('-'));
    let remote = Remote { name: name.unwrap_or_else(|| USUAL_REMOTE.into()), upstream, refs };
    Ok(CommitHistory { base, commits, unpushed: unpushed.len(), remote, lost_upstream, tips, beside })
}

/// A commit to be carried whose parents a shallow clone does not have.
fn refuse_cut_history(repo: &git2::Repository, commits: &[git2::Oid]) -> Result<()> {
    let text = Beneath::open(repo.commondir())?.read(Path::new("shallow"), MAX_SHALLOW)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let cut: HashSet<git2::Oid> = text.lines().filter_map(|line| git2::Oid::from_str(line).ok()).collect();
    match commits.iter().find(|id| cut.contains(id)) {
        None => Ok(()),
        Some(id) => Err(failure(format!("the shallow clone ends at {id}, above what the remote holds"))
            .hint("git fetch --deepen 100, then publish again")
            .into()),
    }
}

/// A commit as documents name it.
///
/// # Errors
/// Never: every object has such a name.
pub(in crate::snapshot) fn commit(id: git2::Oid) -> Result<Commit> {
    Ok(id.to_string().parse()?)
}

/// The full name of what a branch follows. Of several that `git pull` merges git shows the
/// first, and its library the last.
fn followed(repo: &git2::Repository, branch: &str) -> Option<Vec<u8>> {
    match first_of_several(repo, branch) {
        Some(first) => first.as_deref().map(|first| first.as_bytes().to_vec()),
        None => Some(repo.branch_upstream_name(&format!("refs/heads/{branch}")).ok()?.to_vec()),
    }
}

/// The ref here that stands for the first of several values of `branch.NAME.merge`; `None`
/// where there are not several.
fn first_of_several(repo: &git2::Repository, branch: &str) -> Option<Option<String>> {
    let key = format!("branch.{branch}.merge");
    let config = repo.config().ok()?.snapshot().ok()?;
    let mut all: Vec<Option<String>> = Vec::new();
    let each = |entry: &git2::ConfigEntry<'_>| {
        if entry.name_bytes() == key.as_bytes() {
            all.push(entry.value().ok().map(str::to_owned));
        }
    };
    config.entries(Some("^branch\\..*\\.merge$")).ok()?.for_each(each).ok()?;
    let first = all.first().filter(|_| all.len() > 1)?.clone()?;
    let remote = config.get_str(&format!("branch.{branch}.remote")).ok()?;
    Some(if remote == "." { Some(first) } else { RemoteTracking::of(repo, remote.as_bytes()).here(&first) })
}

/// What the configuration says that a branch follows, where no ref here stands for
/// it: a pull request, or a branch that is never fetched.
fn configured_upstream(repo: &git2::Repository, branch: &str) -> Option<String> {
    let config = repo.config().ok()?.snapshot().ok()?;
    let merge = config.get_bytes(&format!("branch.{branch}.merge")).ok().map(lossy)?;
    let remote = config.get_bytes(&format!("branch.{branch}.remote")).ok()?;
    // An address in the place of a remote's name may hold a password.
    let is_name = repo.remotes().is_ok_and(|names| names.iter_bytes().any(|name| name == remote));
    Some(if is_name { format!("{merge} of {}", lossy(remote)) } else { merge })
}

/// Whether a document can name this branch: git itself makes none that looks like
/// an option.
pub(in crate::snapshot) fn is_branch_name(name: &str) -> bool {
    !name.starts_with('-') && git2::Reference::is_valid_name(&format!("refs/heads/{name}"))
}

fn no_base(repo: &git2::Repository, name: &[u8]) -> Fault {
    let name = lossy(name);
    let word = quote(&name);
    let refspec = quote(&format!("+refs/heads/*:refs/remotes/{name}/*"));
    let way = match repo.is_shallow() {
        _ if repo.commondir().join("info/grafts").exists() => {
            "move .git/info/grafts away: it cuts the history here, and nobody else has it".into()
        }
        true => format!("git fetch --deepen 100 {word}: the history here is cut"),
        false => format!("git fetch {word} {refspec}, or push a base commit"),
    };
    failure(format!("no branch of the remote {name} holds an ancestor of HEAD, so nobody could fetch a base"))
        .hint(format!("{way}; then publish again"))
}

fn unreadable(error: &git2::Error) -> Fault {
    failure(format!("a commit that the remote lacks is not as git writes commits: {}", error.message()))
        .hint("git fsck names it; write it again with git rebase, then publish")
}

/// The local branch that this one follows.
///
/// # Errors
/// When its commit has no name.
pub(in crate::snapshot) fn followed_branch(
    repo: &git2::Repository,
    branch: Option<&str>,
) -> Result<Option<LocalBranch>> {
    let full = branch.and_then(|branch| followed(repo, branch));
    let full = full.and_then(|full| String::from_utf8(full).ok());
    let name = full.as_deref().and_then(|full| full.strip_prefix("refs/heads/"));
    let Some(name) = name.filter(|name| is_branch_name(name)) else { return Ok(None) };
    let tip = repo.find_reference(&format!("refs/heads/{name}")).and_then(|reference| reference.peel_to_commit());
    let tip = tip.ok().filter(|_| Some(name) != branch);
    Ok(Some(LocalBranch { name: name.to_owned(), commit: tip.map(|tip| commit(tip.id())).transpose()? }))
}

/// The refs that make `git status` and a later publish see what they see here:
/// the upstream where it is, and one ref that holds the base.
fn tracking_refs(
    repo: &git2::Repository,
    tips: &[Tip],
    base: git2::Oid,
    upstream: Option<&str>,
) -> Result<Vec<TrackingRef>> {
    let holds_base = |tip: git2::Oid| tip == base || repo.graph_descendant_of(tip, base).unwrap_or(false);
    let named = || tips.iter().filter_map(|tip| Some((tip.branch.as_deref()?, tip.commit)));
    let mut refs = Vec::new();
    if let Some((name, tip)) = named().find(|(name, _)| Some(*name) == upstream) {
        refs.push(TrackingRef { name: name.to_owned(), commit: commit(tip)? });
        if holds_base(tip) {
            return Ok(refs);
        }
    }
    let exact = named().find(|(_, tip)| *tip == base);
    if let Some((name, _)) = exact.or_else(|| named().find(|(_, tip)| holds_base(*tip))) {
        refs.push(TrackingRef { name: name.to_owned(), commit: commit(base)? });
    }
    Ok(refs)
}
