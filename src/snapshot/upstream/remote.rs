//! Which remote a checkout goes on from, and which of its refs say what that
//! remote has. Names are bytes, as git has them.

use anyhow::{Context, Result};

use crate::error::failure;
use crate::shell::quote;
use crate::snapshot::format::left_behind::lossy;

/// The URL of the remote that the checkout goes on from, as configured.
///
/// # Errors
/// When there is no remote.
pub fn remote_url(repo: &git2::Repository) -> Result<String> {
    let name = remote_name(repo)?;
    // Not the remote's own idea, which has the caller's insteadOf rules in it.
    // Of several git fetches from the first.
    let url = first(&repo.config()?, &[b"remote.", &*name, b".url"].concat());
    let name = lossy(&name);
    let url = url.with_context(|| format!("the remote {name} has no URL"))?;
    if is_shorthand(&url)
        && let Some(whole) = written_out(repo, &url)?
    {
        return Ok(whole);
    }
    refuse_bundle(repo, &name, &url)?;
    // A folder that is named from the checkout's is nobody else's without it.
    let is_relative = !url.starts_with('/') && url.split('/').next().is_none_or(|first| !first.contains(':'));
    let Some(root) = repo.workdir().filter(|_| is_relative) else { return Ok(url) };
    let folder = std::fs::canonicalize(root.join(&url));
    let folder = folder.map_err(|error| {
        failure(format!("the remote {name} is the folder {url} beside this checkout, which is not there: {error}"))
            .hint(format!("git remote set-url {} URL, then publish again", quote(&name)))
    })?;
    Ok(folder.to_str().context("the path of the remote is no UTF-8")?.to_owned())
}

/// A clone of a bundle has a file for its remote, `git-bundle(1)`, and no address leads
/// others into that.
fn refuse_bundle(repo: &git2::Repository, name: &str, url: &str) -> Result<()> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    if !repo.workdir().is_some_and(|root| root.join(path).is_file()) {
        return Ok(());
    }
    Err(failure(format!("the remote {name} is the bundle {url}, from which others cannot fetch a base"))
        .hint(format!(
            "git remote set-url {} URL, with a repository that has its commits, then publish again",
            quote(name)
        ))
        .into())
}

/// Whether an address may be one only here: `gh:acme/shop` is git's ssh to a host `gh`, if
/// no `url.*.insteadOf` says more.
fn is_shorthand(url: &str) -> bool {
    let Some((before, rest)) = url.split_once(':') else { return false };
    !rest.starts_with("//") && !before.contains(['/', '.', '@', '['])
}

/// What `url.*.insteadOf` of whoever publishes makes of a shorthand, `git-config(1)`: the
/// longest one counts.
fn written_out(repo: &git2::Repository, url: &str) -> Result<Option<String>> {
    let mut best: Option<(usize, String)> = None;
    repo.config()?.snapshot()?.entries(Some("url\\..*\\.insteadof"))?.for_each(|entry| {
        let (Ok(key), Ok(prefix)) = (entry.name(), entry.value()) else { return };
        let base = key.strip_prefix("url.").and_then(|key| key.strip_suffix(".insteadof"));
        let (Some(base), Some(rest)) = (base, url.strip_prefix(prefix)) else { return };
        if best.as_ref().is_none_or(|(length, _)| *length < prefix.len()) {
            best = Some((prefix.len(), format!("{base}{rest}")));
        }
    })?;
    Ok(best.map(|(_, whole)| whole))
}

/// The first value of a setting.
fn first(config: &git2::Config, key: &[u8]) -> Option<String> {
    let mut first = None;
    let each = |entry: &git2::ConfigEntry<'_>| {
        if first.is_none() && entry.name_bytes() == key {
            first = entry.value().ok().map(str::to_owned);
        }
    };
    config.entries(Some("^remote\\.")).ok()?.for_each(each).ok()?;
    first
}

