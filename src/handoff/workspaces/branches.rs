//! What became of branches on their remotes. A branch is deleted when it was
//! seen there and is there no more; it is merged when commits that its remote's
//! default branch once lacked are all in there. A branch that has just begun,
//! with nothing of its own yet, is neither.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability};
use crate::error::{Kind, kind_of, unreachable};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::{Door, Pin, mirror_of};
use crate::identity::{Commit, Identity, StoreRef};
use crate::workspace::{Branches, FetchWatch};

/// What was seen of a branch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sighting {
    /// When it was on the remote.
    there_at: Option<Timestamp>,
    /// Where it stood here when the default branch lacked it.
    open: Option<Commit>,
}

/// The remotes that were asked, and what is remembered of their branches.
pub(crate) struct Remotes<'a> {
    app: &'a App,
    asked: BTreeMap<String, Result<Branches, String>>,
    /// By repository and branch.
    seen: BTreeMap<String, Sighting>,
}

impl<'a> Remotes<'a> {
    pub(crate) fn new(app: &'a App) -> Self {
        // Forgetting it keeps workspaces longer, no more.
        let seen = disk::read_json(&app.paths.sightings()).ok().flatten().unwrap_or_default();
        Remotes { app, asked: BTreeMap::new(), seen }
    }

    /// Notes what was seen, for the next time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn remember(&self) -> Result<()> {
        if self.asked.is_empty() {
            return Ok(());
        }
        disk::write_json(&self.app.paths.sightings(), &self.seen, Durability::Cached)
    }

    /// Why a branch's workspace is due; `None` when it is not.
    ///
    /// # Errors
    /// When the remote does not answer.
    pub(crate) fn fate(&mut self, pin: &Pin, identity: &Identity) -> Result<Option<String>> {
        let Some(branch) = &identity.repo.branch else { return Ok(None) };
        let repo = git2::Repository::open(&pin.workspace).context("it cannot be opened")?;
        let store = pin.store.parse()?;
        let branches = self.ask(identity, Some(&store))?;
        let upstream = upstream(&repo, branch, &branches);
        let key = format!("{} {branch}", identity.repo.url.key());
        let sighting = self.seen.entry(key.clone()).or_default();
        let Some(default) = branches.default.clone() else { return Ok(None) };
        if branches.tips.contains_key(&upstream) {
            sighting.there_at = Some(self.app.clock.now());
        } else if is_tracked(&repo, &upstream) || sighting.there_at.is_some_and(|at| at >= pin.pinned_at) {
            self.seen.remove(&key);
            return Ok(Some(format!("{branch} was deleted on the remote")));
        }
        if branches.head.as_ref() == Some(&upstream) {
            return Ok(None);
        }
        let Ok(tip) = repo.refname_to_id(&format!("refs/heads/{branch}")) else { return Ok(None) };
        self.bring((identity, Some(&store)), &default)?;
        let inside = |id: git2::Oid| -> Result<bool> {
            let default = git2::Oid::from_str(default.as_str())?;
            Ok(id == default || repo.graph_descendant_of(default, id)?)
        };
        let sighting = self.seen.entry(key.clone()).or_default();
        if !inside(tip)? {
            sighting.open = Some(tip.to_string().parse()?);
            return Ok(None);
        }
        // Commits that were its own: seen by an earlier gc, or by the publisher.
        let published = pin.ahead.then(|| identity.repo.commit.clone());
        for own in [sighting.open.clone(), published].into_iter().flatten() {
            let own = git2::Oid::from_str(own.as_str())?;
            if repo.find_commit(own).is_ok() && inside(own)? {
                self.seen.remove(&key);
                return Ok(Some(format!("{branch} was merged on the remote")));
            }
        }
        Ok(None)
    }

    /// Where a remote's branches and tags stand, for a task of `store`; it is asked
    /// once.
    ///
    /// # Errors
    /// When it does not answer, or may not be asked.
    pub(super) fn ask(&mut self, identity: &Identity, store: Option<&StoreRef>) -> Result<Branches> {
        // Nobody sits in front of a collection.
        let door = Door::quiet(self.app, identity, store)?;
        let url = door.url().to_string();
        if !self.asked.contains_key(&url) {
            let git = Git::find(&self.app.env)?;
            let mirror = mirror_of(self.app, identity);
            let answer = Branches::ask(&git, mirror.path(), door.remote());
            if let Err(error) = &answer
                && kind_of(error) == Kind::Policy
            {
                return answer;
            }
            self.asked.insert(url.clone(), answer.map_err(|error| format!("{error:#}")));
        }
        match self.asked.get(&url) {
            Some(Ok(branches)) => Ok(branches.clone()),
            Some(Err(why)) => Err(unreachable(format!("{url} does not answer: {why}")).into()),
            None => Err(unreachable(url).into()),
        }
    }

    /// Fetches where branches and tags stand, as far as it is not here.
    ///
    /// # Errors
    /// When the remote does not give it.
    pub(super) fn bring_tips(&self, (identity, store): (&Identity, Option<&StoreRef>), tips: &[Commit]) -> Result<()> {
        let Some((first, others)) = tips.split_first() else { return Ok(()) };
        let git = Git::find(&self.app.env)?;
        let door = Door::quiet(self.app, identity, store)?;
        mirror_of(self.app, identity).ensure(&git, door.remote(), first, others, &Quiet).map(drop)
    }

    /// Fetches the default branch, where it is not here.
    fn bring(&self, (identity, store): (&Identity, Option<&StoreRef>), default: &Commit) -> Result<()> {
        let git = Git::find(&self.app.env)?;
        let door = Door::quiet(self.app, identity, store)?;
        mirror_of(self.app, identity).ensure(&git, door.remote(), default, &[], &Quiet).map(drop)
    }
}

/// What a branch is called on the remote. One that was begun from the default
/// branch may follow that, and is not it.
fn upstream(repo: &git2::Repository, branch: &str, branches: &Branches) -> String {
    let full = repo.branch_upstream_name(&format!("refs/heads/{branch}")).ok();
    let full = full.and_then(|name| name.as_str().ok().map(str::to_owned));
    let short = full.as_ref().and_then(|name| Some(name.strip_prefix("refs/remotes/")?.split_once('/')?.1));
    short.filter(|name| branches.head.as_deref() != Some(*name)).unwrap_or(branch).to_owned()
}

/// Whether a branch was on the remote when the workspace was made, or since
/// then.
fn is_tracked(repo: &git2::Repository, name: &str) -> bool {
    let Ok(remotes) = repo.remotes() else { return false };
    let mut remotes = remotes.iter().filter_map(|remote| remote.ok().flatten());
    remotes.any(|remote| repo.find_reference(&format!("refs/remotes/{remote}/{name}")).is_ok())
}

struct Quiet;

impl FetchWatch for Quiet {
    fn waiting(&self) {}

    fn fetching(&self) {}
}
