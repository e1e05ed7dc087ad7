//! What of a checkout's history the remote holds: the base, the commits above
//! it, and the refs that say so.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::document::{LocalBranch, Remote, TrackingRef};
use crate::disk::beneath::Beneath;
use crate::error::failure;
use crate::identity::Commit;

/// What the remote of a checkout that has none is called in its copy.
const NO_REMOTE: &str = "origin";

/// No list of cut commits is larger, in bytes.
const MAX_SHALLOW: u64 = 64 << 20;

/// The URL of the remote that the checked-out branch follows, as configured.
///
/// # Errors
/// When there is no remote.
pub fn remote_url(repo: &git2::Repository) -> Result<String> {
    let name = remote_name(repo)?;
    // Not the remote's own idea, which has the caller's insteadOf rules in it.
    let url = repo.config()?.get_string(&format!("remote.{name}.url"));
    let url = url.with_context(|| format!("the remote {name} has no URL"))?;
    // A folder that is named from the checkout's is nobody else's without it.
    let is_relative = !url.starts_with('/') && url.split('/').next().is_none_or(|first| !first.contains(':'));
    let Some(root) = repo.workdir().filter(|_| is_relative) else { return Ok(url) };
    let folder = std::fs::canonicalize(root.join(&url));
    let folder = folder.map_err(|error| {
        failure(format!("the remote {name} is the folder {url} beside this checkout, which is not there: {error}"))
            .hint(format!("git remote set-url {name} URL, then publish again"))
    })?;
    Ok(folder.to_str().context("the path of the remote is no UTF-8")?.to_owned())
}

/// The remote that the checked-out branch follows, or the only one.
fn remote_name(repo: &git2::Repository) -> Result<String> {
    let followed = |branch: &str| {
        let remote = repo.branch_upstream_remote(branch).ok()?;
        remote.as_str().ok().map(str::to_owned)
    };
    let head = repo.head().ok().filter(git2::Reference::is_branch).and_then(|head| head.name().ok().map(str::to_owned));
    let upstream = head.and_then(|head| followed(&head));
    let remotes = repo.remotes()?;
    let names: Vec<&str> = remotes.iter().filter_map(|name| name.ok().flatten()).collect();
    upstream
        .filter(|name| names.contains(&name.as_str()))
        .or_else(|| names.iter().find(|name| **name == "origin").map(|name| (*name).to_owned()))
        .or_else(|| if names.len() == 1 { Some(names[0].to_owned()) } else { None })
        .ok_or_else(|| {
            failure("the checkout has no remote from which others could fetch its base")
                .hint("git remote add origin URL, and push a base commit")
                .into()
        })
}

/// The base, and what lies above it.
#[derive(Debug)]
pub(super) struct History {
    /// Newest ancestor of HEAD that the remote holds.
    pub(super) base: git2::Oid,
    /// From HEAD down to the base.
    pub(super) commits: Vec<git2::Oid>,
    /// Beside them: what the commits that an operation names have above all
    /// that the remote is known to hold.
    pub(super) beside: Vec<git2::Oid>,
    /// How many of those up to HEAD the remote lacks.
    pub(super) unpushed: usize,
    /// The remote, and its refs that matter.
    pub(super) remote: Remote,
    /// What the branch follows, where that is nothing of this remote's branches:
    /// its full name here.
    pub(super) lost_upstream: Option<String>,
    /// Everything that the remote is known to hold.
    pub(super) tips: Vec<git2::Oid>,
}

/// Where HEAD stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<'a> {
    pub(super) head: &'a git2::Commit<'a>,
    /// The branch whose upstream matters.
    pub(super) branch: Option<&'a str>,
    /// Commits beside HEAD that travel.
    pub(super) others: &'a [git2::Oid],
    /// Nothing travels to another machine: HEAD is a base, where no remote holds one.
    pub(super) stays: bool,
}

/// Finds the base: the newest ancestor of HEAD that a remote-tracking ref of
/// the branch's remote holds.
///
/// # Errors
/// When there is none, or commits between are not here.
pub(super) fn history(repo: &git2::Repository, position: Position<'_>) -> Result<History> {
    let Position { head, branch, others, stays } = position;
    let name = match remote_name(repo) {
        Err(_) if stays => NO_REMOTE.to_owned(),
        name => name?,
    };
    let tracked = Tracked::of(repo, &name);
    let followed = branch.and_then(|branch| followed(repo, branch));
    let mut tips = tracked.tips(repo)?;
    // Where two refs are of one branch, the one that is followed counts.
    tips.sort_by_key(|tip| Some(&tip.full) != followed.as_ref());
    let upstream = followed.as_ref().and_then(|full| tracked.branch_of(full));
    let lost_upstream = followed.filter(|full| upstream.is_none() && !full.starts_with("refs/heads/"));
    let tips: Vec<(String, git2::Oid)> = tips.into_iter().map(|tip| (tip.branch, tip.commit)).collect();
    let mut walk = repo.revwalk()?;
    walk.push(head.id())?;
    for (_, tip) in &tips {
        walk.hide(*tip)?;
    }
    let unpushed: HashSet<git2::Oid> = walk.collect::<Result<_, _>>()?;
    let mut boundary: Vec<git2::Commit<'_>> = Vec::new();
    if unpushed.is_empty() {
        boundary.push(head.clone());
    }
    for id in &unpushed {
        boundary.extend(repo.find_commit(*id)?.parents().filter(|parent| !unpushed.contains(&parent.id())));
    }
    let base =
        boundary.into_iter().max_by_key(|commit| (commit.time().seconds(), commit.id())).map(|commit| commit.id());
    let base = base.or(stays.then(|| head.id())).ok_or_else(|| {
        failure(format!("no branch of the remote {name} holds an ancestor of HEAD, so nobody could fetch a base"))
            .hint(format!("git fetch {name}, or push a base commit, then publish again"))
    })?;
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
        [base, head.id()].into_iter().chain(tips.iter().map(|(_, tip)| *tip)).try_for_each(|id| walk.hide(id))?;
        beside = walk.collect::<Result<_, _>>()?;
    }
    let refs = tracking_refs(repo, &tips, base, upstream.as_deref())?;
    let tips = tips.into_iter().map(|(_, tip)| tip).collect();
    let remote = Remote { name, upstream, refs };
    Ok(History { base, commits, unpushed: unpushed.len(), remote, lost_upstream, tips, beside })
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
pub(super) fn commit(id: git2::Oid) -> Result<Commit> {
    Ok(id.to_string().parse()?)
}