/// The remote that the checked-out branch follows, or `origin`, or the only one; of
/// several rather one that holds a part of HEAD's history.
///
/// # Errors
/// When there is none.
pub(in crate::snapshot) fn remote_name(repo: &git2::Repository) -> Result<Vec<u8>> {
    let followed = |branch: &str| Some(repo.branch_upstream_remote(branch).ok()?.to_vec());
    let head = repo.head().ok();
    let branch = head.as_ref().filter(|head| head.is_branch()).and_then(|head| head.name().ok());
    let upstream = branch.and_then(followed);
    let remotes = repo.remotes()?;
    let mut names: Vec<&[u8]> = remotes.iter_bytes().collect();
    names.sort_by_key(|name| (Some(*name) != upstream.as_deref(), *name != b"origin"));
    let holds = |name: &&&[u8]| {
        let Some(head) = head.as_ref().and_then(|head| head.peel_to_commit().ok()) else { return false };
        let tips = RemoteTracking::of(repo, name).tips(repo).unwrap_or_default();
        tips.iter().any(|tip| repo.merge_base(head.id(), tip.commit).is_ok())
    };
    let first = names.first().copied();
    let best = if names.len() > 1 { names.iter().find(holds).copied().or(first) } else { first };
    best.map(<[u8]>::to_vec).ok_or_else(|| {
        failure("the checkout has no remote from which others could fetch its base")
            .hint("git remote add origin URL, and push a base commit")
            .into()
    })
}

/// One ref that says what the remote has.
pub(in crate::snapshot) struct Tip {
    pub(in crate::snapshot) full: Vec<u8>,
    /// The branch, as the remote has it and as far as it is UTF-8; a tag may be held as
    /// well.
    pub(in crate::snapshot) branch: Option<String>,
    pub(in crate::snapshot) commit: git2::Oid,
}

/// Which refs of a checkout say what the remote has: those that it is fetched into,
/// and those that have its name.
pub(in crate::snapshot) struct RemoteTracking<'a> {
    remote: Option<git2::Remote<'a>>,
    prefix: Vec<u8>,
}

impl<'a> RemoteTracking<'a> {
    pub(in crate::snapshot) fn of(repo: &'a git2::Repository, name: &[u8]) -> Self {
        let remote = std::str::from_utf8(name).ok().and_then(|name| repo.find_remote(name).ok());
        RemoteTracking { remote, prefix: [b"refs/remotes/", name, b"/"].concat() }
    }

    fn fetched(&self) -> impl Iterator<Item = git2::Refspec<'_>> {
        let specs = self.remote.iter().flat_map(git2::Remote::refspecs);
        specs.filter(|spec| spec.direction() == git2::Direction::Fetch && leads_somewhere(spec.bytes()))
    }

    /// The ref here that stands for one of the remote's.
    pub(in crate::snapshot) fn here(&self, theirs: &str) -> Option<String> {
        let specs = self.fetched().filter(|spec| spec.src_matches(theirs));
        specs.filter_map(|spec| spec.transform(theirs).ok()?.as_str().ok().map(str::to_owned)).next()
    }

    /// The remote's branch that a ref stands for.
    pub(in crate::snapshot) fn branch_of(&self, full: &[u8]) -> Option<String> {
        // These are the checkout's own as well, and `HEAD` stands for another one.
        let is_own = full.starts_with(b"refs/heads/") || full.starts_with(b"refs/tags/");
        if is_own || full.strip_prefix(&*self.prefix) == Some(b"HEAD") {
            return None;
        }
        let text = std::str::from_utf8(full).ok();
        let mut named = text.into_iter().flat_map(|full| self.fetched().filter_map(move |spec| theirs(&spec, full)));
        let plain = || full.strip_prefix(&*self.prefix).map(lossy);
        named.next().or_else(plain)
    }

    /// All of them.
    ///
    /// # Errors
    /// When refs cannot be read.
    pub(in crate::snapshot) fn tips(&self, repo: &git2::Repository) -> Result<Vec<Tip>> {
        let elsewhere = |place: &&str| !["refs/remotes/", "refs/heads/"].iter().any(|known| place.starts_with(known));
        let places: Vec<String> = self.fetched().filter_map(|spec| spec.dst().ok().map(str::to_owned)).collect();
        let mut tips = Vec::new();
        for place in std::iter::once("refs/remotes/*").chain(places.iter().map(String::as_str).filter(elsewhere)) {
            for reference in repo.references_glob(place)? {
                let reference = reference?;
                let Ok(commit) = reference.peel_to_commit() else { continue };
                let full = reference.name_bytes();
                let branch = self.branch_of(full);
                // A clone of one tag is fetched into that tag.
                if branch.is_some() || full == place.as_bytes() {
                    tips.push(Tip { full: full.to_vec(), branch, commit: commit.id() });
                }
            }
        }
        Ok(tips)
    }
}

