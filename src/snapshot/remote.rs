//! Which remote a checkout goes on from, and which of its refs say what that
//! remote has.

use anyhow::{Context, Result};

use crate::error::failure;

/// The URL of the remote that the checkout goes on from, as configured.
///
/// # Errors
/// When there is no remote.
pub fn remote_url(repo: &git2::Repository) -> Result<String> {
    let name = remote_name(repo)?;
    // Not the remote's own idea, which has the caller's insteadOf rules in it.
    // Of several git fetches from the first.
    let url = first(&repo.config()?, &format!("remote.{name}.url"));
    let url = url.with_context(|| format!("the remote {name} has no URL"))?;
    if is_shorthand(&url)
        && let Some(whole) = written_out(repo, &url)?
    {
        return Ok(whole);
    }
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
fn first(config: &git2::Config, key: &str) -> Option<String> {
    let mut first = None;
    let each = |entry: &git2::ConfigEntry<'_>| {
        let value = || entry.value().ok().map(str::to_owned);
        first = first.take().or_else(value);
    };
    config.multivar(key, None).ok()?.for_each(each).ok()?;
    first
}

/// The remote that the checked-out branch follows, or `origin`, or the only one; of
/// several rather one that holds a part of HEAD's history.
///
/// # Errors
/// When there is none.
pub(super) fn remote_name(repo: &git2::Repository) -> Result<String> {
    let followed = |branch: &str| {
        let remote = repo.branch_upstream_remote(branch).ok()?;
        remote.as_str().ok().map(str::to_owned)
    };
    let head = repo.head().ok();
    let branch = head.as_ref().filter(|head| head.is_branch()).and_then(|head| head.name().ok());
    let upstream = branch.and_then(followed);
    let remotes = repo.remotes()?;
    let mut names: Vec<&str> = remotes.iter().filter_map(|name| name.ok().flatten()).collect();
    names.sort_by_key(|name| (Some(*name) != upstream.as_deref(), *name != "origin"));
    let holds = |name: &&&str| {
        let Some(head) = head.as_ref().and_then(|head| head.peel_to_commit().ok()) else { return false };
        let tips = RemoteTracking::of(repo, name).tips(repo).unwrap_or_default();
        tips.iter().any(|tip| repo.merge_base(head.id(), tip.commit).is_ok())
    };
    let first = names.first().copied();
    let best = if names.len() > 1 { names.iter().find(holds).copied().or(first) } else { first };
    best.map(str::to_owned).ok_or_else(|| {
        failure("the checkout has no remote from which others could fetch its base")
            .hint("git remote add origin URL, and push a base commit")
            .into()
    })
}

/// One ref that says what the remote has.
pub(super) struct Tip {
    pub(super) full: String,
    /// The branch, as the remote has it; a tag may be held as well.
    pub(super) branch: Option<String>,
    pub(super) commit: git2::Oid,
}

/// Which refs of a checkout say what the remote has: those that it is fetched into,
/// and those that have its name.
pub(super) struct RemoteTracking<'a> {
    remote: Option<git2::Remote<'a>>,
    prefix: String,
}

impl<'a> RemoteTracking<'a> {
    pub(super) fn of(repo: &'a git2::Repository, name: &str) -> Self {
        RemoteTracking { remote: repo.find_remote(name).ok(), prefix: format!("refs/remotes/{name}/") }
    }

    fn fetched(&self) -> impl Iterator<Item = git2::Refspec<'_>> {
        let specs = self.remote.iter().flat_map(git2::Remote::refspecs);
        specs.filter(|spec| spec.direction() == git2::Direction::Fetch)
    }

    /// The remote's branch that a ref stands for.
    pub(super) fn branch_of(&self, full: &str) -> Option<String> {
        // These are the checkout's own as well.
        if full.starts_with("refs/heads/") || full.starts_with("refs/tags/") {
            return None;
        }
        let mut named = self.fetched().filter(|spec| spec.dst_matches(full)).filter_map(|spec| {
            let theirs = spec.rtransform(full).ok()?;
            theirs.as_str().ok()?.strip_prefix("refs/heads/").map(str::to_owned)
        });
        let plain = || full.strip_prefix(&self.prefix).filter(|short| *short != "HEAD").map(str::to_owned);
        named.next().or_else(plain)
    }

    /// All of them.
    ///
    /// # Errors
    /// When refs cannot be read.
    pub(super) fn tips(&self, repo: &git2::Repository) -> Result<Vec<Tip>> {
        let elsewhere = |place: &&str| !["refs/remotes/", "refs/heads/"].iter().any(|known| place.starts_with(known));
        let places: Vec<String> = self.fetched().filter_map(|spec| spec.dst().ok().map(str::to_owned)).collect();
        let mut tips = Vec::new();
        for place in std::iter::once("refs/remotes/*").chain(places.iter().map(String::as_str).filter(elsewhere)) {
            for reference in repo.references_glob(place)? {
                let reference = reference?;
                let (Ok(full), Ok(commit)) = (reference.name(), reference.peel_to_commit()) else { continue };
                let branch = self.branch_of(full);
                // A clone of one tag is fetched into that tag.
                if branch.is_some() || full == place {
                    tips.push(Tip { full: full.to_owned(), branch, commit: commit.id() });
                }
            }
        }
        Ok(tips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