/// The full name of what a branch follows.
fn followed(repo: &git2::Repository, branch: &str) -> Option<String> {
    let name = repo.branch_upstream_name(&format!("refs/heads/{branch}")).ok()?;
    name.as_str().ok().map(str::to_owned)
}

/// The local branch that this one follows.
///
/// # Errors
/// When its commit has no name.
pub(super) fn followed_branch(repo: &git2::Repository, branch: Option<&str>) -> Result<Option<LocalBranch>> {
    let full = branch.and_then(|branch| followed(repo, branch));
    let Some(name) = full.as_deref().and_then(|full| full.strip_prefix("refs/heads/")) else { return Ok(None) };
    let tip = repo.find_reference(&format!("refs/heads/{name}")).and_then(|reference| reference.peel_to_commit());
    let tip = tip.ok().filter(|_| Some(name) != branch);
    Ok(Some(LocalBranch { name: name.to_owned(), commit: tip.map(|tip| commit(tip.id())).transpose()? }))
}

/// One ref that says where a branch of the remote is.
struct Tip {
    full: String,
    /// The branch, as the remote has it.
    branch: String,
    commit: git2::Oid,
}

/// Which refs of a checkout say where the remote's branches are: those that it
/// is fetched into, and those that have its name.
struct Tracked<'a> {
    remote: Option<git2::Remote<'a>>,
    prefix: String,
}

impl<'a> Tracked<'a> {
    fn of(repo: &'a git2::Repository, name: &str) -> Self {
        Tracked { remote: repo.find_remote(name).ok(), prefix: format!("refs/remotes/{name}/") }
    }

    /// The remote's branch that a ref stands for.
    fn branch_of(&self, full: &str) -> Option<String> {
        // Elsewhere refs are the checkout's own as well.
        if !full.starts_with("refs/remotes/") {
            return None;
        }
        let specs = self.remote.iter().flat_map(git2::Remote::refspecs);
        let fetched = specs.filter(|spec| spec.direction() == git2::Direction::Fetch && spec.dst_matches(full));
        let mut named = fetched.filter_map(|spec| {
            let theirs = spec.rtransform(full).ok()?;
            theirs.as_str().ok()?.strip_prefix("refs/heads/").map(str::to_owned)
        });
        let plain = || full.strip_prefix(&self.prefix).filter(|short| *short != "HEAD").map(str::to_owned);
        named.next().or_else(plain)
    }

    fn tips(&self, repo: &git2::Repository) -> Result<Vec<Tip>> {
        let mut tips = Vec::new();
        for reference in repo.references_glob("refs/remotes/*")? {
            let reference = reference?;
            if let (Ok(full), Ok(commit)) = (reference.name(), reference.peel_to_commit())
                && let Some(branch) = self.branch_of(full)
            {
                tips.push(Tip { full: full.to_owned(), branch, commit: commit.id() });
            }
        }
        Ok(tips)
    }
}

/// The refs that make `git status` and a later publish see what they see here:
/// the upstream where it is, and one ref that holds the base.
fn tracking_refs(
    repo: &git2::Repository,
    tips: &[(String, git2::Oid)],
    base: git2::Oid,
    upstream: Option<&str>,
) -> Result<Vec<TrackingRef>> {
    let holds_base = |tip: git2::Oid| tip == base || repo.graph_descendant_of(tip, base).unwrap_or(false);
    let mut refs = Vec::new();
    if let Some((name, tip)) = tips.iter().find(|(name, _)| Some(name.as_str()) == upstream) {
        refs.push(TrackingRef { name: name.clone(), commit: commit(*tip)? });
        if holds_base(*tip) {
            return Ok(refs);
        }
    }
    let exact = tips.iter().find(|(_, tip)| *tip == base);
    if let Some((name, _)) = exact.or_else(|| tips.iter().find(|(_, tip)| holds_base(*tip))) {
        refs.push(TrackingRef { name: name.clone(), commit: commit(base)? });
    }
    Ok(refs)
}