/// Whether a refspec fetches into a ref: one that only leaves branches out does not, nor
/// does one without a place, and git's library panics when it is asked for that.
fn leads_somewhere(spec: &[u8]) -> bool {
    let place = spec.iter().position(|byte| *byte == b':').and_then(|at| spec.get(at + 1..));
    !spec.starts_with(b"^") && place.is_some_and(|place| !place.is_empty())
}

/// The remote's branch that this refspec fetches into a ref.
fn theirs(spec: &git2::Refspec<'_>, full: &str) -> Option<String> {
    let theirs = spec.rtransform(full).ok().filter(|_| spec.dst_matches(full))?;
    theirs.as_str().ok()?.strip_prefix("refs/heads/").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refspecs_that_lead_nowhere_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let mut config = repo.config().unwrap().open_level(git2::ConfigLevel::Local).unwrap();
        config.set_str("remote.origin.url", "https://git.example/shop").unwrap();
        for spec in [
            "^refs/heads/wip/*",
            "+refs/heads/*:refs/remotes/origin/*",
            "refs/heads/a",
            "refs/heads/a:",
            ":",
            "+",
            "HEAD",
        ] {
            config.set_multivar("remote.origin.fetch", &format!("^{}$", regex::escape(spec)), spec).unwrap();
        }
        let who = git2::Signature::now("a", "a@b").unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = repo.commit(Some("refs/remotes/origin/main"), &who, &who, "x", &tree, &[]).unwrap();
        repo.reference_symbolic("refs/remotes/origin/HEAD", "refs/remotes/origin/main", true, "").unwrap();
        let tracking = RemoteTracking::of(&repo, b"origin");
        assert_eq!(tracking.branch_of(b"refs/remotes/origin/main").as_deref(), Some("main"));
        let tips = tracking.tips(&repo).unwrap();
        assert_eq!(
            tips.iter().map(|tip| (tip.branch.as_deref(), tip.commit)).collect::<Vec<_>>(),
            [(Some("main"), commit)]
        );
    }

    #[test]
    fn a_shorthand_of_whoever_publishes_is_written_out() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let mut config = repo.config().unwrap().open_level(git2::ConfigLevel::Local).unwrap();
        config.set_str("url.https://git.example/.insteadOf", "gh:").unwrap();
        config.set_str("url.ssh://git@git.example/acme/.insteadOf", "gh:acme/").unwrap();
        config.set_str("url.ssh://git@mirror.example/.insteadOf", "https://git.example/").unwrap();
        for (said, meant) in [
            ("gh:shop", "https://git.example/shop"),
            ("gh:acme/shop", "ssh://git@git.example/acme/shop"),
            // What others can reach stays as it is.
            ("https://git.example/shop", "https://git.example/shop"),
            ("git@git.example:shop", "git@git.example:shop"),
            ("git.example:shop", "git.example:shop"),
            ("other:shop", "other:shop"),
        ] {
            let _ = repo.remote_delete("origin");
            config.set_str("remote.origin.url", said).unwrap();
            assert_eq!(remote_url(&repo).unwrap(), meant, "{said}");
        }
    }
}
